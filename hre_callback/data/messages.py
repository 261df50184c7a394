"""A question of several turns: a tuple of messages as chat templates take them, and the same as plain text.

A message is a mapping with `role` and `content` (a text), and whatever else it carries (`tool_calls`, `name`, ...).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

Message = Mapping[str, Any]
Asked = str | tuple[Message, ...]
"""What a question asks: one text, or the conversation so far, of which the last message is not the assistant's."""

ASSISTANT = "assistant"
_LABELS = {"user": "Question", ASSISTANT: "Answer"}


def as_messages(asked: Asked) -> list[dict[str, Any]]:
    """The conversation that an answer ends; one text is the only message of a user."""
    if isinstance(asked, str):
        return [{"role": "user", "content": asked}]
    return [dict(message) for message in asked]


def paper_context(asked: Asked) -> str:
    r"""The context of `prompt="paper"`, to which a space and the answer are joined.

    Of one text: `"Question: {text}\nAnswer:"`, as published. A conversation is spelled alike, each message after its
    label (user: Question, assistant: Answer, others: their role), an empty line before every message but an answer:

        System: Be brief.

        Question: Why is beer bitter?
        Answer: Hops.

        Question: Which ones?
        Answer:

    Tool calls stand as JSON after the text of their message.
    """
    written = ""
    for message in (*as_messages(asked), {"role": ASSISTANT, "content": ""}):
        label = _LABELS.get(message["role"]) or str(message["role"]).capitalize()
        joint = "" if not written else "\n" if message["role"] == ASSISTANT else "\n\n"
        text = spelled(message)
        written += f"{joint}{label}: {text}" if text else f"{joint}{label}:"
    return written


def spelled(message: Message) -> str:
    """All that a message says: its text, and below it its tool calls as JSON."""
    calls = message.get("tool_calls")
    parts = [message["content"], json.dumps(calls, ensure_ascii=False) if calls else ""]
    return "\n".join(part for part in parts if part)


def texts_of(asked: Asked) -> list[str]:
    """Every text of the question, turn by turn."""
    return [message["content"] for message in as_messages(asked) if message["content"]]


def excerpt(asked: Asked, characters: int) -> str:
    """The beginning of what is asked, to recognise it by: of a conversation its last message, after an ellipsis."""
    if isinstance(asked, str):
        return asked[:characters]
    return f"… {texts_of(asked)[-1]}"[:characters]


def content_text(content: object) -> str | None:
    """The text of a message's content, given as a text or in parts; `None` where a part is no text."""
    if isinstance(content, str):
        return content
    if not isinstance(content, (list, tuple)):
        return None
    parts = [part.get("text") if isinstance(part, Mapping) and part.get("type") == "text" else None for part in content]
    texts = [part for part in parts if isinstance(part, str)]
    return "".join(texts) if len(texts) == len(parts) else None
