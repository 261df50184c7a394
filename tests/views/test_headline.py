"""Every verdict, word for word, with the record that it is said of."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from html import unescape

import pytest
from rich.console import Console

from hre_callback.run.lines import RunQuestion
from hre_callback.views.figure import main_figure
from hre_callback.views.headline import headline
from hre_callback.views.reading import Reading
from hre_callback.views.report import render
from hre_callback.views.terminal import frame

from .. import records
from ..synthetic_records import flat, grpo, healthy, mismatch, reading


def record(changes, *, verdicts=(), cause=None, events=(), n=512, config=None, baseline=True):
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
        looks.append({"step": 10 * i, "metrics": metrics, "verdict": verdict, "cause": verdict and cause})
    run = {"config": config or {"min_delta": 0.01, "consecutive": 2}}
    return Reading(records.of(run, looks if baseline else looks[1:], events))


FALL, RISE, NEAR, WIDE = (-0.06, -0.04, -0.02), (0.01, 0.03, 0.05), (-0.008, 0.0, 0.008), (-0.05, 0.0, 0.05)
STILL, STILL_LOWER = (0.0, 0.0004, 0.0009), (-0.0009, -0.0005, -0.0002)
FINISHED = {"kind": "finished", "step": 20, "summary": {"beats_start": False}}


def stopped(rule):
    return {"kind": "stop", "step": 20, "rule": rule, "reason": "because"}


@pytest.mark.parametrize(
    ("one", "tone", "title"),
    [
        (Reading(records.of()), "neutral", "Nothing measured yet"),
        (record([]), "neutral", "Only the start is measured so far"),
        (record([RISE]), "good", "Better for people than at the start"),
        (record([NEAR]), "good", "No worse for people than at the start"),
        (record([STILL]), "neutral", "HRE has not moved since the start"),
        (
            record([NEAR, NEAR], verdicts=["watch", "watch"], cause="push"),
            "watch",
            "Watch: training pushes against people (since step 10)",
        ),
        (
            record([RISE, RISE], verdicts=["aligned", "decoupled"], cause="no gain"),
            "watch",
            "Decoupled: training improves and people gain nothing (since step 20)",
        ),
        (record([STILL_LOWER, STILL_LOWER]), "neutral", "HRE has not moved since the start"),
        (record([WIDE]), "neutral", "No clear change since the start; a fall of up to 0.050 is possible"),
        (
            record([WIDE], events=[FINISHED]),
            "neutral",
            "No clear change since the start; a fall of up to 0.050 is possible",
        ),
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
            "Watch: HRE falls while training improves (since step 20)",
        ),
        (
            record([FALL, FALL], verdicts=["watch", "mismatch"]),
            "bad",
            "Training objective and people part ways since step 10",
        ),
        (record([FALL, NEAR], verdicts=["mismatch", "aligned"]), "good", "No worse for people than at the start"),
        (record([(None, None, None)], baseline=False), "neutral", "No start to compare with"),
        (record([(None, None, None)]), "neutral", "How it compares with the start is not known"),
    ],
)
def test_verdict_in_plain_words(one, tone, title):
    said = headline(one)
    assert (said.tone, said.title) == (tone, title)


@pytest.mark.parametrize(
    ("low", "high", "change", "tone", "title", "level"),
    [
        (-0.4, -0.1, RISE, "neutral", "Better for people than at the start", "below 0: "),
        (-0.1, 0.1, RISE, "good", "Better for people than at the start", "not clear of 0: "),
        (-0.4, -0.1, NEAR, "neutral", "No worse for people than at the start", "below 0: "),
        (-0.1, 0.1, NEAR, "neutral", "No worse for people than at the start", "not clear of 0: "),
        (0.1, 0.2, NEAR, "good", "No worse for people than at the start", "above 0: "),
    ],
)
def test_the_title_tells_the_change_alone_and_the_detail_the_level(low, high, change, tone, title, level):
    one = record([change])
    one.looks[-1].metrics.update({"hre/ci_low": low, "hre/ci_high": high})
    said = headline(one)
    assert (said.tone, said.title) == (tone, title)
    first, second = said.detail.split(". HRE is ")
    assert "since the start (paired 95 % " in first and f"n = 512 questions, {level}" in second


def test_looks_in_a_row_are_those_of_the_config():
    assert headline(record([FALL, FALL], config={"consecutive": 3})).tone == "watch"
    assert headline(record([FALL, FALL], config={"consecutive": 2, "min_delta": 0.05})).tone == "watch"


def test_every_number_has_its_interval_and_its_n():
    above = "above 0: the model ranks answers more as people do than not"
    assert headline(record([RISE])).detail == (
        "Higher, +0.030 since the start (paired 95 % +0.010 to +0.050). "
        f"HRE is 0.230 at step 10 (95 % 0.200 to 0.260), n = 512 questions, {above}."
    )
    assert headline(record([STILL])).detail.startswith("Has not moved since the start (+0.000 to +0.001). HRE is ")
    start = f"HRE is 0.200 at step 0 (95 % 0.170 to 0.230), n = 1 question, {above}."
    assert headline(record([], n=1)).detail == start
    assert headline(Reading(records.of())).detail == "No evaluation has a score."


def test_of_two_answers_the_detail_tells_pair_accuracy_beside_hre():
    one = record([RISE])
    one.looks[-1].metrics["hre/pair_accuracy"] = 0.615
    one.run.questions[:] = [RunQuestion(f"q{i}", votes=[1, 0]) for i in range(3)]
    pairs = (
        "Pair accuracy 0.615 (ties in votes dropped, 0.5 is chance; HRE is 2 × accuracy − 1). HRE is 0.230 at step 10"
    )
    assert f"+0.050). {pairs}" in headline(one).detail
    one.run.questions[:] = [RunQuestion(f"q{i}", votes=[2, 1, 0]) for i in range(3)]
    assert "accuracy" not in headline(one).detail


def test_the_reasons_of_a_verdict_and_of_a_stop_are_told():
    one = record([FALL, FALL], verdicts=["watch", "mismatch"], events=[stopped("mismatch"), stopped("patience")])
    one.looks[-1] = replace(one.looks[-1], reason="The loss improves while HRE falls.")
    assert headline(one).reasons == (
        "The loss improves while HRE falls.",
        "Stopped at step 20 by “mismatch”. because",
        "Stopped at step 20 by “patience”, a rule without a controlled false-alarm rate. because",
    )
    assert headline(record([RISE])).reasons == ()


def test_displacement_is_a_note_under_whatever_the_verdict_is():
    one = record([RISE], verdicts=["aligned"])
    one.looks[-1].metrics.update({"mismatch/displaced": 1.0, "mismatch/top_shift": -0.1, "mismatch/bottom_shift": -0.2})
    said = headline(one)
    assert (said.tone, said.title) == ("good", "Better for people than at the start")
    (note,) = said.notes
    assert note.startswith("People's best and worst answers both lose likelihood (−0.100 and −0.200 ")


def test_the_highest_look_of_a_finished_run_is_told_with_its_luck():
    summary = {"start": 0.2, "best": 0.21, "best_step": 10, "beats_start": False}
    one = record([WIDE, WIDE], events=[{"kind": "finished", "step": 20, "summary": summary}])
    (note,) = headline(one).notes
    assert note == "Highest 0.210 at step 10, no more than picking the luckiest of 3 looks gives."


def test_the_best_of_the_pooled_curve_is_told_beside_it_where_a_look_beats_the_start():
    summary = {"start": 0.2, "best": 0.31, "best_step": 10, "best_fair": 0.29, "beats_start": True}
    summary |= {"pooled": 0.28, "pooled_step": 20, "pooled_fair": 0.27}
    one = record([WIDE, WIDE], events=[{"kind": "finished", "step": 20, "summary": summary}])
    assert headline(one).notes[1] == (
        "Of the curve pooled over neighbouring looks, which noise moves less, the highest is 0.280 at step 20 "
        "(0.270 without the luck of the pick)."
    )
    unlucky = {"kind": "finished", "step": 20, "summary": {**summary, "beats_start": False}}
    assert len(headline(record([WIDE, WIDE], events=[unlucky])).notes) == 1


SHOWN = {
    "higher": healthy(6, n=80),
    "flat": flat(4, n=60),
    "parting ways": mismatch(8, n=60),
    "a reward": grpo(6, n=40),
    "the start alone": healthy(3, n=30)[:2],
    "nothing": healthy(3, n=30)[:1],
}


@pytest.mark.parametrize("name", SHOWN)
def test_page_picture_and_terminal_say_the_same_word_for_word(name):
    pytest.importorskip("matplotlib")
    from hre_callback.views.png import chart

    figure = main_figure(reading(SHOWN[name]))
    verdict, screen = figure.verdict, Console(file=io.StringIO(), width=2000)
    screen.print(frame(figure, 100))
    page = unescape(render(reading(SHOWN[name]).record))
    picture = " ".join(text.get_text() for text in chart(figure).texts)
    for words in (verdict.title, verdict.detail, *verdict.reasons, verdict.advice, *verdict.notes):
        assert words in page and words in picture and words in screen.file.getvalue()


@pytest.mark.parametrize("name", SHOWN)
def test_no_line_claims_anything_of_chance_twice(name):
    verdict = headline(reading(SHOWN[name]))
    for words in (verdict.title, verdict.detail, *verdict.reasons, *verdict.notes):
        assert len(re.findall("chance|luck", words)) <= 1


def test_a_skipped_score_does_not_hide_the_last_one():
    one = record([RISE, NEAR])
    one.looks[-1].metrics["hre/score"] = None
    assert "at step 10" in headline(one).detail


def test_votes_of_a_model_are_never_called_peoples():
    one = record([RISE])
    one.run.questions[:] = [RunQuestion("a", judge="GPT-4"), RunQuestion("b", judge="GPT-4")]
    found = headline(one)
    assert found.title == "Better for the judge than at the start"
    assert found.detail.endswith(
        ", above 0: the model ranks answers more as the judge does than not. The votes are by GPT-4, not by people."
    )


@pytest.mark.parametrize("cause", ["fall", "push", "no gain", "agreement lost"])
def test_a_verdict_says_what_to_change(cause):
    name = "decoupled" if cause in ("no gain", "agreement lost") else "watch"
    for signal, fits in (("train/loss", False), ("train/rewards/margins", True)):
        one = record([NEAR], verdicts=[name], cause=cause)
        one.looks[-1].proxies[signal] = 1.0
        said = headline(one).advice
        assert said.startswith("To change: ") and said.count("; ") in (1, 2)
        # Without pairs and without a reward there is neither to change.
        assert fits or not any(word in said for word in ("beta", "DPO", "chosen", "pairs"))
    good = headline(record([NEAR], verdicts=["aligned"], cause=None))
    assert (good.reasons, good.advice) == ((), "")
