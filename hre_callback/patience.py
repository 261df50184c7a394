"""A skipped evaluation moves nobody's patience: not an early stopper's, not that of a plateau scheduler."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

from transformers import EarlyStoppingCallback, TrainerCallback

# How many callers up the `CallbackHandler` may stand: a subclass of ours may stand in between.
_CALLERS = 8


def callbacks_beside(callback: TrainerCallback) -> list[TrainerCallback]:
    """All callbacks of the handler that is calling `callback` now, in order.

    The list of callbacks is in no argument of an event. Our caller holds it, so that is where we look; a caller
    that is not a `CallbackHandler` (a test, another framework) has none.
    """
    frame = sys._getframe(1)
    for _ in range(_CALLERS):
        if frame is None:
            break
        found = getattr(frame.f_locals.get("self"), "callbacks", None)
        if isinstance(found, list) and any(one is callback for one in found):
            return found
        frame = frame.f_back  # type: ignore[assignment]
    return []


def hold_patience(callbacks: Sequence[TrainerCallback], scheduler: Any) -> Callable[[], None]:
    """Let those who wait for a better score pass over the one that is coming, which is none.

    NaN is what the Trainer selects on at a skipped evaluation: it never becomes the best. But an
    `EarlyStoppingCallback` counts it as no improvement, and so do the schedulers that the Trainer steps with the
    metric (ReduceLROnPlateau, GreedyLR). Their next look at the metric does nothing.

    Returns:
        A function that ends it where no look has come.
    """
    stoppers = [callback for callback in callbacks if isinstance(callback, EarlyStoppingCallback)]
    held: list[tuple[Any, str]] = [(stopper, "check_metric_value") for stopper in stoppers]
    if hasattr(scheduler, "num_bad_epochs"):
        held.append((scheduler, "step"))
    for owner, method in held:
        _pass_over(owner, method)

    def release() -> None:
        for owner, method in held:
            vars(owner).pop(method, None)

    return release


def _pass_over(owner: Any, method: str) -> None:
    def nothing(*_: Any, **__: Any) -> None:
        vars(owner).pop(method, None)

    vars(owner)[method] = nothing
