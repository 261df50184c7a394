"""HRE before and after the model's knowledge cutoff: what rises by memory. No disk, no clock, no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..stats.correlation import FloatArray
from ..stats.significance import bootstrap_interval, paired_difference
from ..stats.two_samples import difference_of_means
from .keys import cutoff_key

if TYPE_CHECKING:
    from ..data.questions import Question

# Per question whether not all of its text was there by the cutoff; `None` without a date.
After = Sequence[bool | None]


def after_cutoff(questions: Sequence[Question], cutoff: str | None) -> After | None:
    """Which questions are from after the cutoff's day; `None` without a cutoff."""
    if cutoff is None:
        return None
    return [None if question.date is None else question.date > cutoff for question in questions]


def cutoff_figures(
    after: After, first: FloatArray | None, now: FloatArray, clusters: Sequence[str | None] | None, *, seed: int
) -> dict[str, float]:
    """HRE of both sides, their changes since the first look and the difference of these, after less before.

    Under the keys of a row without the run's name. A side without a question has its number alone. At the first look
    there are no changes. The difference of the changes is that of two sets of questions, see `difference_of_means`.

    Args:
        first, now: (questions,) Pearson's r, NaN where undefined; `first` is `None` at the first look.
    """
    row: dict[str, float] = {}
    for side, wanted in (("before", False), ("after", True)):
        of_side = np.array([one is wanted for one in after])
        level = bootstrap_interval(np.where(of_side, now, np.nan), clusters=clusters, seed=seed)
        row[cutoff_key(side, "cutoff_n")] = float(level.n)
        if level.n:
            row |= _ends(side, level.estimate, level.low, level.high)
            if first is not None:
                change = paired_difference(np.where(of_side, now, np.nan), first, clusters=clusters, seed=seed)
                row |= _ends(f"{side}_change", change.estimate, change.low, change.high)
    if first is not None and row[cutoff_key("before", "cutoff_n")] and row[cutoff_key("after", "cutoff_n")]:
        apart = difference_of_means(now - first, after, clusters=clusters)
        row |= _ends("difference", apart.estimate, apart.low, apart.high)
    return row


def _ends(what: str, estimate: float, low: float, high: float) -> dict[str, float]:
    return {cutoff_key(f"{what}{end}"): x for end, x in (("", estimate), ("_low", low), ("_high", high))}
