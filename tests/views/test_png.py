from __future__ import annotations

import subprocess
import sys

import pytest

from hre_callback.views import png as module
from hre_callback.views.figure import main_figure
from hre_callback.views.png import chart, chart_png

from ..synthetic_records import flat, grpo, healthy, mismatch, reading

pytest.importorskip("matplotlib", reason="the chart is an optional extra")


def shown(lines, *others):
    return main_figure(reading(lines), others)


def words(figure):
    found = [text.get_text() for text in figure.texts]
    for ax in figure.axes:
        found += [text.get_text() for text in ax.texts] + [ax.get_title(loc="left")]
    return found


def test_people_above_their_proxies_on_one_axis():
    figure = chart(shown(grpo(6, n=40)))
    first, *proxies = figure.axes
    assert [ax.get_title(loc="left").split()[0] for ax in proxies] == ["reward", "KL", "entropy"]
    assert all(ax.get_xlim() == first.get_xlim() == (0, 125) for ax in proxies)
    assert all(ax.get_shared_x_axes().joined(first, ax) for ax in proxies)


def test_verdict_numbers_n_and_fingerprint_are_written_on_it():
    said = " ".join(words(chart(shown(mismatch(8, n=60)))))
    assert "Training objective and people part ways since step" in said
    assert "n = 60 questions" in said and "3f9a1c0b7e5d2846" in said and "paired 95 % " in said
    assert "part ways, step" in said and "stopped, step" in said and "human ceiling" in said and "start" in said


def test_the_curve_is_the_record():
    one = reading(healthy(5, n=40))
    lines = [line for line in chart(main_figure(one)).axes[0].lines if list(line.get_xdata()) == [0, 50, 100, 150, 200]]
    assert [list(line.get_ydata()) for line in lines] == [[look.metrics["hre/score"] for look in one.looks]]


def test_ceiling_in_place_or_above_a_break():
    assert "axis broken" in words(chart(shown(healthy(4, n=200, ceiling=0.9))))
    near = chart(shown(healthy(4, n=40, ceiling=0.5)))
    assert "axis broken" not in words(near)
    assert near.axes[0].get_ylim()[1] >= 0.5
    assert "human ceiling" not in words(chart(shown(healthy(4, n=40, ceiling=None))))


def test_a_humans_own_score_is_a_line_when_it_is_near():
    lines = healthy(4, n=40)
    lines[0]["human_hre"] = 0.4
    assert "a human" in words(chart(shown(lines)))


def test_others_are_drawn_and_named():
    figure = chart(shown(healthy(4, n=40), ("flat", reading(flat(4, n=40)))))
    assert "flat" in words(figure)


@pytest.mark.parametrize("looks", [0, 1, 2])
def test_few_looks(looks):
    assert chart_png(shown(healthy(3, n=30)[: 1 + looks])).startswith(b"\x89PNG")


def test_missing_values_skips_and_dollar_signs():
    lines = [*mismatch(5, n=30), {"kind": "skipped", "step": 50, "reason": "oom"}]
    lines[0]["model"] = "a_$b$ \\frac{"
    lines[3]["metrics"] |= {"hre/score": None, "hre/ci_low": None, "hre/ci_high": None}
    lines[3]["proxies"] = {}
    assert chart_png(shown(lines)).startswith(b"\x89PNG")


def test_whatever_the_process_has_set_the_picture_is_the_same_and_the_settings_stay():
    import matplotlib

    expected = chart_png(shown(healthy(3, n=30)))
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "lines.linewidth": 9}):
        before = dict(matplotlib.rcParams)
        assert chart_png(shown(healthy(3, n=30))) == expected
        assert dict(matplotlib.rcParams) == before


def test_no_trace_in_a_process_that_trains():
    code = """
import random, sys
import numpy as np
from tests.synthetic_records import healthy
from tests.views.test_png import shown
from hre_callback.views.png import chart_png
figure = shown(healthy(3, n=30))
random.seed(0), np.random.seed(0)
before = random.getstate(), np.random.get_state()[1].tolist()
chart_png(figure)
assert (random.getstate(), np.random.get_state()[1].tolist()) == before
assert "matplotlib.pyplot" not in sys.modules and "torch" not in sys.modules
import matplotlib
assert matplotlib.rcParams._get_backend_or_none() is None
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_importing_it_needs_no_matplotlib():
    code = f"import sys; import {module.__name__}; assert 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
