"""The difference of two sets' means: coverage, and how often it is clear for nothing."""

import numpy as np
import pytest

from hre_callback.stats.two_samples import difference_of_means


def changes(kind, rng, n, answers=4):
    """Changes of r since the start: small and heavy-tailed, a few large ones, pairs that turn over."""
    if kind == "heavy":
        return 0.1 * rng.standard_t(3, size=n)
    if kind == "few":
        return np.where(rng.random(n) < 0.2, 1.0, 0.1) * rng.normal(size=n)
    return rng.choice([-2.0, 0.0, 2.0], p=[0.1, 0.8, 0.1], size=n)


@pytest.mark.parametrize("kind", ["heavy", "few", "pairs"])
@pytest.mark.parametrize("sizes", [(8, 100), (40, 40), (200, 12)])
def test_the_interval_holds_the_truth_in_nineteen_of_twenty(kind, sizes):
    """Both sides rise by the same .05, so that what is clear is a false alarm. 600 simulations gave .945 to .982."""
    rng, side = np.random.default_rng(0), np.repeat([False, True], sizes)
    found = [difference_of_means(0.05 + changes(kind, rng, sum(sizes)), side.tolist()) for _ in range(600)]
    known = [one for one in found if np.isfinite(one.low)]
    assert np.mean([one.low <= 0 <= one.high for one in known]) > 0.925
    assert len(known) > 0.8 * len(found)


@pytest.mark.parametrize("across", [False, True], ids=["clusters on one side", "clusters on both sides"])
def test_clusters_count_as_one(across):
    rng, hits = np.random.default_rng(0), 0
    clusters = [str(i // 4) for i in range(120)]
    side = [i % 2 == 0 if across else i < 48 for i in range(120)]
    for _ in range(500):
        values = rng.normal(size=30).repeat(4) + 0.3 * rng.normal(size=120)
        found = difference_of_means(values, side, clusters=clusters)
        hits += found.low <= 0 <= found.high
    assert 0.92 <= hits / 500 <= 0.98
    alone = difference_of_means(values, side)
    wide, narrow = found.high - found.low, alone.high - alone.low
    assert (wide < 0.6 * narrow) if across else (wide > 1.4 * narrow)


def test_a_difference_that_is_there_is_found():
    rng, side = np.random.default_rng(0), [False] * 100 + [True] * 60
    found = difference_of_means(np.where(side, 0.0, 0.1) + 0.1 * rng.normal(size=160), side)
    assert found.high < 0 and found.estimate == pytest.approx(-0.1, abs=0.05) and found.n == 160


@pytest.mark.parametrize(
    ("values", "side", "estimate"),
    [
        ([0.1, 0.2, 0.3], [False, False, None], None),
        ([], [], None),
        ([1.0] * 5 + [0.1, 0.2, 0.3, 0.1, 0.2, 0.5, 0.6], [False] * 5 + [True] * 7, 2 / 7 - 1),
        ([0.0] * 9 + [0.1, 0.2, 0.3, 0.1, 0.2, 0.5], [False] * 9 + [True] * 6, 1.4 / 6),
        ([0.1, np.nan] + [0.2] * 7, [False, True] + [None] * 7, None),
    ],
    ids=["one side", "nothing", "five", "a side that has not moved", "undefined"],
)
def test_too_little_has_no_interval(values, side, estimate):
    found = difference_of_means(values, side)
    assert np.isnan([found.low, found.high]).all()
    assert np.isnan(found.estimate) if estimate is None else found.estimate == pytest.approx(estimate)


def test_five_clusters_on_a_side_are_five():
    values, side = np.random.default_rng(0).normal(size=40), [False] * 20 + [True] * 20
    clusters = [str(i // 4) if i < 20 else None for i in range(40)]
    assert np.isnan(difference_of_means(values, side, clusters=clusters).low)
    assert np.isfinite(difference_of_means(values, side).low)
