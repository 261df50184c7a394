"""Style probes beside HRE: its numbers stay, what does not fit is left out alone, and training shows in its own probe."""

from __future__ import annotations

import copy
import math
from functools import partial

import numpy as np
import pytest
import torch

from hre_callback import (
    Answer,
    EvaluationError,
    HREConfig,
    HumanRankEvalCallback,
    HumanRankEvaluator,
    Question,
    load_questions,
)
from hre_callback.data.probes import OPENER, RULES, rewrites
from hre_callback.run.drifts import leanings, probe_figures
from hre_callback.run.monitor import Monitor
from hre_callback.run.record import read_record
from hre_callback.scoring import layouts, loglikelihood
from hre_callback.scoring.demo_model import tiny_model
from hre_callback.scoring.encoding import encode
from hre_callback.scoring.probed import Probes
from hre_callback.scoring.proof import Verdict

from ..trainers import TEXTS, WORDS, questions, sft_trainer

ASKED = [
    *questions(4),
    Question("marked", "how?", (Answer("**Take** it.\n\n- one\n- two", 3), Answer("x", 1), Answer("No `way` at all.", 0))),
]  # fmt: skip


@pytest.fixture(scope="module")
def tiny():
    return tiny_model([*TEXTS, *(RULES["padded"](RULES["hedged"](OPENER)) for _ in range(3))])


def evaluators(tokenizer, **options):
    return [HumanRankEvaluator(ASKED, tokenizer, HREConfig(probes=on, **options)) for on in (False, True)]


@pytest.mark.parametrize("layout", ["auto", "cached", "padded", "single"])
def test_hre_is_what_it_is_without_probes_and_so_is_its_proof(tiny, layout):
    off, on = evaluators(tiny[1], layout=layout)
    plain, probed = off.evaluate(tiny[0]), on.evaluate(tiny[0])
    for mine, other in zip(probed.loglikelihoods, plain.loglikelihoods, strict=True):
        assert mine == pytest.approx(other, abs=1e-4)
    assert probed.score == pytest.approx(plain.score, abs=1e-5)
    for field in ("votes", "lengths", "divisors", "truncated", "left_out", "n", "fingerprint", "rendering", "styles"):
        assert getattr(probed, field) == getattr(plain, field)
    assert {k: v for k, v in on.proof.items() if k != "probes"} == off.proof
    assert on.rounding == off.rounding and plain.probes is None and "probes" not in off.proof
    assert on.config.identity() == off.config.identity()


@pytest.mark.parametrize("layout", ["packed", "padded"])
def test_a_probe_is_its_rewrite_scored_like_an_answer(tiny, layout):
    model, tokenizer = tiny
    found = HumanRankEvaluator(ASKED, tokenizer, HREConfig(probes=True, layout=layout)).evaluate(model)

    def each(question, text):
        context = f"Question: {question}\nAnswer:"
        first = len(tokenizer(context, add_special_tokens=False)["input_ids"])
        ids = tokenizer(f"{context} {text}", add_special_tokens=False)["input_ids"]
        with torch.no_grad():
            logprobs = model(input_ids=torch.tensor([ids])).logits.log_softmax(-1)[0]
        return sum(float(logprobs[i - 1, ids[i]]) for i in range(first, len(ids))) / len(text)

    assert found.probes.keys() == RULES.keys()
    for place, question in enumerate(ASKED):
        for kind in RULES:
            made = [(answer.text, rewrites(answer.text).get(kind)) for answer in question.answers]
            gaps = [each(question.question, new) - each(question.question, old) for old, new in made if new is not None]
            expected = np.mean(gaps) if gaps else math.nan
            assert found.probes[kind][place] == pytest.approx(expected, abs=1e-5, nan_ok=True)


def test_what_is_the_answer_itself_is_counted_and_a_text_of_several_answers_is_scored_once(tiny):
    on = evaluators(tiny[1])[1]
    on.prepare(tiny[0])
    told = on.proof["probes"]
    answers = [answer.text for question in ASKED for answer in question.answers]
    for kind, counts in told["kinds"].items():
        there = sum(kind in rewrites(text) for text in answers)
        assert counts == {"answers": there, "same": len(answers) - there, "left_out": 0}
    keys = on._material.probes.answers
    assert len([key for key in keys if key[0] == "q0"]) == 4 * 5 + 1
    assert told["of_hre"]["unique"] < told["of_hre"]["naive"]
    assert told["tokens"]["unique"] < told["tokens"]["naive"] and told["refused"] is None
    whole = sum(group.tokens for group in on._material.rows)
    assert told["tokens"]["unique"] + told["of_hre"]["unique"] == whole


def test_the_bundled_questions_take_seven_times_the_tokens_as_the_page_says():
    asked = load_questions("bundled")
    _, tokenizer = tiny_model([answer.text for question in asked for answer in question.answers], vocabulary=4096)
    in_tokens = partial(encode, tokenizer=tokenizer)
    own = {answer.key: answer for answer in in_tokens(asked).answers}
    probes = Probes(asked)
    probes.encode(own, in_tokens, lambda answer: False)
    told = probes.as_dict(own)
    assert 6.5 < 1 + told["tokens"]["unique"] / told["of_hre"]["unique"] < 9
    assert 7 < 1 + told["tokens"]["naive"] / told["of_hre"]["naive"] < 9.5


def test_a_probe_that_is_too_long_is_left_out_and_its_question_stays(tiny):
    off = HumanRankEvaluator(ASKED, tiny[1])
    off.prepare(tiny[0])
    longest = max(len(a.context) + len(a.continuation) for a in off._material.answers.values())
    off, on = evaluators(tiny[1], max_length=longest)
    plain, probed = off.evaluate(tiny[0]), on.evaluate(tiny[0])
    kinds = on.proof["probes"]["kinds"]
    assert kinds["padded"]["left_out"] > 0 and kinds["cut"]["left_out"] == 0
    assert (probed.left_out, probed.truncated) == (plain.left_out, plain.truncated) == (0, 0)
    assert probed.per_question["pearson"] == pytest.approx(plain.per_question["pearson"], abs=1e-5)
    assert all(len(a.context) + len(a.continuation) <= longest for a in on._material.probes.answers.values())


def limited(monkeypatch, most):
    """Any row of more than `most` tokens is too much memory."""
    real = loglikelihood.Scorer._call

    def call(self, **inputs):
        if inputs["input_ids"].shape[-1] > most:
            raise torch.OutOfMemoryError("full")
        return real(self, **inputs)

    monkeypatch.setattr(loglikelihood.Scorer, "_call", call)


def test_what_does_not_fit_memory_takes_probes_and_no_question(tiny, monkeypatch):
    off, on = evaluators(tiny[1], layout="padded")
    plain = off.evaluate(tiny[0])
    longest = max(len(a.context) + len(a.continuation) for a in off._material.answers.values())
    limited(monkeypatch, longest)
    probed = on.evaluate(tiny[0])
    assert probed.left_out == 0 and on.proof["left_out"] == {}
    assert probed.score == pytest.approx(plain.score, abs=1e-5)
    kinds = on.proof["probes"]["kinds"]
    assert kinds["padded"]["left_out"] > 0 and kinds["markdown_stripped"]["answers"] > 0
    # A kind is there for all of a question's answers or for none: no mean is over others than before.
    for pair in on._material.probes._pairs:
        texts = [answer.text for answer in ASKED[pair.place].answers]
        of_kind = [p for p in on._material.probes._pairs if (p.kind, p.place) == (pair.kind, pair.place)]
        assert len(of_kind) == sum(pair.kind in rewrites(text) for text in texts)


def test_rows_that_are_not_proven_with_probes_leave_hre_as_it_is(tiny, monkeypatch, caplog):
    off, on = evaluators(tiny[1])
    plain = off.evaluate(tiny[0])
    real = layouts.prove

    def prove(alone, plan, way):
        probes = any(key[1] >= 4 for rows in plan for row in rows for group in row for key in group.keys)
        return Verdict("the longer rows differ") if probes else real(alone, plan, way)

    monkeypatch.setattr(layouts, "prove", prove)
    probed = on.evaluate(tiny[0])
    assert probed.loglikelihoods == plain.loglikelihoods and probed.probes is None
    assert on.proof["probes"]["refused"] == "the longer rows differ" and on.layout.way == off.layout.way
    assert "HRE goes on without style probes: the longer rows differ" in caplog.text


def test_a_number_that_is_none_leaves_its_question_out_of_its_kind_alone(tiny):
    on = evaluators(tiny[1])[1]
    on.prepare(tiny[0])
    material = on._material
    scored = dict.fromkeys([*material.answers, *material.probes.answers], -1.0)
    bad = next(pair.probe for pair in material.probes._pairs if pair.kind == "hedged")
    found = material.result({**scored, bad: math.nan}, 0.0)
    assert math.isnan(found.probes["hedged"][0]) and math.isfinite(found.probes["hedged"][1])
    assert math.isfinite(found.probes["flattering"][0]) and found.undefined == 0
    with pytest.raises(EvaluationError, match="1 answers were not scored"):
        material.result({key: value for key, value in scored.items() if key != bad}, 0.0)


def test_the_chat_prompt_and_no_trace(tiny):
    model, tokenizer = tiny
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.chat_template = (
        "{% for m in messages %}<{{ m.role }}> {{ m.content }} {% endfor %}"
        "{% if add_generation_prompt %}<assistant> {% endif %}"
    )
    off, on = evaluators(tokenizer, prompt="chat")
    before, state = copy.deepcopy(model.state_dict()), torch.random.get_rng_state()
    plain, probed = off.evaluate(model), on.evaluate(model)
    assert probed.rendering == plain.rendering
    assert probed.score == pytest.approx(plain.score, abs=1e-5)
    assert all(np.isfinite(probed.probes[kind][0]) for kind in ("padded", "flattering", "refusal"))
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert torch.equal(state, torch.random.get_rng_state())


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore:.*torch.jit.script.*")
def test_training_with_probes_is_bit_identical(tmp_path):
    trained, scores = [], []
    for on in (False, True):
        callback = HumanRankEvalCallback(questions(4), HREConfig(eval_steps=4, probes=on, contamination="off"))
        trainer = sft_trainer(tmp_path / str(on), [callback])
        trainer.train()
        trained.append([weight.detach().clone() for weight in trainer.model.parameters()])
        looks = read_record(tmp_path / str(on)).evaluations
        assert all((look.probes is not None) == on for look in looks)
        scores.append([look.metrics["hre/score"] for look in looks])
    assert all(torch.equal(one, other) for one, other in zip(*trained, strict=True))
    assert scores[0] == pytest.approx(scores[1], abs=1e-5)


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore:.*torch.jit.script.*")
def test_probes_that_are_refused_in_mid_run_are_an_event_of_the_record(tmp_path, monkeypatch):
    real, seen = layouts.prove, []

    def prove(alone, plan, way):
        probes = any(key[1] >= 4 for rows in plan for row in rows for group in row for key in group.keys)
        seen.append(probes)
        return Verdict("the longer rows differ") if seen.count(True) > 1 and probes else real(alone, plan, way)

    monkeypatch.setattr(layouts, "prove", prove)
    asked = HREConfig(eval_steps=4, probes=True, contamination="off")
    sft_trainer(tmp_path, [HumanRankEvalCallback(questions(4), asked)]).train()
    record = read_record(tmp_path)
    (event,) = (event for event in record.events if event.kind == "layout")
    assert event.reason == "no style probe is scored any more: the longer rows differ"
    assert [look.probes is not None for look in record.evaluations][:2] == [True, False]


# ---- what training shows ------------------------------------------------------------------------------------


def sentence(rng):
    return " ".join(rng.choice(WORDS, 10))


def train(model, tokenizer, pairs, steps, rate):
    rng, optimizer = np.random.default_rng(1), torch.optim.AdamW(model.parameters(), lr=rate)
    rows = [tokenizer(f"Question: {q}\nAnswer: {a}", add_special_tokens=False)["input_ids"] + [2] for q, a in pairs]
    model.train()
    for _ in range(steps):
        batch = [torch.tensor(rows[i]) for i in rng.choice(len(rows), 16)]
        ids = torch.nn.utils.rnn.pad_sequence(batch, batch_first=True)
        there = torch.nn.utils.rnn.pad_sequence([torch.ones_like(row) for row in batch], batch_first=True)
        labels = ids.masked_fill(there == 0, -100)
        model(input_ids=ids, attention_mask=there, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.eval()


@pytest.fixture(scope="module")
def knows_all_styles():
    """A tiny model that has read answers, and all of their rewrites."""
    rng = np.random.default_rng(0)
    asked = [Question(f"q{i}", f"why {sentence(rng)}?", tuple(Answer(sentence(rng), v) for v in (9, 4, 1))) for i in range(24)]  # fmt: skip
    pairs = [(f"why {sentence(rng)}?", sentence(rng)) for _ in range(240)]
    read = [(q, text) for q, a in pairs[:120] for text in (a, a, a, *rewrites(a).values())]
    model, tokenizer = tiny_model([text for _, text in read], vocabulary=600)
    train(model, tokenizer, read, 40, 3e-3)
    return model, tokenizer, asked, pairs[120:]


@pytest.mark.parametrize(
    "style",
    ["flattering", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("hedged", "refusal"))],
)
def test_training_on_a_style_shows_its_probe_and_no_other(knows_all_styles, style, tmp_path):
    start, tokenizer, asked, pairs = knows_all_styles
    model = copy.deepcopy(start)
    evaluator = HumanRankEvaluator(asked, tokenizer, HREConfig(probes=True))
    evaluator.prepare(model)
    monitor = Monitor(path=tmp_path / "hre.jsonl", **evaluator.scored_as)
    monitor.start({"proof": evaluator.proof})
    first = monitor.add(0, evaluator.evaluate(model))
    assert any("style probes:" in line for line in monitor.asides(first))
    train(model, tokenizer, [(q, RULES[style](a)) for q, a in pairs], 8, 1e-3)
    second = monitor.add(8, evaluator.evaluate(model))
    assert leanings(second.row, "hre") == ([style], [])
    assert not any("style probes" in line for line in monitor.asides(second))


def test_before_training_no_probe_has_drifted(knows_all_styles):
    model, tokenizer, asked, _ = knows_all_styles
    evaluator = HumanRankEvaluator(asked, tokenizer, HREConfig(probes=True))
    first, again = evaluator.evaluate(model).probes, evaluator.evaluate(model).probes
    row = probe_figures(first, again, None)
    assert {value for key, value in row.items() if key.startswith("probe_drift")} == {0.0}
