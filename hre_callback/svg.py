"""Inline SVG for the report: scales, ticks, and a panel whose text keeps its size while its curves stretch.

Positions along x are percentages of the panel's width and positions along y are pixels, so a panel fits a phone and
a wide screen without scaling its text. Curves live in a nested `<svg>` that may stretch (their strokes do not).
Colours come from the page's style sheet, by class; nothing here is random or dated, so the same record gives the
same bytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape

_UNIT = 1000  # size of the stretching coordinate system of the curves


@dataclass(frozen=True, slots=True)
class Scale:
    """A range of values, mapped to 0 … 1."""

    low: float
    high: float

    def at(self, value: float) -> float:
        """Where `value` lies: 0 at `low`, 1 at `high`."""
        return (value - self.low) / (self.high - self.low)

    def ticks(self, most: int = 5, *, whole: bool = False) -> list[float]:
        """Round numbers inside the range, at most `most`; only `whole` ones where fractions mean nothing."""
        span = self.high - self.low
        size = 10 ** math.floor(math.log10(span / most))
        size = max(size, 1) if whole else size
        for factor in (1, 2, 5, 10, 20):
            step = factor * size
            first = math.ceil(self.low / step - 1e-9)
            last = math.floor(self.high / step + 1e-9)
            if last - first < most:
                return [i * step for i in range(first, last + 1)]
        return [self.low, self.high]


def spanning(numbers: Iterable[float], *, margin: float = 0.08, least: float = 1e-9) -> Scale:
    """A scale that holds every finite number with some air; never narrower than `least`."""
    finite = [value for value in numbers if math.isfinite(value)] or [0.0, 1.0]
    low, high = min(finite), max(finite)
    least = max(least, 1e-6 * max(abs(low), abs(high)))
    if high - low < least:
        middle = (low + high) / 2
        low, high = middle - least / 2, middle + least / 2
    air = (high - low) * margin
    return Scale(low - air, high + air)


def tick_text(value: float, ticks: Sequence[float]) -> str:
    """A tick's label, with the decimals that its neighbours need and no more."""
    gap = min((b - a for a, b in zip(ticks, ticks[1:], strict=False)), default=abs(value) or 1.0)
    decimals = max(0, -math.floor(math.log10(gap) + 1e-9))
    if decimals > 5:
        return f"{value:.1e}".replace("-", "−")
    text = f"{value:,.{decimals}f}"
    return (text.lstrip("-") if float(text.replace(",", "")) == 0 else text).replace("-", "−")


def spread(wanted: Sequence[float], gap: float) -> list[float]:
    """The positions nearest to the wanted ones (least squares) in the same order and at least `gap` apart.

    Labels that collide share their place around their mean; all others stay where they are. Pool adjacent
    violators on `wanted - rank * gap`, which must not decrease.
    """
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    blocks: list[tuple[float, int]] = []  # mean and size of every block of pooled labels
    for rank, i in enumerate(order):
        mean, size = wanted[i] - rank * gap, 1
        while blocks and blocks[-1][0] > mean:
            before, count = blocks.pop()
            mean, size = (before * count + mean * size) / (count + size), count + size
        blocks.append((mean, size))
    means = [mean for mean, size in blocks for _ in range(size)]
    placed = [0.0] * len(wanted)
    for rank, i in enumerate(order):
        placed[i] = means[rank] + rank * gap
    return placed


def segments(*columns: Sequence[float]) -> list[list[tuple[float, ...]]]:
    """Runs of rows in which every column is finite: a curve is broken, never bridged, where a value is missing."""
    runs: list[list[tuple[float, ...]]] = [[]]
    for row in zip(*columns, strict=True):
        if all(math.isfinite(value) for value in row):
            runs[-1].append(row)
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


@dataclass
class Panel:
    """One plot: add marks in drawing order, then `render`. `height` is in CSS pixels."""

    x: Scale
    y: Scale
    height: int
    ground: list[str] = field(default_factory=list)
    curves: list[str] = field(default_factory=list)
    marks: list[str] = field(default_factory=list)

    def percent(self, x: float) -> str:
        """An x value as a percentage of the width."""
        return f"{100 * self.x.at(x):.2f}%"

    def pixel(self, y: float) -> float:
        """A y value as pixels from the top."""
        return self.height * (1 - self.y.at(y))

    def _point(self, x: float, y: float) -> str:
        return f"{_UNIT * self.x.at(x):.0f} {_UNIT * (1 - self.y.at(y)):.0f}"

    def line(self, xs: Sequence[float], ys: Sequence[float], css: str) -> None:
        """A curve, broken where a value is missing; a lone point becomes a dot."""
        for run in segments(xs, ys):
            if len(run) == 1:
                self.dot(run[0][0], run[0][1], css, radius=2)
            else:
                self.curves.append(
                    f'<path class="{css}" d="M{"L".join(self._point(*point) for point in run)}"/>'
                )

    def band(self, xs: Sequence[float], low: Sequence[float], high: Sequence[float], css: str) -> None:
        """An interval around a curve; at a lone point, a bar."""
        for run in segments(xs, low, high):
            if len(run) == 1:
                x, bottom, top = run[0]
                self.rule_x(x, f"{css}-bar", self.pixel(top), self.pixel(bottom))
            else:
                edge = [self._point(x, top) for x, _, top in run] + [
                    self._point(x, b) for x, b, _ in reversed(run)
                ]
                self.curves.append(f'<path class="{css}" d="M{"L".join(edge)}Z"/>')

    def dot(self, x: float, y: float, css: str, radius: float = 4) -> None:
        """A round mark that never stretches."""
        self.marks.append(
            f'<circle class="{css}" cx="{self.percent(x)}" cy="{self.pixel(y):.1f}" r="{radius:g}"/>'
        )

    def rule_y(self, y: float, css: str) -> None:
        """A horizontal line across the panel at the value `y`."""
        self.rule_pixel(self.pixel(y), css)

    def rule_pixel(self, pixel: float, css: str) -> None:
        """A horizontal line across the panel, `pixel` from its top."""
        layer = self.ground if css == "grid" else self.marks
        layer.append(f'<line class="{css}" x1="0" x2="100%" y1="{pixel:.1f}" y2="{pixel:.1f}"/>')

    def rule_x(self, x: float, css: str, top: float = 0, bottom: float | None = None) -> None:
        """A vertical line at the value `x`, from `top` to `bottom` in pixels."""
        at, bottom = self.percent(x), self.height if bottom is None else bottom
        self.marks.append(f'<line class="{css}" x1="{at}" x2="{at}" y1="{top:.1f}" y2="{bottom:.1f}"/>')

    def text(
        self, percent: str, pixel: float, words: str, css: str, *, anchor: str = "start", dx: int = 0
    ) -> None:
        """A label; `percent` along x, `pixel` down to its baseline."""
        self.marks.append(
            f'<text class="{css}" x="{percent}" y="{pixel:.1f}" dx="{dx}" text-anchor="{anchor}">{escape(words)}</text>'
        )

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

    def end_labels(self, labels: Sequence[tuple[float, str, str]], gap: float = 15) -> None:
        """Words right of the panel: `(pixel, text, css)`; moved apart if they collide."""
        placed = spread([pixel for pixel, _, _ in labels], gap)
        for pixel, (_, words, css) in zip(placed, labels, strict=True):
            self.text("100%", pixel + 4, words, css, dx=10)

    def render(self, description: str, *, below: int = 4, above: int = 4) -> str:
        """The panel as one `<svg>` with `description` for those who cannot see it."""
        curves = (
            f'<svg class="curves" viewBox="0 0 {_UNIT} {_UNIT}" preserveAspectRatio="none" '
            f'width="100%" height="{self.height}">{"".join(self.curves)}</svg>'
        )
        return (
            f'<svg class="panel" role="img" aria-label="{escape(description)}" width="100%" height="{self.height}" '
            f'style="margin:{above}px 0 {below}px">{"".join(self.ground)}{curves}{"".join(self.marks)}</svg>'
        )


def sparkline(numbers: Sequence[float], description: str) -> str:
    """A word-sized curve with its last value marked."""
    panel = Panel(Scale(0, max(1, len(numbers) - 1)), spanning(numbers), 22)
    xs = [float(i) for i in range(len(numbers))]
    panel.line(xs, numbers, "spark")
    finite = [(x, y) for x, y in zip(xs, numbers, strict=True) if math.isfinite(y)]
    if finite:
        panel.dot(*finite[-1], "spark-dot", radius=2.5)
    return panel.render(description, below=0, above=0)
