"""How much a model can read: known before the first evaluation, from what its own tables do with a short row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn.modules.module import register_module_forward_hook

from .architecture import declared_virtual_tokens, text_config

# What configs call the longest row. Never believed to be more than the tables hold.
_NAMES = (
    "max_position_embeddings",
    "n_positions",
    "max_seq_len",
    "seq_length",
    "n_ctx",
    "max_sequence_length",
)
# Tokenizers without a known limit say 1e30.
_NO_LIMIT = 1_000_000
# Rows that tables keep in front: after padding (RoBERTa), for an offset (OPT), for virtual tokens.
_FRONT = 256
_LEAST_ROW = 4


@contextmanager
def watched_tables(ids: Sequence[int]) -> Iterator[list[int]]:
    """While a row of `ids` is read: how many tokens each table of learned positions can place.

    A table of positions is known by what it gives for the row: its own rows, one after the other.
    """
    found: list[int] = []

    def note(module: torch.nn.Module, inputs: Any, output: Any) -> None:
        if isinstance(module, torch.nn.Embedding) and (room := _room(module.weight, output, len(ids))):
            found.append(room)

    handle = register_module_forward_hook(note)
    try:
        yield found
    finally:
        handle.remove()


def _room(weight: torch.Tensor, output: Any, length: int) -> int | None:
    """Tokens that fit a table, counted from the row it gave for the first one; `None` if it holds no positions."""
    # a shard of a table, or one that is offloaded again, shows nothing
    if type(output) is not torch.Tensor or weight.dim() != 2 or weight.device.type == "meta":
        return None
    if output.shape[-1] != weight.shape[1]:
        return None
    rows = output.detach().reshape(-1, weight.shape[1])
    # a table that gives all it has holds virtual tokens
    if length < _LEAST_ROW or not length <= len(rows) < weight.shape[0]:
        return None
    rows = rows[-length:]
    front = weight.detach()[: _FRONT + length].to(rows.device, rows.dtype)
    starts = (front[: len(front) - length + 1] == rows[0]).all(-1).nonzero().flatten().tolist()
    first = next((at for at in starts if torch.equal(front[at : at + length], rows)), None)
    return None if first is None else weight.shape[0] - first


def readable_tokens(model: torch.nn.Module, tokenizer: Any, tables: Sequence[int], virtual: int) -> int | None:
    """Longest row in tokens: the least of config and tables less virtual tokens, else the tokenizer's.

    `None`: no limit.

    Args:
        tables: see `watched_tables`; what virtual tokens take is already off.
        virtual: positions that a call puts in front of a row.
    """
    config, front = text_config(model), max(virtual, declared_virtual_tokens(model))
    values = [getattr(config, name, None) for name in _NAMES]
    limits = [value - front for value in values if isinstance(value, int) and 0 < value < _NO_LIMIT]
    if limits or tables:
        return max(1, min([*limits, *tables]))
    limit = getattr(tokenizer, "model_max_length", None)
    return int(limit) if limit and limit < _NO_LIMIT else None
