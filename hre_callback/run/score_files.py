"""The rows of a score file or of a run's last evaluation, checked before anything is concluded from them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from .record import Record, is_record, read_record

# Question id -> its row: `pearson` and, where known, `fingerprint`, `scoring` and `cluster`.
Scores = dict[str, dict[str, Any]]
# Correlations may overshoot by rounding where another program has written them.
_ROUNDING = 1e-9
# What all rows of a file must agree on: a file of two question sets, or of two ways of scoring, is none.
_SHARED = ("fingerprint", "scoring")
_TYPES: dict[str, tuple[tuple[type, ...], str]] = {
    "id": ((str,), "a text"),
    "fingerprint": ((str, type(None)), "a text"),
    "scoring": ((dict, type(None)), "an object of settings"),
    "cluster": ((str, type(None)), "a text or null"),
}


def read_scores(path: Path) -> Scores:
    """The rows of a file written by `hre score --out`, or of a run's last evaluation.

    Raises:
        ValueError: names file, line and what was expected.
    """
    if is_record(path):
        return last_scores(read_record(path), path)
    if not path.is_file():
        raise ValueError(
            f"{path}: no such score file; make one with hre score MODEL QUESTIONS --out {path}, "
            "or pass --questions to score a model"
        )
    rows: Scores = {}
    first: dict[str, Any] = {}
    lines_of: dict[str, int] = {}
    for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        row = _row(line, where)
        first = first or row
        if row["id"] in lines_of:
            _fail(where, f"the id {row['id']!r} is that of line {lines_of[row['id']]} too; each needs its own")
        for key in _SHARED:
            if row.get(key) != first.get(key):
                _fail(where, f"{key} {row.get(key)!r} is not that of the lines before, {first.get(key)!r}")
        rows[row["id"]] = row
        lines_of[row["id"]] = number
    if not rows:
        raise ValueError(f"{path}: holds no scores; expected a line of hre score --out for each question")
    return rows


def last_scores(record: Record, path: Path) -> Scores:
    """The last evaluation of a run as score rows.

    Raises:
        ValueError: the run has none, or its values are no correlations.
    """
    if not record.evaluations:
        raise ValueError(f"{path}: the run has no evaluation to compare")
    look = record.evaluations[-1]
    rows: Scores = {}
    for question, r in zip(record.run.questions, look.pearson, strict=True):
        if question.id in rows:
            _fail(f"{path}, the run line", f"two questions have the id {question.id!r}; each needs its own")
        rows[question.id] = {
            "pearson": correlation(r, f"{path}, step {look.step}, question {question.id!r}"),
            "fingerprint": record.run.fingerprint,
            "scoring": record.run.identity,
            "cluster": question.cluster,
        }
    return rows


def correlation(value: Any, where: str) -> float | None:
    """A per-question correlation as JSON holds it: a number from -1 to 1, or None where it is undefined.

    Raises:
        ValueError: it is anything else; names `where`.
    """
    if value is None:
        return None
    # Compared before it is converted: an integer of 400 digits has no float.
    if type(value) not in (int, float) or not -1 - _ROUNDING <= value <= 1 + _ROUNDING:
        _fail(where, f"pearson is {value!r:.60}; expected a number from -1 to 1, or null")
    return float(min(1.0, max(-1.0, value)))


def _row(line: bytes, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line.decode("utf-8"), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where}: expected a row of hre score --out, one JSON object in UTF-8 ({error})") from error
    if not isinstance(row, dict) or "id" not in row or "pearson" not in row:
        _fail(where, f"expected a row of hre score --out with id and pearson, found {row!r:.60}")
    for key, (types, expected) in _TYPES.items():
        if not isinstance(row.get(key), types):
            _fail(where, f"{key} is {row.get(key)!r:.60}; expected {expected}")
    row["pearson"] = correlation(row["pearson"], where)
    return row


def _unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose keys differ; of two alike JSON's reader would silently take the last."""
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for i, (key, _) in enumerate(pairs) if key in dict(pairs[:i]))
        raise ValueError(f"the key {twice!r} stands there twice")
    return found


def _fail(where: str, what: str) -> NoReturn:
    raise ValueError(f"{where}: {what}")
