"""The live HRE curve in the terminal: follows the record as it grows."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from .headline import headline
from .record import Record, read_record
from .story import (
    ceiling_of,
    count,
    events,
    finished,
    fixed,
    latest,
    main_proxies,
    marks,
    proxy_values,
    run_title,
    short,
    start_index,
    steps,
    values,
)
from .svg import Scale, spanning, tick_text

_TONES = {"good": "green", "neutral": "bold", "watch": "yellow", "bad": "red"}
_GLYPH = {"good": "✓", "neutral": "○", "watch": "!", "bad": "✕"}
_PEOPLE = "bold cyan"
_ROWS = 9  # character rows of the plot; a braille cell has 4 × 2 dots
_MARGIN = 8  # columns of the y axis
_BLOCKS = "▁▂▃▄▅▆▇█"
# Bits of the braille pattern, by row of dots and column of dots.
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))


def watch(
    run_dir: str | Path, *, refresh: float = 2.0, once: bool = False, console: Console | None = None
) -> None:
    """Show a run's HRE in the terminal until it has finished, or Ctrl-C.

    Args:
        run_dir (`str` or `Path`): the run's folder, or its record.
        refresh (`float`, *optional*, defaults to `2.0`): seconds between two looks at the file.
        once (`bool`, *optional*, defaults to `False`): print one frame and return.
        console (`Console`, *optional*): where to draw; standard output if not given.

    Raises:
        ValueError: `once` and there is no record, or a record that is damaged.
    """
    screen = console or Console()
    path = Path(run_dir)
    if once:
        screen.print(frame(read_record(path), screen.width))
        return
    try:
        _follow(path, refresh, screen)
    except KeyboardInterrupt:
        return


def _follow(path: Path, refresh: float, screen: Console) -> None:
    seen: object = None
    shown = False
    with Live(console=screen, auto_refresh=False) as live:
        while True:
            found = _signature(path)
            record = _read(path) if found and found != seen else None
            seen = found
            if record is not None:
                shown = True
                live.update(frame(record, screen.width), refresh=True)
                if finished(record) is not None:
                    return
            elif not shown:
                live.update(Text(f"Waiting for a record at {path}"), refresh=True)
            time.sleep(refresh)


def _signature(path: Path) -> tuple[tuple[str, int, int], ...]:
    """Name, size and time of the record's file, or of the candidates in a folder; empty before there is any."""
    files = sorted(path.glob("*.jsonl")) if path.is_dir() else [path] if path.exists() else []
    stats = [(file.name, file.stat()) for file in files]
    return tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats if stat.st_size)


def _read(path: Path) -> Record | None:
    """The record, None while there is none or its first line is still being written."""
    files = path.glob("*.jsonl") if path.is_dir() else [path]
    return read_record(path) if any(_begun(file) for file in files) else None


def _begun(file: Path) -> bool:
    with open(file, "rb") as opened:
        head = opened.readline()
    return head.startswith(b'{"kind":"run"') and head.endswith(b"\n")


def frame(record: Record, width: int = 80) -> Group:
    """One picture of the run: verdict, numbers, curve, training signals."""
    verdict = headline(record)
    style = _TONES[verdict.tone]
    return Group(
        Text(f"HumanRankEval · {run_title(record.run)} · questions {record.run['fingerprint']}", style="dim"),
        Text(f"{_GLYPH[verdict.tone]} {verdict.title}", style=f"bold {style}"),
        Text(verdict.detail),
        *(Text(f"{mark.text} at step {mark.step:,}", style=_TONES[mark.tone]) for mark in marks(record)),
        *_skips(record),
        Text(),
        plot(record, max(20, min(width, 110) - _MARGIN - 10)),
        Text(),
        _signals(record),
    )


def _skips(record: Record) -> list[Text]:
    skipped = events(record, "skipped")
    if not skipped:
        return []
    words = f"{count(len(skipped), 'evaluation')} skipped, last: {skipped[-1].get('reason')}"
    return [Text(words, style="yellow")]


def plot(record: Record, columns: int) -> Text:
    """The curve in braille dots: HRE bold, its 95 % interval shaded, the start dotted across."""
    at, score = steps(record), values(record, "score")
    low, high = values(record, "ci_low"), values(record, "ci_high")
    if not any(map(math.isfinite, score)):
        return Text("no score yet", style="dim")
    x = Scale(min(at), max(at)) if max(at) > min(at) else Scale(at[0], at[0] + 1)
    y = spanning([*score, *low, *high], margin=0.02, least=0.02)
    curve = _dots(at, score, x, y, columns)
    shade = _shade(_between(at, low, high, x, columns), x, y, columns)
    start = start_index(record)
    base = _row(score[start], y) if start is not None else None
    text = Text()
    labels = _y_labels(y)
    for row in range(_ROWS):
        text.append(f"{labels.get(row, ''):>{_MARGIN - 2}} ", style="dim")
        text.append("│", style="dim")
        for column in range(columns):
            bits = curve.get((row, column), 0)
            if bits:
                text.append(chr(0x2800 + bits), style=_PEOPLE)
            elif row == base:
                text.append("┈", style="cyan")
            else:
                text.append("░" if (row, column) in shade else " ", style="dim cyan")
        text.append(" start\n" if row == base else "\n", style="cyan")
    return text.append_text(_x_axis(x, columns, ceiling_of(record)))


def _column(step: float, x: Scale, columns: int) -> int:
    return min(columns - 1, max(0, round(x.at(step) * (columns - 1))))


def _row(value: float, y: Scale) -> int:
    return min(_ROWS - 1, max(0, int((1 - y.at(value)) * _ROWS)))


def _shade(
    rows: Sequence[tuple[float, float, float]], x: Scale, y: Scale, columns: int
) -> set[tuple[int, int]]:
    """The character cells inside the interval."""
    return {
        (row, _column(step, x, columns))
        for step, low, high in rows
        for row in range(_row(high, y), _row(low, y) + 1)
    }


def _between(
    at: Sequence[float], low: Sequence[float], high: Sequence[float], x: Scale, columns: int
) -> list[tuple[float, float, float]]:
    """`(step, low, high)` for every character column, interpolated between neighbouring evaluations."""
    rows = [row for row in zip(at, low, high, strict=True) if math.isfinite(row[1] + row[2])]
    found = list(rows)
    for (a, a_low, a_high), (b, b_low, b_high) in zip(rows, rows[1:], strict=False):
        for column in range(_column(a, x, columns), _column(b, x, columns)):
            step = x.low + column / max(1, columns - 1) * (x.high - x.low)
            share = min(1.0, max(0.0, (step - a) / (b - a)))
            found.append((step, a_low + share * (b_low - a_low), a_high + share * (b_high - a_high)))
    return found


def _dots(
    at: Sequence[float], numbers: Sequence[float], x: Scale, y: Scale, columns: int
) -> dict[tuple[int, int], int]:
    """The curve as braille bits by (row, column); neighbours are joined, missing values leave a gap."""
    cells: dict[tuple[int, int], int] = {}

    def put(across: float, down: float) -> None:
        i = min(2 * columns - 1, max(0, round(across * (2 * columns - 1))))
        j = min(4 * _ROWS - 1, max(0, round((1 - down) * (4 * _ROWS - 1))))
        key = (j // 4, i // 2)
        cells[key] = cells.get(key, 0) | _DOTS[j % 4][i % 2]

    points = [(x.at(step), y.at(value)) for step, value in zip(at, numbers, strict=True)]
    for a, b in zip(points, points[1:] or points, strict=False):
        n = 2 * columns if math.isfinite(a[1] + b[1]) else 0
        for k in range(n + 1):
            share = k / n if n else 0.0
            down = a[1] + share * (b[1] - a[1]) if n else a[1]
            if math.isfinite(down):
                put(a[0] + share * (b[0] - a[0]), down)
    if points and math.isfinite(points[-1][1]):
        put(*points[-1])
    return cells


def _y_labels(y: Scale) -> dict[int, str]:
    ticks = y.ticks(4)
    return {_row(tick, y): tick_text(tick, ticks) for tick in ticks}


def _x_axis(x: Scale, columns: int, ceiling: float) -> Text:
    text = Text(" " * (_MARGIN - 1) + "└" + "─" * columns + "\n", style="dim")
    left, right = f"{x.low:,.0f}", f"{x.high:,.0f} step"
    text.append(" " * _MARGIN + left + right.rjust(columns - len(left)), style="dim")
    note = "bold: HRE, shaded: its 95 % interval"
    if math.isfinite(ceiling):
        note += f"; human ceiling {fixed(ceiling, digits=2)}"
    return text.append(f"\n{' ' * _MARGIN}{note}", style="dim")


def blocks(numbers: Sequence[float], width: int = 24) -> str:
    """A sparkline in block characters, the latest `width` values; a missing value is a gap."""
    shown = list(numbers)[-width:]
    scale = spanning(shown, margin=0.0)
    return "".join(
        _BLOCKS[min(7, int(8 * scale.at(value)))] if math.isfinite(value) else " " for value in shown
    )


def _signals(record: Record) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("signal", "goal", "first", "now", "over the run"):
        table.add_column(name, justify="right" if name in ("first", "now") else "left")
    score = values(record, "score")
    table.add_row("HRE", "higher", fixed(_first(score)), fixed(latest(score)), blocks(score), style=_PEOPLE)
    for one in main_proxies(record):
        numbers = proxy_values(record, one.key)
        goal = one.better or ""
        table.add_row(Text(one.label), goal, short(_first(numbers)), short(latest(numbers)), blocks(numbers))
    return table


def _first(numbers: Sequence[float]) -> float:
    return next((value for value in numbers if math.isfinite(value)), math.nan)
