"""Writes what the package makes of every recording today into the recordings: after a rule, key or field has changed.

python -m tests.zoo_runs.rejudge
"""

from __future__ import annotations

import json
from dataclasses import MISSING, fields, replace
from pathlib import Path
from typing import Any

from hre_callback import read_record
from hre_callback.run.lines import Evaluation, Event, RunLine, RunQuestion, object_of
from hre_callback.run.look import summary, terms_of
from hre_callback.run.record import Record

from . import HERE
from .recorded import replayed, rounded


def rejudged(record: Record) -> list[Evaluation]:
    """The looks of a recording with today's verdict, reason, cause and figures; what only the run knew stays."""
    looks = []
    for look, outcome in zip(record.evaluations, replayed(record), strict=True):
        said = outcome.verdict
        # What the log-likelihoods alone do not tell (rounding, style, the ceiling) stays as the run had it.
        told = {key: value for key, value in outcome.row.items() if value == value and _of_run(key, look)}
        looks.append(
            replace(
                look,
                metrics={**look.metrics, **told},
                verdict=said and said.name,
                reason=(said and said.reason) or None,
                cause=(said and said.cause) or None,
            )
        )
    return looks


def _of_run(key: str, look: Evaluation) -> bool:
    """Whether a figure is the run's: a replay takes a reward model's scores for log-likelihoods, only the run knew."""
    return key in look.metrics or "hre/loglikelihood_top" in look.metrics


def finished(record: Record, looks: list[Evaluation]) -> list[Event]:
    """The events of a recording with today's summary of these looks."""
    told = summary(terms_of(record.run), Record(record.run, looks))
    return [replace(event, summary=told) if event.summary else event for event in record.events]


def completed(path: Path) -> str:
    """The text of a recording with the fields that its lines lack, which are newer than it, at their defaults."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        _complete(line, {"run": RunLine, "evaluation": Evaluation}.get(line["kind"]))
    for question in lines[0]["questions"]:
        _complete(question, RunQuestion)
    return "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)


def _complete(value: dict[str, Any], of: Any) -> None:
    for field in () if of is None else fields(of):
        if field.name != "more" and field.name not in value:
            made = field.default_factory
            value[field.name] = field.default if made is MISSING else made()


def main(folder: Path = HERE) -> None:
    """All recordings of a folder."""
    for path in sorted(folder.glob("*.jsonl")):
        path.write_text(completed(path))
        record = read_record(path)
        looks = rejudged(record)
        lines = [record.run, *looks, *finished(record, looks)]
        text = "".join(json.dumps(rounded(object_of(line)), separators=(",", ":")) + "\n" for line in lines)
        path.write_text(text)
        print(path.name)


if __name__ == "__main__":
    main()
