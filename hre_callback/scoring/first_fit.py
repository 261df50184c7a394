"""Which pieces share a row and which rows share a batch: first fit, decreasing, in n log n."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence


def first_fit(sizes: Sequence[int], budget: int) -> list[list[list[int]]]:
    """Batches of rows of indices into `sizes`, which are sorted, the largest first; every index once.

    A batch has rows as long as its first piece, as many as fit `budget`; every piece goes, in order, into the first
    row with room, and to a later batch when there is none. Pieces too large for any row are passed over together
    and never looked at again in this batch, so the time is n log n and not n times the number of batches.
    """
    left, falling = _Left(len(sizes)), [-size for size in sizes]
    batches = []
    while (at := left.next(0)) < len(sizes):
        rooms = _Rooms(max(1, min(budget // sizes[at], len(sizes))), sizes[at])
        rows: list[list[int]] = [[] for _ in range(rooms.count)]
        while at < len(sizes):
            rows[rooms.place(sizes[at])].append(at)
            left.take(at)
            at = left.next(bisect_left(falling, -rooms.most, lo=at + 1))
        batches.append([row for row in rows if row])
    return batches


class _Left:
    """Which of n pieces are not placed yet: the next one from anywhere on, in almost constant time (union-find)."""

    def __init__(self, count: int) -> None:
        self._next = list(range(count + 1))

    def next(self, at: int) -> int:
        """The first piece from `at` on that is left; the number of pieces when there is none."""
        end = at
        while self._next[end] != end:
            end = self._next[end]
        while self._next[at] != end:
            self._next[at], at = end, self._next[at]
        return end

    def take(self, at: int) -> None:
        self._next[at] = at + 1


class _Rooms:
    """Free tokens of equal rows: the first row with room for so many, in log time (a tree of maxima)."""

    def __init__(self, count: int, capacity: int) -> None:
        self.count = count
        self._leaves = 1 << (count - 1).bit_length()
        self._tree = [0] * self._leaves + [capacity] * count + [0] * (self._leaves - count)
        for node in range(self._leaves - 1, 0, -1):
            self._tree[node] = max(self._tree[2 * node], self._tree[2 * node + 1])

    @property
    def most(self) -> int:
        """The largest room there is."""
        return self._tree[1]

    def place(self, size: int) -> int:
        """Take `size` tokens, at most `most`, from the first row that has them; its number."""
        node = 1
        while node < self._leaves:
            node = 2 * node if self._tree[2 * node] >= size else 2 * node + 1
        row = node - self._leaves
        self._tree[node] -= size
        while node > 1:
            node //= 2
            self._tree[node] = max(self._tree[2 * node], self._tree[2 * node + 1])
        return row
