"""Which averages are tried, and that what is said of the chosen one does not cry wolf."""

from __future__ import annotations

import numpy as np
import pytest

from hre_callback.run.soups import LEAST, Mix, averages, choose, cost, sentences, singles
from hre_callback.stats.cross_fit import chosen_difference, read_elsewhere
from hre_callback.stats.significance import random_halves

NAMES = ["checkpoint-1", "checkpoint-2", "checkpoint-3"]


def test_the_averages_are_of_all_of_the_last_and_towards_the_start():
    whole, last, near, far = averages(4, None, [0.25, 0.5])
    assert (whole.name, whole.weights, whole.start) == ("all 4", (0.25,) * 4, 0.0)
    assert (last.name, last.weights) == ("last 2", (0.0, 0.0, 0.5, 0.5))
    assert (near.weights, near.start) == ((0.0625,) * 4, 0.75)
    assert (far.weights, far.start) == ((0.125,) * 4, 0.5)
    assert [mix.name for mix in averages(2, None, [])] == ["all 2"]
    assert [mix.name for mix in averages(4, 4, [])] == ["all 4"]
    assert [mix.name for mix in averages(4, 3, [0.5, 0.5])] == ["all 4", "last 3", "all 4, 0.5 of the way"]
    for mix in averages(7, 3, [0.1, 0.9]):
        assert sum(mix.weights) + mix.start == pytest.approx(1)


@pytest.mark.parametrize("last", [-1, 0, 1, 5])
def test_a_last_that_is_not_there_is_refused(last):
    with pytest.raises(ValueError, match=f"--last is {last}; expected 2 to 4"):
        averages(4, last, [])


@pytest.mark.parametrize("share", [0.0, 1.0, -0.5, 1.5, float("nan"), float("inf")])
def test_a_share_is_between_start_and_average(share):
    with pytest.raises(ValueError, match="expected numbers between 0"):
        averages(4, None, [share])


def test_the_cost_is_said():
    assert cost(9, 40) == "9 models to be scored on 40 questions each"
    assert cost(7, 1, greedy=3) == "7 models and at most 6 more for the greedy average to be scored on 1 question each"


def drawn(rng, n, alone, soups, *, noise=0.18, lift=0.0, clusters=None):
    """Per-question r of models that do not differ, but for `lift` of the first soup."""
    level = rng.normal(0, 0.577, n)
    values = {}
    for mix in [*alone, *soups]:
        own = rng.normal(0, 1, n)
        if clusters is not None:
            own = 0.9 * rng.normal(0, 1, n)[clusters] + 0.45 * own
        values[mix] = level + noise * own
    values[soups[0]] = values[soups[0]] + lift
    return values


def simulated(runs, n, *, seed=0, clusters=None, lift=0.0, greedy=False, checkpoints=2):
    rng = np.random.default_rng(seed)
    alone = singles([f"checkpoint-{i}" for i in range(checkpoints)])
    soups = averages(checkpoints, None, [0.1, 0.2, 0.4, 0.6, 0.8, 0.9])
    found, naive = [], []
    for _ in range(runs):
        values = drawn(rng, n, alone, soups, clusters=clusters, lift=lift)

        def score(mix, values=values):
            if mix not in values:
                values[mix] = values[alone[0]] + rng.normal(0, 0.18, n)
            return values[mix]

        labels = None if clusters is None else [str(label) for label in clusters]
        chosen = choose(score, alone, soups, clusters=labels, greedy=greedy, flips=400)
        found.append(chosen.against_single)
        naive.append(max(values[s].mean() for s in soups) - max(values[s].mean() for s in alone))
    return found, np.array(naive)


def test_where_no_model_is_better_the_gain_is_none_on_average_and_rarely_claimed():
    """The best of seven averages against the better of two checkpoints: on the questions that chose it, it wins."""
    found, naive = simulated(100, 40)
    gains = np.array([one.delta for one in found])
    error = gains.std() / np.sqrt(len(gains))
    assert abs(gains.mean()) < 3 * error
    assert naive.mean() > 5 * error, "the naive gain would be a false one"
    assert sum(one.verdict != "no clear change" for one in found) <= 11
    assert all((one.p < 0.05) == (one.verdict != "no clear change") for one in found)


@pytest.mark.slow
@pytest.mark.parametrize(
    "design",
    [
        {"n": 40},
        {"n": 12},
        {"n": 200, "checkpoints": 4},
        {"n": 60, "clusters": np.arange(60) // 4},
        {"n": 40, "greedy": True, "checkpoints": 4},
    ],
    ids=str,
)
def test_false_gains_keep_to_their_level(design):
    """Two-sided 5 %: of 800 runs at most 7 % say that anything is higher or lower."""
    found, _ = simulated(800, **design)
    gains = np.array([one.delta for one in found])
    assert abs(gains.mean()) < 3.5 * gains.std() / np.sqrt(len(gains))
    assert np.mean([one.verdict != "no clear change" for one in found]) < 0.07
    assert np.mean([one.verdict == "higher" for one in found]) < 0.045


def test_a_true_gain_is_found_and_not_overstated():
    found, _ = simulated(25, 200, lift=0.06)
    gains = np.array([one.delta for one in found])
    assert np.mean([one.verdict == "higher" for one in found]) >= 0.8
    assert 0.04 < gains.mean() < 0.061


def test_the_plain_interval_would_claim_too_much():
    """Why the flips choose anew: the two ways of a cross-fit lean on each other."""
    rng = np.random.default_rng(5)
    chosen, plain = [], []
    for _ in range(200):
        groups = rng.normal(0, 1, (8, 40)), rng.normal(0, 1, (2, 40))
        _, halves = random_halves(groups[0], None, 20, 0)
        read = [read_elsewhere([rows[int((rows @ half).argmax())] for half in halves], halves) for rows in groups]
        found = chosen_difference((read[0], read[1]), groups, halves, flips=300)
        gap = read[0] - read[1]
        chosen.append(found.low > 0 or found.high < 0)
        plain.append(abs(gap.mean()) > 1.96 * gap.std(ddof=1) / np.sqrt(40))
    assert np.mean(chosen) < 0.08 < np.mean(plain)


def test_a_question_is_never_read_by_the_half_that_it_chose():
    """One question alone makes a checkpoint the best: it is chosen by halves with it, and read by the others."""
    alone, soups = singles(NAMES), averages(3, None, [])
    flat = np.zeros(8)
    lucky = np.array([8.0, 0, 0, 0, 0, 0, 0, 0])
    values = {mix: flat for mix in (*alone, *soups)} | {soups[1]: lucky - 0.01}
    assert values[soups[1]].mean() > 0.9
    assert choose(values.__getitem__, alone, soups).against_single.delta < 0


def test_a_cluster_is_in_one_half():
    """Twins of a lucky question would read what the other has chosen."""
    alone, soups = singles(NAMES), averages(3, None, [])
    lucky = np.repeat([8.0, 0, 0, 0, 0, 0, 0, 0], 2)
    values = {mix: np.zeros(16) for mix in (*alone, *soups)} | {soups[1]: lucky - 0.01}
    labels = [str(i // 2) for i in range(16)]
    assert choose(values.__getitem__, alone, soups, clusters=labels).against_single.delta < 0
    assert choose(values.__getitem__, alone, soups).against_single.delta > 0.1


def test_the_greedy_soup_takes_what_helps_and_nothing_else():
    """Errors of two checkpoints cancel, the third is bad: people's votes keep it out."""
    alone, soups = singles(NAMES), averages(3, None, [])
    rng = np.random.default_rng(0)
    level, error = rng.normal(0.3, 0.1, 40), rng.normal(0, 0.02, 40)
    parts = np.stack([level + error, level - error, level - 0.5])
    asked = []

    def score(mix):
        asked.append(mix)
        return np.asarray(mix.weights) @ parts + (0.05 if mix.weights == (0.5, 0.5, 0.0) else 0.0)

    chosen = choose(score, alone, soups, greedy=True)
    assert chosen.mix == Mix("", (0.5, 0.5, 0.0)) and chosen.mix.name == "checkpoint-1 + checkpoint-2"
    assert chosen.better and chosen.halves == 2
    assert len({mix for mix in asked if mix not in {*alone, *soups}}) <= 3 * (len(alone) - 1)


def test_the_start_is_compared_too_and_words_say_what_is_so():
    alone, soups, start = singles(NAMES), averages(3, None, []), Mix("the start", (0.0,) * 3, 1.0)
    rng = np.random.default_rng(1)
    level = rng.normal(0, 0.5, 60)
    values = {mix: level + rng.normal(0, 0.01, 60) for mix in (*alone, *soups)} | {start: level - 0.3}
    chosen = choose(values.__getitem__, alone, soups, start=start)
    assert not chosen.better and chosen.against_start.verdict == "higher"
    told = sentences(chosen, "models/base")
    assert told[-1] == "No average is shown to be better than the best single checkpoint."
    assert told[2].startswith("Against the start, models/base: higher, +0.")
    values[soups[0]] = level + 0.2
    better = choose(values.__getitem__, alone, soups)
    assert better.better and better.against_start is None
    assert sentences(better, None)[-1].startswith("Against the best single checkpoint, chosen in the same way: higher")


@pytest.mark.parametrize("n", [1, LEAST - 1])
def test_too_few_questions_are_refused(n):
    alone, soups = singles(NAMES), averages(3, None, [])
    with pytest.raises(ValueError, match=f"{n} independent questions have a correlation"):
        choose(lambda mix: np.arange(float(n)), alone, soups)


def test_of_equal_models_nothing_is_claimed():
    alone, soups = singles(NAMES), averages(3, None, [])
    chosen = choose(lambda mix: np.linspace(-1, 1, 9), alone, soups)
    assert not chosen.better and chosen.against_single.delta == 0 and chosen.against_single.p == 1


def test_a_model_that_leaves_other_questions_out_is_named():
    alone, soups = singles(NAMES), averages(3, None, [])
    with pytest.raises(ValueError, match="all 3: other questions have a correlation than of checkpoint-1"):
        choose(lambda mix: np.r_[np.nan if mix == soups[0] else 1.0, np.arange(9.0)], alone, soups)
