"""Questions with voted answers: load, check, take a stratified subset, fingerprint.

Three sources, one result (a list of `Question`):

- ``"bundled"``: the sample that comes with the package (a demo, not a benchmark);
- a ``.jsonl`` or ``.parquet`` file, one question a line or row: ``question``, ``answers`` (a list of ``{text, votes}``) and,
  where there, ``id``, ``topic``, ``cluster``, ``ratings``;
- a dataset of the Hugging Face hub, or a folder, in the layout of ``huawei-noah/human_rank_eval``: one split a topic.

Texts are kept to the character: the score divides by their length (HumanRankEval, arXiv 2405.09186).
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from .question_rows import SAMPLE_QUESTIONS as SAMPLE_QUESTIONS
from .question_rows import SAMPLE_TRAIN as SAMPLE_TRAIN
from .question_rows import check_topics, read_rows

_INTEGER = re.compile(r"\s*[+-]?[0-9]{1,18}\s*")


@dataclass(frozen=True, slots=True)
class Answer:
    """One human answer and the votes that people gave it (up minus down, may be negative)."""

    text: str
    votes: int


@dataclass(frozen=True, slots=True)
class Question:
    """One question with two or more voted answers.

    Args:
        id (`str`): unique in its set; scores are joined by it.
        question (`str`): the text that goes into the context.
        answers (`tuple[Answer, ...]`): at least two.
        topic (`str`, *optional*, defaults to `"all"`): strata of subsets and of per-topic means.
        cluster (`str`, *optional*): questions that are not independent (same thread, same author) share one.
        ratings (`Mapping[str, tuple[float | None, ...]]`, *optional*): annotator -> one rating an answer, in the order of
            `answers`; `None` where that annotator gave none.
    """

    id: str
    question: str
    answers: tuple[Answer, ...]
    topic: str = "all"
    cluster: str | None = None
    ratings: Mapping[str, tuple[float | None, ...]] | None = field(default=None, hash=False)


def load_questions(
    source: str | Path,
    *,
    topics: Sequence[str] | None = None,
    max_questions: int | None = None,
    seed: int = 0,
) -> list[Question]:
    """Load questions from a file, a folder, the hub or the bundled sample.

    Args:
        source (`str` or `Path`): `"bundled"`, a `.jsonl` or `.parquet` file, a folder that `datasets.load_dataset` can
            load, or a hub dataset such as `"huawei-noah/human_rank_eval"`. On a machine without network a hub dataset
            comes from the cache of `datasets`, if it was loaded once without `topics`.
        topics (`Sequence[str]`, *optional*): keep only these. Of a folder or hub dataset only their splits are loaded.
        max_questions (`int`, *optional*): take a subset of this size, stratified by topic (see `stratified_subset`).
        seed (`int`, *optional*, defaults to `0`): seed of the subset.

    Returns:
        `list[Question]`: in the order of the source. A row without `id` gets `"<topic>:<number>"`, the line number in a
        JSONL file (from 1), the row number in a parquet file or split (from 0).

    Raises:
        ValueError: bad arguments, or a row that is not a question; names file, line or row, field, found and expected.
    """
    if isinstance(topics, str) or (topics is not None and not topics):
        raise ValueError(
            f"topics: found {topics!r}, expected a list of topic names such as ['python', 'math'], or None"
        )
    if max_questions is not None and (type(max_questions) is not int or max_questions < 1):
        raise ValueError(f"max_questions: found {max_questions!r}, expected an integer >= 1, or None")
    questions: list[Question] = []
    first_seen: dict[str, str] = {}
    for where, number, topic, row in read_rows(source, topics):
        question = parse_question(row, where, number=number, topic=topic)
        if question.id in first_seen:
            _fail(where, "id", question.id, f"a unique id (it is also that of {first_seen[question.id]})")
        first_seen[question.id] = where
        questions.append(question)
    if not questions:
        raise ValueError(f"{source}: found no questions, expected at least one")
    if topics is not None:
        check_topics(source, topics, {question.topic for question in questions})
        questions = [question for question in questions if question.topic in topics]
    return questions if max_questions is None else stratified_subset(questions, max_questions, seed=seed)


def stratified_subset(questions: Sequence[Question], max_questions: int, *, seed: int = 0) -> list[Question]:
    """Choose `max_questions` questions, each topic in proportion to its size (largest remainder).

    The draw hashes the question's text with the seed, so it depends neither on the order of the questions nor on the
    Python version, and growing `max_questions` keeps nearly every question of the smaller subset. Order is kept.
    """
    if max_questions >= len(questions):
        return list(questions)
    by_topic: defaultdict[str, list[Question]] = defaultdict(list)
    for question in questions:
        by_topic[question.topic].append(question)
    quotas = _largest_remainder({topic: len(group) for topic, group in by_topic.items()}, max_questions)
    chosen: set[str] = set()
    for topic, group in by_topic.items():
        group.sort(key=lambda question: (_digest([seed, question.question]), question.id))
        chosen.update(question.id for question in group[: quotas[topic]])
    return [question for question in questions if question.id in chosen]


def fingerprint(questions: Iterable[Question]) -> str:
    """Hash everything that a score depends on, as 16 hex characters, independent of the order of the questions.

    Ids, topics, question texts, answer texts and votes count. Clusters and ratings do not: they change intervals and the
    human ceiling, never a score. Scores of different fingerprints must not be joined.
    """
    digests = sorted(
        _digest([q.id, q.topic, q.question, [[answer.text, answer.votes] for answer in q.answers]])
        for q in questions
    )
    return _digest(digests)[:16]


def parse_question(row: object, where: str, *, number: int, topic: str = "all") -> Question:
    """Check one row and turn it into a `Question`.

    Args:
        row (`object`): a mapping with `question`, `answers` and, where there, `id`, `topic`, `cluster`, `ratings`.
        where (`str`): file and line, for the error message.
        number (`int`): makes the id of a row that has none.
        topic (`str`, *optional*, defaults to `"all"`): topic of a row that has none.

    Raises:
        ValueError: the row is not a question.
    """
    if not isinstance(row, Mapping):
        _fail(where, "row", row, "an object with the fields question and answers")
    for name in ("question", "answers"):
        if name not in row:
            raise ValueError(f"{where}: no field {name!r}; found the fields {sorted(map(str, row))}")
    answers = row["answers"]
    if not isinstance(answers, list) or len(answers) < 2:
        _fail(where, "answers", answers, "a list of 2 or more answers {text, votes}")
    topic = _label(row.get("topic"), where, "topic") or topic
    return Question(
        id=_label(row.get("id"), where, "id") or f"{topic}:{number}",
        question=_text(row["question"], where, "question"),
        answers=tuple(_answer(answer, where, f"answers[{index}]") for index, answer in enumerate(answers)),
        topic=topic,
        cluster=_label(row.get("cluster"), where, "cluster"),
        ratings=_ratings(row.get("ratings"), answers, where),
    )


def _answer(answer: object, where: str, name: str) -> Answer:
    if not isinstance(answer, Mapping) or "text" not in answer or "votes" not in answer:
        _fail(where, name, answer, "an object with the fields text and votes")
    text = _text(answer["text"], where, f"{name}.text")
    votes = answer["votes"]
    if type(votes) is int:
        return Answer(text, votes)
    whole = isinstance(votes, float) and votes.is_integer()
    if not whole and not (isinstance(votes, str) and _INTEGER.fullmatch(votes)):
        _fail(where, f"{name}.votes", votes, "an integer")
    return Answer(text, int(votes))


def _text(value: object, where: str, name: str) -> str:
    if not isinstance(value, str) or not value.strip():
        _fail(where, name, value, "a text that is not empty")
    try:
        value.encode()
    except UnicodeEncodeError:  # half a surrogate pair: tokenizers raise on it, deep inside the run
        _fail(where, name, value, "valid Unicode (it holds half of a surrogate pair)")
    return value


def _label(value: object, where: str, name: str) -> str | None:
    """Accept a name or a number as a label."""
    if value is None:
        return None
    if type(value) is int:
        return str(value)
    return _text(value, where, name)


def _ratings(
    given: object, answers: Sequence[Mapping[str, Any]], where: str
) -> dict[str, tuple[float | None, ...]] | None:
    """Bring ratings of the question or of its answers into the form annotator -> one rating an answer."""
    of_answers = [answer.get("ratings") for answer in answers]
    if any(ratings is not None for ratings in of_answers):
        if given is not None:
            _fail(where, "ratings", given, "ratings either on the question or on its answers, not both")
        given = _fold(of_answers, where)
    if given is None:
        return None
    if not isinstance(given, Mapping):
        _fail(where, "ratings", given, "an object {annotator: [one number or null an answer]}")
    ratings: dict[str, tuple[float | None, ...]] = {}
    for annotator, values in sorted(given.items()):
        if values is None:  # parquet fills the annotators of other rows in
            continue
        name = f"ratings[{annotator!r}]"
        if not isinstance(values, list) or len(values) != len(answers):
            _fail(where, name, values, f"a list of {len(answers)} numbers or nulls, one an answer")
        numbers = tuple(_rating(value, where, name) for value in values)
        if any(number is not None for number in numbers):
            ratings[annotator] = numbers
    return ratings or None


def _fold(of_answers: Sequence[object], where: str) -> dict[str, list[Any]]:
    for index, ratings in enumerate(of_answers):
        if ratings is not None and not isinstance(ratings, Mapping):
            _fail(where, f"answers[{index}].ratings", ratings, "an object {annotator: number}")
    maps: list[Mapping[str, Any]] = [
        ratings if isinstance(ratings, Mapping) else {} for ratings in of_answers
    ]
    return {
        annotator: [ratings.get(annotator) for ratings in maps] for annotator in {a for m in maps for a in m}
    }


def _rating(value: object, where: str, name: str) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        _fail(where, name, value, "a finite number or null")
    return float(value)


def _largest_remainder(sizes: Mapping[str, int], total: int) -> dict[str, int]:
    """Share `total` seats in proportion to `sizes`, in integers, ties by name."""
    whole = sum(sizes.values())
    quotas = {name: total * size // whole for name, size in sizes.items()}
    by_remainder = sorted(sizes, key=lambda name: (-(total * sizes[name] % whole), name))
    for name in by_remainder[: total - sum(quotas.values())]:
        quotas[name] += 1
    return quotas


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _fail(where: str, name: str, found: object, expected: str) -> NoReturn:
    shown = repr(found)
    shown = shown if len(shown) <= 80 else f"{shown[:77]}..."
    raise ValueError(f"{where}: {name}: found {shown}, expected {expected}")
