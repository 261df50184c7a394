"""Where a run changed since its start, from its record: by topic, and the questions that moved most. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scipy.stats import t as student_t

from .story import last_index, number, start_index

if TYPE_CHECKING:
    from .record import Record


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

    question: Mapping[str, Any]
    then: float
    now: float
    ranks: tuple[int, int] | None


def topic_changes(record: Record) -> list[TopicChange]:
    """Every topic's change since the start, the largest topics first; NaN where it cannot be had."""
    start, now = start_index(record), last_index(record)
    if now is None:
        return []
    after = _pearsons(record, now)
    before = _pearsons(record, start) if start is not None else [math.nan] * len(after)
    groups: dict[str, list[tuple[float, float]]] = {}
    for question, then, later in zip(record.run["questions"], before, after, strict=True):
        groups.setdefault(str(question["topic"]), []).append((then, later))
    rows = [_topic_change(topic, pairs) for topic, pairs in groups.items()]
    return sorted(rows, key=lambda row: (-row.n, row.topic))


def moved_questions(record: Record, most: int = 5) -> tuple[list[Moved], list[Moved]]:
    """The questions that moved most since the start: towards people, and away from them; at most `most` each."""
    start, now = start_index(record), last_index(record)
    if start is None or now is None or start == now:
        return [], []
    pairs = list(zip(_pearsons(record, start), _pearsons(record, now), strict=True))
    shifts = sorted(
        (after - before, i) for i, (before, after) in enumerate(pairs) if math.isfinite(after - before)
    )
    fell = [_moved(record, i, start, now, pairs[i]) for shift, i in shifts[:most] if shift < 0]
    rose = [_moved(record, i, start, now, pairs[i]) for shift, i in shifts[::-1][:most] if shift > 0]
    return rose, fell


def _pearsons(record: Record, index: int) -> list[float]:
    return [number(r) for r in record.evaluations[index]["pearson"]]


def _topic_change(topic: str, pairs: Sequence[tuple[float, float]]) -> TopicChange:
    now = [b for _, b in pairs if math.isfinite(b)]
    paired = [(a, b) for a, b in pairs if math.isfinite(a) and math.isfinite(b)]
    changes = [b - a for a, b in paired]
    then = _mean([a for a, _ in pairs if math.isfinite(a)])
    return TopicChange(topic, len(now), then, _mean(now), _mean(changes), *_t_interval(changes))


def _mean(numbers: Sequence[float]) -> float:
    return math.fsum(numbers) / len(numbers) if numbers else math.nan


def _t_interval(differences: Sequence[float]) -> tuple[float, float]:
    n = len(differences)
    if n < 2:
        return math.nan, math.nan
    mean = _mean(differences)
    sd = math.sqrt(math.fsum((d - mean) ** 2 for d in differences) / (n - 1))
    half = float(student_t.ppf(0.975, n - 1)) * sd / math.sqrt(n)
    return mean - half, mean + half


def _moved(record: Record, i: int, start: int, now: int, pair: tuple[float, float]) -> Moved:
    question = record.run["questions"][i]
    before, after = (_rank_of_best(record, question, record.evaluations[at], i) for at in (start, now))
    return Moved(question, *pair, (before, after) if before and after else None)


def _rank_of_best(record: Record, question: Mapping[str, Any], look: Mapping[str, Any], i: int) -> int | None:
    """The model's rank of the best-voted answer; known for scores per character, whose lengths the record holds."""
    normalization = (record.run.get("config") or {}).get("normalization", "characters")
    loglikelihoods, votes = look["loglikelihoods"][i], question["votes"]
    if normalization != "characters" or not loglikelihoods:
        return None
    scores = [
        number(ll) / max(1, length) for ll, length in zip(loglikelihoods, question["lengths"], strict=True)
    ]
    best = scores[max(range(len(scores)), key=lambda answer: votes[answer])]
    return 1 + sum(score > best for score in scores) if all(map(math.isfinite, scores)) else None
