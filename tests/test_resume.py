"""Killed at any moment and resumed, a run gives the record, the stop and the axis of an uninterrupted one."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hre_callback import HREConfig, HumanRankEvalCallback, read_record

from .trainers import questions, sft_trainer

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore:.*torch.jit.script.*")
SETTINGS = {"save_strategy": "steps", "save_steps": 4, "max_steps": 12}
CONFIG = HREConfig(eval_steps=3, stop_rule="drop_from_start")
JOB = """
import os, signal, sys
from pathlib import Path
from transformers import TrainerCallback
from tests.test_resume import CONFIG, SETTINGS
from tests.trainers import questions, sft_trainer
from hre_callback import HumanRankEvalCallback

class Kill(TrainerCallback):
    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)

sft_trainer(Path(sys.argv[1]), [HumanRankEvalCallback(questions(), CONFIG), Kill()], **SETTINGS).train()
"""


def evaluations(folder):
    """What must be equal: everything but clock times."""
    rows = []
    for line in read_record(folder).evaluations:
        metrics = {k: v for k, v in line.metrics.items() if not k.endswith(("seconds", "overhead"))}
        rows.append((line.step, metrics, line.proxies, line.loglikelihoods, line.pearson))
    return rows


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    trainer = sft_trainer(folder, [HumanRankEvalCallback(questions(), CONFIG)], **SETTINGS)
    trainer.train()
    return folder, [row["step"] for row in trainer.state.log_history if "eval_hre" in row]


@pytest.mark.parametrize("killed_at", [7, 10])
def test_killed_and_resumed_equals_uninterrupted(whole, tmp_path, killed_at):
    job = subprocess.run(
        [sys.executable, "-c", JOB, str(tmp_path), str(killed_at)],
        cwd=Path(__file__).parents[1], env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, timeout=120,
    )  # fmt: skip
    assert job.returncode == -signal.SIGKILL, job.stderr[-500:]
    assert [line.step for line in read_record(tmp_path).evaluations][-1] in (6, 9)
    trainer = sft_trainer(tmp_path, [HumanRankEvalCallback(questions(), CONFIG)], **SETTINGS)
    trainer.train(resume_from_checkpoint=True)
    folder, steps = whole
    assert [row["step"] for row in trainer.state.log_history if "eval_hre" in row] == steps
    for found, expected in zip(evaluations(tmp_path), evaluations(folder), strict=True):
        assert found[0] == expected[0]
        assert found[1] == pytest.approx(expected[1], nan_ok=True)
        assert found[2] == pytest.approx(expected[2])
        assert found[3] == [pytest.approx(row) for row in expected[3]]
    assert [e.kind for e in read_record(tmp_path).events] == ["resumed", "finished"]


def test_an_old_checkpoint_without_hre_resumes(tmp_path):
    sft_trainer(tmp_path, [], **SETTINGS).train()
    trainer = sft_trainer(tmp_path, [HumanRankEvalCallback(questions(), CONFIG)], **SETTINGS)
    trainer.train(resume_from_checkpoint=str(tmp_path / "checkpoint-4"))
    record = read_record(tmp_path)
    assert [line.step for line in record.evaluations] == [4, 6, 9, 12]  # the reference is where we came in
    assert "it starts here" in record.events[0].reason


@pytest.mark.parametrize(
    ("asked", "config"),
    [(questions(5), CONFIG), (questions(), HREConfig(eval_steps=3, normalization="tokens"))],
)
def test_other_questions_or_another_scoring_are_refused(whole, tmp_path, asked, config):
    folder = tmp_path / "copy"
    shutil.copytree(whole[0], folder)
    trainer = sft_trainer(folder, [HumanRankEvalCallback(asked, config)], **SETTINGS)
    with pytest.raises(ValueError, match="cannot be continued.*has questions [0-9a-f]{16}.*this run has questions"):
        trainer.train(resume_from_checkpoint=str(folder / "checkpoint-4"))


def test_best_is_saved_between_the_save_steps(tmp_path):
    config = HREConfig(eval_steps=2, save_best=True)
    settings = {**SETTINGS, "save_steps": 7}
    sft_trainer(tmp_path, [HumanRankEvalCallback(questions(), config)], **settings).train()
    record = read_record(tmp_path)
    scores = {line.step: line.metrics["hre/score"] for line in record.evaluations}
    best = max(scores, key=scores.get)
    asked = [event.step for event in record.events if event.kind == "save"]
    assert all(scores[step] > max(s for at, s in scores.items() if at < step) for step in asked)
    if best:  # the start can be the best; then there is nothing to save
        assert (tmp_path / f"checkpoint-{best}").is_dir()


def test_the_rule_stops_the_run_and_says_why(tmp_path, monkeypatch, capsys):
    from hre_callback import HumanRankEvaluator

    from .simulate import history
    from .test_callback import result_with

    fall = iter(history(0, 200, 8, fall=0.4))
    monkeypatch.setattr(HumanRankEvaluator, "evaluate", lambda self, m, p=None: result_with(next(fall), self))
    config = HREConfig(eval_steps=1, stop_rule="drop_from_start")
    asked = [q for i in range(40) for q in renamed(i)]
    trainer = sft_trainer(tmp_path, [HumanRankEvalCallback(asked, config)], max_steps=8)
    trainer.train()
    assert 2 <= trainer.state.global_step < 8
    (stop,) = [event for event in read_record(tmp_path).events if event.kind == "stop"]
    assert stop.step == trainer.state.global_step and "below its start" in stop.reason
    assert f"HRE stops the run: {stop.reason}" in capsys.readouterr().out


def renamed(i):
    from dataclasses import replace

    return [replace(question, id=f"{question.id}-{i}") for question in questions(5)]
