"""What can go wrong when a model is scored."""

from __future__ import annotations

from collections.abc import Sequence


class EvaluationError(RuntimeError):
    """An evaluation that failed on some rank, raised alike on all of them; the message names rank and cause.

    Attributes:
        out_of_memory: whether smaller batches may help.
        batches: the answers (question id, answer index) of each batch that failed, one batch a rank at most.
    """

    def __init__(
        self,
        message: str,
        *,
        out_of_memory: bool = False,
        batches: Sequence[Sequence[tuple[str, int]]] = (),
    ) -> None:
        super().__init__(message)
        self.out_of_memory = out_of_memory
        self.batches = tuple(map(tuple, batches))


class ForwardError(RuntimeError):
    """A forward of a sharded model that failed on this rank: the others wait inside theirs, and no one can go on."""


class NotScorable(ValueError):  # noqa: N818 - a kind of bad value, not a failure
    """HRE cannot score this model: it gives no likelihood of a text."""
