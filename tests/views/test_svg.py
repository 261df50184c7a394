from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from hre_callback.views.figure import main_figure
from hre_callback.views.reading import Mark
from hre_callback.views.scale import Scale, segments, spanning, spread, tick_text
from hre_callback.views.svg import Canvas, draw, draw_marks, element, sparkline

from ..synthetic_records import grpo, healthy, mismatch, reading

NAN = math.nan


@given(st.floats(-1e5, 1e5), st.floats(1e-4, 1e5), st.integers(3, 8))
def test_ticks_lie_inside_are_evenly_spaced_and_not_too_many(low, span, most):
    scale = Scale(low, low + span)
    ticks = scale.ticks(most)
    assert 1 <= len(ticks) <= most
    assert all(low - 1e-6 * span <= tick <= scale.high + 1e-6 * span for tick in ticks)
    gaps = [b - a for a, b in zip(ticks, ticks[1:], strict=False)]
    assert gaps == pytest.approx([gaps[0]] * len(gaps), rel=1e-3, abs=1e-9) if gaps else True


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, [0, 0.5, 1]),
        (0.11, 0.34, [0.15, 0.2, 0.25, 0.3]),
        (0, 600, [0, 200, 400, 600]),
        (-0.03, 0.02, [-0.02, 0, 0.02]),
    ],
)
def test_ticks_are_round(low, high, expected):
    assert Scale(low, high).ticks(4) == pytest.approx(expected)


def test_steps_have_whole_ticks():
    assert Scale(0, 1).ticks(5, whole=True) == [0, 1]


@pytest.mark.parametrize(
    ("value", "ticks", "text"),
    [
        (0.2, [0.1, 0.2], "0.2"),
        (0.25, [0.2, 0.25], "0.25"),
        (2000, [1000, 2000], "2,000"),
        (-0.5, [-0.5, 0], "−0.5"),
    ]
    + [(-1e-17, [-0.1, 0, 0.1], "0.0"), (1e-7, [0, 1e-7], "1.0e−07")],
)
def test_tick_text_has_the_decimals_that_it_needs(value, ticks, text):
    assert tick_text(value, ticks) == text


@given(st.lists(st.floats(0, 300), max_size=8))
def test_spread_labels_keep_their_order_and_do_not_collide(wanted):
    placed = spread(wanted, 15)
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    for before, after in zip(order, order[1:], strict=False):
        assert placed[after] - placed[before] >= 15 - 1e-6
    assert sum(placed) == pytest.approx(sum(wanted), abs=1e-6)


def test_spread_moves_only_what_collides():
    assert spread([10, 100, 100, 250], 10) == [10, 95, 105, 250]


def test_spanning_ignores_nan_and_never_zooms_into_nothing():
    assert spanning([NAN, 1.0, 3.0], margin=0).low == 1.0
    flat = spanning([0.2, 0.2], margin=0, least=0.02)
    assert (flat.low, flat.high) == pytest.approx((0.19, 0.21))
    assert spanning([]).high > spanning([]).low
    assert spanning([5e8, 5e8]).high > 5e8
    assert all(math.isfinite(v) for v in spanning([-1.7e308, 1.7e308]).ticks())


def test_a_missing_value_breaks_the_curve():
    assert segments([0, 1, 2, 3], [1.0, NAN, 2.0, 3.0]) == [[(0, 1.0)], [(2, 2.0), (3, 3.0)]]
    canvas = Canvas(Scale(0, 3), Scale(0, 4), 100)
    canvas.line([0, 1, 2, 3], [1.0, NAN, 2.0, 3.0], "score")
    assert len(canvas.curves) == 1 and canvas.curves[0].count("L") == 1  # 2 -> 3 only
    assert len(canvas.marks) == 1 and "circle" in canvas.marks[0]  # the lone point at 0


def test_positions():
    canvas = Canvas(Scale(0, 200), Scale(0, 10), 100)
    assert (canvas.percent(50), canvas.pixel(2.5)) == ("25.00%", 75.0)
    canvas.line([0, 200], [0, 10], "score")
    assert 'd="M0 1000L1000 0"' in canvas.curves[0]


def test_words_are_escaped():
    canvas = Canvas(Scale(0, 1), Scale(0, 1), 50)
    canvas.text("0%", 5, "<b>&", "label")
    page = canvas.render('say "<i>"')
    assert "<b>" not in page and "&lt;b&gt;&amp;" in page
    assert 'aria-label="say &quot;&lt;i&gt;&quot;"' in page


def test_sparkline_of_nothing_is_empty_but_drawn():
    assert "<circle" not in sparkline([NAN, NAN], "none")
    assert 'class="spark-dot"' in sparkline([1.0, 2.0, NAN], "some")


def shown(lines, *others):
    return draw(main_figure(reading(lines), others))


def test_the_main_figure_is_a_panel_each_on_one_axis():
    drawn = shown(grpo(6, n=40))
    assert drawn.count('<svg class="panel"') == 4
    assert [key in drawn for key in ("train/reward", "train/kl", "train/entropy", "train/loss")] == [True] * 3 + [False]
    assert drawn.count(">step</text>") == 1, "the x axis is shared"


def test_lines_that_hre_is_held_against_are_drawn():
    assert 'class="ceiling"' in shown(healthy(4, n=40, ceiling=0.5))
    assert 'class="ceiling"' not in shown(healthy(4, n=40, ceiling=None))
    lines = healthy(4, n=40)
    lines[0]["human_hre"] = 0.4
    assert 'class="human"' in shown(lines)


def test_the_marks_cross_every_panel():
    drawn = shown(mismatch(8, n=60))
    assert drawn.count('class="mark bad"') == 2 * drawn.count('<svg class="panel"')
    assert "part ways, step " in drawn and "stopped, step " in drawn


def test_marks_take_a_row_each():
    canvas = Canvas(Scale(0, 10), Scale(0, 1), 50)
    draw_marks(canvas, [Mark(2, "a", "bad"), Mark(9, "b", "watch")], label=True)
    assert 'text-anchor="start"' in canvas.marks[1] and 'text-anchor="end"' in canvas.marks[3]
    assert 'y="0.0"' in canvas.marks[1] and 'y="-15.0"' in canvas.marks[3]


def test_other_runs_are_drawn_and_named():
    one = reading(healthy(4, n=40))
    drawn = shown(healthy(4, n=40), ("long", one), ("a run with a long name", one))
    assert ">long</text>" in drawn and ">a run wit…</text>" in drawn
    assert 'class="other other-1"' in drawn


@pytest.mark.parametrize("looks", [0, 1])
def test_hardly_any_look(looks):
    drawn = shown(healthy(3, n=40)[: 1 + looks])
    assert "nan" not in drawn.lower()
    assert ("start</text>" in drawn) == (looks == 1)


def test_what_is_no_markup_is_escaped_wherever_it_stands():
    made = element("p", "<b>", Markup("<i/>"), class_='"><script>', aria_label="\x1b")
    assert made == '<p class="&quot;&gt;&lt;script&gt;" aria-label="\\x1b">&lt;b&gt;<i/></p>'
    assert isinstance(made, Markup)
