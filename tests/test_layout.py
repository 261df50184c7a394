"""The probe: small, as sharp in bfloat16 as it can be, and no harder on memory than an evaluation."""

from __future__ import annotations

import math

import pytest
import torch

from hre_callback import EvaluationError, HREConfig, HumanRankEvaluator
from hre_callback import layout as layouts
from hre_callback.batches import Group, group_by_context
from hre_callback.encoding import EncodedAnswer
from hre_callback.layout import choose_layout, plan

from .test_loglikelihood import answers
from .trainers import dropout_model, questions, tokenizer
from .zoo import build

pytestmark = [pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")]


def groups_of(lengths):
    made = [
        EncodedAnswer((f"q{q}", a), tuple(range(5, 5 + context)), tuple(range(5, 5 + n)), n, 1.0, False)
        for q, (context, sizes) in enumerate(lengths)
        for a, n in enumerate(sizes)
    ]
    return group_by_context(made)


def test_the_probe_holds_the_longest_row_and_at_most_four_answers():
    # q0 has most tokens, q1 the longest row, q3 the fewest tokens but nothing that is shared
    groups = groups_of([(9, (20, 20, 20, 20)), (8, (40, 3, 2)), (5, (4, 3, 6)), (6, (2,))])
    long, short = layouts._probe(groups)
    assert long.keys == (("q1", 1), ("q1", 0))
    assert short.keys == (("q2", 0), ("q2", 2))


def test_one_group_is_a_probe_too():
    (only,) = layouts._probe(groups_of([(9, (4,))]))
    assert only.keys == (("q0", 0),)


def test_the_probe_costs_at_most_two_percent_of_512_questions():
    """In tokens fed, for lengths like those of real questions; one question is three times as long as any other."""
    generator = torch.Generator().manual_seed(0)
    lengths = [(int(c), tuple(int(a) for a in b)) for c, b in zip(
        torch.randint(40, 260, (512,), generator=generator), torch.randint(30, 300, (512, 4), generator=generator), strict=True
    )]  # fmt: skip
    lengths[100] = (700, (900, 800, 50, 60))
    groups = groups_of(lengths)
    probe = layouts._probe(groups)

    def fed(layout, groups, budget):
        return sum(batch.input_ids.numel() for batch in plan(groups, layout, budget))

    cost = fed("padded", probe, 1) + fed("packed", probe, 2048)
    assert cost <= 0.02 * fed("packed", groups, 2048)


class NoRoom(torch.nn.Module):
    """Runs out of memory on more than so many tokens."""

    def __init__(self, model, most):
        super().__init__()
        self.model, self.config, self.most, self.refused = model, model.config, most, 0

    def forward(self, input_ids, attention_mask=None, position_ids=None, use_cache=None, logits_to_keep=0):
        if input_ids.numel() > self.most:
            self.refused += 1
            raise torch.OutOfMemoryError("planted")
        return self.model(
            input_ids=input_ids, attention_mask=attention_mask, position_ids=position_ids, use_cache=use_cache,
            logits_to_keep=logits_to_keep,
        )  # fmt: skip


def test_a_probe_that_runs_out_of_memory_halves_the_budget():
    evaluator = HumanRankEvaluator(questions(), tokenizer(), HREConfig(token_budget=512))
    model = NoRoom(dropout_model(evaluator.tokenizer), most=60)
    evaluator.prepare(model)
    assert evaluator.layout.layout == "packed" and evaluator.budget == 64 and model.refused
    with pytest.raises(EvaluationError, match="out of memory with 1 tokens a batch"):
        evaluator.prepare(NoRoom(dropout_model(evaluator.tokenizer), most=5))


@pytest.mark.parametrize("name", ["llama", "gpt2", "qwen3", "opt"])
def test_packed_is_kept_in_bfloat16_and_under_autocast(name):
    groups = group_by_context(answers())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        choice = choose_layout(build(name, "eager", scale=1.0), groups, "auto", 256)
        assert choice.layout == "packed", choice.refused
    choice = choose_layout(build(name, "eager", scale=1.0).to(torch.bfloat16), groups, "auto", 256)
    assert choice.layout == "packed", choice.refused


@pytest.mark.parametrize(
    ("name", "layout"), [("mpt_alibi", "cached"), ("mamba2", "padded"), ("zamba2", "padded")]
)
def test_a_layout_that_cannot_be_right_is_not_tried_in_bfloat16(name, layout):
    """There rounding hides what these tiny models do wrong, so that what is known of the architecture must decide."""
    model = build(name, "eager").to(torch.bfloat16)
    assert choose_layout(model, group_by_context(answers()), "auto", 256).layout == layout


def test_rounding_by_hand():
    """Differences of 3 nats over 9 tokens and 0 over 4: root mean square of 1 and 0 a token."""
    (group,) = groups_of([(3, (9, 4))])
    first, second = group.keys
    found = layouts._rounding({first: -7.0, second: -5.0}, {first: -10.0, second: -5.0}, [group])
    assert found == pytest.approx(math.sqrt(1 / 2))


def test_rounding_is_coarser_in_bfloat16_and_unknown_without_a_probe():
    groups = group_by_context(answers())
    fine = choose_layout(build("qwen3"), groups, "auto", 256).rounding
    with torch.autocast("cpu", dtype=torch.bfloat16):
        coarse = choose_layout(build("qwen3"), groups, "auto", 256).rounding
    assert 0 <= fine < 1e-5 < coarse
    assert math.isnan(choose_layout(build("qwen3"), groups, "padded", 256).rounding)


def test_groups_of_one_answer():
    group = Group((("q", 0),), (5, 6, 7), ((8, 9),))
    assert choose_layout(build("llama"), [group], "auto", 256).layout == "packed"
