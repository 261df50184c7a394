"""The run's main figure as a matplotlib `Figure` or a PNG.

Drawn through the object API alone: no pyplot, no backend, no rcParams that outlive the call, since this may run inside
somebody's training process.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .files import write_whole
from .headline import headline
from .story import (
    Proxy,
    best_index,
    ceiling_of,
    count,
    events,
    fixed,
    human_of,
    last_index,
    latest,
    main_proxies,
    marks,
    n_questions,
    paired_band,
    proxy_values,
    run_title,
    short,
    start_index,
    steps,
    values,
)
from .svg import Scale, spread

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .record import Record

_PEOPLE, _INK, _SOFT, _HAIR = "#0b5c8a", "#1d1f21", "#5b5e63", "#e3e0d6"
_TONES = {"good": "#1b6b3a", "neutral": _INK, "watch": "#8a5200", "bad": "#b3261e"}
_OTHERS = (("#8a3b7c", "-"), ("#8a5a00", "--"), ("#2f6f62", ":"), ("#5a4fcf", "-."))
_WIDTH = 9.0  # inches
_DPI = 144


def chart(record: Record, *, others: Sequence[tuple[str, Record]] = ()) -> Figure:
    """HRE with its interval and the human ceiling, above the main proxies; all panels share the x axis.

    Args:
        record (`Record`): the run.
        others (`Sequence`, *optional*): `(name, record)` of runs on the same questions, drawn as plain curves.

    Returns:
        `Figure`: belongs to no pyplot state; save it with `figure.savefig(...)`.

    Raises:
        ImportError: matplotlib is missing; the message says what to install.
    """
    with _matplotlib_defaults():
        return _draw(record, others)


def chart_png(record: Record, *, others: Sequence[tuple[str, Record]] = ()) -> bytes:
    """The same figure as the bytes of a PNG; the same record gives the same bytes. Raises as `chart` does."""
    with _matplotlib_defaults():
        figure, buffer = _draw(record, others), io.BytesIO()
        figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
    return buffer.getvalue()


def write_png(record: Record, path: str | Path, *, others: Sequence[tuple[str, Record]] = ()) -> Path:
    """Write the figure to `path`, whole or not at all. Raises as `chart` does."""
    target = Path(path)
    write_whole(target, [chart_png(record, others=others)])
    return target


@contextmanager
def _matplotlib_defaults() -> Iterator[None]:
    """Matplotlib's own defaults, whatever the process has set; its settings are back afterwards."""
    try:
        import matplotlib.style
    except ImportError as error:
        raise ImportError('the chart needs matplotlib: pip install "hre-callback[report]"') from error
    with matplotlib.style.context("default"):
        yield


def _draw(record: Record, others: Sequence[tuple[str, Record]]) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    proxies = main_proxies(record)
    top, people, panel, foot = 1.0, 3.1, 1.05, 0.85  # inches
    height = top + people + panel * len(proxies) + foot
    figure = Figure(figsize=(_WIDTH, height), facecolor="white")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(
        1 + len(proxies),
        1,
        height_ratios=[people] + [panel] * len(proxies),
        left=0.08,
        right=0.86,
        top=1 - top / height,
        bottom=foot / height,
        hspace=0.22 if proxies else 0,
    )
    first = figure.add_subplot(grid[0])
    axes = [first] + [figure.add_subplot(grid[i + 1], sharex=first) for i in range(len(proxies))]
    for ax in axes:
        _plain(ax, last=ax is axes[-1])
    _people(first, record, others)
    for ax, one in zip(axes[1:], proxies, strict=True):
        _proxy(ax, record, one)
    _marks(axes, record)
    _words(figure, record, height)
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


def _people(ax: Any, record: Record, others: Sequence[tuple[str, Record]]) -> None:
    at, score = steps(record), values(record, "score")
    now, start = last_index(record), start_index(record)
    labels: list[tuple[float, str, str]] = []
    _band(ax, at, values(record, "ci_low"), values(record, "ci_high"), 0.12)
    if start is not None:
        base = score[start]
        _band(ax, at, *paired_band(record), 0.30)
        ax.axhline(base, color=_PEOPLE, linewidth=1, linestyle=(0, (1.5, 3)))
        ax.plot(
            at[start], base, "o", markerfacecolor="white", markeredgecolor=_PEOPLE, clip_on=False, zorder=3
        )
        labels.append((base, "start" if now != start else f"{fixed(base)} start", _PEOPLE))
    for i, (name, other) in enumerate(others):
        color, style = _OTHERS[i % 4]
        ax.plot(steps(other), values(other, "score"), color=color, linestyle=style, linewidth=1.4)
        labels.append((latest(values(other, "score")), name if len(name) < 15 else name[:14] + "…", color))
    ax.plot(at, score, color=_PEOPLE, linewidth=2, marker="o", markersize=2.5)
    if now is not None and now != start:
        ax.plot(at[now], score[now], "o", color=_PEOPLE, markersize=6, clip_on=False)
        labels.append((score[now], f"{fixed(score[now])} now", _PEOPLE))
    _best(ax, record)
    for skipped in events(record, "skipped"):
        ax.plot(
            skipped["step"], 0.02, "x", color=_TONES["bad"], markersize=5, transform=ax.get_xaxis_transform()
        )
    _limits(ax, record)
    human = human_of(record)
    low, high = ax.get_ylim()
    if low < human < low + 1.6 * (high - low):
        ax.set_ylim(low, max(high, human + 0.03 * (high - low)))
        ax.axhline(human, color=_INK, linewidth=0.8, alpha=0.6)
        labels.append((human, "a human", _INK))
    labels += _ceiling(ax, record)
    _end_labels(ax, labels)
    ax.set_title("HumanRankEval: agreement with people’s votes", loc="left", fontsize=9.5, color=_INK, pad=16)


def _band(ax: Any, at: Sequence[float], low: Sequence[float], high: Sequence[float], alpha: float) -> None:
    ax.fill_between(at, low, high, color=_PEOPLE, alpha=alpha, linewidth=0)
    if len(at) == 1:
        ax.vlines(at, low, high, color=_PEOPLE, alpha=alpha, linewidth=6)


def _best(ax: Any, record: Record) -> None:
    best = best_index(record)
    if best is None or best in (last_index(record), start_index(record)):
        return
    x, y = steps(record)[best], values(record, "score")[best]
    ax.plot(x, y, "o", markerfacecolor="white", markeredgecolor=_PEOPLE, markersize=6, zorder=2.5)
    text = f"highest {fixed(y)}"
    ax.annotate(text, (x, y), (0, 7), textcoords="offset points", ha="center", fontsize=8.5, color=_INK)


def _limits(ax: Any, record: Record) -> None:
    """Never zoom in so far that noise looks like news; a record of one look gets room on the x axis."""
    low, high = ax.get_ylim()
    if high - low < 0.02:
        middle = (low + high) / 2
        ax.set_ylim(middle - 0.01, middle + 0.01)
    else:
        ax.set_ylim(low, high)
    at = steps(record) + [mark.step for mark in marks(record)] or [0]
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.set_xlim(min(at), max(at) if max(at) > min(at) else min(at) + 1)


def _ceiling(ax: Any, record: Record) -> list[tuple[float, str, str]]:
    """The human ceiling, as a line: in place when it is near, else above a marked break in the axis."""
    ceiling = ceiling_of(record)
    if not math.isfinite(ceiling):
        return []
    low, high = ax.get_ylim()
    if ceiling <= low + 1.6 * (high - low):
        ax.set_ylim(low, max(high, ceiling + 0.03 * (high - low)))
        ax.axhline(ceiling, color=_INK, linewidth=1, linestyle=(0, (6, 3)))
        return [(ceiling, "ceiling", _INK)]
    ticks = [tick for tick in ax.get_yticks() if low <= tick <= high]
    top = high + 0.17 * (high - low)
    ax.set_yticks(ticks)
    ax.set_ylim(low, top)
    at = high + 0.13 * (high - low)
    ax.axhline(at, color=_INK, linewidth=1, linestyle=(0, (6, 3)))
    ax.axhline(high + 0.04 * (high - low), color=_SOFT, linewidth=0.7, linestyle=(0, (1, 3)))
    place = {"transform": ax.get_yaxis_transform(), "fontsize": 8, "color": _SOFT}
    ax.text(0.004, high + 0.06 * (high - low), "axis broken", va="bottom", **place)
    ax.text(-0.008, at, fixed(ceiling, digits=2), va="center", ha="right", **place)
    return [(at, "human ceiling", _INK)]


def _end_labels(ax: Any, labels: Sequence[tuple[float, str, str]]) -> None:
    """Names at the right end of their lines, moved apart where they would collide."""
    low, high = ax.get_ylim()
    found = [label for label in labels if math.isfinite(label[0])]
    placed = spread([y for y, _, _ in found], 0.065 * (high - low))
    for y, (_, text, color) in zip(placed, found, strict=True):
        ax.text(1.012, y, text, transform=ax.get_yaxis_transform(), va="center", fontsize=9, color=color)


def _proxy(ax: Any, record: Record, one: Proxy) -> None:
    numbers = proxy_values(record, one.key)
    ax.plot(steps(record), numbers, color=_INK, linewidth=1.3, marker="o", markersize=1.8)
    aim = f", {one.better} is the goal" if one.better else ""
    key = f"  ({one.key}{aim})" if one.key != one.label else aim
    ax.set_title(f"{one.label}{key}", loc="left", fontsize=8.5, color=_INK, pad=3)
    low, high = ax.get_ylim()
    ax.set_yticks(Scale(low, high).ticks(3))
    ax.set_ylim(low, high)
    _end_labels(ax, [(latest(numbers), short(latest(numbers)), _INK)])


def _marks(axes: Sequence[Any], record: Record) -> None:
    first = axes[0]
    low, high = first.get_xlim()
    for row, mark in enumerate(marks(record)):
        for ax in axes:
            ax.axvline(mark.step, color=_TONES[mark.tone], linewidth=0.9, linestyle=(0, (3, 3)))
        right = mark.step > (low + high) / 2
        first.annotate(
            f"{mark.text}, step {mark.step:,}",
            (mark.step, 1.0),
            (-3 if right else 3, 2 + 10 * row),
            xycoords=first.get_xaxis_transform(),
            textcoords="offset points",
            ha="right" if right else "left",
            fontsize=8,
            color=_TONES[mark.tone],
        )


def _words(figure: Any, record: Record, height: float) -> None:
    """The verdict above, what the reader must know to judge it below. No user text is read as a formula."""
    verdict = headline(record)
    put = {"x": 0.03, "parse_math": False}
    color = _TONES[verdict.tone]
    figure.text(y=1 - 0.32 / height, s=verdict.title, fontsize=15, weight="bold", color=color, **put)
    figure.text(y=1 - 0.55 / height, s=verdict.detail, fontsize=8.2, color=_SOFT, **put)
    key = (
        "Light band: 95 % interval of HRE. Dark band: start + 95 % interval of the paired change; clear of the dotted "
        "start line = more than chance on that look."
    )
    topics = len({question["topic"] for question in record.run["questions"]})
    about = (
        f"{run_title(record.run)} · n = {count(n_questions(record), 'question')}, {count(topics, 'topic')} · "
        f"questions {record.run['fingerprint']} · {count(len(record.evaluations), 'evaluation')}"
    )
    figure.text(y=0.26 / height, s=key, fontsize=7.4, color=_SOFT, **put)
    figure.text(y=0.10 / height, s=about, fontsize=7.4, color=_SOFT, **put)
