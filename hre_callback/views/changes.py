"""Where a run changed since its start, from its record: by topic, and the questions that moved most. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..run.record import answer_scores, excerpts, vote
from ..stats.significance import known_clusters, t_interval
from .reading import Reading

if TYPE_CHECKING:
    from ..run.lines import Evaluation, RunQuestion
    from ..run.record import Record

# One question's r at the start and now, and its cluster.
_Pair = tuple[float, float, str | None]


@dataclass(frozen=True, slots=True)
class TopicChange:
    """One topic: its questions with a defined r now, its means, the paired change with its 95 % t interval."""

    topic: str
    n: int
    then: float
    now: float
    delta: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Moved:
    """One question whose r shifted: its entry in the run line, r at the start and now.

    `ranks` says where the model puts people's best answer at the start and now (1 = first), None if unknown.
    """

    question: RunQuestion
    then: float
    now: float
    ranks: tuple[int, int] | None


def topic_changes(reading: Reading) -> list[TopicChange]:
    """Every topic's change since the start, the largest topics first; NaN where it cannot be had."""
    start, now = reading.start, reading.now
    if now is None:
        return []
    after = reading.pearsons(now)
    before = reading.pearsons(start) if start is not None else [math.nan] * len(after)
    groups: dict[str, list[_Pair]] = {}
    for question, then, later in zip(reading.questions, before, after, strict=True):
        groups.setdefault(question.topic, []).append((then, later, question.cluster))
    rows = [_topic_change(topic, pairs) for topic, pairs in groups.items()]
    return sorted(rows, key=lambda row: (-row.n, row.topic))


def moved_questions(reading: Reading, most: int = 5) -> tuple[list[Moved], list[Moved]]:
    """The questions that moved most since the start: towards people, and away from them; at most `most` each."""
    start, now = reading.start, reading.now
    if start is None or now is None or start == now:
        return [], []
    pairs = list(zip(reading.pearsons(start), reading.pearsons(now), strict=True))
    shifts = sorted((after - before, i) for i, (before, after) in enumerate(pairs) if math.isfinite(after - before))
    fell = [_moved(reading.record, i, start, now, pairs[i]) for shift, i in shifts[:most] if shift < 0]
    rose = [_moved(reading.record, i, start, now, pairs[i]) for shift, i in shifts[::-1][:most] if shift > 0]
    return rose, fell


def _topic_change(topic: str, pairs: Sequence[_Pair]) -> TopicChange:
    now = [b for _, b, _ in pairs if math.isfinite(b)]
    then = _mean([a for a, _, _ in pairs if math.isfinite(a)])
    clusters = known_clusters([cluster for _, _, cluster in pairs])
    change = t_interval([b - a for a, b, _ in pairs], clusters=clusters)
    return TopicChange(topic, len(now), then, _mean(now), change.estimate, change.low, change.high)


def _mean(numbers: Sequence[float]) -> float:
    return math.fsum(numbers) / len(numbers) if numbers else math.nan


def _moved(record: Record, i: int, start: int, now: int, pair: tuple[float, float]) -> Moved:
    before, after = (_rank_of_best(record, record.evaluations[at], i) for at in (start, now))
    return Moved(record.run.questions[i], *pair, (before, after) if before and after else None)


def _rank_of_best(record: Record, look: Evaluation, i: int) -> int | None:
    """The model's rank of the best-voted answer, where the scores are known."""
    scores, votes = answer_scores(record, look, i), record.run.questions[i].votes
    known = [score for score in scores if score is not None]
    if len(known) < len(scores):
        return None
    best = known[max(range(len(known)), key=lambda answer: votes[answer])]
    return 1 + sum(score > best for score in known)


def most_moved(record: Record, limit: int = 50) -> tuple[list[str], list[list[Any]]]:
    """The questions whose correlation changed most between the first and the last evaluation.

    Returns:
        column names, and at most `limit` rows, largest change first. Scores are log-likelihoods by their divisors, "-"
        where an answer was left out or the divisors are not known.
    """
    columns = ["id", "topic", "question", "best_answer", "votes"]
    columns += ["scores_start", "scores_now", "pearson_start", "pearson_now", "shift"]
    if len(record.evaluations) < 2:
        return columns, []
    first, last = record.evaluations[0], record.evaluations[-1]
    rows: list[list[Any]] = []
    for i, question in enumerate(record.run.questions):
        before, now = first.pearson[i], last.pearson[i]
        if before is None or now is None:
            continue
        scores = [_in_words(answer_scores(record, look, i)) for look in (first, last)]
        votes = ", ".join(map(vote, question.votes))
        known = [question.id, question.topic, *excerpts(question)]
        rows.append([*known, votes, *scores, before, now, now - before])
    rows.sort(key=lambda row: (-abs(row[-1]), row[0]))
    return columns, rows[:limit]


def _in_words(scores: Sequence[float | None]) -> str:
    return ", ".join("-" if score is None else f"{score:.3f}" for score in scores)
