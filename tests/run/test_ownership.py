"""A record has one writer: another run is refused in a sentence, a dead one never stands in the way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
from transformers import TrainerCallback

from hre_callback import HREConfig, HumanRankEvalCallback, read_record
from hre_callback.run import ownership
from hre_callback.run.record import RunRecord

from ..trainers import questions, sft_trainer

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore:.*torch.jit.script.*")
RUN = {"name": "hre", "fingerprint": "f", "questions": [{"id": "q", "votes": [1, 2], "lengths": [3, 4]}]}
LOOK = {"loglikelihoods": [[-1.0, -2.0]], "pearson": [0.5]}
# Starts or resumes a record, looks once, says so, and goes on: with a child, as a data loader has them.
HOLDER = """
import os, sys, time
from hre_callback.run.record import RunRecord
record = RunRecord(sys.argv[1])
questions = [{"id": "q", "votes": [1, 2], "lengths": [3, 4]}]
run = {"name": "hre", "fingerprint": "f", "questions": questions}
record.start(run, identity={}, resume_step=int(sys.argv[2]))
record.append("evaluation", int(sys.argv[2]) + 1, loglikelihoods=[[-1.0, -2.0]], pearson=[0.5])
if sys.argv[3] == "fork" and os.fork() == 0:
    time.sleep(60)
    os._exit(0)
print("started", flush=True)
time.sleep(60)
"""


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(ownership, "_GRACE", 0.5)


@pytest.fixture
def hold():
    """Another process that writes a record."""
    started = []

    def start(path, resume_step=0, fork="no"):
        command = [sys.executable, "-c", HOLDER, str(path), str(resume_step), fork]
        holder = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
        started.append(holder)
        assert holder.stdout.readline() == "started\n"
        return holder

    yield start
    for holder in started:
        os.killpg(holder.pid, signal.SIGKILL)
        holder.wait()
        holder.stdout.close()


def begin(path, resume_step=0, **options):
    record = RunRecord(path, **options)
    record.start(RUN, identity={}, resume_step=resume_step)
    return record


@pytest.mark.parametrize("resume_step", [0, 5])
def test_a_second_process_is_refused_and_leaves_the_record_alone(tmp_path, hold, resume_step):
    path = tmp_path / "hre.jsonl"
    hold(path)
    before = path.read_bytes()
    began = time.monotonic()
    with pytest.raises(ValueError, match="hre.jsonl belongs to another run that still goes on, in another process"):
        begin(path, resume_step)
    assert time.monotonic() - began < 5
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["hre.jsonl"]


def test_it_is_refused_too_when_the_first_has_resumed(tmp_path, hold):
    path = tmp_path / "hre.jsonl"
    begin(path).append("evaluation", 0, **LOOK)
    hold(path, resume_step=3)
    with pytest.raises(ValueError, match="A record has one writer: end that run, or give this one another output_dir"):
        begin(path, 3)


@pytest.mark.parametrize("fork", ["no", "fork"])
def test_a_killed_owner_stands_in_nobodys_way_nor_do_its_children(tmp_path, hold, fork):
    path = tmp_path / "hre.jsonl"
    holder = hold(path, fork=fork)
    os.kill(holder.pid, signal.SIGKILL)
    begin(path, 5).append("evaluation", 7, **LOOK)
    assert [look.step for look in read_record(path).evaluations] == [1, 7]
    assert os.listdir(tmp_path) == ["hre.jsonl"], "nothing lies beside it"


def test_readers_are_not_in_the_way(tmp_path):
    path = tmp_path / "hre.jsonl"
    record = begin(path, goes_on=lambda: True)
    for step in range(3):
        record.append("evaluation", step, **LOOK)
        assert len(read_record(path).evaluations) == step + 1
    with pytest.raises(ValueError, match="belongs to another run that still goes on, in this process"):
        begin(path)
    record.release()
    begin(path)


def test_a_run_of_this_process_that_has_died_can_be_succeeded(tmp_path):
    path = tmp_path / "hre.jsonl"
    alive = [True]
    dead = begin(path, goes_on=lambda: alive[0])
    with pytest.raises(ValueError, match="in this process"):
        begin(path)
    alive[0] = False
    successor = begin(path, goes_on=lambda: True)
    with pytest.raises(OSError, match="in this process"):
        dead.append("evaluation", 0, **LOOK)
    assert sorted(os.listdir(tmp_path)) == ["hre.1.jsonl", "hre.jsonl"] and read_record(path).run == successor.lines[0]


def test_a_record_that_was_removed_and_begun_by_another_run_is_not_written_to(tmp_path, hold):
    path = tmp_path / "hre.jsonl"
    record = begin(path, goes_on=lambda: True)
    path.unlink()
    hold(path)
    before = path.read_bytes()
    with pytest.raises(OSError, match="in another process"):
        record.append("evaluation", 0, **LOOK)
    assert path.read_bytes() == before and record.evaluated(0), "the line waits in memory"


def test_a_file_system_without_locks_is_no_obstacle(tmp_path, monkeypatch):
    def refuse(file, how):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(ownership.fcntl, "flock", refuse)
    record = begin(tmp_path / "hre.jsonl", goes_on=lambda: True)
    record.append("evaluation", 0, **LOOK)
    with pytest.raises(ValueError, match="in this process"):
        begin(tmp_path / "hre.jsonl")


def callback(name="hre", **options):
    return HumanRankEvalCallback(questions(), HREConfig(name=name, eval_steps=2, **options))


def test_two_callbacks_of_one_name_are_refused(tmp_path):
    same = callback()
    for pair in ([callback(), callback()], [same, same]):
        with pytest.raises(
            ValueError, match=r"two HumanRankEvalCallbacks of one trainer are named 'hre'.*HREConfig\(name"
        ):
            sft_trainer(tmp_path, pair, max_steps=2).train()
    trainer = sft_trainer(tmp_path, [callback()], max_steps=2)
    trainer.add_callback(callback())
    with pytest.raises(ValueError, match="are named 'hre'"):
        trainer.train()
    assert not list(tmp_path.glob("*.jsonl"))
    sft_trainer(tmp_path, [callback(), callback("hre_code")], max_steps=2).train()
    assert sorted(path.name for path in tmp_path.glob("*.jsonl")) == ["hre.jsonl", "hre_code.jsonl"]
    for name in ("hre", "hre_code"):
        assert [look.step for look in read_record(tmp_path / f"{name}.jsonl").evaluations] == [0, 2]


class Does(TrainerCallback):
    """Does something at a step of the training."""

    def __init__(self, what, step=2):
        self.what, self.step = what, step

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            self.what()


def test_a_run_within_a_run_cannot_have_its_record(tmp_path):
    def inner():
        with pytest.raises(ValueError, match="belongs to another run that still goes on, in this process"):
            sft_trainer(tmp_path, [callback()], max_steps=2).train()

    sft_trainer(tmp_path, [callback(), Does(inner)], max_steps=4).train()
    assert [path.name for path in tmp_path.glob("*.jsonl")] == ["hre.jsonl"]
    assert [look.step for look in read_record(tmp_path).evaluations] == [0, 2, 4]


def test_after_a_crash_the_same_process_starts_and_resumes(tmp_path):
    def crash():
        raise RuntimeError("planted")

    dead = sft_trainer(tmp_path, [callback(), Does(crash, 3)], max_steps=4, save_strategy="steps", save_steps=2)
    with pytest.raises(RuntimeError, match="planted"):
        dead.train()
    assert [look.step for look in read_record(tmp_path).evaluations] == [0, 2]
    again = sft_trainer(tmp_path, [callback()], max_steps=4)
    again.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    assert [look.step for look in read_record(tmp_path).evaluations] == [0, 2, 4]
    dead.remove_callback(Does)
    dead.train()
    assert [look.step for look in read_record(tmp_path / "hre.jsonl").evaluations] == [0, 2, 4]
    assert [path.name for path in sorted(tmp_path.glob("*.jsonl"))] == ["hre.1.jsonl", "hre.jsonl"]
