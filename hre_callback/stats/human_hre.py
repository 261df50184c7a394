"""The humans' own HRE, where annotators are named: each against the others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from .ceiling import Ratings
from .correlation import over_questions, pearson
from .significance import bootstrap_interval


@dataclass(frozen=True, slots=True)
class HumanHRE:
    """The humans' own HRE with its 95 % interval over the `n` questions, for the `people` who rated them.

    NaN where it is not known. The interval is for these people: how far others would differ takes many people to say.
    """

    estimate: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")
    n: int = 0
    people: int = 0


def human_hre(
    ratings: Sequence[Ratings | None],
    *,
    clusters: Sequence[object] | None = None,
    seed: int = 0,
) -> HumanHRE:
    """A human's own HRE: each annotator against the mean of the others, leave one out.

    Per question the mean over its annotators, then the mean over questions, by the rules of the model's score: who
    rates all answers alike counts 0, and where the others do there is nothing to agree with. The yardstick is the
    other annotators' mean, and not the votes.

    Args:
        ratings: per question, annotator -> one rating an answer (`None` where not rated); `None` without ratings.
        clusters: (questions,) labels; whole clusters are resampled.

    Returns an estimate of NaN when no question has two annotators with something in common.
    """
    each = [
        (place, who, own, others)
        for place, question in enumerate(ratings)
        for who, own, others in _each_against_the_others(question or {})
    ]
    found = over_questions(pearson, [others for *_, others in each], [own for _, _, own, _ in each])
    known = np.isfinite(found)
    if not known.any():
        return HumanHRE()
    places = np.array([place for place, *_ in each])[known]
    sums, counts = (np.bincount(places, weights, len(ratings)) for weights in (found[known], None))
    with np.errstate(invalid="ignore"):
        interval = bootstrap_interval(sums / counts, clusters=clusters, seed=seed)
    people = {who for place, who, *_ in each if counts[place]}
    return HumanHRE(interval.estimate, interval.low, interval.high, interval.n, len(people))


def _each_against_the_others(
    given: Ratings,
) -> Iterator[tuple[str, list[float], list[float]]]:
    """Every annotator, the own ratings and the mean of the others', on the answers that both sides rated."""
    rows = np.array([list(row) for row in given.values()], dtype=np.float64)
    known = np.isfinite(rows)
    filled = np.where(known, rows, 0.0)
    for who, name in enumerate(given):
        others = np.arange(len(rows)) != who
        counts = known[others].sum(axis=0)
        both = known[who] & (counts > 0)
        if both.any():
            yield name, rows[who, both].tolist(), (filled[others][:, both].sum(axis=0) / counts[both]).tolist()
