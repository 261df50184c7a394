from __future__ import annotations

import numpy as np
import pytest

from hre_callback.stats.correlation import pearson
from hre_callback.stats.simultaneous import group_correlations, simultaneous_intervals


def test_a_group_is_correlated_on_the_answers_that_it_voted_on():
    scores = [[0.1, 0.5, 0.2], [0.3, 0.1, 0.9], [1.0, 2.0], [1.0, None]]
    found = group_correlations([[1, None, 3], [1, 2, 4], (), [1, 2]], scores)
    assert found[0] == pytest.approx(1.0) and found[1] == pytest.approx(pearson([1, 2, 4], scores[1]))
    assert np.isnan(found[2:]).all()


def test_one_answer_or_equal_votes_say_nothing():
    assert np.isnan(group_correlations([[1, None], [2, 2]], [[0.1, 0.2], [0.1, 0.2]])).all()
    assert group_correlations([], []).shape == (0,)


def test_one_group_has_the_plain_interval_and_more_groups_wider_ones():
    values = np.random.default_rng(0).normal(size=(5, 40))
    (alone,), together = simultaneous_intervals(values[:1]), simultaneous_intervals(values)
    assert together[0].high - together[0].low > alone.high - alone.low
    assert simultaneous_intervals(np.zeros((0, 3))) == []


@pytest.mark.parametrize("answers", [2, 4])
@pytest.mark.parametrize("clustered", [False, True])
def test_all_intervals_hold_together_in_nineteen_of_twenty_runs(answers, clustered):
    """Six groups of different sizes that share questions and people; the change is r now less r at the start."""
    rng, missed, runs, n = np.random.default_rng(answers), 0, 400, 120
    sizes = (120, 90, 60, 40, 25, 15)
    clusters = [str(i // 3) for i in range(n)] if clustered else None
    for _ in range(runs):
        common = rng.normal(size=(n // 3, 1, answers)).repeat(3, axis=0) if clustered else np.zeros((n, 1, answers))
        votes = rng.normal(size=(n, 1, answers)) + rng.normal(size=(n, 6, answers))
        before, after = (rng.normal(size=(n, 1, answers)) + common for _ in range(2))
        change = (pearson(votes, after) - pearson(votes, before)).T
        for row, size in zip(change, sizes, strict=True):
            row[rng.permutation(n)[size:]] = np.nan
        missed += any(not one.low <= 0 <= one.high for one in simultaneous_intervals(change, clusters=clusters))
    assert missed / runs <= 0.075
