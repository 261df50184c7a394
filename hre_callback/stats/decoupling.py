"""Decoupled: a training signal goes on improving, and more of it buys nothing for people.

The commonest parting is not a fall. HRE stands still while the reward's margin grows, or what training rewards agrees
less and less with people. Both are claims with an error rate over all looks of the run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .significance import drop_from_best, spent_alpha, t_interval

FloatArray = NDArray[np.float64]
# Looks from which on a run has two halves that each have a mean.
_LEAST_LOOKS = 4


class Gain(NamedTuple):
    """What HRE gained over the second half of the run.

    Attributes:
        since: the look that it is counted from.
        estimate: mean gain of the last pooled looks.
        high: upper confidence bound; all bounds of a run hold together with probability 1 - alpha. NaN where the run is
            too short.
    """

    since: int
    estimate: float
    high: float


def recent_gain(
    values: FloatArray,
    *,
    alpha: float = 0.05,
    planned_looks: int | None = None,
    pooled: int = 2,
    clusters: Sequence[object] | None = None,
) -> Gain:
    """HRE's gain from the middle of the run so far to its last look, with an upper bound.

    The mean of the last `pooled` looks against that of the `pooled` looks up to the middle, question by question. Each
    look spends its part of `alpha` (`spent_alpha`) on a one-sided t bound: whatever the looks have to do with each
    other, no bound of the run is too low with probability 1 - alpha (Bonferroni).

    Args:
        values: (looks, questions) per-question Pearson r, the first look being the start.
    """
    last = len(values) - 1
    middle = last // 2
    if last < _LEAST_LOOKS:
        return Gain(middle, float("nan"), float("nan"))
    now = values[last + 1 - min(pooled, last - middle) :].mean(axis=0)
    before = values[max(0, middle + 1 - pooled) : middle + 1].mean(axis=0)
    spent = spent_alpha(last, alpha, planned_looks)
    # The looks that can bear no claim leave what they would have spent to the first that can.
    here = spent[-1] - (spent[-2] if last > _LEAST_LOOKS else 0.0)
    found = t_interval(now - before, clusters=clusters, confidence=1 - 2 * max(here, 1e-12))
    return Gain(middle, found.estimate, found.high)


def agreement_lost(
    implicit: FloatArray,
    *,
    alpha: float = 0.05,
    planned_looks: int | None = None,
    pooled: int = 2,
    clusters: Sequence[object] | None = None,
    seed: int = 0,
) -> tuple[float, float, bool]:
    """Has what training rewards come to agree less with people than at its best? Paired, over all looks.

    Args:
        implicit: (looks, questions) correlation of the votes with the implicit reward, without the start, which has
            none.

    Returns:
        the change from the best (cross-fit, below 0 for a fall), p, and whether the fall is significant; see
        `drop_from_best`.
    """
    if len(implicit) <= pooled:
        return float("nan"), float("nan"), False
    # The first look with a reward is where the falls are counted from, and no look of the test.
    rest = None if planned_looks is None else max(1, planned_looks - 1)
    found = drop_from_best(implicit, alpha=alpha, planned_looks=rest, pooled=pooled, clusters=clusters, seed=seed)
    return float(found.delta[-1]), float(found.p[-1]), bool(found.rejected[-1])
