"""Statistics over questions: intervals and paired differences that can be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its confidence interval and the number of questions behind it; NaN without any."""

    estimate: float
    low: float
    high: float
    n: int


def bootstrap_interval(
    values: Sequence[float] | NDArray[np.float64],
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Percentile bootstrap interval of the mean over questions (Efron & Tibshirani 1993, ch. 13); NaNs are left out."""
    known = np.asarray(values, dtype=np.float64)
    known = known[np.isfinite(known)]
    if len(known) < 2:
        mean = float(known.mean()) if len(known) else float("nan")
        return Interval(mean, float("nan"), float("nan"), len(known))
    found = stats.bootstrap(
        (known,),
        np.mean,
        confidence_level=confidence,
        n_resamples=resamples,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Interval(float(known.mean()), float(found.low), float(found.high), len(known))
