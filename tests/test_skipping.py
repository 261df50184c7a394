"""`on_error="skip"` means all of it: no failure of an evaluation, of the words or of the disk ends or steers a run."""

from __future__ import annotations

import io
import math
import sys

import numpy as np
import pytest
import torch
from transformers import EarlyStoppingCallback, PrinterCallback, TrainerCallback

from hre_callback import HREConfig, HumanRankEvalCallback
from hre_callback.run import look, words
from hre_callback.run.monitor import Monitor
from hre_callback.run.record import read_record
from hre_callback.views.headline import headline
from hre_callback.views.reading import Reading
from hre_callback.views.report import render

from .trainers import questions, sft_trainer

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore:.*torch.jit.script.*")
SELECT = {"eval_strategy": "steps", "save_strategy": "best", "metric_for_best_model": "eval_hre"}
FAIL = RuntimeError("planted")


def events(folder, kind):
    return [event for event in read_record(folder).events if event.kind == kind]


@pytest.mark.parametrize("greater", [True, False])
def test_a_skip_moves_neither_patience_nor_the_best(tmp_path, planted, greater):
    """Without the failures, scores would go best, worse, worse: patience 2 is reached by real scores alone."""
    sign = 1 if greater else -1
    values = [
        0.0,
        *(x * sign if isinstance(x, float) else x for x in (0.5, FAIL, FAIL, 0.4, FAIL, FAIL, 0.3)),
    ]
    planted(*values)
    stopper = EarlyStoppingCallback(2)
    counts = []

    class Count(TrainerCallback):
        def on_evaluate(self, args, state, control, metrics, **kwargs):
            counts.append((state.global_step, stopper.early_stopping_patience_counter))

    trainer = sft_trainer(
        tmp_path, [HumanRankEvalCallback(questions()), stopper, Count()],
        **SELECT, eval_steps=1, load_best_model_at_end=True, greater_is_better=greater,
    )  # fmt: skip
    trainer.train()
    assert [count for _, count in counts] == [0, 0, 0, 1, 1, 1, 2]
    assert trainer.state.global_step == 7
    assert trainer.state.best_metric == pytest.approx(0.5 * sign)
    assert [path.name for path in tmp_path.glob("checkpoint-*")] == ["checkpoint-1"]
    assert "check_metric_value" not in vars(stopper)


def test_when_all_evaluations_fail_nothing_is_best_and_that_is_said_first(tmp_path, planted, capsys):
    planted(FAIL)
    trainer = sft_trainer(
        tmp_path, [HumanRankEvalCallback(questions()), EarlyStoppingCallback(1)],
        **SELECT, eval_steps=2, load_best_model_at_end=True,
    )  # fmt: skip
    trainer.train()
    assert trainer.state.global_step == 8 and trainer.state.best_model_checkpoint is None
    closing = [line for line in capsys.readouterr().out.splitlines() if line.startswith("HRE")][-1]
    assert closing.startswith(
        "HRE: NOTHING WAS MEASURED, all 5 evaluations failed. The last said: RuntimeError: planted"
    )
    record = read_record(tmp_path)
    assert headline(Reading(record)).title == "Nothing measured: every evaluation failed (5)"
    assert "planted" in headline(Reading(record)).detail
    assert "Nothing measured: every evaluation failed (5)</h1>" in render(record)


def test_when_all_but_the_start_fail_that_is_said_first(tmp_path, planted, capsys):
    planted(0.3, FAIL)
    sft_trainer(tmp_path, [HumanRankEvalCallback(questions(), HREConfig(eval_steps=2))]).train()
    closing = [line for line in capsys.readouterr().out.splitlines() if line.startswith("HRE:")][-1]
    assert closing.startswith(
        "HRE: ONLY STEP 0 WAS MEASURED, the other 4 evaluations failed. The last said: RuntimeError: planted"
    )
    assert (
        headline(Reading(read_record(tmp_path))).title == "Only step 0 is measured: every other evaluation failed (4)"
    )


def test_a_run_without_any_defined_score_says_so(tmp_path, planted, capsys):
    planted(float("nan"))
    sft_trainer(tmp_path, [HumanRankEvalCallback(questions(), HREConfig(eval_steps=2))]).train()
    assert "HRE: nothing was measured, no evaluation has a score" in capsys.readouterr().out
    assert headline(Reading(read_record(tmp_path))).title == "Nothing measured: no evaluation has a score"


@pytest.mark.parametrize("smooth", [None, True])
def test_a_skip_moves_no_plateau_scheduler(tmp_path, planted, smooth):
    """Such a scheduler would lower the learning rate, and a smoothing one would be NaN for good."""
    from transformers.optimization import GreedyLR

    def train(*values, **overrides):
        planted(*values)
        trainer = sft_trainer(
            tmp_path / str(len(values)), [HumanRankEvalCallback(questions())],
            eval_strategy="steps", eval_steps=2, metric_for_best_model="eval_hre", **overrides,
        )  # fmt: skip
        trainer.create_optimizer()
        plateau = torch.optim.lr_scheduler.ReduceLROnPlateau
        trainer.lr_scheduler = (
            GreedyLR(trainer.optimizer, mode="max", patience=1, smooth=True)
            if smooth
            else plateau(trainer.optimizer, mode="max", patience=0)
        )
        trainer.train()
        return vars(trainer.lr_scheduler)

    seen = train(0.0, 0.1, FAIL, FAIL, 0.2)
    assert seen["best"] == pytest.approx(0.15 if smooth else 0.2) and seen["num_bad_epochs"] == 0
    assert "step" not in seen


def test_a_metric_that_is_not_ours_is_watched_as_ever(tmp_path, planted):
    planted(FAIL)
    stopper = EarlyStoppingCallback(1, early_stopping_threshold=1e9)  # nothing is an improvement
    trainer = sft_trainer(
        tmp_path, [HumanRankEvalCallback(questions()), stopper],
        eval_strategy="steps", eval_steps=1, save_strategy="no", metric_for_best_model="eval_loss",
    )  # fmt: skip
    trainer.train()
    assert trainer.state.global_step == 2


@pytest.mark.parametrize(
    "room, function",
    [(look, name) for name in ("_statistics", "_judged", "decided", "_history", "fields_of")]
    + [(words, "console_line")],
)
def test_a_failure_after_the_forwards_is_a_skipped_evaluation(tmp_path, planted, monkeypatch, room, function):
    planted(0.2)

    def fail(*args, **kwargs):
        raise ZeroDivisionError(function)

    monkeypatch.setattr(room, function, fail)
    trainer = sft_trainer(tmp_path, [HumanRankEvalCallback(questions(), HREConfig(eval_steps=4))])
    trainer.train()
    assert trainer.state.global_step == 8
    skips = events(tmp_path, "skipped")
    assert skips and all(skip.reason == f"ZeroDivisionError: {function}" for skip in skips)
    assert {skip.step for skip in skips}.isdisjoint(e.step for e in read_record(tmp_path).evaluations)


def test_a_failure_while_showing_is_recorded(tmp_path, planted, monkeypatch):
    planted(0.2)
    monkeypatch.setattr(Monitor, "summary", lambda self: 1 / 0)
    trainer = sft_trainer(tmp_path, [HumanRankEvalCallback(questions(), HREConfig(eval_steps=4))])
    trainer.train()
    assert [line.step for line in read_record(tmp_path).evaluations] == [0, 4, 8]


def test_a_failure_of_statistics_ends_a_run_that_wants_it(tmp_path, planted, monkeypatch):
    planted(0.2)
    monkeypatch.setattr(look, "_statistics", lambda terms, values: 1 / 0)
    config = HREConfig(on_error="raise")
    with pytest.raises(ZeroDivisionError):
        sft_trainer(tmp_path, [HumanRankEvalCallback(questions(), config)]).train()


@pytest.mark.parametrize("huge", [10**400, 10**5000, -(10**400), float("inf"), np.float64("nan")], ids="abcde")
def test_a_logged_number_without_bounds_costs_nothing(tmp_path, planted, huge):
    planted(0.2)

    class Log(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            state.log_history.append({"my_metric": huge, "loss": 1.0, "step": state.global_step})

    config = HREConfig(eval_steps=4)
    callback = HumanRankEvalCallback(questions(), config, proxies={"my_metric": "up"})
    sft_trainer(tmp_path, [Log(), callback]).train()
    record = read_record(tmp_path)
    assert [line.step for line in record.evaluations] == [0, 4, 8]
    assert "train/my_metric" not in record.evaluations[-1].proxies


def test_figures_beside_the_score_never_stop_the_start(tmp_path, planted, monkeypatch):
    planted(0.2)
    monkeypatch.setattr("hre_callback.run.about.human_ceiling", lambda *a, **k: 1 / 0)
    sft_trainer(tmp_path, [HumanRankEvalCallback(questions())], max_steps=1).train()
    assert read_record(tmp_path).run.human_ceiling is None


class Console(io.TextIOWrapper):
    def __init__(self, encoding):
        super().__init__(io.BytesIO(), encoding=encoding, write_through=True)

    @property
    def text(self):
        return self.buffer.getvalue().decode(self.encoding)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_a_console_that_cannot_show_the_path_costs_no_run(tmp_path, planted, monkeypatch, encoding):
    planted(0.2)
    folder = tmp_path / "läufe_模型"
    console = Console(encoding)
    monkeypatch.setattr(sys, "stdout", console)
    trainer = sft_trainer(folder, [HumanRankEvalCallback(questions())], max_steps=1)
    trainer.train()
    assert "\\u6a21\\u578b" in [line for line in console.text.splitlines() if line.startswith("HRE:")][-1]


class Broken(io.StringIO):
    def write(self, text):
        raise BrokenPipeError(32, "Broken pipe")


def test_a_console_that_is_gone_costs_no_run(tmp_path, planted, monkeypatch):
    planted(0.2)
    trainer = sft_trainer(tmp_path, [HumanRankEvalCallback(questions())], max_steps=1)
    # The Trainer's own printer would not survive this.
    trainer.remove_callback(PrinterCallback)
    monkeypatch.setattr(sys, "stdout", Broken())
    trainer.train()
    assert [line.step for line in read_record(tmp_path).evaluations] == [0, 1]


def test_a_score_that_is_undefined_is_no_score(tmp_path, planted):
    """All votes of all questions equal: HRE is NaN at every look, and nothing trips over it."""
    planted(float("nan"))
    stopper = EarlyStoppingCallback(1)
    trainer = sft_trainer(tmp_path, [HumanRankEvalCallback(questions()), stopper], **SELECT, eval_steps=2)
    trainer.train()
    assert trainer.state.global_step == 8 and stopper.early_stopping_patience_counter == 0
    assert math.isnan(trainer.state.log_history[-2].get("eval_hre", math.nan))
