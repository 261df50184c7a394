"""A callback object serves one trainer at a time, and each trainer's model with that trainer's tokenizer."""

from __future__ import annotations

import pytest
import torch
from datasets import Dataset
from transformers import Trainer, TrainingArguments

from hre_callback import HREConfig, HumanRankEvalCallback, read_record
from hre_callback.scoring.demo_model import tiny_model
from hre_callback.scoring.evaluator import HumanRankEvaluator

from .run.test_ownership import Does
from .trainers import TEXTS, dropout_model, questions, sft_trainer, tokenizer

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore:.*torch.jit.script.*")


def other_tokenizer():
    """Cuts the same texts into other tokens."""
    return tiny_model([text[::-1] for text in TEXTS] + ["a question and what people wrote about it"])[1]


def trainer(out, tok, callbacks, seed=0, **overrides):
    torch.manual_seed(seed)
    rows = [{"input_ids": (ids := tok(text)["input_ids"][:9]), "labels": ids} for text in TEXTS[:8]]
    settings = {
        "max_steps": 4, "use_cpu": True, "report_to": "none", "save_strategy": "no", "disable_tqdm": True,
        "per_device_train_batch_size": 1, "per_device_eval_batch_size": 1, "learning_rate": 1e-2,
    }  # fmt: skip
    model = dropout_model(tok, seed)
    data = Dataset.from_list(rows)
    return Trainer(
        model, TrainingArguments(str(out), **{**settings, **overrides}), train_dataset=data, eval_dataset=data,
        processing_class=tok, callbacks=callbacks,
    )  # fmt: skip


def alone(one):
    """HRE of a trainer's model with its tokenizer."""
    return HumanRankEvaluator(questions(), one.processing_class).evaluate(one.model).score


def test_evaluate_of_the_next_trainer_uses_its_own_model_and_tokenizer(tmp_path):
    callback = HumanRankEvalCallback(questions())
    first = trainer(tmp_path / "a", tokenizer(), [callback])
    first.train()
    second = trainer(tmp_path / "b", other_tokenizer(), [callback], seed=1)
    expected = alone(second)
    assert second.evaluate()["eval_hre"] == expected
    assert first.evaluate()["eval_hre"] == alone(first) != expected
    assert second.evaluate()["eval_hre"] == expected
    second.train()
    assert read_record(tmp_path / "b").evaluations[0].metrics["hre/score"] == expected


def test_a_tokenizer_or_model_that_the_trainer_changes_is_noticed(tmp_path):
    callback = HumanRankEvalCallback(questions())
    one = trainer(tmp_path, tokenizer(), [callback])
    one.evaluate()
    tok = other_tokenizer()
    one.processing_class = one.callback_handler.processing_class = tok
    one.model = one.model_wrapped = one.callback_handler.model = dropout_model(tok, 3)
    assert one.evaluate(one.eval_dataset.select([0]))["eval_hre"] == alone(one)


def test_the_evaluator_is_kept_for_the_same_model_and_tokenizer(tmp_path, monkeypatch):
    prepared = []
    prepare = HumanRankEvaluator.prepare
    monkeypatch.setattr(
        HumanRankEvaluator, "prepare", lambda self, model: (prepared.append(self), prepare(self, model))
    )
    one = trainer(tmp_path, tokenizer(), [HumanRankEvalCallback(questions())])
    scores = {one.evaluate()["eval_hre"] for _ in range(3)}
    assert len(prepared) == 1 and len(scores) == 1


def test_a_trainer_that_is_evaluated_during_another_ones_training_stays_out_of_its_record(tmp_path):
    callback = HumanRankEvalCallback(questions(), HREConfig(eval_steps=1))
    other = trainer(tmp_path / "b", other_tokenizer(), [callback], seed=1)
    expected, found = alone(other), []
    does = Does(lambda: found.append(other.evaluate()["eval_hre"]))
    trainer(tmp_path / "a", tokenizer(), [callback, does], logging_steps=1).train()
    assert found == [expected] and not list(tmp_path.glob("b/*.jsonl"))
    # The same without sharing: an evaluation draws random numbers for its data loader.
    unwatched = trainer(tmp_path / "b", other_tokenizer(), [], seed=1)
    watched = HumanRankEvalCallback(questions(), HREConfig(eval_steps=1))
    trainer(tmp_path / "c", tokenizer(), [watched, Does(unwatched.evaluate)], logging_steps=1).train()
    shared, apart = (read_record(tmp_path / name).evaluations for name in ("a", "c"))
    assert [(look.step, look.pearson) for look in shared] == [(look.step, look.pearson) for look in apart]


def test_a_callback_that_serves_is_refused_to_a_second_trainer_and_serves_on(tmp_path):
    callback = HumanRankEvalCallback(questions(), HREConfig(eval_steps=1))

    def second():
        with pytest.raises(ValueError, match="serves another trainer, which is still training.*make one for each"):
            trainer(tmp_path / "b", other_tokenizer(), [callback]).train()

    trainer(tmp_path / "a", tokenizer(), [callback, Does(second)]).train()
    assert [look.step for look in read_record(tmp_path / "a").evaluations] == [0, 1, 2, 3, 4]
    assert not list(tmp_path.glob("b/*.jsonl"))


def test_a_trainer_that_died_is_forgotten(tmp_path):
    def die():
        raise RuntimeError("planted")

    callback = HumanRankEvalCallback(questions(), HREConfig(eval_steps=1))
    first = trainer(tmp_path / "a", tokenizer(), [callback, Does(die)])
    with pytest.raises(RuntimeError, match="planted"):
        first.train()
    looks = len(read_record(tmp_path / "a").evaluations)
    assert first.evaluate()["eval_hre"] == alone(first)
    assert len(read_record(tmp_path / "a").evaluations) == looks, "an evaluation of its own is none of the run"
    second = trainer(tmp_path / "b", other_tokenizer(), [callback], seed=1)
    second.train()
    assert [look.step for look in read_record(tmp_path / "b").evaluations] == [0, 1, 2, 3, 4]
    assert second.evaluate()["eval_hre"] == alone(second)


def test_one_trainer_trains_twice(tmp_path):
    callback = HumanRankEvalCallback(questions(), HREConfig(eval_steps=2))
    one = sft_trainer(tmp_path, [callback], max_steps=2)
    one.train()
    one.train()
    assert sorted(path.name for path in tmp_path.glob("*.jsonl")) == ["hre.1.jsonl", "hre.jsonl"]
    first, second = (read_record(tmp_path / name).evaluations for name in ("hre.1.jsonl", "hre.jsonl"))
    assert [look.step for look in second] == [0, 2] and second[0].pearson == first[-1].pearson


def test_of_several_sets_the_score_comes_with_the_last_and_beside_all_losses(tmp_path):
    callback = HumanRankEvalCallback(questions())
    one = trainer(tmp_path, tokenizer(), [callback], eval_strategy="steps", eval_steps=2)
    one.eval_dataset = {name: one.eval_dataset.select(range(n)) for name, n in (("beer", 2), ("wine", 4))}
    one.train()
    logged = {
        (row["step"], name): row[f"eval_{name}_loss"]
        for row in one.state.log_history
        for name in ("beer", "wine")
        if f"eval_{name}_loss" in row
    }
    looks = read_record(tmp_path).evaluations
    assert [look.step for look in looks] == [0, 2, 4]
    for look in looks[1:]:
        for name in ("beer", "wine"):
            assert look.proxies[f"eval/{name}_loss"] == logged[look.step, name]
    assert one.evaluate()["eval_hre"] == alone(one)


def test_of_several_sets_each_has_the_score_when_the_trainer_selects_on_it(tmp_path):
    callback = HumanRankEvalCallback(questions())
    one = trainer(
        tmp_path, tokenizer(), [callback], eval_strategy="steps", eval_steps=2, save_strategy="best",
        metric_for_best_model="eval_hre",
    )  # fmt: skip
    one.eval_dataset = {name: one.eval_dataset.select(range(n)) for name, n in (("beer", 2), ("wine", 4))}
    one.train()
    assert one.state.best_metric == max(look.metrics["hre/score"] for look in read_record(tmp_path).evaluations[1:])
