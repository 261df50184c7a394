"""What no question can be made of, whatever layout it came from, and ids that come once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..checks import check_label
from ..messages import ASSISTANT
from .fields import LeftOut, Placed, newest


def finished(rows: Iterable[Placed], name: str, left_out: LeftOut) -> Iterator[Placed]:
    """The rows that can be ranked, each with an id of its own: the data's, else `name:number`."""
    times: Counter[str] = Counter()
    taken: set[str] = set()
    for placed in rows:
        if reason := _fault(placed.row):
            left_out.add(placed, reason)
            continue
        given = key = check_label(placed.row.get("id"), placed.where, "id") or f"{name}:{placed.number}"
        while key in taken:
            times[given] += 1
            key = f"{given}#{times[given] + 1}"
        taken.add(key)
        told = placed.row.get("date")
        day = None if told is None else newest([told])
        if told is not None and day is None:
            left_out.add(placed, "dates that are none, of questions that are kept")
        yield placed._replace(row={**placed.row, "id": key, "date": day})


def _fault(row: Mapping[str, Any]) -> str | None:
    texts = [answer["text"] for answer in row["answers"]]
    votes = [answer["votes"] for answer in row["answers"]]
    asked = row["question"]
    if isinstance(asked, list):
        if not asked or asked[-1]["role"] == ASSISTANT:
            return "conversations in which nothing is asked last"
        asked = asked[-1]["content"]
    if not asked.strip():
        return "questions without text"
    if len(texts) < 2:
        return "questions with fewer than two answers"
    if not all(text.strip() for text in texts):
        return "questions with an answer without text"
    if len(set(texts)) < len(texts):
        return "questions with answers of the same text"
    return "ties: all votes are equal" if all(vote == votes[0] for vote in votes) else None
