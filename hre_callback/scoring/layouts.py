"""Which layout a model can be trusted with: the fastest that is proven on rows of the real plan."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ..config import Layout
from .alone import Alone
from .architecture import cache_parameter, forward_parameters, innermost, meets_in_forward, text_config
from .errors import EvaluationError
from .outputs import Reading
from .plan import Attention, Group, Rows, Way
from .proof import prove


@dataclass(frozen=True, slots=True)
class LayoutChoice:
    """The layout in use and what its proof showed.

    Attributes:
        layout: in use until a later proof, with other weights, refuses it.
        difference: the largest difference to one unpadded row at a time (nats of a summed log-likelihood).
        refused: which layouts were refused, each with its reason.
        rounding: what arithmetic alone does to a token's log-likelihood (nats, root mean square), see `proof`.
        answers: how many answers were held against themselves alone.
        attention: of `packed`, what keeps its answers apart, see `plan.Way`.
        refused_more: why the larger plan is not proven in this layout; empty where it is, or there is none.
    """

    layout: Layout
    difference: float = 0.0
    refused: tuple[str, ...] = ()
    rounding: float = math.nan
    answers: int = 0
    attention: Attention | None = None
    refused_more: str = ""

    @property
    def way(self) -> Way:
        """The layout and its attention."""
        return Way(self.layout, self.attention)

    def as_dict(self) -> dict[str, Any]:
        """For the record, JSON-plain."""
        return {
            "layout": self.layout,
            "attention": self.attention,
            "difference": self.difference,
            "rounding": self.rounding,
            "answers": self.answers,
            "refused": list(self.refused),
        }


def choose_layout(
    model: torch.nn.Module,
    reading: Reading,
    share: Callable[[Layout], Sequence[Group]],
    arranged: Callable[[Layout], Sequence[Rows]],
    ways: Sequence[Way],
    more: Callable[[Layout], Sequence[Rows]] | None = None,
) -> LayoutChoice:
    """The first of `ways` that is proven for the model, see `proof`. Collective.

    Args:
        share, arranged: this rank's groups and its plan in a layout.
        ways: what may be taken, see `plan.ways`; `single` needs no proof.
        more: a larger plan, with what else is to be scored. It is held to the same proof in the layout that is chosen
            without it, and changes none of its figures.

    Raises:
        ValueError: none of them fits the model, or HRE cannot score the model at all.
        EvaluationError: out of memory, or one row at a time failed.
    """
    alone = Alone(model, reading)
    alone.begin(share("single"))
    refused: list[str] = []
    cause: EvaluationError | None = None
    for way in ways:
        if why := _known_unfit(model, reading, way):
            refused.append(f"{way}: {why}")
            continue
        try:
            verdict = prove(alone, arranged(way.layout), way)
        except EvaluationError as error:
            if error.out_of_memory or way.layout == "single":
                raise
            # an architecture that cannot do it, in its own words
            refused.append(f"{way}: {error}")
            cause = error
            continue
        if not verdict.reason or way.layout == "single":
            return LayoutChoice(
                way.layout,
                verdict.difference,
                tuple(refused),
                alone.noise[0],
                verdict.answers,
                attention=way.attention,
                refused_more=_unproven(alone, more, way) if more is not None else "",
            )
        refused.append(f"{way}: {verdict.reason}")
    raise ValueError(
        f"layout {ways[-1].layout!r} does not fit this model ({'; '.join(refused)}); use layout='auto'"
    ) from cause


def _unproven(alone: Alone, more: Callable[[Layout], Sequence[Rows]], way: Way) -> str:
    if way.layout == "single":
        return ""
    try:
        return prove(alone, more(way.layout), way).reason
    except EvaluationError as error:
        if error.out_of_memory:
            raise
        return str(error)


def _known_unfit(model: torch.nn.Module, reading: Reading, way: Way) -> str:
    """Why a layout need not even be tried; empty where a proof decides. Only spares forwards that must fail."""
    accepts = forward_parameters(model)
    if way.layout == "cached" and cache_parameter(accepts) is None and "decoder_input_ids" not in accepts:
        return "the forward takes no key-value cache"
    if way.layout != "packed":
        return ""
    if "position_ids" not in accepts:
        return "the forward takes no position_ids"
    if getattr(innermost(model), "_is_stateful", False):
        return "a recurrent state knows no answers"
    return _no_function(model, reading) if way.attention == "function" else _no_mask(model)


def _no_function(model: torch.nn.Module, reading: Reading) -> str:
    if reading.virtual:
        return "virtual tokens stand in front of its rows"
    if meets_in_forward(model) and not any(map(_declares_it, model.modules())):
        return "a sharded model that declares no exchangeable attention, or not that it needs no mask"
    return ""


def _declares_it(module: torch.nn.Module) -> bool:
    """A failure inside a sharded forward ends the run: there only what transformers declares is tried.

    Flash attention gets no mask either, so a model that declares it makes do without one (DeepSeek-V3.2 does not).
    """
    return all(getattr(module, name, False) for name in ("_supports_attention_backend", "_supports_flash_attn"))


def _no_mask(model: torch.nn.Module) -> str:
    attention = getattr(text_config(model), "_attn_implementation", None)
    if isinstance(attention, str) and attention not in ("eager", "sdpa"):
        return f"attention {attention!r} takes no 4-D mask"
    return ""
