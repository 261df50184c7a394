"""allenai/reward-bench-2: right answers and wrong ones, told apart by checking them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..checks import fail
from .fields import Fields, LeftOut, Placed, answers, items, label, text


def fits(row: Fields) -> bool:
    """Whether this is a row of it."""
    both = [row.get("chosen"), row.get("rejected")]
    texts = all(isinstance(side, list) and side and all(isinstance(t, str) for t in side) for side in both)
    return "prompt" in row and texts


def questions(rows: Iterable[Placed], left_out: LeftOut) -> Iterator[Placed]:
    """Votes are 1 for every chosen answer, 0 for every rejected one. Topic: the subset."""
    for placed in rows:
        right, wrong = items(placed, "chosen"), items(placed, "rejected")
        for answer in (*right, *wrong):
            if not isinstance(answer, str):
                fail(placed.where, "chosen, rejected", answer, "lists of texts")
        yield placed._replace(
            row={
                "id": label(placed, "id") or None,
                "question": text(placed, "prompt"),
                "answers": answers([*right, *wrong], [1] * len(right) + [0] * len(wrong)),
                "topic": label(placed, "subset") or None,
            }
        )
