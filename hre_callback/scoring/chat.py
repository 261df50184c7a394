"""The chat template's words around a question and its answer, found with markers, never by looking for the texts.

A template is a program: it may strip a text, drop a part of it, write today's date, want its messages in parts, or
leave the question out. What it does is seen by rendering two markers that occur nowhere, and then proven for every
single answer: its rendering must be these words around its own texts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from ..data.messages import ASSISTANT, Asked, Message, as_messages
from ..plain_text import plain_logger
from .rendering import Form, Rendered, Words, around_marks, split, what_it_does

logger = plain_logger(__name__)


_FORMS = (Form(False, False), Form(True, True), Form(True, False), Form(False, True))
_TOKEN_COLUMN = re.compile(r"(input|prompt|completion|chosen|rejected)(_input)?_ids")
_TEXT_COLUMNS = ("text", "prompt", "completion", "chosen", "rejected")


class ChatTemplate:
    """What a tokenizer's, or a processor's own, chat template writes around a question and its answer.

    A question is one text, which becomes the only message of a user, or a conversation, of which every message is kept.

    Args:
        processor: a tokenizer, or a processor that holds one and may have a template of its own.
        kwargs: passed on to the template, such as `{"enable_thinking": False}`.
        texts: the texts that will be rendered; the markers are chosen so that they occur in none of them.

    Raises:
        ValueError: there is no template, or it does not write the question and the answer, once and in this order,
            neither from texts nor from content parts; says what it does instead.
    """

    def __init__(self, processor: Any, kwargs: Mapping[str, Any] | None = None, texts: Iterable[str] = ()) -> None:
        self._apply = _own_template(processor)
        self._kwargs = dict(kwargs or {})
        self._markers = _free_markers(list(texts))
        self._find_words()

    def _find_words(self) -> None:
        """Set `head` and `middle`, what stands before and after a user's one message, and the form that it wants."""
        self._known: dict[str, Words] = {}
        faults = []
        for form in _FORMS:
            try:
                words = self._words(as_messages("?"), form)
            # a template raises whatever it likes
            except Exception as error:
                faults.append(str(error) or type(error).__name__)
            else:
                self.head, self.middle = words.before
                self._form = form
                return
        raise ValueError(
            f"prompt='chat' cannot be used: with messages of plain text the chat template {faults[0]}; with content "
            f"parts it {faults[1]}. Use prompt='paper', another template, or chat_template_kwargs that it needs"
        )

    def _words_around(self, messages: Sequence[Message]) -> Words:
        """The words around these messages' texts, found once for all conversations of the same build."""
        build = json.dumps([{**message, "content": bool(message["content"])} for message in messages])
        if build not in self._known:
            others = dict.fromkeys((self._form.user, not self._form.user))
            forms = [replace(self._form, others=in_parts) for in_parts in others]
            self._known[build] = self._first_words(messages, forms)
        return self._known[build]

    def _first_words(self, messages: Sequence[Message], forms: Sequence[Form]) -> Words:
        faults = []
        for form in forms:
            try:
                return self._words(messages, form)
            except ValueError as error:
                faults.append(str(error))
        raise ValueError(faults[0])

    def _words(self, messages: Sequence[Message], form: Form) -> Words:
        fault = ""
        # a second and third pair, in case the template itself writes the first
        for question, answer in self._markers:
            marks = [f"{question}{i}x" for i, message in enumerate(messages) if message["content"]]
            unused = iter(marks)
            marked = [{**m, "content": next(unused) if m["content"] else ""} for m in messages]
            try:
                whole = self._render(marked, answer, form)
            except Exception as error:
                raise ValueError(f"fails ({type(error).__name__}: {_first_line(error)})") from error
            pieces = around_marks(whole, [*marks, answer])
            if pieces is not None:
                return Words(tuple(pieces[:-1]), pieces[-1], form)
            fault = what_it_does(whole, marked, answer)
        raise ValueError(fault)

    def render(self, question: Asked, answer: str) -> str:
        """The conversation as one text, as training on it would see it."""
        messages = as_messages(question)
        return self._render(messages, answer, self._words_around(messages).form)

    def _render(self, messages: Sequence[Message], answer: str, form: Form) -> str:
        conversation = [*messages, {"role": ASSISTANT, "content": answer}]
        whole = self._apply([form.of(message) for message in conversation], tokenize=False, **self._kwargs)
        if not isinstance(whole, str):
            raise TypeError(f"it gives a {type(whole).__name__} where a text was asked for")
        return whole

    def around(self, question: Asked, answer: str) -> Rendered:
        """Where this answer begins and ends in the rendering of this conversation, proven on the rendering itself.

        Raises:
            ValueError: the template rewrites or leaves out a message or the answer, beyond their surrounding white
                space, or refuses the conversation.
        """
        messages = as_messages(question)
        # at midnight, or at every second, the words of a template that writes the time are others: find them again
        for _ in range(3):
            try:
                words = self._words_around(messages)
            except ValueError as error:
                raise ValueError(f"the chat template {error}") from error
            try:
                whole = self._render(messages, answer, words.form)
            except Exception as error:
                raise ValueError(f"the chat template fails ({_first_line(error)})") from error
            if found := split(whole, words, messages, answer):
                return found
            self._find_words()
        raise ValueError("the chat template rewrites the question or an answer")


def _own_template(processor: Any) -> Callable[..., Any]:
    """The function that renders: a processor's own template comes before that of its tokenizer."""
    tokenizer = getattr(processor, "tokenizer", processor)
    own = getattr(processor, "chat_template", None)
    if own and hasattr(processor, "apply_chat_template"):
        return processor.apply_chat_template  # type: ignore[no-any-return]
    # a tokenizer without the attribute may still have its own way of rendering (mistral-common)
    if not hasattr(tokenizer, "apply_chat_template") or not (own or getattr(tokenizer, "chat_template", True)):
        raise ValueError(
            "prompt='chat' needs a tokenizer or processor with a chat template; use prompt='paper' or set one"
        )
    return partial(tokenizer.apply_chat_template, chat_template=own) if own else tokenizer.apply_chat_template


def _free_markers(texts: list[str]) -> list[tuple[str, str]]:
    """Three pairs of words that are in none of the texts, of letters and digits that no template should touch."""
    found: list[tuple[str, str]] = []
    number = 0
    while len(found) < 3:
        pair = (f"hreq{number:04d}x", f"hrea{number:04d}x")
        if not any(marker in text for text in texts for marker in pair):
            found.append(pair)
        number += 1
    return found


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{lines[0]:.200}" if lines else type(error).__name__


def trained_on_chat(dataset: Any, processor: Any, kwargs: Mapping[str, Any] | None = None) -> bool | None:
    """Whether the first training row is a conversation or was rendered with the chat template; `None` if unknown.

    Looks at a map-style `datasets.Dataset` only, and not through a transform of the user's: reading those could
    draw random numbers or consume a stream that training needs. Advice only: it never raises, and says on the log
    what it could not see.
    """
    try:
        if not hasattr(dataset, "column_names") or not hasattr(dataset, "__len__") or len(dataset) == 0:
            return None
        if getattr(dataset, "format", {}).get("type") == "custom" or not _has_template(processor):
            return None
        return _conversational(dataset[0], processor, kwargs)
    except Exception as error:
        logger.warning(
            "HRE could not see whether the training data is conversational: "
            f"{type(error).__name__}: {_first_line(error)}"
        )
        return None


def _has_template(processor: Any) -> bool:
    try:
        return bool(_own_template(processor))
    except ValueError:
        return False


def _conversational(row: Mapping[str, Any], processor: Any, kwargs: Mapping[str, Any] | None) -> bool | None:
    if any(_is_conversation(value) for value in row.values()):
        return True
    template = ChatTemplate(processor, kwargs)
    opening = _squeezed(template.head)[-12:] or _squeezed(template.middle)[:12]
    texts = [_squeezed(text) for text in _texts(row, getattr(processor, "tokenizer", processor))]
    return any(opening in text for text in texts) if texts and opening else None


def _is_conversation(value: Any) -> bool:
    first = value[0] if isinstance(value, list) and value else None
    return isinstance(first, Mapping) and ("role" in first or "from" in first)


def _texts(row: Mapping[str, Any], tokenizer: Any) -> Iterator[str]:
    for name, value in row.items():
        if name in _TEXT_COLUMNS and isinstance(value, str):
            yield value
        elif _TOKEN_COLUMN.fullmatch(name) and hasattr(value, "__len__"):
            yield tokenizer.decode([int(token) for token in value])


def _squeezed(text: str) -> str:
    """Without white space, which decoding does not always give back."""
    return "".join(text.split())
