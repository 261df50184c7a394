"""A row with a prompt and several answers, with scores or ranks beside them or in them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..checks import fail
from .fields import Fields, LeftOut, Placed, items
from .generic import ANSWERS, QUESTION, VOTES, answer_text, asked, one_of, own_columns, vote

# Of the names for votes, those that a column of several may have.
_MANY = "votes", "scores", "ranks", "rank"


def fits(row: Fields) -> bool:
    """Whether this is such a row."""
    question, answers = one_of(row, QUESTION), one_of(row, ANSWERS)
    given = None if question is None or answers is None else row[answers]
    if not isinstance(given, list) or not given:
        return False
    beside = one_of(row, _MANY)
    inside = one_of(given[0], VOTES) if isinstance(given[0], Mapping) else None
    return (beside is None) != (inside is None) and (beside is None or isinstance(row[beside], list))


def questions(rows: Iterable[Placed], left_out: LeftOut) -> Iterator[Placed]:
    """A row is a question; of ranks the lowest is best. Answers that nobody scored are left out."""
    for placed in rows:
        row = placed.row
        names = one_of(row, QUESTION), one_of(row, ANSWERS)
        if None in names:
            raise ValueError(f"{placed.where}: no question or no answers; found the columns {sorted(map(str, row))}")
        question = asked(placed, str(names[0]))
        if question is None:
            left_out.add(placed, "questions with something else than text")
            continue
        kept = []
        for text, said in _voted(placed, str(names[1])):
            if said is None:
                left_out.add(placed, "answers without a score")
            else:
                kept.append({"text": text, "votes": said})
        yield placed._replace(row={**own_columns(row), "question": question, "answers": kept})


def _voted(placed: Placed, name: str) -> Iterator[tuple[str, Any]]:
    """(text, votes) of each answer; votes are `None` where there are none."""
    given, beside = items(placed, name), one_of(placed.row, _MANY)
    scores = None if beside is None else items(placed, beside)
    if scores is not None and len(scores) != len(given):
        fail(placed.where, str(beside), scores, f"a list of {len(given)}, one an answer")
    for number, answer in enumerate(given):
        where = f"{name}[{number}]"
        if scores is not None:
            column, value = str(beside), scores[number]
        elif isinstance(answer, Mapping) and (inside := one_of(answer, VOTES)) is not None:
            column, value = inside, answer[inside]
        else:
            fail(placed.where, where, answer, "an answer with its votes, score or rank")
        yield answer_text(answer, placed.where, where), None if value is None else vote(value, column, placed.where)
