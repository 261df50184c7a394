"""The verdict's words: each from a planted run, with its reason, and how often it is said for nothing."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hre_callback.stats.correlation import pearson
from hre_callback.stats.mismatch import History, measure
from hre_callback.stats.verdict import LEVELS, judge

from .test_push import KINDS, run


def history(votes, scores, *, better=("train/rewards/margins",), clusters=None, signal=None) -> History:
    """A run whose HRE is that of its scores, each answer of one character; its signals rise unless told otherwise."""
    r = pearson(votes, scores)
    looks = [look.tolist() for look in scores]
    ones = np.ones(votes.shape, dtype=int).tolist()
    steps = list(range(0, 10 * len(scores), 10))
    proxies = {key: np.arange(len(scores)) * 1.0 if signal is None else signal for key in better}
    ways = dict.fromkeys(better, "up")
    return History(steps, r, votes.tolist(), ones, looks, looks[-1], proxies, ways, improved=better, clusters=clusters)


def names(votes, scores, **options) -> list[str]:
    looks = len(scores) - 1
    return [judge(history(votes, scores[: t + 1], **options), planned_looks=looks).name for t in range(1, looks + 1)]


def test_training_against_people_is_watched_before_hre_has_fallen():
    votes, scores, _ = run(0, 300, 10, towards=-0.2)
    found = judge(history(votes, scores[:2], better=()), planned_looks=10)
    assert (found.name, found.cause) == ("watch", "push")
    assert found.reason.startswith(
        "Training moves probability towards answers that people voted down (push \N{MINUS SIGN}0."
    )
    # The p that stands in the reason, and that only so few flips lie as far below.
    assert f"p = {found.p_push:.4f}" in found.reason and found.p_push < 0.001
    assert 0.9 < judge(history(votes, scores[:1][[0, 0]], better=()), planned_looks=10).p_push <= 1
    row = measure(history(votes, scores[:2]))
    assert row["push"] < 0 and row["push_low"] < row["push"] < row["push_high"] < 0


def test_training_towards_people_is_aligned():
    votes, scores, _ = run(0, 300, 6, towards=0.3)
    assert set(names(votes, scores)) == {"aligned"}
    assert measure(history(votes, scores))["push_start_free"] > 0.1


def still(seed=0, questions=500, looks=10):
    """Scores that hardly change any more, in no direction."""
    votes, scores, _ = run(seed, questions, 0)
    rng = np.random.default_rng([seed, 1])
    return votes, scores[0] + np.concatenate([np.zeros((1, *votes.shape)), rng.normal(0, 0.02, (looks, *votes.shape))])


def test_a_signal_that_improves_while_hre_stands_still_is_decoupled():
    votes, scores = still()
    found = judge(history(votes, scores), planned_looks=10)
    assert (found.name, found.cause) == ("decoupled", "no gain")
    assert "train/rewards/margins improves while HRE gained" in found.reason
    assert "since step 50" in found.reason and "buys nothing for people" in found.reason
    assert judge(history(votes, scores, better=()), planned_looks=10).name == "aligned"


def test_a_signal_that_stands_still_with_hre_is_not_decoupled():
    """It improved once, which the trend over the whole run still shows, and buys nothing more because it is at its end."""
    votes, scores = still()
    flat = np.array([0.0, *[1.0] * (len(scores) - 1)])
    assert judge(history(votes, scores, signal=flat), planned_looks=10).name == "aligned"


def test_reward_that_drifts_from_people_is_decoupled():
    """What training rewards agrees with people at first, then learns something else, while HRE goes on rising."""
    votes, scores, _ = run(0, 400, 4, towards=2.0)
    rng = np.random.default_rng(5)
    standard = (votes - votes.mean(1, keepdims=True)) / votes.std(1, keepdims=True)
    elsewhere = np.cumsum(0.35 * rng.normal(size=(8, *votes.shape)) + 0.12 * standard, axis=0)
    whole = history(votes, np.concatenate([scores, scores[-1] + elsewhere]))
    found = judge(whole, planned_looks=12)
    assert (found.name, found.cause) == ("decoupled", "agreement lost")
    assert "less than at its best" in found.reason


def test_of_rewards_no_direction_is_said():
    votes, scores, _ = run(0, 300, 10, towards=-0.2)
    assert judge(history(votes, scores[:2], better=()), planned_looks=10, scores_are_rewards=True).cause != "push"


def test_the_older_words_keep_their_numbers():
    assert [LEVELS[name] for name in ("aligned", "watch", "mismatch")] == [0, 1, 2]


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("looks", [5, 15])
def test_false_words(kind, looks):
    """No signal improves and training has nothing to do with the votes: only push could be said, at half of alpha."""
    runs, wrong = 200, 0
    for seed in range(runs):
        votes, scores, groups = run(seed, 100, looks, kind=kind)
        clusters = groups.tolist() if kind == "clustered" else None
        wrong += any(name != "aligned" for name in names(votes, scores, better=(), clusters=clusters))
    assert wrong / runs <= 0.025 + 2.3 * math.sqrt(0.025 * 0.975 / runs)
