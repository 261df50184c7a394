"""Rules over looks by hand, and rates with the coverage that they claim."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats as sp

from hre_callback.stats.alarms import above, fallen, first, grown, no_new_low, parted, rate, z_of_mean

NAN = math.nan


def at(alarms):
    return np.flatnonzero(alarms).tolist()


@pytest.mark.parametrize(
    ("alarms", "where"),
    [
        (above(np.array([NAN, 0.2, 0.3, 0.31, NAN, 1.0]), 0.3), [3, 5]),
        (fallen(np.array([NAN, 2.0, 1.1, 1.0, NAN, 0.5, 3.0]), 0.5), [3, 5]),
        (fallen(np.array([0.0, -1.0]), 0.5), []),
        (fallen(np.array([NAN, NAN]), 0.5), []),
        (grown(np.array([100.0, 130.0, 131.0, NAN]), 0.3), [2]),
        (grown(np.array([-1.0, 5.0]), 0.3), []),
        # The start's own value counts as the first; what is not logged is not waited for.
        (no_new_low(np.array([2.0, 1.0, NAN, 1.0, 1.1, 1.2, 0.9, 1.0]), 3), [5]),
        (no_new_low(np.array([NAN] * 5), 1), []),
    ],
)
def test_a_rule_alarms_where_it_should_and_never_for_want_of_a_value(alarms, where):
    assert alarms.dtype == bool and at(alarms) == where
    assert first(alarms) == (where[0] if where else None)


def test_parting_is_a_rising_signal_over_a_falling_score_in_the_window():
    up, down = np.arange(12.0), -np.arange(12.0)
    assert at(parted(up, down, window=8, least=6)) == list(range(5, 12))
    for signal, score in ((up, up), (down, down), (down, up), (up, np.ones(12))):
        assert at(parted(signal, score, window=8, least=6)) == []
    # What lies before the window is forgotten.
    late = np.array([9.0, 8, 7, 6, 5, 4, 3, 4, 5, 6, 7, 8])
    assert at(parted(up, late, window=4, least=4)) == [3, 4, 5, 6, 7]
    with_gaps = np.where(np.arange(12) % 2, NAN, up)
    assert at(parted(with_gaps, down, window=8, least=6)) == [10]


@pytest.mark.parametrize("share", [0.05, 0.3, 0.9])
def test_the_interval_of_a_rate_covers(share):
    """Exact: at least 95 % of all outcomes of 12 runs, weighted by their chance, have the true share inside."""
    inside = [(found := rate(k, 12)).low <= share <= found.high for k in range(13)]
    assert sp.binom.pmf(range(13), 12, share) @ inside >= 0.95


def test_none_of_none_is_no_rate():
    assert rate(0, 0)[:2] == (0, 0) and math.isnan(rate(0, 0).low)
    assert rate(3, 3).high == 1 and 0 < rate(3, 3).low < 1


def test_z_is_the_mean_in_standard_errors_with_clusters_together():
    values = np.random.default_rng(0).normal(0.2, 1, 60)
    assert z_of_mean(values) == pytest.approx(sp.ttest_1samp(values, 0).statistic)
    thrice = np.repeat(values, 3)
    assert z_of_mean(thrice, np.repeat(np.arange(60), 3).tolist()) == pytest.approx(z_of_mean(values))
    assert z_of_mean(np.append(values, NAN)) == pytest.approx(z_of_mean(values))
    for nothing in ([], [1.0], [0.0, 0.0], [NAN, NAN]):
        assert math.isnan(z_of_mean(np.array(nothing)))
