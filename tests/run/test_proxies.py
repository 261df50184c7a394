"""Which training signals count, which way is better, whether they improve."""

import math

import pytest

from hre_callback.run.proxies import (
    check_directions,
    common_signals,
    directions,
    improved,
    proxies_since,
    signals,
)

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


def test_what_a_second_evaluation_set_logs_behind_the_score_is_not_lost():
    log = [
        {"eval_a_loss": 3.0, "step": 0},
        {"eval_hre": 0.1, "hre/ci_low": 0.0, "step": 0},
        {"eval_b_loss": 5.0, "step": 0},
        {"eval_loss": 9.0, "step": 0},
        {"eval_loss": 8.0, "step": 1},
    ]
    assert proxies_since(log, 0, 1) == {"eval/b_loss": 5.0, "eval/loss": 8.0}
    assert proxies_since(log, 0, 0) == {"eval/b_loss": 5.0, "eval/loss": 9.0}
    assert proxies_since(log, 1, 2) == {}


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


@pytest.mark.parametrize(
    ("name", "way", "label"),
    [
        ("train/loss", "down", "training loss"),
        ("eval/loss", "down", "evaluation loss"),
        ("eval/beer_loss", "down", "evaluation loss (beer)"),
        ("eval/my_own_set_loss", "down", "evaluation loss (my_own_set)"),
        ("eval/beer_rewards/margins", "up", "evaluation reward margin (beer)"),
        ("eval/beer_mean_token_accuracy", "up", "evaluation token accuracy (beer)"),
        ("eval/beer_nll_loss", "down", "evaluation likelihood loss (beer)"),
        ("eval/aux_loss", None, "evaluation load-balancing loss"),
        ("eval/beer_aux_loss", None, "evaluation load-balancing loss (beer)"),
        ("eval/policy_loss", None, "evaluation policy loss"),
        ("eval/beer_entropy", None, "evaluation entropy (beer)"),
        ("train/on_policy_loss", "down", "on-policy loss"),
        ("train/matched_loss", "down", "loss of matched tokens"),
        ("train/jsd", "down", "divergence from the teacher"),
        ("train/self_distillation/reward_mean", "up", "reward"),
        ("train/self_distillation/rewards/short", "up", "reward by short"),
        ("train/rewards/short/mean", "up", "reward by short"),
        ("train/beer_loss", None, "train/beer_loss"),
        ("train/my_metric", None, "train/my_metric"),
    ],
)
def test_one_table_says_what_a_signal_is_and_which_way_is_better(name, way, label):
    (one,) = signals([name])
    assert (one.better, one.label) == (way, label)
    assert directions([name]) == ({} if way is None else {name: way})


def test_what_only_counts_or_measures_time_is_no_signal():
    row = {
        "eval_beer_runtime": 1.0, "eval_model_preparation_time": 0.1, "eval_beer_num_tokens": 5, "perf/step_s": 2.0,
        "batch/pad_frac": 0.1, "rollout/backpressure_s": 1.0, "train_mem_gpu_alloc_delta": 3, "loss": 1.0, "step": 1,
        "eval_beer_loss": 2.0,
    }  # fmt: skip
    assert proxies_since([row], 0, 1) == {"train/loss": 1.0, "eval/beer_loss": 2.0}


@pytest.mark.parametrize(
    ("logged", "silent"),
    [
        (["reward"], True),
        (["rewards/short", "reward"], True),
        (["self_distillation/reward_mean"], True),
        (["objective/rlhf_reward"], True),
        (["iw_opd/mean_advantage", "on_policy_loss"], True),
        (["reward", "implicit_reward"], False),
        (["rewards/margins"], False),
    ],
)
def test_the_loss_of_a_policy_gradient_says_nothing_unless_the_user_says_so(logged, silent):
    names = [f"train/{name}" for name in (*logged, "loss")]
    assert ("train/loss" not in directions(names)) == silent
    assert "train/on_policy_loss" not in directions(names)
    assert directions(names, {"loss": "down"})["train/loss"] == "down"
    if "rewards/short" in logged:
        assert directions(names)["train/rewards/short"] == "up"


def test_the_users_own_come_first_then_the_most_telling():
    names = [
        "eval/beer_rewards/margins",
        "train/kl",
        "train/loss",
        "train/reward",
        "train/mine",
        "train/other",
    ]
    found = [one.key for one in signals(names, {"mine": "up", "loss": "up"})]
    assert found == [
        "train/mine", "train/loss", "train/reward", "eval/beer_rewards/margins", "train/kl", "train/other",
    ]  # fmt: skip
    rising = [{"loss": i, "mine": i, "reward": i, "step": i} for i in range(9)]
    assert improved(rising, 8, {"mine": "up"}) == ["train/mine", "train/reward"]


def test_the_common_signals_are_those_of_the_table():
    names = [one.key for one in common_signals()]
    assert names == ["train/reward", "train/rewards/margins", "train/loss", "train/kl", "eval/loss"]
    assert [one.better for one in common_signals()] == ["up", "up", "down", None, "down"]
