"""Which training signals count, which way is better, whether they improve."""

import math

import pytest

from hre_callback.proxies import check_directions, directions, improved, proxies_since

LOG = [
    {"loss": 2.0, "learning_rate": 1e-3, "kl": None, "step": 1},
    {"loss": 1.0, "rewards/margins": float("nan"), "step": 2},
    {"eval_loss": 3.0, "eval_runtime": 9.0, "step": 2},
    {"eval_beer": 0.2, "beer/score": 0.2, "beer/ci_low": 0.1, "step": 2},
    {"loss": 0.5, "my_metric": 4, "step": 3},
]


def test_means_since_the_last_evaluation():
    assert proxies_since(LOG, -1, 2) == {"train/loss": 1.5, "eval/loss": 3.0}
    assert proxies_since(LOG, 2, 3) == {"train/loss": 0.5, "train/my_metric": 4.0}
    assert proxies_since(LOG, 2, 3, extra=["learning_rate"]).keys() == {"train/loss", "train/my_metric"}
    assert "train/learning_rate" in proxies_since(LOG, 0, 1, extra=["learning_rate"])


def test_directions_by_name_and_by_the_user():
    names = ["train/loss", "eval/loss", "train/rewards/margins", "train/kl", "train/my_metric"]
    found = directions(names, {"my_metric": "up", "train/rewards/margins": "down"})
    assert found == {
        "train/loss": "down",
        "eval/loss": "down",
        "train/rewards/margins": "down",
        "train/my_metric": "up",
    }
    with pytest.raises(ValueError, match=r"proxies\['a'\] is 'higher'; say 'up' or 'down'"):
        check_directions({"a": "higher"})


def test_the_loss_of_an_online_trainer_is_no_progress():
    names = [
        "train/loss",
        "train/reward",
        "train/rewards/length_reward/mean",
        "train/rewards/length_reward/std",
    ]
    assert directions(names) == {"train/reward": "up", "train/rewards/length_reward/mean": "up"}


def test_improvement_is_a_trend_over_all_logged_values():
    falling = [{"loss": 3 - 0.1 * i + 0.05 * (-1) ** i, "entropy": -i, "step": i} for i in range(12)]
    assert improved(falling, 11) == ["train/loss"]
    assert improved(falling, 3) == []  # four values are too few
    assert improved([{**row, "loss": -row["loss"]} for row in falling], 11) == []
    flat = [{"loss": math.sin(5 * i), "step": i} for i in range(30)]
    assert improved(flat, 29) == []
    assert improved([{"loss": 1.0, "step": i} for i in range(9)], 9) == []
