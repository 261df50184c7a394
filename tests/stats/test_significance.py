"""Statistics by hand on small cases, and by seeded simulation where they make a statistical claim."""

from __future__ import annotations

import time

import numpy as np
import pytest
from scipy import stats

from hre_callback.stats.correlation import pearson
from hre_callback.stats.significance import (
    bootstrap_interval,
    cross_fit_best,
    drop_from_best,
    drop_from_start,
    null_sd,
    paired_difference,
    power,
    questions_needed,
    resampled_means,
    selection_regret,
    spent_alpha,
    t_interval,
)

from ..simulate import history


def test_the_simulation_is_what_it_says():
    runs = history(0, 100_000, 1, fall=0.02)
    assert runs[0].mean() - runs[1].mean() == pytest.approx(0.02, abs=0.0025)
    still = history(1, 50_000, 4, noise="drifting")
    assert np.ptp(still.mean(axis=1)) < 0.005
    assert np.corrcoef(history(2, 50_000, 1))[0, 1] == pytest.approx(0.95, abs=0.005)


@pytest.mark.parametrize("method", ["bca", "percentile"])
@pytest.mark.parametrize("clustered", [False, True])
def test_interval_coverage(method, clustered):
    """Nominal .95; 600 samples of 300 questions, in clusters of 3 that share half their variance."""
    hits, runs, rng = 0, 600, np.random.default_rng(0)
    for run in range(runs):
        own = rng.uniform(-1, 1, size=300)  # r is bounded
        shared = np.repeat(rng.uniform(-1, 1, size=100), 3)
        values = own + shared if clustered else own
        clusters = [i // 3 for i in range(300)] if clustered else None
        found = bootstrap_interval(values, clusters=clusters, method=method, resamples=600, seed=run)
        hits += found.low <= 0 <= found.high
    assert 0.93 <= hits / runs <= 0.97


def test_ignoring_clusters_is_overconfident():
    rng = np.random.default_rng(0)
    values = np.repeat(rng.normal(size=50), 4)
    alone = bootstrap_interval(values)
    together = bootstrap_interval(values, clusters=[i // 4 for i in range(200)])
    assert together.high - together.low > 1.7 * (alone.high - alone.low)


def test_degenerate_intervals():
    assert np.isnan(bootstrap_interval([]).estimate)
    one = bootstrap_interval([0.5, np.nan])
    assert one.estimate == 0.5 and np.isnan(one.low) and one.n == 1
    same = bootstrap_interval([0.5, 0.5, 0.5])
    assert (same.low, same.high) == (0.5, 0.5)


def test_paired_difference_pairs():
    rng = np.random.default_rng(0)
    level = rng.normal(size=400)
    a, b = level + 0.05 * rng.normal(size=400) + 0.02, level + 0.05 * rng.normal(size=400)
    found = paired_difference(a, b)
    assert found.estimate == pytest.approx((a - b).mean())
    assert found.low < 0.02 < found.high and found.p < 0.01
    assert found.rho > 0.99
    assert found.mde == pytest.approx(2.8016 * (a - b).std(ddof=1) / 20, rel=1e-3)
    a[:10] = np.nan
    assert paired_difference(a, b).n == 390
    with pytest.raises(ValueError, match="same questions"):
        paired_difference(a, b[:5])


def test_sign_flip_p_is_uniform_without_a_difference():
    rng = np.random.default_rng(0)
    ps = [paired_difference(*rng.normal(size=(2, 60)), resamples=300, seed=i).p for i in range(400)]
    assert np.mean(np.array(ps) < 0.1) == pytest.approx(0.1, abs=0.04)


def test_power_and_sample_size():
    assert questions_needed(0.01, 0.0) == pytest.approx(52_326, rel=1e-3)
    assert questions_needed(0.01, 0.95) == pytest.approx(52_326 * 0.05, rel=1e-3)
    assert power(0.01, questions_needed(0.01, 0.9), 0.9) == pytest.approx(0.8, abs=1e-3)
    with pytest.raises(ValueError, match="delta"):
        questions_needed(0, 0.9)


@pytest.mark.parametrize("answers", [2, 3, 4, 10])
def test_the_spread_of_r_without_a_relation_comes_from_the_number_of_answers(answers):
    rng = np.random.default_rng(answers)
    seen = pearson(rng.normal(size=(20_000, answers)), rng.exponential(size=(20_000, answers))).std()
    assert null_sd(answers) == pytest.approx((answers - 1) ** -0.5) == pytest.approx(seen, rel=0.02)


@pytest.mark.parametrize("answers", [1, 0, -3, 10**7])
def test_a_question_has_two_answers_or_more(answers):
    with pytest.raises(ValueError, match="answers must be from 2"):
        null_sd(answers)


@pytest.mark.parametrize("answers", [2, 4])
def test_the_smallest_change_to_be_seen_takes_the_number_of_answers_from_the_spread(answers):
    rng = np.random.default_rng(0)
    a, b = (pearson(*rng.normal(size=(2, 4_000, answers))) for _ in range(2))
    mde = paired_difference(a, b, resamples=100).mde
    assert questions_needed(mde, 0.0, sd=null_sd(answers)) == pytest.approx(4_000, rel=0.08)


def test_spending():
    assert spent_alpha(4, 0.05, 5) == pytest.approx([0.01, 0.02, 0.03, 0.04])
    assert spent_alpha(7, 0.05, 5)[-1] == 0.05
    unknown = spent_alpha(100_000, 0.05, None)
    assert unknown[0] == pytest.approx(0.05 * 6 / np.pi**2) and unknown[-1] < 0.05


def rate(test, runs, looks, *, planned=True, questions=500, **run):
    """Share of simulated runs that the rule stops: significant, and by at least a hundredth."""
    stops = 0
    for seed in range(runs):
        found = test(
            history(seed, questions, looks, **run),
            planned_looks=looks if planned else None,
            flips=1000,
            seed=seed + 10**6,
        )
        stops += bool((found.rejected & (found.delta <= -0.01)).any())
    return stops / runs


@pytest.mark.parametrize("test", [drop_from_start, drop_from_best])
@pytest.mark.parametrize("noise", ["independent", "drifting"])
def test_false_stops_fast(test, noise):
    assert rate(test, 150, 10, noise=noise, questions=300) <= 0.06 + 2 * np.sqrt(0.05 * 0.95 / 150)


@pytest.mark.parametrize("test", [drop_from_start, drop_from_best])
def test_power_fast(test):
    fall = 0.02 if test is drop_from_start else 0.03
    assert rate(test, 60, 20, fall=fall) >= 0.8 - 2 * np.sqrt(0.16 / 60)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("looks", [5, 10, 20, 50])
@pytest.mark.parametrize("test", [drop_from_start, drop_from_best])
def test_false_stops(test, looks):
    """At most .06 over 5 to 50 looks; Monte-Carlo error of 600 runs at .05 is .0089."""
    runs = 600
    margin = np.sqrt(0.05 * 0.95 / runs)
    assert rate(test, runs, looks) <= 0.06 + margin
    assert rate(test, runs, looks, planned=False) <= 0.06 + margin


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("looks", [5, 10, 20, 50])
@pytest.mark.parametrize(("test", "fall", "shape"), [(drop_from_start, 0.02, "linear"), (drop_from_best, 0.03, "linear"), (drop_from_best, 0.03, "late")])  # fmt: skip
def test_power(test, fall, shape, looks):
    """At least .80 with 500 questions; Monte-Carlo error of 200 runs at .80 is .028."""
    assert rate(test, 200, looks, fall=fall, shape=shape) >= 0.80 - 0.028


@pytest.mark.parametrize("test", [drop_from_start, drop_from_best])
def test_later_looks_do_not_change_earlier_decisions(test):
    whole = history(3, 200, 12, fall=0.05)
    full = test(whole, planned_looks=12)
    for t in (3, 7, 11):
        part = test(whole[: t + 1], planned_looks=12)
        assert part.rejected.tolist() == full.rejected[:t].tolist()
        assert part.p == pytest.approx(full.p[:t])


@pytest.mark.parametrize("test", [drop_from_start, drop_from_best])
def test_constant_single_and_empty_inputs(test):
    for values in (np.zeros((4, 10)), np.full((4, 10), np.nan), np.random.default_rng(0).normal(size=(4, 1))):
        assert not test(values).rejected.any()


def test_best_is_not_the_winner_of_a_curse():
    """20 looks of the same true HRE: the plain maximum is too good, the cross-fit value is not."""
    plain, fair = [], []
    for seed in range(150):
        values = history(seed, 500, 19)
        truth = values.mean()
        plain.append(values.mean(axis=1).max() - truth)
        fair.append(cross_fit_best(values, splits=10, seed=seed).score - truth)
    assert np.mean(plain) > 0.005
    assert abs(np.mean(fair)) < 0.002


def test_regret_of_trusting_a_proxy():
    values = history(0, 2000, 10, fall=0.1)
    assert selection_regret(values, -np.arange(11.0)).estimate == pytest.approx(0, abs=0.006)
    wrong = selection_regret(values, np.arange(11.0))
    assert wrong.estimate == pytest.approx(0.1, abs=0.03) and wrong.low > 0


def test_seven_thousand_questions_fifty_looks_are_quick():
    values = np.random.default_rng(0).normal(size=(51, 7000)) * 0.1
    began = time.perf_counter()
    drop_from_start(values, flips=2000)
    drop_from_best(values, flips=2000)
    bootstrap_interval(values[-1])
    assert time.perf_counter() - began < 20  # 10 s on an idle machine with two cores


def clustered(seed=0, groups=12, size=6):
    """Questions that move together within their cluster, and their labels; and the means of the clusters."""
    rng = np.random.default_rng(seed)
    means = rng.normal(size=groups)
    return np.repeat(means, size), [f"c{i // size}" for i in range(groups * size)], means


def test_an_interval_of_equal_clusters_is_that_of_their_means():
    values, labels, means = clustered()
    found, alone = t_interval(values, clusters=labels), t_interval(values)
    expected = stats.ttest_1samp(means, 0).confidence_interval(0.95)
    assert (found.low, found.high, found.n) == (pytest.approx(expected.low), pytest.approx(expected.high), 72)
    assert found.high - found.low > 2 * (alone.high - alone.low)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (alone.low, alone.high) == (pytest.approx(expected.low), pytest.approx(expected.high))
    nobody = t_interval(values, clusters=[None] * 72)
    assert (nobody.low, nobody.high) == (pytest.approx(alone.low), pytest.approx(alone.high))
    assert np.isnan(t_interval(values, clusters=["one"] * 72).low)


def test_halves_do_not_share_a_cluster():
    """What chooses a look must not read it: one lucky thread in both halves keeps the luck of the pick."""
    rng = np.random.default_rng(3)
    looks = np.stack([np.repeat(rng.normal(size=10), 20) for _ in range(12)])
    labels = [f"c{i // 20}" for i in range(200)]
    fair, naive = cross_fit_best(looks, clusters=labels).score, cross_fit_best(looks).score
    assert naive > looks.mean(axis=1).max() - 0.1 > fair + 0.1
    assert np.isnan(cross_fit_best(looks, clusters=["one"] * 200).score)
    clustered, alone = (selection_regret(looks, np.arange(12.0), clusters=c) for c in (labels, None))
    assert clustered.high - clustered.low > 2 * (alone.high - alone.low)
    assert np.isnan(selection_regret(looks, np.arange(12.0), clusters=["one"] * 200).low)


def test_looks_are_resampled_on_the_same_clusters():
    values, labels, means = clustered()
    looks = np.stack([values, 2 * values])
    drawn = resampled_means(looks, clusters=labels, resamples=500)
    assert drawn.shape == (500, 2) and drawn[:, 1] == pytest.approx(2 * drawn[:, 0])
    assert drawn[:, 0].std() == pytest.approx(means.std() / np.sqrt(12), rel=0.15)
    assert drawn[:, 0].std() > 2 * resampled_means(looks, resamples=500)[:, 0].std()


def test_seeds_give_the_numbers_that_they_have_always_given():
    """Figures of the first version, which drew and summed everything anew each time."""
    values = history(3, 120, 6, fall=0.1)
    values[:, 5] = np.nan
    clusters = [f"t{i // 3}" if i % 4 else None for i in range(120)]
    alone, together = (bootstrap_interval(values[-1], clusters=c) for c in (None, clusters))
    assert (alone.low, alone.high) == pytest.approx((0.13315357081864557, 0.3204391648155607), abs=1e-12)
    assert (together.low, together.high) == pytest.approx((0.14888064816032073, 0.3177887540061807), abs=1e-12)
    change = paired_difference(values[-1], values[0], clusters=clusters)
    assert (change.low, change.high, change.p) == pytest.approx(
        (-0.10703079835406633, -0.038418024490373744, 0.0004997501249375312), abs=1e-12
    )
    start, best = (
        test(values, clusters=clusters, planned_looks=6, seed=1) for test in (drop_from_start, drop_from_best)
    )
    assert start.p == pytest.approx(
        [0.41564608847788054, 0.15826612903225806, 0.008132147395171537, 0.0010253781081773904,
         0.0002585315408479835, 0.0002607561929595828], abs=1e-12,
    )  # fmt: skip
    assert best.p == pytest.approx(
        [0.41564608847788054, 0.15826612903225806, 0.025667090216010165, 0.008715713919507819,
         0.0002585315408479835, 0.0002607561929595828], abs=1e-12,
    )  # fmt: skip
    assert start.delta[-1] == pytest.approx(-0.13430062994555844, abs=1e-12)
    fall = drop_from_best(values, planned_looks=6, seed=1).delta[-1]
    assert fall == pytest.approx(-0.06698070647898616, abs=1e-12)
    assert cross_fit_best(values).score == pytest.approx(0.29633303937844807, abs=1e-12)
    regret = selection_regret(values, np.arange(7.0))
    assert (regret.estimate, regret.low, regret.high) == pytest.approx(
        (0.0645337800741538, 0.04142782830263807, 0.08939044977194721), abs=1e-12
    )
