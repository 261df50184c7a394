import numpy as np
import pytest

from hre_callback.stats.stopping import decide
from hre_callback.stats.verdict import Verdict

from ..simulate import history


def steps(values):
    return list(range(0, 10 * len(values), 10))


def test_never_and_unknown():
    values = history(0, 50, 6, fall=0.5)
    assert not decide("never", steps(values), values).stop
    with pytest.raises(ValueError, match="no stop rule 'sometimes'; known: never"):
        decide("sometimes", steps(values), values)


@pytest.mark.parametrize(("rule", "below"), [("drop_from_start", "start"), ("drop_from_best", "best")])
def test_a_true_fall_stops_with_a_reason(rule, below):
    values = history(0, 500, 10, fall=0.1)
    found = decide(rule, steps(values), values, planned_looks=10)
    assert found.stop
    assert f"below its {below} at steps 90 and 100" in found.reason and "p = 0." in found.reason
    assert found.delta < -0.05


def test_a_small_fall_does_not_stop_however_significant():
    values = history(0, 20_000, 8, fall=0.006)
    found = decide("drop_from_start", steps(values), values, planned_looks=8)
    assert found.p < 0.01 and not found.stop


def test_one_look_is_never_enough():
    values = history(0, 500, 1, fall=0.4)
    assert not decide("drop_from_start", steps(values), values).stop


def test_patience_counts_and_says_what_it_is():
    rising = np.arange(6.0)[:, None] + np.zeros((6, 20))
    assert not decide("patience", steps(rising), rising).stop
    values = np.concatenate([rising, rising[:3]])
    found = decide("patience", steps(values), values, patience=3)
    assert found.stop and "uncontrolled" in found.reason and "since step 50" in found.reason
    assert not decide("patience", steps(values), values, patience=4).stop


def test_patience_stops_what_ours_does_not():
    """Runs without any true change, ten looks: patience stops most, the controlled rule hardly any."""
    patience = ours = 0
    for seed in range(60):
        values = history(seed, 300, 10)
        seen = [values[: t + 1] for t in range(1, 11)]
        patience += any(decide("patience", steps(v), v, patience=3).stop for v in seen)
        ours += any(decide("drop_from_start", steps(v), v, planned_looks=10).stop for v in seen)
    assert patience / 60 > 0.8
    assert ours / 60 <= 0.1


def test_mismatch_follows_the_verdict_of_the_look():
    values = history(0, 50, 6)
    for name in ("aligned", "watch", "mismatch"):
        found = decide("mismatch", steps(values), values, verdict=Verdict(name, "loss improves while ...", 0.01))
        assert found.stop == (name == "mismatch")
        assert found.reason == ("loss improves while ..." if name == "mismatch" else "")
    assert not decide("mismatch", steps(values[:1]), values[:1]).stop


def claimed(rng, draw, level, n, looks):
    """Whether `target` says of a run that never passes `level` that it has, at any look."""
    first = draw(rng, n)
    values = np.stack([np.where(rng.uniform(size=n) < 0.1, draw(rng, n), first) for _ in range(looks)])
    return any(
        decide("target", list(range(t)), values[:t], planned_looks=looks - 1, target=level).stop
        for t in range(1, looks + 1)
    )


# What is drawn, and its true mean: the level that HRE has and never passes.
LEVELS = {
    "four answers": (lambda rng, n: np.tanh(rng.normal(0.3, 0.7, n)), 0.2161),
    "two answers, .6 right": (lambda rng, n: np.where(rng.uniform(size=n) < 0.6, 1.0, -1.0), 0.2),
    "two answers, .9 right": (lambda rng, n: np.where(rng.uniform(size=n) < 0.9, 1.0, -1.0), 0.8),
    "nearly all right": (lambda rng, n: 2 * rng.beta(4, 0.4, n) - 1, 2 * 4 / 4.4 - 1),
}


@pytest.mark.parametrize(("n", "looks"), [(10, 1), (40, 6)])
@pytest.mark.parametrize("kind", LEVELS)
def test_a_target_that_is_not_passed_is_rarely_claimed(kind, n, looks):
    """With a t bound alone .9 right of two answers was claimed to be more in 36 % of runs (10 questions)."""
    draw, level = LEVELS[kind]
    rng = np.random.default_rng(7)
    assert sum(claimed(rng, draw, level, n, looks) for _ in range(200)) <= 17


def test_a_target_that_is_passed_is_claimed_and_tells_the_bound():
    rng = np.random.default_rng(0)
    values = np.stack([rng.normal(0.3, 0.3, 200) for _ in range(3)])
    found = decide("target", [0, 10, 20], values, planned_looks=2, target=0.2)
    assert found.stop and "has passed the target 0.2: at least 0.2" in found.reason
    assert found.delta == pytest.approx(values[-1].mean() - 0.2)
    assert not decide("target", [0, 10, 20], values, planned_looks=2, target=0.29).stop
    assert not decide("target", [0], np.full((1, 9), np.nan), target=-1.0).stop
    groups = ["one"] * 100 + [None] * 100
    values[-1, :100] = values[-1, 0]
    assert not decide("target", [0, 10, 20], values, clusters=groups, planned_looks=2, target=0.2).stop
