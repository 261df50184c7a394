"""Every answer of the page, word for word, with the record that it is said of."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hre_callback.run.lines import RunQuestion
from hre_callback.views.answers import answers

from ..synthetic_records import flat, grpo, healthy, mismatch, reading
from .test_headline import FALL, FINISHED, NEAR, RISE, STILL, WIDE, record, stopped

NAN_INTERVAL = (None, 0.01, None)
SKIP = {"kind": "skipped", "step": 10, "reason": "oom"}


@pytest.mark.parametrize(
    ("one", "said"),
    [
        (record([]), ""),
        (record([NEAR]), ""),
        (
            record([NEAR], verdicts=["aligned"]),
            "No mismatch seen up to step 10: no signal improves while HRE falls, by more than chance. "
            "One look after the start is little to see one by.",
        ),
        (
            record([NEAR] * 2, verdicts=["aligned"] * 2),
            "No mismatch seen up to step 20: no signal improves while HRE falls, by more than chance.",
        ),
        (
            record([FALL] * 2, verdicts=["watch", "mismatch"], cause="fall"),
            "No longer, since step 10: a signal improves while HRE falls.",
        ),
        (
            record([NEAR] * 2, verdicts=["aligned", "watch"], cause="push"),
            "Perhaps not, since step 20: training makes answers likelier that were voted down.",
        ),
        (
            record([NEAR] * 2, verdicts=["decoupled"] * 2, cause="no gain"),
            "No longer, since step 10: a signal improves without any gain for people.",
        ),
        (
            record([NEAR] * 2, verdicts=["decoupled"] * 2, cause="agreement lost"),
            "No longer, since step 10: what training rewards agrees less with people than it did.",
        ),
    ],
)
def test_whether_the_signal_still_means_it(one, said):
    assert answers(one, "").signal == said


def with_highest(one, look, score):
    one.looks[look].metrics["hre/score"] = score
    return one


@pytest.mark.parametrize(
    ("one", "said"),
    [
        (record([]), ["Wait for an evaluation after the start; hre watch RUN shows it when it is there."]),
        (
            record([], events=[FINISHED]),
            ["Evaluate again during training: a score without one after it says nothing of training."],
        ),
        (record([], events=[SKIP]), ["Mend what made the evaluations fail, and begin again."]),
        (record([RISE]), ["Keep the last weights (step 10) rather than the start: HRE is clearly higher."]),
        (record([STILL]), ["Nothing to choose between the start and now: training has not moved the ranking."]),
        (record([WIDE]), ["Nothing to choose by HRE between the start and step 10."]),
        (record([NAN_INTERVAL]), ["Ask more questions: a change since the start cannot be told with these."]),
        (
            record([FALL]),
            [
                "Do not keep the last weights (step 10) for people’s sake: no look was higher than the start.",
                "Look at the next evaluation before you decide: this is a warning, not a verdict.",
            ],
        ),
        (
            with_highest(record([RISE, FALL, FALL]), 1, 0.3),
            [
                "Do not keep the last weights (step 30) for people’s sake: HRE is clearly lower than at the start; it was "
                "highest at step 10, if a checkpoint of it is kept."
            ],
        ),
        (
            record([RISE, NEAR], events=[stopped("drop_from_best")]),
            [
                "Do not keep the last weights (step 20) for people’s sake: HRE is past its best; it was highest at step "
                "10, if a checkpoint of it is kept."
            ],
        ),
    ],
)
def test_what_to_do(one, said):
    assert answers(one, "").do == said


def test_what_to_change_comes_last():
    one = record([FALL] * 2, verdicts=["watch"] * 2, cause="push")
    assert answers(one, "").do[-1].startswith("To change: the answers that it is trained on")


def test_a_change_that_is_not_seen_asks_for_questions():
    one = record([WIDE])
    one.looks[-1].metrics["hre/mde"] = 0.04
    assert answers(one, "").do[-1] == (
        "To see a smaller change, ask more questions; hre power --pilot RUN --delta 0.01 says how many."
    )


def test_which_run_to_keep():
    up, down, level = (reading(lines(6, n=200, seed=0, every=50)[:7]) for lines in (healthy, lower, flat))
    assert answers(down, "down", [("up", up)]).do[:2] == [
        "Keep up rather than down: HRE is clearly higher there.",
        "Do not keep the last weights of down (step 250) for people’s sake: no look was higher than the start.",
    ]
    assert answers(up, "up", [("down", down)]).do[0] == "Keep up rather than down: HRE is clearly lower there."
    same = reading(flat(6, n=200, seed=0)[:7])
    assert answers(level, "a", [("b", same)]).do[0] == (
        "HRE does not tell a from b: choose by something else, or ask more questions."
    )
    elsewhere = flat(4, n=40)
    elsewhere[0]["fingerprint"] = "0" * 16
    assert "rather" not in " ".join(answers(level, "a", [("far", reading(elsewhere))]).do)


def lower(looks, **options):
    """A run whose every look is lower than the start."""
    from ..synthetic_records import _sft, run_lines

    return run_lines([0.06 - 0.02 * t for t in range(looks)], _sft, **options)


def test_what_moved():
    said = answers(reading(mismatch(9, n=210)), "").moved
    assert said.startswith("6 of 7 topics changed clearly since the start, each taken by itself: unix −0.")
    assert said.endswith(" and 2 more.") and said.count("−") == 4
    assert answers(reading(flat(3, n=140)), "").moved == "No topic of 7 changed clearly since the start."
    assert answers(reading(healthy(3, n=40, topics=["beer"])), "").moved == ""
    assert answers(reading(healthy(3, n=40)[:2]), "").moved == "Nothing yet: only the start is measured."
    assert answers(reading(healthy(3, n=40)[:1]), "").moved == ""


def test_how_sure_it_is():
    one = record([FALL], events=[SKIP])
    one.looks[-1].metrics.update({"hre/mde": 0.031, "hre/p_drop": 0.0004})
    assert answers(one, "").sure == [
        "With 512 questions a true change of 0.031 is found 4 times in 5; a smaller one may go unseen.",
        "That chance alone makes HRE fall this far: p = 0.0004; all looks share one error rate.",
        "1 of 3 evaluations failed and are missing from the curve.",
    ]
    assert answers(record([RISE]), "").sure == []


def test_what_a_model_judged_is_not_called_peoples():
    one = record([FALL])
    one.run.questions[:] = [RunQuestion("a", judge="GPT-4")]
    one.looks[:] = [replace(look, pearson=[0.1]) for look in one.looks]
    assert "for the judge’s sake" in answers(one, "").do[0]


@pytest.mark.parametrize("lines", [healthy(3, n=20)[:1], grpo(6, n=20), mismatch(8, n=60)])
def test_every_record_has_something_to_do(lines):
    found = answers(reading(lines), "")
    assert found.do and not any("nan" in said or "None" in said for said in (*found.do, *found.sure, found.moved))
