"""lmarena-ai/arena-human-preference-140k: two models' conversations, and which one a person preferred."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from .fields import Fields, LeftOut, Placed, answers, bare, conversation, is_text, label, newest

_VOTES = {"model_a": (1, 0), "model_b": (0, 1)}


def fits(row: Fields) -> bool:
    """Whether this is a row of it."""
    return {"conversation_a", "conversation_b", "winner", "evaluation_session_id"} <= row.keys()


def questions(rows: Iterable[Placed], left_out: LeftOut) -> Iterator[Placed]:
    """The last turn of two conversations that are one until then; cluster: the session.

    Topic: code, math, creative_writing, instruction_following or other, from the tags.
    """
    for placed in rows:
        winner = label(placed, "winner")
        votes = _VOTES.get(winner)
        if votes is None:
            left_out.add(placed, "ties" if winner else "comparisons without a winner")
            continue
        one, other = (bare(conversation(placed, name)) for name in ("conversation_a", "conversation_b"))
        if not (one and other and is_text([*one, *other])):
            left_out.add(placed, "conversations with something else than text")
        elif one[:-1] != other[:-1]:
            left_out.add(placed, "conversations that part before the last answer")
        else:
            yield placed._replace(
                row={
                    "id": label(placed, "id") or None,
                    "question": one[:-1],
                    "answers": answers((one[-1]["content"], other[-1]["content"]), votes),
                    "topic": _topic(placed.row),
                    "cluster": label(placed, "evaluation_session_id") or None,
                    "groups": {"language": label(placed, "language") or None},
                    "date": newest([placed.row.get("timestamp")]),
                }
            )


def _topic(row: Fields) -> str:
    tags = row.get("category_tag")
    if isinstance(tags, str) and tags:
        return tags
    if row.get("is_code") is True:
        return "code"
    names = {"math": "math", "creative_writing": "creative_writing", "if": "instruction_following"}
    found = tags.values() if isinstance(tags, Mapping) else ()
    told = {name for tag in found if isinstance(tag, Mapping) for name in names if tag.get(name) is True}
    return next((topic for name, topic in names.items() if name in told), "other")
