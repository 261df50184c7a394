"""Attention for rows that hold a question once and its answers behind it: no mask, nothing computed in vain.

A function registered with transformers under a name for which it makes no mask. Keys carry their rotation already, with
positions that start anew behind the question, so this is exact, also under sliding windows: a query and a key are as
far apart as in a row of the answer's own. What the function cannot serve it refuses; it never guesses.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import AttentionInterface

from . import kernels
from .spans import Spans

NAME = "hre_shared_question"
_SETTING = "_attn_implementation_internal"


class Unfit(RuntimeError):
    """The model asks for attention that the function does not have, or asks another function."""


@dataclass
class _Forward(kernels.Work):
    """A forward that the function serves, and what it sees of it."""

    callers: set[torch.nn.Module] = field(default_factory=set)
    complaint: str = ""


# Of this thread alone: a forward that another thread makes (`DataParallel`) sees a part of the rows and is refused.
_FORWARD: ContextVar[_Forward | None] = ContextVar("hre_forward", default=None)


class SharedQuestion:
    """Switches a model to the function, for one forward at a time; holds what must be looked up once.

    Args:
        model: looked at through its wrappers, never called here.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        self._modules = list(model.modules())
        self._configs = _configs(self._modules)

    @contextmanager
    def serving(self, spans: Spans) -> Iterator[None]:
        """Within, the model's attention is the function's on rows of these spans; afterwards it is as it was found.

        Raises:
            Unfit: at the end, so that no forward of a sharded model breaks off half-way: the model asked for what the
                function does not have, or not all of its attention layers asked the function.
        """
        forward = _Forward(spans)
        token = _FORWARD.set(forward)
        before = [(config, getattr(config, _SETTING)) for config in self._configs]
        try:
            for config in self._configs:
                setattr(config, _SETTING, NAME)
            yield
        finally:
            for config, name in before:
                setattr(config, _SETTING, name)
            _FORWARD.reset(token)
        if reason := forward.complaint or self._not_served(forward.callers):
            raise Unfit(reason)

    def _not_served(self, callers: set[torch.nn.Module]) -> str:
        """Why not every attention layer of the forward can have been the function's; empty if it was."""
        if not callers:
            return "its attention is not exchangeable"
        kinds = {type(module) for module in callers}
        layers = [module for module in self._modules if type(module) in kinds]
        if missing := len(layers) - len(callers):
            return f"the attention of {missing} of its {len(layers)} layers is not exchangeable"
        return ""


def shared_question_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None = None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: torch.Tensor | None = None,
    **more: Any,
) -> tuple[torch.Tensor, None]:
    """What transformers calls in every attention layer. Never any dropout.

    Args:
        query, key, value: (rows, heads, length, head size); of keys and values there may be fewer heads.
        scaling: of the products; one over the root of the head size where it is `None`.
        sliding_window: how many of the last tokens, itself among them, a token sees.
        softcap: products are bent into (-softcap, softcap).
        s_aux: (heads,) a product with nothing, which takes its share of the softmax ("sink").

    Returns:
        (rows, length, heads, head size), zero for padding, and no weights.

    Raises:
        Unfit: no forward is being served. Where one is, what does not fit it is raised at its end.
    """
    forward = _FORWARD.get()
    if forward is None:
        raise Unfit(f"attention {NAME!r} is for HumanRankEval's own forwards")
    forward.callers.add(module)
    rows, length = query.shape[0], query.shape[2]
    if reason := _misfit(forward.spans, module, query, key, attention_mask, more):
        forward.complaint = forward.complaint or f"{type(module).__name__} {reason}"
        return value.new_zeros(rows, length, query.shape[1], value.shape[-1]), None
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    asked = kernels.Asked(scale, sliding_window or 0, softcap, s_aux)
    return kernels.attend(forward, query, key, value, asked), None


def _misfit(
    spans: Spans,
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    mask: torch.Tensor | None,
    more: dict[str, Any],
) -> str:
    """What a layer asks for that the function does not have; empty if it has all."""
    given = {"attention_mask": mask, **more}
    for name in ("attention_mask", "position_bias", "head_mask"):
        if given.get(name) is not None:
            return f"gives its attention {name}"
    if more.get("is_causal") is False or getattr(module, "is_causal", True) is False:
        return "attends to later tokens"
    found = [(t.shape[0], t.shape[2]) for t in (query, key)]
    if found != [spans.shape, spans.shape]:
        return f"has queries and keys of {found[0]} and {found[1]} tokens where the rows have {spans.shape}"
    return ""


def _configs(modules: Sequence[torch.nn.Module]) -> list[Any]:
    """Every config that a module holds, and those within it, each once."""
    found: dict[int, Any] = {}

    def add(config: Any) -> None:
        if hasattr(config, _SETTING) and id(config) not in found:
            found[id(config)] = config
            for name in getattr(config, "sub_configs", ()):
                add(getattr(config, name, None))

    for module in modules:
        add(getattr(module, "config", None))
    return list(found.values())


AttentionInterface.register(NAME, shared_question_attention)
