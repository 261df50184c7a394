"""The columns of layouts that belong to nobody: their usual names, and what they mean to us."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ..checks import fail
from ..messages import content_text
from .fields import Fields, Placed, bare, conversation

OWN = "id", "topic", "cluster", "groups", "judge", "counted", "date"
"""Columns that are taken over as they are, wherever they stand."""
QUESTION = "question", "prompt", "instruction"
ANSWERS = "answers", "responses", "completions"
ANSWER = "answer", "response", "completion"
VOTES = "votes", "scores", "score", "ranks", "rank", "label"
_TEXT = "text", "answer", "response", "completion", "content"

# A prompt as `hre build` writes it, and dialogues as Anthropic and Nectar do.
_PAPER = re.compile(r"Question: (.*)\nAnswer:\s*", re.DOTALL)
_SPEAKER = re.compile(r"\n\n(Human|Assistant):")
_ROLES = {"Human": "user", "Assistant": "assistant"}


def one_of(row: Fields, names: Sequence[str]) -> str | None:
    """The column that is there of these names.

    Raises:
        ValueError: two of them are.
    """
    found = [name for name in names if name in row]
    if len(found) > 1:
        raise ValueError(
            f"found both the columns {found[0]!r} and {found[1]!r}, which could mean the same; "
            f"say which with columns={{{names[0]!r}: {found[0]!r}}}"
        )
    return found[0] if found else None


def own_columns(row: Fields) -> dict[str, Any]:
    """Those of `OWN` that are there."""
    return {name: row[name] for name in OWN if row.get(name) is not None}


def asked(placed: Placed, name: str) -> str | list[Fields] | None:
    r"""A question from a text or messages; `None` where it holds something else than text.

    A text `Question: ...\nAnswer:` is what stands between; `\n\nHuman: ...\n\nAssistant:` is the conversation.
    """
    value = placed.row[name]
    if isinstance(value, list):
        found = conversation(placed, name)
        return bare(found) if all(message["content"] is not None for message in found) else None
    if value is None:
        return ""
    if not isinstance(value, str):
        fail(placed.where, name, value, "a text or a list of messages")
    if whole := _PAPER.fullmatch(value):
        return whole[1]
    return dialogue(value) or value


def dialogue(text: str) -> list[Fields]:
    r"""The messages of a text `"\n\nHuman: ...\n\nAssistant: ..."`; none where it is no such text.

    An assistant's turn that is still to be written, at the end, is no message.
    """
    before, *rest = _SPEAKER.split(text)
    if before.strip() or not rest:
        return []
    turns: list[Fields] = [
        {"role": _ROLES[who], "content": said.removeprefix(" ")}
        for who, said in zip(rest[::2], rest[1::2], strict=True)
    ]
    return turns[:-1] if turns[-1] == {"role": "assistant", "content": ""} else turns


def answer_text(value: object, where: str, name: str) -> str:
    """The text of an answer: itself, a message's or a conversation's last one; empty where there is none.

    One space in front is the one that joins it to its prompt.
    """
    if isinstance(value, list) and value and isinstance(value[-1], Mapping) and "role" in value[-1]:
        return content_text(value[-1].get("content")) or ""
    if isinstance(value, Mapping):
        inside = one_of(value, _TEXT)
        return "" if inside is None or value[inside] is None else answer_text(value[inside], where, f"{name}.{inside}")
    if value is None:
        return ""
    if not isinstance(value, str):
        fail(where, name, value, "a text or messages")
    return value.removeprefix(" ")


def vote(value: Any, column: str, where: str) -> Any:
    """What a column of `VOTES` says: of a rank, of which 1 is best, its negative; true is 1."""
    if isinstance(value, bool):
        return int(value)
    if not column.startswith("rank"):
        return value
    if not isinstance(value, (int, float)):
        fail(where, column, value, "a number, the best rank the lowest")
    return -value
