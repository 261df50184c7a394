"""Runs side by side: a table of them, and what may be said of the difference between two."""

from __future__ import annotations

import math

from ..formatting import fixed, span
from ..run.words import Change, between
from ..stats.significance import known_clusters, paired_difference
from .figure import Others
from .headline import headline
from .page import Column, Comparison, RunCard, Table
from .reading import Reading
from .sections import numbers
from .small_figures import thermometer


def comparison(reading: Reading, name: str, others: Others) -> Comparison | None:
    """All runs side by side; a run on other questions is listed but said to be incomparable."""
    if not others:
        return None
    columns = [
        Column("run"),
        *numbers("start", "now", "change, 95 % interval", "highest", "n"),
        Column("verdict", "prose"),
    ]
    rows = [_run_row(name, reading)] + [_run_row(label, other) for label, other in others]
    apart = [label for label, other in others if not reading.comparable(other)]
    said = [told for label, other in others if (told := difference(name, reading, label, other))]
    table = Table(columns, rows, "Start and change are of the same run")
    return Comparison(_cards(reading, name, others), table, ", ".join(apart), said)


def _cards(reading: Reading, name: str, others: Others) -> list[RunCard]:
    """Every run's verdict, and where it stands; those that may be compared on one scale."""
    drawn = [other for _, other in others if reading.comparable(other)]
    cards = [RunCard(name, "own", headline(reading), thermometer(reading, drawn))]
    for label, other in others:
        turn = drawn.index(other) if other in drawn else None
        beside = () if turn is None else (reading, *drawn)
        css = "apart" if turn is None else f"other-{turn % 4}"
        cards.append(RunCard(label, css, headline(other), thermometer(other, beside)))
    return cards


def _run_row(name: str, reading: Reading) -> list[str]:
    start, now, best = reading.start, reading.now, reading.best
    score, at = reading.score, reading.steps
    change, low, high = (reading.current(f"delta_start{end}") for end in ("", "_low", "_high"))
    return [
        name,
        fixed(score[start]) if start is not None else "–",
        f"{fixed(score[now])} @ {at[now]:,}" if now is not None else "–",
        f"{fixed(change, signed=True)} ({span(low, high, signed=True)})",
        f"{fixed(score[best])} @ {at[best]:,}" if best is not None else "–",
        f"{reading.n_questions:,}",
        headline(reading).title,
    ]


def difference(name: str, reading: Reading, label: str, other: Reading) -> str | None:
    """How another run stands to this one in a sentence; `None` where they cannot be compared."""
    found = last_difference(reading, other)
    return None if found is None else between(name, label, *found)


def last_difference(reading: Reading, other: Reading) -> tuple[int, Change, int] | None:
    """How another run stands to this one at the last step that both have, and since which look it does.

    The pair is a question: both runs were scored on the same ones, whatever their order. `None` where they were not, or
    share no step but the start.
    """
    if not reading.comparable(other):
        return None
    mine, its = ({step: i for i, step in enumerate(one.steps)} for one in (reading, other))
    shared = sorted(step for step in mine.keys() & its.keys() if step > 0)
    found = [(step, _difference(reading, mine[step], other, its[step])) for step in shared]
    if not found:
        return None
    step, last = found[-1]
    same = [at for at, change in found if change.direction != last.direction]
    return step, last, next(at for at, _ in found if at > max(same, default=-1))


def _difference(reading: Reading, i: int, other: Reading, j: int) -> Change:
    of_other = dict(zip((question.id for question in other.questions), other.pearsons(j), strict=True))
    theirs = [of_other.get(question.id, math.nan) for question in reading.questions]
    clusters = known_clusters([question.cluster for question in reading.questions])
    found = paired_difference(theirs, reading.pearsons(i), clusters=clusters)
    return Change(found.estimate, found.low, found.high)
