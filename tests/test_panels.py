from __future__ import annotations

import re

import pytest

from hre_callback.panels import describe, draw_marks, run_figure, step_scale
from hre_callback.record import Record
from hre_callback.story import Mark
from hre_callback.svg import Panel, Scale

from .synthetic_records import grpo, healthy, mismatch


def record(lines):
    looks = [line for line in lines if line["kind"] == "evaluation"]
    return Record(lines[0], looks, [line for line in lines[1:] if line["kind"] != "evaluation"])


def test_one_panel_for_people_and_one_for_each_proxy():
    figure = run_figure(record(grpo(6, n=40)))
    assert figure.count('<svg class="panel"') == 4
    assert [key in figure for key in ("train/reward", "train/kl", "train/entropy", "train/loss")] == [
        True
    ] * 3 + [False]
    assert figure.count(">step</text>") == 1, "the x axis is shared"


def test_a_far_ceiling_stands_above_a_marked_break_and_a_near_one_in_place():
    assert "axis broken" in run_figure(record(healthy(4, n=200, ceiling=0.9)))
    near = run_figure(record(healthy(4, n=40, ceiling=0.5)))
    assert "axis broken" not in near and 'class="ceiling"' in near
    assert 'class="ceiling"' not in run_figure(record(healthy(4, n=40, ceiling=None)))


def test_a_humans_own_score_is_a_line_when_it_is_near():
    lines = healthy(4, n=40)
    lines[0]["human_hre"] = 0.4
    assert 'class="human"' in run_figure(record(lines))
    lines[0]["human_hre"] = None
    assert 'class="human"' not in run_figure(record(lines))


def test_a_broken_axis_leaves_the_curve_below_the_break():
    figure = run_figure(record(healthy(4, n=200, ceiling=0.9)))
    band = re.search(r'<path class="band" d="([^"]+)"', figure)[1]
    highest = min(int(y) for y in re.findall(r" (\d+)", band))
    assert highest > 1000 * 36 / 270


def test_the_marks_cross_every_panel():
    one = record(mismatch(8, n=60))
    figure = run_figure(one)
    panels = figure.count('<svg class="panel"')
    assert figure.count('class="mark bad"') == 2 * panels
    assert "part ways, step " in figure and "stopped, step " in figure


def test_marks_take_a_row_each():
    panel = Panel(Scale(0, 10), Scale(0, 1), 50)
    assert draw_marks(panel, [Mark(2, "a", "bad"), Mark(9, "b", "watch")], label=True) == 2
    assert 'text-anchor="start"' in panel.marks[1] and 'text-anchor="end"' in panel.marks[3]


def test_skipped_evaluations_are_on_the_axis():
    lines = [*healthy(4, n=40), {"kind": "skipped", "step": 75, "reason": "out of memory"}]
    assert 'class="skip" x="50.00%"' in run_figure(record(lines))


def test_other_runs_widen_the_axis_and_are_named():
    short, long = record(healthy(4, n=40)), record(healthy(9, n=40, seed=1))
    assert step_scale(short, [("long", long)]).high == 400
    figure = run_figure(short, [("long", long), ("a run with a long name", short)])
    assert ">long</text>" in figure and ">a run wit…</text>" in figure
    assert 'class="other other-1"' in figure


@pytest.mark.parametrize("looks", [0, 1])
def test_hardly_any_look(looks):
    figure = run_figure(record(healthy(3, n=40)[: 1 + looks]))
    assert "nan" not in figure.lower()
    assert ("start</text>" in figure) == (looks == 1)


def test_the_description_says_the_curve():
    words = describe(record(healthy(4, n=40)))
    assert re.fullmatch(
        r"HumanRankEval from \S+ at the start to \S+ at step 150, highest \S+ at step \d+; human ceiling 0\.71\.",
        words,
    )
    assert describe(record(healthy(4, n=40)[:1])) == "HumanRankEval: no score yet."
