"""HRE by group of people: whose votes they are, and what a row says of each. No disk, no clock, no torch."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..stats.correlation import FloatArray
from ..stats.simultaneous import Row, group_correlations, simultaneous_intervals
from .keys import group_key

if TYPE_CHECKING:
    from ..data.questions import Question

# "<name>/<value>" -> per question the group's votes, one an answer; empty where it has none.
GroupVotes = Mapping[str, Sequence[Row]]
# Fewer questions say nothing of a group; more groups are more than a reader can hold, and wider intervals for all.
LEAST_QUESTIONS, MOST_GROUPS = 10, 20


def group_votes(questions: Sequence[Question]) -> tuple[GroupVotes, int]:
    """The votes of every group that is large enough, the largest `MOST_GROUPS`, and how many groups are left out.

    A label of the whole question takes the question's votes; labels of annotators take the mean of their ratings. What
    has one value for everybody tells nobody apart and is left out too, uncounted.
    """
    found: defaultdict[tuple[str, str], dict[int, Row]] = defaultdict(dict)
    for place, question in enumerate(questions):
        for name, label in (question.groups or {}).items():
            if isinstance(label, str):
                found[name, label][place] = [answer.votes for answer in question.answers]
                continue
            for value in sorted(set(label.values())):
                people = [who for who, said in label.items() if said == value and who in (question.ratings or {})]
                if people:
                    found[name, value][place] = _mean_ratings([(question.ratings or {})[who] for who in people])
    values: defaultdict[str, set[str]] = defaultdict(set)
    for name, value in found:
        values[name].add(value)
    apart = {key: rows for key, rows in found.items() if len(values[key[0]]) > 1}
    large = sorted(
        (key for key, rows in apart.items() if len(rows) >= LEAST_QUESTIONS), key=lambda k: (-len(apart[k]), k)
    )
    kept = {f"{n}/{v}": [apart[n, v].get(i, ()) for i in range(len(questions))] for n, v in large[:MOST_GROUPS]}
    return kept, len(apart) - len(kept)


def unrated_people(questions: Sequence[Question]) -> list[str]:
    """The people who are told apart by some label and have rated nothing: their groups lack them."""
    told = [label for q in questions for label in (q.groups or {}).values() if not isinstance(label, str)]
    rated = {who for question in questions for who in question.ratings or {}}
    return sorted({who for label in told for who in label} - rated)


def group_figures(
    groups: GroupVotes,
    first: Sequence[Row] | None,
    now: Sequence[Row],
    clusters: Sequence[str | None] | None,
) -> dict[str, float]:
    """HRE of every group now and its change since the first look, under the keys of a row without the run's name.

    The intervals of HRE hold for all groups together, and so do those of the changes.

    Args:
        first, now: scores, one an answer; `first` is `None` at the first look.
    """
    values = _correlations(groups, now)
    row = _told("group", groups, values, clusters)
    row |= {group_key(key, "group_n"): float(np.isfinite(r).sum()) for key, r in zip(groups, values, strict=True)}
    if first is None:
        return row
    return row | _told("group_change", groups, values - _correlations(groups, first), clusters)


def _correlations(groups: GroupVotes, scores: Sequence[Row]) -> FloatArray:
    return np.array([group_correlations(votes, scores) for votes in groups.values()])


def _told(what: str, groups: GroupVotes, values: FloatArray, clusters: Sequence[str | None] | None) -> dict[str, float]:
    row = {}
    for key, found in zip(groups, simultaneous_intervals(values, clusters=clusters), strict=True):
        for end, number in (("", found.estimate), ("_low", found.low), ("_high", found.high)):
            row[group_key(key, f"{what}{end}")] = number
    return row


def _mean_ratings(rows: Sequence[Row]) -> list[float | None]:
    """(answers,) mean over those who rated it."""
    each = ([rating for rating in column if rating is not None] for column in zip(*rows, strict=True))
    return [math.fsum(given) / len(given) if given else None for given in each]
