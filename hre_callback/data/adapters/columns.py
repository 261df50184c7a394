"""A user's own columns under our names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .fields import Fields
from .generic import ANSWER, ANSWERS, OWN, QUESTION, VOTES

# Our name -> all names that could mean the same.
_MEANINGS: Mapping[str, tuple[str, ...]] = {
    "question": QUESTION,
    "answers": ANSWERS,
    "answer": ANSWER,
    "votes": VOTES,
    "ranks": VOTES,
    **{name: (name,) for name in ("chosen", "rejected", *OWN)},
}


def check_columns(columns: Mapping[str, str] | None) -> None:
    """Raise a ValueError where `columns` is no map from our names to the data's."""
    if columns is None:
        return
    texts = isinstance(columns, Mapping) and all(isinstance(x, str) for pair in columns.items() for x in pair)
    if not (texts and columns) or set(columns) - set(_MEANINGS):
        raise ValueError(
            f"columns: found {columns!r:.100}, expected a map from {', '.join(_MEANINGS)} to the data's columns, such "
            "as {'question': 'prompt', 'answers': 'responses', 'votes': 'scores'}"
        )


def renamed(row: Fields, columns: Mapping[str, str]) -> dict[str, Any]:
    """The row under our names: a column that was named takes the place of all that could mean the same."""
    gone = {name for ours in columns for name in _MEANINGS[ours]} | set(columns.values())
    kept = {name: value for name, value in row.items() if name not in gone}
    return {**kept, **{ours: row[theirs] for ours, theirs in columns.items() if theirs in row}}
