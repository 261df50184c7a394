"""The run's curve as a whole: how much of it is more than noise, and each look pooled with its neighbours."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
# Looks that are pooled: one with a neighbour on either side.
WINDOW = 3
# Looks from which on a pooled curve has more than one value that shares no look with another's.
LEAST_POOLED = 5
# Looks whose spread is the noise (as many as Heineman et al. take), and looks in all from which on the rest is a curve.
_LAST = 5
LEAST_LOOKS = 2 * _LAST


def pooled(rows: FloatArray, window: int = WINDOW) -> FloatArray:
    """Each row's mean with its neighbours, `window` rows around it; at both ends those that there are.

    Args:
        rows: (looks, ...).
        window: odd; 1 leaves the rows as they are.
    """
    reach = window // 2
    return np.stack([rows[max(0, t - reach) : t + reach + 1].mean(axis=0) for t in range(len(rows))])


def signal_to_noise(values: FloatArray) -> float:
    """How far apart the curve's looks lie, in standard deviations of its last five; NaN with fewer than ten.

    Heineman et al. 2025 ("Signal and Noise", arXiv 2508.13144): signal is the largest difference between scores, noise
    the standard deviation of the last checkpoints' scores. There the scores are those of different models and both are
    taken relative to their mean; here they are one run's, and HRE may be 0, so neither is. Noise alone gives 3 to 5
    (median of ten to fifty looks), one time in twenty 11. Of a curve that still rises at its end the rise counts as
    noise too.

    Args:
        values: (looks, questions) per-question Pearson r; a look without any is passed over.
    """
    n = np.isfinite(values).sum(axis=1)
    scores = np.nansum(values, axis=1)[n > 0] / n[n > 0]
    if len(scores) < LEAST_LOOKS:
        return float("nan")
    noise = scores[-_LAST:].std(ddof=1)
    # Equal numbers may differ by their rounding.
    return float(np.ptp(scores) / noise) if noise > 1e-12 else float("nan")
