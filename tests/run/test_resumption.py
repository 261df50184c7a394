"""A run that is resumed finds the looks it needs, or says which are lost and that its start has moved."""

from __future__ import annotations

import errno
import os

import pytest
from transformers import TrainerCallback

from hre_callback import HREConfig, HumanRankEvalCallback
from hre_callback.run.record import RunRecord, read_record
from hre_callback.views.report import render

from ..trainers import questions, sft_trainer
from .test_record import IDENTITY, RUN, begin, evaluate
from .test_record_file import disk as disk
from .test_record_file import last_word, steps

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore:.*torch.jit.script.*")


def resume(path, step, measured, **changes):
    record = RunRecord(path)
    record.start({**RUN, **changes}, identity=IDENTITY, resume_step=step, measured=measured)
    return record


def measured(*looks):
    return {step: 0.3 + step / 1000 for step in looks}


def resumed_event(path):
    return [event for event in read_record(path).events if event.kind == "resumed"][-1]


def earlier_run(path, last, **changes):
    record = begin(path, **changes)
    for step in range(0, last + 1, 10):
        evaluate(record, step)
    record.release()


@pytest.mark.parametrize("restarts", [1, 3])
@pytest.mark.parametrize("looked", [-1, 0, 20])
def test_started_anew_by_mistake_and_then_resumed(tmp_path, restarts, looked):
    path = tmp_path / "hre.jsonl"
    earlier_run(path, 60)
    for _ in range(restarts):
        earlier_run(path, looked)
    files = len(os.listdir(tmp_path))
    record = resume(path, 50, measured(0, 10, 20, 30, 40, 50))
    evaluate(record, 60)
    assert steps(path) == [0, 10, 20, 30, 40, 50, 60]
    event = resumed_event(path)
    assert event.dropped == 1 and event.lost is None
    assert event.reason == "the looks before stand in hre.1.jsonl, moved aside when this run was started anew"
    assert steps(tmp_path / "hre.1.jsonl") == [0, 10, 20, 30, 40, 50, 60], "it stays as it is"
    assert len(os.listdir(tmp_path)) == files + 1, "and so does what the mistake measured"


def test_a_start_that_died_between_moving_aside_and_writing(tmp_path):
    path = tmp_path / "hre.jsonl"
    earlier_run(path, 30)
    path.rename(tmp_path / "hre.1.jsonl")
    evaluate(resume(path, 20, measured(0, 10, 20)), 30)
    assert steps(path) == [0, 10, 20, 30]


def test_the_restart_that_got_as_far_is_the_one_that_goes_on(tmp_path):
    path = tmp_path / "hre.jsonl"
    earlier_run(path, 60, model="first")
    earlier_run(path, 40, model="second")
    evaluate(resume(path, 40, measured(0, 10, 20, 30, 40), model="second"), 50)
    assert read_record(path).run.model == "second" and steps(path) == [0, 10, 20, 30, 40, 50]
    assert resumed_event(path).reason is None


@pytest.mark.parametrize("damage", ["other scores", "other questions", "torn", "a folder", "a pipe"])
def test_what_was_moved_aside_and_is_not_this_run_is_passed_over(tmp_path, damage):
    path, aside = tmp_path / "hre.jsonl", tmp_path / "hre.1.jsonl"
    earlier_run(path, 0)
    if damage == "a folder":
        aside.mkdir()
    elif damage == "a pipe":
        os.mkfifo(aside)
    else:
        earlier_run(aside, 30, **({"fingerprint": "other"} if damage == "other questions" else {}))
    if damage == "torn":
        aside.write_bytes(aside.read_bytes().replace(b"pearson", b"\xff\xff", 1))
    known = {0: 0.3, 10: 0.9, 20: 0.9} if damage == "other scores" else measured(0, 10, 20)
    evaluate(resume(path, 20, known), 30)
    assert steps(path) == [0, 30]
    event = resumed_event(path)
    assert event.lost == [10, 20]
    assert event.reason == "the checkpoint remembers looks that are in no record (steps 10, 20)"


def test_a_start_that_is_lost_is_said_to_have_moved(tmp_path):
    path = tmp_path / "hre.jsonl"
    record = begin(path)
    evaluate(record, 10)
    record.release()
    resume(path, 20, measured(0, 10, 20))
    assert resumed_event(path).lost == [0, 20]
    assert resumed_event(path).reason.endswith("changes are counted from step 10")


SETTINGS = {"save_strategy": "steps", "save_steps": 4, "max_steps": 8}


class Die(TrainerCallback):
    def __init__(self, step):
        self.step = step

    def on_step_begin(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            raise KeyboardInterrupt


def train(folder, *others, checkpoint=None, **overrides):
    callback = HumanRankEvalCallback(questions(), HREConfig(eval_steps=2))
    trainer = sft_trainer(folder, [callback, *others], **{**SETTINGS, **overrides})
    trainer.train(resume_from_checkpoint=checkpoint and str(checkpoint))


def train_and_die(folder, step, *others):
    with pytest.raises(KeyboardInterrupt):
        train(folder, *others, Die(step))


def test_a_trainer_started_anew_by_mistake_finds_its_looks(tmp_path, capsys):
    train_and_die(tmp_path, 7)
    before = {line.step: line.metrics["hre/score"] for line in read_record(tmp_path).evaluations}
    assert list(before) == [0, 2, 4, 6]
    train_and_die(tmp_path, 1)
    assert steps(tmp_path / "hre.jsonl") == [0]
    train(tmp_path, checkpoint=tmp_path / "checkpoint-4")
    after = {line.step: line.metrics["hre/score"] for line in read_record(tmp_path).evaluations}
    assert list(after) == [0, 2, 4, 6, 8] and after | before == after
    assert "LACKS" not in last_word(capsys)


def test_a_resume_into_another_folder_says_that_the_start_moved(tmp_path, capsys, caplog):
    train_and_die(tmp_path / "old", 5)
    train(tmp_path / "new", checkpoint=tmp_path / "old" / "checkpoint-4")
    assert steps(tmp_path / "new") == [4, 6, 8]
    said = [entry.message for entry in caplog.records if entry.message.startswith("HRE resumes at step 4")]
    assert len(said) == 1 and "it starts here" in said[0] and "put it there and resume again" in said[0]
    word = last_word(capsys)
    assert " since step 4 (paired 95 % " in word and "; start 0." in word
    assert "; it LACKS the looks at steps 0, 2, lost before a resume" in word
    caplog.clear()
    train(tmp_path / "old", checkpoint=tmp_path / "old" / "checkpoint-4")
    assert not [entry for entry in caplog.records if "resumes at step" in entry.message]
    assert " (step" not in last_word(capsys)


def test_a_run_killed_while_the_disk_was_full_tells_its_gap(tmp_path, disk, capsys, caplog):
    class Full(TrainerCallback):
        def on_step_begin(self, args, state, control, **kwargs):
            disk.code = errno.ENOSPC if state.global_step >= 1 else None

    train_and_die(tmp_path, 5, Full())
    disk.code = None
    assert steps(tmp_path) == [0]
    train(tmp_path, checkpoint=tmp_path / "checkpoint-4")
    assert steps(tmp_path) == [0, 6, 8]
    assert resumed_event(tmp_path).lost == [2, 4]
    assert "; it LACKS the looks at steps 2, 4, lost before a resume" in last_word(capsys)
    assert any("in no record (steps 2, 4)" in entry.message for entry in caplog.records)
    assert "in no record (steps 2, 4)" in render(read_record(tmp_path))


@pytest.mark.parametrize("how", ["auto_find_batch_size", "by hand"])
def test_a_start_with_weights_that_a_dead_run_has_moved_is_said_to_be_none(tmp_path, caplog, how):
    class OutOfMemory(TrainerCallback):
        planted = False

        def on_step_begin(self, args, state, control, **kwargs):
            if state.global_step == 3 and not self.planted:
                self.planted = True
                raise RuntimeError("CUDA out of memory. Planted.")

    callback = HumanRankEvalCallback(questions(), HREConfig(eval_steps=2))
    trainer = sft_trainer(tmp_path, [callback, OutOfMemory()], auto_find_batch_size=how != "by hand", max_steps=4)
    if how == "by hand":
        with pytest.raises(RuntimeError, match="Planted"):
            trainer.train()
    trainer.train()
    said = "the run begins anew with weights that 3 steps of a run before have moved"
    assert len([entry for entry in caplog.records if said in entry.message]) == 1
    (event,) = [event for event in read_record(tmp_path).events if event.kind == "restarted"]
    assert said in event.reason and steps(tmp_path) == [0, 2, 4]
    assert steps(tmp_path / "hre.1.jsonl") == [0, 2]


def test_a_resume_after_a_death_in_one_process_is_no_moved_start(tmp_path, caplog):
    callback = HumanRankEvalCallback(questions(), HREConfig(eval_steps=2))
    die = Die(5)
    trainer = sft_trainer(tmp_path, [callback, die], **SETTINGS)
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    trainer.remove_callback(die)
    trainer.train(resume_from_checkpoint=str(tmp_path / "checkpoint-4"))
    assert not [entry for entry in caplog.records if "begins anew" in entry.message]
    assert steps(tmp_path) == [0, 2, 4, 6, 8]
