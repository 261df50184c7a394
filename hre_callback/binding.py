"""Which trainer is calling, and does it still train? What the arguments of an event do not tell.

Read from the stack. A trainer that died of an exception tells its callbacks nothing, and two may share a callback.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from types import CodeType, FrameType
from typing import Any


class Training:
    """One run of one trainer: from its first event on, as long as its loop stands on the stack of any thread.

    Args:
        state: of the trainer that is calling now.
    """

    def __init__(self, state: Any) -> None:
        self.state = state
        # The outermost function of the trainer is its loop; a caller without a trainer (a test) has none, and is
        # taken to go on until it says that it has ended.
        loops = [frame.f_code for frame in _callers() if _state_of(frame) is state]
        self._loop: CodeType | None = loops[-1] if loops else None

    def goes_on(self) -> bool:
        """Whether the trainer is still inside its loop."""
        return self._loop is None or self._stands(self.state)

    def serves(self, state: Any) -> bool:
        """Whether an event with this state is one of this run; a trainer may make its state anew."""
        if state is self.state:
            return True
        if self.goes_on() or not self._stands(state):
            return False
        self.state = state
        return True

    def _stands(self, state: Any) -> bool:
        tops = sys._current_frames().values()
        return any(frame.f_code is self._loop and _state_of(frame) is state for top in tops for frame in _down(top))


def trainers_loop() -> asyncio.AbstractEventLoop | None:
    """The running event loop in which the trainer awaits its async rewards; None where it has none."""
    for frame in _callers():
        loop = getattr(frame.f_locals.get("self"), "async_loop", None)
        if isinstance(loop, asyncio.AbstractEventLoop) and loop.is_running():
            return loop
    return None


def another_set_follows() -> bool:
    """Whether the trainer evaluates several sets of data and this was not the last of them."""
    for frame in _callers():
        sets, name = (frame.f_locals.get(key) for key in ("eval_dataset", "eval_dataset_name"))
        if isinstance(sets, dict) and name in sets:
            return bool(list(sets)[-1] != name)
    return False


def _callers() -> Iterator[FrameType]:
    return _down(sys._getframe(2))


def _down(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _state_of(frame: FrameType) -> Any:
    # From the object's own attributes: a property of whatever else stands there may do anything.
    return getattr(frame.f_locals.get("self"), "__dict__", {}).get("state")
