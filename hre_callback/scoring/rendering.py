"""A rendered conversation taken apart: the template's words, told from the texts by markers, and proven around them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..data.messages import ASSISTANT, Message


@dataclass(frozen=True, slots=True)
class Form:
    """Whose content a template wants in parts; the others' as plain text."""

    user: bool
    assistant: bool
    others: bool = False

    def of(self, message: Message) -> Message:
        """The message in this form."""
        in_parts = {"user": self.user, ASSISTANT: self.assistant}.get(message["role"], self.others)
        if not in_parts:
            return message
        parts = [{"type": "text", "text": message["content"]}] if message["content"] else []
        return {**message, "content": parts}


@dataclass(frozen=True, slots=True)
class Rendered:
    """A question and an answer as the template writes them: `context + answer + closing` is the whole text.

    `head` is how the context begins, before the first message.
    """

    context: str
    answer: str
    closing: str
    head: str


@dataclass(frozen=True, slots=True)
class Words:
    """What the template writes around the texts of one kind of conversation, and the form that it wants them in.

    `before` has an entry for each text of the question and one for the answer; `closing` stands after that.
    """

    before: tuple[str, ...]
    closing: str
    form: Form


def around_marks(whole: str, marks: Sequence[str]) -> list[str] | None:
    """What stands before, between and after the marks; `None` unless each stands there once and in this order."""
    if any(whole.count(mark) != 1 for mark in marks):
        return None
    pieces, rest = [], whole
    for mark in marks:
        before, found, rest = rest.partition(mark)
        if not found:
            return None
        pieces.append(before)
    return [*pieces, rest]


def what_it_does(whole: str, marked: Sequence[Message], answer: str) -> str:
    """What the template does with the marked messages, where it does not write each once and in their order."""
    counts = [
        (number, message["role"], whole.count(message["content"]))
        for number, message in enumerate(marked, 1)
        if message["content"]
    ]
    answers = whole.count(answer)
    if len(marked) == 1:
        ((_, _, questions),) = counts
        if questions == answers == 1:
            return "writes the answer before the question"
        return f"writes the question {questions} times and the answer {answers} times"
    for number, role, times in (*counts, (len(marked) + 1, ASSISTANT, answers)):
        if times != 1:
            return f"writes message {number} of the conversation ({role}) {times} times"
    return "changes the order of the messages"


def split(whole: str, words: Words, messages: Sequence[Message], answer: str) -> Rendered | None:
    """The rendering where the answer begins and ends; `None` where it is not `words` around these texts."""
    end = _end_of_question(whole, words.before, [message for message in messages if message["content"]])
    if end is None or not whole.endswith(words.closing):
        return None
    opening, head = whole[:end], words.before[0]
    body = whole[: len(whole) - len(words.closing)]
    context = opening + words.before[-1]
    for written in _stripped(answer):
        if body == context + written:
            return Rendered(context, written, words.closing, head)
    # an answer that brings its own thinking takes the place of the empty one that the template writes
    for written in _stripped(answer):
        if body.endswith(written) and len(opening) <= len(body) - len(written):
            return Rendered(body[: len(body) - len(written)], written, words.closing, head)
    # a template that drops the thinking writes a part of the answer
    written = body[len(context) :]
    if body.startswith(context) and written.strip() and written in answer:
        return Rendered(context, written, words.closing, head)
    return None


def _end_of_question(whole: str, before: Sequence[str], messages: Sequence[Message]) -> int | None:
    """Where the text of the last message ends; `None` where the rendering is not these words around these texts."""
    if not whole.startswith(before[0]):
        return None
    at = len(before[0])
    for number, message in enumerate(messages, 1):
        last = number == len(messages)
        # what follows the last message may depend on the answer
        after = "" if last else before[number]
        text = message["content"]
        written = next((w for w in _stripped(text) if whole.startswith(w + after, at)), None)
        if written is None and message["role"] == ASSISTANT and after and (end := whole.find(after, at)) >= 0:
            # a template that drops the thinking of earlier turns writes a part of them
            part = whole[at:end]
            written = part if part.strip() and part in text else None
        if written is None:
            return None
        at += len(written) + len(after)
    return at


def _stripped(text: str) -> Iterable[str]:
    """The text, and what is left of it when a template strips it, at either end or both."""
    if text == text.strip():
        return (text,)
    ways = (strip(text, what) for what in (None, "\n", " ") for strip in (str.strip, str.lstrip, str.rstrip))
    return dict.fromkeys((text, *ways))
