"""A reward model's own number for a whole sequence of ids, as many to a forward as it takes without a difference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from .. import distributed
from .alone import TIMES, rounded_otherwise
from .architecture import forward_parameters, innermost, input_device, text_config
from .encoding import Key
from .errors import EvaluationError, NotScorable
from .no_trace import no_trace
from .outputs import find_logits

# Texts to a forward of a reward model.
_ROWS = 8


def score_sequences_together(model: torch.nn.Module, rows: Mapping[Key, Sequence[int]]) -> tuple[dict[Key, float], int]:
    """A reward model's number for every row of all, on every rank, and how many rows shared a forward. Collective.

    Longest first and dealt out in turn, repeated where a rank is one short, so that all make equal forwards.

    Raises:
        ValueError: it is no reward model.
        EvaluationError: scoring failed on a rank; raised on all.
    """
    keys = sorted(rows, key=lambda key: (-len(rows[key]), key))
    keys += keys[-1:] * (-len(keys) % distributed.world_size())
    mine = keys[distributed.rank() :: distributed.world_size()]
    sequences = [rows[key] for key in mine]
    try:
        at_once = min(distributed.gather(distributed.all_or_raise(lambda: rows_at_once(model, sequences))))
        numbers = distributed.all_or_raise(lambda: score_sequences(model, sequences, at_once))
    except ValueError:
        # Not a reward model.
        raise
    except Exception as error:
        # A rank's failure, raised on all.
        raise EvaluationError(str(error)) from error
    shares = distributed.gather(dict(zip(mine, numbers, strict=True)))
    return {key: number for share in shares for key, number in share.items()}, at_once


def rows_at_once(model: torch.nn.Module, sequences: Sequence[Sequence[int]]) -> int:
    """How many sequences may share a forward: one where padding changes what the model gives a sequence.

    Leaves no trace.

    Seen on the batch whose lengths differ most: each sequence in it against itself alone, and against what rounding
    does to them, see `proof`. The same number of forwards whatever the sequences.

    Raises:
        NotScorable: see `score_sequences`.
    """
    if _pad_token(model) is None or not sequences:
        return 1
    batches = _batches(sequences, _ROWS)
    widest = [sequences[i] for i in max(batches, key=lambda b: len(sequences[b[0]]) - len(sequences[b[-1]]))]
    with no_trace(model):
        beside = _numbers(model, widest)
        alone = [_numbers(model, [row])[0] for row in widest]
        with rounded_otherwise() as epsilons:
            otherwise = [_numbers(model, [row])[0] for row in widest]
    noise = max(abs(a - b) for a, b in zip(alone, otherwise, strict=True))
    least = max(epsilons, default=torch.finfo(torch.float32).eps)
    pairs = zip(beside, alone, strict=True)
    return _ROWS if all(abs(a - b) <= TIMES * (noise + least * abs(b)) for a, b in pairs) else 1


def score_sequences(model: torch.nn.Module, sequences: Sequence[Sequence[int]], rows: int = 1) -> list[float]:
    """The reward model's number for every sequence of ids, in their order; leaves no trace on the model.

    Sequences are padded on the right with the pad token by which the model finds each one's last token.

    Args:
        rows: to a forward, see `rows_at_once`.

    Raises:
        NotScorable: the model does not give each sequence one number.
    """
    numbers = [0.0] * len(sequences)
    with no_trace(model) as state:
        for batch in _batches(sequences, rows):
            for i, number in zip(batch, _numbers(model, [sequences[i] for i in batch]), strict=True):
                numbers[i] = number
            state.restore()
    return numbers


def _batches(sequences: Sequence[Sequence[int]], rows: int) -> list[list[int]]:
    """Which sequences share a forward, longest first."""
    order = sorted(range(len(sequences)), key=lambda i: -len(sequences[i]))
    return [order[start : start + rows] for start in range(0, len(order), rows)]


def _numbers(model: torch.nn.Module, sequences: Sequence[Sequence[int]]) -> list[float]:
    """One forward, the longest sequence first."""
    device, pad = input_device(model), _pad_token(model)
    ids = torch.nn.utils.rnn.pad_sequence(
        [torch.tensor(row) for row in sequences], batch_first=True, padding_value=pad or 0
    )
    lengths = torch.tensor([len(row) for row in sequences])
    mask = (torch.arange(ids.shape[1]) < lengths[:, None]).long()
    inputs = {"input_ids": ids.to(device), "attention_mask": mask.to(device)}
    accepts = forward_parameters(model)
    # some know no mask (FNet)
    kept = {name: value for name, value in inputs.items() if name in accepts or name == "input_ids"}
    try:
        logits = find_logits(model(**kept))
    except ValueError as error:
        raise NotScorable(f"{type(model).__name__} is no reward model: {error}") from error
    name, given = type(model).__name__, tuple(logits.shape)
    if given[:-1] != (len(sequences),):
        raise NotScorable(
            f"{name} is no reward model: numbers of shape {given} came back for {len(sequences)} texts, "
            "one for each is expected"
        )
    if given[-1] != 1:
        raise NotScorable(f"{name} has {given[-1]} labels; a reward model has one (num_labels=1)")
    return [float(number) for number in logits[:, 0]]


def _pad_token(model: torch.nn.Module) -> int | None:
    return getattr(text_config(innermost(model)), "pad_token_id", None)
