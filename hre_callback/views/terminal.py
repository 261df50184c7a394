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

from ..formatting import count, fixed
from ..plain_text import plain_text
from ..run.record import BESIDE, Record, is_record, read_record
from .figure import Band, Curve, Figure, Panel, Rule, main_figure
from .numbers import finite
from .reading import Reading
from .scale import Scale, spanning, tick_text

_TONES = {"good": "green", "neutral": "bold", "watch": "yellow", "bad": "red"}
_PEOPLE = "bold cyan"
# Other runs, in their turn.
_OTHERS = ("magenta", "yellow", "green", "blue")
# Character rows of the plot; a braille cell has 4 × 2 dots.
_ROWS = 9
# Columns of the y axis.
_MARGIN = 8
_BLOCKS = "▁▂▃▄▅▆▇█"
# Bits of the braille pattern, by row of dots and column of dots.
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))


def watch(run_dir: str | Path, *, refresh: float = 2.0, once: bool = False, console: Console | None = None) -> None:
    """Show a run's HRE in the terminal until it has finished, or Ctrl-C.

    Args:
        run_dir (`str` or `Path`): the run's folder, or its record.
        refresh (`float`, *optional*, defaults to `2.0`): seconds between two looks at the file.
        once (`bool`, *optional*, defaults to `False`): print one frame and return.
        console (`Console`, *optional*): where to draw; standard output if not given.

    Raises:
        ValueError: there is no such folder or file; `once` and there is no record; a record that is damaged.
    """
    screen = console or Console()
    path = Path(run_dir)
    if not path.exists():
        raise ValueError(f"{path}: no such folder or record; a run makes its folder when training begins")
    if once:
        screen.print(frame(main_figure(Reading(read_record(path))), screen.width))
        return
    try:
        _follow(path, refresh, screen)
    except KeyboardInterrupt:
        return


def _follow(path: Path, refresh: float, screen: Console) -> None:
    seen: object = None
    shown = waited = False
    with Live(console=screen, auto_refresh=False) as live:
        while True:
            found = _signature(path)
            record = _read(path) if found and found != seen else None
            seen = found
            if record is not None:
                shown = True
                reading = Reading(record)
                live.update(frame(main_figure(reading), screen.width), refresh=True)
                if reading.finished is not None:
                    return
            elif not shown:
                _wait(path, live, waited)
                waited = True
            time.sleep(refresh)


def _wait(path: Path, live: Live, again: bool) -> None:
    words = _words(f"Waiting for a record at {path}")
    live.update(words, refresh=True)
    if not (live.console.is_terminal or again):
        # A pipe sees the last frame alone.
        live.console.print(words)


def _signature(path: Path) -> tuple[tuple[str, int, int], ...]:
    """Name, size and time of the record's file, or of the candidates in a folder; empty before there is any."""
    stats = [(file.name, file.stat()) for file in _candidates(path)]
    return tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats if stat.st_size)


def _candidates(path: Path) -> list[Path]:
    """Files only: a link may lead nowhere, and a pipe would wait for its writer for ever."""
    files = sorted(path.glob("*.jsonl")) + sorted(path.glob(f"{BESIDE}/*.jsonl")) if path.is_dir() else [path]
    return [file for file in files if file.is_file()]


def _read(path: Path) -> Record | None:
    """The record, None while there is none or its first line is still being written.

    Raises:
        ValueError: it is damaged, or the file that was named begins with something else, and will never be one.
    """
    begun = [file for file in _candidates(path) if _has_a_line(file)]
    return read_record(path) if any(file == path or is_record(file) for file in begun) else None


def _has_a_line(file: Path) -> bool:
    with open(file, "rb") as opened:
        return opened.readline().endswith(b"\n")


def frame(figure: Figure, width: int = 80) -> Group:
    """One picture of the run: verdict, numbers, curve, training signals."""
    verdict = figure.verdict
    style = _TONES[verdict.tone]
    return Group(
        _words(f"HumanRankEval · {figure.run} · questions {figure.fingerprint}", style="dim"),
        _words(f"{verdict.glyph} {verdict.title}", style=f"bold {style}"),
        _words(verdict.detail),
        *(_words(words, style=style) for words in verdict.reasons),
        *map(_words, filter(None, (verdict.advice, *verdict.notes))),
        *(_words(f"{mark.text} at step {mark.step:,}", style=_TONES[mark.tone]) for mark in figure.marks),
        *_skips(figure),
        Text(),
        plot(figure, max(20, min(width, 110) - _MARGIN - 10)),
        Text(),
        _signals(figure),
    )


def _skips(figure: Figure) -> list[Text]:
    if not figure.skipped:
        return []
    words = f"{count(len(figure.skipped), 'evaluation')} skipped, last: {figure.skipped[-1].reason}"
    return [_words(words, style="yellow")]


def _words(text: str, style: str = "") -> Text:
    """Words that may come from outside: no markup is read in them, no control character gets through."""
    return Text(plain_text(text), style=style)


def plot(figure: Figure, columns: int) -> Text:
    """HRE in braille dots: its curve bold, its interval shaded, the start dotted across."""
    panel, x = figure.panels[0], figure.x
    curves = [layer for layer in panel.layers if isinstance(layer, Curve)]
    bands = [layer for layer in panel.layers if isinstance(layer, Band) and not layer.fine]
    if not finite(panel.curve.values):
        return Text("no score yet", style="dim")
    seen = [v for one in curves for v in one.values] + [v for one in bands for v in (*one.low, *one.high)]
    y = spanning(seen, margin=0.02, least=panel.least)
    inked = [(_dots(one, x, y, columns), _ink(one)) for one in curves]
    shade = {cell for one in bands for cell in _shade(_between(one, x, columns), x, y, columns)}
    across = {_row(rule.y, y): rule for rule in _rules(panel) if rule.role == "start"}
    text = Text()
    labels = _y_labels(y)
    for row in range(_ROWS):
        text.append(f"{labels.get(row, ''):>{_MARGIN - 2}} ", style="dim")
        text.append("│", style="dim")
        for column in range(columns):
            drawn = next(((cells[row, column], ink) for cells, ink in inked if (row, column) in cells), None)
            if drawn:
                text.append(chr(0x2800 + drawn[0]), style=drawn[1])
            elif row in across:
                text.append("┈", style="cyan")
            else:
                text.append("░" if (row, column) in shade else " ", style="dim cyan")
        text.append(f" {across[row].name}\n" if row in across else "\n", style="cyan")
    return text.append_text(_x_axis(x, columns, panel))


def _rules(panel: Panel) -> list[Rule]:
    """The lines worth a row, or a word."""
    return [layer for layer in panel.layers if isinstance(layer, Rule) and not layer.fine]


def _ink(curve: Curve) -> str:
    return _OTHERS[curve.turn % len(_OTHERS)] if curve.role == "other" else _PEOPLE


def _column(step: float, x: Scale, columns: int) -> int:
    return min(columns - 1, max(0, round(x.at(step) * (columns - 1))))


def _row(value: float, y: Scale) -> int:
    return min(_ROWS - 1, max(0, int((1 - y.at(value)) * _ROWS)))


def _shade(rows: Sequence[tuple[float, float, float]], x: Scale, y: Scale, columns: int) -> set[tuple[int, int]]:
    """The character cells inside the interval."""
    return {
        (row, _column(step, x, columns)) for step, low, high in rows for row in range(_row(high, y), _row(low, y) + 1)
    }


def _between(band: Band, x: Scale, columns: int) -> list[tuple[float, float, float]]:
    """`(step, low, high)` for every character column, interpolated between neighbouring evaluations."""
    looks = zip(map(float, band.at), band.low, band.high, strict=True)
    rows = [row for row in looks if math.isfinite(row[1] + row[2])]
    found = list(rows)
    for (a, a_low, a_high), (b, b_low, b_high) in zip(rows, rows[1:], strict=False):
        for column in range(_column(a, x, columns), _column(b, x, columns)):
            step = x.low + column / max(1, columns - 1) * (x.high - x.low)
            share = min(1.0, max(0.0, (step - a) / (b - a)))
            found.append((step, a_low + share * (b_low - a_low), a_high + share * (b_high - a_high)))
    return found


def _dots(curve: Curve, x: Scale, y: Scale, columns: int) -> dict[tuple[int, int], int]:
    """The curve as braille bits by (row, column); neighbours are joined, missing values leave a gap."""
    cells: dict[tuple[int, int], int] = {}

    def put(across: float, down: float) -> None:
        i = min(2 * columns - 1, max(0, round(across * (2 * columns - 1))))
        j = min(4 * _ROWS - 1, max(0, round((1 - down) * (4 * _ROWS - 1))))
        key = (j // 4, i // 2)
        cells[key] = cells.get(key, 0) | _DOTS[j % 4][i % 2]

    points = [(x.at(step), y.at(value)) for step, value in zip(curve.at, curve.values, strict=True)]
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


def _x_axis(x: Scale, columns: int, panel: Panel) -> Text:
    text = Text(" " * (_MARGIN - 1) + "└" + "─" * columns + "\n", style="dim")
    left, right = f"{x.low:,.0f}", f"{x.high:,.0f} step"
    text.append(" " * _MARGIN + left + right.rjust(columns - len(left)), style="dim")
    note = f"bold: {panel.name}, shaded: its 95 % interval"
    for rule in _rules(panel):
        note += f"; {rule.name} {fixed(rule.y, digits=2)}" if rule.role != "start" else ""
    return text.append(f"\n{' ' * _MARGIN}{note}", style="dim")


def blocks(numbers: Sequence[float], width: int = 24) -> str:
    """A sparkline in block characters, the latest `width` values; a missing value is a gap."""
    shown = list(numbers)[-width:]
    scale = spanning(shown, margin=0.0)
    return "".join(_BLOCKS[min(7, int(8 * scale.at(value)))] if math.isfinite(value) else " " for value in shown)


def _signals(figure: Figure) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("signal", "goal", "first", "now", "over the run"):
        table.add_column(name, justify="right" if name in ("first", "now") else "left")
    for i, panel in enumerate([*figure.panels, *figure.told]):
        said = [panel.name, panel.goal, panel.first, panel.now, blocks(panel.curve.values)]
        table.add_row(*map(_words, said), style=None if i else _PEOPLE)
    return table
