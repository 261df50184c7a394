from __future__ import annotations

import pytest

from hre_callback.headline import headline
from hre_callback.record import Record


def record(changes, *, verdicts=(), events=(), n=512, config=None, baseline=True):
    """A record by its changes since the start, each `(low, delta, high)`; a look every 10 steps."""
    looks = []
    for i, (low, delta, high) in enumerate([(0.0, 0.0, 0.0), *changes]):
        shift = delta or 0.0
        metrics = {
            "hre/score": 0.2 + shift,
            "hre/ci_low": 0.17 + shift,
            "hre/ci_high": 0.23 + shift,
            "hre/n": n,
        }
        metrics |= {"hre/delta_start": delta, "hre/delta_start_low": low, "hre/delta_start_high": high}
        verdict = verdicts[i - 1] if 0 < i <= len(verdicts) else None
        looks.append({"step": 10 * i, "metrics": metrics, "verdict": verdict})
    run = {"name": "hre", "config": config or {"min_delta": 0.01, "consecutive": 2}, "questions": []}
    return Record(run, looks if baseline else looks[1:], list(events))


FALL, RISE, NEAR, WIDE = (-0.06, -0.04, -0.02), (0.01, 0.03, 0.05), (-0.008, 0.0, 0.008), (-0.05, 0.0, 0.05)
FINISHED = {"kind": "finished", "step": 20, "summary": {"beats_start": False}}


def stopped(rule):
    return {"kind": "stop", "step": 20, "rule": rule, "reason": "because"}


@pytest.mark.parametrize(
    ("one", "tone", "title"),
    [
        (Record({"name": "hre", "questions": []}), "neutral", "Nothing measured yet"),
        (record([]), "neutral", "Only the start is measured so far"),
        (record([RISE]), "good", "Better for people than at the start"),
        (record([NEAR]), "good", "Still good for people"),
        (record([WIDE]), "neutral", "No change to be seen; a fall of 0.050 could still hide"),
        (record([WIDE], events=[FINISHED]), "neutral", "No checkpoint beats the start"),
        (record([NEAR, FALL]), "watch", "Watch: lower for people than at the start on the last look"),
        (record([FALL, FALL]), "bad", "Worse for people than at the start"),
        (
            record([FALL, (-0.009, -0.005, -0.001)]),
            "watch",
            "Watch: lower for people than at the start on the last look",
        ),
        (
            record([NEAR, NEAR], events=[stopped("drop_from_start")]),
            "bad",
            "Worse for people than at the start",
        ),
        (
            record([RISE, RISE], events=[stopped("drop_from_best")]),
            "bad",
            "Past its best for people: stopped at step 20",
        ),
        (record([RISE, RISE], events=[stopped("patience")]), "good", "Better for people than at the start"),
        (
            record([NEAR, FALL], verdicts=["aligned", "watch"]),
            "watch",
            "Watch: objective and people may be parting ways (step 20)",
        ),
        (
            record([FALL, FALL], verdicts=["watch", "mismatch"]),
            "bad",
            "Training objective and people part ways since step 10",
        ),
        (record([FALL, NEAR], verdicts=["mismatch", "aligned"]), "good", "Still good for people"),
        (record([(None, None, None)], baseline=False), "neutral", "No start to compare with"),
        (record([(None, None, None)]), "neutral", "How it compares with the start is not known"),
    ],
)
def test_verdict_in_plain_words(one, tone, title):
    said = headline(one)
    assert (said.tone, said.title) == (tone, title)


@pytest.mark.parametrize(
    ("low", "high", "change", "tone", "title"),
    [
        (-0.4, -0.1, RISE, "neutral", "Better for people than at the start, still below chance"),
        (-0.1, 0.1, RISE, "good", "Better for people than at the start, not clear of chance"),
        (-0.4, -0.1, NEAR, "neutral", "No worse than at the start, but below chance"),
        (-0.1, 0.1, NEAR, "neutral", "No worse than at the start, but not clear of chance"),
    ],
)
def test_a_model_that_ranks_against_people_is_not_called_good(low, high, change, tone, title):
    one = record([change])
    one.evaluations[-1]["metrics"] |= {"hre/ci_low": low, "hre/ci_high": high}
    said = headline(one)
    assert (said.tone, said.title) == (tone, title)


def test_looks_in_a_row_are_those_of_the_config():
    assert headline(record([FALL, FALL], config={"consecutive": 3})).tone == "watch"
    assert headline(record([FALL, FALL], config={"consecutive": 2, "min_delta": 0.05})).tone == "watch"


def test_every_number_has_its_interval_and_its_n():
    assert headline(record([RISE])).detail == (
        "HRE 0.230 at step 10 (95 % interval 0.200 to 0.260), n = 512 questions; "
        "+0.030 since the start (paired 95 % interval +0.010 to +0.050)."
    )
    assert (
        headline(record([], n=1)).detail
        == "HRE 0.200 at step 0 (95 % interval 0.170 to 0.230), n = 1 question."
    )


def test_a_skipped_score_does_not_hide_the_last_one():
    one = record([RISE, NEAR])
    one.evaluations[-1]["metrics"]["hre/score"] = None
    assert "at step 10" in headline(one).detail
