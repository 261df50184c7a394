"""Keys are pinned; what the trackers were told is read back from their own files."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import Trainer, TrainerCallback, TrainingArguments

from hre_callback.run.keys import constants, flatten, proxy_row, shown
from hre_callback.run.lines import Summary
from hre_callback.run.record import Record, read_record
from hre_callback.stats.correlation import METRICS, HREResult, correlate
from hre_callback.trackers.base import TensorBoardTracker, Tracker, TrackioTracker, WandbTracker
from hre_callback.trackers.fanout import Trackers

from .. import records
from ..wandb_offline import iter_records, read_run, seal

# transformers' TensorBoard and Trainer paths reach torch.jit
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")

KEYS = [
    "score", "spearman", "kendall", "pair_accuracy", "top1", "n", "undefined", "constant_scores", "truncated",
    "left_out", "noise", "length_bias", "votes_length", "length_partialled", "style_partialled", "loglikelihood_top", "loglikelihood_bottom",
]  # fmt: skip


def result(topics: tuple[str, ...] = ("beer", "wine", "beer")) -> HREResult:
    """Three questions: r = 1, r = -1, and constant votes."""
    return correlate(
        fingerprint="f",
        ids=["a", "b", "c"],
        topics=topics,
        votes=[[3, 1], [0, 5], [2, 2]],
        loglikelihoods=[[-10.0, -40.0], [-10.0, -40.0], [-1.0, -2.0]],
        divisors=[[10, 20]] * 3,
        lengths=[[10, 20]] * 3,
        truncated=2,
    )


def record(*, looks: int = 3, questions: int = 60, log: str = "all") -> Record:
    """HRE falls while the loss improves; question i moves the more the higher i is."""
    asked = [
        {"id": f"q{i:02}", "topic": "beer", "question": f"why {i}?", "best_answer": "so",
         "votes": [3, 1], "lengths": [10, 20]}
        for i in range(questions)
    ]  # fmt: skip
    run = {
        "fingerprint": "00c0ffee", "questions": asked, "planned_looks": 2,
        "config": {"prompt": "paper", "layout": "auto", "log": log}, "versions": {"torch": "2.13"}, "started": "now",
    }  # fmt: skip
    evaluations = [
        {
            "step": 5 * look, "pearson": [0.5 - look * i / 1000 for i in range(questions)],
            "loglikelihoods": [[-1.0, -2.0]] * questions, "metrics": {"hre/score": 0.5 - 0.1 * look},
            "proxies": {"train/loss": 2.0 - look, "train/constant": 1.0} if look else {},
        }
        for look in range(looks)
    ]  # fmt: skip
    return records.of(run, evaluations, [{"kind": "stop", "step": 10, "reason": "HRE fell"}])


SUMMARY = {
    "start": 0.5,
    "best": 0.5,
    "best_step": 0,
    "last": 0.3,
    "verdict": "mismatch",
    "beats_start": False,
}


def png() -> bytes:
    buffer = BytesIO()
    Image.fromarray(np.full((6, 8, 3), 200, dtype=np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def tell_all(trackers: Trackers) -> None:
    """A short run that shows all: three rows with their pictures, an alert, the end."""
    told = record()
    trackers.start(told.run)
    for look in told.evaluations:
        numbers = {**look.metrics, **proxy_row(look.proxies), "hre/mde": float("nan"), "hre/n": 60}
        trackers.log(shown(numbers, "hre", "all"), look.step)
        trackers.constants(constants(numbers, "hre"))
        trackers.show(told_until(look.step))
    trackers.alert("HRE stops the run", "HRE fell")
    trackers.finish(told, Summary(**SUMMARY))


def told_until(step: int) -> Record:
    whole = record()
    return Record(whole.run, [look for look in whole.evaluations if look.step <= step])


# ---- keys ---------------------------------------------------------------------------------------------------


def test_keys_are_an_api() -> None:
    flat = flatten(result())
    assert list(flat) == [f"hre/{key}" for key in [*KEYS, "topic/beer", "topic/wine"]]
    assert all(type(value) is float for value in flat.values())


def test_values() -> None:
    flat = flatten(result(), name="hre_code")
    expected = {
        "score": 0, "n": 2, "undefined": 1, "constant_scores": 1, "truncated": 2, "left_out": 0, "pair_accuracy": 0.5,
        "top1": 0.5, "topic/beer": 1, "topic/wine": -1, "loglikelihood_top": (-1 - 2 - 0.1) / 3,
    }  # fmt: skip
    assert {key: flat[f"hre_code/{key}"] for key in expected} == pytest.approx(expected)


def test_one_topic_is_the_score_itself() -> None:
    assert [key for key in flatten(result(("all",) * 3)) if "topic" in key] == []


def test_undefined_is_nan_not_zero() -> None:
    nothing = correlate(
        fingerprint="f", ids=["a"], topics=["t"], votes=[[1, 1]], loglikelihoods=[[-1.0, -2.0]],
        divisors=[[1, 1]], lengths=[[1, 1]],
    )  # fmt: skip
    flat = flatten(nothing)
    assert all(np.isnan(flat[f"hre/{key}"]) for key in ("score", "spearman", "top1"))
    assert (flat["hre/n"], flat["hre/undefined"]) == (0, 1)
    assert set(METRICS) - {"pearson"} <= {key.removeprefix("hre/") for key in flat}


# ---- choice and failure -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("report_to", "is_main", "kinds"),
    [
        (["wandb", "trackio", "tensorboard"], True, [WandbTracker, TrackioTracker, TensorBoardTracker]),
        (["mlflow", "wandb"], True, [WandbTracker]),
        ([], True, []),
        (["wandb", "tensorboard"], False, []),
    ],
)
def test_trackers_are_those_of_report_to_on_the_main_process(report_to, is_main, kinds, tmp_path: Path) -> None:
    args = SimpleNamespace(report_to=report_to, output_dir=str(tmp_path))
    trackers = Trackers.for_run(args, "hre_code", is_main=is_main)
    assert [type(sink) for sink in trackers.sinks] == kinds
    assert all(sink.name == "hre_code" for sink in trackers.sinks)
    assert list(tmp_path.iterdir()) == []


class Broken(Tracker):
    def log(self, row, step):
        raise OSError(f"no disk at {step // 10}")

    def alert(self, title, text):
        raise ValueError("no")


class Kept(Tracker):
    def __init__(self, name):
        super().__init__(name)
        self.rows = []

    def log(self, row, step):
        self.rows.append((step, dict(row)))


def test_a_broken_tracker_warns_once_is_kept_and_does_not_stop_the_others(caplog) -> None:
    kept = Kept("hre")
    trackers = Trackers([Broken("hre"), kept])
    for step in (1, 2, 11):
        trackers.log({"a": 1.0}, step)
    trackers.alert("t", "x")
    assert trackers.errors == [
        "Broken: OSError: no disk at 0", "Broken: OSError: no disk at 1", "Broken: ValueError: no",
    ]  # fmt: skip
    (warned,) = caplog.records
    assert "training goes on" in warned.getMessage() and "no disk at 0" in warned.getMessage()
    assert [step for step, _ in kept.rows] == [1, 2, 11]


def test_an_interrupt_is_not_a_tracker_failure() -> None:
    class Interrupted(Tracker):
        def log(self, row, step):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Trackers([Interrupted("hre")]).log({}, 1)


def test_rows_hold_finite_floats_only() -> None:
    kept = Kept("hre")
    Trackers([kept]).log({"f": np.float32(0.5), "i": 3, "nan": float("nan"), "inf": float("inf"), "none": None}, 1)
    assert kept.rows == [(1, {"f": 0.5, "i": 3.0})]
    assert all(type(value) is float for value in kept.rows[0][1].values())


class Shown(Tracker):
    def __init__(self, name):
        super().__init__(name)
        self.images, self.tables = [], []

    def image(self, key, png, step):
        assert png.startswith(b"\x89PNG")
        self.images.append((key, step))

    def table(self, key, columns, rows, step):
        self.tables.append((key, step))


@pytest.mark.parametrize(("looks", "planned"), [(5, 4), (20, 19), (201, 200), (101, None), (101, 10)])
def test_pictures_stay_few_and_the_last_look_is_shown(looks, planned, monkeypatch) -> None:
    monkeypatch.setattr("hre_callback.views.png.chart_png", lambda record: png())
    whole = record(looks=looks, questions=2)
    run = replace(whole.run, planned_looks=planned)
    trackers = Trackers([shown := Shown("hre")])
    for look in range(looks):
        trackers.show(Record(run, whole.evaluations[: look + 1]))
    trackers.finish(Record(run, whole.evaluations), Summary(**SUMMARY))
    steps = [step for _, step in shown.images]
    assert steps == sorted(set(steps)) and steps[-1] == 5 * (looks - 1)  # nothing twice
    assert steps[: min(looks, 5)] == [5 * i * max(1, (planned or 0) // 20) for i in range(min(looks, 5))]
    assert len(steps) <= (22 if planned and planned >= looks - 1 else 55)
    assert shown.tables == [("hre/what_moved", step) for step in steps[1:]]


@pytest.mark.parametrize("error", [ImportError("the chart needs matplotlib"), ZeroDivisionError("a bug")])
def test_without_a_chart_the_rest_is_shown_and_it_is_said_once(error, monkeypatch, caplog) -> None:
    def fails(record):
        raise error

    monkeypatch.setattr("hre_callback.views.png.chart_png", fails)
    trackers = Trackers([shown := Shown("hre")])
    tell_all(trackers)
    (warned,) = caplog.records
    assert "no chart image" in warned.getMessage() and str(error) in warned.getMessage()
    assert trackers.errors == [f"chart: {type(error).__name__}: {error}"]
    assert shown.images == [] and len(shown.tables) == 2


def test_nobody_looking_nothing_drawn(monkeypatch) -> None:
    monkeypatch.setattr("hre_callback.views.png.chart_png", lambda record: pytest.fail("drawn for nobody"))
    tell_all(Trackers([]))


# ---- W&B ----------------------------------------------------------------------------------------------------


@pytest.fixture
def wandb_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import wandb

    wandb.teardown()  # settings are read once per service
    seal(monkeypatch, tmp_path)
    yield tmp_path
    wandb.teardown()


def test_no_active_wandb_run_is_said_once(caplog, wandb_folder: Path) -> None:
    trackers = Trackers([WandbTracker("hre")])
    tell_all(trackers)
    (warned,) = caplog.records
    assert "no W&B run is active" in warned.getMessage() and "wandb.init()" in warned.getMessage()
    assert len(trackers.errors) == 1
    assert not list(wandb_folder.glob("**/*.wandb"))


def test_wandb_run_read_back(wandb_folder: Path) -> None:
    import wandb

    run = wandb.init(project="test", config={"hre": {"prompt": "chat"}, "lr": 0.1})
    run.define_metric("*", step_metric="train/global_step", step_sync=True)  # as WandbCallback does, before us
    trackers = Trackers([WandbTracker("hre")])
    tell_all(trackers)
    assert trackers.errors == []
    assert wandb.run is run  # the run is not ours to finish
    wandb.finish()
    read = read_run(wandb_folder)

    assert read.curve("hre/score") == [(0, 0.5), (5, pytest.approx(0.4)), (10, pytest.approx(0.3))]
    assert read.rows("hre/n") == [] and read.summary["hre/n"] == 60  # what is constant is no curve
    assert [row["hre_more/proxy/train/loss"] for row in read.rows("hre/score")[1:]] == [1.0, 0.0]
    assert (
        read.rows("hre_more/mde") == [] and read.rows("train/loss") == []
    )  # gaps are gaps; the loss curve is not ours

    exact = {"hre/score", "hre_more/proxy/train/loss", "hre/score_chart", "hre/what_moved", "hre_more/curves"}
    assert exact <= set(read.metrics)
    assert {metric["x"] for metric in read.metrics.values()} == {"train/global_step"}
    assert read.metrics["hre/score"]["summary"] == {"max", "last"}

    assert read.summary["hre/score"] == pytest.approx({"max": 0.5, "last": 0.3})
    ours = {key: read.summary[f"hre/{key}"] for key in [*SUMMARY, "stop_reason"]}
    assert ours == {**SUMMARY, "stop_reason": "HRE fell"}
    assert read.alerts == [{"title": "HRE stops the run", "text": "HRE fell", "level": "WARN"}]
    assert read.config["lr"] == 0.1
    assert read.config["hre"] == {
        "prompt": "paper", "layout": "auto", "log": "all", "fingerprint": "00c0ffee", "planned_looks": 2,
        "versions": {"torch": "2.13"}, "n_questions": 60,
    }  # fmt: skip

    assert [step for step, _ in read.curve("hre/score_chart")] == [
        0,
        5,
        10,
        10,
    ]  # the last once more, with the stop
    chart = read.rows("hre/score_chart")[-1]["hre/score_chart"]
    assert (chart["_type"], chart["width"]) == ("image-file", 1296)
    assert (read.folder / "files" / chart["path"]).read_bytes()[:4] == b"\x89PNG"


def test_wandb_table_of_the_questions_that_moved_grows_by_new_rows_alone(wandb_folder: Path) -> None:
    import wandb

    wandb.init(project="test")
    tell_all(Trackers([WandbTracker("hre")]))
    wandb.finish()
    read = read_run(wandb_folder)
    assert [step for step, _ in read.curve("hre/what_moved")] == [5, 10]
    for entry, step, shift in zip(read.rows("hre/what_moved"), (5, 10), (-0.059, -0.118), strict=True):
        table = entry["hre/what_moved"]
        assert table["_type"] == "incremental-table-file"
        content = json.loads((read.folder / "files" / table["path"]).read_text())
        rows = [dict(zip(content["columns"], row, strict=True)) for row in content["data"]]
        assert len(rows) == 20 and {row["step"] for row in rows} == {step}
        assert (rows[0]["id"], rows[0]["question"], rows[0]["best_answer"]) == ("q59", "why 59?", "so")
        assert (rows[0]["votes"], rows[0]["scores_now"]) == ("3, 1", "-0.100, -0.100")
        assert rows[0]["shift"] == pytest.approx(shift)


def test_wandb_charts_of_hre_and_the_proxies(wandb_folder: Path) -> None:
    import wandb

    wandb.init(project="test")
    tell_all(Trackers([WandbTracker("hre")]))
    wandb.finish()
    read = read_run(wandb_folder)
    drawn = read.config["_wandb"]["visualize"]
    assert {key: chart["panel_config"]["panelDefId"] for key, chart in drawn.items()} == {
        "hre_more/curves": "wandb/lineseries/v0",
        "hre_more/against/train/loss": "wandb/scatter/v0",
    }
    assert read.table("hre_more/against/train/loss_table")[1] == pytest.approx(np.array([[1, 0.4, 5], [0, 0.3, 10]]))
    columns, rows = read.table("hre_more/curves_table")
    assert {row[columns.index("lineKey")] for row in rows} == {
        "hre/score",
        "train/loss",
    }  # constants say nothing
    score = [row[columns.index("lineVal")] for row in rows if row[columns.index("lineKey")] == "hre/score"]
    assert (np.mean(score), np.std(score)) == pytest.approx((0, 1))


def test_wandb_end_of_a_run_without_a_second_look(wandb_folder: Path) -> None:
    import wandb

    wandb.init(project="test")
    trackers = Trackers([WandbTracker("hre")])
    for looks in (0, 1):
        trackers.finish(record(looks=looks), Summary(**SUMMARY))
    wandb.finish()
    assert trackers.errors == []
    read = read_run(wandb_folder)
    assert [row for row in read.history if "hre/score_chart" not in row] == [] and len(read.history) == 1
    assert read.summary["hre/last"] == 0.3


def test_the_reader_agrees_with_wandbs_own(wandb_folder: Path) -> None:
    import wandb

    wandb.init(project="test")
    tell_all(Trackers([WandbTracker("hre")]))
    wandb.finish()
    (path,) = wandb_folder.glob("**/run-*.wandb")
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(path.parent)]
    answer = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    if answer.returncode:
        pytest.skip(f"wandb {wandb.__version__} has no `leet inspect`: {answer.stderr[-200:]}")
    theirs = [json.loads(line) for line in answer.stdout.splitlines()]
    rows = [line["history"]["item"] for line in theirs if line["type"] == "history"]
    ours = read_run(wandb_folder).history
    assert [row["train/global_step"] for row in rows] == [row["train/global_step"] for row in ours]
    assert [row.get("hre/score") for row in rows] == [row.get("hre/score") for row in ours]
    assert len(theirs) == sum(1 for _ in iter_records(path))


class Line(torch.nn.Module):
    """The smallest thing that a Trainer trains."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"loss": ((self.weight * x - labels) ** 2).mean()}


class Rows(TrainerCallback):
    """Logs a row at every step and every evaluation, as HRE does with `eval_steps=1`."""

    def __init__(self, tracker: Tracker) -> None:
        self.trackers = Trackers([tracker])
        self.last = -1

    def on_train_begin(self, args, state, control, **kwargs):
        self.trackers.start(record().run)
        self._log(state)

    def on_step_end(self, args, state, control, **kwargs):
        if not control.should_evaluate:
            self._log(state)

    def on_evaluate(self, args, state, control, **kwargs):
        self._log(state)

    def _log(self, state):
        self.trackers.log({"hre/score": state.global_step / 10}, state.global_step)


def train(out: Path, rows: Rows, report_to: str) -> Trainer:
    data = [{"x": torch.ones(1), "labels": torch.ones(1)}] * 8
    args = TrainingArguments(
        output_dir=str(out), max_steps=6, logging_steps=1, eval_strategy="steps", eval_steps=3,
        save_strategy="no", report_to=report_to, use_cpu=True, disable_tqdm=True, per_device_train_batch_size=1,
    )  # fmt: skip
    trainer = Trainer(Line(), args, train_dataset=data, eval_dataset=data[:2], callbacks=[rows])
    trainer.train()
    return trainer


def test_trainer_and_hre_share_the_axis_and_no_row_is_dropped(wandb_folder: Path, capsys) -> None:
    import wandb

    rows = Rows(WandbTracker("hre"))
    trainer = train(wandb_folder / "out", rows, "wandb")
    wandb.finish()
    read = read_run(wandb_folder)
    assert rows.trackers.errors == []
    assert read.curve("hre/score") == [(step, step / 10) for step in range(7)]
    logged = [(row["step"], row["loss"]) for row in trainer.state.log_history if "loss" in row]
    assert read.curve("train/loss") == [(step, pytest.approx(loss)) for step, loss in logged]
    assert len(logged) == 6
    assert [step for step, _ in read.curve("eval/loss")] == [3, 6]
    assert read.metrics["hre/score"] == {"x": "train/global_step", "summary": {"max", "last"}}
    assert read.metrics["*"]["x"] == "train/global_step"
    assert [row["_step"] for row in read.history] == list(range(len(read.history)))
    assert "less than the current step" not in capsys.readouterr().err


# ---- TensorBoard --------------------------------------------------------------------------------------------


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_tensorboard_read_back_beside_the_trainers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TENSORBOARD_LOGGING_DIR", raising=False)
    out = tmp_path / "out"
    rows = Rows(TensorBoardTracker("hre", out))
    second = TensorBoardTracker("hre_code", out)
    train(out, rows, "tensorboard")
    for file in out.glob("runs/*/hre/*"):
        os.utime(file, (2**32, 2**32))  # newer than the Trainer's
    second.start(record().run)  # finds the Trainer's folder, not that of the first
    rows.trackers.finish(record(), Summary(**SUMMARY))
    second.finish(record(), Summary(**SUMMARY))
    (folder,) = (out / "runs").iterdir()
    assert scalars(folder / "hre") == {"hre/score": [(step, pytest.approx(step / 10)) for step in range(7)]}
    assert [step for step, _ in scalars(folder)["train/loss"]] == list(range(1, 7))  # the Trainer's, whole
    assert (folder / "hre_code").is_dir()
    assert rows.trackers.errors == []


def test_tensorboard_follows_a_fixed_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "logs"))
    trackers = Trackers([TensorBoardTracker("hre", tmp_path / "out")])
    tell_all(trackers)
    assert trackers.errors == []
    events = EventAccumulator(str(tmp_path / "logs" / "hre"))
    events.Reload()
    assert set(events.Tags()["scalars"]) == {
        "hre/score",
        "hre_more/proxy/train/loss",
        "hre_more/proxy/train/constant",
    }
    images = events.Images("hre/score_chart")
    assert [image.step for image in images] == [0, 5, 10, 10] and images[-1].width == 1296
    texts = {tag: events.Tensors(tag)[0].tensor_proto.string_val[0].decode() for tag in events.Tags()["tensors"]}
    assert "fingerprint: 00c0ffee" in texts["hre/config/text_summary"]
    assert "verdict: mismatch" in texts["hre/summary/text_summary"]
    assert "HRE fell" in texts["hre/alert/text_summary"]
    assert not (tmp_path / "out").exists()


def test_tensorboard_without_the_trainers_events_uses_its_default(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.delenv("TENSORBOARD_LOGGING_DIR", raising=False)
    tell_all(trackers := Trackers([TensorBoardTracker("hre", tmp_path)]))
    assert trackers.errors == []
    assert len(list(tmp_path.glob("runs/*/hre/events.out.tfevents.*"))) == 1


def test_tensorboard_of_transformers_4_has_its_folder_in_the_arguments(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "of transformers 5"))
    place = tmp_path / "elsewhere"
    tell_all(trackers := Trackers([TensorBoardTracker("hre", tmp_path, str(place))]))
    assert trackers.errors == []
    assert [file.parent for file in tmp_path.rglob("events.out.tfevents.*")] == [place / "hre"]


# ---- trackio ------------------------------------------------------------------------------------------------

TRACKIO = """
import trackio
from hre_callback.trackers.base import TrackioTracker
from hre_callback.trackers.fanout import Trackers
from tests.trackers.test_fanout import record, tell_all
trackio.init(project="test", name="run")
trackio.config.update({"lr": 0.1}, allow_val_change=True)
trackers = Trackers([TrackioTracker("hre")])
tell_all(trackers)
trackio.log({"train/loss": 1.0, "train/global_step": 10})
assert trackers.errors == [], trackers.errors
trackio.finish()
trackers.log({"hre/score": 1.0}, 15)  # the Trainer's callback has finished the run: said, not raised
assert "trackio.init()" in trackers.errors[0], trackers.errors
"""


needs_trackio = pytest.mark.skipif(find_spec("trackio") is None, reason="trackio (an extra) is not installed")


def in_a_process_of_its_own(script: str, folder: Path) -> None:
    """trackio fixes its folder when it is imported."""
    env = {**os.environ, "TRACKIO_DIR": str(folder), "HOME": str(folder), "HF_HUB_OFFLINE": "1"}
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", script], env=env, cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def trackio_rows(folder: Path) -> tuple[list[dict], dict]:
    """The rows and the config of the only run of the project `test`."""
    database = sqlite3.connect(folder / "test.db")
    rows = [json.loads(text) for (text,) in database.execute("select metrics from metrics order by id")]
    ((config,),) = database.execute("select config from configs").fetchall()
    database.close()
    return rows, json.loads(config)


TRAINED = """
from hre_callback import HREConfig, HumanRankEvalCallback
from tests.trainers import questions, sft_trainer
callback = HumanRankEvalCallback(questions(), HREConfig(eval_steps=2))
sft_trainer(OUT, [callback], max_steps=4, report_to=["trackio", "tensorboard"], project="test").train()
"""


@needs_trackio
def test_report_to_trackio_and_tensorboard_from_the_trainer(tmp_path: Path) -> None:
    """The last look and the summary come before the Trainer's callback closes trackio."""
    in_a_process_of_its_own(TRAINED.replace("OUT", repr(str(tmp_path / "out"))), tmp_path)
    told = read_record(tmp_path / "out")
    assert told.events[-1].tracker_errors == []
    rows, config = trackio_rows(tmp_path)
    for key in ("hre/score", "hre/score_chart", "hre/score_low"):
        assert [row["train/global_step"] for row in rows if key in row] == [0, 2, 4]
    losses = [row["train/global_step"] for row in rows if "train/loss" in row]
    assert losses == [2, 4]
    assert "- last:" in next(row for row in rows if "hre/summary" in row)["hre/summary"]["_value"]
    assert config["max_steps"] == 4 and config["hre"]["fingerprint"] == told.run.fingerprint
    ours, theirs = sorted((tmp_path / "out").glob("runs/*/hre")), sorted((tmp_path / "out").glob("runs/*"))
    assert [step for step, _ in scalars(ours[0])["hre/score"]] == [0, 2, 4]
    assert [step for step, _ in scalars(theirs[0])["train/loss"]] == [2, 4]


@needs_trackio
def test_trackio_read_back(tmp_path: Path) -> None:
    in_a_process_of_its_own(TRACKIO, tmp_path)
    rows, known = trackio_rows(tmp_path)
    database = sqlite3.connect(tmp_path / "test.db")
    alerts = database.execute("select title, text from alerts").fetchall()
    database.close()
    assert known["lr"] == 0.1
    assert (known["hre"]["fingerprint"], known["hre"]["n_questions"]) == ("00c0ffee", 60)
    charts = [(row["train/global_step"], row["hre/score_chart"]) for row in rows if "hre/score_chart" in row]
    assert [step for step, _ in charts] == [0, 5, 10, 10]
    assert (tmp_path / "media" / charts[-1][1]["file_path"]).read_bytes()[:4] == b"\x89PNG"
    tables = [(row["train/global_step"], row["hre/what_moved"]) for row in rows if "hre/what_moved" in row]
    assert [(step, len(table["_value"])) for step, table in tables] == [(5, 20), (10, 20)]
    (summary,) = [row["hre/summary"]["_value"] for row in rows if "hre/summary" in row]
    assert "- best: 0.5" in summary and "- stop_reason: HRE fell" in summary
    curve = [(row["train/global_step"], row["hre/score"]) for row in rows if "hre/score" in row]
    assert curve == [(0, 0.5), (5, 0.4), (10, pytest.approx(0.3))]
    assert rows[-1] == {"train/loss": 1.0, "train/global_step": 10}
    assert alerts == [("HRE stops the run", "HRE fell")]


# ---- no trace -----------------------------------------------------------------------------------------------


def test_telling_the_trackers_draws_from_no_random_state(wandb_folder: Path) -> None:
    import random

    import wandb

    wandb.init(project="test")
    trackers = Trackers([WandbTracker("hre"), TensorBoardTracker("hre", wandb_folder / "out")])
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    tell_all(trackers)
    after = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    wandb.finish()
    assert trackers.errors == []
    assert after == before
