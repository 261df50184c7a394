"""The run's main figure as inline SVG, and the canvas that all figures of the report are drawn on.

Positions along x are percentages of the canvas' width and positions along y are pixels, so a plot fits a phone and a
wide screen without scaling its text. Curves live in a nested `<svg>` that may stretch (their strokes do not). Colours
come from the page's style sheet, by class; nothing here is random or dated, so the same figure gives the same bytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from markupsafe import Markup

from ..formatting import fixed
from ..plain_text import as_html
from .figure import Band, Curve, Figure, Layer, Rule
from .numbers import latest
from .reading import Mark
from .scale import Scale, segments, spanning, spread, tick_text

# Size of the stretching coordinate system of the curves.
_UNIT = 1000
# Heights in pixels: of the first panel, of those below, of the place above an axis break, of a row of labels.
_TALL, _LOW, _BREAK, _ROW = 270, 84, 36, 15
# Characters of a name at the end of its curve.
_NAME = 10
_CLASSES = {"interval": "band", "start": "baseline"}
_DOTS = {"start": "hollow", "best": "hollow", "now": "now", "latest": "proxy-dot"}
_LABELS = {
    "ceiling": "end-ceiling",
    "human": "label",
    "start": "end-start",
    "now": "end-now",
    "latest": "end-proxy",
}
_NOTHING = Markup()

# A label at the right end: its pixel from the top, its words, its class.
Label = tuple[float, str, str]


def element(name: str, /, *inside: object, **attributes: object) -> Markup:
    """One element, the only way into the page for markup: every attribute, and what is no markup already, is escaped.

    Names are written as Python wants them: `class_`, `text_anchor`.
    """
    given = "".join(f' {_attribute(key)}="{as_html(value)}"' for key, value in attributes.items())
    if not inside:
        return Markup(f"<{name}{given}/>")
    written = "".join(one if isinstance(one, Markup) else as_html(one) for one in inside)
    return Markup(f"<{name}{given}>{written}</{name}>")


def _attribute(key: str) -> str:
    return key.rstrip("_").replace("_", "-")


def join(parts: Iterable[Markup]) -> Markup:
    """Elements one after the other."""
    return Markup("").join(parts)


def draw(figure: Figure, over: Markup = _NOTHING) -> Markup:
    """The main figure: its panels below each other, on one axis, `over` them what is read on hover and focus.

    What is too little for a panel stands below in words.
    """
    told = (element("p", panel.description, class_="told") for panel in figure.told)
    panels = (_panel(figure, i) for i in range(len(figure.panels)))
    return join([element("div", join([*panels, over]), class_="plot"), *told])


def _panel(figure: Figure, i: int) -> Markup:
    panel, first, last = figure.panels[i], i == 0, i == len(figure.panels) - 1
    canvas = Canvas(figure.x, panel.axis, _TALL if first else _LOW)
    if panel.beyond:
        # The curve keeps its size; what is beyond stands above a marked break in the axis.
        span = (panel.axis.high - panel.axis.low) / (1 - _break(panel.beyond) / canvas.height)
        canvas.y = Scale(panel.axis.low, panel.axis.low + span)
    canvas.y_axis(5 if first else 3, panel.axis)
    labels = [label for layer in panel.layers if layer not in panel.beyond for label in canvas.layer(layer)]
    labels += canvas.beyond(panel.beyond)
    draw_marks(canvas, figure.marks, label=first)
    for skip in figure.skipped if first else ():
        canvas.text(canvas.percent(skip.step), canvas.height - 4, "×", "skip", anchor="middle")
    canvas.end_labels(labels)
    if last:
        canvas.x_axis("step")
    above = 6 + _ROW * len(figure.marks) if first else 4
    return heading(panel.title, panel.about) + canvas.render(panel.description, above=above, below=30 if last else 14)


def heading(title: str, about: str) -> Markup:
    """What stands above a panel."""
    return element("p", element("b", title), Markup(" "), element("span", about), class_="panel-title")


def draw_marks(canvas: Canvas, found: Sequence[Mark], *, label: bool) -> None:
    """Vertical lines; with `label`, their words above the panel in a row each."""
    for row, mark in enumerate(found):
        top = -_ROW * (row + 0.6) if label else -8
        canvas.rule_x(mark.step, f"mark {mark.tone}", top)
        if label:
            right = canvas.x.at(mark.step) > 0.5
            anchor, dx = ("end", -5) if right else ("start", 5)
            place = canvas.percent(mark.step)
            canvas.text(place, top + 9, mark.words, f"label {mark.tone}", anchor=anchor, dx=dx)


def anchor_at(share: float) -> str:
    """Which end of a label to pin, so that it stays inside the panel."""
    return "start" if share < 0.2 else "end" if share > 0.8 else "middle"


@dataclass
class Canvas:
    """One plot: add marks in drawing order, then `render`. `height` is in CSS pixels."""

    x: Scale
    y: Scale
    height: int
    ground: list[Markup] = field(default_factory=list)
    curves: list[Markup] = field(default_factory=list)
    marks: list[Markup] = field(default_factory=list)

    def percent(self, x: float) -> str:
        """An x value as a percentage of the width."""
        return f"{100 * self.x.at(x):.2f}%"

    def pixel(self, y: float) -> float:
        """A y value as pixels from the top."""
        return self.height * (1 - self.y.at(y))

    def _point(self, x: float, y: float) -> str:
        return f"{_UNIT * self.x.at(x):.0f} {_UNIT * (1 - self.y.at(y)):.0f}"

    def layer(self, layer: Layer) -> list[Label]:
        """A layer of the main figure; what is left to write at the right end."""
        if isinstance(layer, Band):
            self.band(layer.at, layer.low, layer.high, _class(layer.role))
            return []
        if isinstance(layer, Curve):
            return self._curve(layer)
        if isinstance(layer, Rule):
            return self._rule(layer)
        self.dot(layer.x, layer.y, _DOTS[layer.role], radius=3 if layer.role == "latest" else 4)
        if layer.role == "best":
            place, anchor = self.percent(layer.x), anchor_at(self.x.at(layer.x))
            self.text(place, self.pixel(layer.y) - 9, layer.label, "label", anchor=anchor)
            return []
        return [(self.pixel(layer.y), layer.label, _LABELS[layer.role])] if layer.label else []

    def _curve(self, curve: Curve) -> list[Label]:
        turn = curve.turn % 4
        self.line(curve.at, curve.values, f"other other-{turn}" if curve.role == "other" else curve.role)
        words = curve.label if len(curve.label) <= _NAME else curve.label[: _NAME - 1] + "…"
        return [(self.pixel(latest(curve.values)), words, f"end-other end-{turn}")] if words else []

    def _rule(self, rule: Rule, pixel: float | None = None) -> list[Label]:
        pixel = self.pixel(rule.y) if pixel is None else pixel
        self.rule_pixel(pixel, _class(rule.role))
        return [(pixel, rule.label, _LABELS[rule.role])] if rule.label else []

    def beyond(self, rules: Sequence[Rule]) -> list[Label]:
        """Lines above a break in the axis, the highest on top, each with its value; what is left to write."""
        labels = []
        for row, rule in enumerate(sorted(rules, key=lambda rule: -rule.y)):
            pixel = 8.0 + _ROW * row
            labels += self._rule(rule, pixel)
            self.text("0%", pixel + 4, fixed(rule.y, digits=2), "tick", anchor="end", dx=-8)
        if rules:
            self.rule_pixel(_break(rules) - 8, "break")
            self.text("0%", _break(rules) - 12, "axis broken", "tick", dx=2)
        return labels

    def line(self, xs: Sequence[float], ys: Sequence[float], css: str) -> None:
        """A curve, broken where a value is missing; a lone point becomes a dot."""
        for run in segments(xs, ys):
            if len(run) == 1:
                self.dot(run[0][0], run[0][1], css, radius=2)
            else:
                path = "L".join(self._point(*point) for point in run)
                self.curves.append(element("path", class_=css, d=f"M{path}"))

    def band(self, xs: Sequence[float], low: Sequence[float], high: Sequence[float], css: str) -> None:
        """An interval around a curve; at a lone point, a bar."""
        for run in segments(xs, low, high):
            if len(run) == 1:
                x, bottom, top = run[0]
                self.rule_x(x, f"{css}-bar", self.pixel(top), self.pixel(bottom))
            else:
                edge = [self._point(x, top) for x, _, top in run]
                edge += [self._point(x, bottom) for x, bottom, _ in reversed(run)]
                self.curves.append(element("path", class_=css, d=f"M{'L'.join(edge)}Z"))

    def dot(self, x: float, y: float, css: str, radius: float = 4) -> None:
        """A round mark that never stretches."""
        place = {"cx": self.percent(x), "cy": f"{self.pixel(y):.1f}", "r": f"{radius:g}"}
        self.marks.append(element("circle", class_=css, **place))

    def rule_y(self, y: float, css: str) -> None:
        """A horizontal line across the panel at the value `y`."""
        self.rule_pixel(self.pixel(y), css)

    def rule_pixel(self, pixel: float, css: str) -> None:
        """A horizontal line across the panel, `pixel` from its top."""
        layer = self.ground if css == "grid" else self.marks
        layer.append(element("line", class_=css, x1=0, x2="100%", y1=f"{pixel:.1f}", y2=f"{pixel:.1f}"))

    def rule_x(self, x: float, css: str, top: float = 0, bottom: float | None = None) -> None:
        """A vertical line at the value `x`, from `top` to `bottom` in pixels."""
        at, bottom = self.percent(x), self.height if bottom is None else bottom
        self.marks.append(element("line", class_=css, x1=at, x2=at, y1=f"{top:.1f}", y2=f"{bottom:.1f}"))

    def reach(self, low: float, high: float, css: str) -> None:
        """A horizontal line at half height, between two x values."""
        y = f"{self.height / 2:g}"
        ends = {"x1": self.percent(low), "x2": self.percent(high), "y1": y, "y2": y}
        self.marks.append(element("line", class_=css, **ends))

    def text(self, percent: str, pixel: float, words: str, css: str, *, anchor: str = "start", dx: int = 0) -> None:
        """A label; `percent` along x, `pixel` down to its baseline."""
        place = {"x": percent, "y": f"{pixel:.1f}", "dx": dx, "text_anchor": anchor}
        self.marks.append(element("text", words, class_=css, **place))

    def y_axis(self, most: int = 4, ticked: Scale | None = None) -> None:
        """Tick labels left of the panel, with a hairline each; of the part `ticked` only, if given."""
        ticks = (ticked or self.y).ticks(most)
        for tick in ticks:
            self.rule_y(tick, "grid")
            self.text("0%", self.pixel(tick) + 4, tick_text(tick, ticks), "tick", anchor="end", dx=-8)

    def x_axis(self, name: str, most: int = 5) -> None:
        """Tick labels below the panel and the axis' name after the last one."""
        ticks = self.x.ticks(most, whole=name == "step")
        self.rule_pixel(self.height, "axis")
        for tick in ticks:
            self.rule_x(tick, "axis", self.height, self.height + 4)
            self.text(self.percent(tick), self.height + 18, tick_text(tick, ticks), "tick", anchor="middle")
        self.text("100%", self.height + 18, name, "tick", anchor="start", dx=26)

    def end_labels(self, labels: Sequence[Label], gap: float = 15) -> None:
        """Words right of the panel, moved apart if they collide."""
        placed = spread([pixel for pixel, _, _ in labels], gap)
        for pixel, (_, words, css) in zip(placed, labels, strict=True):
            self.text("100%", pixel + 4, words, css, dx=10)

    def render(self, description: str, *, below: int = 4, above: int = 4) -> Markup:
        """The panel as one `<svg>` with `description` for those who cannot see it."""
        size = {"width": "100%", "height": self.height}
        box = {"viewBox": f"0 0 {_UNIT} {_UNIT}", "preserveAspectRatio": "none"}
        curves = element("svg", join(self.curves), class_="curves", **box, **size)
        parts = join([element("title", description), *self.ground, curves, *self.marks])
        margin = f"margin:{above}px 0 {below}px"
        return element("svg", parts, class_="panel", role="img", aria_label=description, **size, style=margin)


def _break(beyond: Sequence[Rule]) -> int:
    """Pixels above the axis that lines beyond its break take."""
    return _BREAK + _ROW * (len(beyond) - 1)


def _class(role: str) -> str:
    return _CLASSES.get(role, role)


def sparkline(numbers: Sequence[float], description: str) -> Markup:
    """A word-sized curve with its last value marked."""
    canvas = Canvas(Scale(0, max(1, len(numbers) - 1)), spanning(numbers), 22)
    xs = [float(i) for i in range(len(numbers))]
    canvas.line(xs, numbers, "spark")
    finite = [(x, y) for x, y in zip(xs, numbers, strict=True) if math.isfinite(y)]
    if finite:
        canvas.dot(*finite[-1], "spark-dot", radius=2.5)
    return canvas.render(description, below=0, above=0)
