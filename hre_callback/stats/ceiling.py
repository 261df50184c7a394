"""How high could HRE go? The reliability of the votes, by what they were made of."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import special

from .correlation import FloatArray, over_questions, pearson

# Annotator -> one rating an answer, `None` where not rated.
Ratings = Mapping[str, Sequence[float | None]]
CeilingSource = Literal["annotators", "counts", "few raters", "no counts", "alike", "judge"]
# No rating scale and no list of ranks that people fill in goes beyond it; votes that are counted do.
_WIDEST_SCALE = 10
# Mean correlation of votes and ratings from which on the ratings are what the votes were made of.
_MADE_OF = 0.9
# Questions rated by two people or more, below which nothing is said of people.
_LEAST_RATED = 6


@dataclass(frozen=True, slots=True)
class Ceiling:
    """How high HRE could go, and where that is known from.

    Attributes:
        value: NaN where it is not known.
        source: `annotators` (split in halves) or `counts` (dealt into halves); else why there is none: `few raters`,
            `no counts`, `alike` (the votes of no question differ), `judge` (the votes are not people's).
        n: questions that it was taken from; of `few raters` those that two people or more rated.
    """

    value: float = math.nan
    source: CeilingSource | None = None
    n: int = 0


def human_ceiling(
    votes: Sequence[Sequence[float]],
    ratings: Sequence[Ratings | None] = (),
    *,
    counted: Sequence[bool | None] = (),
    splits: int = 20,
    seed: int = 0,
) -> Ceiling:
    """Mean correlation with the votes that a model would reach which knew what people think without noise.

    The votes are made twice from halves of what they were made of, and the mean r of the two is taken over the
    questions: from random halves of a question's annotators, where their ratings are what the votes were made of;
    from votes dealt at random to one of two halves, where they are counts (binomial thinning: halves of Poisson
    counts are independent given the true quality). What r comes to for all annotators or votes instead of half, and
    for the truth instead of more votes, is Spearman-Brown's formula and its square root (Spearman 1910; Brown 1910),
    between correlations in the population: of a few answers the mean r is lower (`expected_r`).

    Args:
        votes: per question one an answer.
        ratings: per question; `None`, or empty, without ratings.
        counted: per question whether its votes are counts, as its source declares; where nobody says, the values do
            (`are_counts`). Net votes count: a negative score deals its magnitude and keeps its sign, so that the noise
            of up and down votes that cancel is missed and the ceiling is, if anything, too high.
    """
    if not any(len(set(question)) > 1 for question in votes):
        return Ceiling(source="alike")
    rated = [(_mean(given), given, row) for row, given in zip(votes, ratings, strict=False) if given]
    if _made_of([(row, mean) for mean, _, row in rated]):
        return _of_annotators([given for _, given, _ in rated], splits, seed)
    if _are_declared(counted) is False or not _whole(votes):
        return Ceiling(source="no counts")
    if _are_declared(counted) is None and not are_counts(votes):
        return Ceiling(source="no counts")
    return Ceiling(_of_counts(votes, splits, seed), "counts", len(votes))


def are_counts(votes: Sequence[Sequence[float]]) -> bool:
    """Whether values look like votes that were counted, and not like labels, ratings, ranks, means or logarithms.

    They are whole numbers, further apart than a rating scale goes, and not the ranks of every question. What looks
    like a count and is none, a scale up to 100, only its source can declare.
    """
    every = [vote for question in votes for vote in question]
    wide = bool(every) and max(every) > 0 and max(every) - min(every) > _WIDEST_SCALE
    ranks = all(max(row) - min(row) == len(row) - 1 == len(set(row)) - 1 for row in votes)
    return wide and _whole(votes) and not ranks


def expected_r(rho: FloatArray | float, n: FloatArray | float) -> FloatArray:
    """Mean of Pearson's r over samples of n from a bivariate normal of correlation rho (Hotelling 1953).

    2 arcsin(rho) / pi for two answers, .87 for four where rho is .9, rho for many.
    """
    n = np.asarray(n, dtype=np.float64)
    scale = 2 / (n - 1) * np.exp(2 * (special.gammaln(n / 2) - special.gammaln((n - 1) / 2)))
    return np.asarray(rho * scale * special.hyp2f1(0.5, 0.5, (n + 1) / 2, np.square(rho)))


def _are_declared(counted: Sequence[bool | None]) -> bool | None:
    """What the sources say of all votes together; `None` where one of them says nothing, and none says no."""
    if any(one is False for one in counted):
        return False
    return True if counted and all(counted) else None


def _whole(votes: Sequence[Sequence[float]]) -> bool:
    return all(float(vote).is_integer() for question in votes for vote in question)


# ---- votes that are counts -------------------------------------------------------------------------------


def _of_counts(votes: Sequence[Sequence[float]], splits: int, seed: int) -> float:
    """The ceiling by binomial thinning: half of the votes have half of the reliability, of the true quality."""
    found = over_questions(_agreement, votes, _dealt(votes, splits, seed))
    answers = np.array([len(question) for question in votes], dtype=np.float64)
    half = _solved(lambda rho: expected_r(rho, answers), found)
    differ = np.mean([len(set(question)) > 1 for question in votes])
    return float(np.mean(expected_r(np.sqrt(_longer(half, 2)), answers)) / differ)


def _dealt(votes: Sequence[Sequence[float]], splits: int, seed: int) -> list[list[float]]:
    """Per question, the first halves of its votes, one split after the other; drawn question by question."""
    sizes = np.array([len(question) for question in votes])
    every = np.concatenate([np.tile(np.asarray(question, dtype=np.int64), splits) for question in votes])
    halves = np.sign(every) * np.random.default_rng(seed).binomial(np.abs(every), 0.5)
    return [part.tolist() for part in np.split(halves, np.cumsum(sizes * splits)[:-1])]


def _agreement(votes: FloatArray, dealt: FloatArray) -> FloatArray:
    """(questions,) mean correlation of the two halves over the splits; 0 of a split in which one is constant.

    Args:
        votes: (questions, answers).
        dealt: (questions, splits x answers).
    """
    first = dealt.reshape(len(votes), -1, votes.shape[1])
    return np.asarray(np.nan_to_num(pearson(first, votes[:, None] - first)).mean(axis=1))


# ---- annotators whose ratings the votes were made of ------------------------------------------------------


def _made_of(rated: Sequence[tuple[Sequence[float], FloatArray]]) -> bool:
    """Whether votes are what ratings come to, but for their unit: then the ratings tell how reliable they are."""
    both = [(row, mean) for row, mean in rated if len(set(row)) > 1 and np.isfinite(mean).sum() > 1]
    known = [(np.asarray(row, dtype=np.float64)[np.isfinite(mean)], mean[np.isfinite(mean)]) for row, mean in both]
    r = [float(pearson(row, mean)) for row, mean in known if np.ptp(row) > 0]
    return bool(r) and math.fsum(r) / len(r) >= _MADE_OF


def _mean(given: Ratings) -> FloatArray:
    """(answers,) mean rating; NaN where nobody rated."""
    rows = np.array([list(row) for row in given.values()], dtype=np.float64)
    known = np.isfinite(rows).sum(axis=0)
    return np.where(known > 0, np.where(np.isfinite(rows), rows, 0.0).sum(axis=0) / np.maximum(known, 1), np.nan)


def _of_annotators(ratings: Sequence[Ratings], splits: int, seed: int) -> Ceiling:
    """The ceiling by random halves of each question's annotators.

    One annotator's reliability is what makes the halves agree as they do; that of all of them follows, question by
    question, however many there are.
    """
    rows = [np.array([list(row) for row in given.values()], dtype=np.float64) for given in ratings]
    r, first, second, shared = _halves(rows, splits, np.random.default_rng(seed)).T
    if len(r) < _LEAST_RATED:
        return Ceiling(source="few raters", n=len(r))
    if all(row.shape[1] == 2 and _are_choices(row[:, 1] - row[:, 0]) for row in rows):
        return Ceiling(_of_choices(rows), "annotators", len(r))
    one = _solved(lambda rho: expected_r(np.sqrt(_longer(rho, first) * _longer(rho, second)), shared), r)
    known = [row[:, np.isfinite(row).any(axis=0)] for row in rows]
    several = [row for row in known if row.shape[1] > 1]
    people = np.array([_harmonic(np.isfinite(row).sum(axis=0)) for row in several])
    reached = expected_r(np.sqrt(_longer(one, people)), np.array([row.shape[1] for row in several]))
    differ = sum(np.ptp(np.nanmean(row, axis=0)) > 0 for row in several)
    return Ceiling(float(reached.sum() / max(1, differ)), "annotators", len(r))


def _halves(ratings: Sequence[FloatArray], splits: int, rng: np.random.Generator) -> FloatArray:
    """(questions, 4) mean over splits of r, of the annotators in either half, and of the answers that both rated.

    Of those questions that have two annotators or more, of whom two halves ever share two answers.
    """
    alike: defaultdict[tuple[int, ...], list[FloatArray]] = defaultdict(list)
    for given in ratings:
        if len(given) > 1:
            alike[given.shape].append(given)
    found = [np.zeros((0, 4))]
    for same in alike.values():
        told = np.stack([_one_split(np.stack(same), rng) for _ in range(splits)])
        usable = told[..., 3] > 1
        times = usable.sum(axis=0)
        found.append(np.where(usable[..., None], told, 0.0).sum(axis=0)[times > 0] / times[times > 0, None])
    return np.concatenate(found)


def _one_split(ratings: FloatArray, rng: np.random.Generator) -> FloatArray:
    """(questions, 4) what `_halves` is the mean of, for one split; r is 0 where a half rates all alike.

    Args:
        ratings: (questions, annotators, answers), NaN where not rated.
    """
    first = rng.random(ratings.shape[:2]).argsort(axis=1) < ratings.shape[1] // 2
    known = np.isfinite(ratings)
    sides = np.stack([first, ~first]).astype(np.float64)
    counts = np.einsum("sqp,qpa->sqa", sides, known.astype(np.float64))
    sums = np.einsum("sqp,qpa->sqa", sides, np.where(known, ratings, 0.0))
    shared = (counts > 0).all(axis=0)
    n = shared.sum(axis=1)
    with np.errstate(all="ignore"):
        means = np.where(shared, sums / counts, 0.0)
        a, b = np.where(shared, means - (means.sum(axis=-1) / n)[..., None], 0.0)
        r = (a * b).sum(axis=-1) / np.sqrt((a * a).sum(axis=-1) * (b * b).sum(axis=-1))
        people = n / np.where(shared, 1 / counts, 0.0).sum(axis=-1)
    # What differs by rounding alone is alike.
    flat = (np.abs([a, b]).max(axis=-1) < 1e-12).any(axis=0)
    return np.stack([np.where(flat | (n < 2), 0.0, r), *np.nan_to_num(people), n.astype(np.float64)], axis=1)


def _of_choices(ratings: Sequence[FloatArray]) -> float:
    """The ceiling where people choose one of two answers: how often a majority is that of everybody.

    The share of people who would choose the first is taken to be Beta(a, a) over the questions, with the a that makes
    two people agree as often as they do; ties of a majority are left out, as HRE leaves them out.
    """
    people = np.array([len(row) for row in ratings])
    lead = np.array([np.sign(row[:, 0] - row[:, 1]).sum() for row in ratings])
    agreement = float((lead**2 - people).sum() / (people * (people - 1)).sum())
    a = (1 / min(max(agreement, 1e-3), 0.999) - 1) / 2
    share = special.betaincinv(a, a, np.linspace(0.5, 1, 201)[:-1] + 0.00125)
    sizes, times = np.unique(people, return_counts=True)
    right, wrong = (
        [float(special.bdtr((n - 1) // 2, n, chance).mean()) for n in sizes] for chance in (1 - share, share)
    )
    return float(times @ np.subtract(right, wrong) / (times @ np.add(right, wrong)))


def _are_choices(differences: FloatArray) -> bool:
    """Whether everybody prefers one of two answers, and all by as much."""
    size = np.abs(differences)
    return bool(size.min() > 0 and np.ptp(size) == 0)


def _harmonic(counts: FloatArray) -> float:
    return float(len(counts) / (1 / counts).sum())


def _longer(rho: FloatArray | float, times: FloatArray | float) -> FloatArray:
    """Reliability of so many times as much (Spearman 1910; Brown 1910)."""
    return np.asarray(times * rho / (1 + (times - 1) * rho))


def _solved(expected: Callable[[float], FloatArray], found: FloatArray) -> float:
    """The correlation from 0 to 1 at which the expected r are what was found, in the mean over the questions."""
    low, high, mean = 0.0, 1.0, float(found.mean())
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if expected(middle).mean() < mean else (low, middle)
    return (low + high) / 2
