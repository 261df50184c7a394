"""Statistics over questions that do not cry wolf: intervals, paired differences, and tests over many looks.

The unit is the question. `values` has shape (looks, questions): per-question Pearson r of every evaluation, the
first being the baseline; NaN where undefined. Everything is a pure function of its arguments and a seed: a test
at look t uses looks up to t only, so a resumed run decides as an uninterrupted one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

FloatArray = NDArray[np.float64]
_CHUNK = 4_000_000  # numbers held at a time while resampling
_NULL_SD = 0.5  # sd of a per-question Pearson r over 4 answers, as seen on real models


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
        estimate, low, high: mean difference and its interval.
        p: two-sided sign-flip p-value for this one comparison (not corrected for other looks).
        rho: correlation of the two evaluations over questions; what pairing gains.
        mde: smallest difference that n questions show with 80 % power at two-sided 5 %.
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
    sums, counts = _cluster_sums(np.asarray(values, dtype=np.float64), clusters)
    n = int(counts.sum())
    estimate = float(sums.sum() / n) if n else float("nan")
    if len(sums) < 2 or np.ptp(sums / counts) == 0:
        point = float("nan") if len(sums) < 2 else estimate
        return Interval(estimate, point, point, n)
    means = _resampled_means(sums, counts, resamples, seed)
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
    interval = bootstrap_interval(difference, clusters=clusters, resamples=resamples, seed=seed)
    sums, _ = _cluster_sums(difference, clusters)
    known = np.isfinite(difference)
    if len(sums) < 2:
        nan = float("nan")
        return PairedDifference(interval.estimate, nan, nan, nan, nan, nan, interval.n)
    flipped = _flip(sums[:, None], resamples, seed)[:, 0]
    p = (1 + np.count_nonzero(np.abs(flipped) >= abs(sums.sum()) - 1e-12)) / (resamples + 1)
    se = float(np.sqrt(np.sum((sums - sums.mean()) ** 2) * len(sums) / (len(sums) - 1))) / interval.n
    constant = min(np.ptp(a[known]), np.ptp(b[known])) == 0
    rho = float("nan") if constant else float(np.corrcoef(a[known], b[known])[0, 1])
    mde = float(stats.norm.ppf(0.975) + stats.norm.ppf(0.8)) * se
    return PairedDifference(interval.estimate, interval.low, interval.high, float(p), rho, mde, interval.n)


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
    means = smooth.sum(axis=0)
    spread = np.sqrt((smooth**2).sum(axis=0)) + 1e-300
    flipped = _flip(smooth, flips, seed) / spread
    return _sequential(means / max(len(x), 1), means / spread, flipped, alpha, planned_looks)


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
    smooth = _pooled(x, pooled)
    looks = smooth.shape[1]
    whole = np.concatenate([np.zeros((len(x), 1)), x], axis=1)  # look 0 is a candidate for the best
    flipped_all = _flip(np.concatenate([whole, smooth], axis=1), flips, seed)
    real_all = np.concatenate([whole, smooth], axis=1).sum(axis=0)
    observed, resampled = np.empty(looks), np.empty((flips, looks))
    for t in range(looks):
        earlier = slice(0, max(1, t + 2 - min(pooled, t + 1)))  # looks before those pooled
        gaps = smooth[:, [t]] - whole[:, earlier]
        spread = np.sqrt((gaps**2).sum(axis=0)) + 1e-300
        observed[t] = ((real_all[looks + 1 + t] - real_all[earlier]) / spread).min()
        resampled[:, t] = ((flipped_all[:, [looks + 1 + t]] - flipped_all[:, earlier]) / spread).min(axis=1)
    delta = np.array([_cross_fit_fall(values[: t + 2], pooled, seed) for t in range(looks)])
    return _sequential(delta, observed, resampled, alpha, planned_looks)


@dataclass(frozen=True, slots=True)
class CrossFitBest:
    """The best look, and what it is worth without the winner's curse.

    Attributes:
        look: the look with the highest mean over all questions.
        score: cross-fit mean at the best look: chosen on one half of the questions, read on the other.
        n: questions.
    """

    look: int
    score: float
    n: int


def cross_fit_best(values: FloatArray, *, splits: int = 20, seed: int = 0) -> CrossFitBest:
    """The best look and its de-biased score (selection and reading on different halves, averaged over splits).

    Args:
        values: (looks, questions); questions undefined at any look are left out.
    """
    known = values[:, np.isfinite(values).all(axis=0)]
    n = known.shape[1]
    if n < 2:
        return CrossFitBest(0, float("nan"), n)
    scores = [known[known[:, a].mean(axis=1).argmax(), b].mean() for a, b in _halves(n, splits, seed)]
    return CrossFitBest(int(known.mean(axis=1).argmax()), float(np.mean(scores)), n)


def selection_regret(
    values: FloatArray, proxy: Sequence[float] | FloatArray, *, splits: int = 20, seed: int = 0
) -> Interval:
    """HRE lost by trusting a training signal: HRE at HRE's own best look minus HRE at the signal's best look.

    HRE's best is chosen on one half of the questions and both are read on the other half, so that noise does
    not look like regret. Interval by bootstrap over questions.

    Args:
        values: (looks, questions).
        proxy: (looks,), higher is better; NaN where the signal was not logged.
    """
    signal = np.asarray(proxy, dtype=np.float64)
    keep = np.isfinite(values).all(axis=0)
    known = values[:, keep]
    if known.shape[1] < 2 or not np.isfinite(signal).any():
        return Interval(float("nan"), float("nan"), float("nan"), int(keep.sum()))
    trusted = int(np.nanargmax(signal))
    lost, counts = np.zeros(known.shape[1]), np.zeros(known.shape[1])
    for chosen, read in _halves(known.shape[1], splits, seed):
        best = known[:, chosen].mean(axis=1).argmax()
        lost[read] += known[best, read] - known[trusted, read]
        counts[read] += 1
    return bootstrap_interval(lost / counts, method="percentile", seed=seed)


def power(delta: float, n: int, rho: float, *, sd: float = _NULL_SD, alpha: float = 0.05) -> float:
    """Chance that n questions show a true difference `delta` in one two-sided paired comparison (normal theory).

    The difference of a question has variance 2 sd^2 (1 - rho).
    """
    z = abs(delta) / (sd * np.sqrt(2 * (1 - rho) / n)) if rho < 1 else np.inf
    critical = stats.norm.ppf(1 - alpha / 2)
    return float(stats.norm.cdf(z - critical) + stats.norm.cdf(-z - critical))


def questions_needed(
    delta: float, rho: float, *, sd: float = _NULL_SD, power: float = 0.8, alpha: float = 0.05
) -> int:
    """Questions to see a true difference `delta` in one two-sided paired comparison: 2 sd^2 (1 - rho) (z_a + z_b)^2 / delta^2.

    With sd = 0.5 that is 39,244 (1 - rho) for a hundredth at 80 % power.

    Raises:
        ValueError: `delta` is 0 or `rho` is not between -1 and 1.
    """
    if delta == 0 or not -1 <= rho <= 1:
        raise ValueError(f"delta must not be 0 and rho must lie between -1 and 1; got {delta} and {rho}")
    z = stats.norm.ppf(1 - alpha / 2) + stats.norm.ppf(power)
    return int(np.ceil(2 * sd**2 * (1 - rho) * z**2 / delta**2))


def _cluster_sums(values: FloatArray, clusters: Sequence[object] | None) -> tuple[FloatArray, FloatArray]:
    """Sum and count of the finite values of every cluster; a question without a cluster is one of its own."""
    known = np.isfinite(values)
    if clusters is None:
        return values[known], np.ones(int(known.sum()))
    _, index = np.unique(_labels(clusters)[known], return_inverse=True)
    return np.bincount(index, weights=values[known]).astype(np.float64), np.bincount(index).astype(np.float64)


def _labels(clusters: Sequence[object]) -> NDArray[np.str_]:
    return np.array([f"c{c}" if c is not None else f"q{i}" for i, c in enumerate(clusters)], dtype=str)


def _resampled_means(sums: FloatArray, counts: FloatArray, resamples: int, seed: int) -> FloatArray:
    rng = np.random.default_rng(seed)
    step = max(1, _CHUNK // len(sums))
    means = []
    for start in range(0, resamples, step):
        rows = rng.integers(len(sums), size=(min(step, resamples - start), len(sums)), dtype=np.int32)
        means.append(sums[rows].sum(axis=1) / counts[rows].sum(axis=1))
    return np.concatenate(means)


def _bca_tails(
    tails: FloatArray, means: FloatArray, estimate: float, sums: FloatArray, counts: FloatArray
) -> FloatArray:
    below = np.clip((means < estimate).mean() + (means == estimate).mean() / 2, 1e-6, 1 - 1e-6)
    bias = stats.norm.ppf(below)
    left_out = (sums.sum() - sums) / (counts.sum() - counts)  # jackknife over clusters
    d = left_out.mean() - left_out
    acceleration = (d**3).sum() / (6 * (d**2).sum() ** 1.5 + 1e-300)
    z = bias + stats.norm.ppf(tails)
    return np.asarray(stats.norm.cdf(bias + z / (1 - acceleration * z)))


def _flip(columns: FloatArray, flips: int, seed: int) -> FloatArray:
    """(flips, columns) sums over rows with random signs; a row keeps its sign across columns."""
    rng = np.random.default_rng(seed)
    step = max(1, _CHUNK // max(1, len(columns)))
    sums = []
    for start in range(0, flips, step):
        signs = rng.integers(0, 2, size=(min(step, flips - start), len(columns)), dtype=np.int8)
        sums.append((2.0 * signs - 1.0) @ columns)
    return np.concatenate(sums)


def _differences(values: FloatArray, clusters: Sequence[object] | None) -> FloatArray:
    """(questions or clusters, looks - 1): change since look 0, summed within clusters; undefined ones left out."""
    known = np.isfinite(values).all(axis=0)
    x: FloatArray = (values[1:] - values[0])[:, known].T
    if clusters is None:
        return x
    _, index = np.unique(_labels(clusters)[known], return_inverse=True)
    sums: FloatArray = np.zeros((int(index.max(initial=-1)) + 1, x.shape[1]))
    np.add.at(sums, index, x)
    return sums


def _pooled(x: FloatArray, looks: int) -> FloatArray:
    """Mean of each look and those before it, `looks` in all (fewer at the beginning)."""
    return np.stack([x[:, max(0, t + 1 - looks) : t + 1].mean(axis=1) for t in range(x.shape[1])], axis=1)


def _sequential(
    delta: FloatArray, observed: FloatArray, flipped: FloatArray, alpha: float, planned_looks: int | None
) -> LooksTest:
    """Reject, look by look, as many of the furthest flips as the spending allows, and the run if it lies beyond.

    Flips that were rejected leave: what is spent at a look is the chance of a *first* rejection there.
    """
    flips, looks = flipped.shape
    spent = spent_alpha(looks, alpha, planned_looks)
    alive = np.ones(flips, dtype=bool)
    p, rejected = np.ones(looks), np.zeros(looks, dtype=bool)
    for t in range(looks):
        beyond = alive & (flipped[:, t] <= observed[t] + 1e-12)
        p[t] = (1 + beyond.sum()) / (1 + alive.sum())
        allowed = int(spent[t] * flips) - int((~alive).sum())
        rejected[t] = 1 + beyond.sum() <= allowed
        if allowed > 0:
            candidates = np.flatnonzero(alive)
            alive[candidates[np.argsort(flipped[candidates, t], kind="stable")[:allowed]]] = False
    return LooksTest(delta, p, spent, rejected)


def _halves(n: int, splits: int, seed: int) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Random halves of the questions, each pair in both directions."""
    rng = np.random.default_rng(seed)
    pairs = []
    for _ in range(splits):
        order = rng.permutation(n)
        pairs += [(order[: n // 2], order[n // 2 :]), (order[n // 2 :], order[: n // 2])]
    return pairs


def _cross_fit_fall(values: FloatArray, pooled: int, seed: int) -> float:
    """Mean of the last looks minus the cross-fit value of the best look before them."""
    known = values[:, np.isfinite(values).all(axis=0)]
    last = min(pooled, len(known) - 1)
    best = cross_fit_best(known[:-last], splits=4, seed=seed).score
    return float(known[-last:].mean() - best) if known.shape[1] else float("nan")
