"""`hre run` inside the process: which Trainers get the callback, where it stands, and whom it leaves alone."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import transformers.trainer_callback
from transformers import (
    BertConfig,
    BertForMaskedLM,
    EarlyStoppingCallback,
    LlamaConfig,
    LlamaForSequenceClassification,
    LlamaForTokenClassification,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    ViTConfig,
    ViTForImageClassification,
    default_data_collator,
)
from transformers.integrations import TensorBoardCallback, WandbCallback
from transformers.trainer_callback import DefaultFlowCallback, PrinterCallback

from hre_callback import HREConfig, HumanRankEvalCallback, distributed
from hre_callback.frontends import hook
from hre_callback.frontends.attach import LaunchedCallback, place_among
from hre_callback.frontends.settings import as_json
from hre_callback.settings_file import read_settings

from ..trainers import arguments, questions, sft_trainer, tokenizer
from .files import lines, numbers, question_rows

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore:.*torch.jit.script.*")


@pytest.fixture
def launched(tmp_path, monkeypatch):
    """This process as `hre run` would have started it; gives the lines that it has left word with."""
    monkeypatch.delenv("HRE_RUN", raising=False)
    spec = importlib.util.spec_from_file_location("hook_of_a_test", Path(hook.__path__[0]) / "sitecustomize.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (tmp_path / "questions.jsonl").write_text(lines(question_rows()))
    (tmp_path / "hre.yaml").write_text(f"questions: {tmp_path / 'questions.jsonl'}\neval_steps: 2\n")
    (tmp_path / "seen").mkdir()
    handler = transformers.trainer_callback.CallbackHandler
    monkeypatch.setattr(handler, "__init__", handler.__init__)
    monkeypatch.setenv("HRE_RUN", as_json(read_settings(tmp_path / "hre.yaml")))
    monkeypatch.setenv("HRE_RUN_SEEN", str(tmp_path / "seen"))
    module._wrap(transformers.trainer_callback)
    return lambda: {path.name.partition("-")[0]: path.read_text() for path in (tmp_path / "seen").iterdir()}


def set_config(tmp_path, monkeypatch, text):
    (tmp_path / "hre.yaml").write_text(f"questions: {tmp_path / 'questions.jsonl'}\n{text}\n")
    monkeypatch.setenv("HRE_RUN", as_json(read_settings(tmp_path / "hre.yaml")))


def ours(trainer):
    return [one for one in trainer.callback_handler.callbacks if isinstance(one, HumanRankEvalCallback)]


def other_trainer(out, model, processing_class=None, rows=None, **settings):
    """A plain Trainer of anything that takes these rows."""
    settings = {"max_steps": 2, "per_device_train_batch_size": 2, "report_to": "none", "use_cpu": True, "save_strategy": "no", "disable_tqdm": True, **settings}  # fmt: skip
    return Trainer(model, TrainingArguments(str(out), **settings), train_dataset=rows, processing_class=processing_class, data_collator=default_data_collator)  # fmt: skip


def tagged(n=8):
    return [{"input_ids": list(range(3, 9)), "labels": [0, 1, 0, 1, 0, 1], "attention_mask": [1] * 6}] * n


def tagger(tok):
    config = {"vocab_size": len(tok), "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "pad_token_id": 0}  # fmt: skip
    torch.manual_seed(0)
    return LlamaForTokenClassification(LlamaConfig(**config, num_labels=2))


# ---- attached ------------------------------------------------------------------------------------------------


def test_it_is_the_callback_that_a_person_attaches(launched, tmp_path, capsys):
    """The same weights, the same record to the last number; one line tells to which Trainer."""
    by_itself = sft_trainer(tmp_path / "launched", [])
    assert [type(one) for one in ours(by_itself)] == [LaunchedCallback]
    by_itself.train()
    # Made after: a Trainer that is made sets the seed.
    by_hand = sft_trainer(tmp_path / "hand", [HumanRankEvalCallback(questions(6), HREConfig(eval_steps=2))])
    assert [type(one) for one in ours(by_hand)] == [HumanRankEvalCallback]
    by_hand.train()
    assert numbers(tmp_path / "launched") == numbers(tmp_path / "hand") and len(numbers(tmp_path / "hand")) == 5
    for one, other in zip(by_itself.model.parameters(), by_hand.model.parameters(), strict=True):
        assert torch.equal(one, other)
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("HRE")]
    assert said == [
        f"HRE attached to SFTTrainer: 6 questions, prompt paper, record {tmp_path / 'launched' / 'hre.jsonl'}",
        "HRE: SFTTrainer has a HumanRankEvalCallback of its own; hre run adds none",
    ]
    assert launched() == {"imported": "", "attached": ""}


def test_the_trainer_selects_and_stops_on_it(launched, tmp_path):
    trainer = sft_trainer(
        tmp_path / "out", [EarlyStoppingCallback(1)], metric_for_best_model="eval_hre", eval_strategy="steps", eval_steps=2, save_strategy="steps", save_steps=2, load_best_model_at_end=True,
    )  # fmt: skip
    trainer.train()
    assert trainer.state.best_metric == max(row["eval_hre"] for row in trainer.state.log_history if row.get("eval_hre"))


@pytest.mark.parametrize(
    ("before", "place"),
    [
        ([DefaultFlowCallback], 1),
        ([DefaultFlowCallback, WandbCallback, EarlyStoppingCallback, PrinterCallback], 2),
        ([DefaultFlowCallback, TrainerCallback, EarlyStoppingCallback], 1),
        ([DefaultFlowCallback, TensorBoardCallback, TrainerCallback, WandbCallback], 4),
        ([DefaultFlowCallback, EarlyStoppingCallback, WandbCallback], 1),
        ([], 0),
    ],
)
def test_it_stands_behind_the_trackers_and_before_early_stopping(before, place):
    assert place_among([object.__new__(kind) for kind in before]) == place


def test_a_callback_that_comes_later_is_given_way_to(launched, tmp_path, capsys):
    trainer = sft_trainer(tmp_path / "out", [], max_steps=2)
    trainer.add_callback(HumanRankEvalCallback(questions(4), HREConfig()))
    trainer.train()
    assert [type(one) for one in ours(trainer)] == [HumanRankEvalCallback]
    assert len(numbers(tmp_path / "out")[0]["loglikelihoods"]) == 4
    assert "hre run adds none" in capsys.readouterr().err and "attached" in launched()


def test_an_evaluation_alone_is_scored_too(launched, tmp_path, capsys):
    trainer = sft_trainer(tmp_path / "out", [])
    assert isinstance(trainer.evaluate()["eval_hre"], float)
    trainer.evaluate()
    assert capsys.readouterr().err.count("HRE attached to SFTTrainer: 6 questions, prompt paper\n") == 1


def test_two_trainers_of_one_command_have_one_each(launched, tmp_path):
    for name in ("a", "b"):
        sft_trainer(tmp_path / name, [], max_steps=2).train()
    assert numbers(tmp_path / "a") == numbers(tmp_path / "b")


def test_a_reward_model_is_scored_by_its_own_number(launched, tmp_path, capsys):
    tok = tokenizer()
    model = LlamaForSequenceClassification(LlamaConfig(vocab_size=len(tok), hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, pad_token_id=0, num_labels=1))  # fmt: skip
    rows = [{"input_ids": [3, 4, 5], "labels": 0.5}] * 8
    trainer = other_trainer(tmp_path / "out", model, tok, rows)
    trainer.train()
    assert "HRE attached to Trainer" in capsys.readouterr().err and len(numbers(tmp_path / "out")) == 2


# ---- left alone ----------------------------------------------------------------------------------------------


def masked(tok):
    return BertForMaskedLM(BertConfig(vocab_size=len(tok), hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2))  # fmt: skip


def classifier(tok):
    return LlamaForSequenceClassification(LlamaConfig(vocab_size=len(tok), hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, pad_token_id=0, num_labels=3))  # fmt: skip


def pictures(tok):
    return ViTForImageClassification(ViTConfig(hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, image_size=16, patch_size=8, num_labels=2))  # fmt: skip


PICTURES = [{"pixel_values": torch.zeros(3, 16, 16), "labels": 1}] * 8
ALONE = {
    "a token classifier": (tagger, tagged(), True, "LlamaForTokenClassification"),
    "a classifier of three labels": (
        classifier,
        [{"input_ids": [3, 4, 5], "labels": 1}] * 8,
        True,
        "LlamaForSequenceClassification",
    ),
    "a masked model": (masked, tagged(), True, "later"),
    "no tokenizer": (tagger, tagged(), False, "tokenizer"),
    "pictures": (pictures, PICTURES, False, "tokenizer"),
    "pictures with a tokenizer": (pictures, PICTURES, True, "ViTForImageClassification"),
}


@pytest.mark.parametrize("kind", ALONE)
def test_what_cannot_be_scored_trains_as_without_us(launched, tmp_path, capsys, kind, monkeypatch):
    make, rows, with_tokenizer, reason = ALONE[kind]
    tok = tokenizer()
    weights = []
    for name in ("launched", "alone"):
        torch.manual_seed(0)
        trainer = other_trainer(tmp_path / name, make(tok), tok if with_tokenizer else None, rows)
        if name == "alone":
            trainer.remove_callback(LaunchedCallback)
        trainer.train()
        trainer.evaluate(rows)
        weights.append([p.detach().clone() for p in trainer.model.parameters()])
        assert ours(trainer) == []
        assert not (tmp_path / name / "hre.jsonl").exists()
    assert all(torch.equal(one, other) for one, other in zip(*weights, strict=True))
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("HRE")]
    assert len(said) == 1 and said[0].startswith("HRE leaves Trainer alone: ") and reason in said[0], said
    assert launched()["left"] == said[0] and "attached" not in launched()


def test_the_others_keep_their_events_when_it_leaves(launched, tmp_path):
    """It goes while the list of callbacks is gone through."""
    heard = []

    class Other(TrainerCallback):
        def on_train_begin(self, *args, **kwargs):
            heard.append(self)

    tok = tokenizer()
    trainer = other_trainer(tmp_path, tagger(tok), tok, tagged())
    other = Other()
    trainer.callback_handler.callbacks.insert(trainer.callback_handler.callbacks.index(ours(trainer)[0]) + 1, other)
    trainer.train()
    assert heard == [other]


def test_the_strict_are_told_as_by_hand(launched, tmp_path, monkeypatch):
    set_config(tmp_path, monkeypatch, "on_error: raise")
    tok = tokenizer()
    with pytest.raises(ValueError, match="LlamaForTokenClassification"):
        other_trainer(tmp_path / "out", tagger(tok), tok, tagged()).train()


def test_a_refusal_to_train_on_held_out_answers_is_no_reason_to_leave(launched, tmp_path, monkeypatch):
    set_config(tmp_path, monkeypatch, "contamination: raise")
    with pytest.raises(ValueError, match="also in the training data"):
        sft_trainer(tmp_path / "out", []).train()


def test_an_evaluation_alone_of_what_cannot_be_scored_has_no_metric(launched, tmp_path, capsys):
    tok = tokenizer()
    trainer = other_trainer(tmp_path / "out", tagger(tok), tok)
    assert "eval_hre" not in trainer.evaluate(tagged()) and "HRE leaves Trainer alone" in capsys.readouterr().err


def test_other_ranks_are_silent(launched, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(TrainingArguments, "process_index", 1)
    config = arguments(tmp_path)
    LaunchedCallback(read_settings(tmp_path / "hre.yaml"), "T", print, print)._say(config, "HRE")
    assert "HRE" not in capsys.readouterr().out


def test_ranks_that_came_without_it_are_known_without_waiting_for_ever(monkeypatch):
    """A launcher that takes PYTHONPATH to other machines, and not our variables, would hang the run."""
    from torch.distributed import HashStore

    store = HashStore()
    group = SimpleNamespace(
        get_world_size=lambda: 3, get_rank=lambda: 0, distributed_c10d=SimpleNamespace(_get_default_store=lambda: store)
    )
    store.set("hre_callback/here/1", "here")
    monkeypatch.setattr(distributed, "_group", lambda: group)
    assert distributed.absent("here", 0.1) == [2]
    store.set("hre_callback/here/2", "here")
    assert distributed.absent("here", 0.1) == []


def test_it_goes_where_others_are_absent(launched, tmp_path, capsys, monkeypatch):
    trainer = sft_trainer(tmp_path / "out", [], max_steps=2)
    monkeypatch.setattr(distributed, "absent", lambda place, seconds: [1, 2])
    trainer.train()
    assert ours(trainer) == [] and not (tmp_path / "out" / "hre.jsonl").exists()
    assert "HRE leaves SFTTrainer alone: ranks [1, 2] came without it" in capsys.readouterr().err
