"""Groups with other tokens in one place, by which a proof sees what a model lets through; pure arithmetic over ids."""

from __future__ import annotations

from dataclasses import replace

from .encoding import Key
from .plan import Group


def other_answers(group: Group, keep: set[Key]) -> Group:
    """Another token at the last fed place of every answer but those to be kept."""
    changed = [
        ids if key in keep or len(ids) < 2 else (*ids[:-2], another(ids[-2], group), ids[-1])
        for key, ids in zip(group.keys, group.continuations, strict=True)
    ]
    return replace(group, continuations=tuple(changed))


def other_question(group: Group) -> Group:
    """The question's tokens in another order, or another token where there is no other order."""
    ids = group.context
    turned = ids[1:] + ids[:1]
    return replace(group, context=turned if turned != ids else tuple(another(i, group) for i in ids))


def another(token: int, group: Group) -> int:
    """A token of the same group that is not this one: certainly one of the vocabulary."""
    known = (*group.context, *(i for ids in group.continuations for i in ids))
    return next((i for i in known if i != token), max(token - 1, 0))
