"""What the user says of a signal decides everywhere: verdict, record, chart, page, terminal, trackers, workspace."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import pytest
from rich.console import Console
from transformers import TrainerCallback

from hre_callback import HREConfig, HumanRankEvalCallback, read_record
from hre_callback.run.record import RunRecord
from hre_callback.trackers.base import _config_block
from hre_callback.views.figure import main_figure
from hre_callback.views.png import chart
from hre_callback.views.reading import Reading
from hre_callback.views.report import render
from hre_callback.views.terminal import frame

from ..test_trl_trainers import build, pairs
from ..test_trl_trainers import model_folder as model_folder
from ..trainers import questions, sft_dataset, sft_trainer
from ..wandb_offline import seal

pytestmark = pytest.mark.filterwarnings(
    "ignore::FutureWarning", "ignore::UserWarning", "ignore::DeprecationWarning", "ignore:.*experimental.*"
)
TOLD = {"my_metric": "up", "loss": "up"}


class Logs(TrainerCallback):
    """Adds a metric of the user's to every row of the Trainer's log."""

    def on_log(self, args, state, control, logs, **kwargs):
        state.log_history[-1]["my_metric"] = float(state.global_step)


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    folder = tmp_path_factory.mktemp("told")
    callbacks = [Logs(), HumanRankEvalCallback(questions(), HREConfig(eval_steps=2), proxies=TOLD)]
    sft_trainer(folder, callbacks, max_steps=8, logging_steps=1).train()
    return read_record(folder)


def shown(one):
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(frame(main_figure(Reading(one)), 120))
    return console.export_text()


def test_the_run_line_holds_what_the_user_said(record):
    assert record.run.directions == {"train/my_metric": "up", "train/loss": "up"}
    assert _config_block(record.run)["directions"] == record.run.directions


def test_every_view_says_it(record):
    keys = [(one.key, one.better) for one in Reading(record).main_proxies()]
    assert keys[:2] == [("train/my_metric", "higher"), ("train/loss", "higher")]
    titles = [ax.get_title(loc="left") for ax in chart(main_figure(Reading(record))).axes]
    assert any("train/my_metric" in title and "higher is the goal" in title for title in titles)
    assert any("train/loss, higher is the goal" in title for title in titles)
    page = re.sub("<[^>]*>", "", render(record))
    assert "train/my_metric" in page and "train/loss, higher is the goal" in page
    rows = shown(record).splitlines()
    for name in ("train/my_metric", "training loss"):
        assert "higher" in next(row for row in rows if row.startswith(name))
    untold = type(record)(replace(record.run, directions={}), record.evaluations)
    assert (
        Reading(record).proxy("train/loss").better == "higher" and Reading(untold).proxy("train/loss").better == "lower"
    )


def test_the_verdict_names_what_the_user_calls_progress(record):
    regrets = {key for key in record.evaluations[-1].metrics if key.startswith("mismatch/regret/")}
    assert "mismatch/regret/train/my_metric" in regrets


def test_a_run_that_resumes_with_other_directions_has_these(tmp_path):
    asked = [{"id": "q0", "votes": [1, 2], "lengths": [9, 9]}]
    head = {"name": "hre", "fingerprint": "f", "questions": asked}
    RunRecord(tmp_path / "hre.jsonl").start({**head, "directions": {"train/mine": "up"}}, identity={})
    again = RunRecord(tmp_path / "hre.jsonl")
    again.start({**head, "directions": {"train/mine": "down"}}, identity={}, resume_step=1)
    assert read_record(tmp_path).run.directions == {"train/mine": "down"}


def test_a_directions_field_of_another_kind_is_not_believed(record):
    record = type(record)(replace(record.run, directions={"train/loss": "sideways"}), record.evaluations, [])
    assert Reading(record).proxy("train/loss").better == "lower"


def test_a_workspace_takes_the_signals_of_a_run(record, tmp_path, monkeypatch):
    pytest.importorskip("wandb_workspaces")
    from hre_callback.trackers.workspace import _sections

    seal(monkeypatch, tmp_path)
    titles = [panel.title for panel in _sections("hre", Reading(record).main_proxies(), everything=False)[-1].panels]
    assert "train/my_metric (higher is the goal)" in titles
    assert "training loss (train/loss, higher is the goal)" in titles


def test_several_evaluation_sets(tmp_path):
    sets = {"beer": sft_dataset(4), "wine": sft_dataset(6)}
    callback = HumanRankEvalCallback(questions(), HREConfig(eval_steps=1))
    trainer = sft_trainer(tmp_path, [callback], max_steps=8, logging_steps=1, eval_strategy="steps", eval_steps=1)
    trainer.eval_dataset = {
        name: trainer._prepare_dataset(found, trainer.processing_class, trainer.args, False, None, name)
        for name, found in sets.items()
    }
    trainer.train()
    one = read_record(tmp_path)
    last = one.evaluations[-1]
    assert {"eval/beer_loss", "eval/wine_loss"} <= last.proxies.keys()
    assert {"mismatch/regret/eval/beer_loss", "mismatch/regret/eval/wine_loss"} <= last.metrics.keys()
    assert Reading(one).proxy("eval/beer_loss").label == "evaluation loss (beer)"
    assert "evaluation loss (beer)" in shown(one) and "training loss" in shown(one)


def test_gold_logs_the_losses_of_both_its_policies(model_folder, tmp_path):
    callback = HumanRankEvalCallback(questions(), HREConfig(eval_steps=4))
    trainer = build("gold", model_folder, tmp_path, [callback], max_steps=8, logging_steps=1)
    trainer.train()
    logged = {key for row in trainer.state.log_history for key in row} & {"on_policy_loss", "off_policy_loss"}
    assert len(logged) == 2
    one = read_record(tmp_path)
    for key in logged:
        assert Reading(one).proxy(f"train/{key}").better == "lower"


def test_dpo_names_its_evaluation_sets(model_folder, tmp_path):
    callback = HumanRankEvalCallback(questions(), HREConfig(eval_steps=2))
    import trl

    from ..trainers import arguments, tokenizer

    args = arguments(tmp_path, trl.DPOConfig, max_steps=2, eval_strategy="steps", eval_steps=1)
    trl.DPOTrainer(
        model_folder, args=args, train_dataset=pairs(), eval_dataset={"beer": pairs(4), "wine": pairs(4)},
        processing_class=tokenizer(), callbacks=[callback],
    ).train()  # fmt: skip
    one = read_record(tmp_path)
    assert Reading(one).proxy("eval/beer_rewards/margins").better == "higher"
    assert Reading(one).proxy("eval/beer_rewards/margins").label == "evaluation reward margin (beer)"
