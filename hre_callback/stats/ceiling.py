"""How high could HRE go? The reliability of the votes, and the human's own HRE where annotators are named."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .correlation import FloatArray, over_questions, pearson
from .significance import bootstrap_interval


def human_ceiling(votes: Sequence[Sequence[float]], *, splits: int = 20, seed: int = 0) -> float:
    """Correlation with the observed votes that a model would reach which knew what people think without noise.

    Every vote is dealt at random to one of two halves (binomial thinning: halves of Poisson counts are independent
    given the true quality). The mean correlation r of the halves over questions is the reliability of half the
    votes; Spearman-Brown gives that of all of them, 2r / (1 + r), and its square root is the ceiling (Spearman
    1910; Brown 1910). A negative score deals its magnitude and keeps its sign: only the net score is known, so
    the noise of up and down votes that cancel is missed and the ceiling is, if anything, too high.

    Returns NaN when no question's votes differ, and when votes are not all integers: only counts can be dealt out.
    """
    if not are_counts(votes):
        return float("nan")
    differ = [question for question in votes if len(set(question)) > 1]
    if not differ:
        return float("nan")
    dealt = _dealt(differ, splits, seed)
    r = max(0.0, float(np.mean(over_questions(_reliability, differ, dealt))))
    return float(np.sqrt(2 * r / (1 + r)))


def _dealt(votes: Sequence[Sequence[float]], splits: int, seed: int) -> list[list[float]]:
    """Per question, the first halves of its votes, one split after the other; drawn question by question."""
    sizes = np.array([len(question) for question in votes])
    every = np.concatenate([np.tile(np.asarray(question, dtype=np.int64), splits) for question in votes])
    halves = np.sign(every) * np.random.default_rng(seed).binomial(np.abs(every), 0.5)
    return [part.tolist() for part in np.split(halves, np.cumsum(sizes * splits)[:-1])]


def _reliability(votes: FloatArray, dealt: FloatArray) -> FloatArray:
    """(questions,) mean correlation of the two halves over the splits in which both differ; 0 where none does.

    Args:
        votes: (questions, answers).
        dealt: (questions, splits x answers).
    """
    first = dealt.reshape(len(votes), -1, votes.shape[1])
    second = votes[:, None] - first
    both = (np.ptp(first, axis=-1) > 0) & (np.ptp(second, axis=-1) > 0)
    r = np.where(both, pearson(first, second), 0.0)
    return np.asarray(r.sum(axis=1) / np.maximum(both.sum(axis=1), 1))


def are_counts(votes: Sequence[Sequence[float]]) -> bool:
    """Whether every vote is a whole number, as votes that were counted are."""
    return all(float(vote).is_integer() for question in votes for vote in question)


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
    ratings: Sequence[Mapping[str, Sequence[float | None]] | None],
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
    given: Mapping[str, Sequence[float | None]],
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
