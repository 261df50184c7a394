from __future__ import annotations

import math
import re

import pytest

from hre_callback.views.scale import Scale
from hre_callback.views.small_figures import (
    Line,
    change_row,
    dumbbell,
    kl_figure,
    lines_figure,
    rolling_figure,
    thermometer,
    topic_sparkline,
    triangle,
)

from ..synthetic_records import grpo, healthy, reading

NAN = math.nan


def test_thermometer_runs_from_chance_to_the_ceiling():
    drawn = thermometer(reading(healthy(4, n=40, ceiling=0.71)))
    assert "0 no agreement" in drawn and "0.71 human ceiling" in drawn and "now</text>" in drawn
    assert "1 perfect" in thermometer(reading(healthy(4, n=40, ceiling=None)))
    assert thermometer(reading(healthy(4, n=40)[:1])) == ""


def test_thermometers_beside_each_other_have_one_scale():
    low, high = (reading(healthy(3, n=20, seed=seed)) for seed in (1, 2))
    low.looks[-1].metrics["hre/ci_low"] = -0.9
    assert thermometer(high) != thermometer(high, [low])
    zero = re.search(r'x="([\d.]+%)"[^>]*>0 no agreement', thermometer(high, [low]))[1]
    assert zero == re.search(r'x="([\d.]+%)"[^>]*>0 no agreement', thermometer(low, [high]))[1]


def test_people_have_a_mark_of_their_own_on_the_unbroken_scale():
    lines = healthy(4, n=40)
    lines[0] |= {"human_hre": 0.65, "human_hre_people": 3}
    drawn = thermometer(reading(lines))
    assert 'class="human"' in drawn and "3 people 0.650" in drawn
    assert 'class="human"' not in thermometer(reading(healthy(4, n=40)))
    near = reading([lines[0] | {"human_hre": reading(lines).metric("score")[-1]}, *lines[1:]])
    assert "3 people" not in thermometer(near), "its words would lie over those of the score"


def test_kl_starts_at_zero_and_follows_training():
    made = kl_figure(reading(grpo(6, n=40)), "train/kl")
    assert 'class="hollow" cx="0.00%"' in made.drawn and "√KL" in made.drawn
    assert [row[0] for row in made.numbers.rows] == ["0", "25", "50", "75", "100", "125"]
    assert [column.key for column in made.numbers.columns] == ["", "hre/score", "√ train/kl"]
    assert kl_figure(reading(grpo(6, n=40)[:3]), "train/kl") is None, "two points are no curve"


def test_negative_kl_estimates_leave_a_gap():
    one = reading(grpo(6, n=40))
    one.looks[2].proxies["train/kl"] = -0.01
    made = kl_figure(one, "train/kl")
    assert "nan" not in made.drawn and len(made.numbers.rows) == 5


def test_triangle_names_its_corners_and_shows_both_times():
    drawn = triangle([0.2, 0.3, NAN], [0.1, -0.2, NAN])
    assert all(f">{corner}</text>" in drawn for corner in ("people", "model", "reward"))
    assert "was 0.20" in drawn and "was 0.30" in drawn and drawn.count("was") == 2
    assert 'class="edge-worse"' in drawn and 'class="edge-none"' in drawn
    assert 'aria-label="Correlations: people and model 0.10, people and reward −0.20, model and reward –"' in drawn


@pytest.mark.parametrize(
    ("low", "high", "css"),
    [(0.1, 0.3, "better"), (-0.3, -0.1, "worse"), (-0.1, 0.2, "unclear"), (NAN, NAN, "unclear")],
)
def test_a_change_is_coloured_only_when_clear_of_zero(low, high, css):
    delta = 0.05 if math.isnan(low) else (low + high) / 2
    assert f'circle class="{css}"' in change_row(delta, low, high, Scale(-0.5, 0.5))


def test_unknown_change_has_no_dot():
    assert "circle" not in change_row(NAN, NAN, NAN, Scale(-0.5, 0.5))


def test_dumbbell_points_the_right_way():
    assert 'circle class="worse" cx="25.00%"' in dumbbell(0.5, -0.5)
    assert 'circle class="better" cx="75.00%"' in dumbbell(-0.5, 0.5)


def test_small_curves():
    one = reading(grpo(8, n=40))
    rolling = rolling_figure(one, one.proxy("train/reward"))
    assert "last Kendall" in rolling.drawn and len(rolling.numbers.rows) == 3, "from the sixth look on"
    curves = [Line("up", "a/up", [0.0, 1.0] * 4, "score"), Line("gone", "a/gone", [NAN] * 8, "thin")]
    lines = lines_figure(one, curves, "words", zero=True)
    assert ">up</text>" in lines.drawn and ">gone</text>" not in lines.drawn
    assert lines.numbers.rows[1] == ["25", "+1.000", "–"]
    assert 'role="img"' in topic_sparkline(one, "java") and topic_sparkline(reading(grpo(8, n=40)[:3]), "java") == ""
