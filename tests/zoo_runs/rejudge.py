"""Writes what the package makes of every recording today into the recordings: after a rule or a key has changed.

python -m tests.zoo_runs.rejudge
"""

from __future__ import annotations

import json
from dataclasses import replace

from hre_callback import read_record
from hre_callback.run.lines import Evaluation, object_of
from hre_callback.run.record import Record

from . import HERE
from .recorded import replayed, rounded


def rejudged(record: Record) -> list[Evaluation]:
    """The looks of a recording with today's verdict, reason, cause and figures; what only the run knew stays."""
    looks = []
    for look, outcome in zip(record.evaluations, replayed(record), strict=True):
        said = outcome.verdict
        looks.append(
            replace(
                look,
                metrics={**look.metrics, **outcome.row},
                verdict=said and said.name,
                reason=(said and said.reason) or None,
                cause=(said and said.cause) or None,
            )
        )
    return looks


def main() -> None:
    """All recordings beside this file."""
    for path in sorted(HERE.glob("*.jsonl")):
        record = read_record(path)
        lines = [record.run, *rejudged(record), *record.events]
        text = "".join(json.dumps(rounded(object_of(line)), separators=(",", ":")) + "\n" for line in lines)
        path.write_text(text)
        print(path.name)


if __name__ == "__main__":
    main()
