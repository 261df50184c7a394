"""The contestants of `make bench` score the same answers alike, on a model that costs nothing."""

from __future__ import annotations

import pytest

from hre_callback import load_questions
from hre_callback.batches import group_by_context
from hre_callback.models import tiny_model

from .benchmarks import __main__ as bench
from .benchmarks import ways
from .trainers import TEXTS


def test_every_way_gives_the_same_scores():
    model, tokenizer = tiny_model(TEXTS)
    asked = load_questions("bundled", max_questions=3)
    answers = ways.encoded(asked, model, tokenizer)
    expected = ways.official(model, answers)()
    assert len(expected) == sum(len(q.answers) for q in asked)
    for name in ("packed", "cached", "padded"):
        assert ways.layout(model, answers, name)() == pytest.approx(expected, abs=1e-3)
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


def test_ratios_are_taken_within_a_repeat():
    found = {"cpu_seconds": {"slow": [2.0, 20.0, 6.0], "fast": [1.0, 5.0, 2.0]}}
    assert bench._ratio(found, "slow", "fast") == 3.0
