"""What every adapter is given and gives back, and how it reads a row's fields.

An adapter is a pure function: rows with their places in, rows of this package's own layout (`question`, `answers` of
`{text, votes}`, ...) out. What it does not use it counts.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any, NamedTuple

from ...dates import day_of
from ..checks import fail
from ..messages import content_text

Fields = Mapping[str, Any]
# The speakers of ShareGPT's conversations.
_SPEAKERS = {"human": "user", "gpt": "assistant"}
# Of the year 9999.
_LAST_SECOND = 253402300799


class Placed(NamedTuple):
    """A row, where it stands (for messages) and its number there."""

    where: str
    number: int
    row: Fields


class LeftOut:
    """What was not used and why: reason -> how often, and where first."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._first: dict[str, str] = {}

    def add(self, placed: Placed, reason: str) -> None:
        """Count one row or question."""
        self.counts[reason] += 1
        self._first.setdefault(reason, placed.where)

    def sentence(self) -> str:
        """All of it for a person; empty where nothing was left out."""
        said = [f"{n:,} {reason} (first: {self._first[reason]})" for reason, n in self.counts.most_common()]
        return f"left out: {'; '.join(said)}" if said else ""


Adapter = Callable[[Iterable[Placed], LeftOut], Iterator[Placed]]


def text(placed: Placed, name: str) -> str:
    """A text, empty where it is null."""
    value = needed(placed, name)
    if value is None:
        return ""
    return value if isinstance(value, str) else fail(placed.where, name, value, "a text")


def label(placed: Placed, name: str) -> str:
    """A name or number as a text; of a null, or of nothing, an empty one."""
    value = placed.row.get(name)
    if value is None:
        return ""
    if isinstance(value, (str, int)) and not isinstance(value, bool):
        return str(value)
    return fail(placed.where, name, value, "a text or a whole number")


def number(placed: Placed, name: str) -> float:
    """A number that is there."""
    value = needed(placed, name)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        fail(placed.where, name, value, "a number")
    return value


def inner_number(item: Fields, name: str, placed: Placed, column: str) -> float:
    """A number of an object in a column."""
    value = item.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        fail(placed.where, f"{column}.{name}", value, "a number")
    return value


def items(placed: Placed, name: str) -> list[Any]:
    """A list."""
    value = needed(placed, name)
    return value if isinstance(value, list) else fail(placed.where, name, value, "a list")


def objects(placed: Placed, name: str) -> list[Fields]:
    """A list of objects."""
    found = items(placed, name)
    for item in found:
        if not isinstance(item, Mapping):
            fail(placed.where, name, item, "an object")
    return found


def needed(placed: Placed, name: str) -> Any:
    """What the column holds; it must be there."""
    if name not in placed.row:
        raise ValueError(f"{placed.where}: no column {name!r}; found the columns {sorted(map(str, placed.row))}")
    return placed.row[name]


def conversation(placed: Placed, name: str) -> list[Fields]:
    """Messages with their content as text; content that is none (an image) becomes null, which `is_text` tells."""
    messages = [_in_our_words(message) for message in objects(placed, name)]
    for message in messages:
        if not isinstance(message.get("role"), str):
            fail(placed.where, name, message, "a message: an object with the fields role and content")
    return [{**message, "content": _said(message)} for message in messages]


def _in_our_words(message: Fields) -> Fields:
    """A message of ShareGPT's (`from`, `value`) as one with `role` and `content`; others as they are."""
    if "role" in message or not isinstance(message.get("from"), str) or "value" not in message:
        return message
    return {"role": _SPEAKERS.get(message["from"], message["from"]), "content": message["value"]}


def _said(message: Fields) -> str | None:
    content = message.get("content")
    return "" if content is None and message.get("tool_calls") else content_text(content)


def is_text(messages: Iterable[Fields]) -> bool:
    """Whether every message is a text: an image or nothing at all is none."""
    return all(message["content"] is not None for message in messages)


def bare(messages: Sequence[Fields]) -> list[Fields]:
    """Messages with nothing but what a template writes: ids, times and the like aside, so that equal ones are equal."""
    return [
        {key: message[key] for key in ("role", "content", "name", "tool_calls", "tool_call_id") if message.get(key)}
        | {"content": message["content"]}
        for message in messages
    ]


def newest(days: Iterable[object]) -> str | None:
    """The latest day of dates, times or seconds since 1970; `None` where one of them is none."""
    found = [_day(day) for day in days]
    return max(day for day in found if day) if found and all(found) else None


def _day(value: object) -> str | None:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < _LAST_SECOND:
        return day_of(datetime.fromtimestamp(value, timezone.utc))
    return day_of(value.replace("/", "-") if isinstance(value, str) else value)


def digest(value: object) -> str:
    """A short name of a text or conversation, the same everywhere."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def answers(texts: Iterable[str], votes: Iterable[float]) -> list[dict[str, Any]]:
    """Answers in this package's layout."""
    return [{"text": text, "votes": vote} for text, vote in zip(texts, votes, strict=True)]
