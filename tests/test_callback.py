"""The callback inside real trainers: when it evaluates, what the Trainer gets, what it records."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import torch
from transformers import EarlyStoppingCallback, TrainerCallback

from hre_callback import HREConfig, HumanRankEvalCallback, HumanRankEvaluator
from hre_callback import callback as callbacks
from hre_callback.run import look
from hre_callback.run.record import read_record
from hre_callback.run.schedule import Stopwatch
from hre_callback.scoring.evaluator import EvaluationError
from hre_callback.stats.correlation import METRICS, HREResult
from hre_callback.trackers.fanout import Trackers

from .trainers import dropout_model, questions, sft_trainer

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore:.*torch.jit.script.*")


def result_with(values, like: HumanRankEvaluator) -> HREResult:
    """A result whose per-question Pearson values are as planted."""
    qs = like.questions
    values = np.broadcast_to(np.asarray(values, dtype=float), len(qs))
    lls = tuple(tuple(-10.0 * (i + 1) for i in range(len(q.answers))) for q in qs)
    return HREResult(
        fingerprint=like.fingerprint,
        ids=tuple(q.id for q in qs),
        topics=tuple(q.topic for q in qs),
        votes=tuple(tuple(a.votes for a in q.answers) for q in qs),
        loglikelihoods=lls,
        scores=lls,
        lengths=tuple(tuple(len(a.text) for a in q.answers) for q in qs),
        per_question=dict.fromkeys(METRICS, np.array(values)),
    )


@pytest.fixture
def planted(monkeypatch):
    """Plant the HRE of each evaluation in turn; an exception in the list is raised."""

    def plant(*sequence):
        queue = list(sequence)

        def evaluate(self, model, progress=None):
            value = queue.pop(0) if len(queue) > 1 else queue[0]
            if isinstance(value, Exception):
                raise value
            return result_with(value, self)

        monkeypatch.setattr(HumanRankEvaluator, "evaluate", evaluate)

    return plant


def hre_rows(trainer):
    return [(row["step"], row["eval_hre"]) for row in trainer.state.log_history if "eval_hre" in row]


def run(trainer):
    trainer.train()
    return read_record(trainer.args.output_dir)


def test_baseline_schedule_and_end(tmp_path):
    trainer = sft_trainer(tmp_path, [HumanRankEvalCallback(questions(), HREConfig(eval_steps=3))])
    record = run(trainer)
    assert [line.step for line in record.evaluations] == [0, 3, 6, 8]
    assert [step for step, _ in hre_rows(trainer)] == [0, 3, 6, 8]
    assert record.run.planned_looks == 3
    assert record.events[-1].kind == "finished"
    scores = [line.metrics["hre/score"] for line in record.evaluations]
    assert scores == pytest.approx([score for _, score in hre_rows(trainer)])
    assert len(set(scores)) == 4  # training moved the model


def test_every_trainer_evaluation_has_the_metric(tmp_path):
    seen = []

    class Spy(TrainerCallback):
        def on_evaluate(self, args, state, control, metrics, **kwargs):
            seen.append((state.global_step, metrics["eval_hre"]))

    callbacks = [HumanRankEvalCallback(questions()), Spy()]
    trainer = sft_trainer(tmp_path, callbacks, eval_strategy="steps", eval_steps=4)
    trainer.train()
    assert [step for step, _ in seen] == [4, 8]
    assert all(type(value) is float for _, value in seen)
    assert dict(seen) == {step: value for step, value in hre_rows(trainer) if step}


def test_epoch_evaluations(tmp_path):
    trainer = sft_trainer(
        tmp_path,
        [HumanRankEvalCallback(questions())],
        eval_strategy="epoch",
        num_train_epochs=2,
        max_steps=-1,
    )
    record = run(trainer)
    assert [line.step for line in record.evaluations] == [0, 12, 24]
    assert record.run.planned_looks == 2


def test_scored_once_per_step_whatever_asks(tmp_path, planted, monkeypatch):
    planted(0.1)
    calls = []
    plain = HumanRankEvaluator.evaluate
    monkeypatch.setattr(HumanRankEvaluator, "evaluate", lambda self, m, p=None: calls.append(1) or plain(self, m, p))
    callback = HumanRankEvalCallback(questions(), HREConfig(eval_steps=2))
    trainer = sft_trainer(tmp_path, [callback], eval_strategy="steps", eval_steps=4)
    trainer.eval_dataset = {"a": trainer.eval_dataset, "b": trainer.eval_dataset}
    trainer.train()
    assert len(calls) == 5  # 0, 2, 4, 6, 8
    metrics = trainer.evaluate(trainer.eval_dataset["a"])  # after training: the model as it is, nothing recorded
    assert metrics["eval_hre"] == pytest.approx(0.1)
    assert len(calls) == 6


def test_best_model_is_chosen_by_hre(tmp_path, planted):
    planted(0.2, 0.2, 0.6, 0.5, 0.4)  # the first is the baseline
    trainer = sft_trainer(
        tmp_path,
        [HumanRankEvalCallback(questions())],
        eval_strategy="steps", eval_steps=2, save_strategy="best", metric_for_best_model="eval_hre",
        load_best_model_at_end=True,
    )  # fmt: skip
    trainer.train()
    assert trainer.state.best_metric == pytest.approx(0.6)
    assert trainer.state.best_model_checkpoint.endswith("checkpoint-4")
    state = json.loads((tmp_path / "checkpoint-4" / "trainer_state.json").read_text())
    assert [row["eval_hre"] for row in state["log_history"] if "eval_hre" in row] == pytest.approx([0.2, 0.2, 0.6])


def test_early_stopping_after_us_works(tmp_path, planted):
    planted(0.2, 0.6, 0.5, 0.4, 0.9)
    trainer = sft_trainer(
        tmp_path,
        [HumanRankEvalCallback(questions()), EarlyStoppingCallback(2)],
        eval_strategy="steps", eval_steps=2, save_strategy="best", metric_for_best_model="hre",
        load_best_model_at_end=True,
    )  # fmt: skip
    trainer.train()
    assert trainer.state.global_step == 6


def test_early_stopping_before_us_is_refused(tmp_path):
    with pytest.raises(ValueError, match="EarlyStoppingCallback comes before HumanRankEvalCallback"):
        sft_trainer(tmp_path, [EarlyStoppingCallback(2), HumanRankEvalCallback(questions())])
    late = sft_trainer(
        tmp_path, [EarlyStoppingCallback(2)],
        eval_strategy="steps", eval_steps=2, save_strategy="best", metric_for_best_model="hre",
    )  # fmt: skip
    late.add_callback(HumanRankEvalCallback(questions()))
    with pytest.raises(ValueError, match="EarlyStoppingCallback comes before"):
        late.train()


def test_a_failed_evaluation_is_recorded_and_training_goes_on(tmp_path, planted):
    planted(0.3, EvaluationError("rank 0: planted"), 0.2)
    trainer = sft_trainer(
        tmp_path, [HumanRankEvalCallback(questions())],
        eval_strategy="steps", eval_steps=4, save_strategy="best", metric_for_best_model="eval_hre",
    )  # fmt: skip
    record = run(trainer)
    assert trainer.state.global_step == 8
    assert [(e.step, e.reason) for e in record.events if e.kind == "skipped"] == [(4, "rank 0: planted")]
    assert trainer.state.best_metric == pytest.approx(0.2)  # NaN at step 4 never became the best


def test_on_error_raise_ends_the_run(tmp_path, planted):
    planted(EvaluationError("planted"))
    trainer = sft_trainer(tmp_path, [HumanRankEvalCallback(questions(), HREConfig(on_error="raise"))])
    with pytest.raises(EvaluationError, match="planted"):
        trainer.train()


def test_console_line_is_for_people(tmp_path, planted, capsys):
    planted(0.25, 0.2)
    trainer = sft_trainer(tmp_path, [HumanRankEvalCallback(questions(), HREConfig(eval_steps=4))])
    trainer.train()
    out = capsys.readouterr().out
    lines = [line for line in out.splitlines() if line.startswith(("HRE", "Next"))]
    start, second, cost, third, closing, following = lines
    assert re.match(r"HRE step 0: the start, HRE 0\.250 \(95 % ", start)
    assert re.match(r"HRE step 4: .* since the start.*; now 0\.200 \(95 % ", second) and "step 8" in third
    assert re.match(r"HRE takes \d+% of the time so far", cost)
    assert "no look is higher than the start. Record: " in closing
    assert following.startswith(f"Next: hre report {tmp_path / 'hre.jsonl'} (one page), hre compare ")


def test_questions_may_be_named_by_their_file(tmp_path):
    path = tmp_path / "asked.jsonl"
    rows = [{"question": "why?", "answers": [{"text": "so", "votes": 1}, {"text": "or so", "votes": 2}]}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for source in (path, str(path)):
        assert [question.question for question in HumanRankEvalCallback(source).questions] == ["why?"]
    with pytest.raises(ValueError, match="typo.jsonl"):
        HumanRankEvalCallback(str(tmp_path / "typo.jsonl"))


def test_two_question_sets_keep_apart(tmp_path):
    a = HumanRankEvalCallback(questions(4), HREConfig(name="hre_a", eval_steps=4))
    b = HumanRankEvalCallback(questions(6), HREConfig(name="hre_b", eval_steps=8))
    trainer = sft_trainer(tmp_path, [a, b])
    trainer.train()
    assert [line.step for line in read_record(tmp_path / "hre_a.jsonl").evaluations] == [0, 4, 8]
    assert [line.step for line in read_record(tmp_path / "hre_b.jsonl").evaluations] == [0, 8]
    keys = {key for row in trainer.state.log_history for key in row if "hre" in key}
    assert {"eval_hre_a", "eval_hre_b", "hre_a/score", "hre_b/score"} <= keys
    assert "eval_hre" not in keys


def test_no_tokenizer_is_one_clear_error(tmp_path):
    trainer = sft_trainer(tmp_path, [HumanRankEvalCallback(questions())])
    trainer.callback_handler.processing_class = None
    with pytest.raises(ValueError, match="processing_class="):
        trainer.train()


def test_overhead_cap_is_kept_and_the_metric_still_supplied(tmp_path):
    callback = HumanRankEvalCallback(questions(), HREConfig(eval_steps=1, max_overhead=1e-6))
    trainer = sft_trainer(tmp_path, [callback], eval_strategy="steps", eval_steps=2)
    record = run(trainer)
    assert [line.step for line in record.evaluations] == [
        0,
        8,
    ]  # the baseline and the end are always taken


def test_all_that_hre_does_is_on_the_clock(tmp_path, monkeypatch):
    """A clock that only HRE's own parts and the training steps move."""
    now = [0.0]

    def takes(seconds, owner, name):
        real = getattr(owner, name)

        def slow(*args, **kwargs):
            now[0] += seconds
            return real(*args, **kwargs)

        monkeypatch.setattr(owner, name, slow)

    monkeypatch.setattr(callbacks, "Stopwatch", lambda: Stopwatch(clock=lambda: now[0]))
    takes(1, HumanRankEvaluator, "evaluate")
    takes(2, look, "_statistics")
    takes(4, Trackers, "log")
    takes(8, Trackers, "show")
    takes(16, Trackers, "finish")
    takes(1000, HumanRankEvaluator, "prepare")
    takes(100, HumanRankEvalCallback, "on_step_begin")
    callback = HumanRankEvalCallback(questions(2), HREConfig(eval_steps=4))
    looks = run(sft_trainer(tmp_path, [callback])).evaluations
    # scores and statistics stand in the row of their own look, trackers in that of the next
    assert [look.seconds for look in looks] == [3, 3, 3]
    spent = [1000 + 3, 1000 + 15 + 3, 1000 + 2 * 15 + 3]
    wall = [spent[0], spent[1] + 400, spent[2] + 800]
    expected = [s / w for s, w in zip(spent, wall, strict=True)]
    assert [look.metrics["hre/overhead"] for look in looks] == pytest.approx(expected)
    assert callback._stopwatch.last == 1 + 2 + 4 + 16


CHAT = "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}</s>{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"


@pytest.mark.parametrize(("conversational", "prompt", "warned"), [(True, "paper", True), (True, "chat", False), (False, "chat", True), (False, "paper", False)])  # fmt: skip
def test_another_prompt_than_the_training_data_s_is_said(tmp_path, conversational, prompt, warned, caplog):
    from datasets import Dataset
    from trl import SFTTrainer

    from .trainers import TEXTS, arguments, dropout_model, tokenizer

    tok = tokenizer()
    tok.chat_template = CHAT
    rows = [{"prompt": TEXTS[0], "completion": TEXTS[1]}] * 4
    if conversational:
        rows = [{"messages": [{"role": "user", "content": TEXTS[0]}, {"role": "assistant", "content": TEXTS[1]}]}] * 4
    SFTTrainer(
        dropout_model(tok),
        args=arguments(tmp_path, max_steps=1),
        train_dataset=Dataset.from_list(rows),
        processing_class=tok,
        callbacks=[HumanRankEvalCallback(questions(2), HREConfig(prompt=prompt))],
    ).train()
    assert any("would measure the model as it is trained" in r.getMessage() for r in caplog.records) == warned


def test_scores_are_taken_under_the_autocast_of_training(tmp_path):
    """The Trainer folds bfloat16 autocast into the model's own forward, so that is what the callback scores with."""
    callback = HumanRankEvalCallback(questions(), HREConfig(token_budget=512))
    trainer = sft_trainer(tmp_path, [callback], bf16=True, max_steps=1)
    tok, plain = trainer.processing_class, dropout_model(trainer.processing_class)
    plain.load_state_dict(trainer.model.state_dict())
    trainer.train()
    record = read_record(tmp_path / "hre.jsonl")
    seen = np.array(record.evaluations[0].loglikelihoods)
    evaluator = HumanRankEvaluator(questions(), tok, callback.config)
    exact = np.array(evaluator.evaluate(plain).loglikelihoods)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = np.array(HumanRankEvaluator(questions(), tok, callback.config).evaluate(plain).loglikelihoods)
    assert np.abs(seen - cast).max() < 1e-6 < np.abs(exact - cast).max()
    assert callback.evaluator.layout.layout == "packed", callback.evaluator.layout.refused
    row = record.evaluations[0].metrics
    assert 0 <= row["hre/noise"] < 0.05  # a model as small as this may round alike in both layouts
    assert record.evaluations[1].metrics["hre/noise"] >= 0
