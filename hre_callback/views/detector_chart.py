"""What the detectors say of recorded runs as a picture: how often each is right, and who alarms when on which run."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..formatting import count
from ..plain_text import plain_text
from ..run.detectors import Replayed, Standing, standings
from .detector_tables import in_words
from .png import TONES, matplotlib_defaults

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FOUND, _WRONG, _INK, _SOFT, _HAIR = TONES["good"], TONES["bad"], TONES["neutral"], "#5b5e63", "#e3e0d6"
_SILENT = "#f1efe8"
# Inches: a row, a run, and what stands around them; a letter of a run's name, which leans, and of the key.
_ROW, _COLUMN, _LEFT, _RATES, _BETWEEN, _TOP, _FOOT = 0.27, 0.34, 1.75, 2.6, 0.25, 0.65, 1.05
_LEANING, _LETTER = 0.06, 0.063
# Letters of a run's name.
_NAME = 28
# Runs that a picture has room for.
_MOST = 150
_DPI = 144


def detectors_png(runs: Sequence[Replayed]) -> bytes:
    """The picture as the bytes of a PNG, which says in words what it shows; runs in their order.

    Raises:
        ImportError: matplotlib is missing; the message says what to install.
    """
    with matplotlib_defaults():
        figure, buffer = _draw(runs), io.BytesIO()
        words = {"Software": None, "Description": in_words(standings(runs))}
        figure.savefig(buffer, format="png", dpi=_DPI, metadata=words)
    return buffer.getvalue()


def _draw(runs: Sequence[Replayed]) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    found, left, runs = standings(runs), len(runs) - _MOST, runs[:_MOST]
    known = any(run.replay.truth for run in runs)
    first = _LEFT + (_RATES + _BETWEEN if known else 0)
    names = [_shortened(run.replay.name) for run in runs]
    # The last name leans over the edge.
    width = max(first + _COLUMN * len(runs) + 0.2 + _LEANING / 2 * len(names[-1]), 6.5)
    height = _TOP + _LEANING * max(10, *map(len, names)) + _ROW * len(found) + _FOOT
    figure = Figure(figsize=(width, height), facecolor="white")
    FigureCanvasAgg(figure)

    def room(left: float, wide: float) -> Any:
        ax = figure.add_axes((left / width, _FOOT / height, wide / width, _ROW * len(found) / height))
        ax.set_ylim(len(found) - 0.5, -0.5)
        for side in ("top", "right", "left", "bottom"):
            ax.spines[side].set_visible(False)
        ax.tick_params(length=0, labelsize=8, labelcolor=_SOFT)
        return ax

    if known:
        _rates(room(_LEFT, _RATES), found)
    matrix = room(first, _COLUMN * len(runs))
    _matrix(matrix, found, runs, named=not known)
    _words(figure, known, left, width, height)
    return figure


def _rates(ax: Any, found: Sequence[Standing]) -> None:
    """Share of false alarms and share found, each with its interval."""
    for row, one in enumerate(found):
        for rate, color, marker, away in ((one.found, _FOUND, "o", -0.17), (one.false_alarms, _WRONG, "X", 0.17)):
            if rate.n:
                ax.plot((rate.low, rate.high), (row + away, row + away), color=color, linewidth=1.2, alpha=0.55)
                ax.plot(rate.k / rate.n, row + away, marker, color=color, markersize=5, clip_on=False)
    ax.set_xlim(0, 1)
    ax.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25", "50", "75", "100 %"])
    ax.grid(axis="x", color=_HAIR, linewidth=0.6)
    ax.set_axisbelow(True)
    _name_rows(ax, found)
    place: dict[str, Any] = {"transform": ax.transAxes, "fontsize": 8.5}
    ax.text(0, 1.06, "● harmful runs found", color=_FOUND, **place)
    ax.text(0, 1.015, "✖ false alarms on the others", color=_WRONG, **place)


def _name_rows(ax: Any, found: Sequence[Standing]) -> None:
    ax.set_yticks(range(len(found)), [one.detector.name for one in found])
    for label, one in zip(ax.get_yticklabels(), found, strict=True):
        label.set_color(_INK)
        label.set_fontweight("bold" if one.detector.holds else "normal")


def _matrix(ax: Any, found: Sequence[Standing], runs: Sequence[Replayed], *, named: bool) -> None:
    """A cell for a detector and a run: the look of its first alarm, none for silence, a dash for what has no signal."""
    from matplotlib.colors import to_rgb

    colors = [[to_rgb(_color(one, run)) for run in runs] for one in found]
    edges = [[i - 0.5 for i in range(size + 1)] for size in (len(runs), len(found))]
    ax.pcolormesh(*edges, colors, edgecolors="white", linewidth=1.5)
    ax.set_xlim(-0.5, len(runs) - 0.5)
    for row, one in enumerate(found):
        for column, run in enumerate(runs):
            if word := _word(one, run):
                color = _SOFT if word == "–" else "white"
                ax.text(column, row, word, ha="center", va="center", fontsize=7.5, color=color)
    ax.xaxis.tick_top()
    names = [_shortened(run.replay.name) for run in runs]
    ax.set_xticks(range(len(runs)), names, rotation=60, ha="left", rotation_mode="anchor")
    if named:
        _name_rows(ax, found)
    else:
        ax.set_yticks([])
    _groups(ax, runs, len(found))


def _shortened(name: str) -> str:
    name = plain_text(name)
    return name if len(name) <= _NAME else f"{name[: _NAME - 1]}…"


def _word(one: Standing, run: Replayed) -> str:
    """The look of the first alarm, nothing for silence, a dash for what cannot be asked."""
    at = run.fires.get(one.detector.name)
    return "–" if one.detector.name not in run.fires else "" if at is None else str(at)


def _color(one: Standing, run: Replayed) -> str:
    """Of an alarm: whether it was right; paper for silence and white for what cannot be asked."""
    if (word := _word(one, run)) in ("–", ""):
        return _SILENT if word == "" else "white"
    if run.replay.truth in (None, "unclear"):
        return _SOFT
    return _FOUND if run.replay.truth in one.detector.right_of else _WRONG


def _groups(ax: Any, runs: Sequence[Replayed], rows: int) -> None:
    """What is known of the runs, below their columns."""
    truths = [run.replay.truth for run in runs]
    for truth in dict.fromkeys(truths):
        start, size = truths.index(truth), truths.count(truth)
        if truth is None:
            continue
        line = rows - 0.5 + 0.25
        ax.plot((start - 0.4, start + size - 0.6), (line, line), color=_INK, linewidth=1, clip_on=False)
        ax.text(start + size / 2 - 0.5, line + 0.2, truth, ha="center", va="top", fontsize=8.5, color=_INK)
    for column, run in enumerate(runs):
        if run.replay.since is not None:
            ax.text(column, rows + 0.6, str(run.replay.since), ha="center", va="top", fontsize=7.5, color=_SOFT)


def _words(figure: Figure, known: bool, left: int, width: float, height: float) -> None:
    def write(inches: float, words: str, size: float, **style: Any) -> None:
        figure.text(0.12 / width, inches / height, words, fontsize=size, **style)

    write(height - 0.34, "Detectors of objective mismatch, replayed", 13, color=_INK, weight="bold")
    key = "A number is the look of the first alarm (start = 0); a dash: it cannot be asked of this run. "
    if known:
        key += "Below a harmful run: the look at which other questions show harm. Bars: exact 95 % intervals. "
    key += "Bold: false alarms bounded by design." + (f" {count(left, 'more run')} not shown." if left > 0 else "")
    lines = textwrap.wrap(key, int((width - 0.24) / _LETTER))
    write(0.1, "\n".join(lines), 7.4, color=_SOFT)
