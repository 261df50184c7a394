"""Random signs and bootstrap samples, drawn once: what a seed draws for so many rows is the same at every look.

The draws are kept, and so are the sums of a column under random signs: a look's row, verdict and stop rule ask for the
same ones, and the next look for all of them and one more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from .kept import Kept, content

FloatArray = NDArray[np.float64]
Number = TypeVar("Number", bound=np.generic)
# numbers drawn at a time; with the seed, it says which ones
_CHUNK = 4_000_000
# numbers worked on at a time, few enough to stay in a processor's cache
_PART = 1 << 18
# counts that are kept, of a byte each
_MOST_COUNTS = 1 << 26
# columns whose sums are kept, 32 kB each
_MOST_COLUMNS = 512

_sums: Kept[FloatArray] = Kept(_MOST_COLUMNS)


def resampled_sums(column: FloatArray, resamples: int, seed: int) -> FloatArray:
    """(resamples,) sums of as many rows as the column has, drawn with replacement; a seed draws the same rows again."""
    return np.concatenate([times.astype(np.float64) @ column for times in _counts(len(column), resamples, seed)])


def flipped_sums(columns: FloatArray, flips: int, seed: int) -> FloatArray:
    """Sums of columns over their rows, with random signs; a row has the same sign in all columns.

    Args:
        columns: (columns, rows).

    Returns:
        (columns, flips).
    """
    keys = [(content(column), flips, seed) for column in columns]
    sums = _sums.fill(keys, lambda new: _signed_sums(columns[new], flips, seed))
    return np.stack(sums) if sums else np.zeros((0, flips))


def _signed_sums(columns: FloatArray, flips: int, seed: int) -> FloatArray:
    rows = columns.shape[1]
    parts = _parts(_signs(rows, flips, seed), rows)
    sums = [(2.0 * np.unpackbits(part, axis=1, count=rows) - 1.0) @ columns.T for part in parts]
    return np.ascontiguousarray(np.concatenate(sums).T)


@lru_cache(maxsize=4)
def _signs(rows: int, flips: int, seed: int) -> NDArray[np.uint8]:
    """(flips, rows / 8) the signs as bits."""
    rng = np.random.default_rng(seed)
    step = max(1, _CHUNK // max(1, rows))
    drawn = (
        rng.integers(0, 2, size=(min(step, flips - start), rows), dtype=np.int8) for start in range(0, flips, step)
    )
    return np.concatenate([np.packbits(signs, axis=1) for signs in drawn])


def _counts(rows: int, resamples: int, seed: int) -> Iterable[NDArray[np.uint8]]:
    """Parts of (resamples, rows): how often each row was drawn."""
    if rows * resamples > _MOST_COUNTS:
        return _drawn(rows, resamples, seed)
    return _parts(_kept_counts(rows, resamples, seed), rows)


@lru_cache(maxsize=4)
def _kept_counts(rows: int, resamples: int, seed: int) -> NDArray[np.uint8]:
    return np.concatenate(list(_drawn(rows, resamples, seed)))


def _drawn(rows: int, resamples: int, seed: int) -> Iterator[NDArray[np.uint8]]:
    rng = np.random.default_rng(seed)
    step = max(1, _CHUNK // rows)
    for start in range(0, resamples, step):
        picks = rng.integers(rows, size=(min(step, resamples - start), rows), dtype=np.int32)
        # No row is drawn more than 255 times: of n rows in n draws each is expected once.
        yield np.stack([np.bincount(pick, minlength=rows) for pick in picks]).astype(np.uint8)


def _parts(drawn: NDArray[Number], rows: int) -> Iterator[NDArray[Number]]:
    step = max(1, _PART // max(1, rows))
    for start in range(0, len(drawn), step):
        yield drawn[start : start + step]
