"""Questions with voted answers: load, check, take a stratified subset, fingerprint.

Three sources, one result (a list of `Question`):

- ``"bundled"``: the sample that comes with the package (a demo, not a benchmark);
- a ``.jsonl`` or ``.parquet`` file, one question a line or row: ``question``, ``answers`` (a list of
  ``{text, votes}``) and, where there, ``id``, ``topic``, ``cluster``, ``ratings``;
- a dataset of the Hugging Face hub, or a folder, in the layout of ``huawei-noah/human_rank_eval``: one split a topic.

Texts are kept to the character: the score divides by their length (HumanRankEval, arXiv 2405.09186).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from ..plain_text import plain_logger
from .adapters.own_layout import Wanted, read_in_own_layout
from .checks import Answer as Answer
from .checks import Question as Question
from .checks import check_each, check_label, check_question, check_rankable, fail
from .row_files import Row
from .sources import SAMPLE_QUESTIONS as SAMPLE_QUESTIONS
from .sources import SAMPLE_TRAIN as SAMPLE_TRAIN
from .sources import check_topics

logger = plain_logger(__name__)


def load_questions(
    source: str | Path,
    *,
    topics: Sequence[str] | None = None,
    max_questions: int | None = None,
    seed: int = 0,
    columns: Mapping[str, str] | None = None,
    adapter: str | None = None,
    config: str | None = None,
    split: str | None = None,
) -> list[Question]:
    """Load questions from a file, a folder, the hub or the bundled sample.

    Rows in another layout than this package's own are known by the shape of the first one: preference rows as TRL takes
    them, a prompt with scored or ranked answers, and data sets of human judgements (`data/README.md` lists them). What
    no question can be made of (ties, answers without text, ...) is left out, and a warning says how much and why.

    Args:
        source (`str` or `Path`): `"bundled"`, a `.jsonl`, `.json`, `.parquet` or `.csv` file, a folder that
            `datasets.load_dataset` can load or `save_to_disk` has written, a hub dataset such as
            `"huawei-noah/human_rank_eval"`, or the name of a known one, such as `"helpsteer3"` or `"oasst2:de"`. On a
            machine without network a hub dataset comes from the cache of `datasets`, if it was loaded once without
            `topics`.
        topics (`Sequence[str]`, *optional*): keep only these. Of a folder or hub dataset only their splits are loaded.
        max_questions (`int`, *optional*): take a subset of this size, stratified by topic (see `stratified_subset`).
        seed (`int`, *optional*, defaults to `0`): seed of the subset.
        columns (`Mapping[str, str]`, *optional*): the data's own columns under our names, such as
            `{"question": "prompt", "answers": "responses", "votes": "scores"}`. Names: `question`; `answers` (a list)
            or `answer` (one a row) with `votes` or `ranks` (the lowest is best); `chosen`, `rejected`; `id`, `topic`,
            `cluster`, `groups`, `judge`, `counted`, `date`.
        adapter (`str`, *optional*): the layout of a local copy, where its shape does not tell.
        config (`str`, *optional*), split (`str`, *optional*): of a folder or hub dataset.

    Returns:
        `list[Question]`: in the order of the source. A row without `id` gets `"<topic>:<number>"`, the line number in a
        JSONL file (from 1), the row number in a parquet file or split (from 0).

    Raises:
        ValueError: bad arguments, or a row that is not a question; names file, line or row, field, found and expected.
    """
    named = isinstance(topics, (list, tuple, set, frozenset)) and all(isinstance(t, str) for t in topics)
    if topics is not None and not (named and topics):
        raise ValueError(
            f"topics: found {topics!r}, expected a list of topic names such as ['python', 'math'], or None"
        )
    if max_questions is not None and (type(max_questions) is not int or max_questions < 1):
        raise ValueError(f"max_questions: found {max_questions!r}, expected an integer >= 1, or None")
    if type(seed) is not int:
        raise ValueError(f"seed: found {seed!r}, expected an integer")
    if not isinstance(source, (str, os.PathLike)) or not str(source).strip():
        raise ValueError(
            f"source: found {source!r:.80}, expected a .jsonl or .parquet file, a folder, a hub dataset 'owner/name' "
            "or 'bundled'"
        )
    found = read_in_own_layout(Wanted(source, topics, columns, adapter, config, split))
    questions = check_each(_questions(found.rows))
    left_out = found.left_out.sentence()
    if not questions:
        raise ValueError(
            f"{source}: found no questions, expected at least one" + (f" ({left_out})" if left_out else "")
        )
    if left_out:
        logger.warning(f"{source}, read as {found.layout}: {len(questions)} questions, {left_out}")
    topics = found.topics
    if topics is not None:
        check_topics(source, topics, {question.topic for question in questions})
        questions = [question for question in questions if question.topic in topics]
    if max_questions is not None:
        questions = stratified_subset(questions, max_questions, seed=seed)
    check_rankable(questions, str(source))
    return questions


def _questions(rows: Iterable[Row]) -> Iterator[tuple[str, Question]]:
    for where, number, topic, row in rows:
        yield where, _unchecked(row, where, number=number, topic=topic)


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
    quotas = largest_remainder({topic: len(group) for topic, group in by_topic.items()}, max_questions)
    chosen: set[str] = set()
    for topic, group in by_topic.items():
        group.sort(key=lambda question: (_digest([seed, question.question]), question.id))
        chosen.update(question.id for question in group[: quotas[topic]])
    return [question for question in questions if question.id in chosen]


def fingerprint(questions: Iterable[Question]) -> str:
    """Hash everything that a score depends on, as 16 hex characters, independent of the order of the questions.

    Ids, topics, questions, answer texts and votes count. Clusters, ratings, groups, judges, dates and whether votes are
    counts do not: they change intervals and what stands beside a score, never a score. Scores of different fingerprints
    must not be joined.

    Raises:
        ValueError: one of them is no question, see `check_questions`.
    """
    checked = check_each((f"questions[{place}]", question) for place, question in enumerate(questions))
    digests = sorted(
        _digest([q.id, q.topic, q.question, [[answer.text, answer.votes] for answer in q.answers]]) for q in checked
    )
    return _digest(digests)[:16]


def question_lines(questions: Iterable[Question]) -> Iterator[bytes]:
    """The questions as JSON lines that `load_questions` reads; a field that a question lacks is left out."""
    for question in questions:
        found = {field.name: getattr(question, field.name) for field in fields(question)}
        answers = [{"text": answer.text, "votes": answer.votes} for answer in question.answers]
        row = {name: value for name, value in found.items() if value is not None} | {"answers": answers}
        yield json.dumps(row, ensure_ascii=False).encode() + b"\n"


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
    return check_question(_unchecked(row, where, number=number, topic=topic), where)


def _unchecked(row: object, where: str, *, number: int, topic: str) -> Question:
    """A row's fields where a `Question` has them, whatever they hold."""
    if not isinstance(row, Mapping):
        fail(where, "row", row, "an object with the fields question and answers")
    for name in ("question", "answers"):
        if name not in row:
            raise ValueError(f"{where}: no field {name!r}; found the fields {sorted(map(str, row))}")
    rows = row["answers"]
    if not isinstance(rows, list) or len(rows) < 2:
        fail(where, "answers", rows, "a list of 2 or more answers {text, votes}")
    topic = check_label(row.get("topic"), where, "topic") or topic
    return Question(
        id=check_label(row.get("id"), where, "id") or f"{topic}:{number}",
        question=row["question"],
        answers=tuple(_answer(answer, where, f"answers[{index}]") for index, answer in enumerate(rows)),
        topic=topic,
        cluster=row.get("cluster"),
        ratings=_ratings(row.get("ratings"), rows, where),
        groups=row.get("groups"),
        judge=row.get("judge"),
        counted=row.get("counted"),
        date=row.get("date"),
    )


def _answer(answer: object, where: str, name: str) -> Answer:
    if not isinstance(answer, Mapping) or "text" not in answer or "votes" not in answer:
        fail(where, name, answer, "an object with the fields text and votes")
    return Answer(answer["text"], answer["votes"])


def _ratings(given: Any, answers: Sequence[Mapping[str, Any]], where: str) -> Any:
    """Ratings of the question, or those of its answers in the form annotator -> one rating an answer."""
    of_answers = [answer.get("ratings") for answer in answers]
    if all(ratings is None for ratings in of_answers):
        return given
    if given is not None:
        fail(where, "ratings", given, "ratings either on the question or on its answers, not both")
    for index, ratings in enumerate(of_answers):
        if ratings is not None and not isinstance(ratings, Mapping):
            fail(where, f"answers[{index}].ratings", ratings, "an object {annotator: number}")
    maps = [ratings or {} for ratings in of_answers]
    return {who: [ratings.get(who) for ratings in maps] for who in {who for m in maps for who in m}}


def largest_remainder(sizes: Mapping[str, int], total: int) -> dict[str, int]:
    """Share `total` seats in proportion to `sizes`, in integers, ties by name."""
    whole = sum(sizes.values())
    quotas = {name: total * size // whole for name, size in sizes.items()}
    by_remainder = sorted(sizes, key=lambda name: (-(total * sizes[name] % whole), name))
    for name in by_remainder[: total - sum(quotas.values())]:
        quotas[name] += 1
    return quotas


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()
