from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hre_callback.svg import Panel, Scale, segments, spanning, sparkline, spread, tick_text

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


def test_a_missing_value_breaks_the_curve():
    assert segments([0, 1, 2, 3], [1.0, NAN, 2.0, 3.0]) == [[(0, 1.0)], [(2, 2.0), (3, 3.0)]]
    panel = Panel(Scale(0, 3), Scale(0, 4), 100)
    panel.line([0, 1, 2, 3], [1.0, NAN, 2.0, 3.0], "score")
    assert len(panel.curves) == 1 and panel.curves[0].count("L") == 1  # 2 -> 3 only
    assert len(panel.marks) == 1 and "circle" in panel.marks[0]  # the lone point at 0


def test_positions():
    panel = Panel(Scale(0, 200), Scale(0, 10), 100)
    assert (panel.percent(50), panel.pixel(2.5)) == ("25.00%", 75.0)
    panel.line([0, 200], [0, 10], "score")
    assert 'd="M0 1000L1000 0"' in panel.curves[0]


def test_words_are_escaped():
    panel = Panel(Scale(0, 1), Scale(0, 1), 50)
    panel.text("0%", 5, "<b>&", "label")
    page = panel.render('say "<i>"')
    assert "<b>" not in page and "&lt;b&gt;&amp;" in page
    assert 'aria-label="say &quot;&lt;i&gt;&quot;"' in page


def test_sparkline_of_nothing_is_empty_but_drawn():
    assert "<circle" not in sparkline([NAN, NAN], "none")
    assert 'class="spark-dot"' in sparkline([1.0, 2.0, NAN], "some")
