"""Runs read from a folder, and every way in which a folder or its table can be wrong, by name."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from hre_callback.run.replay import Replay, read_runs
from hre_callback.stats.stopping import decide

from .. import records
from ..recorded_runs import WAYS, recorded, tell, write, zoo
from ..synthetic_records import mismatch
from ..synthetic_records import write as write_old


def names(runs):
    return [one.name for one in runs.replays]


def test_records_and_run_folders_are_runs_and_nothing_else_is(tmp_path):
    write(recorded(WAYS["better"], n=8), tmp_path / "flat.jsonl")
    write(recorded(WAYS["better"], n=8), tmp_path / "dpo.v2" / "hre.jsonl")
    write(recorded(WAYS["better"], n=8), tmp_path / "dpo.v2" / "hre.1.jsonl")
    for callback in ("hre", "beer"):
        write(recorded(WAYS["better"], n=8, name=callback), tmp_path / "two" / f"{callback}.jsonl")
    write(recorded(WAYS["better"], n=8), tmp_path / "followed" / "_hre" / "hre.jsonl")
    write(recorded(WAYS["better"][:1], n=8), tmp_path / "dead" / "hre.jsonl")
    (tmp_path / "scores.jsonl").write_text('{"id": "q"}\n')
    (tmp_path / "notes.md").write_text("x")
    (tmp_path / "empty").mkdir()
    equal = recorded(WAYS["better"], n=8)
    for look in equal.evaluations:
        look.pearson[:] = [None] * 8
    write(equal, tmp_path / "equal.jsonl")
    runs = read_runs(tmp_path)
    assert names(runs) == ["dpo.v2", "flat", "followed", "two/beer", "two/hre"]
    assert runs.left_out == {
        "dead": "1 evaluation, a replay needs two",
        "equal": "no question has a correlation",
        "scores.jsonl": "no record of a run",
    }
    assert all(run.truth is None and run.since is None for run in runs.replays)


def test_a_run_s_own_folder_is_a_folder_of_one(tmp_path):
    write(recorded(WAYS["still"], n=8), tmp_path / "hre.jsonl")
    assert names(read_runs(tmp_path)) == ["hre"]


def test_a_table_tells_the_truth_and_what_it_does_not_name_is_left_out(tmp_path):
    write(recorded(WAYS["still"], n=8), zoo(tmp_path) / "other.jsonl")
    runs = read_runs(tmp_path)
    assert [(run.name, run.truth, run.since) for run in runs.replays] == [
        # From step 25 on: the first look not before it is at 30.
        ("worse", "harmful", 3),
        ("better", "fine", None),
        ("still", "nothing", None),
    ]
    assert runs.left_out == {"other.jsonl": "not in runs.json"}


ROW = {"name": "worse", "truth": "harmful", "harmful_from": 20}
WRONG = {
    "not JSON": ("{", "no table of runs in JSON"),
    "a list": ("[]", "found [], expected an object"),
    "no runs": ('{"runs": []}', "runs: found []"),
    "null": ('{"runs": null}', "runs: found None"),
    "a text": ('{"runs": ["worse"]}', "runs[0]: found 'worse', expected an object"),
    "no name": ([{**ROW, "name": None}], "runs[0].name: found None, expected the name of a run in this folder"),
    "a way out": ([{**ROW, "name": "../worse"}], "runs[0].name: found '../worse', expected the name"),
    "up": ([{**ROW, "name": ".."}], "runs[0].name: found '..', expected the name"),
    "here": ([{**ROW, "name": ""}], "runs[0].name: found '', expected the name"),
    "twice": ([ROW, ROW], "runs: found 'worse' twice"),
    "missing": (
        [{**ROW, "name": "gone"}],
        "found 'gone', expected a record gone.jsonl or a folder of this name beside",
    ),
    "no truth": ([{"name": "worse"}], "runs[0].truth: found None, expected one of harmful, fine, nothing, unclear"),
    "truths": ([{**ROW, "truth": ["fine"]}], "runs[0].truth: found ['fine'], expected one of"),
    "since never": ([{**ROW, "harmful_from": None}], "runs[0].harmful_from: found None, expected a whole number"),
    "since for ever": ([{**ROW, "harmful_from": 10**400}], "harmful_from: found a number without bounds"),
    "since after the end": ([{**ROW, "harmful_from": 51}], "'worse' is harmful from step 51, its last look is at 50"),
    "foreign": ([{**ROW, "name": "foreign"}], "foreign.jsonl, line 1"),
    "dead": ([{**ROW, "name": "dead"}], "dead.jsonl: 1 evaluation, a replay needs two, which runs.json names"),
    "hostile": ([{**ROW, "truth": "\x1b[31m"}], r"found '\x1b[31m'"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_table_that_does_not_fit_is_named(name, tmp_path):
    rows, says = WRONG[name]
    zoo(tmp_path)
    (tmp_path / "foreign.jsonl").write_text("hello\n")
    write(recorded(WAYS["still"][:1], n=8), tmp_path / "dead.jsonl")
    if isinstance(rows, str):
        (tmp_path / "runs.json").write_text(rows)
    else:
        tell(tmp_path, rows)
    with pytest.raises(ValueError) as error:
        read_runs(tmp_path)
    assert says in str(error.value) and str(tmp_path) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to(path)])
def test_what_is_no_file_is_no_table(make, tmp_path):
    make(tmp_path / "runs.json")
    with pytest.raises(ValueError, match="runs.json: expected a file"):
        read_runs(tmp_path)


def test_a_folder_without_a_run_says_what_lies_there(tmp_path):
    with pytest.raises(ValueError, match="nowhere: no such folder"):
        read_runs(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="no run to replay in this folder$"):
        read_runs(tmp_path)
    (tmp_path / "a.jsonl").write_text("hello\n")
    with pytest.raises(ValueError, match=r"no run to replay in this folder \(a.jsonl: no record of a run\)"):
        read_runs(tmp_path)


def test_a_damaged_record_is_an_error_and_not_passed_over(tmp_path):
    path = write(recorded(WAYS["still"], n=8), zoo(tmp_path) / "still.jsonl")
    path.write_bytes(path.read_bytes().replace(b'"pearson":[', b'"pearson":[7,', 1))
    with pytest.raises(ValueError, match="still.jsonl, line 2"):
        read_runs(tmp_path)


def test_push_is_what_the_run_itself_recorded():
    replay = Replay("worse", recorded(WAYS["worse"]))
    told = [look.metrics["mismatch/push"] for look in replay.record.evaluations[1:]]
    assert replay.pushes is not None
    assert np.nanmean(replay.pushes, axis=1).tolist() == pytest.approx(told)
    assert replay.score.tolist() == pytest.approx([look.metrics["hre/score"] for look in replay.record.evaluations])


def test_rewards_have_no_push_and_neither_has_a_record_without_divisors():
    rewarded = recorded(WAYS["worse"], n=8)
    for look in rewarded.evaluations:
        del look.metrics["hre/loglikelihood_top"]
    assert Replay("r", rewarded).pushes is None
    above = recorded(WAYS["worse"], n=8)
    above.evaluations[3].loglikelihoods[2][1] = 0.5
    assert Replay("told wrongly", above).pushes is None
    bare = mismatch(4, n=8)
    assert Replay("old", records.of_lines(bare)).pushes is not None
    bare[0]["config"]["normalization"] = "tokens"
    assert Replay("older", records.of_lines(bare)).pushes is None


def test_a_stop_rule_is_asked_as_the_run_would_have_asked_it():
    replay = Replay("worse", recorded(WAYS["worse"]))
    stops = replay.stops("drop_from_start")
    said = [decide("drop_from_start", replay.steps[:t], replay.values[:t], planned_looks=5).stop for t in range(1, 7)]
    assert stops.tolist() == said and stops.any() and not stops[0]


def test_a_signal_goes_by_what_a_person_calls_it_and_the_user_s_own_direction():
    look = {"proxies": {"train/rewards/accuracies": 0.7, "eval/beer_loss": 2.0, "train/mine": 1.0, "train/kl": None}}
    looks = [{"step": step, **look} for step in (0, 10)]
    replay = Replay("run", records.of({"directions": {"train/mine": "up", "x": "sideways"}}, looks))
    assert replay.signals[0].key == "train/mine" and replay.signals[0].better == "up"
    assert replay.signal("reward accuracy").tolist() == [0.7, 0.7]
    assert replay.signal("evaluation loss").tolist() == [2.0, 2.0]
    assert replay.signal("KL from the start") is None


def test_a_policy_gradient_s_loss_is_no_signal():
    """It says nothing of progress, on evaluation rows neither."""
    look = {"proxies": {"train/reward": 0.7, "eval/loss": 0.0, "train/loss": 0.0}}
    assert Replay("grpo", records.of({}, [{"step": 0, **look}])).signal("evaluation loss") is None


def test_format_1_is_replayed(tmp_path):
    write_old(mismatch(6, n=30), tmp_path / "old.jsonl")
    (run,) = read_runs(tmp_path).replays
    assert len(run.steps) == 6 and json.dumps(run.steps)
