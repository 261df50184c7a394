"""Every sentence of `run/words.py`, word for word, with what it is said of."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from hre_callback.config import HREConfig
from hre_callback.run.lines import Summary
from hre_callback.run.look import Outcome
from hre_callback.run.words import (
    Change,
    alert_title,
    between,
    ceiling_words,
    closing_line,
    console_line,
    cost_line,
    cutoff_lines,
    cutoff_words,
    displacement_line,
    level,
    memory_words,
    next_line,
    no_workspace_line,
    pair_accuracy_words,
    pooled_words,
    stop_line,
    unrated_words,
    verdict_words,
    workspace_line,
)
from hre_callback.stats.verdict import Verdict

from .. import records

BEST = Summary(start=0.25, best=0.3, best_step=20, best_fair=0.28, last=0.27, beats_start=True)
NOTHING = Summary()
PATH = Path("out") / "hre.jsonl"


def record(*events, steps=(0, 10, 20)):
    return records.of(looks=[{"step": step} for step in steps], events=[{"step": 0, **one} for one in events])


def skipped(reason):
    return {"kind": "skipped", "reason": reason}


def last(summary, told=None, **more):
    return closing_line("hre", told or record(), summary, PATH, **more)


def row(change=None, level=(0.2104, 0.2996), name="hre"):
    found = dict(zip(("ci_low", "ci_high"), level, strict=True)) | {"n": 120.0, "seconds": 3.26}
    found |= dict(zip(("delta_start", "delta_start_low", "delta_start_high"), change or (), strict=False))
    return {f"{name}/{key}": value for key, value in found.items()}


HIGHER, LOWER = (0.0312, 0.0104, 0.0501), (-0.0312, -0.0504, -0.0101)
UNCLEAR, STILL = (-0.0312, -0.0804, 0.0201), (-0.0, -0.0004, 0.0002)
NOW = "now 0.255 (95 % 0.210 to 0.300, 120 questions); 3.3 s"


@pytest.mark.parametrize(
    "change, said",
    [
        (None, "the start, HRE 0.255 (95 % 0.210 to 0.300, 120 questions); 3.3 s"),
        (HIGHER, f"higher, +0.031 since the start (paired 95 % +0.010 to +0.050); {NOW}"),
        (LOWER, f"lower, −0.031 since the start (paired 95 % −0.050 to −0.010); {NOW}"),
        (UNCLEAR, f"no clear change, −0.031 since the start (paired 95 % −0.080 to +0.020); {NOW}"),
        (STILL, f"has not moved since the start (+0.000 to +0.000); {NOW}"),
        ((0.0, -0.001, 0.001), f"has not moved since the start (−0.001 to +0.001); {NOW}"),
        ((0.5, math.nan, math.nan), f"+0.500 since the start, too few questions for an interval; {NOW}"),
        ((math.nan,) * 3, f"too few questions for an interval; {NOW}"),
    ],
)
def test_an_evaluation_says_what_changed_and_then_the_level(change, said):
    assert console_line("hre", 30, Outcome(0.25511, row(change), {})) == f"HRE step 30: {said}"


PAIRS = "pair accuracy 0.628 (ties in votes dropped, 0.5 is chance; HRE is 2 × accuracy − 1)"


@pytest.mark.parametrize(
    "accuracy, answers, said",
    [
        (0.6276, [2, 2], PAIRS),
        (0.6276, [2, 2, 5], PAIRS.replace("HRE is 2 × accuracy − 1", "most questions have two answers")),
        (0.6276, [2, 5], ""),
        (0.6276, [4, 4], ""),
        (0.6276, [], ""),
        (0.6276, [0, 0], ""),
        (math.nan, [2, 2], ""),
        (None, [2, 2], ""),
    ],
)
def test_of_two_answers_pair_accuracy_is_told(accuracy, answers, said):
    assert pair_accuracy_words(accuracy, answers) == said


def test_the_console_tells_pair_accuracy_before_hre_where_most_questions_have_two_answers():
    one = Outcome(0.25511, row(HIGHER) | {"hre/pair_accuracy": 0.6276}, {})
    assert f"; now {PAIRS}, HRE 0.255 (95 % " in console_line("hre", 30, one, [2, 2])
    start = Outcome(0.25511, row() | {"hre/pair_accuracy": 0.6276}, {})
    assert console_line("hre", 0, start, [2, 2]).startswith(f"HRE step 0: the start, {PAIRS}, HRE 0.255 (")


def test_the_last_word_tells_pair_accuracy_too():
    questions = [{"id": str(i), "votes": [1, 0]} for i in range(2)]
    of_pairs = records.of(
        {"questions": questions},
        [{"step": s, "metrics": {"hre/pair_accuracy": 0.6276}} for s in (0, 10)],
    )
    assert f"last 0.270, {PAIRS}, highest" in last(BEST, of_pairs)


@pytest.mark.parametrize(
    "verdict, said",
    [
        (None, ""),
        (Verdict("aligned", "", 0.01), ""),
        (Verdict("watch", "a fall", 0.01), ". WATCH: a fall"),
        (Verdict("mismatch", "a fall", 0.01), ". MISMATCH: a fall"),
    ],
)
def test_a_verdict_is_said_where_it_is_worth_hearing(verdict, said):
    assert console_line("hre", 30, Outcome(0.2551, row(LOWER), {}, verdict)).endswith(f"{NOW}{said}")


def test_another_name_has_other_keys():
    line = console_line("beer", 5, Outcome(0.2, row(name="beer"), {}))
    assert line.startswith("BEER step 5: the start, HRE 0.200 (95 % 0.210 ")


@pytest.mark.parametrize(
    "low, high, said",
    [
        (0.001, 0.2, "above 0: the model ranks answers more as people do than not"),
        (-0.1, 0.2, "not clear of 0: that the model ranks answers as people do is not shown"),
        (-0.2, -0.001, "below 0: the model ranks answers against people's votes"),
        (math.nan, math.nan, ""),
    ],
)
def test_the_level_is_a_claim_of_its_own(low, high, said):
    assert level(low, high) == said


@pytest.mark.parametrize("name, said", [("aligned", "no mismatch seen"), ("watch", "watch"), ("mismatch", "mismatch")])
def test_a_run_in_which_nothing_was_seen_is_not_called_aligned(name, said):
    assert verdict_words(name) == said and verdict_words(None) == ""


def test_the_interval_decides_the_word():
    assert Change(0.1, 0.0, 0.2).direction == Change(-0.1, -0.2, 0.0).direction == "no clear change"
    assert Change(0.0004, 0.0002, 0.0006).direction == "higher" and Change(0.0004, 0.0002, 0.0006).still


@pytest.mark.parametrize(
    "source, n, said",
    [
        (
            "annotators",
            1200,
            "The human ceiling comes from the people who rated, split in halves at random, question by question "
            "(1,200 questions that two or more rated).",
        ),
        (
            "counts",
            40,
            "The human ceiling comes from the votes, which are counts, each dealt to one of two halves at random.",
        ),
        (
            "few raters",
            0,
            "No human ceiling: no two people rated the same answers, so that how far another would differ is not "
            "known.",
        ),
        (
            "few raters",
            1,
            "No human ceiling: two people or more rated 1 question alone, too few to say how far people differ.",
        ),
        (
            "no counts",
            0,
            "No human ceiling: the votes are neither counts (whole numbers more than 10 apart, or declared as counted) "
            "nor made of ratings that are given.",
        ),
        ("alike", 0, "No human ceiling: the votes of no question differ."),
        ("judge", 0, "No human ceiling: the votes are not people's."),
        (None, 0, ""),
        ("of a later version", 3, ""),
    ],
)
def test_where_the_ceiling_comes_from_or_why_there_is_none(source, n, said):
    assert ceiling_words(source, n) == said


NEEDED = ": 6 on either side are needed to tell what rises by memory."


@pytest.mark.parametrize(
    "sides, said",
    [
        ((6, 6, 9), ""),
        ((0, 0, 9), "No question has a date: HRE before and after the cutoff, 2024-05-31, cannot be told apart."),
        ((40, 0, 0), f"0 questions are from after the cutoff, 2024-05-31{NEEDED}"),
        ((0, 40, 2), f"0 questions are from before the cutoff, 2024-05-31 (2 questions without a date){NEEDED}"),
        ((40, 1, 0), f"1 question is from after the cutoff, 2024-05-31{NEEDED}"),
        ((5, 7, 0), f"5 questions are from before the cutoff, 2024-05-31{NEEDED}"),
    ],
)
def test_why_questions_do_not_tell_what_rises_by_memory(sides, said):
    assert cutoff_words("2024-05-31", *sides) == said


def by_cutoff(difference):
    numbers = {"before_change": 0.08, "after_change": 0.01}
    numbers |= dict(zip(("difference", "difference_low", "difference_high"), difference, strict=True))
    return {f"hre/cutoff/{key}": value for key, value in numbers.items()}


BY_CUTOFF = "since the start +0.080 on questions from before 2024-05-31, +0.010 on those from after it (difference"


@pytest.mark.parametrize(
    "difference, said",
    [
        (LOWER, f"{BY_CUTOFF} −0.031, 95 % −0.050 to −0.010): what rises on old ones alone may be memory"),
        (HIGHER, f"{BY_CUTOFF} +0.031, 95 % +0.010 to +0.050): memory does not explain it"),
        (UNCLEAR, ""),
        ((None, None, None), ""),
    ],
)
def test_what_rises_by_memory_is_said_where_it_is_clear(difference, said):
    assert memory_words(by_cutoff(difference), "hre", "2024-05-31") == said
    moved = records.of({"config": {"cutoff": "2024-05-31"}}, [{"step": s} for s in (0, 10, 20)])
    moved.evaluations[-1].metrics.update(by_cutoff(difference))
    assert (f". By the cutoff: {said}. Record: " in last(BEST, moved)) is bool(said)
    assert memory_words({}, "hre", "2024-05-31") == ""


def test_one_scoring_tells_both_sides_of_the_cutoff():
    one = {"score": 0.25, "ci_low": 0.1, "ci_high": 0.4, "n": 8.0}
    none = {"score": None, "ci_low": None, "ci_high": None, "n": 0.0}
    before, after = (
        f"From {side} 2024-05-31: HRE 0.250 (95 % 0.100 to 0.400, 8 questions)" for side in ("before", "after")
    )
    memory = "Old questions may be easier: what rises by memory shows in two scorings, or in a run."
    assert cutoff_lines({"day": "2024-05-31", "before": one, "after": one}, 0) == [before, after, memory]
    few = f"0 questions are from after the cutoff, 2024-05-31 (1 question without a date){NEEDED}"
    assert cutoff_lines({"day": "2024-05-31", "before": one, "after": none}, 1) == [before, few]
    alone = {"score": 0.25, "ci_low": None, "ci_high": None, "n": 1.0}
    assert cutoff_lines({"day": "d", "before": alone, "after": none}, 0)[0] == "From before d: HRE 0.250 (1 question)"


def test_people_of_groups_who_rated_nothing_are_said():
    assert unrated_words(1, "ann") == (
        "The questions' groups name 'ann' without a rating (`ratings`): they count in no group."
    )
    assert "name 1,200 people such as 'ann' without" in unrated_words(1200, "ann")


@pytest.mark.parametrize(
    "overhead, config, said",
    [
        (0.03, {}, "HRE takes 3% of the time so far"),
        (
            0.9,
            {},
            "HRE takes 90% of the time so far; max_overhead=0.05, a larger eval_steps or fewer questions (now 1,040) "
            "lower that",
        ),
        (
            0.9,
            {"max_overhead": 0.1},
            "HRE takes 90% of the time so far; max_overhead=0.1 puts evaluations off until it is less",
        ),
    ],
)
def test_what_it_costs_is_said_with_what_lowers_it(overhead, config, said):
    assert cost_line("hre", overhead, HREConfig(**config), 1040) == said


def test_displacement_is_a_line_of_its_own_and_no_verdict():
    assert displacement_line(-0.121, -0.3) == (
        "People's best and worst answers both lose likelihood (−0.121 and −0.300 nats a character since the start): "
        "likelihood displacement, not a verdict"
    )


@pytest.mark.parametrize(
    "change, since, said",
    [
        (
            HIGHER,
            4,
            "higher, +0.031 (paired 95 % +0.010 to +0.050). So at every look since step 4, each taken by itself.",
        ),
        (LOWER, 8, "lower, −0.031 (paired 95 % −0.050 to −0.010)."),
        (UNCLEAR, 4, "no clear change, −0.031 (paired 95 % −0.080 to +0.020)."),
        (STILL, 4, "has not moved (+0.000 to +0.000)."),
    ],
)
def test_two_runs_against_each_other(change, since, said):
    assert between("rude", "liked", 8, Change(*change), since) == f"At step 8, liked against rude: {said}"


def test_a_workspace_that_was_saved_or_not():
    assert workspace_line("https://w/a/b?nw=7") == "W&B workspace: https://w/a/b?nw=7"
    assert no_workspace_line("it is offline") == "HRE saved no W&B workspace, all else goes on: it is offline"


def test_a_stop_and_an_alert():
    assert stop_line("hre", "a fall") == "HRE stops the run: a fall"
    assert alert_title("hre", 8, stop=True) == "HRE stops the run at step 8"
    assert alert_title("beer", 8, stop=False) == "BEER and the training objective part ways at step 8"


def test_the_last_word_is_the_change_start_last_and_best_and_where_the_record_is():
    best = "highest 0.300 at step 20 (0.280 without the luck of the pick)"
    assert last(BEST) == f"HRE: start 0.250, last 0.270, {best}. Record: {PATH}"
    unlucky = last(replace(BEST, best_fair=None))
    assert unlucky == f"HRE: start 0.250, last 0.270, highest 0.300 at step 20. Record: {PATH}"
    moved = record()
    moved.evaluations[-1].metrics.update(row(HIGHER))
    change = "higher, +0.031 since the start (paired 95 % +0.010 to +0.050)"
    assert last(BEST, moved) == f"HRE: {change}; start 0.250, last 0.270, {best}. Record: {PATH}"


def test_a_start_that_was_not_at_step_0_is_said():
    late = record(steps=(7, 20))
    late.evaluations[-1].metrics.update(row(UNCLEAR))
    assert last(BEST, late).startswith(
        "HRE: no clear change, −0.031 since step 7 (paired 95 % −0.080 to +0.020); start"
    )


@pytest.mark.parametrize(
    ("kept", "said"),
    [(None, ""), (True, ", kept in checkpoint-20"), (False, ", NO CHECKPOINT of it is kept")],
)
def test_whether_the_best_is_kept_is_said_where_it_was_promised(kept, said):
    assert f"without the luck of the pick){said}. Record" in last(BEST, kept=kept)


@pytest.mark.parametrize(
    ("summary", "kept", "said"),
    [
        ({}, None, "highest 0.300 at step 20, no more than picking the luckiest of 3 looks gives"),
        ({}, False, "highest 0.300 at step 20, no more than picking the luckiest of 3 looks gives"),
        (
            {},
            True,
            "highest 0.300 at step 20, no more than picking the luckiest of 3 looks gives, kept in checkpoint-20",
        ),
        ({"best": 0.25, "best_step": 0}, None, "no look is higher than the start"),
    ],
)
def test_a_highest_look_that_luck_explains_is_said_to_be_that(summary, kept, said):
    line = last(replace(BEST, beats_start=False, **summary), kept=kept)
    assert line == f"HRE: start 0.250, last 0.270, {said}. Record: {PATH}"


def test_the_best_of_the_pooled_curve():
    assert pooled_words(BEST) == ""
    smooth = replace(BEST, pooled=0.27, pooled_step=40, pooled_fair=0.265)
    assert pooled_words(smooth) == (
        "of the curve pooled over neighbouring looks, which noise moves less, the highest is 0.270 at step 40 "
        "(0.265 without the luck of the pick)"
    )
    assert pooled_words(replace(smooth, pooled_fair=None)).endswith("is 0.270 at step 40")
    assert pooled_words(replace(smooth, beats_start=False)) == ""


def test_what_to_do_next_can_be_typed():
    assert next_line(Path("my runs") / "hre.jsonl") == (
        "Next: hre report 'my runs/hre.jsonl' (one page), hre compare 'my runs/hre.jsonl' "
        "(every look, and where each stop rule ends the run)"
    )


def test_evaluations_that_failed_are_counted():
    assert ", 2 of 5 evaluations failed. Record" in last(BEST, record(skipped("a"), skipped("b")))


def test_of_a_run_without_a_score_the_last_failure_is_told():
    failed = last(NOTHING, record(skipped("first"), skipped("last"), steps=()))
    assert failed.startswith("HRE: NOTHING WAS MEASURED, all 2 evaluations failed. The last said: last. Record")
    assert last(NOTHING) == f"HRE: nothing was measured, no evaluation has a score. Record: {PATH}"


def test_of_a_run_that_has_its_start_alone_too():
    failed = last(replace(BEST, beats_start=False), record(skipped("first"), skipped("last"), steps=(7,)))
    assert failed == (
        f"HRE: ONLY STEP 7 WAS MEASURED, the other 2 evaluations failed. The last said: last. Record: {PATH}"
    )


def test_what_the_file_lacks_is_told_behind_its_name():
    resumed = record({"kind": "resumed", "lost": [10, 15, 40]}, {"kind": "resumed", "lost": [5]})
    lacks = "; it LACKS the looks at steps 5, 15, 40, lost before a resume"
    assert last(BEST, resumed).endswith(f"Record: {PATH}{lacks}")
    gone = last(NOTHING, resumed, unwritten=2, refused="No space left")
    assert gone.endswith(f"{lacks}; 2 evaluations ARE NOT IN IT, the disk refused them: No space left")
