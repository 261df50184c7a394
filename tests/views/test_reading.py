from __future__ import annotations

import math

import pytest

from hre_callback.formatting import count, fixed, short
from hre_callback.run.lines import Event
from hre_callback.views.numbers import earliest, finite, latest
from hre_callback.views.reading import Reading

from .. import records

NAN = math.nan


def reading(scores=(), *, verdicts=(), proxies=(), events=(), first=0, name="hre", **run):
    """A record of a few numbers; a look every 10 steps."""
    looks = [
        {
            "step": first + 10 * i,
            "metrics": {f"{name}/score": score, f"{name}/topic/beer": score},
            "proxies": dict(proxies[i]) if i < len(proxies) else {},
            "verdict": verdicts[i] if i < len(verdicts) else None,
        }
        for i, score in enumerate(scores)
    ]
    return Reading(records.of({"name": name, **run}, looks, events))


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
    one = reading([0.1, None, 0.3])
    assert one.metric("score") == pytest.approx([0.1, NAN, 0.3], nan_ok=True)
    assert all(math.isnan(v) for v in one.metric("ci_low") + one.mismatch("human_reward"))
    assert reading([3]).score == [3.0]
    assert latest([1.0, 2.0, NAN]) == 2.0 and math.isnan(latest([]))
    assert (earliest([NAN, 1.0, 2.0]), finite([NAN, 1.0, 2.0])) == (1.0, [1.0, 2.0])


def test_keys_carry_the_name_of_the_run():
    one = reading([0.1, 0.2], name="people")
    assert one.metric("score") == [0.1, 0.2]
    assert one.metric("topic/beer") == [0.1, 0.2]


def test_start_best_last():
    one = reading([0.2, None, 0.3, 0.3, None])
    assert (one.start, one.best, one.now) == (0, 2, 3)
    assert one.steps == [0, 10, 20, 30, 40]
    assert reading([0.2], first=10).start is None
    assert (reading().start, reading().best, reading([None]).now) == (None, None, None)


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
    assert " ".join(one.key for one in reading([0.1], proxies=[logged]).main_proxies()) == expected


def test_at_most_so_many_proxies_and_their_directions():
    logged = {f"train/{key}": 1.0 for key in ("loss", "rewards/margins", "kl", "entropy", "mean_token_accuracy")}
    assert len(reading([0.1], proxies=[logged]).main_proxies()) == 4
    assert (
        reading().proxy("train/loss").better,
        reading().proxy("train/reward").better,
        reading().proxy("train/kl").better,
    ) == (
        "lower",
        "higher",
        None,
    )
    assert reading().proxy("eval/rewards/margins").label == "evaluation reward margin"
    assert reading([0.1, 0.2], proxies=[{}, {"train/kl": 0.5}]).signal("train/kl")[1] == 0.5


def test_the_streak_that_a_record_ends_with():
    assert reading([0.1] * 4, verdicts=["aligned", "watch", "mismatch", "mismatch"]).diverged_since == 10
    assert reading([0.1] * 4, verdicts=["watch", "mismatch", "mismatch", "aligned"]).diverged_since is None
    assert reading([0.1] * 2).diverged_since is None


def test_marks():
    stop = {"kind": "stop", "step": 25, "rule": "mismatch"}
    one = reading([0.1] * 3, verdicts=["aligned", "watch", "mismatch"], events=[stop])
    assert [(mark.step, mark.text, mark.tone) for mark in one.marks] == [
        (10, "part ways", "bad"),
        (25, "stopped", "bad"),
    ]
    assert [mark.tone for mark in reading([0.1], verdicts=["watch"]).marks] == ["watch"]


def test_a_resumed_run_is_not_finished():
    end, again = {"kind": "finished", "step": 10}, {"kind": "resumed", "step": 10}
    assert reading(events=[end]).finished == Event(**end)
    assert reading(events=[end, again]).finished is None
    assert reading(events=[end, again, {"kind": "finished", "step": 20}]).finished.step == 20
    assert reading().finished is None


def test_comparable_needs_the_same_questions_and_scoring():
    one = reading(identity={"prompt": "paper"})
    assert one.comparable(reading(identity={"prompt": "paper"}))
    assert not one.comparable(reading(identity={"prompt": "chat"}))
    assert not one.comparable(reading(identity={"prompt": "paper"}, fingerprint="other"))


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
    assert reading(model=model).title == title


def test_the_paired_band_opens_at_the_start():
    one = reading([0.2, 0.25])
    one.looks[1].metrics.update({"hre/delta_start_low": 0.01, "hre/delta_start_high": 0.09})
    low, high = one.paired
    assert (low, high) == ([0.2, pytest.approx(0.21)], [0.2, pytest.approx(0.29)])
    assert all(map(math.isnan, reading([0.2], first=10).paired[0]))


def test_ceiling_and_n():
    assert reading(human_ceiling=0.7).ceiling == 0.7
    assert math.isnan(reading(human_ceiling=None).ceiling)
    assert reading(questions=[{"id": "a"}, {"id": "b"}]).n_questions == 2
