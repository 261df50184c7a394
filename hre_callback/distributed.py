"""One evaluation on many processes: shares of the work, equal numbers of forwards, keyed gather, one decision.

Nothing here is needed with one process, and everything works with it: the functions then return at once.
Only `torch.distributed`'s default group is used, which DDP, FSDP and DeepSpeed all set up.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import Any, TypeVar

import torch.distributed as dist

from .batches import Group

T = TypeVar("T")


def world_size() -> int:
    """Number of processes that train together; 1 without `torch.distributed`."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """This process's number, from 0."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def gather(value: T) -> list[T]:
    """Every process's value, in rank order, on every process. Collective: all must call it."""
    if world_size() == 1:
        return [value]
    values: list[Any] = [None] * world_size()
    dist.all_gather_object(values, value)
    return values


def decide_once(value: T) -> T:
    """Rank 0's value on every process, so that all take the same decision. Collective."""
    if world_size() == 1:
        return value
    box: list[Any] = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]  # type: ignore[no-any-return]


def share(groups: Sequence[Group], index: int, shares: int) -> list[Group]:
    """This process's groups, balanced by tokens: longest first, each to the share with the least work so far.

    (Graham's LPT rule: the largest share is at most 4/3 of the optimum.) Pure, so every rank computes the
    same assignment; questions stay whole as far as their context is shared.
    """
    load = [(0, i) for i in range(shares)]
    mine = []
    for group in sorted(groups, key=lambda g: (-g.tokens, g.keys)):
        tokens, i = heapq.heappop(load)
        heapq.heappush(load, (tokens + group.tokens, i))
        if i == index:
            mine.append(group)
    return mine
