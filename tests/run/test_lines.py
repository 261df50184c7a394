"""Records are believed at no depth: whatever stands on a line is used as it should be or refused in one sentence."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from hre_callback.run import comparison, score_files
from hre_callback.run.record import is_record, read_record
from hre_callback.views.report import render, write_report
from hre_callback.views.terminal import watch

from ..synthetic_records import mismatch, write


def lines_of_a_run() -> list[dict[str, Any]]:
    """A record with every field that the package reads."""
    lines = mismatch(looks=3, n=4, topics=("python", "java"))
    lines[0] |= {
        "identity": {"prompt": "paper", "normalization": "characters", "max_length": None},
        "human_hre": 0.4, "human_hre_low": 0.3, "human_hre_high": 0.5, "human_hre_n": 4, "human_hre_people": 2, "rounding": 1e-6, "run_name": "r", "rewards": {"r": [[1.0] * 4] * 4},
        "overlap": {"questions": ["q1"], "n": 1, "rows": 5, "of": 10, "unchecked": "no"},
        "directions": {"train/loss": "down"},
    }  # fmt: skip
    for line in lines[1:4]:
        line["divisors"], line["lengths"] = [[5.0] * 4] * 4, [[5] * 4] * 4
    rest = lines[4:]
    events = [
        {"kind": "skipped", "step": 50, "reason": "no memory"},
        {"kind": "save", "step": 50, "reason": "best"},
        {"kind": "resumed", "step": 50, "dropped": 2, "changed": {"planned_looks": 9}},
        {"kind": "reward_failed", "step": 0, "reason": "r"},
    ]
    rest[-1]["tracker_errors"] = ["W&B: gone"]
    return json.loads(json.dumps([*lines[:4], *events, *rest]))


LINES = lines_of_a_run()


def use(path: Path) -> str | None:
    """What every reader makes of a record: None when all can use it, else the sentence that all refuse it with."""
    said = set()
    for reader in READERS:
        try:
            reader(path)
            said.add(None)
        except ValueError as error:
            assert not isinstance(error, UnicodeError), error
            said.add(str(error))
    # One reading of the lines: what stands on them is refused by all or by none; a report wants more of a question.
    of_lines = {text for text in said if text and ", line " in text and " is missing" not in text}
    assert not of_lines or said == of_lines
    return next(iter(said - {None}), None)


def report(path: Path) -> None:
    record = read_record(path, described=True)
    render(record, others=[("other", record)])


def follow(path: Path) -> None:
    with open(os.devnull, "w") as sink:
        watch(path, once=True, console=Console(file=sink, width=100))


def compare(path: Path) -> None:
    record = read_record(path)
    scores = score_files.read_scores(path)
    comparison.compare_scores(scores, scores)
    comparison.compare_series(record, str(path))


READERS = (report, follow, compare)


def paths(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a JSON value; of a list only the first and the last item."""
    yield at
    if isinstance(value, dict):
        for key in value:
            yield from paths(value[key], (*at, key))
    elif isinstance(value, list):
        for i in sorted({0, len(value) - 1} - {-1}):
            yield from paths(value[i], (*at, i))


VALUES = {
    "null": None, "text": "x", "list": [], "deep": [[{"a": [1]}]], "object": {}, "huge": 10**400, "float": 1e308, "true": True,
    "zero": 0, "minus": -1, "half": 0.5, "number as text": "0.5", "nested text": ["x"],
}  # fmt: skip
RAW = {
    "NaN": "NaN",
    "Infinity": "-Infinity",
    "1e999": "1e999",
    "digits": "9" * 5000,
    "[[[": "[" * 5000 + "]" * 5000,
}


def changed(at: tuple[Any, ...], change: Any) -> list[dict[str, Any]]:
    lines = copy.deepcopy(LINES)
    holder = lines
    for key in at[:-1]:
        holder = holder[key]
    if change is DELETED:
        del holder[at[-1]]
    else:
        holder[at[-1]] = change
    return lines


DELETED = object()


def spoil(path: Path, at: tuple[Any, ...], change: Any, raw: str | None = None) -> Path:
    text = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in changed(at, change))
    path.write_text(text.replace('"<raw>"', raw) if raw else text)
    return path


def test_the_record_itself_is_used_by_all(tmp_path: Path) -> None:
    assert use(write(LINES, tmp_path / "hre.jsonl")) is None


@pytest.mark.parametrize("name", [*VALUES, *RAW, "deleted"])
def test_no_value_at_any_place_gives_a_traceback(tmp_path: Path, name: str) -> None:
    path = tmp_path / "hre.jsonl"
    for at in list(paths(LINES))[1:]:
        change = DELETED if name == "deleted" else "<raw>" if name in RAW else VALUES[name]
        said = use(spoil(path, at, change, RAW.get(name)))
        if said is not None and ", line " in said:
            # A list that has become shorter is noticed where it is held against another one.
            assert f"{path}, line {at[0] + 1}: " in said or name in ("deleted", "zero", "huge")
            assert "\n" not in said and len(said) < len(str(path)) + 300, said


def spoiled(name: str) -> tuple[tuple[Any, ...], Any]:
    return {
        "version_str": ((0, "version"), "1"),
        "version_null": ((0, "version"), None),
        "questions_null": ((0, "questions"), None),
        "questions_empty": ((0, "questions"), []),
        "question_lacks_topic": ((0, "questions", 0, "topic"), DELETED),
        "question_lacks_votes": ((0, "questions", 0, "votes"), DELETED),
        "question_null": ((0, "questions", 0), None),
        "votes_empty": ((0, "questions", 0, "votes"), []),
        "votes_str": ((0, "questions", 0, "votes", 0), "3"),
        "id_int": ((0, "questions", 0, "id"), 3),
        "id_twice": ((0, "questions", 0, "id"), "q1"),
        "config_list": ((0, "config"), []),
        "alpha_str": ((0, "config", "alpha"), "0.05"),
        "consecutive_0": ((0, "config", "consecutive"), 0),
        "name_outside": ((0, "name"), "../../x"),
        "planned_looks_0": ((0, "planned_looks"), 0),
        "planned_looks_str": ((0, "planned_looks"), "5"),
        "ceiling_str": ((0, "human_ceiling"), "x"),
        "metrics_list": ((2, "metrics"), []),
        "metric_str": ((2, "metrics", "hre/score"), "0.5"),
        "step_str": ((2, "step"), "2"),
        "step_null": ((2, "step"), None),
        "step_huge": ((2, "step"), 10**30),
        "step_float": ((2, "step"), 2.0),
        "step_minus": ((2, "step"), -1),
        "steps_unordered": ((3, "step"), 1),
        "steps_duplicate": ((3, "step"), LINES[2]["step"]),
        "pearson_int": ((2, "pearson"), 1),
        "pearson_2": ((2, "pearson", 0), 2.0),
        "pearson_str_items": ((2, "pearson", 0), "0.5"),
        "pearson_true": ((2, "pearson", 0), True),
        "pearson_short": ((2, "pearson"), [0.1]),
        "loglikelihoods_ragged": ((2, "loglikelihoods", 0), [-1.0]),
        "divisors_zero": ((2, "divisors", 0, 0), 0),
        "proxies_str": ((2, "proxies"), "x"),
        "verdict_list": ((2, "verdict"), ["watch"]),
        "event_step_str": ((4, "step"), "x"),
        "event_step_null": ((4, "step"), None),
        "event_reason_object": ((4, "reason"), {}),
        "summary_list": ((-1, "summary"), []),
        "kind_list": ((4, "kind"), []),
        "line_list": ((4,), []),
    }[name]  # fmt: skip


@pytest.mark.parametrize("name", [
    "version_str", "version_null", "questions_null", "questions_empty", "question_lacks_topic", "question_lacks_votes",
    "question_null", "votes_empty", "votes_str", "id_int", "id_twice", "config_list", "alpha_str", "consecutive_0",
    "name_outside", "planned_looks_0", "planned_looks_str", "ceiling_str", "metrics_list", "metric_str", "step_str", "step_null",
    "step_huge", "step_float", "step_minus", "steps_unordered", "steps_duplicate", "pearson_int", "pearson_2",
    "pearson_str_items", "pearson_true", "pearson_short", "loglikelihoods_ragged", "divisors_zero", "proxies_str",
    "verdict_list", "event_step_str", "event_step_null", "event_reason_object", "summary_list", "kind_list", "line_list",
])  # fmt: skip
def test_what_no_reader_can_use_is_refused_with_file_line_and_field(tmp_path: Path, name: str) -> None:
    at, change = spoiled(name)
    path = spoil(tmp_path / "hre.jsonl", at, change)
    with pytest.raises(ValueError) as error:
        write_report(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    said = str(error.value)
    assert said.startswith(f"{path}, line {at[0] % len(LINES) + 1}: ") and "\n" not in said
    field = next((key for key in reversed(at) if isinstance(key, str)), "kind")
    assert field in said


def test_nested_fields_are_named_with_their_place(tmp_path: Path) -> None:
    said = use(spoil(tmp_path / "hre.jsonl", (0, "questions", 3, "votes", 1), "many"))
    assert said is not None
    assert said.endswith("line 1: questions[3].votes[1]: found 'many', expected a finite number")
    said = use(spoil(tmp_path / "hre.jsonl", (2, "metrics", "hre/score"), [1]))
    assert said is not None and said.endswith("line 3: metrics['hre/score']: found [1], expected a finite number")


def test_what_a_later_version_may_add_is_passed_over(tmp_path: Path) -> None:
    lines = copy.deepcopy(LINES)
    lines[0] |= {"new": [{"a": None}]}
    lines[0]["config"] |= {"layout": "a new one", "new_option": [1]}
    lines[2] |= {"new": {"b": 1}}
    lines.insert(5, {"kind": "new", "step": 50, "new": 3})
    assert use(write(lines, tmp_path / "hre.jsonl")) is None


@pytest.mark.parametrize("kind", ["folder", "pipe", "link to nowhere", "link to itself", "device", "socket"])
def test_foreign_things_in_the_folder_are_no_obstacle(tmp_path: Path, kind: str) -> None:
    write(LINES, tmp_path / "hre.jsonl")
    foreign = tmp_path / "aaa.jsonl"
    if kind == "folder":
        foreign.mkdir()
    elif kind == "pipe":
        os.mkfifo(foreign)
    elif kind == "socket":
        import socket

        with socket.socket(socket.AF_UNIX) as one:
            one.bind(os.path.relpath(foreign))
    else:
        foreign.symlink_to({"link to nowhere": "no", "link to itself": "aaa.jsonl", "device": "/dev/zero"}[kind])
    assert is_record(tmp_path) and use(tmp_path) is None
    assert not is_record(foreign)
    with pytest.raises(ValueError, match="no such record"):
        read_record(foreign) if kind != "folder" else read_record(foreign / "hre.jsonl")


def test_reading_a_large_record_stays_quick(tmp_path: Path) -> None:
    """7,000 questions with four answers each: checking costs no more than reading."""
    import time

    path = write(mismatch(looks=2, n=7000), tmp_path / "hre.jsonl")

    def seconds(work: Callable[[], object]) -> float:
        """The least of three: a collection of garbage may fall into any one."""
        spent = []
        for _ in range(3):
            began = time.process_time()
            work()
            spent.append(time.process_time() - began)
        return min(spent)

    reading = seconds(lambda: [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]])
    assert seconds(lambda: read_record(path)) < 4 * reading + 0.05
