"""Any Stack Exchange dump (`Posts.xml`) -> questions in HumanRankEval form, and training rows from the rest of it.

HumanRankEval (arXiv 2405.09186) takes questions with many answers and keeps a few whose votes differ. So do we: of a
question's answers with distinct votes, some at even ranks (best, worst and between). The file is read twice, as a
stream: once for ids, votes and lengths, once for the texts of what was chosen.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from ..dates import day_of
from ..files import Chunks, check_output, write_together
from .messages import paper_context, texts_of
from .posts import QUESTION, Notes, Post, read_threads, to_text, visible_length
from .questions import Question, parse_question
from .sameness import normal

Row = dict[str, Any]
# Votes of an answer, id of the answer.
Vote = tuple[int, int]


@dataclass(frozen=True, slots=True)
class BuildResult:
    """Questions of a dump, and what became of the others.

    Attributes:
        questions: as `load_questions` gives them back from the written file, in the order of their post ids.
        rows: the same as JSON objects, with `attribution`: post ids, owners and licence of question and answers.
        seen: number of questions in the dump.
        rejected: reason -> number of questions; with `len(questions)` they add up to `seen`.
        notes: posts that were left out before (odd rows, not written by people), characters that were replaced.
    """

    questions: tuple[Question, ...]
    rows: tuple[Row, ...]
    seen: int
    rejected: Mapping[str, int]
    notes: Notes = field(default_factory=Notes)


@dataclass(frozen=True, slots=True)
class TrainingRows:
    """Rows for TRL, from questions that are not held out. Each has an `id` and an `attribution`, which TRL ignores.

    Attributes:
        pairs: `prompt`, `chosen`, `rejected` for DPO: the best answer against the worst.
        completions: `prompt`, `completion` for SFT: the best answer.
        rejected: reason -> number of questions that give no row at all.
        notes: as in `BuildResult`.
    """

    pairs: tuple[Row, ...]
    completions: tuple[Row, ...]
    rejected: Mapping[str, int]
    notes: Notes = field(default_factory=Notes)


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
    _check_least({"answers": (answers, 2), "min_length": (min_length, 1), "max_questions": (max_questions, 1)})
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
    texts = _read_texts(path, chosen)
    chosen = _with_text(chosen, texts, rejected)
    if not chosen:
        odd = "".join(f"; {line.strip()}" for line in index.notes.lines())
        raise ValueError(f"{path}: none of its {len(index.reasons)} questions qualifies: {dict(rejected)}{odd}")
    site = site or f"{topic}.stackexchange"
    rows = tuple(_question_row(f"{site}:{id_}", topic, id_, chosen[id_], texts) for id_ in sorted(chosen))
    questions = tuple(parse_question(row, f"{path}, question {row['id']}", number=0) for row in rows)
    return BuildResult(questions, rows, len(index.reasons), dict(rejected), index.notes)


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
    _check_least({"min_gap": (min_gap, 1), "min_length": (min_length, 1), "max_questions": (max_questions, 1)})
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
    chosen = _with_text(chosen, texts, rejected)
    known = {normal(text) for q in held_out for text in (*texts_of(q.question), *(answer.text for answer in q.answers))}
    pairs, completions = [], []
    for question_id in sorted(chosen):
        question, *answers = (texts[id_] for id_ in (question_id, *(id_ for _, id_ in chosen[question_id])))
        if any(normal(post.text) in known for post in (question, *answers)):
            rejected["text of a held-out post"] += 1
            continue
        pair, completion = _training_rows(f"{site}:{question_id}", question, answers)
        completions.append(completion)
        pairs.extend(pair)
    return TrainingRows(tuple(pairs), tuple(completions), dict(rejected), index.notes)


def check_outputs(posts_xml: str | Path, out: str | Path, pairs: str | Path | None = None) -> None:
    """Find out, before the work begins, whether questions can go to `out` and training rows to `pairs`.

    Raises:
        ValueError: not `.jsonl`, the same file twice, the dump itself, or nothing can be written there.
    """
    check_output(_jsonl(out), inputs=[posts_xml])
    if pairs is not None:
        check_output(_jsonl(pairs), inputs=[posts_xml], outputs=[out])
        check_output(sft_path(pairs), inputs=[posts_xml], outputs=[out, pairs], derived=True)


def write_questions(path: str | Path, result: BuildResult) -> Path:
    """Write the questions, with attribution, as a `.jsonl` that `load_questions` reads.

    The file appears whole or not.
    """
    write_together([(_jsonl(path), _lines(result.rows))])
    return Path(path)


def write_pairs(path: str | Path, training: TrainingRows) -> tuple[Path, Path]:
    """Write DPO pairs to `path` (`train.jsonl`) and SFT rows beside it (`train.sft.jsonl`).

    Two files, because they are two datasets: a question without a clearly lower answer has a completion and no pair.
    """
    write_together(_training_files(path, training))
    return Path(path), sft_path(path)


def write_all(out: str | Path, result: BuildResult, pairs: str | Path | None, training: TrainingRows | None) -> None:
    """Write what `write_questions` and, with `pairs` and `training`, `write_pairs` write: all files or none."""
    files = [(_jsonl(out), _lines(result.rows))]
    if pairs is not None and training is not None:
        files += _training_files(pairs, training)
    write_together(files)


def sft_path(pairs: str | Path) -> Path:
    """Where the SFT rows go: `train.sft.jsonl` beside `train.jsonl`."""
    pairs = Path(pairs)
    return pairs.with_name(f"{pairs.stem}.sft{pairs.suffix}")


@dataclass(frozen=True, slots=True)
class _Index:
    """What the first reading keeps: no text."""

    # Question id -> why it is out, or None.
    reasons: dict[int, str | None]
    # Question id -> answers of the right length.
    answers: defaultdict[int, list[Vote]]
    notes: Notes

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
    day: str | None

    @property
    def credit(self) -> str:
        """The attribution in one line."""
        owner = self.attribution.get("owner") or f"user {self.attribution.get('owner_id', 'unknown')}"
        licence = f" ({self.attribution['license']})" if "license" in self.attribution else ""
        return f"post {self.attribution['post_id']} by {owner}{licence}"


def _read_index(path: Path, min_length: int, max_length: int, after: date | None) -> _Index:
    index = _Index({}, defaultdict(list), Notes())
    for post in read_threads(path, index.notes):
        length = visible_length(post.html)
        if post.integer("PostTypeId") == QUESTION:
            length += len(post.fields.get("Title", ""))
            long = f"longer than {max_length} characters" if length > max_length else None
            index.reasons[post.id] = _too_old(post, after) or long
        elif min_length <= length <= max_length:
            index.answers[post.integer("ParentId")].append((post.integer("Score"), post.id))
    return index


def _too_old(post: Post, after: date | None) -> str | None:
    if after is None:
        return None
    asked = day_of(post.fields.get("CreationDate"))
    if asked is None:
        # Nobody knows whether a model has seen it, and that is what `after` is for.
        return "CreationDate is no date"
    return f"asked before {after:%Y-%m-%d}" if asked < f"{after:%Y-%m-%d}" else None


def _read_texts(path: Path, chosen: Mapping[int, Sequence[Vote]]) -> dict[int, _Text]:
    """Read the questions and answers of `chosen`. A question's text is its title, an empty line and its body."""
    wanted = set(chosen) | {answer_id for votes in chosen.values() for _, answer_id in votes}
    texts: dict[int, _Text] = {}
    for post in read_threads(path, Notes()):
        if post.id in wanted:
            title = post.fields.get("Title", "").strip()
            written = f"{title}\n\n{to_text(post.html)}".strip()
            texts[post.id] = _Text(written, post.attribution, day_of(post.fields.get("CreationDate")))
    if len(texts) < len(wanted):
        raise ValueError(f"{path}: changed while it was read: {len(wanted) - len(texts)} posts are gone")
    return texts


def _with_text(
    chosen: dict[int, list[Vote]], texts: Mapping[int, _Text], rejected: Counter[str]
) -> dict[int, list[Vote]]:
    """Those of which every post has a text: what is in comments only counts as visible, and is not."""
    kept = {
        id_: votes for id_, votes in chosen.items() if all(texts[one].text for one in (id_, *(a for _, a in votes)))
    }
    if len(kept) < len(chosen):
        rejected["a post without text"] = len(chosen) - len(kept)
    return kept


def _question_row(id_: str, topic: str, post_id: int, votes: Sequence[Vote], texts: Mapping[int, _Text]) -> Row:
    by_age = sorted(votes, key=lambda vote: vote[1])
    days = [texts[one].day for one in (post_id, *(answer_id for _, answer_id in by_age))]
    # Where one is not known the newest is not.
    newest = {"date": max(day for day in days if day)} if all(days) else {}
    return {
        "id": id_,
        "topic": topic,
        "question": texts[post_id].text,
        "answers": [{"text": texts[answer_id].text, "votes": count} for count, answer_id in by_age],
        "counted": True,
        **newest,
        "attribution": {
            "question": texts[post_id].attribution,
            "answers": [texts[answer_id].attribution for _, answer_id in by_age],
        },
    }


def _training_rows(id_: str, question: _Text, answers: Sequence[_Text]) -> tuple[list[Row], Row]:
    """One completion, and a pair where there are two answers. The prompt is HumanRankEval's context."""
    prompt = {"prompt": paper_context(question.text)}
    best, *worst = answers
    credits = [post.credit for post in (question, *answers)]
    completion = prompt | {"completion": f" {best.text}", "id": id_, "attribution": "; ".join(credits[:2])}
    rest = {"id": id_, "attribution": "; ".join(credits)}
    return [prompt | {"chosen": f" {best.text}", "rejected": f" {low.text}"} | rest for low in worst], completion


def _even_ranks(ranked: Sequence[Vote], number: int) -> list[Vote]:
    """Choose best, worst and `number - 2` at even distances between them."""
    last, steps = len(ranked) - 1, number - 1
    # That is round(i * last / steps).
    return [ranked[(2 * i * last + steps) // (2 * steps)] for i in range(number)]


def _draw(
    chosen: dict[int, list[Vote]], number: int | None, seed: int, rejected: Counter[str]
) -> dict[int, list[Vote]]:
    """Take `number` of them by the hash of their ids: everywhere the same, mostly kept when `number` grows."""
    if number is None or number >= len(chosen):
        return chosen
    rejected["over max_questions"] = len(chosen) - number
    drawn = sorted(chosen, key=lambda id_: hashlib.sha256(f"{seed}:{id_}".encode()).digest())[:number]
    return {id_: chosen[id_] for id_ in drawn}


def _check_least(arguments: Mapping[str, tuple[int | None, int]]) -> None:
    for name, (value, least) in arguments.items():
        if value is not None and value < least:
            raise ValueError(f"{name}: found {value}, expected at least {least}")


def _training_files(pairs: str | Path, training: TrainingRows) -> list[tuple[Path, Chunks]]:
    return [(_jsonl(pairs), _lines(training.pairs)), (sft_path(pairs), _lines(training.completions))]


def _jsonl(path: str | Path) -> Path:
    path = Path(path)
    if path.suffix != ".jsonl":
        raise ValueError(f"{path}: found the suffix {path.suffix!r}, expected .jsonl")
    return path


def _lines(rows: Iterable[Row]) -> Chunks:
    return (json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)
