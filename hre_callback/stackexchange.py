"""Any Stack Exchange dump (`Posts.xml`) -> questions in HumanRankEval form, and training rows from the rest of it.

HumanRankEval (arXiv 2405.09186) takes questions with many answers and keeps a few whose votes differ. So do we: of a
question's answers with distinct votes, some at even ranks (best, worst and between). The file is read twice, as a stream:
once for ids, votes and lengths, once for the texts of what was chosen.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from .files import write_whole
from .posts import ANSWER, QUESTION, read_posts, to_text, visible_length
from .questions import Question, parse_question

Row = dict[str, Any]
Vote = tuple[int, int]  # votes of an answer, id of the answer


@dataclass(frozen=True, slots=True)
class BuildResult:
    """Questions of a dump, and what became of the others.

    Attributes:
        questions: as `load_questions` gives them back from the written file, in the order of their post ids.
        rows: the same as JSON objects, with `attribution`: post ids, owners and licence of question and answers.
        seen: number of questions in the dump.
        rejected: reason -> number of questions; with `len(questions)` they add up to `seen`.
    """

    questions: tuple[Question, ...]
    rows: tuple[Row, ...]
    seen: int
    rejected: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class TrainingRows:
    """Rows for TRL, from questions that are not held out. Each has an `id` and an `attribution`, which TRL ignores.

    Attributes:
        pairs: `prompt`, `chosen`, `rejected` for DPO: the best answer against the worst.
        completions: `prompt`, `completion` for SFT: the best answer.
        rejected: reason -> number of questions that give no row at all.
    """

    pairs: tuple[Row, ...]
    completions: tuple[Row, ...]
    rejected: Mapping[str, int]


def build_questions(
    posts_xml: str | Path,
    *,
    topic: str,
    site: str | None = None,
    answers: int = 4,
    min_spread: int = 3,
    min_length: int = 30,
    max_length: int = 3000,
    after: date | None = None,
    max_questions: int | None = None,
    seed: int = 0,
) -> BuildResult:
    """Choose questions with `answers` answers of distinct votes.

    Args:
        posts_xml (`str` or `Path`): an unpacked dump.
        topic (`str`): topic of all its questions.
        site (`str`, *optional*, defaults to `"<topic>.stackexchange"`): makes the ids, such as `beer.stackexchange:8`.
        answers (`int`, *optional*, defaults to `4`): answers a question. They stand in the order of their post ids, so
            that their place does not tell their votes.
        min_spread (`int`, *optional*, defaults to `3`): least votes between the best and the worst answer; a ranking
            that a vote or two can turn over measures noise.
        min_length, max_length (`int`, *optional*, default to `30` and `3000`): limits in visible characters. Other
            answers are not considered, and neither are questions longer than `max_length`.
        after (`date`, *optional*): only questions asked on this day or later, to stay past a model's training cutoff.
        max_questions (`int`, *optional*): keep this many, drawn by `seed`; the rest is free for training.
        seed (`int`, *optional*, defaults to `0`): seed of that draw.

    Raises:
        ValueError: bad arguments, not a dump, or no question qualifies (with the count of each reason).
    """
    _check_least(
        {"answers": (answers, 2), "min_length": (min_length, 1), "max_questions": (max_questions, 1)}
    )
    path = Path(posts_xml)
    index = _read_index(path, min_length, max_length, after)
    chosen: dict[int, list[Vote]] = {}
    rejected: Counter[str] = Counter()
    for question_id, reason in index.reasons.items():
        ranked = index.distinct_votes(question_id)
        if len(index.answers[question_id]) < answers:
            reason = reason or f"fewer than {answers} answers of the right length"
        elif len(ranked) < answers or ranked[0][0] - ranked[-1][0] < min_spread:
            reason = reason or f"fewer than {answers} distinct votes, or a spread under {min_spread}"
        if reason:
            rejected[reason] += 1
        else:
            chosen[question_id] = _even_ranks(ranked, answers)
    chosen = _draw(chosen, max_questions, seed, rejected)
    if not chosen:
        raise ValueError(f"{path}: none of its {len(index.reasons)} questions qualifies: {dict(rejected)}")
    texts = _read_texts(path, chosen)
    site = site or f"{topic}.stackexchange"
    rows = tuple(_question_row(f"{site}:{id_}", topic, id_, chosen[id_], texts) for id_ in sorted(chosen))
    questions = tuple(parse_question(row, f"{path}, question {row['id']}", number=0) for row in rows)
    return BuildResult(questions, rows, len(index.reasons), dict(rejected))


def build_pairs(
    posts_xml: str | Path,
    held_out: Sequence[Question],
    *,
    topic: str,
    site: str | None = None,
    min_gap: int = 3,
    min_length: int = 30,
    max_length: int = 3000,
    max_questions: int | None = None,
    seed: int = 0,
) -> TrainingRows:
    """Make training rows from the questions that are not `held_out`; two answers are enough for a pair.

    Nothing is taken from a question that has, itself or in one of its two answers, the text of a held-out question or
    answer (case, spaces and punctuation aside): posts are merged and cross-posted.

    Args:
        held_out (`Sequence[Question]`): the evaluation questions; those of this dump are known by their ids.
        min_gap (`int`, *optional*, defaults to `3`): least votes between chosen and rejected. Questions without such a
            gap still give a completion, if their best answer has at least one vote.
        max_questions (`int`, *optional*): use this many questions, drawn by `seed`. Their texts are held in memory.

    The other arguments and the errors are those of `build_questions`.
    """
    _check_least(
        {"min_gap": (min_gap, 1), "min_length": (min_length, 1), "max_questions": (max_questions, 1)}
    )
    path = Path(posts_xml)
    site = site or f"{topic}.stackexchange"
    index = _read_index(path, min_length, max_length, after=None)
    held_out_ids = {question.id for question in held_out}
    chosen: dict[int, list[Vote]] = {}
    rejected: Counter[str] = Counter()
    for question_id, reason in index.reasons.items():
        ranked = index.distinct_votes(question_id)
        if f"{site}:{question_id}" in held_out_ids:
            reason = "held out"
        elif not ranked or ranked[0][0] < 1:
            reason = reason or "no answer of the right length with a vote"
        if reason:
            rejected[reason] += 1
        else:
            clear = ranked[0][0] - ranked[-1][0] >= min_gap
            chosen[question_id] = [ranked[0], ranked[-1]] if clear else [ranked[0]]
    chosen = _draw(chosen, max_questions, seed, rejected)
    texts = _read_texts(path, chosen)
    known = {_normal(text) for q in held_out for text in (q.question, *(answer.text for answer in q.answers))}
    pairs, completions = [], []
    for question_id in sorted(chosen):
        question, *answers = (texts[id_] for id_ in (question_id, *(id_ for _, id_ in chosen[question_id])))
        if any(_normal(post.text) in known for post in (question, *answers)):
            rejected["text of a held-out post"] += 1
            continue
        pair, completion = _training_rows(f"{site}:{question_id}", question, answers)
        completions.append(completion)
        pairs.extend(pair)
    return TrainingRows(tuple(pairs), tuple(completions), dict(rejected))


def write_questions(path: str | Path, result: BuildResult) -> Path:
    """Write the questions, with attribution, as a `.jsonl` that `load_questions` reads; the file appears whole or not."""
    return _write_jsonl(Path(path), result.rows)


def write_pairs(path: str | Path, training: TrainingRows) -> tuple[Path, Path]:
    """Write DPO pairs to `path` (`train.jsonl`) and SFT rows beside it (`train.sft.jsonl`).

    Two files, because they are two datasets: a question without a clearly lower answer has a completion and no pair.
    """
    path = Path(path)
    beside = path.with_name(f"{path.stem}.sft{path.suffix}")
    return _write_jsonl(path, training.pairs), _write_jsonl(beside, training.completions)


@dataclass(frozen=True, slots=True)
class _Index:
    """What the first reading keeps: no text."""

    reasons: dict[int, str | None]  # question id -> why it is out, or None
    answers: defaultdict[int, list[Vote]]  # question id -> answers of the right length

    def distinct_votes(self, question_id: int) -> list[Vote]:
        """Answers from best to worst, of those with equal votes the oldest."""
        oldest: dict[int, int] = {}
        for votes, answer_id in sorted(self.answers[question_id], key=lambda vote: vote[1]):
            oldest.setdefault(votes, answer_id)
        return sorted(oldest.items(), reverse=True)


@dataclass(frozen=True, slots=True)
class _Text:
    """What the second reading keeps of a chosen post."""

    text: str
    attribution: Mapping[str, int | str]

    @property
    def credit(self) -> str:
        """The attribution in one line."""
        owner = self.attribution.get("owner") or f"user {self.attribution.get('owner_id', 'unknown')}"
        licence = f" ({self.attribution['license']})" if "license" in self.attribution else ""
        return f"post {self.attribution['post_id']} by {owner}{licence}"


def _read_index(path: Path, min_length: int, max_length: int, after: date | None) -> _Index:
    index = _Index({}, defaultdict(list))
    first_day = f"{after:%Y-%m-%d}" if after else ""
    for post in read_posts(path):
        kind = post.fields.get("PostTypeId")
        if kind == QUESTION:
            length = len(post.fields.get("Title", "")) + visible_length(post.html)
            old = post.fields.get("CreationDate", "") < first_day
            reason = f"asked before {first_day}" if old else f"longer than {max_length} characters"
            index.reasons[post.id] = reason if old or length > max_length else None
        elif kind == ANSWER:
            vote = (post.integer("Score"), post.id)
            if min_length <= visible_length(post.html) <= max_length:
                index.answers[post.integer("ParentId")].append(vote)
        elif kind is None:
            raise ValueError(f"{post.where}: PostTypeId: found none, expected the rows of a Posts.xml")
    return index


def _read_texts(path: Path, chosen: Mapping[int, Sequence[Vote]]) -> dict[int, _Text]:
    """Read the questions and answers of `chosen`. A question's text is its title, an empty line and its body."""
    wanted = set(chosen) | {answer_id for votes in chosen.values() for _, answer_id in votes}
    texts: dict[int, _Text] = {}
    for post in read_posts(path):
        if post.id in wanted:
            title = post.fields.get("Title", "").strip()
            texts[post.id] = _Text(f"{title}\n\n{to_text(post.html)}".strip(), post.attribution)
    return texts


def _question_row(
    id_: str, topic: str, post_id: int, votes: Sequence[Vote], texts: Mapping[int, _Text]
) -> Row:
    by_age = sorted(votes, key=lambda vote: vote[1])
    return {
        "id": id_,
        "topic": topic,
        "question": texts[post_id].text,
        "answers": [{"text": texts[answer_id].text, "votes": count} for count, answer_id in by_age],
        "attribution": {
            "question": texts[post_id].attribution,
            "answers": [texts[answer_id].attribution for _, answer_id in by_age],
        },
    }


def _training_rows(id_: str, question: _Text, answers: Sequence[_Text]) -> tuple[list[Row], Row]:
    """One completion, and a pair where there are two answers. The prompt is HumanRankEval's context."""
    prompt = {"prompt": f"Question: {question.text}\nAnswer:"}
    best, *worst = answers
    credits = [post.credit for post in (question, *answers)]
    completion = prompt | {"completion": f" {best.text}", "id": id_, "attribution": "; ".join(credits[:2])}
    rest = {"id": id_, "attribution": "; ".join(credits)}
    return [
        prompt | {"chosen": f" {best.text}", "rejected": f" {low.text}"} | rest for low in worst
    ], completion


def _even_ranks(ranked: Sequence[Vote], number: int) -> list[Vote]:
    """Choose best, worst and `number - 2` at even distances between them."""
    last, steps = len(ranked) - 1, number - 1
    return [ranked[(2 * i * last + steps) // (2 * steps)] for i in range(number)]  # round(i * last / steps)


def _draw(
    chosen: dict[int, list[Vote]], number: int | None, seed: int, rejected: Counter[str]
) -> dict[int, list[Vote]]:
    """Take `number` of them by the hash of their ids: the same on every machine, and mostly kept when `number` grows."""
    if number is None or number >= len(chosen):
        return chosen
    rejected["over max_questions"] = len(chosen) - number
    drawn = sorted(chosen, key=lambda id_: hashlib.sha256(f"{seed}:{id_}".encode()).digest())[:number]
    return {id_: chosen[id_] for id_ in drawn}


def _normal(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.casefold()))


def _check_least(arguments: Mapping[str, tuple[int | None, int]]) -> None:
    for name, (value, least) in arguments.items():
        if value is not None and value < least:
            raise ValueError(f"{name}: found {value}, expected at least {least}")


def _write_jsonl(path: Path, rows: Iterable[Row]) -> Path:
    if path.suffix != ".jsonl":
        raise ValueError(f"{path}: found the suffix {path.suffix!r}, expected .jsonl")
    write_whole(path, (json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows))
    return path
