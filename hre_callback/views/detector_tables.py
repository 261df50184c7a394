"""What the detectors say of recorded runs, as tables: for the terminal, a file of Markdown and JSON."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from rich.cells import cell_len, set_cell_size

from ..formatting import count, fixed
from ..plain_text import as_markdown, plain_text
from ..run.detectors import DETECTORS, Replayed, Standing, standings
from ..run.record_file import plain
from ..run.replay import TRUTHS

_NOTHING = "–"


@dataclass(frozen=True)
class Table:
    """A table under its title; the first cell of a row comes from outside where `of_runs`."""

    title: str
    head: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    notes: tuple[str, ...] = ()
    of_runs: bool = False


def sorted_runs(runs: Sequence[Replayed]) -> list[Replayed]:
    """The runs by what is known of them, the harmful ones first."""
    order: list[str | None] = [*TRUTHS, None]
    return sorted(runs, key=lambda run: order.index(run.replay.truth))


def tables(runs: Sequence[Replayed], *, rules: bool = False) -> list[Table]:
    """Everything that is shown, of runs that are in their order.

    Args:
        rules: with the detectors' own thresholds and where they are from.
    """
    known = any(run.replay.truth for run in runs)
    found = [_rates(runs)] if known else []
    found += [_alarms(runs, known), _first_look(runs, known)]
    return found + ([_rules()] if rules else [])


def as_text(found: Sequence[Table]) -> list[str]:
    """Lines for a terminal."""
    return [line for table in found for line in (table.title, "", *_grid(table, plain_text), "", *_spaced(table.notes))]


def as_markdown_page(found: Sequence[Table]) -> str:
    """The same as a page of Markdown."""
    parts = [
        f"## {table.title}\n\n" + "\n".join([*_grid(table, as_markdown), "", *_spaced(table.notes)]) for table in found
    ]
    return "# Detectors of objective mismatch, replayed\n\n" + "\n".join(parts)


def in_words(found: Sequence[Standing]) -> str:
    """How often each detector is right, in one line of ASCII each: what a picture of it shows."""
    told = "{0.detector.name}: false alarms {0.false_alarms.k} of {0.false_alarms.n}, found {0.found.k} of {0.found.n}"
    return "; ".join(told.format(one) for one in found)


def as_json(runs: Sequence[Replayed], left_out: Mapping[str, str]) -> dict[str, Any]:
    """The same in numbers, JSON-plain; a detector that could not be asked of a run is not among its `alarms`."""
    return plain(  # type: ignore[no-any-return]
        {
            "detectors": [_standing(one) for one in standings(runs)],
            "runs": [_run(run) for run in runs],
            "left_out": left_out,
        }
    )


def _rates(runs: Sequence[Replayed]) -> Table:
    kinds = Counter(run.replay.truth for run in runs)
    told = ", ".join(f"{kinds[truth]} {truth or 'of unknown truth'}" for truth in (*TRUTHS, None) if kinds[truth])
    rows = [
        (
            one.detector.name,
            "yes" if one.detector.holds else "no",
            _share(one.false_alarms),
            _share(one.found),
            f"{one.unclear.k} of {one.unclear.n}" if one.unclear.n else _NOTHING,
            _lead(one.leads),
            str(one.asked),
        )
        for one in standings(runs)
    ]
    return Table(
        "How often they are right",
        ("detector", "bounded", "false alarms", "found", "where unclear", "lead in looks", "asked"),
        rows,
        (
            f"{count(len(runs), 'run')}: {told}. Intervals are exact, 95 %.",
            "Bounded: its false alarms over all looks of a run are held by design. False alarms: on runs that are not "
            "harmful. Found: of the harmful ones; who always alarms finds all. Where unclear: other questions cannot "
            "tell, so that an alarm is neither right nor wrong.",
            "Lead, median and range: looks from the alarm to where other questions show harm, negative where it came "
            "later. Asked: runs that have what it needs.",
        ),
    )


def _alarms(runs: Sequence[Replayed], known: bool) -> Table:
    rows = []
    for run in runs:
        looks = sorted({at for at in run.fires.values() if at is not None})
        here = {look: ", ".join(name for name, at in run.fires.items() if at == look) for look in looks}
        said = "; ".join(f"{run.replay.steps[look]} {names}" for look, names in here.items())
        since = run.replay.since
        truth = (run.replay.truth or _NOTHING) + ("" if since is None else f" from {run.replay.steps[since]}")
        rows.append((run.replay.name, *([truth] if known else []), said or _NOTHING))
    head = ("run", *(["truth"] if known else []), "first alarms by step")
    return Table("Who alarms when", head, rows, of_runs=True)


def _first_look(runs: Sequence[Replayed], known: bool) -> Table:
    rows = [
        (
            run.replay.name,
            *([run.replay.truth or _NOTHING] if known else []),
            str(run.replay.steps[1]),
            fixed(run.push_z, signed=True, digits=1),
            fixed(run.change_z, signed=True, digits=1),
        )
        for run in runs
    ]
    both = [(run.push_z, run.change_z) for run in runs if math.isfinite(run.push_z + run.change_z)]
    larger = sum(abs(push) > abs(change) for push, change in both)
    note = (
        "In standard errors over the questions, below 0 against people. "
        f"Push is further from 0 than HRE's change in {larger} of {count(len(both), 'run')}."
    )
    head = ("run", *(["truth"] if known else []), "step", "push z", "HRE change z")
    return Table("Push and HRE's change at the first look", head, rows, (note,), of_runs=True)


def _rules() -> Table:
    rows = [(one.name, one.rule, one.source) for one in DETECTORS]
    return Table("What each of them asks", ("detector", "alarms when", "threshold from"), rows)


def _share(found: Any) -> str:
    if not found.n:
        return _NOTHING
    return f"{found.k} of {found.n} ({100 * found.low:.0f} to {100 * found.high:.0f} %)"


def _lead(leads: Sequence[int]) -> str:
    if not leads:
        return _NOTHING
    middle, low, high = (f"{value:+g}".replace("-", "−") if value else "0" for value in _range(leads))
    return f"{middle} ({low} to {high})"


def _range(leads: Sequence[int]) -> tuple[float, int, int]:
    return median(leads), min(leads), max(leads)


def _grid(table: Table, written: Callable[[object], str]) -> list[str]:
    """The lines of an aligned table."""
    rows = [(written(row[0]), *row[1:]) if table.of_runs else row for row in table.rows]
    widths = [max(map(cell_len, column)) for column in zip(table.head, *rows, strict=True)]
    lines = [table.head, tuple("-" * width for width in widths), *rows]
    return [f"| {' | '.join(map(set_cell_size, line, widths))} |" for line in lines]


def _spaced(notes: Sequence[str]) -> list[str]:
    return [line for note in notes for line in (note, "")]


def _standing(one: Standing) -> dict[str, Any]:
    lead = dict(zip(("median", "low", "high"), _range(one.leads), strict=True)) if one.leads else None
    return {
        "detector": one.detector.name,
        "rule": one.detector.rule,
        "source": one.detector.source,
        "bounded": one.detector.holds,
        "false_alarms": one.false_alarms._asdict(),
        "found": one.found._asdict(),
        "unclear": one.unclear._asdict(),
        "lead": lead,
        "asked": one.asked,
    }


def _run(run: Replayed) -> dict[str, Any]:
    replay, steps = run.replay, run.replay.steps
    return {
        "run": replay.name,
        "truth": replay.truth,
        "harmful_from": None if replay.since is None else steps[replay.since],
        "steps": steps,
        "alarms": {name: None if at is None else steps[at] for name, at in run.fires.items()},
        "push_z": run.push_z,
        "change_z": run.change_z,
    }
