"""What tests of scoring need: a model looked at, its layout chosen, batches scored, without an evaluator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hre_callback.scoring.batches import lay_out, plan
from hre_callback.scoring.encoding import Key
from hre_callback.scoring.layouts import LayoutChoice
from hre_callback.scoring.layouts import choose_layout as choose
from hre_callback.scoring.loglikelihood import learn_together, score_together
from hre_callback.scoring.outputs import Reading
from hre_callback.scoring.plan import Group, Way, arrange, one_by_one, ways


def look_at(model: Any, groups: Sequence[Group]) -> Reading:
    first = min(groups, key=lambda group: len(group.context))
    return learn_together(model, (first.context + first.continuations[0])[:16])[0]


def choose_layout(model: Any, groups: Sequence[Group], wanted: Any, budget: int) -> LayoutChoice:
    def share(layout: Any) -> Sequence[Group]:
        return groups if layout in ("packed", "cached") else one_by_one(groups)

    return choose(
        model,
        look_at(model, groups),
        share,
        lambda layout: arrange(share(layout), layout, budget),
        ways(wanted) if isinstance(wanted, str) else wanted,
    )


def way(wanted: Any) -> Way:
    """`packed` is by the function where nothing else is said."""
    return wanted if isinstance(wanted, Way) else ways(wanted)[0]


def score_groups(model: Any, groups: Sequence[Group], wanted: Any, budget: int) -> dict[Key, float]:
    return score_together(model, plan(groups, way(wanted), budget), look_at(model, groups))


__all__ = ["choose_layout", "lay_out", "look_at", "score_groups", "way"]
