"""nvidia/HelpSteer3, config `preference`: two answers to a conversation, compared by three people from -3 to 3."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from .fields import (
    Fields,
    LeftOut,
    Placed,
    answers,
    conversation,
    inner_number,
    is_text,
    label,
    needed,
    number,
    objects,
    text,
)


def fits(row: Fields) -> bool:
    """Whether this is a row of it."""
    return {"context", "response1", "response2", "overall_preference"} <= row.keys()


def questions(rows: Iterable[Placed], left_out: LeftOut) -> Iterator[Placed]:
    """One question a row: below 0 the first answer is better, votes are half the overall preference each.

    Ratings are those of the people, by their place in the row: nobody's name is given. Topic: the domain.
    """
    for placed in rows:
        asked = needed(placed, "context")
        context = asked if isinstance(asked, str) else conversation(placed, "context")
        if not isinstance(context, str) and not is_text(context):
            left_out.add(placed, "questions with something else than text")
            continue
        overall = number(placed, "overall_preference")
        people = objects(placed, "individual_preference") if placed.row.get("individual_preference") else []
        scores = [inner_number(one, "score", placed, "individual_preference") for one in people]
        yield placed._replace(
            row={
                "question": context,
                "answers": answers((text(placed, "response1"), text(placed, "response2")), (-overall / 2, overall / 2)),
                "topic": label(placed, "domain") or None,
                "ratings": {f"rater {i}": [-score / 2, score / 2] for i, score in enumerate(scores, 1)},
                "groups": {"language": label(placed, "language") or None},
            }
        )
