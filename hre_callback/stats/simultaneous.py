"""HRE by group of people, with intervals that hold for all groups together. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .correlation import FloatArray, over_questions, pearson
from .significance import Interval, t_interval

Row = Sequence[float | None]


def group_correlations(votes: Sequence[Row], scores: Sequence[Row]) -> FloatArray:
    """(questions,) Pearson's r of a group's votes and the scores, over the answers that the group voted on.

    NaN where it voted on fewer than two answers, or all alike.

    Args:
        votes: per question one an answer, `None` where nobody of the group voted; empty where the group has no vote.
        scores: per question one an answer.
    """
    values = np.full(len(votes), np.nan)
    told, mine, theirs = [], [], []
    for i, (row, scored) in enumerate(zip(votes, scores, strict=True)):
        known = [(vote, score) for vote, score in zip(row, scored, strict=bool(row)) if vote is not None]
        if len(known) > 1:
            told.append(i)
            mine.append([vote for vote, _ in known])
            theirs.append([score for _, score in known])
    if told:
        values[told] = over_questions(pearson, mine, theirs)
    return values


def simultaneous_intervals(
    values: FloatArray, *, clusters: Sequence[object] | None = None, confidence: float = 0.95
) -> list[Interval]:
    """Intervals of the groups' means that hold all together in `confidence` of cases, whatever the groups share.

    Bonferroni: each is Student's t interval over the group's questions, or clusters of them, at 1 - (1 - confidence) /
    groups (Dunn 1961). Groups may overlap: different people of one question, or several ways to tell people apart.

    Args:
        values: (groups, questions), NaN where a question says nothing of a group.
        clusters: (questions,) labels.
    """
    each = 1 - (1 - confidence) / max(1, len(values))
    return [t_interval(row, clusters=clusters, confidence=each) for row in values]
