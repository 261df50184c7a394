"""Results of pure functions, kept by the content of what they were made from: the same question is worked out once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")


class Kept(Generic[T]):
    """The results asked for last; older ones go when there are more than `most`."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._results: OrderedDict[Hashable, T] = OrderedDict()

    def fill(self, keys: Sequence[Hashable], make: Callable[[list[int]], Iterable[T]]) -> list[T]:
        """The result of every key.

        Args:
            make: from the places in `keys` of what is not kept, their results in that order.
        """
        found = {key: self._results[key] for key in keys if key in self._results}
        new = {key: place for place, key in enumerate(keys) if key not in found}
        if new:
            found.update(zip(new, make(list(new.values())), strict=True))
        return self._keep(keys, found)

    def walk(self, keys: Sequence[Hashable], make: Callable[[int, T | None], Iterable[T]]) -> list[T]:
        """The result of every key, where each is made from the one before it.

        Args:
            make: from the first place that is not kept, and the result before it, all results from there on.
        """
        first = next((place for place, key in enumerate(keys) if key not in self._results), len(keys))
        found = {key: self._results[key] for key in keys[:first]}
        if first < len(keys):
            before = found[keys[first - 1]] if first else None
            found.update(zip(keys[first:], make(first, before), strict=True))
        return self._keep(keys, found)

    def _keep(self, keys: Sequence[Hashable], found: Mapping[Hashable, T]) -> list[T]:
        self._results.update(found)
        for key in found:
            self._results.move_to_end(key)
        while len(self._results) > self._most:
            self._results.popitem(last=False)
        return [found[key] for key in keys]


def content(row: NDArray[np.generic[Any]]) -> bytes:
    """What stands for an array in a key."""
    return blake2b(row.tobytes(), digest_size=16).digest()


def contents_so_far(rows: NDArray[np.generic[Any]]) -> Iterator[bytes]:
    """For every row, what stands for it together with all rows before."""
    so_far = blake2b(digest_size=16)
    for row in rows:
        so_far.update(row.tobytes())
        yield so_far.digest()
