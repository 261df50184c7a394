"""OpenAssistant/oasst1 and oasst2: trees of messages, in which people ranked the answers to one message."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .fields import Fields, LeftOut, Placed, answers, label, newest, number, text

_ROLES = {"prompter": "user", "assistant": "assistant"}


def fits(row: Fields) -> bool:
    """Whether this is a row of it."""
    return {"message_id", "parent_id", "text", "role", "rank", "message_tree_id"} <= row.keys()


def questions(rows: Iterable[Placed], left_out: LeftOut) -> Iterator[Placed]:
    """The ranked answers to one message: votes are minus the rank (0 is best), the question is the path to it.

    Only trees that are ready for export. Topic: the language. Cluster: the tree. Date: the newest answer's.
    """
    messages: dict[str, Placed] = {}
    ranked: defaultdict[str, list[Placed]] = defaultdict(list)
    for placed in rows:
        if label(placed, "tree_state") != "ready_for_export":
            left_out.add(placed, "messages of trees that are not ready for export")
        elif placed.row.get("deleted") is True:
            left_out.add(placed, "deleted messages")
        else:
            messages[label(placed, "message_id")] = placed
            if label(placed, "role") == "assistant" and placed.row.get("rank") is not None:
                ranked[label(placed, "parent_id")].append(placed)
    for parent, siblings in ranked.items():
        asked = _path(parent, messages)
        if asked is None:
            left_out.add(siblings[0], "questions of which a message is missing")
            continue
        language = label(siblings[0], "lang") or None
        yield siblings[0]._replace(
            row={
                "id": parent,
                "question": asked,
                "answers": answers((text(one, "text") for one in siblings), (-number(one, "rank") for one in siblings)),
                "topic": language,
                "cluster": label(siblings[0], "message_tree_id") or None,
                "groups": {"language": language},
                "date": newest(one.row.get("created_date") for one in siblings),
            }
        )


def _path(message: str, messages: Mapping[str, Placed]) -> list[dict[str, Any]] | None:
    """The conversation from the root to this message; `None` where one is missing, or they go round in a circle."""
    path: list[dict[str, Any]] = []
    seen: set[str] = set()
    while message:
        placed = messages.get(message)
        if placed is None or message in seen or label(placed, "role") not in _ROLES:
            return None
        seen.add(message)
        path.append({"role": _ROLES[label(placed, "role")], "content": text(placed, "text")})
        message = label(placed, "parent_id")
    return path[::-1] or None
