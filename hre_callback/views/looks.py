"""What stands at each point of a figure: read on hover and focus, and the same as a table. No script.

The points of a figure are one group of radio buttons, each with the words of its point as its label. So they are one
stop of the Tab key, arrow keys go from point to point, and a finger may touch them; the style sheet shows what is
hovered or has the focus.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from ..formatting import count
from .page import Chart, Column, Table
from .svg import element, join

# Points that can be told apart by a finger or a mouse, and rows of a table.
_POINTS, _ROWS = 80, 150


@dataclass(frozen=True, slots=True)
class Series:
    """One thing that is known at the points: its name, its key in the record, its words at each, empty for none."""

    name: str
    key: str
    words: Sequence[str]


@dataclass(frozen=True, slots=True)
class Looks:
    """The points of a figure.

    Attributes:
        noun: what one is.
        names: of each, as the first cell of its row.
        places: from 0, the left edge of the figure, to 1; NaN where one is not drawn.
        series: what is known at each.
    """

    noun: str
    names: Sequence[str]
    places: Sequence[float]
    series: Sequence[Series]


def chart(drawn: Markup, looks: Looks) -> Chart:
    """A figure with its numbers as a table."""
    return Chart(drawn, table(looks))


def table(looks: Looks) -> Table:
    """Every point as a row, thinned out where they are many; the key stands below the name of a column."""
    n = len(looks.names)
    every = _every(n, _ROWS)
    columns = [Column(looks.noun, "num"), *(Column(one.name, "num", one.key) for one in looks.series)]
    rows = [[looks.names[i], *(one.words[i] or "–" for one in looks.series)] for i in _kept(range(n), every)]
    noun = "evaluation" if looks.noun == "step" else looks.noun
    return Table(columns, rows, count(n, noun) + (f", one in {every} shown" if every > 1 else ""))


def over(looks: Looks, name: str) -> Markup:
    """What lies over a figure of this `name`; empty where there is nothing to point at."""
    drawn = [i for i, place in enumerate(looks.places) if math.isfinite(place)]
    kept = _kept(drawn, _every(len(drawn), _POINTS))
    if not kept:
        return Markup()
    reach = _reach([looks.places[i] for i in kept])
    points = [_point(looks, i, *ends) for i, ends in zip(kept, reach, strict=True)]
    words = f"{name}: the numbers at each {looks.noun}, by the arrow keys"
    # A form of its own keeps the group apart from those of other figures; `dialog` sends nothing anywhere.
    return element("form", join(points), class_="looks", method="dialog", autocomplete="off", aria_label=words)


def _point(looks: Looks, i: int, low: float, high: float) -> Markup:
    place = looks.places[i]
    rows = [element("b", f"{looks.noun} {looks.names[i]}")]
    rows += [element("span", f"{one.name} ", element("b", one.words[i])) for one in looks.series if one.words[i]]
    button = element("input", type="radio", name="look")
    words = element("span", join(rows), class_="tip left" if place > 0.5 else "tip")
    at = f"--x:{100 * place:.2f}%;--from:{100 * low:.2f}%;--wide:{100 * (high - low):.2f}%"
    return element("label", button, words, style=at)


def _reach(places: Sequence[float]) -> list[tuple[float, float]]:
    """From where to where a point is the nearest one, whatever their order; the first and the last reach out."""
    known = sorted(set(places))
    middles = [(a + b) / 2 for a, b in zip(known, known[1:], strict=False)]
    ends = dict(zip(known, zip([-0.03, *middles], [*middles, 1.03], strict=True), strict=True))
    return [ends[place] for place in places]


def _every(n: int, most: int) -> int:
    return max(1, math.ceil(n / most))


def _kept(points: Sequence[int], every: int) -> list[int]:
    return [i for at, i in enumerate(points) if at % every == 0 or at == len(points) - 1]
