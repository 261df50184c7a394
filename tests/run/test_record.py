"""The run's record: strict JSON, nothing lost, resumed equal to uninterrupted, alive after kill -9."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from hre_callback.data.questions import Answer, Question
from hre_callback.run.about import describe_questions
from hre_callback.run.lines import Line, object_of
from hre_callback.run.record import BESIDE, Record, RunRecord, find_record, is_record, plain, read_record
from hre_callback.views.changes import most_moved

from .. import records

QUESTIONS = [
    {
        "id": f"q{i}",
        "topic": "beer",
        "question": f"why {i}",
        "best_answer": "so",
        "votes": [3, 1],
        "lengths": [10, 20],
    }
    for i in range(3)
]
RUN = {"name": "hre", "fingerprint": "00c0ffee00c0ffee", "questions": QUESTIONS, "planned_looks": 5}
IDENTITY = {"prompt": "paper", "normalization": "characters", "max_length": None}


def evaluate(record: RunRecord, step: int, order: tuple[int, ...] = (0, 1, 2)) -> None:
    """What a run would measure at `step`: depends on the step only, one question undefined."""
    values = [0.01 * step / 7, None, -0.01 * step]
    record.append(
        "evaluation",
        step,
        metrics={"hre/score": 0.3 + step / 1000, "hre/mde": float("nan")},
        loglikelihoods=[[-1.5 - step - i, -2.0 - step] for i in order],
        pearson=[values[i] for i in order],
    )


def begin(path: Path, resume_step: int = 0, **changes: object) -> RunRecord:
    record = RunRecord(path)
    record.start({**RUN, **changes}, identity=IDENTITY, resume_step=resume_step)
    return record


def timeless(lines: Sequence[Line]) -> list[dict]:
    found = map(object_of, lines)
    return [{key: value for key, value in line.items() if key not in ("time", "started")} for line in found]


def test_plain_is_strict_json_at_every_depth() -> None:
    value = {
        "nan": float("nan"),
        "deep": [{"inf": (np.float32("inf"), -np.inf)}],
        "array": np.array([[1.0, np.nan]]),
        "int": np.int64(3),
        "bool": np.bool_(True),
        1: Path("a") / "b",
    }
    expected = {"nan": None, "deep": [{"inf": [None, None]}], "array": [[1.0, None]], "int": 3, "bool": True}
    result = plain(value)
    assert result == {**expected, "1": os.path.join("a", "b")}
    assert type(result["int"]) is int and type(result["bool"]) is bool
    json.dumps(result, allow_nan=False)


def test_plain_names_what_it_cannot_hold() -> None:
    with pytest.raises(TypeError, match="cannot hold a object"):
        plain({"a": [object()]})


def test_written_and_read_back(tmp_path: Path) -> None:
    record = begin(tmp_path / "hre.jsonl", model="tiny\ud800 \u2028 é")  # a lone surrogate has no UTF-8 form
    evaluate(record, 0)
    record.append("skipped", 10, reason="RuntimeError: no memory")
    evaluate(record, 20)
    read = read_record(tmp_path)
    assert read == read_record(tmp_path / "hre.jsonl") == record.record
    assert (read.run.kind, read.run.version, read.run.identity) == ("run", 2, IDENTITY)
    assert read.run.model == "tiny\ud800 \u2028 é"
    assert [line.step for line in read.evaluations] == [0, 20]
    assert read.evaluations[0].metrics["hre/mde"] is None
    assert [event.kind for event in read.events] == ["skipped"]
    assert b"NaN" not in (tmp_path / "hre.jsonl").read_bytes()


def test_pearson_matrix(tmp_path: Path) -> None:
    record = begin(tmp_path / "hre.jsonl")
    assert record.record.pearson_matrix()[1].shape == (0, 3)
    for step in (0, 7):
        evaluate(record, step)
    steps, matrix = read_record(tmp_path).pearson_matrix()
    assert steps == [0, 7]
    np.testing.assert_allclose(matrix, [[0, np.nan, 0], [0.01, np.nan, -0.07]])


def test_floats_survive_exactly(tmp_path: Path) -> None:
    value = float(np.nextafter(0.1, 1))
    begin(tmp_path / "hre.jsonl").append("note", 1, value=value)
    assert read_record(tmp_path).events[0].more == {"value": value}


def test_a_new_run_moves_the_old_record_aside(tmp_path: Path) -> None:
    for run in range(3):
        evaluate(begin(tmp_path / "hre.jsonl", model=f"m{run}"), run)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["hre.1.jsonl", "hre.2.jsonl", "hre.jsonl"]
    assert [read_record(tmp_path / f"hre{n}.jsonl").run.model for n in (".1", ".2", "")] == [
        "m0",
        "m1",
        "m2",
    ]
    assert read_record(tmp_path).run.model == "m2"  # the ones moved aside do not make the folder ambiguous


def test_only_the_writer_touches_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "hre.jsonl"
    writer, other = RunRecord(path), RunRecord(path, writer=False)
    other.start(RUN, identity=IDENTITY)
    assert not path.parent.exists()
    writer.start(RUN, identity=IDENTITY)
    other.adopt(writer.lines)
    before = path.read_bytes()
    evaluate(other, 5)
    assert path.read_bytes() == before
    evaluate(writer, 5)
    assert timeless(other.lines) == timeless(writer.lines)


@pytest.mark.parametrize("killed_at", [40, 45, 50, 90])
def test_resumed_equals_uninterrupted(tmp_path: Path, killed_at: int) -> None:
    whole = begin(tmp_path / "whole" / "hre.jsonl")
    for step in range(0, 101, 5):
        evaluate(whole, step)
    path = tmp_path / "killed" / "hre.jsonl"
    dead = begin(path)
    for step in range(0, killed_at + 1, 5):
        evaluate(dead, step)
        dead.append("save", step, reason="best so far")
    resumed = begin(path, resume_step=40, planned_looks=9)
    assert resumed.evaluated(40) and not resumed.evaluated(45)
    for step in range(45, 101, 5):
        evaluate(resumed, step)
    read = read_record(path)
    assert timeless(read.evaluations) == timeless(read_record(tmp_path / "whole").evaluations)
    assert [event.step for event in read.events if event.kind == "save"] == list(range(0, 41, 5))
    (event,) = [event for event in read.events if event.kind == "resumed"]
    assert (event.step, event.dropped, event.changed) == (
        40,
        2 * (killed_at - 40) // 5,
        {"planned_looks": 9},
    )
    assert sorted(tmp_path.glob("killed/*")) == [path]


def test_resumed_with_the_questions_in_another_order(tmp_path: Path) -> None:
    evaluate(begin(tmp_path / "hre.jsonl"), 0)
    order = (2, 0, 1)
    resumed = begin(tmp_path / "hre.jsonl", resume_step=10, questions=[QUESTIONS[i] for i in order])
    evaluate(resumed, 20, order)
    read = read_record(tmp_path)
    assert [question.id for question in read.run.questions] == ["q2", "q0", "q1"]
    np.testing.assert_allclose(read.pearson_matrix()[1], [[0, 0, np.nan], [-0.2, 2 / 70, np.nan]])
    assert [lls[0] for lls in read.evaluations[0].loglikelihoods] == [-3.5, -1.5, -2.5]


@pytest.mark.parametrize(
    ("run", "identity", "shown"),
    [
        ({"fingerprint": "bad"}, {}, ["00c0ffee00c0ffee", "bad"]),
        ({}, {"prompt": "chat"}, ["'prompt': 'paper'", "'prompt': 'chat'"]),
        ({}, {"max_length": 512}, ["'max_length': None", "'max_length': 512"]),
    ],
)
def test_scores_that_do_not_compare_are_refused(tmp_path: Path, run: dict, identity: dict, shown: list[str]) -> None:
    evaluate(begin(tmp_path / "hre.jsonl"), 0)
    before = (tmp_path / "hre.jsonl").read_bytes()
    with pytest.raises(ValueError, match="cannot be continued") as caught:
        RunRecord(tmp_path / "hre.jsonl").start({**RUN, **run}, identity={**IDENTITY, **identity}, resume_step=5)
    for text in [*shown, "another `name`"]:
        assert text in str(caught.value)
    assert (tmp_path / "hre.jsonl").read_bytes() == before


@pytest.mark.parametrize("left", [None, b"", b'{"kind":"run","vers'])
def test_resumed_without_a_record_starts_one_and_says_so(tmp_path: Path, left: bytes | None) -> None:
    if left is not None:
        (tmp_path / "hre.jsonl").write_bytes(left)
    evaluate(begin(tmp_path / "hre.jsonl", resume_step=30), 30)
    read = read_record(tmp_path)
    (event,) = read.events
    assert (event.kind, event.step) == ("resumed", 30) and "starts here" in event.reason
    assert read.evaluations[0].step == 30
    if left is not None:
        assert (tmp_path / "hre.1.jsonl").read_bytes() == left


def test_a_step_is_evaluated_once(tmp_path: Path) -> None:
    record = begin(tmp_path / "hre.jsonl")
    evaluate(record, 10)
    with pytest.raises(ValueError, match="step 10 cannot be recorded: step 10 has been evaluated"):
        evaluate(record, 10)
    assert len(read_record(tmp_path).evaluations) == 1


def test_a_line_cut_anywhere_costs_that_line_only(tmp_path: Path) -> None:
    record = begin(tmp_path / "hre.jsonl")
    for step in (0, 10):
        evaluate(record, step)
    data = (tmp_path / "hre.jsonl").read_bytes()
    last = data[:-1].rindex(b"\n") + 1
    for cut in range(last, len(data) + 1):
        (tmp_path / "hre.jsonl").write_bytes(data[:cut])
        complete = cut >= len(data) - 1  # all of the line, with or without its line break
        assert [line.step for line in read_record(tmp_path).evaluations] == ([0, 10] if complete else [0])
    (tmp_path / "hre.jsonl").write_bytes(data[: last + 9] + b"\0" * 50)  # what a power cut may leave
    evaluate(begin(tmp_path / "hre.jsonl", resume_step=10), 20)
    assert [line.step for line in read_record(tmp_path).evaluations] == [0, 20]


def test_a_full_disk_leaves_no_half_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = begin(tmp_path / "hre.jsonl")
    before = (tmp_path / "hre.jsonl").read_bytes()

    def no_space(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space"):
        patch.setattr(os, "fsync", no_space)
        evaluate(record, 0)
    assert (tmp_path / "hre.jsonl").read_bytes() == before
    evaluate(record, 10)
    assert [line.step for line in read_record(tmp_path).evaluations] == [0, 10]
    assert [line.step for line in record.record.evaluations] == [0, 10]


def test_a_death_while_resuming_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = begin(tmp_path / "hre.jsonl")
    for step in (0, 10, 20):
        evaluate(record, step)
    before = (tmp_path / "hre.jsonl").read_bytes()

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(os, "replace", die)
        begin(tmp_path / "hre.jsonl", resume_step=10)
    assert (tmp_path / "hre.jsonl").read_bytes() == before
    assert [line.step for line in begin(tmp_path / "hre.jsonl", resume_step=10).record.evaluations] == [
        0,
        10,
    ]
    assert [file.name for file in tmp_path.iterdir()] == ["hre.jsonl"]


ASKED = {"id": "a", "topic": "t", "votes": [1, 2], "lengths": [3, 4]}
HEAD = json.dumps({"kind": "run", "version": 1, "fingerprint": "f", "questions": [ASKED]})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{HEAD}\n{{half\n{HEAD}\n", r"line 2: not a line of strict JSON"),
        (f'{HEAD}\n{{"kind":"stop","step":1,"x":NaN}}\n', r"line 2: .*NaN is not JSON"),
        (f"{HEAD}\n[1]\n", r"line 2: expected an object with a 'kind', found \[1\]"),
        (f"{HEAD}\n\n", r"line 2: not a line"),
        (f"{HEAD}\n{HEAD}\n", r"line 2: expected an event, found kind 'run'"),
        ('{"kind":"stop","step":1}\n', r"line 1: expected the run line, found kind 'stop'"),
        ('{"kind":"run","version":1}\n', r"line 1: the run line lacks fingerprint, questions"),
        (f'{HEAD}\n{{"kind":"stop"}}\n', r"line 2: the stop line lacks step"),
        (
            HEAD.replace('"version": 1', '"version": 3') + "\n",
            r"line 1: version 3; this package reads up to 2",
        ),
        (
            f'{HEAD}\n{{"kind":"evaluation","step":1,"loglikelihoods":[[-1,-2]],"pearson":[1,0.2]}}\n',
            r"line 2: 'pearson' has 2 values, the run has 1 questions",
        ),
        ("", "no complete line"),
    ],
)
def test_damage_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "hre.jsonl").write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        read_record(tmp_path / "hre.jsonl")
    assert str(tmp_path / "hre.jsonl") in str(caught.value)


def test_the_record_of_hre_follow_is_found_by_the_folder_that_was_followed(tmp_path: Path) -> None:
    (tmp_path / BESIDE).mkdir()
    begin(tmp_path / BESIDE / "hre.jsonl")
    assert is_record(tmp_path) and find_record(tmp_path) == tmp_path / BESIDE / "hre.jsonl"
    # What the run itself recorded comes first.
    begin(tmp_path / "hre.jsonl")
    assert find_record(tmp_path) == tmp_path / "hre.jsonl"


def test_a_folder_must_hold_exactly_one_record(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text('{"text": "other data"}\n')
    with pytest.raises(ValueError, match="no record"):
        read_record(tmp_path)
    begin(tmp_path / "hre.jsonl")
    assert read_record(tmp_path).run.name == "hre"
    begin(tmp_path / "hre_code.jsonl", name="hre_code")
    with pytest.raises(ValueError, match="several records, name one: hre.jsonl, hre_code.jsonl"):
        read_record(tmp_path)
    with pytest.raises(ValueError, match="no such record"):
        read_record(tmp_path / "none.jsonl")


def test_describe_questions() -> None:
    answers = (Answer("no", -1), Answer("y" * 400, 7), Answer("maybe", 0))
    (line,) = describe_questions([Question("a", "w" * 301, answers, topic="beer", cluster="c")])
    assert line == {
        "id": "a",
        "topic": "beer",
        "cluster": "c",
        "question": "w" * 300,
        "best_answer": "y" * 300,
        "votes": [-1, 7, 0],
        "lengths": [2, 400, 5],
    }


def test_most_moved_compares_the_last_look_with_the_first() -> None:
    def told(*looks: list[float | None]) -> Record:
        given = [
            {"step": step, "pearson": rs, "loglikelihoods": [[-10.0 - step, -20.0]] * 3}
            for step, rs in enumerate(looks)
        ]
        return records.of(RUN, given)

    record = told([0.1, 0.9, None], [9, 9, 9], [0.2, 0.1, 0.3])
    columns, rows = most_moved(record)
    assert columns[:5] == ["id", "topic", "question", "best_answer", "votes"] and columns[-1] == "shift"
    assert [row[0] for row in rows] == ["q1", "q0"]  # q2 was undefined at the start
    assert rows[0][4:-1] == ["3, 1", "-1.000, -1.000", "-1.200, -1.000", 0.9, 0.1]
    assert rows[0][-1] == pytest.approx(-0.8)
    assert len(most_moved(record, limit=1)[1]) == 1
    assert most_moved(told([0.1, 0.2, 0.3]))[1] == []


WRITER = """
import sys, itertools
from hre_callback.run.lines import Line, object_of
from hre_callback.run.record import RunRecord
record = RunRecord(sys.argv[1])
questions = [{"id": f"q{i}", "topic": "t", "votes": [1, 2], "lengths": [3, 4]} for i in range(400)]
record.start({"name": "hre", "fingerprint": "f", "questions": questions}, identity={}, resume_step=int(sys.argv[2]))
first = max([line.step for line in record.record.evaluations], default=-1) + 1
for step in itertools.count(first):
    record.append("evaluation", step, loglikelihoods=[[-step, -1.5]] * 400, pearson=[step / 300] * 400)
    print(step, flush=True)
"""


def write_until_killed(path: Path, resume_step: int, at_least: int) -> int:
    """Run the writer, SIGKILL it after `at_least` evaluations; returns the last step that it had confirmed."""
    command = [sys.executable, "-c", WRITER, str(path), str(resume_step)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        confirmed = [int(process.stdout.readline()) for _ in range(at_least)]
        time.sleep(0.003 * at_least)  # somewhere inside a later line
        os.kill(process.pid, signal.SIGKILL)
        rest = process.stdout.read().split("\n")
    return int(rest[-2]) if len(rest) > 1 else confirmed[-1]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_kill_9_loses_at_most_the_line_in_flight(tmp_path: Path) -> None:
    path = tmp_path / "hre.jsonl"
    resume_step = 0
    for at_least in (1, 3, 5):
        confirmed = write_until_killed(path, resume_step, at_least)
        read = read_record(path)
        steps = [line.step for line in read.evaluations]
        assert steps == list(range(len(steps))) and steps[-1] in (confirmed, confirmed + 1)
        assert all(line.pearson == [line.step / 300] * 400 for line in read.evaluations)
        resume_step = steps[-1] // 2 + 1  # from a checkpoint well before the death
    assert [event.step for event in read.events] != []
