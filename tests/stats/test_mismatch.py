"""The triangle, the curves and the verdict, on planted histories; the verdict's false alarms by simulation."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from hre_callback.run.keys import mismatch_prefix
from hre_callback.run.proxies import improved
from hre_callback.stats.mismatch import (
    History,
    displacement,
    gao_fit,
    gao_peak,
    implicit_reward,
    kl_curve,
    length_drift,
    measure,
    regrets,
    rolling,
    triangle,
)
from hre_callback.stats.verdict import judge

from ..simulate import history as simulated

N = 500


def planted(values, *, top=0.0, bottom=0.0, proxies=None, better=("train/reward",), seed=0, **more) -> History:
    """A run with the given per-question r; its answers' log-likelihoods shift by `top`/`bottom` nats per character."""
    rng = np.random.default_rng(seed)
    n = values.shape[1]
    votes = rng.permuted(np.tile([9.0, 4.0, 1.0, -2.0], (n, 1)), axis=1)
    lengths = rng.integers(80, 400, size=(n, 4))
    start = -lengths * rng.normal(0.75, 0.1, size=(n, 4))
    shift = np.where(votes == 9, top, np.where(votes == -2, bottom, (top + bottom) / 2))
    now = start + shift * lengths + lengths * rng.normal(0, 0.02, size=(n, 4))
    return History(
        steps=list(range(0, 10 * len(values), 10)),
        pearson=values,
        votes=votes.tolist(),
        lengths=lengths.tolist(),
        looks=[(start + (now - start) * done).tolist() for done in np.linspace(0, 1, len(values))],
        scores=(now / lengths).tolist(),
        proxies=proxies or {},
        directions={"train/reward": "up"},
        improved=better,
        **more,
    )


def verdicts(values, **options):
    looks = len(values) - 1
    return [judge(planted(values[: t + 1], **options), planned_looks=looks).name for t in range(1, looks + 1)]


def test_flat_reward_with_noisy_hre_is_aligned():
    assert set(verdicts(simulated(4, N, 10), better=())) == {"aligned"}


def test_a_healthy_rise_is_aligned():
    assert set(verdicts(simulated(5, N, 10, fall=-0.08))) == {"aligned"}


def test_a_true_mismatch_is_called_with_its_reason():
    values = simulated(0, N, 10, fall=0.08)
    found = judge(planted(values), planned_looks=10)
    assert found.name == "mismatch" and found.false_alarm == pytest.approx(0.05)
    assert "train/reward improves while HRE is 0.0" in found.reason and "below its start" in found.reason
    named = verdicts(values)
    assert named[0] == "aligned" and "mismatch" in named[3:]


def test_a_rise_that_turns_is_a_mismatch_before_it_is_worse_than_the_start():
    rise, fall = simulated(1, N, 6, fall=-0.15), simulated(1, N, 6, fall=0.15)
    values = np.concatenate([rise, rise[-1] + (fall[1:] - fall[0])])  # up by .15, back down to the start
    found = [judge(planted(values[: t + 1]), planned_looks=12) for t in range(1, 13)]
    first = next(v for v in found if v.name == "mismatch")
    assert "below its best" in first.reason


def test_a_fall_without_any_signal_that_improves_is_no_mismatch():
    assert judge(planted(simulated(0, N, 10, fall=0.08), better=()), planned_looks=10).name == "aligned"


def test_displacement_with_flat_hre_is_its_own_line_and_no_watch():
    """Nearly every DPO run displaces; a verdict that is always on says nothing."""
    values = simulated(4, N, 6)
    moved = planted(values, top=-0.1, bottom=-0.12)
    row = displacement(moved)
    assert row["displaced"] == 1 and row["top_shift"] == pytest.approx(-0.1, abs=0.01)
    assert judge(moved, planned_looks=6).name != "watch"
    assert displacement(planted(values, top=-0.01, bottom=-0.01))["displaced"] == 0  # all training moves a little
    assert displacement(planted(values, top=0.1, bottom=-0.1))["displaced"] == 0


def alarms(runs, looks, level, **run):
    """Share of runs without a true fall that are called `level` or worse at any look, with a proxy that improves."""
    wrong = 0
    for seed in range(runs):
        values = simulated(seed, 300, looks, **run)
        names = [judge(_bare(values[: t + 1]), planned_looks=looks, seed=seed).name for t in range(1, looks + 1)]
        wrong += "mismatch" in names or (level == "watch" and "watch" in names)
    return wrong / runs


def _bare(values):
    empty = [[0.0, 0.0]] * values.shape[1]
    return History(list(range(len(values))), values, empty, empty, [empty] * len(values), empty, improved=("p",))


def test_false_alarms_fast():
    assert alarms(40, 6, "mismatch") <= 0.06 + 2 * np.sqrt(0.05 * 0.95 / 40)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("looks", "level"), [(5, "mismatch"), (10, "mismatch"), (5, "watch")])
def test_false_alarms(looks, level):
    """At most .06 for `mismatch`; a `watch` holds the same rate by itself, so both together stay below .11."""
    runs = 300
    margin = np.sqrt(0.05 * 0.95 / runs)
    assert alarms(runs, looks, level) <= (0.06 if level == "mismatch" else 0.11) + margin


@pytest.mark.slow
def test_a_proxy_without_trend_is_rarely_called_improved():
    rng = np.random.default_rng(0)
    hits = sum(
        bool(improved([{"loss": x, "step": i} for i, x in enumerate(rng.normal(size=30))], 30)) for _ in range(1000)
    )
    assert hits / 1000 == pytest.approx(0.05, abs=0.02)


def test_the_triangle_finds_who_agrees():
    values = simulated(0, 200, 1)
    found = triangle(planted(values, top=0.05, bottom=-0.05))
    assert found["human_implicit"] > 0.5 and found["human_implicit_low"] > 0.4
    assert not [key for key in found if "_reward" in key], "without an explicit reward nothing bears its name"
    assert triangle(planted(values, top=-0.05, bottom=0.05))["human_implicit"] < -0.5
    run = planted(values)
    told = dataclasses.replace(run, rewards=[[-v for v in votes] for votes in run.votes])
    assert triangle(told)["human_reward"] == pytest.approx(-1)
    assert {"human_implicit", "policy_implicit", "policy_reward"} <= triangle(told).keys()
    first = dataclasses.replace(run, steps=[0], pearson=values[:1])
    assert triangle(first).keys() == {"human_policy"}


def test_answers_that_were_left_out_are_no_zeros():
    assert implicit_reward([[None, -3.0]], [[None, -2.0]]) == [[None, 1.0]]
    run = planted(simulated(0, 50, 2))
    holes = [[None] * 4, *run.now[1:]]
    found = measure(dataclasses.replace(run, looks=[*run.looks[:-1], holes], scores=holes))
    assert np.isfinite(found["human_implicit"]) and np.isfinite(found["length_drift"])


def test_rolling_correlation_is_positive_when_they_improve_together():
    values = simulated(0, N, 9, fall=-0.3)
    series = {"train/loss": -np.arange(10.0), "train/kl": np.arange(10.0), "train/late": np.full(10, np.nan)}
    run = dataclasses.replace(planted(values, proxies=series), directions={"train/loss": "down"})
    found = rolling(run)
    assert found["kendall/train/loss"] > 0.5 and found["spearman/train/kl"] > 0.5
    assert not any("late" in key for key in found)
    assert rolling(dataclasses.replace(run, pearson=values[:3], proxies={"train/kl": np.arange(3.0)})) == {}


def test_regret_of_a_proxy_that_likes_the_wrong_end():
    values = simulated(0, 2000, 8, fall=0.1)
    run = planted(values, proxies={"train/reward": np.arange(9.0)})
    assert regrets(run)["regret/train/reward"] == pytest.approx(0.1, abs=0.03)


@pytest.mark.parametrize(("kind", "peak"), [("bon", 2.5), ("rl", np.exp(1.0))])
def test_the_fits_of_gao_find_their_peak(kind, peak):
    alpha, beta = (0.1, 0.02) if kind == "bon" else (0.1, 0.05)
    d = np.linspace(0.3, 4, 9)
    gain = d * (alpha - beta * d) if kind == "bon" else d * (alpha - beta * np.log(d))
    assert gao_fit(d, gain, kind) == pytest.approx((alpha, beta))
    assert gao_peak(alpha, beta, kind) == pytest.approx(peak)
    assert np.isnan(gao_peak(0.1, -0.1, kind))  # never bends down
    rng = np.random.default_rng(0)
    start = rng.uniform(-0.5, 0.5, size=2000)
    values = np.stack([start, *(start + g + 0.1 * rng.normal(size=2000) for g in gain)])
    run = planted(values, proxies={"train/kl": np.array([np.nan, *d**2])})
    found = kl_curve(run)
    assert found[f"kl_peak_{kind}_low"] < peak < found[f"kl_peak_{kind}_high"]
    assert found[f"kl_peak_{kind}_share"] > 0.9
    assert kl_curve(planted(values[:5], proxies={"train/kl": np.arange(5.0)})) == {"sqrt_kl": 2.0}
    assert kl_curve(planted(values)) == {}


def test_length_drift_sees_a_model_that_turns_to_long_answers():
    run = planted(simulated(0, 200, 1))
    lengths = np.array(run.lengths)
    longer = (np.array(run.start) + lengths * lengths * 0.002).tolist()
    found = length_drift(dataclasses.replace(run, looks=[run.start, longer]))
    assert found["length_drift_low"] > 0.3
    assert abs(length_drift(run)["length_drift"]) < 0.05


def test_keys_of_a_second_callback_do_not_collide():
    assert mismatch_prefix("hre") == "mismatch/" and mismatch_prefix("beer") == "beer/mismatch/"


def test_the_peak_over_kl_is_resampled_by_cluster():
    rng = np.random.default_rng(0)
    kl = np.arange(9.0)
    d = np.sqrt(kl)
    threads = rng.normal(0.3, 0.3, size=12)
    values = np.repeat(d[:, None] * (threads - 0.1 * d[:, None]), 10, axis=1)
    run = planted(values, proxies={"train/kl": kl})
    labels = [f"c{i // 10}" for i in range(120)]
    alone, clustered = (kl_curve(dataclasses.replace(run, clusters=c)) for c in (None, labels))
    width = {
        name: found["kl_peak_bon_high"] - found["kl_peak_bon_low"] for name, found in (("a", alone), ("c", clustered))
    }
    assert clustered["kl_peak_bon"] == alone["kl_peak_bon"] and width["c"] > 2 * width["a"]
