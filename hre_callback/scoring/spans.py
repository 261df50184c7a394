"""Who sees whom in rows that hold a question once and its answers behind it; pure arithmetic, planned with the batches.

row       q q q a a b b b
span 1    q q q               sees itself
span 2    q q q a a           the tokens of a see the question and themselves
span 3    q q q     b b b     likewise
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import NamedTuple

import numpy as np
import torch

# Keys that one call of a kernel may be handed, as a multiple of the batch's tokens: they are copied for every answer.
_COPIES = 4


class Span(NamedTuple):
    """Tokens `start:end` of a row, which see the tokens `first:last` before them and, causally, themselves."""

    row: int
    first: int
    last: int
    start: int
    end: int

    @property
    def queries(self) -> int:
        """How many tokens look."""
        return self.end - self.start

    @property
    def keys(self) -> int:
        """How many tokens are looked at by the last of them."""
        return self.last - self.first + self.queries


class Call(NamedTuple):
    """Spans as a kernel for sequences of unequal lengths takes them: all behind one another, with their borders.

    `queries` and `keys` are places in the batch's flattened rows, the borders begin with 0, the longest come last.
    """

    queries: torch.Tensor
    keys: torch.Tensor
    query_borders: torch.Tensor
    key_borders: torch.Tensor
    most_queries: int
    most_keys: int

    def on(self, device: torch.device) -> Call:
        """The same with its tensors there."""
        queries, keys, *borders = (t.to(device, non_blocking=True) for t in self[:4])
        return Call(queries, keys, borders[0], borders[1], self.most_queries, self.most_keys)


@dataclass(frozen=True)
class Spans:
    """The spans of a batch.

    Attributes:
        shape: rows and length of the batch.
        spans: in the order of the rows, none empty; every token that is no padding stands in one.
    """

    shape: tuple[int, int]
    spans: tuple[Span, ...]

    @cached_property
    def calls(self) -> list[Call]:
        """All spans in as few calls as the copies of keys allow, made once; in pinned memory where there is CUDA."""
        return [_call(part, self.shape[1]) for part in _parts(self.spans, _COPIES * self.shape[0] * self.shape[1])]


def _parts(spans: Sequence[Span], most: int) -> Iterator[list[Span]]:
    """Spans in their order, at most so many keys together where a single one allows it."""
    part: list[Span] = []
    for span in spans:
        if part and sum(s.keys for s in part) + span.keys > most:
            yield part
            part = []
        part.append(span)
    if part:
        yield part


def _call(spans: Sequence[Span], length: int) -> Call:
    queries = [np.arange(s.start, s.end) + s.row * length for s in spans]
    keys = [np.r_[s.first : s.last, s.start : s.end] + s.row * length for s in spans]
    tensors = (
        torch.from_numpy(np.concatenate(queries)),
        torch.from_numpy(np.concatenate(keys)),
        torch.tensor([0, *accumulate(s.queries for s in spans)], dtype=torch.int32),
        torch.tensor([0, *accumulate(s.keys for s in spans)], dtype=torch.int32),
    )
    if torch.cuda.is_available():
        tensors = tuple(t.pin_memory() for t in tensors)  # type: ignore[assignment]
    return Call(*tensors, max(s.queries for s in spans), max(s.keys for s in spans))
