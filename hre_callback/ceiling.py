"""How high could HRE go? The reliability of the votes, and the human's own HRE where annotators are named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from .correlation import pearson


def human_ceiling(votes: Sequence[Sequence[int]], *, splits: int = 20, seed: int = 0) -> float:
    """Correlation with the observed votes that a model would reach which knew what people think without noise.

    Every vote is dealt at random to one of two halves (binomial thinning: halves of Poisson counts are independent
    given the true quality). The mean correlation r of the halves over questions is the reliability of half the
    votes; Spearman-Brown gives that of all of them, 2r / (1 + r), and its square root is the ceiling (Spearman
    1910; Brown 1910). A negative score deals its magnitude and keeps its sign: only the net score is known, so
    the noise of up and down votes that cancel is missed and the ceiling is, if anything, too high.

    Returns NaN when no question's votes differ.
    """
    rng = np.random.default_rng(seed)
    reliabilities = []
    for question in votes:
        v = np.asarray(question)
        if np.ptp(v) == 0:
            continue
        half = np.sign(v) * rng.binomial(np.abs(v), 0.5, size=(splits, len(v)))
        pairs = [pearson(a, b) for a, b in zip(half, v - half, strict=True) if np.ptp(a) and np.ptp(b)]
        reliabilities.append(float(np.mean(pairs)) if pairs else 0.0)
    if not reliabilities:
        return float("nan")
    r = max(0.0, float(np.mean(reliabilities)))
    return float(np.sqrt(2 * r / (1 + r)))


def human_hre(ratings: Sequence[Mapping[str, Sequence[float | None]] | None]) -> float:
    """A human's own HRE: each annotator against the mean of the others, over annotators and questions.

    Args:
        ratings: per question, annotator -> one rating an answer (`None` where not rated); `None` without ratings.

    Returns NaN when no question has two annotators with something in common.
    """
    found = []
    for question in ratings:
        rows = {who: _numbers(given) for who, given in (question or {}).items()}
        for who, own in rows.items():
            others = [row for name, row in rows.items() if name != who]
            if others and not np.isnan(r := _agreement(own, np.stack(others))):
                found.append(r)
    return float(np.mean(found)) if found else float("nan")


def _numbers(given: Sequence[float | None]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.array([np.nan if x is None else x for x in given], dtype=np.float64)


def _agreement(
    own: np.ndarray[tuple[int], np.dtype[np.float64]],
    others: np.ndarray[tuple[int, int], np.dtype[np.float64]],
) -> float:
    """Pearson r on the answers that both sides rated; NaN for fewer than two or a side without differences."""
    rated = np.isfinite(own) & np.isfinite(others).any(axis=0)
    if rated.sum() < 2 or np.ptp(own[rated]) == 0:
        return float("nan")
    return pearson(np.nanmean(others[:, rated], axis=0), own[rated])
