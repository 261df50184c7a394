"""From a record to one self-contained HTML page and a PNG: is the run still good for people?

The page needs no network, no script and no library; the same record gives the same bytes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from markupsafe import Markup

from ..files import check_output, write_together, write_whole
from ..run.record import Record, find_record, read_record
from .answers import answers
from .figure import Figure, Others, main_figure
from .leanings import probes
from .looks import chart, over
from .memory import cutoff
from .page import Chart, Page, written
from .png import chart_png
from .reading import Reading
from .sections import evaluations, events, facts, groups, questions, settings, topics, trust
from .side_by_side import comparison
from .signals import signals
from .small_figures import thermometer
from .svg import draw

Source = Record | str | Path


class ReportPaths(NamedTuple):
    """Where the report lies; no `png` where matplotlib, an extra, is not installed."""

    html: Path
    png: Path | None


def write_report(
    record_or_path: Source, out: str | Path | None = None, *, others: Sequence[Source] = ()
) -> ReportPaths:
    """Write the report of a run: `<record>.html` and, beside it, the main figure as `<record>.png`.

    The names are that of the record's file (`hre` for a `Record`), or `out`; nothing inside the record decides them.

    Args:
        record_or_path (`Record`, `str` or `Path`): a record, its file, or the run's folder.
        out (`str` or `Path`, *optional*): the HTML file, or a folder for it. Defaults to beside the record.
        others (`Sequence`, *optional*): runs to compare with, in the same forms.

    Returns:
        `ReportPaths`: the two files; the page alone where matplotlib is missing, which it does not need.

    Raises:
        ValueError: a record that cannot be read, or no place to write.
    """
    html, png = _targets(record_or_path, out, others)
    name, reading = _open(record_or_path)
    compared = _named([_open(other) for other in others], taken=name)
    figure = main_figure(reading, _drawable(reading, compared))
    page = [_page(reading, figure, compared, name).encode("utf-8", "replace")]
    try:
        chart = [chart_png(figure)]
    except ImportError:
        write_whole(html, page)
        return ReportPaths(html, None)
    write_together([(html, page), (png, chart)])
    return ReportPaths(html, png)


def render(record: Record, *, others: Sequence[tuple[str, Record]] = (), name: str = "this run") -> str:
    """The page as a string. `others` are `(name, record)`; only runs on the same questions share the figure."""
    reading, compared = Reading(record), [(label, Reading(other)) for label, other in others]
    return _page(reading, main_figure(reading, _drawable(reading, compared)), compared, name)


def _page(reading: Reading, figure: Figure, others: Others, name: str) -> str:
    drawn = _drawable(reading, others)
    page = Page(
        run=f"{name} · {figure.run}" if others else figure.run,
        verdict=figure.verdict,
        thermometer=Markup() if others else thermometer(reading),
        answers=answers(reading, name, others),
        figure=main_chart(reading, figure, drawn),
        has_skips=bool(figure.skipped),
        has_others=bool(drawn),
        has_ceiling=math.isfinite(reading.ceiling),
        ceiling=reading.ceiling_words,
        people=reading.people.words if math.isfinite(reading.people.hre) else "",
        comparison=comparison(reading, name, others),
        signals=signals(reading),
        topics=topics(reading),
        groups=groups(reading),
        cutoff=cutoff(reading),
        probes=probes(reading),
        questions=questions(reading),
        trust=trust(reading),
        events=events(reading),
        facts=facts(reading),
        settings=settings(reading),
    )
    return written(page)


def main_chart(reading: Reading, figure: Figure, others: Others = ()) -> Chart | None:
    """The main figure with its numbers; none where it would be a lone point, which is said in words."""
    if max(panel.longest for panel in figure.panels) < 2:
        return None
    looks = evaluations(reading, figure, others)
    return chart(draw(figure, over(looks, "HumanRankEval and training signals")), looks)


def _open(source: Source) -> tuple[str, Reading]:
    """A record and what to call it: the name of the run's folder, else its model."""
    if isinstance(source, Record):
        reading = Reading(source)
        return reading.title, reading
    path = Path(source)
    folder = path if path.is_dir() else path.parent
    return folder.resolve().name, Reading(read_record(path, described=True))


def _named(found: Sequence[tuple[str, Reading]], taken: str) -> list[tuple[str, Reading]]:
    """The same runs under names that differ from each other and from `taken`."""
    names = {taken}
    result = []
    for name, other in found:
        unique, number = name, 2
        while unique in names:
            unique, number = f"{name} ({number})", number + 1
        names.add(unique)
        result.append((unique, other))
    return result


def _drawable(reading: Reading, others: Sequence[tuple[str, Reading]]) -> list[tuple[str, Reading]]:
    return [(name, other) for name, other in others if reading.comparable(other)]


def _targets(source: Source, out: str | Path | None, others: Sequence[Source]) -> tuple[Path, Path]:
    """Where page and chart go: known to be writable, and to be none of the records."""
    records = [find_record(Path(one)) for one in (source, *others) if not isinstance(one, Record)]
    html = _html(source, out)
    check_output(html, inputs=records, derived=out is None or Path(out) != html)
    png = html.with_suffix(".png")
    check_output(png, inputs=records, outputs=[html], derived=True)
    return html, png


def _html(source: Source, out: str | Path | None) -> Path:
    beside = Path("hre") if isinstance(source, Record) else find_record(Path(source))
    if out is None:
        if isinstance(source, Record):
            raise ValueError("write_report needs `out` when it is given a Record: it does not know its folder")
        return beside.with_suffix(".html")
    target = Path(out)
    if target.is_dir() or not target.suffix:
        return target / f"{beside.stem}.html"
    if target.suffix not in (".html", ".htm"):
        raise ValueError(f"out is {str(out)!r}; expected a folder or a file that ends in .html")
    return target
