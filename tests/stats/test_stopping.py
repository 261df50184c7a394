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
