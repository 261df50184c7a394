"""One evaluation on many processes: failures that all ranks hear of, one decision for all. The only collectives.

Nothing here is needed with one process, and everything works with it: the functions then return at once.
Only `torch.distributed`'s default group is used, which DDP, FSDP and DeepSpeed all set up, on one node or many. torch
is not imported here: where nobody has imported it, no processes train together.
"""

from __future__ import annotations

import builtins
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any, TypeVar

T = TypeVar("T")
# Seconds: ten times the interval at which the interpreter changes threads.
_MOMENT = 0.05


def _group() -> Any:
    """`torch.distributed` with its default group set up; `None` where a process trains alone."""
    dist = sys.modules.get("torch.distributed")
    return dist if dist is not None and dist.is_available() and dist.is_initialized() else None


def world_size() -> int:
    """Number of processes that train together; 1 without `torch.distributed`."""
    return group.get_world_size() if (group := _group()) else 1


def rank() -> int:
    """This process's number, from 0."""
    return group.get_rank() if (group := _group()) else 0


def absent(place: str, seconds: float) -> list[int]:
    """Ranks that have not come to `place` within so many seconds. No collective: who does not come is named.

    Every place has a name of its own, and is come to once.
    """
    if world_size() == 1:
        return []
    store = _group().distributed_c10d._get_default_store()
    keys = [f"hre_callback/{place}/{number}" for number in range(world_size())]
    store.set(keys[rank()], "here")
    with suppress(RuntimeError):
        # Its way to say that the time is over.
        store.wait(keys, timedelta(seconds=seconds))
    return [number for number, key in enumerate(keys) if not store.check([key])]


def gather(value: T) -> list[T]:
    """Every process's value, in rank order, on every process. Collective: all must call it."""
    if world_size() == 1:
        return [value]
    values: list[Any] = [None] * world_size()
    _group().all_gather_object(values, value)
    return values


def broadcast(value: T) -> T:
    """Rank 0's value on every process, so that all take the same decision. Collective."""
    if world_size() == 1:
        return value
    box: list[Any] = [value]
    _group().broadcast_object_list(box, src=0)
    return box[0]  # type: ignore[no-any-return]


def settle() -> None:
    """Give the backend a moment to let go of a run's last collective. No collective.

    gloo's own thread drops a collective's tensors as soon as it is given the GIL. A process that ends within the
    interpreter's switch interval of its last collective, and destroys the process group, holds the GIL and waits for
    that thread: for ever (torch 2.13).
    """
    if world_size() > 1:
        # Sleeping gives the GIL up.
        time.sleep(_MOMENT)


def all_or_raise(work: Callable[[], T]) -> T:
    """What `work` gives on this rank, unless it fails on any: then all ranks raise. Collective."""
    value, error = _attempt(work)
    _raise_alike(error, gather(_told(error)))
    return value  # type: ignore[return-value]


def on_rank0(work: Callable[[], T]) -> T:
    """What `work` gives on rank 0, on all ranks; when it fails there, all ranks raise. Collective."""
    value, error = _attempt(work) if rank() == 0 else (None, None)
    value, told = broadcast((value, _told(error)))
    _raise_alike(error, [told])
    return value  # type: ignore[return-value]


def describe(error: Exception | None) -> str | None:
    """An error as text: exceptions themselves do not always survive the way to another process."""
    return None if error is None else f"{type(error).__name__}: {error}"


def _attempt(work: Callable[[], T]) -> tuple[T | None, Exception | None]:
    try:
        return work(), None
    except Exception as error:
        # Told to all ranks, then raised on all.
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
        # With its traceback.
        raise own
    kind, text = failed[0]
    if kind in ("ValueError", "TypeError", "KeyError") or issubclass(getattr(builtins, kind, object), OSError):
        raise getattr(builtins, kind)(text)
    raise RuntimeError(text)
