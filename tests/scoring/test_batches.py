"""Plans hold every answer once, within the budget, and the packed mask is exactly as defined."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hre_callback.scoring.batches import packed_mask, plan
from hre_callback.scoring.encoding import EncodedAnswer
from hre_callback.scoring.first_fit import first_fit
from hre_callback.scoring.plan import Way, group_by_context, ways
from hre_callback.scoring.tensors import CachedBatch

WAYS = ways("auto")
MASK = Way("packed", "mask")
FUNCTION = Way("packed", "function")


def answer(question, index, context, continuation):
    return EncodedAnswer((question, index), tuple(context), tuple(continuation), len(continuation), 1.0, False)


@st.composite
def encodings(draw):
    answers = []
    for q in range(draw(st.integers(1, 8))):
        context = draw(st.lists(st.integers(1, 90), min_size=1, max_size=20))
        for a in range(draw(st.integers(1, 5))):
            continuation = draw(st.lists(st.integers(1, 90), min_size=1, max_size=20))
            answers.append(answer(f"q{q}", a, context + [91] * (a == 4), continuation))  # one context apart
    return answers


@settings(deadline=None)
@given(encodings(), st.integers(8, 200), st.sampled_from(WAYS))
def test_every_answer_is_planned_once_with_its_own_tokens(answers, budget, way):
    batches = plan(group_by_context(answers), way, budget)
    keys = [key for batch in batches for key in batch.keys]
    assert sorted(keys) == sorted(a.key for a in answers)
    by_key = {a.key: a for a in answers}
    for batch in batches:
        for number, key in enumerate(batch.keys):
            ids = batch.targets.ids[batch.targets.owners == number]
            assert tuple(ids.tolist()) == by_key[key].continuation
        kept = int(batch.keep.sum()) + (len(batch.context_ids) if isinstance(batch, CachedBatch) else 0)
        assert int(batch.targets.rows.max()) == kept - 1


@settings(deadline=None)
@given(encodings(), st.integers(8, 200))
def test_budget_is_kept_unless_one_answer_is_longer(answers, budget):
    groups = group_by_context(answers)
    longest = max(len(a.context) + len(a.continuation) - 1 for a in answers)
    for way in (Way("single"), Way("padded"), FUNCTION):
        for batch in plan(groups, way, budget):
            # `single` feeds the last token too
            assert batch.input_ids.numel() <= max(budget, longest + (way.layout == "single"))
    for batch in plan(groups, Way("cached"), budget):
        alone = len(batch.keys) == 1 or len(batch.context_ids) == 1
        assert alone or max(batch.context_ids.numel(), batch.answer_ids.numel()) <= budget


@settings(deadline=None)
@given(st.lists(st.integers(1, 60), max_size=60), st.integers(1, 200))
def test_first_fit_is_what_looking_into_every_row_for_every_piece_would_give(sizes, budget):
    sizes.sort(reverse=True)
    left, batches = list(range(len(sizes))), []
    while left:
        capacity, later = sizes[left[0]], []
        rows = [[] for _ in range(max(1, budget // capacity))]
        for piece in left:
            room = (row for row in rows if sum(sizes[i] for i in row) + sizes[piece] <= capacity)
            next(room, later).append(piece)
        batches.append([row for row in rows if row])
        left = later
    assert first_fit(sizes, budget) == batches


def test_rows_that_nothing_could_fill_cost_nothing():
    assert first_fit([3, 1], 10**12) == [[[0], [1]]]


def test_packed_rows_are_nearly_full():
    answers = [
        answer(f"q{q}", a, range(1, 20 + q % 30), range(1, 10 + (q * a) % 25)) for q in range(60) for a in range(4)
    ]
    batches = plan(group_by_context(answers), MASK, 1024)
    fed = sum(int((b.segments[..., 0] != 0).sum()) for b in batches)
    assert fed / sum(b.input_ids.numel() for b in batches) > 0.93


def test_packed_mask_by_hand():
    """Two groups and one padding token: context c, answers a and b; then context C alone with its answer A."""
    #        c  c  a  b  b  C  A  .
    group = [1, 1, 1, 1, 1, 2, 2, 0]
    reply = [0, 0, 1, 2, 2, 0, 1, 0]
    seen = packed_mask(torch.tensor([list(zip(group, reply, strict=True))]), torch.float32)[0, 0] == 0
    assert [row.nonzero().flatten().tolist() for row in seen] == [
        [0], [0, 1], [0, 1, 2], [0, 1, 3], [0, 1, 3, 4], [5], [5, 6], [7],
    ]  # fmt: skip


@settings(deadline=None)
@given(encodings(), st.integers(8, 200))
def test_spans_say_who_sees_whom_as_the_mask_does(answers, budget):
    groups = group_by_context(answers)
    for by_mask, by_spans in zip(plan(groups, MASK, budget), plan(groups, FUNCTION, budget), strict=True):
        real = by_mask.segments[..., 0] != 0
        for name in ("input_ids", "position_ids", "keep"):
            assert torch.equal(getattr(by_mask, name)[real], getattr(by_spans, name)[0])
        seen = torch.zeros(real.numel(), int(real.sum()), dtype=torch.bool)
        at = real.flatten().nonzero().flatten()
        for row, first, last, start, end in by_spans.spans.spans:
            assert row == 0
            seen[at[start:end], first:last] = True
            seen[at[start:end], start:end] |= torch.ones(end - start, end - start, dtype=torch.bool).tril()
        rows, length = real.shape
        expected = torch.block_diag(*(packed_mask(by_mask.segments, torch.float32)[:, 0] == 0).float()) != 0
        assert torch.equal(seen[at], expected[at][:, at]) and by_spans.segments is None
        assert by_spans.spans.shape == (1, len(at)) and expected.shape == (rows * length, rows * length)


def test_positions_restart_after_the_question():
    (batch,) = plan(group_by_context([answer("q", 0, [5, 6], [7, 8, 9]), answer("q", 1, [5, 6], [4, 3])]), MASK, 100)
    assert batch.input_ids.tolist() == [[5, 6, 7, 8, 4]]
    assert batch.position_ids.tolist() == [[0, 1, 2, 3, 2]]
    assert batch.keep.tolist() == [[False, True, True, True, True]]
    assert batch.targets.rows.tolist() == [0, 1, 2, 0, 3]


def test_groups_longer_than_the_budget_are_split_with_their_context():
    answers = [answer("q", a, range(1, 11), range(1, 31)) for a in range(4)]
    (group,) = group_by_context(answers)
    batches = plan([group], FUNCTION, 80)
    assert [len(batch.keys) for batch in batches] == [2, 2]
    assert all(batch.input_ids[0, :10].tolist() == list(range(1, 11)) for batch in batches)


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_the_plan_does_not_depend_on_the_order_of_the_questions(way):
    answers = [answer(f"q{q}", a, [q + 1] * 5, [a + 1] * (q + 2)) for q in range(9) for a in range(3)]
    one = plan(group_by_context(answers), way, 64)
    other = plan(group_by_context(answers[::-1]), way, 64)
    assert [batch.keys for batch in one] == [batch.keys for batch in other]
