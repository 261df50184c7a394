"""The tensors of a batch: what a forward is fed, which of its logits are read; planned on the CPU, moved once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import torch

from .encoding import Key
from .spans import Spans


class Resident:
    """Has tensors, and hands them out where they are needed."""

    @cached_property
    def _moved(self) -> dict[str, torch.Tensor]:
        return {}

    def on(self, name: str, device: torch.device, *, stays: bool = True) -> torch.Tensor:
        """The tensor of this name there; moved when it is first asked for and not again while it `stays`."""
        tensor: torch.Tensor = getattr(self, name)
        if tensor.device == device:
            return tensor
        there = self._moved.get(name)
        if there is None or there.device != device:
            there = send(tensor, device)
            if stays:
                self._moved[name] = there
        return there


def send(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """The tensor there; to CUDA from pinned memory, so that nobody waits for it."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


@dataclass(frozen=True)
class Kept(Resident):
    """Which logits of a forward are read, in every form in which a model can be asked for them.

    Attributes:
        mask: (rows, length) bool. Logits are read in its row-major order.
    """

    mask: torch.Tensor

    @cached_property
    def count(self) -> int:
        """How many."""
        return len(self.rows)

    @cached_property
    def _places(self) -> tuple[torch.Tensor, torch.Tensor]:
        rows, places = self.mask.nonzero(as_tuple=True)
        return rows, places

    @property
    def rows(self) -> torch.Tensor:
        """(count,) the row of each."""
        return self._places[0]

    @property
    def places(self) -> torch.Tensor:
        """(count,) the place of each in its row."""
        return self._places[1]

    @cached_property
    def columns(self) -> torch.Tensor:
        """(columns,) places where any row has one."""
        return self.mask.any(dim=0).nonzero().flatten()

    @cached_property
    def among_columns(self) -> torch.Tensor:
        """(count,) the place of each among `columns`."""
        return torch.searchsorted(self.columns, self.places)

    @cached_property
    def suffix(self) -> int:
        """Of how many last places they are; 0 where there are none."""
        return self.mask.shape[1] - int(self.columns[0]) if self.count else 0


@dataclass(frozen=True)
class Targets(Resident):
    """Which logits predict which token of which answer.

    Attributes:
        rows: (targets,) index into the kept logits, which are in row-major order of `keep`.
        ids: (targets,) the token to be predicted.
        owners: (targets,) index into the batch's keys.
    """

    rows: torch.Tensor
    ids: torch.Tensor
    owners: torch.Tensor


@dataclass(frozen=True)
class Sides(Resident):
    """Rows of single answers as an encoder-decoder reads them.

    row          q q q a a .      kept    . . x x x .
    encoder      q q q            decoder   s a a         s: the decoder's start token

    Attributes:
        question_ids, question_mask: (rows, question length); padding on the right.
        answer_ids: (rows, answer length - 1), what is fed behind the start token; padding on the right.
        kept: (rows, answer length).
    """

    question_ids: torch.Tensor
    question_mask: torch.Tensor
    answer_ids: torch.Tensor
    kept: Kept


@dataclass(frozen=True)
class Batch(Resident):
    """One forward pass of the `single`, the `padded` or the `packed` layout; planned on the CPU.

    Attributes:
        keys: the answers scored here.
        input_ids: (rows, length).
        keep: (rows, length) bool, the positions whose logits are needed.
        targets: see `Targets`.
        attention_mask: (rows, length) for `padded`, else `None`.
        position_ids: (rows, length) for `packed`, else `None`.
        spans: for `packed` by the function: who sees whom, see `attention`.
        segments: (rows, length, 2) for `packed` by a mask: number of the group (0 = padding) and of the answer in it
            (0 = the context); the 4-D mask follows from it, see `packed_mask`.
    """

    forwards: ClassVar[int] = 1

    keys: tuple[Key, ...]
    input_ids: torch.Tensor
    keep: torch.Tensor
    targets: Targets
    attention_mask: torch.Tensor | None = None
    position_ids: torch.Tensor | None = None
    spans: Spans | None = None
    segments: torch.Tensor | None = None

    @property
    def tokens(self) -> int:
        """Places of all rows, padding among them."""
        return self.input_ids.numel()

    @cached_property
    def kept(self) -> Kept:
        """See `Kept`."""
        return Kept(self.keep)

    @cached_property
    def sides(self) -> Sides:
        """See `Sides`; of rows that hold one answer each."""
        columns = torch.arange(self.keep.shape[1])
        # Of the context.
        last = self.keep.int().argmax(dim=1, keepdim=True)
        width, lengths = int(last.max()) + 1, self.keep.sum(1, keepdim=True)
        kept = columns[: int(lengths.max())] < lengths
        answer_ids = torch.zeros(len(kept), kept.shape[1] - 1, dtype=torch.long)
        answer_ids[kept[:, 1:]] = self.input_ids[self.keep & (columns > last)]
        return Sides(self.input_ids[:, :width], (columns[:width] <= last).long(), answer_ids, Kept(kept))


@dataclass(frozen=True)
class CachedBatch(Resident):
    """Two forward passes of the `cached` layout: contexts (left-padded), then answers on their caches.

    Attributes:
        keys: the answers scored here.
        context_ids, context_mask: (groups, context length); padding on the left, so that the distance of
            two real tokens in the cache is their distance in the text (sliding windows, alibi).
        answer_ids, answer_mask: (answers, answer length); padding on the right.
        group_of: (answers,) the row of each answer's context.
        keep: (answers, answer length) bool; the logits after the context come first, then these.
        targets: rows below `groups` are context logits.
    """

    forwards: ClassVar[int] = 2

    keys: tuple[Key, ...]
    context_ids: torch.Tensor
    context_mask: torch.Tensor
    answer_ids: torch.Tensor
    answer_mask: torch.Tensor
    group_of: torch.Tensor
    keep: torch.Tensor
    targets: Targets

    @property
    def tokens(self) -> int:
        """Places of all rows, padding among them."""
        return self.context_ids.numel() + self.answer_ids.numel()

    @cached_property
    def kept(self) -> Kept:
        """See `Kept`."""
        return Kept(self.keep)
