"""Encoded answers -> batches of tensors, planned once: which tokens share a row, which logits are read.

Three layouts, one result (`padded` is the reference for the others):

    padded   q q q a a a .        every answer in a row of its own, behind its question
             q q q b b . .
    packed   q q q a a a b b      question once, each answer sees the question and itself (4-D mask)
    cached   q q q | a a a        question once, its key-value cache repeated for the answers
                   | b b .
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import ClassVar

import torch

from .encoding import EncodedAnswer, Key


@dataclass(frozen=True, slots=True)
class Group:
    """Answers that share their context, token for token (boundary merges can part a question's answers)."""

    keys: tuple[Key, ...]
    context: tuple[int, ...]
    continuations: tuple[tuple[int, ...], ...]

    @property
    def tokens(self) -> int:
        """Tokens to feed: the last token of a continuation predicts nothing and is never fed."""
        return len(self.context) + sum(len(c) - 1 for c in self.continuations)


@dataclass(frozen=True, slots=True)
class Targets:
    """Which logits predict which token of which answer.

    Attributes:
        rows: (targets,) index into the kept logits, which are in row-major order of `keep`.
        ids: (targets,) the token to be predicted.
        owners: (targets,) index into the batch's keys.
    """

    rows: torch.Tensor
    ids: torch.Tensor
    owners: torch.Tensor


@dataclass(frozen=True, slots=True)
class Batch:
    """One forward pass of the `padded` or the `packed` layout; all tensors on the CPU.

    Attributes:
        keys: the answers scored here.
        input_ids: (rows, length).
        keep: (rows, length) bool, the positions whose logits are needed.
        targets: see `Targets`.
        attention_mask: (rows, length) for `padded`, else `None`.
        position_ids: (rows, length) for `packed`, else `None`.
        segments: (rows, length, 2) for `packed`: number of the group (0 = padding) and of the answer in it
            (0 = the context); the 4-D mask follows from it, see `packed_mask`.
    """

    forwards: ClassVar[int] = 1

    keys: tuple[Key, ...]
    input_ids: torch.Tensor
    keep: torch.Tensor
    targets: Targets
    attention_mask: torch.Tensor | None = None
    position_ids: torch.Tensor | None = None
    segments: torch.Tensor | None = None


@dataclass(frozen=True, slots=True)
class CachedBatch:
    """Two forward passes of the `cached` layout: contexts (left-padded), then answers on their caches.

    Attributes:
        keys: the answers scored here.
        context_ids, context_mask: (groups, context length); padding on the left, so that the distance of
            two real tokens in the cache is their distance in the text (sliding windows, alibi).
        answer_ids, answer_mask: (answers, answer length); padding on the right.
        group_of: (answers,) the row of each answer's context.
        keep: (answers, answer length) bool; the logits after the context come first, then these.
        targets: rows below `groups` are context logits.
    """

    forwards: ClassVar[int] = 2

    keys: tuple[Key, ...]
    context_ids: torch.Tensor
    context_mask: torch.Tensor
    answer_ids: torch.Tensor
    answer_mask: torch.Tensor
    group_of: torch.Tensor
    keep: torch.Tensor
    targets: Targets


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


def plan_padded(groups: Sequence[Group], budget: int) -> list[Batch]:
    """Rows of one answer each, longest first, as many to a batch as fit `budget` tokens with padding."""
    rows = one_by_one(groups)
    batches, start = [], 0
    while start < len(rows):
        size = max(1, budget // rows[start].tokens)
        batches.append(_pack([[row] for row in rows[start : start + size]], padded=True))
        start += size
    return batches


def plan_packed(groups: Sequence[Group], budget: int) -> list[Batch]:
    """Rows as long as the longest group left, gaps filled with shorter groups (first fit, decreasing).

    So rows stay short, which keeps the quadratic part of attention small, and nearly full, which wastes no
    padding. A group longer than `budget` is split, its context repeated.
    """
    left = sorted((part for g in groups for part in _split(g, budget)), key=lambda g: (-g.tokens, g.keys))
    batches = []
    while left:
        capacity = left[0].tokens
        rows: list[list[Group]] = [[] for _ in range(max(1, budget // capacity))]
        free = [capacity] * len(rows)
        rest = []
        for group in left:
            row = next((r for r, room in enumerate(free) if room >= group.tokens), None)
            if row is None:
                rest.append(group)
            else:
                rows[row].append(group)
                free[row] -= group.tokens
        batches.append(_pack([row for row in rows if row]))
        left = rest
    return batches


def plan_cached(groups: Sequence[Group], budget: int) -> list[CachedBatch]:
    """Groups of like context length together, as many to a batch as fit `budget` in both forward passes."""
    ordered = sorted(
        (part for g in groups for part in _split(g, budget)),
        key=lambda g: (-len(g.context), -max(map(len, g.continuations)), g.keys),
    )
    batches: list[CachedBatch] = []
    chosen: list[Group] = []
    for group in ordered:
        if chosen and _cached_cost([*chosen, group]) > budget:
            batches.append(_cached(chosen))
            chosen = []
        chosen.append(group)
    return [*batches, _cached(chosen)] if chosen else batches


def packed_mask(segments: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """(rows, 1, length, length) additive mask: 0 where a token may look, the dtype's minimum elsewhere.

    A token sees what came before it in its group's context and in its own answer. Padding sees itself only:
    a row of nothing but minima would be NaN in some attention kernels.
    """
    group, answer = segments[..., 0], segments[..., 1]
    same_group = group[:, :, None] == group[:, None, :]
    visible = (answer[:, None, :] == 0) | (answer[:, :, None] == answer[:, None, :])
    causal = torch.ones(
        segments.shape[1], segments.shape[1], dtype=torch.bool, device=segments.device
    ).tril_()
    allowed = same_group & visible & causal
    allowed &= (group != 0)[:, None, :] | torch.eye(
        segments.shape[1], dtype=torch.bool, device=segments.device
    )
    mask = torch.zeros(allowed.shape, dtype=dtype, device=segments.device)
    return mask.masked_fill_(~allowed, torch.finfo(dtype).min)[:, None]


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


def _pack(rows: Sequence[Sequence[Group]], *, padded: bool = False) -> Batch:
    """Lay groups out in rows and note where each continuation token is predicted.

    tokens      q q q a a b b b       continuations: a a A, b b b B (the capital is predicted, never fed)
    position    0 1 2 3 4 3 4 5
    keep        . . x x x x x x       the last q predicts the first token of every answer
    """
    length = max(sum(group.tokens for group in row) for row in rows)
    input_ids = torch.zeros(len(rows), length, dtype=torch.long)
    positions, keep = torch.zeros_like(input_ids), torch.zeros(len(rows), length, dtype=torch.bool)
    segments = torch.zeros(len(rows), length, 2, dtype=torch.long)
    keys: list[Key] = []
    where: list[int] = []  # flat position of each target's prediction
    ids: list[int] = []
    owners: list[int] = []
    for r, row in enumerate(rows):
        at = 0
        for number, group in enumerate(row, start=1):
            context_end = at + len(group.context)
            input_ids[r, at:context_end] = torch.tensor(group.context)
            positions[r, at:context_end] = torch.arange(len(group.context))
            segments[r, at:context_end, 0] = number
            start = context_end
            for index, continuation in enumerate(group.continuations, start=1):
                end = start + len(continuation) - 1
                input_ids[r, start:end] = torch.tensor(continuation[:-1], dtype=torch.long)
                positions[r, start:end] = torch.arange(len(group.context), len(group.context) + end - start)
                segments[r, start:end] = torch.tensor([number, index])
                where += [r * length + context_end - 1, *range(r * length + start, r * length + end)]
                ids += continuation
                owners += [len(keys)] * len(continuation)
                keys.append(group.keys[index - 1])
                start = end
            at = start
    keep.view(-1)[torch.tensor(where)] = True
    row_of = keep.view(-1).cumsum(0) - 1  # flat position -> index among the kept logits
    targets = Targets(row_of[torch.tensor(where)], torch.tensor(ids), torch.tensor(owners))
    if padded:
        return Batch(tuple(keys), input_ids, keep, targets, attention_mask=(segments[..., 0] != 0).long())
    return Batch(tuple(keys), input_ids, keep, targets, position_ids=positions, segments=segments)


def _cached_cost(groups: Sequence[Group]) -> int:
    contexts = len(groups) * max(len(g.context) for g in groups)
    answers = sum(len(g.keys) for g in groups) * max(len(c) for g in groups for c in g.continuations)
    return max(contexts, answers)


def _cached(groups: Sequence[Group]) -> CachedBatch:
    width = max(len(g.context) for g in groups)
    # at least one token, so that every batch makes the same two calls on every rank
    length = max(1, max(len(c) - 1 for g in groups for c in g.continuations))
    answers = [
        (g, key, c)
        for g, group in enumerate(groups)
        for key, c in zip(group.keys, group.continuations, strict=True)
    ]
    context_ids = torch.zeros(len(groups), width, dtype=torch.long)
    context_mask = torch.zeros_like(context_ids)
    for g, group in enumerate(groups):
        context_ids[g, width - len(group.context) :] = torch.tensor(group.context)
        context_mask[g, width - len(group.context) :] = 1
    answer_ids = torch.zeros(len(answers), length, dtype=torch.long)
    answer_mask = torch.zeros_like(answer_ids)
    keep = torch.zeros(len(answers), length, dtype=torch.bool)
    rows: list[int] = []
    ids: list[int] = []
    owners: list[int] = []
    kept = len(groups)
    for a, (g, _, continuation) in enumerate(answers):
        fed = len(continuation) - 1
        answer_ids[a, :fed] = torch.tensor(continuation[:-1], dtype=torch.long)
        answer_mask[a, :fed] = 1
        keep[a, :fed] = True
        rows += [g, *range(kept, kept + fed)]
        ids += continuation
        owners += [a] * len(continuation)
        kept += fed
    return CachedBatch(
        tuple(key for _, key, _ in answers),
        context_ids,
        context_mask,
        answer_ids,
        answer_mask,
        torch.tensor([g for g, _, _ in answers]),
        keep,
        Targets(torch.tensor(rows), torch.tensor(ids), torch.tensor(owners)),
    )
