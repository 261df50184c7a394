"""A rule stops a real run: the Trainer stops at that step, and console, record and W&B say why."""

from __future__ import annotations

import numpy as np
import pytest

from hre_callback import HREConfig, HumanRankEvalCallback, HumanRankEvaluator, read_record
from hre_callback.run.comparison import compare_series

from .simulate import history
from .test_callback import result_with
from .trainers import questions, sft_trainer
from .wandb_offline import read_run, seal

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
N = 24


def plant(monkeypatch, values):
    queue = list(values)
    monkeypatch.setattr(
        HumanRankEvaluator, "evaluate", lambda self, model, progress=None: result_with(queue.pop(0), self)
    )


@pytest.mark.parametrize("rule", ["drop_from_start", "drop_from_best", "mismatch"])
def test_a_true_fall_stops_the_run_and_everyone_is_told(rule, tmp_path, monkeypatch, capsys, request):
    import wandb

    wandb.teardown()  # settings are read once per service
    request.addfinalizer(wandb.teardown)
    seal(monkeypatch, tmp_path)
    plant(monkeypatch, history(0, N, 20, fall=3.0))
    config = HREConfig(eval_steps=1, stop_rule=rule)
    trainer = sft_trainer(
        tmp_path / "run", [HumanRankEvalCallback(questions(N), config)], max_steps=20, logging_steps=1,
        report_to="wandb",
    )  # fmt: skip
    try:
        trainer.train()
    finally:
        wandb.finish()
    stopped = trainer.state.global_step
    assert stopped < 20
    record = read_record(tmp_path / "run")
    (stop,) = [event for event in record.events if event.kind == "stop"]
    assert stop.step == stopped and stop.rule == rule and "p = 0." in stop.reason
    assert compare_series(record).stops[rule] == (stopped, stop.reason), "a replay stops where the run did"
    assert f"HRE stops the run: {stop.reason}" in capsys.readouterr().out
    read = read_run(tmp_path)
    assert read.summary["hre/stop_reason"] == stop.reason
    assert f"HRE stops the run at step {stopped}" in [alert["title"] for alert in read.alerts]
    if rule == "mismatch":
        last = record.evaluations[-1]
        assert last.verdict == "mismatch" and last.metrics["mismatch/verdict"] == 2
        assert last.reason.startswith("train/") and read.summary["hre/verdict"] == "mismatch"


def test_a_mismatch_is_an_alert_once_and_stops_nothing_by_itself(tmp_path, monkeypatch, capsys):
    plant(monkeypatch, history(0, N, 12, fall=3.0))
    told = []
    monkeypatch.setattr(
        "hre_callback.trackers.fanout.Trackers.alert", lambda self, title, text: told.append((title, text))
    )
    callback = HumanRankEvalCallback(questions(N), HREConfig(eval_steps=1))
    trainer = sft_trainer(tmp_path, [callback], max_steps=12, logging_steps=1)
    trainer.train()
    assert trainer.state.global_step == 12
    verdicts = [line.verdict for line in read_record(tmp_path).evaluations]
    assert verdicts[0] is None and verdicts[-1] == "mismatch"
    assert len(told) == 1 and "part ways" in told[0][0] and "improves while HRE is" in told[0][1]
    assert "MISMATCH: train/" in capsys.readouterr().out


def test_noise_stops_patience_and_not_the_others(tmp_path, monkeypatch):
    for rule, stops in (("patience", True), ("drop_from_start", False), ("mismatch", False)):
        plant(monkeypatch, history(4, N, 12))
        callback = HumanRankEvalCallback(questions(N), HREConfig(eval_steps=1, stop_rule=rule))
        trainer = sft_trainer(tmp_path / rule, [callback], max_steps=12)
        trainer.train()
        assert (trainer.state.global_step < 12) is stops
        assert np.isfinite(read_record(tmp_path / rule).evaluations[-1].metrics["hre/score"])
