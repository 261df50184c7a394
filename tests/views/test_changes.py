from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import ttest_rel

from hre_callback.views.changes import moved_questions, topic_changes
from hre_callback.views.reading import Reading

from .. import records


def record(before, after, *, topics=None, **config):
    """Two looks at questions with three answers; each question's answers are scored 0 by default."""
    n = len(after)
    entries = [
        {
            "id": str(i),
            "topic": (topics or ["a"] * n)[i],
            "question": f"q{i}",
            "best_answer": "",
            "votes": [1, 9, 3],
        }
        | {"lengths": [10, 20, 10]}
        for i in range(n)
    ]
    looks = [
        {
            "step": step,
            "metrics": {"hre/score": 0.1},
            "pearson": list(r),
            "loglikelihoods": [[-1.0, -3.0, -2.0]] * n,
        }
        for step, r in ((0, before), (50, after))
        if r is not None
    ]
    return records.of({"config": config, "questions": entries}, looks)


def test_topic_change_is_the_paired_t_interval():
    rng = np.random.default_rng(0)
    before, after = rng.normal(size=(2, 20))
    (row,) = topic_changes(Reading(record(before.tolist(), after.tolist())))
    expected = ttest_rel(after, before).confidence_interval(0.95)
    assert (row.n, row.then, row.now) == (20, pytest.approx(before.mean()), pytest.approx(after.mean()))
    assert row.delta == pytest.approx((after - before).mean())
    assert (row.low, row.high) == (pytest.approx(expected.low), pytest.approx(expected.high))


def test_topics_by_size_and_undefined_questions_counted_out():
    before, after = [0.1, 0.3, None, 0.5], [0.2, None, 0.4, 0.9]
    rows = topic_changes(Reading(record(before, after, topics=["small", "large", "large", "large"])))
    assert [(row.topic, row.n) for row in rows] == [("large", 2), ("small", 1)]
    assert rows[0].now == pytest.approx(0.65) and rows[0].delta == pytest.approx(0.4)
    assert math.isnan(rows[0].low), "one pair has no interval"


def test_without_a_start_there_is_no_change():
    (row,) = topic_changes(Reading(record(None, [0.2, 0.4])))
    assert row.now == pytest.approx(0.3) and math.isnan(row.delta) and math.isnan(row.then)
    assert moved_questions(Reading(record(None, [0.2, 0.4]))) == ([], [])
    assert topic_changes(Reading(records.of())) == []


def test_moved_questions_are_the_extremes_on_both_sides():
    before, after = [0.0, 0.0, 0.0, 0.0, None, 0.2], [0.5, -0.9, 0.9, -0.1, 1.0, 0.2]
    rose, fell = moved_questions(Reading(record(before, after)), 2)
    assert [one.question.id for one in rose] == ["2", "0"]
    assert [one.question.id for one in fell] == ["1", "3"]
    assert moved_questions(Reading(record([0.1], [0.1]))) == ([], [])


def test_ranks_of_the_favourite_are_by_score_per_character():
    one = record([0.0], [0.5])
    one.evaluations[1].loglikelihoods[:] = [[-1.0, -1.0, -2.0]]
    # Per character: -0.10 -0.15 -0.20, then -0.10 -0.05 -0.20; the favourite is the second answer.
    assert moved_questions(Reading(one))[0][0].ranks == (2, 1)


@pytest.mark.parametrize("normalization", ["tokens", "bytes", "none"])
def test_ranks_are_unknown_for_other_scores_and_missing_loglikelihoods(normalization):
    assert moved_questions(Reading(record([0.0], [0.5], normalization=normalization)))[0][0].ranks is None
    for missing in (None, [], [None, -1.0, -1.0]):
        one = record([0.0], [0.5])
        one.evaluations[1].loglikelihoods[:] = [missing]
        assert moved_questions(Reading(one))[0][0].ranks is None


def test_a_topic_whose_questions_come_in_clusters_has_the_interval_of_the_clusters():
    rng = np.random.default_rng(1)
    threads = rng.normal(size=8)
    before, after = np.zeros(40), np.repeat(threads, 5) + 0.01 * rng.normal(size=40)
    made = record(before.tolist(), after.tolist())
    (alone,) = topic_changes(Reading(made))
    made.run.questions[:] = [
        replace(question, cluster=f"thread {i // 5}") for i, question in enumerate(made.run.questions)
    ]
    (row,) = topic_changes(Reading(made))
    expected = ttest_rel(after.reshape(8, 5).mean(axis=1), np.zeros(8)).confidence_interval(0.95)
    assert (row.low, row.high) == (pytest.approx(expected.low), pytest.approx(expected.high))
    assert row.high - row.low > 2 * (alone.high - alone.low) and row.delta == pytest.approx(alone.delta)
    made.run.questions[:] = [replace(question, cluster="one thread") for question in made.run.questions]
    assert math.isnan(topic_changes(Reading(made))[0].low), "one cluster has no interval"
