"""Which layout a model can be trusted with: offered by what its config says, verified on its own numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.modules.module import register_module_forward_hook

from .batches import Batch, CachedBatch, Group, plan_cached, plan_packed, plan_padded
from .budget import text_config
from .config import Layout
from .distributed import gather, my_share
from .encoding import Key
from .loglikelihood import EvaluationError, forward_parameters, innermost, score_together

_PLANNERS: dict[Layout, Callable[[Sequence[Group], int], Sequence[Batch | CachedBatch]]] = {
    "padded": plan_padded,
    "packed": plan_packed,
    "cached": plan_cached,
}
_FLOAT32 = torch.finfo(torch.float32).eps
_NO_LIMIT = 1_000_000  # tokenizers without a known limit say 1e30


@dataclass(frozen=True, slots=True)
class LayoutChoice:
    """The layout in use and what the probe showed.

    Attributes:
        layout: in use for the whole run.
        difference: the largest difference to one unpadded row at a time (nats of a summed log-likelihood).
        refused: which layouts were refused, each with its reason.
        rounding: root mean square of the differences, each over the square root of its tokens: what arithmetic
            alone does to a token's log-likelihood. NaN when there was no probe.
    """

    layout: Layout
    difference: float
    refused: tuple[str, ...] = ()
    rounding: float = math.nan


def plan(groups: Sequence[Group], layout: Layout, budget: int) -> Sequence[Batch | CachedBatch]:
    """Batches of the layout, each of at most `budget` tokens where a single answer allows it."""
    return _PLANNERS[layout](groups, budget) if groups else []


def context_length(model: torch.nn.Module, tokenizer: Any) -> int | None:
    """Tokens the model can read at once: from its config, else from its tokenizer, else `None` (no limit)."""
    config = text_config(model)
    for name in ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length"):
        if isinstance(value := getattr(config, name, None), int) and value > 0:
            return value
    limit = getattr(tokenizer, "model_max_length", None)
    return int(limit) if limit and limit < _NO_LIMIT else None


def choose_layout(
    model: torch.nn.Module, groups: Sequence[Group], wanted: Layout, budget: int
) -> LayoutChoice:
    """The fastest layout that agrees with one unpadded row at a time on a probe of at most four answers.

    A layout asked for by name is verified the same way and refused with an error instead of a fallback. Ranks
    share the probe and all see all of its numbers, and its failures, so that they choose alike. Collective.

    Raises:
        ValueError: the layout asked for by name does not fit the model.
        EvaluationError: out of memory, or `padded` itself failed.
    """
    if wanted == "padded":
        return LayoutChoice("padded", 0.0)
    probe = _probe(groups)
    mine = my_share(probe)
    with _coarsest_arithmetic() as epsilons:
        reference = score_together(model, plan(mine, "padded", 1))
    epsilon = max(gather(max(epsilons, default=_FLOAT32)))
    refused: list[str] = []
    for layout in [*_offered(model, groups), "padded"] if wanted == "auto" else [wanted]:
        try:
            scored = score_together(model, plan(mine, layout, budget))
        except EvaluationError as error:
            if error.out_of_memory or layout == "padded":
                raise
            refused.append(f"{layout}: {error}")  # an architecture that cannot do it, in its own words
            continue
        difference = max(abs(scored[key] - reference[key]) for key in reference)
        if layout == "padded" or _within_rounding(scored, reference, probe, epsilon):
            rounding = _rounding(scored, reference, probe)
            return LayoutChoice(layout, difference, tuple(refused), rounding)
        refused.append(f"{layout}: differs from padded by {difference:.3g} nats on the probe")
    raise ValueError(
        f"layout {wanted!r} does not fit this model ({refused[0]}); use layout='auto' or 'padded'"
    )


def _probe(groups: Sequence[Group]) -> list[Group]:
    """What is verified: two answers of the group with the longest row, two of the shortest group that has two.

    The longest row shows a window that the config hides. Two answers show whether they see each other and where
    the second one's positions start; more of them would show the same again and take more time.
    """
    longest = max(groups, key=lambda g: len(g.context) + max(map(len, g.continuations)))
    shared = [g for g in groups if len(g.keys) > 1]
    shortest = (shared or groups)[-1]
    return [_two_answers(longest)] + ([_two_answers(shortest)] if shortest is not longest else [])


def _two_answers(group: Group) -> Group:
    """The group with its two longest answers only: a single token is predicted by the question, and leaks nothing."""
    by_length = sorted(range(len(group.keys)), key=lambda i: (len(group.continuations[i]), i))
    kept = by_length[-2:]
    return Group(
        tuple(group.keys[i] for i in kept), group.context, tuple(group.continuations[i] for i in kept)
    )


def _offered(model: torch.nn.Module, groups: Sequence[Group]) -> list[Layout]:
    config = text_config(model)
    accepts = forward_parameters(model)
    offered: list[Layout] = []
    window = getattr(config, "sliding_window", None)
    longest = max(len(g.context) + max(map(len, g.continuations)) for g in groups)
    attention = getattr(config, "_attn_implementation", "eager")
    if (
        "position_ids" in accepts
        and attention in ("eager", "sdpa")
        and (not isinstance(window, int) or longest <= window)
        and not getattr(innermost(model), "_is_stateful", False)  # a recurrent state knows no mask
    ):
        offered.append("packed")
    if "past_key_values" in accepts:
        offered.append("cached")
    return offered


@contextmanager
def _coarsest_arithmetic() -> Iterator[set[float]]:
    """Collects the machine epsilons of what the model's modules put out.

    The weights' dtype does not tell: under autocast, which the Trainer folds into the model's forward, they are
    float32 and the products are not.
    """
    epsilons: set[float] = set()

    def note(module: torch.nn.Module, inputs: Any, output: Any) -> None:
        if isinstance(output, torch.Tensor) and output.is_floating_point():
            epsilons.add(torch.finfo(output.dtype).eps)

    handle = register_module_forward_hook(note)
    try:
        yield epsilons
    finally:
        handle.remove()


def _within_rounding(
    scored: dict[Key, float], reference: dict[Key, float], probe: Sequence[Group], epsilon: float
) -> bool:
    """Whether every answer differs by no more than arithmetic explains.

    Sums are accumulated in float32 whatever the products are in: that error is relative to the sum. The products'
    own is independent from token to token, so it grows with the square root of their number. (SmolLM2 under bfloat16
    autocast: 0.04 nats times that root; allowed are 0.2; an answer that sees another is off by 0.4 nats a token.)
    """
    for group in probe:
        for key, continuation in zip(group.keys, group.continuations, strict=True):
            nats = max(abs(reference[key]), float(len(continuation)))
            allowed = nats * (32 * _FLOAT32 + 8 * epsilon / math.sqrt(len(continuation)))
            if not abs(scored[key] - reference[key]) <= allowed:
                return False
    return True


def _rounding(scored: dict[Key, float], reference: dict[Key, float], probe: Sequence[Group]) -> float:
    squares = [
        (scored[key] - reference[key]) ** 2 / len(continuation)
        for group in probe
        for key, continuation in zip(group.keys, group.continuations, strict=True)
    ]
    return math.sqrt(sum(squares) / len(squares))
