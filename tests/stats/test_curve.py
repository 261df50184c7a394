"""The run's curve as a whole: signal to noise by hand, and what choosing on the pooled curve costs under noise."""

from __future__ import annotations

import numpy as np
import pytest

from hre_callback.stats.curve import LEAST_LOOKS, pooled, signal_to_noise
from hre_callback.stats.significance import cross_fit_best


def test_a_look_is_pooled_with_the_neighbours_that_it_has():
    rows = np.array([[0.0, 1.0], [3.0, 1.0], [6.0, 4.0], [0.0, 0.0]])
    assert pooled(rows, 3).tolist() == [[1.5, 1.0], [3.0, 2.0], [3.0, 5 / 3], [3.0, 2.0]]
    assert pooled(rows, 1).tolist() == rows.tolist() and pooled(rows[:1]).tolist() == rows[:1].tolist()


def test_signal_to_noise_by_hand():
    scores = np.array([0.1, 0.15, 0.2, 0.25, 0.3, 0.31, 0.29, 0.3, 0.32, 0.28])
    found = signal_to_noise(np.stack([scores - 0.1, scores + 0.1], axis=1))
    assert found == pytest.approx((0.32 - 0.1) / np.std(scores[-5:], ddof=1))


def test_it_is_not_known_of_few_looks_of_none_and_of_a_curve_without_noise():
    rng = np.random.default_rng(0)
    assert np.isnan(signal_to_noise(rng.normal(size=(LEAST_LOOKS - 1, 20))))
    assert np.isfinite(signal_to_noise(rng.normal(size=(LEAST_LOOKS, 20))))
    assert np.isnan(signal_to_noise(np.full((20, 5), np.nan))) and np.isnan(signal_to_noise(np.full((20, 5), 0.1)))
    gap = rng.normal(size=(LEAST_LOOKS + 1, 20))
    gap[3] = np.nan
    assert signal_to_noise(gap) == signal_to_noise(np.delete(gap, 3, axis=0))


def test_what_noise_alone_gives_is_what_is_said_of_it():
    rng = np.random.default_rng(1)
    medians = [np.median([signal_to_noise(rng.normal(size=(n, 1))) for _ in range(400)]) for n in (10, 50)]
    assert 2.8 < medians[0] < 3.5 and 4.3 < medians[1] < 5.5


def regrets(shape, window, *, looks=20, questions=200, runs=150):
    """What the look chosen on the curve is truly worth less than the best one, over runs with .01 of noise a look."""
    at = np.linspace(0, 1, looks + 1)
    truth = {"peak": 0.06 * (1 - ((at - 0.4) / 0.6) ** 2), "plateau": 0.05 * (1 - np.exp(-4 * at)), "rise": 0.05 * at}[
        shape
    ]
    lost, fair = [], []
    for seed in range(runs):
        rng = np.random.default_rng([seed, looks])
        level = rng.normal(0.2, 0.5, questions)
        values = level + truth[:, None] + 0.01 * np.sqrt(questions) * rng.normal(size=(looks + 1, questions))
        found = cross_fit_best(values, window=window, splits=10, seed=seed)
        lost.append(truth.max() - truth[found.look])
        fair.append(found.score - level.mean() - truth[found.look])
    return np.mean(lost), np.mean(fair)


@pytest.mark.parametrize("shape", ["peak", "plateau", "rise"])
def test_the_pooled_choice_loses_less_than_the_highest_look(shape):
    (raw, _), (smooth, bias) = regrets(shape, 1), regrets(shape, 3)
    print(f"{shape}: highest look loses {raw:.4f}, pooled choice {smooth:.4f}")
    assert smooth < 0.85 * raw
    # Read on the other half, the choice is worth what is said of it, and not more.
    assert abs(bias) < 0.003


def test_the_luck_of_the_pick_is_in_the_level_and_not_in_the_score():
    values = 0.1 * np.sqrt(100) * np.random.default_rng(4).normal(size=(30, 100))
    for window in (1, 3):
        found = cross_fit_best(values, window=window)
        assert found.level == pytest.approx(pooled(values.mean(axis=1), window).max())
        assert found.level > 0.05 > abs(found.score)
    assert np.isnan(cross_fit_best(np.full((6, 10), np.nan), window=3).level)
