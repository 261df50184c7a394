"""Records without a run: from the lines of a file, or from what a test cares about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hre_callback.run.lines import Evaluation, Event, RunLine, line_of
from hre_callback.run.record import Record


def of_lines(lines: Sequence[dict[str, Any]]) -> Record:
    """The record of a file with these lines, the run line first."""
    run, *rest = map(line_of, lines)
    assert isinstance(run, RunLine)
    looks = [line for line in rest if isinstance(line, Evaluation)]
    return Record(run, looks, [line for line in rest if isinstance(line, Event)])


def of(
    run: Mapping[str, Any] | None = None,
    looks: Sequence[Mapping[str, Any]] = (),
    events: Sequence[Mapping[str, Any]] = (),
) -> Record:
    """The same from the fields of the run line, of the evaluations and of the events, as far as a test has them."""
    head = {"kind": "run", "version": 2, "fingerprint": "f", "questions": [], **(run or {})}
    unmeasured: dict[str, Any] = {"kind": "evaluation", "loglikelihoods": [], "pearson": []}
    return of_lines([head, *({**unmeasured, **look} for look in looks), *map(dict, events)])
