from __future__ import annotations

from hre_callback.record import Record
from hre_callback.signals import signals

from .synthetic_records import flat, grpo, mismatch


def record(lines):
    return Record(lines[0], [line for line in lines if line["kind"] == "evaluation"])


def test_grpo_with_a_reward_model_has_triangle_rolling_and_kl():
    made = signals(record(grpo(8, n=40)))
    assert 'class="triangle"' in made and "was 0.31" in made
    assert "Does the signal follow HRE?" in made and "√KL" in made
    assert "best and worst answers" in made and "n = 40 questions" in made


def test_triangle_needs_a_reward():
    assert 'class="triangle"' not in signals(record(flat(4, n=40)))


def test_regret_is_a_table():
    made = signals(record(mismatch(8, n=60)))
    assert "The price of trusting the signal" in made
    assert '<td class="num">+0.034</td><td class="num">7</td>' in made


def test_a_signal_without_a_known_name_still_has_its_rolling_curve():
    lines = flat(7, n=20)
    for look in lines[1:-1]:
        look["proxies"] = {"train/loss": 1.0, "eval/loss": 1.0}
        look["metrics"] = {"hre/score": 0.1, "mismatch/kendall/train/odd<signal>": 0.5}
    assert "train/odd&lt;signal&gt;" in signals(record(lines))


def test_nothing_to_say_is_nothing():
    lines = flat(3, n=20)
    for look in lines[1:-1]:
        look["metrics"] = {"hre/score": 0.1}
    assert signals(record(lines)) == ""
