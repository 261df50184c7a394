"""Which layout a model can be trusted with: offered by what its config says, verified on its own numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from .batches import Batch, CachedBatch, Group, plan_cached, plan_packed, plan_padded
from .config import Layout
from .distributed import my_share
from .encoding import Key
from .loglikelihood import EvaluationError, forward_parameters, score_together

_PLANNERS: dict[Layout, Callable[[Sequence[Group], int], Sequence[Batch | CachedBatch]]] = {
    "padded": plan_padded,
    "packed": plan_packed,
    "cached": plan_cached,
}
_CPU_BUDGET, _ACCELERATOR_BUDGET = 2048, 16384
_NO_LIMIT = 1_000_000  # tokenizers without a known limit say 1e30


@dataclass(frozen=True, slots=True)
class LayoutChoice:
    """The layout in use, the largest difference to `padded` seen on the probe (nats) and why others were refused."""

    layout: Layout
    difference: float
    refused: tuple[str, ...] = ()


def plan(groups: Sequence[Group], layout: Layout, budget: int) -> Sequence[Batch | CachedBatch]:
    """Batches of the layout, each of at most `budget` tokens where a single answer allows it."""
    return _PLANNERS[layout](groups, budget) if groups else []


def context_length(model: torch.nn.Module, tokenizer: Any) -> int | None:
    """Tokens the model can read at once: from its config, else from its tokenizer, else `None` (no limit)."""
    config = _text_config(model)
    for name in ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length"):
        if isinstance(value := getattr(config, name, None), int) and value > 0:
            return value
    limit = getattr(tokenizer, "model_max_length", None)
    return int(limit) if limit and limit < _NO_LIMIT else None


def default_budget(model: torch.nn.Module) -> int:
    """Tokens per forward pass to start with."""
    return _CPU_BUDGET if next(model.parameters()).device.type == "cpu" else _ACCELERATOR_BUDGET


def choose_layout(
    model: torch.nn.Module, groups: Sequence[Group], wanted: Layout, budget: int
) -> LayoutChoice:
    """The fastest layout that agrees with `padded` on the longest and on the shortest group.

    A layout asked for by name is verified the same way and refused with an error instead of a fallback. Ranks
    share the probe and all see all of its numbers, and its failures, so that they choose alike. Collective.

    Raises:
        ValueError: the layout asked for by name does not fit the model.
        EvaluationError: out of memory, or `padded` itself failed.
    """
    if wanted == "padded":
        return LayoutChoice("padded", 0.0)
    probe = my_share([groups[0], groups[-1]] if len(groups) > 1 else [groups[0]])
    reference = score_together(model, plan(probe, "padded", budget))
    refused: list[str] = []
    for layout in _offered(model, groups) if wanted == "auto" else [wanted]:
        try:
            scored = score_together(model, plan(probe, layout, budget))
        except EvaluationError as error:
            if error.out_of_memory:
                raise
            refused.append(f"{layout}: {error}")  # an architecture that cannot do it, in its own words
            continue
        difference = max(abs(scored[key] - reference[key]) for key in reference)
        if difference <= _tolerance(model, reference):
            return LayoutChoice(layout, difference, tuple(refused))
        refused.append(f"{layout}: differs from padded by {difference:.3g} nats on the probe")
    if wanted != "auto":
        raise ValueError(
            f"layout {wanted!r} does not fit this model ({refused[0]}); use layout='auto' or 'padded'"
        )
    return LayoutChoice("padded", 0.0, tuple(refused))


def _offered(model: torch.nn.Module, groups: Sequence[Group]) -> list[Layout]:
    config = _text_config(model)
    accepts = forward_parameters(model)
    offered: list[Layout] = []
    window = getattr(config, "sliding_window", None)
    longest = max(len(g.context) + max(map(len, g.continuations)) for g in groups)
    attention = getattr(config, "_attn_implementation", "eager")
    if (
        "position_ids" in accepts
        and attention in ("eager", "sdpa")
        and (not isinstance(window, int) or longest <= window)
    ):
        offered.append("packed")
    if "past_key_values" in accepts:
        offered.append("cached")
    return offered


def _tolerance(model: torch.nn.Module, reference: dict[Key, float]) -> float:
    """Rounding allowed between layouts, in nats of a summed log-likelihood: relative to the largest sum."""
    epsilon = torch.finfo(next(model.parameters()).dtype).eps
    return 32 * epsilon * max(1.0, max(abs(value) for value in reference.values()))


def _text_config(model: torch.nn.Module) -> Any:
    config: Any = getattr(model, "config", None)
    return config.get_text_config(decoder=True) if hasattr(config, "get_text_config") else config
