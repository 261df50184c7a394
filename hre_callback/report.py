"""From a record to one self-contained HTML page and a PNG: is the run still good for people?

The page needs no network, no script and no library; the same record gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple

from .chart import chart_png
from .figures import thermometer
from .files import write_whole
from .headline import detail, headline
from .page import document, paragraph, section
from .panels import run_figure
from .record import Record, read_record
from .sections import comparison, evaluations, events_list, facts_list, questions, topics, trust
from .signals import signals
from .story import comparable, diverged_since, events, run_title

Source = Record | str | Path

_GLYPH = {"good": "✓", "neutral": "○", "watch": "!", "bad": "✕"}


class ReportPaths(NamedTuple):
    """Where the report lies."""

    html: Path
    png: Path


def write_report(
    record_or_path: Source, out: str | Path | None = None, *, others: Sequence[Source] = ()
) -> ReportPaths:
    """Write the report of a run: `<name>.html` and, beside it, the main figure as `<name>.png`.

    Args:
        record_or_path (`Record`, `str` or `Path`): a record, its file, or the run's folder.
        out (`str` or `Path`, *optional*): the HTML file, or a folder for it. Defaults to beside the record.
        others (`Sequence`, *optional*): runs to compare with, in the same forms.

    Returns:
        `ReportPaths`: the two files.

    Raises:
        ValueError: a record that cannot be read, or no place to write.
        ImportError: matplotlib is missing. The page, which does not need it, is written all the same.
    """
    name, record = _open(record_or_path)
    compared = _named([_open(other) for other in others], taken=name)
    html = _target(record_or_path, record, out)
    write_whole(html, [render(record, others=compared, name=name).encode("utf-8", "replace")])
    png = html.with_suffix(".png")
    write_whole(png, [chart_png(record, others=_drawable(record, compared))])
    return ReportPaths(html, png)


def render(record: Record, *, others: Sequence[tuple[str, Record]] = (), name: str = "this run") -> str:
    """The page as a string. `others` are `(name, record)`; only runs on the same questions share the figure."""
    drawn = _drawable(record, others)
    return document(
        f"{headline(record).title} · {run_title(record.run)}",
        _header(record),
        [
            _figure(record, drawn),
            comparison(record, name, others),
            signals(record),
            topics(record),
            questions(record),
            trust(record),
            events_list(record),
            evaluations(record),
            facts_list(record),
        ],
        paragraph(
            "HumanRankEval: Gritta, Lampouras and Iacobacci, NAACL 2024, arXiv 2405.09186. "
            "Written by hre_callback from the run’s own record; this page loads nothing."
        ),
    )


def _open(source: Source) -> tuple[str, Record]:
    """A record and what to call it: the name of the run's folder, else its model."""
    if isinstance(source, Record):
        return run_title(source.run), source
    path = Path(source)
    folder = path if path.is_dir() else path.parent
    return folder.resolve().name, read_record(path)


def _named(found: Sequence[tuple[str, Record]], taken: str) -> list[tuple[str, Record]]:
    """The same runs under names that differ from each other and from `taken`."""
    names = {taken}
    result = []
    for name, record in found:
        unique, number = name, 2
        while unique in names:
            unique, number = f"{name} ({number})", number + 1
        names.add(unique)
        result.append((unique, record))
    return result


def _drawable(record: Record, others: Sequence[tuple[str, Record]]) -> list[tuple[str, Record]]:
    return [(name, other) for name, other in others if comparable(record, other)]


def _target(source: Source, record: Record, out: str | Path | None) -> Path:
    stem = str(record.run.get("name") or "hre")
    if out is None:
        if isinstance(source, Record):
            raise ValueError(
                "write_report needs `out` when it is given a Record: it does not know its folder"
            )
        path = Path(source)
        return path / f"{stem}.html" if path.is_dir() else path.with_suffix(".html")
    target = Path(out)
    if target.is_dir() or not target.suffix:
        return target / f"{stem}.html"
    if target.suffix not in (".html", ".htm"):
        raise ValueError(f"out is {str(out)!r}; expected a folder or a file that ends in .html")
    return target


def _header(record: Record) -> str:
    verdict = headline(record)
    reasons = []
    if diverged_since(record) is not None and record.evaluations[-1].get("reason"):
        reasons.append(str(record.evaluations[-1]["reason"]))
    for stop in events(record, "stop"):
        rule = str(stop.get("rule") or "a rule").replace("_", " ")
        note = ", a rule without a controlled false-alarm rate" if stop.get("rule") == "patience" else ""
        reasons.append(
            f"Stopped at step {stop['step']:,} by “{rule}”{note}. {stop.get('reason') or ''}".strip()
        )
    return "\n".join(
        [
            paragraph(f"HumanRankEval · {run_title(record.run)}", "kicker"),
            f'<h1 class="{verdict.tone}"><span aria-hidden="true">{_GLYPH[verdict.tone]} </span>'
            f"{escape(verdict.title)}</h1>",
            paragraph(detail(record), "detail"),
            *(paragraph(reason, "note") for reason in reasons),
            thermometer(record),
        ]
    )


def _figure(record: Record, others: Sequence[tuple[str, Record]]) -> str:
    if not record.evaluations:
        return ""
    caption = (
        "Blue line: HRE, the mean correlation between how likely the model finds people’s answers and the votes "
        "they got. Light band: 95 % interval of HRE itself. Dark band: 95 % interval of the change since the "
        "start, paired on the same questions; where it leaves the dotted start line, the change is more than "
        "chance explains on that look. Dashed line above: how high votes this noisy let any model go."
    )
    if events(record, "skipped"):
        caption += " × an evaluation that failed and was skipped."
    if others:
        caption += " Coloured lines: the other runs, without their bands."
    body = f"<figure>\n{run_figure(record, others)}\n<figcaption>{paragraph(caption)}</figcaption></figure>"
    return section("run", "People’s judgement beside what training optimises", body)
