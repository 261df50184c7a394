"""Synthetic runs with the discreteness of real ones: per question four votes, four scores, Pearson r of the two."""

from __future__ import annotations

import numpy as np

NOISE, SLOPE = 0.77, 1 / 0.4735  # calibrated in test_significance: rho = .95 between looks, falls as asked


def history(
    seed: int,
    questions: int,
    looks: int,
    *,
    fall: float = 0.0,
    shape: str = "linear",
    noise: str = "independent",
) -> np.ndarray:
    """(looks + 1, questions) per-question r of a run whose HRE truly falls by `fall` up to its end.

    Args:
        shape: "linear" from the start, or "late": flat in the first half, then linear.
        noise: "independent" around a common level, or "drifting": a stationary AR(1), so that looks far apart
            agree less than neighbours while the true HRE stays.
    """
    rng = np.random.default_rng(seed)
    votes = rng.geometric(0.12, size=(questions, 4)).astype(float)
    votes -= votes.mean(axis=1, keepdims=True)
    votes /= np.sqrt((votes**2).sum(axis=1, keepdims=True)) + 1e-9
    latent = rng.normal(size=votes.shape) + 0.5 * votes
    tau = NOISE * np.sqrt(0.05 / 0.95)
    keep = np.exp(-2 / looks)
    e = tau * rng.normal(size=votes.shape)
    rows = []
    for t in range(looks + 1):
        if t:
            fresh = tau * rng.normal(size=votes.shape)
            e = fresh if noise == "independent" else keep * e + np.sqrt(1 - keep**2) * fresh
        done = t / looks if shape == "linear" else max(0.0, 2 * t / looks - 1)
        scores = latent + e - SLOPE * fall * done * votes
        scores -= scores.mean(axis=1, keepdims=True)
        rows.append((votes * scores).sum(axis=1) / np.sqrt((scores**2).sum(axis=1)))
    return np.stack(rows)
