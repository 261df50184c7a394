"""Decoupled: planted stand-stills and gains, and the rate of false claims by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as sp

from hre_callback.stats.decoupling import agreement_lost, recent_gain

from ..simulate import history as simulated


def claims(values, min_delta=0.01, **options) -> list[bool]:
    """At every look, whether the gain is bounded above by `min_delta`."""
    looks = len(values) - 1
    return [recent_gain(values[: t + 1], planned_looks=looks, **options).high < min_delta for t in range(1, looks + 1)]


def steady(seed, questions, looks, gain, spread=0.02):
    """A run whose HRE truly gains `gain` from its start to its end, in looks that differ by `spread` a question."""
    rng = np.random.default_rng(seed)
    base = rng.normal(0.2, 0.5, questions)
    return base + gain * np.linspace(0, 1, looks + 1)[:, None] + rng.normal(0, spread, (looks + 1, questions))


def test_a_run_that_stands_still_is_bounded_once_it_is_long_enough():
    found = claims(steady(0, 512, 10, 0.0))
    assert not any(found[:3]) and found[-1]


def test_a_run_that_gains_is_not():
    assert not any(claims(steady(0, 512, 10, 0.2)))


def test_a_noisy_stand_still_is_not_claimed():
    """What the questions cannot tell is not said."""
    assert not any(claims(steady(0, 60, 10, 0.0, spread=0.3)))


def test_the_gain_is_counted_from_the_middle():
    values = np.concatenate([steady(0, 512, 5, 0.2), np.full((6, 512), 0.4) + steady(1, 512, 5, 0.0) - 0.2])
    found = recent_gain(values, planned_looks=11)
    assert found.since == 5 and abs(found.estimate) < 0.02


@pytest.mark.parametrize("looks", [5, 10, 50])
def test_false_claims(looks):
    """Runs that gain just `min_delta` from the middle to the end are called standing still in at most alpha of cases."""
    runs, wrong = 300, 0
    for seed in range(runs):
        values = steady(seed, 80, looks, 0.0, spread=0.05)
        # The least favourable case: from every middle to its look hardly more than min_delta, as log2(t) has it.
        values += 0.0101 * np.log2(np.maximum(np.arange(looks + 1), 1))[:, None]
        wrong += any(claims(values))
    assert wrong <= sp.binom.ppf(0.99, runs, 0.05)


def test_clusters_widen_the_bound():
    values = np.repeat(steady(0, 128, 10, 0.0), 4, axis=1)
    alone = recent_gain(values).high
    assert recent_gain(values, clusters=(np.arange(512) // 4).tolist()).high > alone


def test_short_runs_and_undefined_questions():
    values = steady(0, 50, 10, 0.0)
    assert np.isnan(recent_gain(values[:4]).high) and np.isnan(recent_gain(values[:1]).high)
    values[3, :5] = np.nan
    assert np.isfinite(recent_gain(values).high)
    assert np.isnan(recent_gain(np.full((8, 5), np.nan)).high)


def test_lost_agreement_is_a_fall_from_the_best():
    rise, fall = simulated(1, 300, 5, fall=-0.1), simulated(1, 300, 6, fall=0.2)
    values = np.concatenate([rise, rise[-1] + fall[1:] - fall[0]])
    delta, p, lost = agreement_lost(values, planned_looks=12)
    assert lost and delta < -0.05 and p < 0.05
    delta, _, lost = agreement_lost(simulated(2, 300, 10), planned_looks=11)
    assert not lost
    assert np.isnan(agreement_lost(values[:2])[0])
