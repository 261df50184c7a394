"""HannahRoseKirk/prism-alignment, `utterances`: one person scores several models' answers from 1 to 100."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from .fields import Fields, LeftOut, Placed, answers, label, number, text


def fits(row: Fields) -> bool:
    """Whether this is a row of it."""
    return {"conversation_id", "user_id", "turn", "user_prompt", "model_response", "score"} <= row.keys()


def questions(rows: Iterable[Placed], left_out: LeftOut) -> Iterator[Placed]:
    """The first turn of each conversation, before the answers lead to different questions; cluster: the person."""
    groups: dict[str, list[Placed]] = {}
    for placed in rows:
        if number(placed, "turn") != 0:
            left_out.add(placed, "answers of later turns, which follow what the person chose")
        elif placed.row.get("score") is None:
            left_out.add(placed, "answers without a score")
        else:
            groups.setdefault(label(placed, "conversation_id"), []).append(placed)
    for conversation, scored in groups.items():
        votes, who = [number(one, "score") for one in scored], label(scored[0], "user_id")
        yield scored[0]._replace(
            row={
                "id": conversation or None,
                "question": text(scored[0], "user_prompt"),
                "answers": answers((text(one, "model_response") for one in scored), votes),
                "cluster": who or None,
                "ratings": {who: votes} if who else None,
            }
        )
