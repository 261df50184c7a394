"""Statistics over questions that do not cry wolf: intervals, paired differences, and tests over many looks.

The unit is the question. `values` has shape (looks, questions): per-question Pearson r of every evaluation, the
first being the baseline; NaN where undefined. Everything is a pure function of its arguments and a seed: a test
at look t uses looks up to t only, so a resumed run decides as an uninterrupted one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from . import curve
from .draws import flipped_sums, resampled_sums
from .kept import Kept, contents_so_far

FloatArray = NDArray[np.float64]
Ints = NDArray[np.intp]
# a look's row, verdict and stop rule ask for the same falls, the next look for all of them and one more
_falls: Kept[tuple[float, FloatArray]] = Kept(512)
# and where each of its tests stands
_stands: Kept[_Stand] = Kept(2048)
_MOST_QUESTIONS, _MOST_ANSWERS = 1e15, 1_000_000
# Answers of a question, where nothing else is said.
_ANSWERS = 4
# Of one comparison; and what a difference of nothing may come to in floating point.
LEVEL, ROUNDING = 0.05, 1e-12


class _Stand(NamedTuple):
    """Where a test stands after a look: the flips that no look so far rejected, p and whether the run is rejected."""

    alive: NDArray[np.bool_]
    p: float
    rejected: bool


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its confidence interval, over `n` questions; NaN where there are too few."""

    estimate: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """How one evaluation differs from another on the same questions.

    Attributes:
        estimate, low, high: mean difference and its 95 % interval: the differences that the sign flips do not reject
            at 5 %, so that 0 lies in it if and only if `p` >= .05. NaN of fewer than 6 independent questions, which can
            reject nothing.
        p: two-sided sign-flip p-value for this one comparison (not corrected for other looks).
        rho: correlation of the two evaluations over questions; what pairing gains.
        mde: smallest difference that n questions show with 80 % power at two-sided 5 %; by the spread that was seen,
            and so by the number of answers too (`null_sd`).
        n: questions defined in both.
    """

    estimate: float
    low: float
    high: float
    p: float
    rho: float
    mde: float
    n: int


@dataclass(frozen=True, slots=True)
class LooksTest:
    """A test repeated at every look, with one error rate for all of them; arrays of shape (looks - 1,).

    Attributes:
        delta: the change tested at each look, negative for a fall.
        p: share of sign flips that fall as far at this look, among those that no earlier look rejected.
        spent: error rate spent up to and including each look.
        rejected: whether the fall is significant at this look.
    """

    delta: FloatArray
    p: FloatArray
    spent: FloatArray
    rejected: NDArray[np.bool_]


def known_clusters(labels: Sequence[str | None]) -> tuple[str | None, ...] | None:
    """The questions' cluster labels as the functions here take them: None when no question has one."""
    return None if all(label is None for label in labels) else tuple(labels)


def bootstrap_interval(
    values: Sequence[float] | FloatArray,
    *,
    clusters: Sequence[object] | None = None,
    method: Literal["bca", "percentile"] = "bca",
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Bootstrap interval of the mean over questions; NaNs are left out.

    Args:
        values: (questions,).
        clusters: (questions,) labels; whole clusters are resampled. `None` for independent questions.
        method: `"percentile"`, or `"bca"`, bias-corrected and accelerated (Efron 1987, eq. 2.3 and 6.6).
    """
    sums, counts = _cluster_sums(np.asarray(values, dtype=np.float64), cluster_numbers(clusters))
    n = int(counts.sum())
    estimate = float(sums.sum() / n) if n else float("nan")
    if len(sums) < 2 or np.ptp(sums / counts) == 0:
        point = float("nan") if len(sums) < 2 else estimate
        return Interval(estimate, point, point, n)
    means = resampled_sums(sums, resamples, seed)
    means /= n if np.all(counts == 1) else resampled_sums(counts, resamples, seed)
    tails = np.array([(1 - confidence) / 2, (1 + confidence) / 2])
    if method == "bca":
        tails = _bca_tails(tails, means, estimate, sums, counts)
    low, high = np.quantile(means, tails)
    return Interval(estimate, float(low), float(high), n)


def paired_difference(
    now: Sequence[float] | FloatArray,
    reference: Sequence[float] | FloatArray,
    *,
    clusters: Sequence[object] | None = None,
    resamples: int = 2000,
    seed: int = 0,
) -> PairedDifference:
    """The mean of `now - reference` over questions defined in both; see `PairedDifference`."""
    a, b = np.asarray(now, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    if a.shape != b.shape:
        raise ValueError(f"paired evaluations need the same questions; got shapes {a.shape} and {b.shape}")
    difference = a - b
    known = np.isfinite(difference)
    sums, counts = _cluster_sums(difference, cluster_numbers(clusters))
    n = int(counts.sum())
    estimate = float(sums.sum() / n) if n else float("nan")
    if len(sums) < 2:
        nan = float("nan")
        return PairedDifference(estimate, nan, nan, nan, nan, nan, n)
    low, high, p = _not_rejected(sums, counts, resamples, seed)
    se = float(np.sqrt(np.sum((sums - sums.mean()) ** 2) * len(sums) / (len(sums) - 1))) / n
    constant = min(np.ptp(a[known]), np.ptp(b[known])) == 0
    rho = float("nan") if constant else float(np.corrcoef(a[known], b[known])[0, 1])
    mde = float(special.ndtri(0.975) + special.ndtri(0.8)) * se
    return PairedDifference(estimate, low, high, p, rho, mde, n)


def _not_rejected(sums: FloatArray, counts: FloatArray, flips: int, seed: int) -> tuple[float, float, float]:
    """The lowest and the highest mean difference that sign flips do not reject at 5 %, and p of no difference.

    Of a supposed mean d the differences less d are flipped. A flip lies as far out as what was seen where d is between
    two values, in closed form; all of these stretches hold the mean that was seen, so the share of them that hold d
    falls on both sides of it (the inversion of a test: Lehmann & Romano 2005, section 5.10).
    """
    total, n = sums.sum(), counts.sum()
    flipped, weights = flipped_sums(np.stack([sums, counts]), flips, seed)
    with np.errstate(divide="ignore", invalid="ignore"):
        ends = np.stack([(total - flipped) / (n - weights), (total + flipped) / (n + weights)])
    # All signs alike: such a flip lies as far out whatever d is.
    same = np.abs(weights) >= n
    lows, highs = (np.where(same, end, found) for end, found in ((-np.inf, ends.min(0)), (np.inf, ends.max(0))))
    p = (1 + np.count_nonzero((lows <= ROUNDING) & (highs >= -ROUNDING))) / (flips + 1)
    needed = math.ceil(LEVEL * (flips + 1)) - 1
    low, high = np.sort(lows)[needed - 1], np.sort(highs)[-needed]
    low, high = (0.0 if abs(end) <= ROUNDING else float(end) for end in (low, high))
    return (low, high, float(p)) if math.isfinite(low + high) else (math.nan, math.nan, float(p))


def t_interval(
    values: Sequence[float] | FloatArray,
    *,
    clusters: Sequence[object] | None = None,
    confidence: float = 0.95,
) -> Interval:
    """Student's t interval of the mean over questions, for samples too small to resample; NaNs are left out.

    With clusters the spread is that of their sums around what their sizes predict (linearised ratio, Cochran 1977,
    eq. 2.49), on one degree of freedom less than there are clusters.
    """
    sums, counts = _cluster_sums(np.asarray(values, dtype=np.float64), cluster_numbers(clusters))
    n, groups = int(counts.sum()), len(sums)
    estimate = float(sums.sum() / n) if n else float("nan")
    if groups < 2:
        return Interval(estimate, float("nan"), float("nan"), n)
    se = np.sqrt(np.sum((sums - estimate * counts) ** 2) * groups / (groups - 1)) / n
    half = float(stats.t.ppf((1 + confidence) / 2, groups - 1) * se)
    return Interval(estimate, estimate - half, estimate + half, n)


def resampled_means(
    values: FloatArray, *, clusters: Sequence[object] | None = None, resamples: int = 2000, seed: int = 0
) -> FloatArray:
    """(resamples, looks) bootstrap means of several looks on the same drawn questions, or clusters of them.

    Args:
        values: (looks, questions), all finite.
    """
    numbers = cluster_numbers(clusters)
    rows = np.concatenate([values, np.ones((1, values.shape[1]))])
    sums = _grouped(rows, numbers)
    picks = np.random.default_rng(seed).integers(sums.shape[1], size=(resamples, sums.shape[1]))
    times = np.stack([np.bincount(pick, minlength=sums.shape[1]) for pick in picks]).astype(np.float64)
    totals: FloatArray = times @ sums.T
    return totals[:, :-1] / totals[:, -1:]


def units(values: Sequence[float] | FloatArray, clusters: Sequence[object] | None) -> int:
    """How many independent ones are among the finite values: clusters, or questions that have none."""
    return len(_cluster_sums(np.asarray(values, dtype=np.float64), cluster_numbers(clusters))[0])


def spent_alpha(looks: int, alpha: float, planned_looks: int | None) -> FloatArray:
    """(looks,) error rate spent up to each look.

    Linear when the number of looks is known, alpha t / T; else the sum of 6 alpha / (pi^2 t^2), which never
    passes alpha however many looks come (Lan & DeMets 1983 for spending as such).
    """
    t = np.arange(1, looks + 1, dtype=np.float64)
    if planned_looks is not None:
        return alpha * np.minimum(t / planned_looks, 1.0)
    return np.asarray(np.cumsum(6 * alpha / (np.pi**2 * t**2)))


def drop_from_start(
    values: FloatArray,
    *,
    alpha: float = 0.05,
    planned_looks: int | None = None,
    pooled: int = 2,
    clusters: Sequence[object] | None = None,
    flips: int = 4000,
    seed: int = 0,
) -> LooksTest:
    """Has HRE fallen below its start? One-sided sign-flip max-T over all looks so far, with alpha spending.

    At look t the mean of the last `pooled` looks is compared with look 0, question by question: a fall has to
    last, and the noise of a single evaluation is averaged away. Under no change a question's whole trajectory of
    differences is as likely as its mirror image, so flipping the sign of whole trajectories gives the joint
    distribution of all looks (Westfall & Young 1993, max-T). At each look the flips that fall furthest are
    rejected, as many as the spending allows; the run is, if it lies beyond them.

    Valid for independent noise around a common level and for a random walk without drift; conservative for a
    run that rises.
    """
    x = _differences(values, clusters)
    smooth = _pooled(x, pooled)

    def looks_from(first: int) -> Iterator[tuple[float, FloatArray]]:
        before = max(0, first + 1 - pooled)
        flipped = _pooled(flipped_sums(x[before:], flips, seed), pooled)[first - before :]
        for row, of_flips in zip(smooth[first:], flipped, strict=True):
            spread = np.sqrt((row**2).sum()) + 1e-300
            yield float(row.sum() / spread), of_flips / spread

    keys = [("start", x.shape[1], so_far, pooled, flips, seed) for so_far in contents_so_far(x)]
    return _sequential(smooth.sum(axis=1) / max(x.shape[1], 1), keys, looks_from, alpha, planned_looks)


def drop_from_best(
    values: FloatArray,
    *,
    alpha: float = 0.05,
    planned_looks: int | None = None,
    pooled: int = 2,
    clusters: Sequence[object] | None = None,
    flips: int = 4000,
    seed: int = 0,
) -> LooksTest:
    """Has HRE fallen from its best look so far? As `drop_from_start`, for the largest studentised drawdown.

    The best of many noisy looks is too good (winner's curse), so falling from it means little by itself. The
    same flips answer that: each flipped run has its own best look, chosen by the same rule, and the real
    drawdown must exceed theirs. No change at all is the least favourable case among runs that never truly fall,
    so the error rate holds for rising runs too. `delta` is the cross-fit estimate (`cross_fit_best`), which the
    choice of the best look does not bias.
    """
    x = _differences(values, clusters)
    keys = [("best", x.shape[1], so_far, pooled, flips, seed) for so_far in contents_so_far(x)]

    def falls(new: Sequence[int]) -> Iterator[tuple[float, FloatArray]]:
        flipped = flipped_sums(x, flips, seed)
        return (_fall_from_best(x[: t + 1], flipped[: t + 1], pooled) for t in new)

    def looks_from(first: int) -> list[tuple[float, FloatArray]]:
        return _falls.fill(keys[first:], lambda new: falls([first + t for t in new]))

    delta = _cross_fit_falls(values, pooled, clusters, seed)
    return _sequential(delta, keys, looks_from, alpha, planned_looks)


@dataclass(frozen=True, slots=True)
class CrossFitBest:
    """The best look, and what it is worth without the winner's curse.

    Attributes:
        look: the look with the highest mean over all questions.
        score: cross-fit mean at the best look: chosen on one half of the questions, read on the other.
        n: questions.
        level: the mean that the look was chosen by, pooled where the choice was.
    """

    look: int
    score: float
    n: int
    level: float


def cross_fit_best(
    values: FloatArray,
    *,
    window: int = 1,
    clusters: Sequence[object] | None = None,
    splits: int = 20,
    seed: int = 0,
) -> CrossFitBest:
    """The best look and its de-biased score (selection and reading on different halves, averaged over splits).

    Args:
        values: (looks, questions); questions undefined at any look are left out.
        window: looks that are pooled for the choice, see `curve.pooled`; what is read is the chosen look's own.
        clusters: (questions,) labels; a cluster is never in both halves.
    """
    known, halves = random_halves(values, clusters, splits, seed)
    n = known.shape[1]
    if not len(halves):
        return CrossFitBest(0, float("nan"), n, float("nan"))
    means, level = _half_means(known, halves), curve.pooled(known.mean(axis=1), window)
    best = curve.pooled(means, window).argmax(axis=0)
    score = float(means[best, others_of(len(halves))].mean())
    return CrossFitBest(int(level.argmax()), score, n, float(level.max()))


def selection_regret(
    values: FloatArray,
    proxy: Sequence[float] | FloatArray,
    *,
    clusters: Sequence[object] | None = None,
    splits: int = 20,
    seed: int = 0,
) -> Interval:
    """HRE lost by trusting a training signal: HRE at HRE's own best look minus HRE at the signal's best look.

    HRE's best is chosen on one half of the questions and both are read on the other half, so that noise does
    not look like regret. Interval by bootstrap over questions.

    Args:
        values: (looks, questions).
        proxy: (looks,), higher is better; NaN where the signal was not logged.
        clusters: (questions,) labels, see `cross_fit_best`.
    """
    lost = selection_losses(values, proxy, clusters=clusters, splits=splits, seed=seed)
    return bootstrap_interval(lost, clusters=clusters, method="percentile", seed=seed)


def selection_losses(
    values: FloatArray,
    proxy: Sequence[float] | FloatArray,
    *,
    clusters: Sequence[object] | None = None,
    splits: int = 20,
    seed: int = 0,
) -> FloatArray:
    """(questions,) what `selection_regret` is the mean of; NaN where a question is undefined at any look."""
    known, halves = random_halves(values, clusters, splits, seed)
    signal = np.asarray(proxy, dtype=np.float64)
    lost = np.full(values.shape[1], np.nan)
    if not len(halves) or not np.isfinite(signal).any():
        return lost
    best = _half_means(known, halves).argmax(axis=0)
    # every question is read once a split, at the look that the half without it chose
    read = (known[best] * halves[others_of(len(halves))]).sum(axis=0) / splits
    lost[np.isfinite(values).all(axis=0)] = read - known[int(np.nanargmax(signal))]
    return lost


def null_sd(answers: int) -> float:
    """Standard deviation of a question's Pearson r where scores and votes have nothing to do with each other.

    Over all orders of k scores r has variance 1 / (k - 1) (Pitman 1937): 1 for two answers, of which r is +1 or -1, and
    .577 for four.

    Raises:
        ValueError: fewer than two answers, or more than there can be.
    """
    if not 2 <= answers <= _MOST_ANSWERS:
        raise ValueError(f"answers must be from 2 to {_MOST_ANSWERS:,}, as a question has; got {answers}")
    return float((answers - 1) ** -0.5)


def power(delta: float, n: int, rho: float, *, sd: float | None = None, alpha: float = 0.05) -> float:
    """Chance that n questions show a true difference `delta` in one two-sided paired comparison (normal theory).

    The difference of a question has variance 2 sd^2 (1 - rho); `sd` is `null_sd` of four answers unless given.

    Raises:
        ValueError: as for `questions_needed`.
    """
    sd = null_sd(_ANSWERS) if sd is None else sd
    _check_design(delta, rho, sd)
    # A spread too small for a float is none: z is infinite then, as it should be.
    with np.errstate(divide="ignore", over="ignore"):
        z = np.float64(abs(delta)) / (sd * np.sqrt(2 * (1 - rho) / n))
    critical = stats.norm.ppf(1 - alpha / 2)
    return float(stats.norm.cdf(z - critical) + stats.norm.cdf(-z - critical))


def questions_needed(
    delta: float, rho: float, *, sd: float | None = None, power: float = 0.8, alpha: float = 0.05
) -> int:
    """Questions to see a true difference `delta` in one two-sided paired comparison.

    They are 2 sd^2 (1 - rho) (z_a + z_b)^2 / delta^2.

    Of four answers (sd .577) that is 52,326 (1 - rho) for a hundredth at 80 % power, of two three times as many. Never
    fewer than the two that have a spread.

    Raises:
        ValueError: `delta` is 0 or beyond 2, `rho` is not from -1 to below 1, or `sd` not above 0 and below 2; or it
            would take more questions than there are.
    """
    sd = null_sd(_ANSWERS) if sd is None else sd
    _check_design(delta, rho, sd)
    z = stats.norm.ppf(1 - alpha / 2) + stats.norm.ppf(power)
    # Not squared one by one: the square of a small number is 0.
    needed = 2 * (1 - rho) * (sd * z / abs(delta)) ** 2 if abs(delta) > 1e-150 else np.inf
    if needed > _MOST_QUESTIONS:
        raise ValueError(
            f"delta {delta:g} would take more than {_MOST_QUESTIONS:.0e} questions (rho {rho:g}, sd {sd:g}); "
            "expected a larger difference"
        )
    return max(2, int(np.ceil(needed)))


def _check_design(delta: float, rho: float, sd: float) -> None:
    # Written so that NaN fails too.
    if not (0 < abs(delta) <= 2):
        raise ValueError(
            f"delta must lie between -2 and 2, as differences of correlations do, and not be 0; got {delta}"
        )
    if not (-1 <= rho < 1):
        raise ValueError(
            f"rho must lie from -1 to below 1 (at 1 the evaluations are alike and any difference shows); got {rho}"
        )
    if not (0 < sd < 2):
        raise ValueError(f"sd must lie above 0 and below 2, correlations lie between -1 and 1; got {sd}")


def cluster_numbers(clusters: Sequence[object] | None) -> Ints | None:
    """(questions,) their clusters as numbers, in the order of their labels; a question without one has its own."""
    return None if clusters is None else _numbered(tuple(clusters))


@lru_cache(maxsize=8)
def _numbered(clusters: tuple[object, ...]) -> Ints:
    labels = [f"c{c}" if c is not None else f"q{i}" for i, c in enumerate(clusters)]
    return np.unique(np.array(labels, dtype=str), return_inverse=True)[1]


def _cluster_sums(values: FloatArray, numbers: Ints | None) -> tuple[FloatArray, FloatArray]:
    """Sum and count of the finite values of every cluster; a question without a cluster is one of its own."""
    known = np.isfinite(values)
    if numbers is None:
        return values[known], np.ones(int(known.sum()))
    _, index = np.unique(numbers[known], return_inverse=True)
    return np.bincount(index, weights=values[known]).astype(np.float64), np.bincount(index).astype(np.float64)


def _bca_tails(
    tails: FloatArray, means: FloatArray, estimate: float, sums: FloatArray, counts: FloatArray
) -> FloatArray:
    below = np.clip((means < estimate).mean() + (means == estimate).mean() / 2, 1e-6, 1 - 1e-6)
    bias = special.ndtri(below)
    # Jackknife over clusters.
    left_out = (sums.sum() - sums) / (counts.sum() - counts)
    d = left_out.mean() - left_out
    acceleration = (d**3).sum() / (6 * (d**2).sum() ** 1.5 + 1e-300)
    z = bias + special.ndtri(tails)
    return np.asarray(special.ndtr(bias + z / (1 - acceleration * z)))


def _differences(values: FloatArray, clusters: Sequence[object] | None) -> FloatArray:
    """(looks - 1, questions or clusters): change since look 0, summed within clusters; undefined ones left out."""
    known, numbers = _defined(values, clusters)
    return _grouped(known[1:] - known[0], numbers)


def _defined(values: FloatArray, clusters: Sequence[object] | None) -> tuple[FloatArray, Ints | None]:
    """Of (looks, questions), those questions that are defined at every look, and the numbers of their clusters."""
    keep = np.isfinite(values).all(axis=0)
    numbers = cluster_numbers(clusters)
    return values[:, keep], None if numbers is None else numbers[keep]


def grouped(rows: FloatArray, clusters: Sequence[object] | None) -> FloatArray:
    """Rows of (looks, questions) summed within clusters."""
    return _grouped(rows, cluster_numbers(clusters))


def _grouped(rows: FloatArray, numbers: Ints | None) -> FloatArray:
    """The same by the clusters' numbers."""
    if numbers is None:
        return rows
    labels, index = np.unique(numbers, return_inverse=True)
    sums = [np.bincount(index, weights=row, minlength=len(labels)) for row in rows]
    return np.array(sums, dtype=np.float64).reshape(len(rows), len(labels))


def _pooled(rows: FloatArray, looks: int) -> FloatArray:
    """Mean of each row and those before it, `looks` in all (fewer at the beginning)."""
    return np.stack([rows[max(0, t + 1 - looks) : t + 1].mean(axis=0) for t in range(len(rows))])


def _fall_from_best(x: FloatArray, flipped: FloatArray, pooled: int) -> tuple[float, FloatArray]:
    """The largest studentised fall of the last looks from one before them, of the run and (flips,) of each flip.

    Args:
        x: (looks, questions) changes since look 0, which is a candidate for the best.
        flipped: (looks, flips) their sums with random signs.
    """
    before = slice(0, max(1, len(x) + 1 - min(pooled, len(x))))
    whole, flipped_whole = (np.concatenate([np.zeros_like(rows[:1]), rows])[before] for rows in (x, flipped))
    gaps = x[-pooled:].mean(axis=0) - whole
    spread = np.sqrt((gaps**2).sum(axis=1)) + 1e-300
    flipped_gaps = flipped[-pooled:].mean(axis=0) - flipped_whole
    return float((gaps.sum(axis=1) / spread).min()), (flipped_gaps / spread[:, None]).min(axis=0)


def _sequential(
    delta: FloatArray,
    keys: Sequence[Hashable],
    looks_from: Callable[[int], Iterable[tuple[float, FloatArray]]],
    alpha: float,
    planned_looks: int | None,
) -> LooksTest:
    """Reject, look by look, as many of the furthest flips as the spending allows, and the run if it lies beyond.

    Flips that were rejected leave: what is spent at a look is the chance of a *first* rejection there.

    Args:
        keys: what stands for each look together with all before it.
        looks_from: from a look on, the statistic of the run and (flips,) those of its flips.
    """
    spent = spent_alpha(len(keys), alpha, planned_looks)
    rates: list[float] = spent.tolist()

    def stand(first: int, before: _Stand | None) -> Iterator[_Stand]:
        for t, (observed, flipped) in enumerate(looks_from(first), start=first):
            alive = np.ones(len(flipped), dtype=bool) if before is None else before.alive.copy()
            left, beyond = (int(np.count_nonzero(some)) for some in (alive, alive & (flipped <= observed + 1e-12)))
            allowed = int(rates[t] * len(flipped)) - (len(flipped) - left)
            if allowed > 0:
                alive[_smallest(np.where(alive, flipped, np.inf), allowed)] = False
            before = _Stand(alive, (1 + beyond) / (1 + left), 1 + beyond <= allowed)
            yield before

    stands = _stands.walk([(key, alpha, planned_looks) for key in keys], stand)
    return LooksTest(
        delta, np.array([at.p for at in stands]), spent, np.array([at.rejected for at in stands], dtype=bool)
    )


def _smallest(values: FloatArray, count: int) -> Ints:
    """Where the `count` smallest values are; of equal ones the first."""
    edge = np.partition(values, count - 1)[count - 1]
    below = np.flatnonzero(values < edge)
    return np.concatenate([below, np.flatnonzero(values == edge)[: count - len(below)]])


def random_halves(
    values: FloatArray, clusters: Sequence[object] | None, splits: int, seed: int
) -> tuple[FloatArray, FloatArray]:
    """The questions that are defined at every look, and random halves of them, or of their clusters.

    Returns:
        (looks, questions), and (2 splits, questions) 1 for the questions in a half; the half after every even one
        holds the others. No halves of fewer than two questions or clusters.
    """
    known, numbers = _defined(values, clusters)
    labels, index = np.unique(np.arange(known.shape[1]) if numbers is None else numbers, return_inverse=True)
    rng = np.random.default_rng(seed)
    halves = np.zeros((2 * splits if len(labels) > 1 else 0, known.shape[1]))
    for first, second in zip(halves[::2], halves[1::2], strict=True):
        chosen = np.zeros(len(labels))
        chosen[rng.permutation(len(labels))[: len(labels) // 2]] = 1
        first[:], second[:] = chosen[index], 1 - chosen[index]
    return known, halves


def _half_means(known: FloatArray, halves: FloatArray) -> FloatArray:
    """(looks, halves) mean of every look over every half."""
    means: FloatArray = known @ halves.T / halves.sum(axis=1)
    return means


def others_of(halves: int) -> Ints:
    """The number of every half's other half."""
    return np.arange(halves) ^ 1


def _read_elsewhere(means: FloatArray) -> FloatArray:
    """(looks,) mean over the halves: the best look so far is chosen on one and read on the other.

    Args:
        means: (looks, halves).
    """
    before = np.maximum.accumulate(means, axis=0)[:-1]
    new = np.concatenate([np.ones((1, means.shape[1]), dtype=bool), means[1:] > before])
    best = np.maximum.accumulate(np.where(new, np.arange(len(means))[:, None], 0), axis=0)
    read: FloatArray = means[best, others_of(means.shape[1])].mean(axis=1)
    return read


def _cross_fit_falls(values: FloatArray, pooled: int, clusters: Sequence[object] | None, seed: int) -> FloatArray:
    """(looks - 1,) mean of each look and those pooled with it, minus the cross-fit value of the best before them."""
    known, halves = random_halves(values, clusters, 4, seed)
    if not len(halves):
        return np.full(len(values) - 1, np.nan)
    means, level = _half_means(known, halves), known.mean(axis=1)
    looks = np.arange(1, len(values))
    firsts = np.maximum(1, looks + 1 - pooled)
    so_far = np.concatenate([[0.0], np.cumsum(level)])
    recent = (so_far[looks + 1] - so_far[firsts]) / (looks + 1 - firsts)
    return np.asarray(recent - _read_elsewhere(means)[firsts - 1])
