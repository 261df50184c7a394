"""Tables and chart of replayed runs: what they say, in every state of knowledge, of names from anywhere."""

from __future__ import annotations

import json
import math
import re
import sys

import pytest

from hre_callback.run.detectors import DETECTORS, replayed
from hre_callback.run.replay import Replay, read_runs
from hre_callback.views.detector_chart import _draw, detectors_png
from hre_callback.views.detector_tables import as_json, as_markdown_page, as_text, sorted_runs, tables
from hre_callback.views.png import matplotlib_defaults

from ..recorded_runs import WAYS, recorded, zoo


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return sorted_runs([replayed(run) for run in read_runs(zoo(tmp_path_factory.mktemp("zoo"))).replays])


def named(*names, truth=None):
    record = recorded(WAYS["still"], n=8)
    return [replayed(Replay(name, record, truth)) for name in names]


def cells(lines, first):
    row = next(line for line in lines if line.startswith(f"| {first} "))
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]]


def test_the_rates_are_told_with_counts_intervals_and_leads(found):
    lines = as_text(tables(found))
    assert cells(lines, "push")[:4] == ["push", "yes", "0 of 2 (0 to 84 %)", "1 of 1 (3 to 100 %)"]
    assert re.fullmatch(r"[+−]?\d \([+−]?\d to [+−]?\d\)", cells(lines, "push")[5])
    assert cells(lines, "KL above 0.3") == ["KL above 0.3", "no", "–", "–", "–", "–", "0"]
    assert "3 runs: 1 harmful, 1 fine, 1 nothing. Intervals are exact, 95 %." in lines
    assert [cells(lines, one.name)[0] for one in DETECTORS] == [one.name for one in DETECTORS]


def test_who_alarms_when_and_the_first_look(found):
    first, alarms, looks = tables(found)
    assert alarms.rows[0][:2] == ("worse", "harmful from 30") and "push" in alarms.rows[0][2]
    steps = [int(part.split()[0]) for part in alarms.rows[0][2].split("; ")]
    assert steps == sorted(set(steps)) and set(steps) <= {10, 20, 30, 40, 50}
    assert looks.rows[0][:3] == ("worse", "harmful", "10") and looks.rows[0][3].startswith("−")
    assert re.search(r"Push is further from 0 than HRE's change in [0-3] of 3 runs", looks.notes[0])
    assert [row[0] for row in alarms.rows] == [row[0] for row in looks.rows] == ["worse", "better", "still"]


def test_without_truth_nobody_is_right_or_wrong():
    lines = as_text(tables(named("mine")))
    assert not any("false alarms" in line or "truth" in line or "bounded" in line for line in lines)
    assert cells(lines, "mine")[0] == "mine" and "Who alarms when" in lines


def test_the_page_of_markdown_holds_rules_and_their_sources(found):
    page = as_markdown_page(tables(found, rules=True))
    assert page.count("## ") == 4 and page.endswith("\n")
    for one in DETECTORS:
        assert f"| {one.name} " in page and one.source in page and one.rule in page
    # What a table is made of stands in none of our own words.
    assert not any("|" in one.name + one.rule + one.source for one in DETECTORS)


HOSTILE = "\x1b[31m|x|\n**b** ![i](http://evil/p.png)<script>\u202e\ud800$\\frac$"


def test_a_run_s_name_is_shown_as_letters():
    runs = named(HOSTILE, "", "x" * 300, truth="fine")
    lines, page = as_text(tables(runs)), as_markdown_page(tables(runs))
    for text in (*lines, page):
        assert "\x1b" not in text and "\u202e" not in text and "\ud800" not in text
    assert not any("\n" in line for line in lines)
    assert "<script>" not in page and not re.search(r"(?<!\\)]\(http", page) and "\\*\\*b" in page
    width = {len(re.findall(r"(?<!\\)\|", line)) for line in page.splitlines() if line.startswith("| \\")}
    assert width <= {4, 6}, "a name adds no cell"
    assert len(detectors_png(runs)) > 10_000


def test_the_chart_shows_each_alarm_where_it_was(found):
    with matplotlib_defaults():
        figure = _draw(found)
    rates, matrix = figure.axes
    assert [label.get_text() for label in rates.get_yticklabels()] == [one.name for one in DETECTORS]
    shown: dict[tuple[int, int], str] = {
        (round(text.get_position()[0]), round(text.get_position()[1])): text.get_text() for text in matrix.texts
    }
    for row, one in enumerate(DETECTORS):
        for column, run in enumerate(found):
            at = run.fires.get(one.name)
            assert shown.get((column, row), "") == ("–" if one.name not in run.fires else "" if at is None else str(at))
    assert {"harmful", "fine", "nothing"} <= {text.get_text() for text in matrix.texts}


def test_the_chart_is_the_same_bytes_again_and_needs_no_truth():
    runs = named("a", "b")
    assert detectors_png(runs) == detectors_png(runs)
    with matplotlib_defaults():
        assert len(_draw(runs).axes) == 1


def test_the_chart_says_in_words_what_it_shows(found):
    assert b"push: false alarms 0 of 2, found 1 of 1; drop_from_start" in detectors_png(found)


def test_more_runs_than_a_picture_holds_are_counted(monkeypatch):
    monkeypatch.setattr("hre_callback.views.detector_chart._MOST", 3)
    runs = named("a") * 13
    with matplotlib_defaults():
        figure = _draw(runs)
    assert any("10 more runs not shown" in text.get_text().replace("\n", " ") for text in figure.texts)


def test_numbers_are_strict_json(found):
    told = json.loads(json.dumps(as_json(found, {"x": "no record"}), allow_nan=False))
    push = next(one for one in told["detectors"] if one["detector"] == "push")
    assert push["found"]["k"] == 1 and push["false_alarms"]["n"] == 2 and push["bounded"] is True
    silent = next(one for one in told["detectors"] if one["detector"] == "KL above 0.3")
    assert silent["lead"] is None and silent["found"] == {"k": 0, "n": 0, "low": None, "high": None}
    run = told["runs"][0]
    assert run["run"] == "worse" and run["harmful_from"] == 30 and run["alarms"]["push"] in run["steps"]
    assert (
        "KL above 0.3" not in run["alarms"] and math.isfinite(run["push_z"]) and told["left_out"] == {"x": "no record"}
    )


def test_without_matplotlib_it_says_what_to_install(found, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.style", None)
    with pytest.raises(ImportError, match="hre-callback\\[report\\]"):
        detectors_png(found)
