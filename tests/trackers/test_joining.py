"""A run that another process logs gets HRE's rows too: W&B by its id, trackio by its name."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from importlib.util import find_spec
from types import SimpleNamespace

import pytest

from hre_callback.trackers.base import TensorBoardTracker, TrackioTracker, WandbTracker
from hre_callback.trackers.joining import check_places, joined

from ..wandb_offline import read_run, seal


def test_the_row_goes_into_the_run_that_was_named(tmp_path, monkeypatch):
    import wandb

    wandb.teardown()
    seal(monkeypatch, tmp_path)
    with joined("hre", tmp_path, "team/project/abc123", []) as trackers:
        assert [type(sink) for sink in trackers.sinks] == [WandbTracker]
        trackers.log({"hre/score": 0.25}, 40)
    wandb.teardown()
    assert trackers.errors == [] and wandb.run is None
    told = read_run(tmp_path)
    assert told.curve("hre/score") == [(40, 0.25)] and told.folder.name.endswith("abc123")


def test_online_it_writes_beside_the_training_and_does_not_end_its_run(tmp_path, monkeypatch):
    import wandb

    asked, made = [], {}
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setattr(wandb, "Api", lambda: SimpleNamespace(run=asked.append))
    monkeypatch.setattr(wandb, "init", lambda **given: made.update(given))
    monkeypatch.setattr(wandb, "finish", lambda: made.update(finished=True))
    with joined("hre", tmp_path, "team/project/abc123", []):
        pass
    assert asked == ["team/project/abc123"] and made["finished"]
    assert (made["entity"], made["project"], made["id"], made["mode"]) == ("team", "project", "abc123", "shared")
    assert not made["settings"].x_primary and not made["settings"].x_update_finish_state


def test_a_run_that_wandb_does_not_know_is_refused(tmp_path, monkeypatch):
    import wandb

    def unknown(run):
        raise wandb.errors.CommError("could not find run\nand more")

    monkeypatch.setenv("WANDB_MODE", "shared")
    monkeypatch.setattr(wandb, "Api", lambda: SimpleNamespace(run=unknown))
    monkeypatch.setattr(wandb, "init", lambda **given: pytest.fail("it would be made anew"))
    refused = pytest.raises(ValueError, match=r"--wandb a/b/c: no such run can be read \(could not find run\)$")
    with refused, joined("hre", tmp_path, "a/b/c", []):
        pass


@pytest.mark.skipif(find_spec("trackio") is None, reason="trackio (an extra) is not installed")
def test_trackio_goes_on_in_the_run_of_that_name(tmp_path):
    """In another process: trackio fixes its folder when it is imported."""
    code = (
        "import sys, pathlib, trackio; from hre_callback.trackers.joining import joined\n"
        "trackio.init(project='p', name='mine', embed=False); trackio.log({'train/loss': 1.0}); trackio.finish()\n"
        "with joined('hre', pathlib.Path(sys.argv[1]), None, ['trackio:p/mine', 'tensorboard']) as trackers:\n"
        "    trackers.log({'hre/score': 0.25}, 40)\n"
        "    print([type(sink).__name__ for sink in trackers.sinks], trackers.errors)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=120,
        env={"TRACKIO_DIR": str(tmp_path), "HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(sys.path)},
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    names = [TrackioTracker.__name__, TensorBoardTracker.__name__]
    assert f"{names} []" in ended.stdout
    with sqlite3.connect(tmp_path / "p.db") as base:
        rows = base.execute("select run_name, metrics from metrics order by id").fetchall()
    assert {run for run, _ in rows} == {"mine"} and any("hre/score" in str(row) for _, row in rows)


@pytest.mark.parametrize("run", ["", "a", "a/b", "a/b/c/d", "//", "a/ b/c", "https://x/a/b/c"])
def test_a_run_that_is_no_address_is_refused(run):
    with pytest.raises(ValueError, match="expected ENTITY/PROJECT/RUN"):
        check_places(run, [])


@pytest.mark.parametrize("place", ["mlflow", "trackio:", "trackio:a", "trackio:a/", "wandb", "tensorboard:x"])
def test_a_place_that_nobody_knows_is_refused(place):
    with pytest.raises(ValueError, match="expected tensorboard, trackio or trackio:PROJECT/RUN"):
        check_places(None, ["tensorboard", place])
