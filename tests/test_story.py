from __future__ import annotations

import math

import pytest

from hre_callback.record import Record
from hre_callback.story import (
    best_index,
    ceiling_of,
    comparable,
    count,
    diverged_since,
    finished,
    fixed,
    last_index,
    latest,
    main_proxies,
    marks,
    mismatch_values,
    n_questions,
    number,
    paired_band,
    proxy,
    proxy_values,
    run_title,
    short,
    start_index,
    steps,
    topics,
    values,
)

NAN = math.nan


def record(scores=(), *, verdicts=(), proxies=(), events=(), first=0, name="hre", **run):
    """A record of a few numbers; a look every 10 steps."""
    looks = [
        {
            "kind": "evaluation",
            "step": first + 10 * i,
            "metrics": {f"{name}/score": score, f"{name}/topic/beer": score},
            "proxies": dict(proxies[i]) if i < len(proxies) else {},
            "verdict": verdicts[i] if i < len(verdicts) else None,
        }
        for i, score in enumerate(scores)
    ]
    return Record({"name": name, "fingerprint": "f", "questions": [], **run}, looks, list(events))


@pytest.mark.parametrize(
    ("value", "signed", "text"),
    [(0.2345, False, "0.234"), (-0.02, True, "−0.020"), (0.02, True, "+0.020"), (NAN, True, "–")]
    + [(-0.0001, False, "0.000"), (-0.0001, True, "+0.000"), (math.inf, False, "–")],
)
def test_fixed(value, signed, text):
    assert fixed(value, signed=signed) == text


def test_short_and_count():
    assert [short(2.81612), short(5.6e-7), short(NAN)] == ["2.816", "5.6e−07", "–"]
    assert [count(1, "topic"), count(2000, "topic"), count(0, "topic")] == [
        "1 topic",
        "2,000 topics",
        "0 topics",
    ]


def test_null_and_absent_are_nan():
    one = record([0.1, None, 0.3])
    assert values(one, "score") == pytest.approx([0.1, NAN, 0.3], nan_ok=True)
    assert all(math.isnan(v) for v in values(one, "ci_low") + mismatch_values(one, "human_reward"))
    assert math.isnan(number("0.1")) and number(3) == 3.0
    assert latest([1.0, 2.0, NAN]) == 2.0 and math.isnan(latest([]))


def test_keys_carry_the_name_of_the_run():
    one = record([0.1, 0.2], name="people")
    assert values(one, "score") == [0.1, 0.2]
    assert topics(one) == ["beer"]


def test_start_best_last():
    one = record([0.2, None, 0.3, 0.3, None])
    assert (start_index(one), best_index(one), last_index(one)) == (0, 2, 3)
    assert steps(one) == [0, 10, 20, 30, 40]
    assert start_index(record([0.2], first=10)) is None
    assert (start_index(record()), best_index(record()), last_index(record([None]))) == (None, None, None)


@pytest.mark.parametrize(
    ("logged", "expected"),
    [
        (
            {"train/loss": 2.0, "eval/loss": 1.9, "train/grad_norm": 1.0, "train/learning_rate": 1e-5},
            "eval/loss train/loss",
        ),
        (
            {
                "train/loss": 0.6,
                "train/rewards/margins": 1.0,
                "train/rewards/accuracies": 0.7,
                "train/rewards/chosen": 0.1,
            },
            "train/rewards/margins train/loss train/rewards/accuracies",
        ),
        (
            {
                "train/loss": 0.0,
                "train/reward": 1.0,
                "train/reward_std": 0.2,
                "train/kl": 0.1,
                "train/entropy": 1.0,
            },
            "train/reward train/kl train/entropy",
        ),
        ({"train/my_signal": 1.0}, "train/my_signal"),
        ({"train/loss": None, "eval/loss": 1.0}, "eval/loss"),
        ({}, ""),
    ],
)
def test_the_proxies_that_matter_come_first(logged, expected):
    assert " ".join(one.key for one in main_proxies(record([0.1], proxies=[logged]))) == expected


def test_at_most_so_many_proxies_and_their_directions():
    logged = {
        f"train/{key}": 1.0 for key in ("loss", "rewards/margins", "kl", "entropy", "mean_token_accuracy")
    }
    assert len(main_proxies(record([0.1], proxies=[logged]))) == 4
    assert (proxy("train/loss").better, proxy("train/reward").better, proxy("train/kl").better) == (
        "lower",
        "higher",
        None,
    )
    assert proxy("eval/rewards/margins").label == "evaluation reward margin"
    assert proxy_values(record([0.1, 0.2], proxies=[{}, {"train/kl": 0.5}]), "train/kl")[1] == 0.5


def test_the_streak_that_a_record_ends_with():
    assert diverged_since(record([0.1] * 4, verdicts=["aligned", "watch", "mismatch", "mismatch"])) == 10
    assert diverged_since(record([0.1] * 4, verdicts=["watch", "mismatch", "mismatch", "aligned"])) is None
    assert diverged_since(record([0.1] * 2)) is None


def test_marks():
    stop = {"kind": "stop", "step": 25, "rule": "mismatch"}
    one = record([0.1] * 3, verdicts=["aligned", "watch", "mismatch"], events=[stop])
    assert [(mark.step, mark.text, mark.tone) for mark in marks(one)] == [
        (10, "part ways", "bad"),
        (25, "stopped", "bad"),
    ]
    assert [mark.tone for mark in marks(record([0.1], verdicts=["watch"]))] == ["watch"]


def test_a_resumed_run_is_not_finished():
    end, again = {"kind": "finished", "step": 10}, {"kind": "resumed", "step": 10}
    assert finished(record(events=[end])) == end
    assert finished(record(events=[end, again])) is None
    assert finished(record(events=[end, again, {"kind": "finished", "step": 20}]))["step"] == 20
    assert finished(record()) is None


def test_comparable_needs_the_same_questions_and_scoring():
    one = record(identity={"prompt": "paper"})
    assert comparable(one, record(identity={"prompt": "paper"}))
    assert not comparable(one, record(identity={"prompt": "chat"}))
    assert not comparable(one, record(identity={"prompt": "paper"}, fingerprint="other"))


@pytest.mark.parametrize(
    ("model", "title"),
    [
        ("org/model", "org/model"),
        ("/home/me/models/mine", "mine"),
        ("./out/ckpt", "ckpt"),
        ("C:\\models\\mine", "mine"),
    ]
    + [(None, "hre"), ("plain", "plain")],
)
def test_title_names_the_model_not_its_place(model, title):
    assert run_title({"name": "hre", "model": model}) == title


def test_the_paired_band_opens_at_the_start():
    one = record([0.2, 0.25])
    one.evaluations[1]["metrics"] |= {"hre/delta_start_low": 0.01, "hre/delta_start_high": 0.09}
    low, high = paired_band(one)
    assert (low, high) == ([0.2, pytest.approx(0.21)], [0.2, pytest.approx(0.29)])
    assert all(map(math.isnan, paired_band(record([0.2], first=10))[0]))


def test_ceiling_and_n():
    assert ceiling_of(record(human_ceiling=0.7)) == 0.7
    assert math.isnan(ceiling_of(record(human_ceiling=None)))
    assert n_questions(record(questions=[{}, {}])) == 2
