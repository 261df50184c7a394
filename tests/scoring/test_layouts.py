"""Which rows are proven, what that costs, and what happens when memory is short."""

from __future__ import annotations

import inspect
from collections import Counter
from dataclasses import replace

import pytest
import torch
import transformers as tf

from hre_callback import EvaluationError, HREConfig, HumanRankEvaluator
from hre_callback.scoring.batches import plan
from hre_callback.scoring.encoding import EncodedAnswer
from hre_callback.scoring.plan import Group, Way, arrange, group_by_context
from hre_callback.scoring.proof import probe

from ..scored import choose_layout
from ..trainers import dropout_model, questions, tokenizer
from ..zoo import build
from .test_loglikelihood import answers

pytestmark = [pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")]


def groups_of(lengths):
    made = [
        EncodedAnswer((f"q{q}", a), tuple(range(5, 5 + context)), tuple(range(5, 5 + n)), n, 1.0, False)
        for q, (context, sizes) in enumerate(lengths)
        for a, n in enumerate(sizes)
    ]
    return group_by_context(made)


def test_the_probe_holds_the_fullest_row_of_the_plan_and_the_smallest_of_several_questions():
    # q1 has most tokens; one of the rows below it holds two questions
    groups = groups_of([(9, (20, 20)), (8, (40, 30, 2)), (5, (4, 3, 6)), (6, (2, 5)), (4, (3, 3))])
    plan = arrange(groups, "packed", 100)
    first, second = probe(plan, "packed")
    assert first[0][0].keys[0][0] == "q1" and len(first[0][0].keys) == 3
    assert len(second) == 1 and len(second[0]) >= 2


@pytest.mark.parametrize("layout", ["padded", "cached"])
def test_the_probe_holds_the_most_padded_rows_as_padded_as_in_the_plan(layout):
    groups = groups_of([(30, (9, 9)), (29, (8, 8)), (12, (4, 4)), (3, (4, 2))])
    plan = arrange(groups, layout, 500)
    (rows,) = probe(plan, layout)
    assert [len(row[0].context) for row in rows] == [30, 29, 3]


def test_one_answer_is_a_probe_too_and_so_is_none():
    groups = groups_of([(9, (4,))])
    assert probe(arrange(groups, "packed", 64), "packed") == [[[groups[0]]]]
    assert probe([], "packed") == []


class Tally(Counter):
    """Counts on over an evaluation, which puts plain containers of a module back."""


class Counted(torch.nn.Module):
    """Counts the tokens it is fed."""

    def __init__(self, model):
        super().__init__()
        self.model, self.config, self.fed = model, model.config, Tally()

    def get_output_embeddings(self):
        return self.model.get_output_embeddings()

    def forward(self, input_ids, **kwargs):
        self.fed["tokens"] += input_ids.numel()
        return self.model(input_ids=input_ids, **kwargs)


Counted.forward.__signature__ = inspect.signature(tf.LlamaForCausalLM.forward)


def test_proving_costs_at_most_two_percent_of_512_questions():
    """In tokens fed, for lengths like those of real questions; one question is three times as long as any other."""
    generator = torch.Generator().manual_seed(0)
    lengths = [(int(c), tuple(int(a) for a in b)) for c, b in zip(
        torch.randint(40, 260, (512,), generator=generator), torch.randint(30, 300, (512, 4), generator=generator), strict=True
    )]  # fmt: skip
    lengths[100] = (700, (900, 800, 50, 60))
    groups = groups_of([(c, a) for c, a in lengths])
    groups = [replace(g, context=tuple(5 + i % 90 for i in g.context),
                      continuations=tuple(tuple(5 + i % 90 for i in c) for c in g.continuations)) for g in groups]  # fmt: skip
    model = Counted(build("llama", scale=1.0))
    model.config.max_position_embeddings = 4096
    assert choose_layout(model, groups, "auto", 2048).layout == "packed"
    whole = sum(batch.input_ids.numel() for batch in plan(groups, Way("packed", "function"), 2048))
    assert 0 < model.fed["tokens"] <= 0.02 * whole, model.fed["tokens"] / whole


class NoRoom(torch.nn.Module):
    """Runs out of memory on more than so many tokens."""

    def __init__(self, model, most):
        super().__init__()
        self.model, self.config, self.most, self.refused = model, model.config, most, Tally()

    def get_output_embeddings(self):
        return self.model.get_output_embeddings()

    def forward(self, input_ids, attention_mask=None, position_ids=None, use_cache=None, logits_to_keep=0):
        if input_ids.numel() > self.most:
            self.refused["rows"] += 1
            raise torch.OutOfMemoryError("planted")
        return self.model(
            input_ids=input_ids, attention_mask=attention_mask, position_ids=position_ids, use_cache=use_cache,
            logits_to_keep=logits_to_keep,
        )  # fmt: skip


def test_a_probe_that_runs_out_of_memory_halves_the_budget():
    evaluator = HumanRankEvaluator(questions(), tokenizer(), HREConfig(token_budget=512))
    model = NoRoom(dropout_model(evaluator.tokenizer), most=60)
    evaluator.evaluate(model)
    assert evaluator.layout.layout == "packed" and evaluator.budget == 64 and model.refused
    with pytest.raises(EvaluationError, match="out of memory with 1 tokens a batch"):
        evaluator.prepare(NoRoom(dropout_model(evaluator.tokenizer), most=5))


@pytest.mark.parametrize("name", ["llama", "gpt2", "qwen3", "opt"])
def test_packed_is_kept_in_bfloat16_and_under_autocast(name):
    groups = group_by_context(answers())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        choice = choose_layout(build(name, "eager", scale=1.0), groups, "auto", 256)
        assert choice.way == Way("packed", "function"), choice.refused
    choice = choose_layout(build(name, "eager", scale=1.0).to(torch.bfloat16), groups, "auto", 256)
    assert choice.way == Way("packed", "function"), choice.refused


def test_rounding_is_coarser_in_bfloat16_and_known_for_single_rows_too():
    groups = group_by_context(answers())
    fine = choose_layout(build("qwen3"), groups, "auto", 256).rounding
    with torch.autocast("cpu", dtype=torch.bfloat16):
        coarse = choose_layout(build("qwen3"), groups, "auto", 256).rounding
    assert 0 <= fine < 1e-5 < coarse
    assert 0 < choose_layout(build("qwen3"), groups, "single", 256).rounding < 1e-5


def test_groups_of_one_answer():
    group = Group((("q", 0),), (5, 6, 7), ((8, 9),))
    assert choose_layout(build("llama"), [group], "auto", 256).layout == "packed"
