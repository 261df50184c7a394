"""The direction of training: planted directions, and the rate of false alarms by simulation."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from scipy import stats as sp

from hre_callback.stats.correlation import pearson
from hre_callback.stats.push import below_zero, concordance, distance, margin, push
from hre_callback.stats.significance import drop_from_start

KINDS = ("independent", "drifting", "heavy-tailed", "clustered")


def run(seed: int, questions: int, looks: int, *, towards: float = 0.0, kind: str = "drifting", size: int = 4):
    """Votes, scores of every look (looks + 1, questions, answers) and clusters of a run that learns from the start.

    Args:
        towards: what an answer's score gains at every look, in the noise of a look, per standard deviation of votes.
        kind: what one look's changes have to do with those before, with each other, and how large they can be.
    """
    rng = np.random.default_rng(seed)
    votes = np.round(np.exp(rng.normal(1.5, 1.0, (questions, size))))
    votes[np.ptp(votes, axis=1) == 0, 0] += 1
    standard = (votes - votes.mean(1, keepdims=True)) / votes.std(1, keepdims=True)
    groups = np.arange(questions) // (4 if kind == "clustered" else 1)
    start = rng.normal(size=votes.shape)
    steps = rng.normal(size=(looks, *votes.shape))
    if kind == "heavy-tailed":
        steps = rng.standard_t(2, size=steps.shape)
    # What questions of a cluster have in common: by chance all are pushed the same way.
    shared = rng.normal(size=(looks, groups[-1] + 1))[:, groups, None] * standard if kind == "clustered" else 0.0
    steps = 0.1 * (steps + shared + towards * standard)
    changes = steps if kind == "independent" else np.cumsum(steps, axis=0)
    if kind == "independent":
        changes = changes + 0.1 * towards * standard * np.arange(looks)[:, None, None]
    return votes, np.concatenate([start[None], start + changes]), groups


def pushes(votes, scores, lengths=None):
    ones = np.ones_like(votes)
    return push(
        votes.tolist(),
        [look.tolist() for look in scores],
        ones.tolist(),
        (ones if lengths is None else lengths).tolist(),
    )


def first_alarm(seed: int, questions: int, looks: int, **kind) -> int | None:
    """The first look at which push is below zero; the test at a look sees the looks up to it only."""
    votes, scores, groups = run(seed, questions, looks, **kind)
    clusters = groups.tolist() if kind.get("kind") == "clustered" else None
    found = below_zero(pushes(votes, scores).whole, alpha=0.05, planned_looks=looks, clusters=clusters, seed=seed)
    return int(np.argmax(found.rejected)) + 1 if found.rejected.any() else None


def test_push_is_the_correlation_of_votes_and_change_by_the_answers_own_divisor():
    votes, start, now = [[1.0, 2.0, 5.0, 9.0]], [[-10.0, -20.0, -30.0, -40.0]], [[-9.0, -21.0, -28.0, -30.0]]
    divisors, lengths = [[5, 10, 20, 40]], [[50, 10, 20, 40]]
    found = push(votes, [start, now], divisors, lengths)
    change = np.array([1 / 5, -1 / 10, 2 / 20, 10 / 40])
    assert found.whole.shape == (1, 1)
    assert found.whole[0, 0] == pytest.approx(sp.pearsonr(votes[0], change)[0])

    def residual(x, z):
        fit = sp.linregress(z, x)
        return np.array(x) - fit.slope * np.array(z) - fit.intercept

    for held, part in (
        (np.array(start[0]) / divisors[0], found.start_free),
        (np.array(lengths[0], float), found.length_free),
    ):
        assert part[0] == pytest.approx(sp.pearsonr(residual(votes[0], held), residual(change, held))[0])


def test_nothing_moved_is_no_push_and_equal_votes_have_none():
    votes = [[1.0, 2.0, 3.0, 4.0], [2.0, 2.0, 2.0, 2.0], [1.0, 2.0, 3.0, 4.0]]
    start = [[-1.0, -2.0, -3.0, -4.0]] * 2 + [[-1.0, None, -3.0, -4.0]]
    found = push(votes, [start, start], [[1] * 4] * 3, [[9, 8, 7, 6]] * 3)
    assert found.whole[0, 0] == 0 and np.isnan(found.whole[0, 1:]).all()


def test_a_part_of_few_answers_is_not_made_up():
    """With three answers a first-order partial correlation is -1 or 1, whatever the numbers."""
    found = push([[1.0, 2.0, 3.0]], [[[-1.0, -2.0, -2.5]], [[-1.0, -1.5, -2.0]]], [[1] * 3], [[5, 6, 8]])
    assert np.isfinite(found.whole).all() and np.isnan(found.start_free).all() and np.isnan(found.length_free).all()


def test_sharpening_what_was_likely_is_a_push_but_none_free_of_the_start():
    votes, scores, _ = run(0, 400, 1)
    aligned = scores[0] + 0.5 * (votes - votes.mean(1, keepdims=True)) / votes.std(1, keepdims=True)
    sharpened = 1.5 * aligned + 0.05 * np.random.default_rng(1).normal(size=aligned.shape)
    found = pushes(votes, np.stack([aligned, sharpened]))
    whole, free = np.nanmean(found.whole[0]), np.nanmean(found.start_free)
    assert whole > 0.3 and abs(free) < 0.08


def test_lengthening_is_a_push_but_none_free_of_length():
    votes, scores, _ = run(0, 400, 1)
    rng = np.random.default_rng(2)
    lengths = (
        100 + 40 * (votes - votes.mean(1, keepdims=True)) / votes.std(1, keepdims=True) + rng.normal(0, 40, votes.shape)
    )
    now = scores[0] + 0.01 * lengths + 0.05 * rng.normal(size=votes.shape)
    found = pushes(votes, np.stack([scores[0], now]), lengths)
    assert np.nanmean(found.whole[0]) > 0.3 and abs(np.nanmean(found.length_free)) < 0.08


def test_against_people_is_seen_at_the_first_look():
    assert first_alarm(3, 200, 10, towards=-0.5) == 1
    assert first_alarm(3, 200, 10, towards=0.5) is None


@pytest.mark.parametrize("kind", KINDS)
def test_false_alarms_fast(kind):
    alarms = sum(first_alarm(seed, 60, 10, kind=kind) is not None for seed in range(120))
    # 95 % of runs that hold .05 have fewer than 11 of 120.
    assert alarms <= sp.binom.ppf(0.99, 120, 0.05)


@pytest.mark.slow
@pytest.mark.parametrize("looks", [5, 20, 50])
@pytest.mark.parametrize("kind", KINDS)
def test_false_alarms(kind, looks):
    runs = 600
    alarms = sum(first_alarm(seed, 100, looks, kind=kind) is not None for seed in range(runs))
    assert alarms / runs <= 0.06 + 1.64 * math.sqrt(0.05 * 0.95 / runs) - 0.01


def found_by(seed: int, *, towards: float, liked: float) -> tuple[bool, bool]:
    """Whether push and HRE's own change show it within ten looks of one run of 200 questions, at the same alpha.

    Args:
        liked: how much better the start's scores are for answers that people like, so how much there is to forget.
    """
    votes, scores, _ = run(seed, 200, 10, towards=towards)
    scores += liked * (votes - votes.mean(1, keepdims=True)) / votes.std(1, keepdims=True)
    terms = {"alpha": 0.025, "planned_looks": 10, "seed": seed}
    by_push = below_zero(pushes(votes, scores).whole, **terms).rejected.any()
    return bool(by_push), bool(drop_from_start(pearson(votes, scores), **terms).rejected.any())


# A weak push against people; and noise over a start that people like, which pushes nowhere. Shares of runs that push
# and HRE's change show: the figures of the wing's README.
POWER = [("against people", -0.05, 0.0, 0.96, 0.82), ("forgetting", 0.0, 2.0, 0.03, 0.70)]


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("what", "towards", "liked", "push_shows", "change_shows"), POWER)
def test_power_beside_the_change_of_hre_at_equal_questions(what, towards, liked, push_shows, change_shows):
    """Paired: of the runs that one of them alone shows, far from half are the other's (exact McNemar)."""
    found = np.array([found_by(seed, towards=towards, liked=liked) for seed in range(200)])
    by_push, by_change = found.mean(axis=0)
    print(f"{what}: push {by_push:.3f}, HRE's change {by_change:.3f}")
    assert (by_push, by_change) == pytest.approx((push_shows, change_shows), abs=0.02)
    alone = int((found[:, 0] & ~found[:, 1]).sum()), int((found[:, 1] & ~found[:, 0]).sum())
    assert sp.binomtest(alone[0], sum(alone)).pvalue < 0.001 and (alone[0] > alone[1]) == (push_shows > change_shows)


def test_distance_concordance_and_margin_by_hand():
    start, now, divisors = [[-10.0, -20.0, -30.0]], [[-8.0, -21.0, -33.0]], [[2, 4, 5]]
    assert distance(start, now, divisors)[0] == pytest.approx((2 / 2 + 1 / 4 + 3 / 5) / 3)
    # Rewards 2, -1, -3; scores -4, -5.25, -6.6: all three pairs alike.
    assert concordance(start, now, divisors)[0] == 1
    # Rewards -4, -1, 1; scores -7, -5.25, -5.8: the last pair is not.
    assert concordance(start, [[-14.0, -21.0, -29.0]], divisors)[0] == pytest.approx(2 / 3)
    assert np.isnan(concordance(start, start, divisors)[0])
    votes, scores = [[1.0, 2.0, 3.0]], [[0.1, 0.2, 0.6]]
    standard = (np.array(votes[0]) - 2) / np.std(votes[0])
    assert margin(votes, scores)[0] == pytest.approx((standard * scores[0]).mean())
    assert np.isnan(margin([[1.0, 1.0, 1.0]], scores)[0])


def test_a_look_is_cheap():
    """All of it for 512 questions and fifty looks; issue: at most 50 ms more for a look."""
    votes, scores, _ = run(0, 512, 50)
    plain, ones = [look.tolist() for look in scores], np.ones_like(votes).tolist()
    begun = time.process_time()
    found = push(votes.tolist(), plain, ones, ones)
    below_zero(found.whole, planned_looks=50)
    first = time.process_time() - begun
    begun = time.process_time()
    below_zero(push(votes.tolist(), plain, ones, ones).whole, planned_looks=50)
    print(f"first {1000 * first:.0f} ms, again {1000 * (time.process_time() - begun):.0f} ms")
    assert time.process_time() - begun < 1.0
