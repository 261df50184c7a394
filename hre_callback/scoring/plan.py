"""Which answers are scored together: groups that share their question, rows of groups, batches of rows.

Four layouts, one result (`single` is the reference for the others):

    single   q q q a a a          every answer alone, behind its question
    padded   q q q a a a .        as many such rows to a batch as fit, padded on the right
             q q q b b . .
    packed   q q q a a a b b      question once, each answer sees the question and itself, by an attention
                                  function (see `attention`) or, where a model takes none, by a 4-D mask
    cached   q q q | a a a        question once, its key-value cache repeated for the answers
                   | b b .

Pure arithmetic over token ids; `batches` makes the tensors.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal, NamedTuple

from .. import distributed
from ..config import Layout
from .encoding import EncodedAnswer, Key
from .first_fit import first_fit


@dataclass(frozen=True, slots=True)
class Group:
    """Answers that share their context, token for token (boundary merges can part a question's answers)."""

    keys: tuple[Key, ...]
    context: tuple[int, ...]
    continuations: tuple[tuple[int, ...], ...]

    @property
    def tokens(self) -> int:
        """Tokens to feed: the last token of a continuation predicts nothing; `single` alone feeds it."""
        return len(self.context) + sum(len(c) - 1 for c in self.continuations)


# What keeps the answers of a packed row apart.
Attention = Literal["function", "mask"]


class Way(NamedTuple):
    """A layout, and of `packed` what keeps its answers apart; the other layouts leave attention as it is."""

    layout: Layout
    attention: Attention | None = None

    def __str__(self) -> str:
        return self.layout if self.attention is None else f"{self.layout} ({self.attention})"


_FASTEST_FIRST = (
    Way("packed", "function"),
    Way("packed", "mask"),
    Way("cached"),
    Way("padded"),
    Way("single"),
)


def ways(wanted: Layout, after: Way | None = None) -> tuple[Way, ...]:
    """What may be tried for a layout asked for, fastest first; only what comes `after` one that failed."""
    begin = 0 if after is None else _FASTEST_FIRST.index(after) + 1
    return tuple(way for way in _FASTEST_FIRST[begin:] if wanted in ("auto", way.layout))


# Groups that stand in one row behind each other; one group where nothing is packed.
Row = list[Group]
# The rows of one batch.
Rows = list[Row]


def group_by_context(answers: Sequence[EncodedAnswer]) -> list[Group]:
    """Groups of answers with the same question and the same context ids, longest first (ties: by key)."""
    ordered = sorted(answers, key=lambda a: (a.key[0], a.context, a.key[1]))
    groups = [
        Group(tuple(a.key for a in rows), context, tuple(a.continuation for a in rows))
        for (_, context), grouped in groupby(ordered, key=lambda a: (a.key[0], a.context))
        for rows in [list(grouped)]
    ]
    return sorted(groups, key=lambda g: (-g.tokens, g.keys))


def one_by_one(groups: Sequence[Group]) -> list[Group]:
    """Every answer as a group of its own, longest first."""
    rows = [
        Group((key,), group.context, (continuation,))
        for group in groups
        for key, continuation in zip(group.keys, group.continuations, strict=True)
    ]
    return sorted(rows, key=lambda g: (-g.tokens, g.keys))


def arrange(groups: Sequence[Group], layout: Layout, budget: int) -> list[Rows]:
    """The batches of a layout as rows of groups, each of at most `budget` tokens where a single answer allows it."""
    return _ARRANGE[layout](groups, budget) if groups else []


def _singles(groups: Sequence[Group], budget: int) -> list[Rows]:
    return [[[row]] for row in one_by_one(groups)]


def _padded(groups: Sequence[Group], budget: int) -> list[Rows]:
    """Rows of one answer each, longest first, as many to a batch as fit `budget` tokens with padding."""
    rows = one_by_one(groups)
    batches, start = [], 0
    while start < len(rows):
        size = max(1, budget // rows[start].tokens)
        batches.append([[row] for row in rows[start : start + size]])
        start += size
    return batches


def _packed(groups: Sequence[Group], budget: int) -> list[Rows]:
    """Rows as long as the longest group left, gaps filled with shorter groups (first fit, decreasing).

    So rows stay short, which keeps the quadratic part of attention small, and nearly full, which wastes no
    padding. A group longer than `budget` is split, its context repeated.
    """
    parts = sorted((part for g in groups for part in _split(g, budget)), key=lambda g: (-g.tokens, g.keys))
    rows = first_fit([part.tokens for part in parts], budget)
    return [[[parts[i] for i in row] for row in batch] for batch in rows]


def _cached(groups: Sequence[Group], budget: int) -> list[Rows]:
    """Groups of like context length together, as many to a batch as fit `budget` in both forward passes."""
    ordered = sorted(
        (part for g in groups for part in _split(g, budget)),
        key=lambda g: (-len(g.context), -max(map(len, g.continuations)), g.keys),
    )
    batches: list[Rows] = []
    chosen: Rows = []
    answers = longest = 0
    for group in ordered:
        answers, longest = answers + len(group.keys), max(longest, *map(len, group.continuations))
        # the first context is the longest: of the contexts and of the answers, the larger rectangle counts
        if chosen and max((len(chosen) + 1) * len(chosen[0][0].context), answers * longest) > budget:
            batches.append(chosen)
            chosen, answers, longest = [], len(group.keys), max(map(len, group.continuations))
        chosen.append([group])
    return [*batches, chosen] if chosen else batches


def _split(group: Group, budget: int) -> list[Group]:
    """The group, or parts of it that fit the budget (each at least one answer)."""
    if group.tokens <= budget or len(group.keys) == 1:
        return [group]
    half = len(group.keys) // 2
    parts = (slice(None, half), slice(half, None))
    return [
        piece
        for part in parts
        for piece in _split(Group(group.keys[part], group.context, group.continuations[part]), budget)
    ]


_ARRANGE: dict[Layout, Callable[[Sequence[Group], int], list[Rows]]] = {
    "single": _singles,
    "padded": _padded,
    "packed": _packed,
    "cached": _cached,
}


def share(groups: Sequence[Group], index: int, shares: int) -> list[Group]:
    """This process's groups, balanced by tokens: longest first, each to the share with the least work so far.

    (Graham's LPT rule: the largest share is at most 4/3 of the optimum.) Pure, so every rank computes the
    same assignment; questions stay whole as far as their context is shared.
    """
    load = [(0, i) for i in range(shares)]
    mine = []
    for group in sorted(groups, key=lambda g: (-g.tokens, g.keys)):
        tokens, i = heapq.heappop(load)
        heapq.heappush(load, (tokens + group.tokens, i))
        if i == index:
            mine.append(group)
    return mine


def my_share(groups: Sequence[Group], layout: Layout) -> list[Group]:
    """See `share`; where nothing is shared within a question, ranks may share it out."""
    whole = groups if layout in ("packed", "cached") else one_by_one(groups)
    return share(whole, distributed.rank(), distributed.world_size())
