"""What the main figure shows, as values: page, PNG and terminal draw nothing else."""

from __future__ import annotations

import io
import math
import re

import pytest
from rich.console import Console

from hre_callback.views import figure as module
from hre_callback.views.figure import Band, Curve, Dot, Rule, main_figure, step_scale
from hre_callback.views.png import chart
from hre_callback.views.reading import Mark, Reading
from hre_callback.views.svg import draw
from hre_callback.views.terminal import frame

from .. import records
from ..synthetic_records import flat, grpo, healthy, mismatch, reading
from .test_signals import pushed


def shown(lines, *others):
    return main_figure(reading(lines), others)


def layers(panel, kind, role):
    return [layer for layer in panel.layers if isinstance(layer, kind) and layer.role == role]


def rule(lines, role):
    (people, *_) = shown(lines).panels
    return next(iter(layers(people, Rule, role)), None)


def test_one_panel_for_people_and_one_for_each_proxy():
    figure = shown(grpo(6, n=40))
    assert [panel.name for panel in figure.panels] == ["HRE", "reward", "KL from the start", "entropy"]
    assert [panel.about for panel in figure.panels[1:]] == [
        "train/reward, higher is the goal",
        "train/kl",
        "train/entropy",
    ]
    assert [panel.goal for panel in figure.panels] == ["higher", "higher", "", ""]
    assert (figure.x.low, figure.x.high) == (0, 125)


def test_the_curves_are_the_record():
    one = reading(healthy(5, n=40))
    people, loss = main_figure(one).panels[:2]
    assert people.curve == Curve("score", [0, 50, 100, 150, 200], one.score)
    (interval,) = layers(people, Band, "interval")
    assert (interval.low, interval.high) == one.interval
    (paired,) = layers(people, Band, "paired")
    assert (paired.low, paired.high) == one.paired and paired.fine
    assert math.isnan(loss.curve.values[0]) and loss.curve.values[1:] == one.signal("eval/loss")[1:]


def test_a_far_ceiling_stands_beyond_a_break_in_the_axis_and_a_near_one_in_place():
    far = rule(healthy(4, n=200, ceiling=0.9), "ceiling")
    assert far.beyond and far.y == 0.9
    near = rule(healthy(4, n=40, ceiling=0.5), "ceiling")
    assert not near.beyond and near.name == "human ceiling"
    assert rule(healthy(4, n=40, ceiling=None), "ceiling") is None


def test_the_axis_holds_what_is_in_place():
    (people, *_) = shown(healthy(4, n=40, ceiling=0.5)).panels
    drawn = [v for layer in people.layers if isinstance(layer, Band) for v in (*layer.low, *layer.high)]
    assert people.axis.low < min(drawn) and people.axis.high > max([0.5, *drawn]) and not people.beyond
    (people, *_) = shown(healthy(4, n=200, ceiling=0.9)).panels
    assert people.axis.high < 0.9 and [line.y for line in people.beyond] == [0.9]


def rated(lines, hre, low, high, people):
    told = {
        "human_hre": hre,
        "human_hre_low": low,
        "human_hre_high": high,
        "human_hre_n": 30,
        "human_hre_people": people,
    }
    return [{**lines[0], **told}, *lines[1:]]


def test_peoples_own_score_is_a_line_wherever_it_lies():
    """Near the curve in place, far above it beyond the break, far below it the axis reaches down."""
    lines = healthy(4, n=40)
    for human, beyond in ((0.4, False), (0.95, True), (-0.4, False)):
        line = rule(rated(lines, human, human - 0.1, human + 0.1, 2), "human")
        assert (line.y, line.beyond, line.name, line.label) == (human, beyond, "2 people", "2 people")
        (people, *_) = shown(rated(lines, human, None, None, 2)).panels
        assert beyond or people.axis.low < human < people.axis.high
    assert rule(rated(lines, None, None, None, 0), "human") is None
    # A record from before people were counted.
    lines[0]["human_hre"] = 0.4
    assert rule(lines, "human").label == "a human"


def test_the_interval_of_people_is_a_band_as_far_as_the_panel_goes():
    lines = healthy(4, n=40, ceiling=None)
    (people, *_) = shown(rated(lines, 0.4, 0.38, 5.0, 2)).panels
    (band,) = (layer for layer in people.layers if isinstance(layer, Band) and layer.role == "human")
    assert band.low == [0.38, 0.38] and band.high == [people.axis.high] * 2 and band.at == [0, 150]
    for low, high in ((None, None), (0.9, 0.99)):
        (people, *_) = shown(rated(lines, 0.95, low, high, 2)).panels
        assert not [layer for layer in people.layers if isinstance(layer, Band) and layer.role == "human"]


def test_people_stand_in_the_words_around_the_figure():
    figure = shown(rated(healthy(4, n=40), 0.95, 0.9, 0.99, 12))
    words = "people themselves 0.950 (95 % 0.900 to 0.990), 12 people on 30 questions"
    assert words in figure.about and words in figure.panels[0].description
    assert "people themselves" not in shown(healthy(4, n=40)).about


def test_ceiling_and_people_stand_beyond_one_break_the_highest_on_top():
    figure = draw(shown(rated(healthy(4, n=200, ceiling=0.9), 0.8, 0.7, 0.85, 3)))
    assert figure.count("axis broken") == 1
    heights = [float(re.search(rf'<line class="{role}"[^>]+ y1="([^"]+)"', figure)[1]) for role in ("ceiling", "human")]
    assert heights[0] < heights[1]
    highest = min(int(y) for y in re.findall(r" (\d+)", re.search(r'<path class="band" d="([^"]+)"', figure)[1]))
    assert highest > 1000 * (36 + 15) / 270


def test_zero_is_a_line_where_the_axis_has_it():
    lines = flat(4, n=40)
    assert rule(lines, "zero") is None or rule(lines, "ceiling") is not None
    for look in lines[1:5]:
        for key in ("score", "ci_low", "ci_high"):
            look["metrics"][f"hre/{key}"] -= 0.1
    assert rule(lines, "zero").y == 0


def test_start_best_and_now_are_marked_once_each():
    (people, *_) = shown(mismatch(8, n=60)).panels
    assert [layer.role for layer in people.layers if isinstance(layer, Dot)] == ["start", "best", "now"]
    start, best, now = (layer for layer in people.layers if isinstance(layer, Dot))
    assert start.label == "" and best.label.startswith("highest ") and now.label.endswith(" now")
    assert people.first == f"{start.y:.3f}" and now.label == f"{people.now} now"
    (people, *_) = shown(healthy(3, n=40)[:2]).panels
    assert rule(healthy(3, n=40)[:2], "start").label == f"{people.first} start"


def test_a_broken_axis_leaves_the_curve_below_the_break():
    figure = draw(shown(healthy(4, n=200, ceiling=0.9)))
    assert "axis broken" in figure
    band = re.search(r'<path class="band" d="([^"]+)"', figure)[1]
    highest = min(int(y) for y in re.findall(r" (\d+)", band))
    assert highest > 1000 * 36 / 270


def test_skipped_evaluations_are_on_the_axis():
    lines = [*healthy(4, n=40), {"kind": "skipped", "step": 75, "reason": "out of memory"}]
    assert [(skip.step, skip.reason) for skip in shown(lines).skipped] == [(75, "out of memory")]
    assert 'class="skip" x="50.00%"' in draw(shown(lines))


def test_other_runs_widen_the_axis_and_are_named():
    short, long = reading(healthy(4, n=40)), reading(healthy(9, n=40, seed=1))
    assert step_scale(short, [("long", long)]).high == 400
    figure = main_figure(short, [("long", long), ("a run with a long name", short)])
    others = layers(figure.panels[0], Curve, "other")
    assert [(one.label, one.turn) for one in others] == [("long", 0), ("a run with a long name", 1)]
    for panel in figure.panels[1:]:
        beside = layers(panel, Curve, "other")
        assert [one.turn for one in beside] == [0, 1] and panel.curve.role == "proxy"
    loss = figure.panels[2]
    assert layers(loss, Curve, "other")[0].values == long.signal("train/loss"), "same signal, other run"


@pytest.mark.parametrize("looks", [0, 1])
def test_hardly_any_look(looks):
    figure = shown(healthy(3, n=40)[: 1 + looks])
    assert len(figure.panels) == 1 and figure.x.high > figure.x.low
    assert figure.panels[0].axis.high > figure.panels[0].axis.low
    assert bool(layers(figure.panels[0], Rule, "start")) == (looks == 1)


def test_fewer_than_three_values_of_a_signal_are_words_and_no_panel():
    one = main_figure(reading(healthy(4, n=40)[:4]))
    assert [panel.name for panel in one.panels] == ["HRE"]
    assert one.told[0].description == "evaluation loss (eval/loss) from 1.954 to 1.81, 2 evaluations"
    assert one.told[0].description in draw(one) and "evaluation loss" in seen_in_terminal(one)
    first = main_figure(reading(healthy(4, n=40)[:3]))
    assert first.told[0].description == "evaluation loss (eval/loss) 1.954, 1 evaluation"


def seen_in_terminal(figure):
    screen = Console(file=io.StringIO(), width=100)
    screen.print(frame(figure, 100))
    return screen.file.getvalue()


def test_the_description_says_the_curve():
    (people, *rest) = shown(healthy(4, n=40)).panels
    assert re.fullmatch(
        r"HumanRankEval from \S+ at the start to \S+ at step 150, highest \S+ at step \d+; human ceiling 0\.71\.",
        people.description,
    )
    assert rest[0].description == "evaluation loss (eval/loss) from 1.954 to 1.7, 3 evaluations"
    assert shown(healthy(4, n=40)[:1]).panels[0].description == "HumanRankEval: no score yet."


def test_a_mark_a_band_and_a_line_added_here_are_seen_in_page_picture_and_terminal(monkeypatch):
    """One place for each: nobody decides anew what there is to see."""
    chart = pytest.importorskip("hre_callback.views.png").chart
    pytest.importorskip("matplotlib")
    one = reading(healthy(5, n=40))
    before = main_figure(one)
    score = module._score

    def more(reading):
        yield Band("interval", [0, 200], [0.0, 0.0], [0.4, 0.4])
        yield from score(reading)
        yield Curve("other", [0, 200], [0.05, 0.3], "a new curve")

    monkeypatch.setattr(module, "_score", more)
    one.__dict__["marks"] = [Mark(100, "a new mark", "watch")]
    after = main_figure(one)

    def seen(figure):
        screen = Console(file=io.StringIO(), width=100)
        screen.print(frame(figure, 100))
        first = chart(figure).axes[0]
        words = [text.get_text() for text in first.texts]
        return draw(figure), words, len(first.collections), screen.file.getvalue()

    (page, _, bands, text), (page_now, words_now, bands_now, text_now) = seen(before), seen(after)
    assert page_now.count('class="band"') == page.count('class="band"') + 1 and bands_now == bands + 1
    assert text_now.count("░") > text.count("░")
    assert "a new mark, step 100" in page_now and "a new mark, step 100" in words_now
    assert "a new mark at step 100" in text_now
    assert "a new cur…" in page_now and "a new curve" in words_now


def test_a_short_signal_is_drawn_beside_a_longer_one_of_another_run():
    """A run that stopped early is compared by its signals too: two values alone would be a line of text."""

    def run(looks):
        made = [{"step": 4 * i, "proxies": {"train/loss": 3.0 - i} if i else {}} for i in range(looks)]
        return Reading(records.of(looks=made))

    short, longer = run(3), run(4)
    assert [panel.name for panel in main_figure(short).told] == ["training loss"]
    figure = main_figure(short, [("other", longer)])
    assert figure.told == [] and [panel.name for panel in figure.panels] == ["HRE", "training loss"]


def test_push_is_a_panel_of_its_own_with_its_interval_and_zero_from_three_looks_on():
    figure = shown(pushed(grpo(6, n=40), 0.05, 0.01, -0.04))
    assert [panel.name for panel in figure.panels[:3]] == ["HRE", "push", "reward"]
    push = figure.panels[1]
    assert push.curve.values[1:4] == [0.05, 0.01, -0.04] and (push.first, push.now) == ("+0.050", "−0.040")
    (band,), (zero,) = layers(push, Band, "interval"), layers(push, Rule, "zero")
    assert band.low[1:4] == pytest.approx([0.03, -0.01, -0.06]) and zero.y == 0 and not zero.fine
    assert push.axis.low < -0.06 and push.axis.high > 0.07
    assert push.description == "Push from +0.050 to −0.040 at step 75 (95 % −0.060 to −0.020)"
    assert "push" not in [panel.name for panel in shown(pushed(grpo(6, n=40), 0.05, 0.01)).panels]


def test_all_three_drawers_show_the_push():
    figure = shown(pushed(grpo(6, n=40), 0.05, 0.01, -0.04, -0.05, -0.06))
    drawn = draw(figure)
    assert "Push from +0.050 to −0.060" in drawn
    assert drawn.count('class="zero"') == draw(shown(grpo(6, n=40))).count('class="zero"') + 1
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(frame(figure))
    assert re.search(r"push +higher +\+0.050 +−0.060", console.export_text())
    axes = chart(figure).axes[1]
    assert "push" in axes.get_title(loc="left")
    assert [0.0, 0.0] in [list(line.get_ydata()) for line in axes.lines]
    # It stands between two curves' hairlines, not among the labels at the end.
    assert "" not in [text.get_text() for text in axes.texts]
