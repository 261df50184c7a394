"""How to read what a model's call returns: found out by calling it on one short row, never by a parameter's name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch

from .architecture import input_rows, output_rows, text_config
from .errors import ForwardError, NotScorable

# Of the largest logit: what arithmetic may change when fewer logits are made; a wrong position is off by all of it.
_SAME = 0.05

Keeps = Literal["mask", "columns", "suffix", "all"]


@dataclass(frozen=True, slots=True)
class Reading:
    """What a call returns.

    Attributes:
        vocabulary: numbers a token, one for every entry; 0 for a reward model.
        keeps: how the forward can be asked for some positions only: `logits_to_keep` as a mask, as columns, as a number
            of last positions; or not at all.
        keeps_of_one: the same where there is one row: by columns if it can be, which no device has to count first.
        virtual: positions in front of the row's own (prompt tuning).
        rewards: the model gives a sequence one number (`RewardTrainer`), not tokens a likelihood.
    """

    vocabulary: int
    keeps: Keeps = "all"
    keeps_of_one: Keeps = "all"
    virtual: int = 0
    rewards: bool = False


def find_logits(output: Any, vocabulary: int | None = None) -> torch.Tensor:
    """The logits in what a call returned: an attribute, a key, or in a tuple the first tensor that can be them.

    Args:
        vocabulary: last dimension of the tensor that is looked for in a tuple, where it is known.

    Raises:
        ValueError: there are none.
    """
    found: Any
    if isinstance(output, (tuple, list)):
        parts = [part for part in output if _may_be_logits(part, vocabulary)]
        # a value head stands beside the logits with a dimension less
        found = next((part for part in parts if part.dim() == 3), parts[0] if parts else None)
    elif isinstance(output, Mapping):
        found = output.get("logits")
    else:
        found = output if isinstance(output, torch.Tensor) else getattr(output, "logits", None)
    if not isinstance(found, torch.Tensor) or not found.is_floating_point():
        raise ValueError(f"a call returned no logits but {_described(output)}")
    return found


def _may_be_logits(part: Any, vocabulary: int | None) -> bool:
    if not isinstance(part, torch.Tensor) or not part.is_floating_point() or part.dim() < 2:
        return False
    return vocabulary is None or part.shape[-1] == vocabulary


def _described(output: Any) -> str:
    if isinstance(output, Mapping):
        return f"a {type(output).__name__} with {', '.join(map(str, output)) or 'nothing'}"
    return f"a {type(output).__name__}"


def learn(call: Callable[..., Any], model: torch.nn.Module, ids: Sequence[int], *, takes_keep: bool) -> Reading:
    """Call the model on one row and look at what comes back.

    Args:
        call: the forward on the row `ids`, taking `logits_to_keep` where `takes_keep`.

    Raises:
        NotScorable: it cannot be called on text alone, or gives no logits over the vocabulary.
    """
    name, length = type(model).__name__, len(ids)
    try:
        output = call()
    # what a forward raises that wants an image, a task or another thing that a text has not
    except (TypeError, ValueError, AttributeError, KeyError, AssertionError) as error:
        first = (str(error).strip().splitlines() or [""])[0]
        raise NotScorable(
            f"{name} cannot be scored: its forward fails on text alone ({type(error).__name__}: {first:.200})"
        ) from error
    try:
        full = find_logits(output, output_rows(model))
    except ValueError as error:
        raise NotScorable(f"{name} cannot be scored: {error}; a model with a language-model head is needed") from error
    if full.dim() == 2 and full.shape[0] == 1:
        return _of_rewards(name, full.shape[-1])
    _check(name, full, model, length, max(ids))
    virtual = full.shape[1] - length
    own = full[0, virtual:]
    # positions are counted from the row's start, which virtual tokens move: only the last ones are where they were
    ways: tuple[Keeps, ...] = ("suffix",) if virtual else ("mask", "columns", "suffix")
    keeps: Keeps = next((way for way in ways if takes_keep and _keeps(call, way, own)), "all")
    by_columns = keeps == "mask" and _keeps(call, "columns", own)
    return Reading(full.shape[-1], keeps, "columns" if by_columns else keeps, virtual)


def _of_rewards(name: str, labels: int) -> Reading:
    if labels != 1:
        raise NotScorable(
            f"{name} cannot be scored: it gives a text {labels} labels; a reward model gives one (num_labels=1)"
        )
    return Reading(0, rewards=True)


def _check(name: str, logits: torch.Tensor, model: torch.nn.Module, length: int, largest: int) -> None:
    if logits.dim() != 3 or logits.shape[0] != 1 or logits.shape[1] < length:
        raise NotScorable(
            f"{name} cannot be scored: logits of shape {tuple(logits.shape)} came back for {length} tokens, "
            "expected (1, tokens, vocabulary)"
        )
    found, expected = logits.shape[-1], output_rows(model)
    # without an output embedding to ask, the input's or the config's size must be met
    declared = getattr(text_config(model), "vocab_size", None)
    allowed = {expected} if expected else {input_rows(model), declared} - {None}
    if found not in allowed if allowed else found <= largest:
        sizes = " or ".join(map(str, sorted(filter(None, allowed)))) or f"more than {largest}"
        raise NotScorable(
            f"{name} cannot be scored: a call gives {found} numbers a token, which is no vocabulary ({sizes} "
            "expected); a causal or encoder-decoder language model, or a reward model with one label, is needed"
        )


def _keeps(call: Callable[..., Any], way: Keeps, own: torch.Tensor) -> bool:
    """Whether asking for the row's second half in this way gives the logits that stand there."""
    length = len(own)
    half = length // 2
    if half == 0:
        return False
    columns = torch.arange(half, length, device=own.device)
    wanted: Any = length - half if way == "suffix" else columns
    if way == "mask":
        wanted = torch.zeros(1, length, dtype=torch.bool, device=own.device)
        wanted[:, half:] = True
    try:
        kept = find_logits(call(logits_to_keep=wanted), own.shape[-1])
    except ForwardError:
        raise
    except (RuntimeError, IndexError, TypeError, ValueError):
        # it does not take it in this form (no mask in older releases): the next way is tried, full logits at last
        return False
    if kept.shape[-1] != own.shape[-1] or kept.numel() != own[half:].numel():
        return False
    difference = (kept.reshape(own[half:].shape).float() - own[half:].float()).abs().max()
    return bool(difference <= _SAME * own.float().abs().max())
