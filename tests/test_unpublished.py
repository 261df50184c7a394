"""What `push_to_hub` uploads holds no held-out question, answer or vote: every upload is listed and read."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest
from huggingface_hub.utils import filter_repo_objects
from transformers import TrainerCallback, trainer

from hre_callback import Answer, HREConfig, HumanRankEvalCallback, Question
from hre_callback.run.record import read_record
from hre_callback.views.report import write_report

from .trainers import questions, sft_trainer

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore:.*torch.jit.script.*")
SECRETS = (b"quagga", b"thylacine", b"1234567")


def asked():
    secret = (Answer("the thylacine", 1234567), Answer("no dodo", 2), Answer("an auk", 1))
    return [Question("secret", "why is the quagga gone?", secret, topic="wood"), *questions()]


class Hub:
    """Stands in for the hub's API; keeps what each upload would have taken, as the hub's own library picks it."""

    def __init__(self):
        self.uploads = []

    def create_repo(self, name, **_):
        return SimpleNamespace(repo_id=f"me/{name}")

    def upload_folder(self, *, folder_path, path_in_repo=None, ignore_patterns=None, **_):
        folder = Path(folder_path)
        names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
        taken = list(filter_repo_objects(names, ignore_patterns=ignore_patterns))
        self.uploads.append({f"{path_in_repo or '.'}/{name}": (folder / name).read_bytes() for name in taken})
        return SimpleNamespace(is_done=lambda: True, done=lambda: True, result=lambda: None)

    @property
    def names(self):
        return {Path(name).name for upload in self.uploads for name in upload}

    def check(self):
        assert self.uploads and all(upload for upload in self.uploads)
        for upload in self.uploads:
            for name, data in upload.items():
                assert not any(secret in data for secret in SECRETS), name
        assert "model.safetensors" in self.names and not {n for n in self.names if n.startswith("hre")}


@pytest.fixture
def hub(monkeypatch):
    made = Hub()
    monkeypatch.setattr(trainer, "hf_api", lambda *a, **k: made)
    monkeypatch.setattr(trainer.Trainer, "create_model_card", lambda *a, **k: None)
    return made


def make(folder, *others, **overrides):
    callback = HumanRankEvalCallback(asked(), HREConfig(eval_steps=2))
    settings = {"save_strategy": "steps", "save_steps": 2, "max_steps": 4, **overrides}
    made = sft_trainer(folder, [callback, *others], **settings)
    # Writing the card needs the hub.
    made.create_model_card = lambda *a, **k: None
    return made


PUSHED = {"push_to_hub": True, "hub_model_id": "me/model", "hub_always_push": True}


@pytest.mark.parametrize("strategy", ["end", "every_save", "checkpoint", "all_checkpoints"])
def test_no_strategy_publishes_held_out_text(tmp_path, hub, strategy):
    """With pages of an earlier record and of the live one, made while the run goes on."""
    make(tmp_path).train()
    write_report(tmp_path)
    hub.uploads.clear()

    class Report(TrainerCallback):
        def on_step_begin(self, args, state, control, **kwargs):
            if state.global_step == 3:
                write_report(tmp_path / "_hre.jsonl")

    pushed = make(tmp_path, Report(), report_to=["tensorboard"], hub_strategy=strategy, **PUSHED)
    pushed.train()
    pushed.save_model()
    hub.check()
    assert len(hub.uploads) == {"end": 1, "every_save": 3}.get(strategy, 5)
    left = {name for name in os.listdir(tmp_path) if "hre" in name}
    assert left == {"_hre.jsonl", "_hre.1.jsonl", "_hre.html", "_hre.png"}
    assert [look.step for look in read_record(tmp_path).evaluations] == [0, 2, 4]


def test_a_push_by_hand_after_the_run(tmp_path, hub, capsys):
    done = make(tmp_path)
    done.train()
    write_report(tmp_path)
    before = (tmp_path / "hre.jsonl").read_bytes()
    capsys.readouterr()
    done.push_to_hub()
    hub.check()
    assert (tmp_path / "_hre.jsonl").read_bytes() == before
    said = capsys.readouterr().out
    assert "not to be published: hre.html → _hre.html, hre.jsonl → _hre.jsonl, hre.png → _hre.png" in said
    done.push_to_hub()
    assert len(hub.uploads) == 2 and not capsys.readouterr().out
    hub.check()


def test_a_push_by_hand_while_the_run_goes_on(tmp_path, hub, capsys):
    class Push(TrainerCallback):
        def on_step_begin(self, args, state, control, **kwargs):
            if state.global_step == 3:
                pushing.push_to_hub()

    pushing = make(tmp_path, Push())
    pushing.train()
    hub.check()
    assert [look.step for look in read_record(tmp_path / "_hre.jsonl").evaluations] == [0, 2, 4]
    assert not read_record(tmp_path).events[0].reason and not (tmp_path / "hre.jsonl").exists()
    assert str(tmp_path / "_hre.jsonl") in capsys.readouterr().out.splitlines()[-1]


@pytest.mark.parametrize("first", [True, False])
def test_a_run_goes_on_in_its_record_when_pushing_is_switched(tmp_path, hub, first):
    make(tmp_path, **(PUSHED if first else {})).train()
    again = make(tmp_path, **({} if first else PUSHED), max_steps=6)
    again.train(resume_from_checkpoint=True)
    record = read_record(tmp_path)
    assert [look.step for look in record.evaluations] == [0, 2, 4, 6]
    assert [name for name in os.listdir(tmp_path) if "hre" in name] == ["_hre.jsonl"]


def test_files_of_others_stay_where_they_are(tmp_path, hub):
    names = ["hre_notes.jsonl", "hre.md", "hre_code.html", "share.png", "hre.jsonl.bak"]
    for name in names:
        (tmp_path / name).write_text("mine")
    (tmp_path / "hre.png").mkdir()
    make(tmp_path, **PUSHED).train()
    assert {*names, "hre.png", "_hre.jsonl"} <= set(os.listdir(tmp_path))


def test_a_file_that_cannot_be_hidden_is_not_published(tmp_path, hub, monkeypatch):
    done = make(tmp_path)
    done.train()

    def refuse(*_):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(OSError, match="Read-only"):
        done.push_to_hub()
    assert not hub.uploads
