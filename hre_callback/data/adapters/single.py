"""A row with a prompt and one answer with its score, rank or label; the rows of one prompt are one question."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from .fields import Fields, LeftOut, Placed, digest, newest
from .generic import ANSWER, QUESTION, VOTES, answer_text, asked, one_of, own_columns, vote


def fits(row: Fields) -> bool:
    """Whether this is such a row; TRL's unpaired preferences (`prompt`, `completion`, `label`) are."""
    return all(one_of(row, names) is not None for names in (QUESTION, ANSWER, VOTES))


def questions(rows: Iterable[Placed], left_out: LeftOut) -> Iterator[Placed]:
    """The answers of one prompt together, wherever they stand. Needs all rows before the first question."""
    found: dict[str, Placed] = {}
    days: defaultdict[str, list[object]] = defaultdict(list)
    for placed in rows:
        names = [one_of(placed.row, each) for each in (QUESTION, ANSWER, VOTES)]
        if None in names:
            raise ValueError(
                f"{placed.where}: no prompt, answer or score; found the columns {sorted(map(str, placed.row))}"
            )
        question, answer, votes = map(str, names)
        prompt = asked(placed, question)
        if prompt is None:
            left_out.add(placed, "questions with something else than text")
        elif placed.row[votes] is None:
            left_out.add(placed, "answers without a score")
        else:
            row = {**own_columns(placed.row), "question": prompt, "answers": []}
            key = digest(prompt)
            one = found.setdefault(key, placed._replace(row=row))
            days[key].append(placed.row.get("date"))
            said = answer_text(placed.row[answer], placed.where, answer)
            one.row["answers"].append({"text": said, "votes": vote(placed.row[votes], votes, placed.where)})
    # That of the newest answer.
    for key, one in found.items():
        yield one._replace(row={**one.row, "date": newest(days[key])})
