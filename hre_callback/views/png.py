"""The run's main figure as a matplotlib `Figure` or a PNG.

Drawn through the object API alone: no pyplot, no backend, no rcParams that outlive the call, since this may run inside
somebody's training process.
"""

from __future__ import annotations

import io
import math
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..formatting import fixed
from ..plain_text import plain_text
from .figure import Band, Curve, Dot, Layer, Panel, Rule
from .headline import Headline
from .numbers import latest
from .reading import Mark
from .scale import Scale, spread

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .figure import Figure as MainFigure

_PEOPLE, _INK, _SOFT, _HAIR = "#0b5c8a", "#1d1f21", "#5b5e63", "#e3e0d6"
TONES = {"good": "#1b6b3a", "neutral": _INK, "watch": "#8a5200", "bad": "#b3261e"}
_OTHERS = (("#8a3b7c", "-"), ("#8a5a00", "--"), ("#2f6f62", ":"), ("#5a4fcf", "-."))
_BANDS = {"interval": (_PEOPLE, 0.12), "paired": (_PEOPLE, 0.30), "human": (_INK, 0.08)}
_CURVES: dict[str, dict[str, Any]] = {
    "score": {"color": _PEOPLE, "linewidth": 2, "marker": "o", "markersize": 2.5},
    "proxy": {"color": _INK, "linewidth": 1.3, "marker": "o", "markersize": 1.8},
}
# What HRE is held against comes after the curves.
_AGAINST = ("human", "ceiling")
_RULES: dict[str, dict[str, Any]] = {
    "zero": {"color": _SOFT, "linewidth": 0.9, "zorder": 1.8},
    "start": {"color": _PEOPLE, "linewidth": 1, "linestyle": (0, (1.5, 3)), "zorder": 1.8},
    "human": {"color": _INK, "linewidth": 0.8, "alpha": 0.6, "zorder": 2.1},
    "ceiling": {"color": _INK, "linewidth": 1, "linestyle": (0, (6, 3)), "zorder": 2.1},
}
_HOLLOW = {"markerfacecolor": "white", "markeredgecolor": _PEOPLE, "zorder": 3}
# The latest value of a training signal is the end of its curve.
_DOTS: dict[str, dict[str, Any]] = {"start": _HOLLOW, "best": _HOLLOW, "now": {"color": _PEOPLE}}
# Characters of a name at the end of its curve.
_NAME = 14
# Inches.
_WIDTH, _TOP, _TALL, _LOW, _FOOT = 9.0, 0.83, 3.1, 1.05, 0.7
# A line of words, above and below, and the characters that fit it.
_LINE, _CHARACTERS = 0.16, 145
_DPI = 144
NO_MATPLOTLIB = 'the chart needs matplotlib: pip install "hre-callback[report]"'

# A label at the right end: its value on the y axis, its words, its colour.
_Label = tuple[float, str, str]


def chart(shown: MainFigure) -> Figure:
    """HRE with its intervals and the human ceiling, above the main training signals; all panels share the x axis.

    Returns:
        `Figure`: belongs to no pyplot state; save it with `figure.savefig(...)`.

    Raises:
        ImportError: matplotlib is missing; the message says what to install.
    """
    with matplotlib_defaults():
        return _draw(shown)


def chart_png(shown: MainFigure) -> bytes:
    """The same as the bytes of a PNG; the same figure gives the same bytes. Raises as `chart` does."""
    with matplotlib_defaults():
        figure, buffer = _draw(shown), io.BytesIO()
        figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
    return buffer.getvalue()


@contextmanager
def matplotlib_defaults() -> Iterator[None]:
    """Matplotlib's own defaults, whatever the process has set; its settings are back afterwards.

    No text is read as a formula: names and words come from outside. A font without a sign is no news for a log.
    """
    try:
        import matplotlib.style
    except ImportError as error:
        raise ImportError(NO_MATPLOTLIB) from error
    with warnings.catch_warnings(), matplotlib.style.context(["default", {"text.parse_math": False}]):
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from")
        yield


def _draw(shown: MainFigure) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    heights = [_TALL] + [_LOW] * (len(shown.panels) - 1)
    above, below = _above(shown.verdict), _below(shown)
    top, foot = _TOP + _LINE * len(above), _FOOT + _LINE * len(below)
    height = top + sum(heights) + foot
    figure = Figure(figsize=(_WIDTH, height), facecolor="white")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(
        len(heights),
        1,
        height_ratios=heights,
        left=0.08,
        right=0.86,
        top=1 - top / height,
        bottom=foot / height,
        hspace=0.22 if len(heights) > 1 else 0,
    )
    first = figure.add_subplot(grid[0])
    axes = [first] + [figure.add_subplot(grid[i], sharex=first) for i in range(1, len(heights))]
    for ax, panel in zip(axes, shown.panels, strict=True):
        _plain(ax, last=ax is axes[-1])
        _panel(ax, panel, tall=ax is first)
    _steps(axes, shown)
    _words(figure, shown.verdict, above, below, height)
    return figure


def _plain(ax: Any, *, last: bool) -> None:
    """Only the ink that carries data: hairlines for the y ticks, one x axis below the last panel."""
    for side in ("top", "right", "left", "bottom"):
        ax.spines[side].set_visible(side == "bottom" and last)
    ax.spines["bottom"].set_color(_SOFT)
    ax.grid(axis="y", color=_HAIR, linewidth=0.6)
    ax.set_axisbelow(True)
    ax.tick_params(axis="both", length=0, labelsize=8, labelcolor=_SOFT)
    ax.tick_params(axis="x", length=3 if last else 0, labelbottom=last, color=_SOFT)
    if last:
        ax.set_xlabel("step", fontsize=8.5, color=_SOFT, loc="right")


def _panel(ax: Any, panel: Panel, *, tall: bool) -> None:
    against = [layer for layer in panel.layers if isinstance(layer, Rule) and layer.role in _AGAINST]
    labels = [label for layer in panel.layers if layer not in against for label in _layer(ax, layer)]
    _limits(ax, panel.least)
    labels += [_near(ax, rule) for rule in against if not rule.beyond]
    labels += _beyond(ax, sorted(panel.beyond, key=lambda rule: rule.y))
    if tall:
        ax.set_title(f"{panel.title}: {panel.about}", loc="left", fontsize=9.5, color=_INK, pad=16)
    else:
        ax.set_yticks(Scale(*ax.get_ylim()).ticks(3))
        about = f"  ({panel.about})" if panel.about else ""
        ax.set_title(plain_text(panel.title + about), loc="left", fontsize=8.5, color=_INK, pad=3)
    _end_labels(ax, labels)


def _layer(ax: Any, layer: Layer) -> list[_Label]:
    """Draw a layer; what is left to write at the right end."""
    if isinstance(layer, Band):
        _band(ax, layer)
        return []
    if isinstance(layer, Curve):
        return _curve(ax, layer)
    if isinstance(layer, Rule):
        return [_rule(ax, layer)] if layer.role in _RULES and not layer.fine else []
    return _dot(ax, layer)


def _rule(ax: Any, rule: Rule) -> _Label:
    ax.axhline(rule.y, **_RULES[rule.role])
    return rule.y, rule.label, _RULES[rule.role]["color"]


def _band(ax: Any, band: Band) -> None:
    color, alpha = _BANDS[band.role]
    ax.fill_between(band.at, band.low, band.high, color=color, alpha=alpha, linewidth=0)
    if len(band.at) == 1:
        ax.vlines(band.at, band.low, band.high, color=color, alpha=alpha, linewidth=6)


def _curve(ax: Any, curve: Curve) -> list[_Label]:
    color, line = _OTHERS[curve.turn % 4]
    other = {"color": color, "linestyle": line, "linewidth": 1.4, "zorder": 1.9}
    ax.plot(curve.at, curve.values, **_CURVES.get(curve.role, other))
    words = plain_text(curve.label)
    words = words if len(words) <= _NAME else words[:_NAME] + "…"
    return [(latest(curve.values), words, color)] if words else []


def _dot(ax: Any, dot: Dot) -> list[_Label]:
    style = _DOTS.get(dot.role)
    if style is not None:
        ax.plot(dot.x, dot.y, "o", markersize=6, clip_on=False, **style)
    if dot.role == "best":
        above: dict[str, Any] = {"textcoords": "offset points", "ha": "center", "fontsize": 8.5}
        ax.annotate(dot.label, (dot.x, dot.y), (0, 7), color=_INK, **above)
        return []
    return [(dot.y, dot.label, _PEOPLE if style else _INK)] if dot.label else []


def _limits(ax: Any, least: float) -> None:
    """Matplotlib holds what was drawn, with its own air; never so near that noise looks like news."""
    low, high = ax.get_ylim()
    if high - low < least:
        middle = (low + high) / 2
        low, high = middle - least / 2, middle + least / 2
    ax.set_ylim(low, high)


def _near(ax: Any, rule: Rule) -> _Label:
    """A line that the panel grows for."""
    low, high = ax.get_ylim()
    air = 0.03 * (high - low)
    ax.set_ylim(min(low, rule.y - air), max(high, rule.y + air))
    return _rule(ax, rule)


def _beyond(ax: Any, rules: Sequence[Rule]) -> list[_Label]:
    """Lines that are too far away, above a marked break in the axis, the lowest first."""
    if not rules:
        return []
    low, high = ax.get_ylim()
    share = (high - low) / 100
    ax.set_yticks([tick for tick in ax.get_yticks() if low <= tick <= high])
    ax.set_ylim(low, high + (9 + 8 * len(rules)) * share)
    ax.axhline(high + 4 * share, color=_SOFT, linewidth=0.7, linestyle=(0, (1, 3)))
    place = {"transform": ax.get_yaxis_transform(), "fontsize": 8, "color": _SOFT}
    ax.text(0.004, high + 6 * share, "axis broken", va="bottom", **place)
    labels = []
    for row, rule in enumerate(rules):
        at = high + (13 + 8 * row) * share
        ax.axhline(at, **_RULES[rule.role])
        ax.text(-0.008, at, fixed(rule.y, digits=2), va="center", ha="right", **place)
        labels.append((at, rule.name, _RULES[rule.role]["color"]))
    return labels


def _end_labels(ax: Any, labels: Sequence[_Label]) -> None:
    """Names at the right end of their lines, moved apart where they would collide."""
    low, high = ax.get_ylim()
    found = [label for label in labels if math.isfinite(label[0]) and label[1]]
    placed = spread([y for y, _, _ in found], 0.065 * (high - low))
    for y, (_, text, color) in zip(placed, found, strict=True):
        ax.text(1.012, y, text, transform=ax.get_yaxis_transform(), va="center", fontsize=9, color=color)


def _steps(axes: Sequence[Any], shown: MainFigure) -> None:
    """The shared x axis and what stands on it: marks across every panel, skipped evaluations in the first."""
    first = axes[0]
    first.xaxis.get_major_locator().set_params(integer=True)
    first.set_xlim(shown.x.low, shown.x.high)
    for skip in shown.skipped:
        place = first.get_xaxis_transform()
        first.plot(skip.step, 0.02, "x", color=TONES["bad"], markersize=5, transform=place)
    for row, mark in enumerate(shown.marks):
        for ax in axes:
            line = {"color": TONES[mark.tone], "linewidth": 0.9, "linestyle": (0, (3, 3))}
            ax.axvline(mark.step, zorder=2.2, **line)
        _name_mark(first, mark, row, right=shown.x.at(mark.step) > 0.5)


def _name_mark(ax: Any, mark: Mark, row: int, *, right: bool) -> None:
    ax.annotate(
        plain_text(mark.words),
        (mark.step, 1.0),
        (-3 if right else 3, 2 + 10 * row),
        xycoords=ax.get_xaxis_transform(),
        textcoords="offset points",
        ha="right" if right else "left",
        fontsize=8,
        color=TONES[mark.tone],
    )


def _above(verdict: Headline) -> list[tuple[str, str]]:
    """The lines below the title, each with its colour."""
    said = [(verdict.detail, _SOFT), *((reason, TONES[verdict.tone]) for reason in verdict.reasons)]
    said += [(note, _SOFT) for note in (verdict.advice, *verdict.notes) if note]
    return [(line, color) for words, color in said for line in _lines(words)]


def _below(shown: MainFigure) -> list[str]:
    """What the reader must know to judge the figure, and what is too little for a panel."""
    words = [*(panel.description for panel in shown.told), shown.key, shown.about]
    return [line for one in words for line in _lines(one)]


def _lines(words: str) -> list[str]:
    return textwrap.wrap(plain_text(words), _CHARACTERS) or [""]


def _words(
    figure: Any, verdict: Headline, above: Sequence[tuple[str, str]], below: Sequence[str], height: float
) -> None:
    """The verdict with its numbers and reasons above, what the reader must know to judge it below."""

    def write(inches: float, words: str, size: float, color: str, **style: Any) -> None:
        figure.text(0.03, inches / height, words, fontsize=size, color=color, **style)

    write(height - 0.32, plain_text(verdict.title), 15, TONES[verdict.tone], weight="bold")
    for row, (words, color) in enumerate(above):
        write(height - 0.55 - _LINE * row, words, 8.2, color)
    for row, words in enumerate(reversed(below)):
        write(0.10 + _LINE * row, words, 7.4, _SOFT)
