"""Alarms over a run's looks, and how often they are right.

A rule gives (looks,) booleans: whether it alarms at that look, by what was known at it. Whose thresholds they are asked
with stands in `run/detectors.py`. Series hold one number a look, NaN where there is none: no number is no alarm.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from .significance import t_interval, units

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


class Rate(NamedTuple):
    """`k` of `n`, and the exact 95 % interval of the share (Clopper & Pearson 1934); NaN for none of none."""

    k: int
    n: int
    low: float
    high: float


def rate(k: int, n: int) -> Rate:
    """The share `k` of `n` with its interval."""
    if not n:
        return Rate(0, 0, math.nan, math.nan)
    ends = stats.binomtest(k, n).proportion_ci(method="exact")
    return Rate(k, n, float(ends.low), float(ends.high))


def first(alarms: BoolArray) -> int | None:
    """The first look that alarms, `None` for none."""
    return int(alarms.argmax()) if alarms.any() else None


def above(values: FloatArray, threshold: float) -> BoolArray:
    """The value is above the threshold."""
    return np.asarray(values > threshold)


def fallen(values: FloatArray, share: float) -> BoolArray:
    """The value has lost this share of the first one there is, or more; no alarm where that is not above 0."""
    start = _start(values)
    return np.asarray(values <= (1 - share) * start) & (start > 0)


def grown(values: FloatArray, share: float) -> BoolArray:
    """The value has grown by more than this share of the first one there is; no alarm where that is not above 0."""
    start = _start(values)
    return np.asarray(values > (1 + share) * start) & (start > 0)


def no_new_low(values: FloatArray, patience: int) -> BoolArray:
    """None of the last `patience` values is lower than all before them."""
    alarms, lowest, waited = np.zeros(len(values), dtype=bool), math.inf, 0
    for t, value in enumerate(values):
        if math.isfinite(value):
            waited = 0 if value < lowest else waited + 1
            lowest = min(lowest, value)
            alarms[t] = waited >= patience
    return alarms


def parted(signal: FloatArray, score: FloatArray, *, window: int, least: int) -> BoolArray:
    """Over the last `window` looks that have both, at least `least`, the signal rises and the score falls.

    By the sign of their least-squares slopes: no size is asked for.
    """
    alarms, known = np.zeros(len(score), dtype=bool), np.flatnonzero(np.isfinite(signal) & np.isfinite(score))
    for count, t in enumerate(known, start=1):
        at = known[max(0, count - window) : count]
        if count >= least:
            alarms[t] = _slope(signal[at]) > 0 > _slope(score[at])
    return alarms


def z_of_mean(values: FloatArray, clusters: Sequence[object] | None = None) -> float:
    """The mean over questions in its standard errors, clusters kept together; NaN where it has none.

    Args:
        values: (questions,), NaN where undefined.
    """
    found = t_interval(values, clusters=clusters)
    half = found.high - found.estimate
    if not half > 0:
        return math.nan
    return found.estimate / half * float(stats.t.ppf(0.975, units(values, clusters) - 1))


def _start(values: FloatArray) -> float:
    known = values[np.isfinite(values)]
    return float(known[0]) if len(known) else math.nan


def _slope(values: FloatArray) -> float:
    at = np.arange(len(values)) - (len(values) - 1) / 2
    return float(at @ values)
