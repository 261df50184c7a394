"""What a question must be: one check for rows of files and for questions that are built in code.

Nothing is believed of what a `Question` holds: a file's row arrives here as it was read, a question built in code as it
was built. What leaves is plain Python: `str`, `int`, `float`, tuples.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from numbers import Integral, Real
from typing import Any, NoReturn

from ..dates import day_of
from .messages import ASSISTANT, Asked, Message, content_text

_INTEGER = re.compile(r"\s*[+-]?[0-9]{1,18}\s*")
# Beyond it a float no longer tells neighbouring integers apart; below the other one squares vanish.
_LARGEST, _SMALLEST = 2**53, 1e-100


@dataclass(frozen=True, slots=True)
class Answer:
    """One human answer and the votes that people gave it: any real number (up minus down, a mean rating, a rank)."""

    text: str
    votes: float


@dataclass(frozen=True, slots=True)
class Question:
    """One question with two or more voted answers; checked where it is used, see `check_questions`.

    Args:
        id (`str`): unique in its set; scores are joined by it.
        question (`str` or `tuple[Mapping, ...]`): the text that goes into the context, or the messages of a
            conversation (`role`, `content`, ...) that the answers go on with. One message of a user is its text.
        answers (`tuple[Answer, ...]`): at least two.
        topic (`str`, *optional*, defaults to `"all"`): strata of subsets and of per-topic means.
        cluster (`str`, *optional*): questions that are not independent (same thread, same author) share one.
        ratings (`Mapping[str, tuple[float | None, ...]]`, *optional*): annotator -> one rating an answer, in the order
            of `answers`; `None` where that annotator gave none.
        groups (`Mapping[str, str | Mapping[str, str]]`, *optional*): what people can be told apart by -> one label for
            the whole question (`{"language": "de"}`), or annotator -> label (`{"country": {"ann": "IT"}}`). Scores do
            not depend on it.
        judge (`str`, *optional*): who gave the votes, where it was not people, such as `"GPT-4"`. What is measured is
            then agreement with that judge, and the record says so.
        counted (`bool`, *optional*): whether the votes are counts of people (up minus down too) and not ratings, ranks
            or labels: then the human ceiling comes from them. Where nobody says, the values decide.
        date (`str`, *optional*): the day by which all of its text was there, `"2024-05-31"`: that of the question or
            of its newest answer, whichever is later. See `HREConfig.cutoff`.
    """

    id: str
    question: Asked = field(hash=False)
    answers: tuple[Answer, ...]
    topic: str = "all"
    cluster: str | None = None
    ratings: Mapping[str, tuple[float | None, ...]] | None = field(default=None, hash=False)
    groups: Mapping[str, str | Mapping[str, str]] | None = field(default=None, hash=False)
    judge: str | None = None
    counted: bool | None = None
    date: str | None = None


def check_questions(questions: object) -> tuple[Question, ...]:
    """The questions in plain Python types, or the reason why they are none.

    Args:
        questions: any iterable of `Question`; read once.

    Raises:
        ValueError: names the question by its place, the field, what was found and what was expected.
    """
    if isinstance(questions, (str, bytes, Mapping)) or hasattr(questions, "__fspath__"):
        fail("questions", "argument", questions, "a list of Question, as load_questions(...) gives it")
    if not isinstance(questions, Iterable):
        fail("questions", "argument", questions, "a list of Question, as load_questions(...) gives it")
    checked = check_each((f"questions[{place}]", question) for place, question in enumerate(questions))
    if not checked:
        raise ValueError("no questions to score; expected at least one")
    check_rankable(checked, "questions")
    return tuple(checked)


def check_each(questions: Iterable[tuple[str, object]]) -> list[Question]:
    """Every (where it stands, question) checked by itself, and their ids against each other."""
    checked: list[Question] = []
    first_seen: dict[str, str] = {}
    for where, given in questions:
        question = check_question(given, where)
        if question.id in first_seen:
            fail(where, "id", question.id, f"a unique id (it is also that of {first_seen[question.id]})")
        first_seen[question.id] = where
        checked.append(question)
    return checked


def check_rankable(questions: Iterable[Question], where: str) -> None:
    """Raise where nothing could be measured: the votes of every question are all equal."""
    if all(len({answer.votes for answer in question.answers}) == 1 for question in questions):
        raise ValueError(
            f"{where}: all votes are equal within every question, so there is nothing to rank; expected a question "
            "with answers of different votes"
        )


def check_question(given: object, where: str) -> Question:
    """One question in plain Python types.

    Args:
        where: file and line, or place in the list, for the message.

    Raises:
        ValueError: it is no question; names `where`, field, found and expected.
    """
    if not isinstance(given, Question):
        fail(where, "question", given, "a Question")
    answers = given.answers
    if not isinstance(answers, (list, tuple)) or len(answers) < 2:
        fail(where, "answers", answers, "a list of 2 or more answers {text, votes}")
    return Question(
        id=check_label(given.id, where, "id") or fail(where, "id", given.id, "a text that is not empty"),
        question=_asked(given.question, where),
        answers=tuple(_answer(answer, where, f"answers[{i}]") for i, answer in enumerate(answers)),
        topic=check_label(given.topic, where, "topic") or "all",
        cluster=check_label(given.cluster, where, "cluster"),
        ratings=_ratings(given.ratings, len(answers), where),
        groups=_groups(given.groups, where),
        judge=check_label(given.judge, where, "judge"),
        counted=_switch(given.counted, where, "counted"),
        date=_day(given.date, where),
    )


def check_label(value: object, where: str, name: str) -> str | None:
    """Accept a name or a whole number as a label; `None` stays `None`."""
    if value is None:
        return None
    if isinstance(value, Integral) and not isinstance(value, bool) and abs(int(value)) < 10**400:
        return str(int(value))
    return _text(value, where, name)


def fail(where: str, name: str, found: object, expected: str) -> NoReturn:
    """Raise the one form that all these messages have."""
    try:
        shown = repr(found)
    except (ValueError, RecursionError):
        # An integer of 5,000 digits, a list 5,000 deep.
        shown = f"a {type(found).__name__} too large to show"
    shown = shown if len(shown) <= 80 else f"{shown[:77]}..."
    raise ValueError(f"{where}: {name}: found {shown}, expected {expected}")


def _switch(value: object, where: str, name: str) -> bool | None:
    return value if value is None or isinstance(value, bool) else fail(where, name, value, "true, false or null")


def _day(value: object, where: str) -> str | None:
    return None if value is None else day_of(value) or fail(where, "date", value, "a date such as 2024-05-31, or null")


def _asked(given: object, where: str) -> Asked:
    """What a question asks: a text, or messages that an answer can follow."""
    if not isinstance(given, (list, tuple)):
        return _text(given, where, "question", "a text that is not empty, or a list of messages {role, content}")
    messages = tuple(_message(message, where, f"question[{i}]") for i, message in enumerate(given))
    if not messages or messages[-1]["role"] == ASSISTANT:
        fail(where, "question", given, "messages of which the last one is not the assistant's")
    if not any(message["content"] for message in messages):
        fail(where, "question", given, "messages of which one has a text")
    first = messages[0]
    return first["content"] if len(messages) == 1 and first == _user(first["content"]) else messages


def _user(text: str) -> Message:
    return {"role": "user", "content": text}


def _message(given: object, where: str, name: str) -> Message:
    """A message in plain Python types: role and content first, the rest by name; what is null is left out."""
    if not isinstance(given, Mapping):
        fail(where, name, given, "a message: an object with the fields role and content")
    rest = {key: value for key, value in given.items() if key not in ("role", "content") and value is not None}
    try:
        plain = _plain_json(rest)
    except (TypeError, RecursionError):
        fail(where, name, given, "a message of texts, numbers, lists and objects")
    content = given.get("content")
    if content is None and plain.get("tool_calls"):
        content = ""
    text = content_text(content)
    if text is None:
        fail(where, f"{name}.content", content, "a text, or a list of parts {type: text, text}")
    role = _text(given.get("role"), where, f"{name}.role")
    return {"role": role, "content": _text(text, where, f"{name}.content") if text.strip() else text, **plain}


def _plain_json(value: object) -> Any:
    """Nested texts, numbers, lists and objects with their keys in order; parquet fills the keys of other rows in."""
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise TypeError("a key that is no text")
        return {key: _plain_json(value[key]) for key in sorted(value) if value[key] is not None}
    if isinstance(value, (list, tuple)):
        return [_plain_json(item) for item in value]
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, Real) and abs(number := float(value)) < float("inf"):
        return int(value) if isinstance(value, Integral) else number
    raise TypeError(f"a {type(value).__name__}")


def _groups(given: object, where: str) -> dict[str, str | Mapping[str, str]] | None:
    if given is None:
        return None
    expected = 'an object such as {"language": "de", "country": {"annotator": "IT"}}'
    if not isinstance(given, Mapping) or not all(isinstance(name, str) for name in given):
        fail(where, "groups", given, expected)
    groups: dict[str, str | Mapping[str, str]] = {}
    for name, label in sorted(given.items()):
        if isinstance(label, Mapping):
            if not all(isinstance(who, str) for who in label):
                fail(where, f"groups[{name!r}]", label, "annotators that are named by a text")
            each = {who: check_label(label[who], where, f"groups[{name!r}][{who!r}]") for who in sorted(label)}
            groups[name] = {who: said for who, said in each.items() if said is not None}
        elif (whole := check_label(label, where, f"groups[{name!r}]")) is not None:
            groups[name] = whole
    return {name: label for name, label in groups.items() if label} or None


def _answer(given: object, where: str, name: str) -> Answer:
    if not isinstance(given, Answer):
        fail(where, name, given, "an Answer: an object with the fields text and votes")
    return Answer(_text(given.text, where, f"{name}.text"), _votes(given.votes, where, f"{name}.votes"))


def _votes(value: object, where: str, name: str) -> float:
    """Votes as `int` where they are whole (so that 3, 3.0 and "3" have one fingerprint), else as `float`."""
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        value = int(value)
    expected = "a finite number (a whole one may be a string)"
    return _plain(_number(value, where, name, expected))


def _ratings(given: object, answers: int, where: str) -> dict[str, tuple[float | None, ...]] | None:
    if given is None:
        return None
    if not isinstance(given, Mapping):
        fail(where, "ratings", given, "an object {annotator: [one number or null an answer]}")
    ratings: dict[str, tuple[float | None, ...]] = {}
    for annotator in given:
        if not isinstance(annotator, str):
            fail(where, "ratings", annotator, "annotators that are named by a text")
    for annotator, values in sorted(given.items()):
        # parquet fills the annotators of other rows in
        if values is None:
            continue
        name = f"ratings[{annotator!r}]"
        if not isinstance(values, (list, tuple)) or len(values) != answers:
            fail(where, name, values, f"a list of {answers} numbers or nulls, one an answer")
        numbers = tuple(
            None if value is None else float(_number(value, where, name, "a finite number or null")) for value in values
        )
        if any(number is not None for number in numbers):
            ratings[annotator] = numbers
    return ratings or None


def _number(value: Any, where: str, name: str, expected: str) -> int | float:
    """A plain number of any real type (NumPy's and decimals too) that arithmetic in float64 can bear."""
    if isinstance(value, bool) or not isinstance(value, (Real, Decimal)):
        fail(where, name, value, expected)
    try:
        number = int(value) if isinstance(value, Integral) else float(value)
    except (ValueError, OverflowError):
        # A signalling NaN, a fraction of 400 digits.
        fail(where, name, value, expected)
    if not (number == 0 or _SMALLEST <= abs(number) <= _LARGEST):
        size = f" between {_SMALLEST:g} and 2**53 in size" if abs(number) < float("inf") else ""
        fail(where, name, value, expected + size)
    return number


def _plain(number: int | float) -> int | float:
    return int(number) if number == int(number) else number


def _text(value: object, where: str, name: str, expected: str = "a text that is not empty") -> str:
    if not isinstance(value, str) or not value.strip():
        fail(where, name, value, expected)
    try:
        value.encode()
    except UnicodeEncodeError:
        # Half a surrogate pair: tokenizers raise on it, deep inside the run.
        fail(where, name, value, "valid Unicode (it holds half of a surrogate pair)")
    return str(value)
