"""The contestants of `make bench` score the same answers alike, on a model that costs nothing."""

from __future__ import annotations

import pytest

from hre_callback import load_questions
from hre_callback.scoring import kernels
from hre_callback.scoring.demo_model import tiny_model
from hre_callback.scoring.plan import group_by_context
from hre_callback.scoring.plan import ways as all_ways

from .benchmarks import __main__ as bench
from .benchmarks import cost, growth, ways
from .trainers import TEXTS


def test_every_way_gives_the_same_scores():
    model, tokenizer = tiny_model(TEXTS)
    asked = load_questions("bundled", max_questions=3)
    answers = ways.encoded(asked, model, tokenizer)
    expected = ways.official(model, answers)()
    assert len(expected) == sum(len(q.answers) for q in asked)
    for way in all_ways("auto"):
        assert ways.layout(model, answers, way)() == pytest.approx(expected, abs=1e-3)
    assert ways.automatic(model, tokenizer, asked)() == pytest.approx(expected, abs=1e-3)


def test_the_dense_limit_feeds_every_token_once():
    model, tokenizer = tiny_model(TEXTS)
    groups = group_by_context(ways.encoded(load_questions("bundled", max_questions=5), model, tokenizer))
    fed, kept = [], []
    model.register_forward_pre_hook(
        lambda module, args, kwargs: (
            fed.append(kwargs["input_ids"].numel()),
            kept.append(int(kwargs["logits_to_keep"].sum())),
            None,
        )[-1],
        with_kwargs=True,
    )
    ways.dense_limit(model, groups)()
    assert sum(fed) == sum(group.tokens for group in groups)
    assert sum(kept) == sum(len(c) for group in groups for c in group.continuations)


def test_the_floor_is_packed_without_attention_and_leaves_the_kernel_in_place():
    model, tokenizer = tiny_model(TEXTS)
    answers = ways.encoded(load_questions("bundled", max_questions=2), model, tokenizer)
    before = kernels.attend
    assert ways.floor(model, answers)() == {} and kernels.attend is before


def test_the_sets_are_spread_over_all_lengths():
    asked = list(load_questions("bundled"))
    sizes = [len(q.question) + sum(len(a.text) for a in q.answers) for q in ways._spread(asked, 3)]
    assert sizes == sorted(sizes) and sizes[0] < sizes[1] < sizes[2] and ways._spread([], 3) == []


def test_growth_is_the_slope_in_logarithms():
    assert growth.exponent([2, 4, 8], [1.0, 9.0, 16.0]) == 2.0


def test_growth_is_measured_for_every_layout(monkeypatch):
    monkeypatch.setattr(growth, "GROWTH", {"questions": ((1, 2), lambda n: growth.groups(n, 6, 2, 3), "1")})
    lines = growth.measure(repeats=1)
    assert len(lines) == 2 + 4 and all("| 1, 2 |" in line for line in lines[2:])


def test_start_up_is_measured_and_auto_is_timed_between_two_proofs(monkeypatch):
    model, tokenizer = tiny_model(TEXTS)
    asked = load_questions("bundled", max_questions=3)
    monkeypatch.setattr(ways, "beer_questions", lambda count: asked)
    found = bench.startup(model, tokenizer, {"cpu_seconds": {"auto": [1.0]}, "unique_tokens": 100})
    assert found["questions"] == bench.FULL and found["seconds"] > 0
    calls = []
    score = ways.automatic(model, tokenizer, asked)
    model.register_forward_pre_hook(lambda *_: calls.append(1))
    counts = []
    for _ in range(4):
        score()
        counts.append(len(calls))
        calls.clear()
    assert len(set(counts)) == 1


def test_ratios_are_taken_within_a_repeat():
    found = {"cpu_seconds": {"slow": [2.0, 20.0, 6.0], "fast": [1.0, 5.0, 2.0]}}
    assert bench._ratio(found, "slow", "fast") == 3.0


def test_the_cost_benchmark_measures_what_its_table_names(tmp_path):
    found = cost.measure(12, tmp_path)
    assert found.keys() == cost.WHAT.keys() and all(seconds >= 0 for seconds in found.values())
    lines = cost.table(12, {"before": [found, found], "now": [found]}).splitlines()
    assert lines[0] == "| 12 questions, CPU s | before | now |"
    assert len([line for line in lines if line]) == 2 + len(cost.WHAT)


def test_the_cost_benchmarks_questions_are_the_same_every_time():
    assert cost.questions(3) == cost.questions(3) != cost.questions(3, seed=1)
