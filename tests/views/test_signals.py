from __future__ import annotations

from hre_callback.views.report import render
from hre_callback.views.signals import signals

from ..synthetic_records import flat, grpo, mismatch, reading


def test_grpo_with_a_reward_model_has_triangle_rolling_and_kl():
    made = signals(reading(grpo(8, n=40)))
    drawn, curves = made.triangle.drawn, made.triangle.curves
    assert 'class="triangle"' in drawn and "was 0.31" in drawn and ">model–reward</text>" in curves.drawn
    assert [column.key for column in curves.numbers.columns[1:]] == [
        "mismatch/human_policy",
        "mismatch/human_reward",
        "mismatch/policy_reward",
    ]
    assert made.triangle.explicit and len(made.rolling) == 3 and "√KL" in made.kl.drawn
    assert made.rolling[0].numbers.columns[1].key == "mismatch/kendall/train/reward"
    assert "best and worst" in made.displacement.drawn and made.n == "40"
    page = render(reading(grpo(8, n=40)).record)
    assert "Does the signal follow HRE?" in page and "the model takes up the reward (bottom edge)" in page
    assert "best and worst answers" in page and "n = 40 questions" in page


def test_triangle_needs_a_reward():
    assert signals(reading(flat(4, n=40))).triangle is None


def test_regret_is_a_table():
    made = signals(reading(mismatch(8, n=60))).regret
    assert ["train/rewards/margins", "+0.034", "7"] in made.rows
    assert "The price of trusting the signal" in render(reading(mismatch(8, n=60)).record)


def test_a_signal_without_a_known_name_still_has_its_rolling_curve():
    lines = flat(7, n=20)
    for look in lines[1:-1]:
        look["proxies"] = {"train/loss": 1.0, "eval/loss": 1.0}
        look["metrics"] = {"hre/score": 0.1, "mismatch/kendall/train/odd<signal>": 0.5}
    (drawn,) = signals(reading(lines)).rolling
    assert "train/odd&lt;signal&gt;" in drawn.drawn


def test_nothing_to_say_is_nothing():
    lines = flat(3, n=20)
    for look in lines[1:-1]:
        look["metrics"] = {"hre/score": 0.1}
    assert signals(reading(lines)) is None


def pushed(lines, *pushes):
    """The lines, with what an evaluation tells of the direction of training."""
    for look, push in zip(lines[2:], pushes, strict=False):
        told = {"push": push, "push_low": push - 0.02, "push_high": push + 0.02, "p_push": 0.0031, "margin": 0.0214}
        look["metrics"] |= {f"mismatch/{key}": value for key, value in told.items()}
    return lines


def test_the_direction_of_training_is_a_table_with_intervals_where_there_are_any():
    made = signals(reading(pushed(flat(6, n=40), 0.05, 0.01, -0.04))).direction
    push, p, margin = made.rows
    assert push[:3] == ["push", "−0.040", "−0.060 to −0.020"]
    assert p[1:3] == ["0.0031", ""] and margin[1:3] == ["0.0214", ""]
    assert "Which way training pushes" in render(reading(pushed(flat(6, n=40), 0.05, 0.01, -0.04)).record)
    assert signals(reading(flat(4, n=40))).direction is None
