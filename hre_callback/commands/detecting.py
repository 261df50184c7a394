"""Replay recorded runs through detectors of objective mismatch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..plain_text import plain_text
from .terminal_output import AsJson, Quiet, progress_bar, say

if TYPE_CHECKING:
    from ..run.detectors import Replayed

_NAMES = ("detectors.md", "detectors.png")


def detectors(
    folder: Annotated[
        Path, typer.Argument(help="A folder of runs: records (.jsonl) or run folders; runs.json may tell their truth.")
    ],
    out: Annotated[Path | None, typer.Option(help="Write detectors.md and detectors.png into this folder.")] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Replay recorded runs: which detector of objective mismatch alarms when, and how often it is right."""
    from ..run.detectors import replayed
    from ..run.replay import read_runs
    from ..views.detector_tables import as_json as in_numbers
    from ..views.detector_tables import as_text, sorted_runs, tables

    if out is not None:
        _check(out)
    with progress_bar(quiet or as_json) as bar:
        task = bar.add_task(plain_text(f"Reading {folder}"), total=None)
        runs = read_runs(folder)
        found = []
        for done, one in enumerate(runs.replays):
            bar.update(task, description=plain_text(f"Replaying {one.name}"), completed=done, total=len(runs.replays))
            found.append(replayed(one))
        found = sorted_runs(found)
        chart = out and _write(out, found)
    if as_json:
        say(json.dumps(in_numbers(found, runs.left_out), allow_nan=False))
    elif not quiet:
        say(*as_text(tables(found)), *(f"Left out: {name}, {why}" for name, why in runs.left_out.items()))
        if out is not None:
            say(f"Tables: {out / _NAMES[0]}", f"Chart:  {chart}")


def _check(out: Path) -> None:
    from ..files import check_output, check_output_folder

    check_output_folder(out)
    for name in _NAMES:
        check_output(out / name, derived=True)


def _write(out: Path, runs: Sequence[Replayed]) -> str:
    """Write tables and chart; says where the chart is, or what it needs."""
    from ..files import write_together
    from ..views.detector_chart import detectors_png
    from ..views.detector_tables import as_markdown_page, tables
    from ..views.png import NO_MATPLOTLIB

    text, png = (out / name for name in _NAMES)
    page = [as_markdown_page(tables(runs, rules=True)).encode("utf-8", "replace")]
    try:
        chart = [detectors_png(runs)]
    except ImportError:
        write_together([(text, page)])
        return f"none, {NO_MATPLOTLIB}"
    write_together([(text, page), (png, chart)])
    return str(png)
