"""The smaller figures of the report as inline SVG: a run's reading or numbers in, markup out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from ..formatting import fixed, short, span
from ..run.keys import mismatch_prefix
from .figure import LEAST_DRAWN, step_scale
from .looks import Looks, Series, chart, over
from .numbers import earliest, finite, latest
from .page import Chart
from .reading import Proxy, Reading
from .scale import Scale, spanning
from .svg import Canvas, anchor_at, draw_marks, element, heading, join, sparkline


def thermometer(reading: Reading, beside: Sequence[Reading] = ()) -> Markup:
    """Where the run stands between no agreement and the human ceiling, on an unbroken scale that holds all `beside`."""
    now, start = reading.now, reading.start
    if now is None:
        return Markup()
    score, low, high = (reading.metric(key)[now] for key in ("score", "ci_low", "ci_high"))
    ceiling = reading.ceiling
    base = reading.score[start] if start is not None else math.nan
    top = ceiling if math.isfinite(ceiling) else 1.0
    people = reading.people
    theirs = (one.current(key) for one in beside for key in ("score", "ci_low", "ci_high"))
    held = finite([score, low, high, base, 0.0, top, people.hre, *theirs])
    canvas = Canvas(Scale(min(held), max(held)), Scale(0, 1), 26)
    canvas.rule_pixel(13, "axis")
    for value, words in (
        (0.0, "0 no agreement"),
        (top, f"{top:.2f} human ceiling" if top == ceiling else "1 perfect"),
    ):
        canvas.rule_x(value, "axis", 8, 18)
        anchor = "end" if value == top else anchor_at(canvas.x.at(value))
        canvas.text(canvas.percent(value), 34, words, "tick", anchor=anchor)
    if math.isfinite(low) and math.isfinite(high):
        canvas.band([low, high], [0.38, 0.38], [0.62, 0.62], "range")
    if math.isfinite(base):
        canvas.dot(base, 0.5, "hollow")
        # There is room between the words at both ends, on a phone too.
        if canvas.x.at(0.0) + 0.42 < canvas.x.at(base) < 0.55:
            canvas.text(canvas.percent(base), 34, "start", "tick", anchor="middle")
    if math.isfinite(people.hre):
        canvas.rule_x(people.hre, "human", 4, 22)
        # The line above is the score's, where it stands near.
        if abs(canvas.x.at(people.hre) - canvas.x.at(score)) > 0.3:
            words, anchor = f"{people.name} {fixed(people.hre)}", anchor_at(canvas.x.at(people.hre))
            canvas.text(canvas.percent(people.hre), 2, words, "label", anchor=anchor)
    canvas.dot(score, 0.5, "now", radius=5)
    canvas.text(canvas.percent(score), 2, f"{fixed(score)} now", "end-now", anchor=anchor_at(canvas.x.at(score)))
    begun = f", {fixed(base)} at the start" if math.isfinite(base) else ""
    words = f"{fixed(score)} now{begun}, on a scale from 0, no agreement, to {top:.2f}"
    return element("div", canvas.render(words, above=18, below=20), class_="thermometer")


def rolling_figure(reading: Reading, one: Proxy) -> Chart:
    """Rolling rank correlation of a proxy with HRE: Kendall solid, Spearman thin."""
    x = step_scale(reading)
    canvas = Canvas(x, Scale(-1.08, 1.08), 96)
    canvas.y_axis(3)
    canvas.rule_y(0, "zero")
    draw_marks(canvas, reading.marks, label=False)
    found = {rank: reading.mismatch(f"{rank}/{one.key}") for rank in ("spearman", "kendall")}
    canvas.line(reading.steps, found["spearman"], "thin")
    canvas.line(reading.steps, found["kendall"], "proxy")
    end = latest(found["kendall"])
    if math.isfinite(end):
        canvas.end_labels([(canvas.pixel(end), fixed(end, signed=True, digits=2), "end-proxy")])
    canvas.x_axis("step", 4)
    words = f"Rolling rank correlation of {one.label} with HRE, last Kendall {fixed(end, digits=2)}"
    prefix = mismatch_prefix(reading.name)
    series = [
        Series(rank.title(), f"{prefix}{rank}/{one.key}", [_signed(value) for value in numbers])
        for rank, numbers in reversed(found.items())
    ]
    looks = _at_steps(reading, x, series)
    return chart(_plot(heading(one.label, one.about), canvas.render(words, below=30), over(looks, words)), looks)


def kl_figure(reading: Reading, key: str) -> Chart | None:
    """HRE against the square root of the KL divergence, in the order of training; `None` for hardly any points."""
    score = reading.score
    kl = list(reading.signal(key))
    start = reading.start
    if start is not None and not math.isfinite(kl[start]):
        # Step 0 is the policy that KL is measured from.
        kl[start] = 0.0
    root = [math.sqrt(v) if v >= 0 else math.nan for v in kl]
    points = [
        (step, a, b)
        for step, a, b in zip(reading.steps, root, score, strict=True)
        if math.isfinite(a) and math.isfinite(b)
    ]
    if len(points) < LEAST_DRAWN:
        return None
    steps, xs, ys = (list(one) for one in zip(*points, strict=True))
    canvas = Canvas(spanning(xs, margin=0.0), spanning(ys, least=0.02), 190)
    canvas.y_axis(4)
    canvas.line(xs, ys, "score")
    canvas.dot(xs[0], ys[0], "hollow")
    canvas.dot(xs[-1], ys[-1], "now")
    canvas.text(canvas.percent(xs[0]), canvas.pixel(ys[0]) - 9, "start", "label", dx=6)
    canvas.end_labels([(canvas.pixel(ys[-1]), f"{fixed(ys[-1])} now", "end-now")])
    canvas.x_axis("√KL")
    words = f"HRE against the square root of {key}: {len(points)} evaluations, √KL up to {short(max(xs))}"
    series = [
        Series("HRE", f"{reading.name}/score", [fixed(value) for value in ys]),
        Series("√KL", f"√ {key}", [short(value) for value in xs]),
    ]
    looks = Looks("step", [f"{step:,}" for step in steps], [canvas.x.at(value) for value in xs], series)
    return chart(_plot(canvas.render(words, below=30), over(looks, words)), looks)


@dataclass(frozen=True, slots=True)
class Line:
    """One curve of a small figure: named at its end, its key in the record, its class."""

    name: str
    key: str
    values: Sequence[float]
    css: str


def lines_figure(reading: Reading, lines: Sequence[Line], words: str, zero: bool) -> Chart:
    """A few curves in one panel, each named at its end."""
    x = step_scale(reading)
    canvas = Canvas(x, spanning([v for line in lines for v in line.values]), 190)
    canvas.y_axis(4)
    if zero and canvas.y.low < 0 < canvas.y.high:
        canvas.rule_y(0, "zero")
    draw_marks(canvas, reading.marks, label=False)
    labels = []
    for line in lines:
        canvas.line(reading.steps, line.values, line.css)
        if math.isfinite(latest(line.values)):
            labels.append((canvas.pixel(latest(line.values)), line.name, "label"))
    canvas.end_labels(labels)
    canvas.x_axis("step")
    looks = _at_steps(reading, x, [Series(line.name, line.key, [_signed(v) for v in line.values]) for line in lines])
    return chart(_plot(canvas.render(words, below=30), over(looks, words), css="plot long"), looks)


def _at_steps(reading: Reading, x: Scale, series: Sequence[Series]) -> Looks:
    """The evaluations at which something is known."""
    known = [i for i in range(len(reading.looks)) if any(one.words[i] for one in series)]
    steps = [reading.steps[i] for i in known]
    kept = [Series(one.name, one.key, [one.words[i] for i in known]) for one in series]
    return Looks("step", [f"{step:,}" for step in steps], [x.at(step) for step in steps], kept)


def _signed(value: float) -> str:
    return fixed(value, signed=True) if math.isfinite(value) else ""


def topic_sparkline(reading: Reading, topic: str) -> Markup:
    """A topic's curve, the size of a word."""
    numbers = reading.metric(f"topic/{topic}")
    if len(finite(numbers)) < LEAST_DRAWN:
        return Markup()
    return sparkline(numbers, f"{topic}: {' → '.join(map(fixed, (earliest(numbers), latest(numbers))))}")


def change_row(delta: float, low: float, high: float, scale: Scale) -> Markup:
    """One row of a forest plot: a change with its interval around the line of no change."""
    canvas = Canvas(scale, Scale(0, 1), 16)
    canvas.rule_x(0, "axis")
    if not math.isfinite(delta):
        return canvas.render("change unknown", below=0, above=0)
    if math.isfinite(low):
        canvas.reach(low, high, "whisker")
    clear = "worse" if high < 0 else "better" if low > 0 else "unclear"
    canvas.dot(delta, 0.5, clear)
    ends = span(low, high, signed=True)
    return canvas.render(f"change {fixed(delta, signed=True)}, {ends}", below=0, above=0) + element("small", ends)


def dumbbell(then: float, now: float) -> Markup:
    """One question's r then (hollow) and now (filled), from −1 to 1."""
    canvas = Canvas(Scale(-1, 1), Scale(0, 1), 16)
    canvas.rule_pixel(8, "grid")
    canvas.rule_x(0, "axis", 3, 13)
    css = "worse" if now < then else "better"
    canvas.reach(then, now, f"shift-{css}")
    canvas.dot(then, 0.5, "hollow")
    canvas.dot(now, 0.5, css)
    return canvas.render(f"r from {fixed(then)} to {fixed(now)} on a scale from −1 to 1", below=0, above=0)


def triangle(then: Sequence[float], now: Sequence[float], third: str = "reward") -> Markup:
    """The triangle; `then` and `now` are correlations of people with model, people with the third, both."""
    corners = {"people": (160, 32), "model": (44, 172), third: (276, 172)}
    edges = (("people", "model", 62, 104), ("people", third, 258, 104), ("model", third, 160, 194))
    parts = []
    for (a, b, x, y), before, after in zip(edges, then, now, strict=True):
        parts += [_edge(corners[a], corners[b], after), *_correlation(x, y, before, after)]
    for name, (x, y) in corners.items():
        parts.append(element("circle", class_="node", cx=x, cy=y, r=29))
        parts.append(element("text", name, class_="node-text", x=x, y=y + 4, text_anchor="middle"))
    named = zip(("people and model", f"people and {third}", f"model and {third}"), now, strict=True)
    words = "Correlations: " + ", ".join(f"{name} {fixed(value, digits=2)}" for name, value in named)
    box = {"viewBox": "0 0 320 220", "role": "img", "aria_label": words}
    return element("svg", join(parts), class_="triangle", **box)


def _edge(one: tuple[int, int], other: tuple[int, int], value: float) -> Markup:
    css = "edge-none" if not math.isfinite(value) else "edge-worse" if value < 0 else "edge"
    width = 1 + 7 * min(1.0, abs(value)) if math.isfinite(value) else 1
    ends = {"x1": one[0], "y1": one[1], "x2": other[0], "y2": other[1]}
    return element("line", class_=css, **ends, style=f"stroke-width:{width:.1f}")


def _correlation(x: int, y: int, before: float, after: float) -> list[Markup]:
    anchor = "end" if x < 100 else "start" if x > 220 else "middle"
    said = [(fixed(after, digits=2), "end-now", y)]
    said += [(f"was {fixed(before, digits=2)}", "tick", y + 15)] if math.isfinite(before) else []
    return [element("text", words, class_=css, x=x, y=at, text_anchor=anchor) for words, css, at in said]


def _plot(*parts: Markup, css: str = "plot") -> Markup:
    return element("div", join(parts), class_=css)
