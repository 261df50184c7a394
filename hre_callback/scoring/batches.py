"""Rows of groups -> tensors: which tokens share a row, which logits are read. See `plan` for the layouts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from .plan import Group, Rows, Way, arrange
from .spans import Span, Spans
from .tensors import Batch, CachedBatch, Targets

Ints = NDArray[np.int64]


def plan(groups: Sequence[Group], way: Way, budget: int) -> list[Batch | CachedBatch]:
    """All batches, see `plan.arrange`."""
    return [lay_out(rows, way) for rows in arrange(groups, way.layout, budget)]


def lay_out(rows: Rows, way: Way) -> Batch | CachedBatch:
    """The tensors of one batch."""
    if way.layout == "cached":
        return _cached([group for row in rows for group in row])
    return _pack(rows, way)


def packed_mask(segments: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """(rows, 1, length, length) additive mask: 0 where a token may look, the dtype's minimum elsewhere.

    A token sees what came before it in its group's context and in its own answer. Padding sees itself only:
    a row of nothing but minima would be NaN in some attention kernels.
    """
    group, answer = segments[..., 0], segments[..., 1]
    same_group = group[:, :, None] == group[:, None, :]
    visible = (answer[:, None, :] == 0) | (answer[:, :, None] == answer[:, None, :])
    causal = torch.ones(segments.shape[1], segments.shape[1], dtype=torch.bool, device=segments.device).tril_()
    allowed = same_group & visible & causal
    allowed &= (group != 0)[:, None, :] | torch.eye(segments.shape[1], dtype=torch.bool, device=segments.device)
    mask = torch.zeros(allowed.shape, dtype=dtype, device=segments.device)
    return mask.masked_fill_(~allowed, torch.finfo(dtype).min)[:, None]


class _Span(NamedTuple):
    """Tokens that follow each other in a row: the flat place and the position of the first, whose they are."""

    start: int
    position: int
    group: int
    answer: int
    ids: tuple[int, ...]


class _Scored(NamedTuple):
    """A continuation: the flat place of the context's last token, and of the first of its own that is fed."""

    context_end: int
    start: int
    ids: tuple[int, ...]


def _pack(rows: Rows, way: Way) -> Batch:
    """Lay groups out in rows and note where each continuation token is predicted.

    tokens      q q q a a b b b       continuations: a a A, b b b B (the capital is predicted, never fed)
    position    0 1 2 3 4 3 4 5
    keep        . . x x x x x x       the last q predicts the first token of every answer

    `single` feeds the last token too, as a loop over rows and training do: some models' numbers depend on how long
    the row is. By the function, all stand in one row behind each other: who sees whom is said by spans, positions are
    given, so nothing needs padding, and a row's logits can be asked for by their places, with no mask to wait for.
    """
    whole, function = way.layout == "single", way.attention == "function"
    if function:
        rows = [[group for row in rows for group in row]]
    length = max(sum(group.tokens for group in row) for row in rows) + whole
    shape = (len(rows), length)
    spans, scored = _spans(rows, length, whole)
    where, within = _spread([span.start for span in spans], [len(span.ids) for span in spans])
    facts = np.array([span[1:4] for span in spans]).repeat([len(span.ids) for span in spans], axis=0)
    input_ids = _filled(shape, where, _joined(span.ids for span in spans))
    groups = _filled(shape, where, facts[:, 1])
    keep, targets = _targets(shape, scored)
    keys = tuple(key for row in rows for group in row for key in group.keys)
    if way.layout != "packed":
        return Batch(keys, input_ids, keep, targets, attention_mask=(groups != 0).long())
    packed = Batch(keys, input_ids, keep, targets, position_ids=_filled(shape, where, facts[:, 0] + within))
    if function:
        return replace(packed, spans=Spans(shape, tuple(_who_sees_whom(spans, length))))
    return replace(packed, segments=torch.stack([groups, _filled(shape, where, facts[:, 2])], dim=-1))


def _spans(rows: Rows, length: int, whole: bool) -> tuple[list[_Span], list[_Scored]]:
    spans, scored = [], []
    for r, row in enumerate(rows):
        at = r * length
        for number, group in enumerate(row, start=1):
            width = len(group.context)
            spans.append(_Span(at, 0, number, 0, group.context))
            at += width
            context_end = at - 1
            for index, continuation in enumerate(group.continuations, start=1):
                scored.append(_Scored(context_end, at, continuation))
                spans.append(_Span(at, width, number, index, continuation if whole else continuation[:-1]))
                at += len(continuation) - 1
    return spans, scored


def _who_sees_whom(tokens: Sequence[_Span], length: int) -> Iterator[Span]:
    """A question's tokens see themselves, an answer's those of the question and themselves."""
    first = last = 0
    for span in tokens:
        row, start = divmod(span.start, length)
        end = start + len(span.ids)
        if span.answer == 0:
            first, last = start, end
            yield Span(row, start, start, start, end)
        elif span.ids:
            yield Span(row, first, last, start, end)


def _targets(shape: tuple[int, int], scored: Sequence[_Scored]) -> tuple[torch.Tensor, Targets]:
    """Which positions are kept, and which of them predicts which token of which answer."""
    lengths = [len(answer.ids) for answer in scored]
    where, within = _spread([answer.start - 1 for answer in scored], lengths)
    where[within == 0] = [answer.context_end for answer in scored]
    keep = np.zeros(shape, dtype=bool)
    keep.flat[where] = True
    # flat position -> index among the kept logits
    row_of = keep.ravel().cumsum() - 1
    owners = np.arange(len(scored)).repeat(lengths)
    ids = _joined(answer.ids for answer in scored)
    found = Targets(*map(torch.from_numpy, (row_of[where], ids, owners)))
    return torch.from_numpy(keep), found


def _cached(groups: Sequence[Group]) -> CachedBatch:
    width = max(len(g.context) for g in groups)
    # at least one token, so that every batch makes the same two calls on every rank
    length = max(1, max(len(c) - 1 for g in groups for c in g.continuations))
    continuations = [c for group in groups for c in group.continuations]
    group_of = np.arange(len(groups)).repeat([len(group.keys) for group in groups])
    contexts = [len(group.context) for group in groups]
    context_at, _ = _spread([(g + 1) * width - n for g, n in enumerate(contexts)], contexts)
    answer_at, _ = _spread([a * length for a in range(len(continuations))], [len(c) - 1 for c in continuations])
    context_shape, answer_shape = (len(groups), width), (len(continuations), length)
    answer_mask = _filled(answer_shape, answer_at, 1)
    return CachedBatch(
        tuple(key for group in groups for key in group.keys),
        _filled(context_shape, context_at, _joined(group.context for group in groups)),
        _filled(context_shape, context_at, 1),
        _filled(answer_shape, answer_at, _joined(c[:-1] for c in continuations)),
        answer_mask,
        torch.from_numpy(group_of),
        answer_mask.bool(),
        _cached_targets(continuations, group_of),
    )


def _cached_targets(continuations: Sequence[tuple[int, ...]], group_of: Ints) -> Targets:
    """The context's logit predicts an answer's first token, the answer's own logits, counted after those, the rest."""
    lengths = np.array([len(c) for c in continuations])
    fed_before = np.cumsum(lengths - 1) - (lengths - 1)
    rows, within = _spread(group_of.max() + fed_before, lengths)
    rows[within == 0] = group_of
    owners = np.arange(len(lengths)).repeat(lengths)
    return Targets(*map(torch.from_numpy, (rows, _joined(continuations), owners)))


def _spread(starts: Sequence[int] | Ints, lengths: Sequence[int] | Ints) -> tuple[Ints, Ints]:
    """The places of all tokens of spans that begin at `starts`; and each token's number within its span."""
    ends = np.cumsum(lengths)
    within = np.arange(ends[-1]) - np.repeat(ends - lengths, lengths)
    return np.repeat(starts, lengths) + within, within


def _joined(texts: Iterable[tuple[int, ...]]) -> Ints:
    return np.fromiter(chain.from_iterable(texts), dtype=np.int64)


def _filled(shape: tuple[int, int], where: Ints, values: Ints | int) -> torch.Tensor:
    """Zeros, and `values` at the flat places."""
    flat = np.zeros(shape, dtype=np.int64)
    flat.flat[where] = values
    return torch.from_numpy(flat)
