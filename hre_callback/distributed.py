"""One evaluation on many processes: shares of the work, failures that all ranks hear of, one decision for all.

Nothing here is needed with one process, and everything works with it: the functions then return at once.
Only `torch.distributed`'s default group is used, which DDP, FSDP and DeepSpeed all set up, on one node or many.
"""

from __future__ import annotations

import builtins
import heapq
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
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


def together(work: Callable[[], T]) -> T:
    """What `work` gives on this rank, unless it fails on any: then all ranks raise. Collective."""
    value, error = _attempt(work)
    _raise_alike(error, gather(_told(error)))
    return value  # type: ignore[return-value]


def from_main(work: Callable[[], T]) -> T:
    """What `work` gives on rank 0, on all ranks; when it fails there, all ranks raise. Collective."""
    value, error = _attempt(work) if rank() == 0 else (None, None)
    value, told = decide_once((value, _told(error)))
    _raise_alike(error, [told])
    return value  # type: ignore[return-value]


def describe(error: Exception | None) -> str | None:
    """An error as text: exceptions themselves do not always survive the way to another process."""
    return None if error is None else f"{type(error).__name__}: {error}"


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


def my_share(groups: Sequence[Group]) -> list[Group]:
    """See `share`."""
    return share(groups, rank(), world_size())


def meets_in_forward(model: torch.nn.Module) -> bool:
    """Whether ranks wait for each other inside a forward: FSDP, ZeRO-3, tensor parallelism, a DDP wrapper."""
    if world_size() == 1:
        return False
    from torch.distributed.fsdp import FullyShardedDataParallel
    from torch.nn.parallel import DistributedDataParallel

    wrappers = (FullyShardedDataParallel, DistributedDataParallel)
    return any(isinstance(module, wrappers) for module in model.modules()) or any(
        hasattr(parameter, "device_mesh") or hasattr(parameter, "ds_id")  # a DTensor; a parameter of ZeRO-3
        for parameter in model.parameters()
    )


def _attempt(work: Callable[[], T]) -> tuple[T | None, Exception | None]:
    try:
        return work(), None
    except Exception as error:  # told to all ranks, then raised on all
        return None, error


def _told(error: Exception | None) -> tuple[str, str] | None:
    """An error's class by name, and its text, for the other ranks."""
    return None if error is None else (type(error).__name__, f"rank {rank()}: {describe(error)}")


def _raise_alike(own: Exception | None, told: Sequence[tuple[str, str] | None]) -> None:
    """Raise what failed first, so that a caller that handles one class of error does so on all ranks or on none."""
    failed = [error for error in told if error is not None]
    if not failed:
        return
    if own is not None and _told(own) == failed[0]:
        raise own  # with its traceback
    kind, text = failed[0]
    if kind in ("ValueError", "TypeError", "KeyError") or issubclass(
        getattr(builtins, kind, object), OSError
    ):
        raise getattr(builtins, kind)(text)
    raise RuntimeError(text)
