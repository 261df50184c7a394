"""The difference between the means of two sets of questions, which no pairing helps. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

from .correlation import FloatArray
from .significance import Interval, cluster_numbers

# Independent questions, or clusters of them, on either side; as for paired intervals.
LEAST_UNITS = 6


def difference_of_means(
    values: Sequence[float] | FloatArray,
    second: Sequence[bool | None],
    *,
    clusters: Sequence[object] | None = None,
    confidence: float = 0.95,
) -> Interval:
    """Mean of the second set less that of the first, with Welch's t interval (1947); NaNs are left out.

    With clusters the spread of a mean is that of their sums around what their sizes predict (linearised ratio, Cochran
    1977, eq. 2.49), and a cluster with questions in both sets counts with its covariance. Of sets of 6 to 20 questions
    its coverage is nearer to what it says than that of the bootstrap, percentile or studentised.

    Args:
        values: (questions,).
        second: (questions,) which set a question is of; `None` for neither.
        clusters: (questions,) labels.

    Returns:
        an interval of NaN where a side has fewer than `LEAST_UNITS` independent questions, or nothing that varies.
    """
    x = np.asarray(values, dtype=np.float64)
    known = np.isfinite(x) & np.array([one is not None for one in second], dtype=bool)
    x, later = x[known], np.array([bool(one) for one in second], dtype=bool)[known]
    sizes = np.array([np.count_nonzero(~later), np.count_nonzero(later)])
    n = int(sizes.sum())
    if not sizes.all():
        return Interval(math.nan, math.nan, math.nan, n)
    means = np.array([x[~later].mean(), x[later].mean()])
    estimate = float(means[1] - means[0])
    numbers = cluster_numbers(clusters)
    index = np.arange(n) if numbers is None else np.unique(numbers[known], return_inverse=True)[1]
    off = (x - means[later.astype(int)]) / sizes[later.astype(int)]
    sums = np.array([np.bincount(index[side], off[side], index.max() + 1) for side in (~later, later)])
    units = np.array([len(np.unique(index[side])) for side in (~later, later)])
    if units.min() < LEAST_UNITS:
        return Interval(estimate, math.nan, math.nan, n)
    sums *= np.sqrt(units / (units - 1))[:, None]
    variances = (sums**2).sum(axis=1)
    if variances.min() < 1e-24:
        return Interval(estimate, math.nan, math.nan, n)
    freedom = variances.sum() ** 2 / (variances**2 / (units - 1)).sum()
    half = float(stats.t.ppf((1 + confidence) / 2, freedom) * np.sqrt(((sums[1] - sums[0]) ** 2).sum()))
    return Interval(estimate, estimate - half, estimate + half, n)
