"""openbmb/UltraFeedback: four models' answers, scored by GPT-4. No judgement of people: every question says so."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from .fields import Fields, LeftOut, Placed, answers, label, objects, text


def fits(row: Fields) -> bool:
    """Whether this is a row of it."""
    given = row.get("completions")
    if "instruction" not in row or not isinstance(given, list):
        return False
    return not given or (isinstance(given[0], Mapping) and {"response", "overall_score"} <= given[0].keys())


def questions(rows: Iterable[Placed], left_out: LeftOut) -> Iterator[Placed]:
    """Votes are `overall_score`. Topic: the source of the instruction."""
    for placed in rows:
        kept = []
        for completion in objects(placed, "completions"):
            score = completion.get("overall_score")
            if isinstance(score, bool) or not isinstance(score, (int, float)):
                left_out.add(placed, "answers without a score")
            else:
                kept.append((text(placed._replace(row=completion), "response"), score))
        yield placed._replace(
            row={
                "question": text(placed, "instruction"),
                "answers": answers((said for said, _ in kept), (score for _, score in kept)),
                "topic": label(placed, "source") or None,
            }
        )
