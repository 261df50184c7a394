from __future__ import annotations

import re

from hre_callback.views.side_by_side import comparison, difference

from ..synthetic_records import flat, healthy, mismatch, reading


def test_comparison_lists_every_run_and_says_which_are_not_comparable():
    elsewhere = flat(4, n=40)
    elsewhere[0]["fingerprint"] = "0" * 16
    others = [("its", reading(flat(4, n=40))), ("far", reading(elsewhere))]
    made = comparison(reading(healthy(4, n=40)), "mine", others)
    assert [row[0] for row in made.table.rows] == ["mine", "its", "far"]
    assert made.apart == "far"
    assert made.table.rows[0][-1] == "Better for people than at the start"
    assert [(card.name, card.css) for card in made.cards] == [("mine", "own"), ("its", "other-0"), ("far", "apart")]
    assert [card.verdict.tone for card in made.cards] == ["good", "good", "good"]
    assert comparison(reading(healthy(4, n=40)), "mine", []) is None


def test_the_difference_between_two_runs_is_paired_and_says_since_when():
    up, down = (reading(lines(6, n=200, seed=0)[:7]) for lines in (healthy, mismatch))
    down.__dict__["steps"] = up.steps
    said = difference("down", down, "up", up)
    assert re.fullmatch(
        r"At step 250, up against down: higher, \+0\.\d{3} \(paired 95 % \+0\.\d{3} to \+0\.\d{3}\)\. "
        r"So at every look since step \d+, each taken by itself\.",
        said,
    )
    assert said.replace("up against down: higher, +", "") != difference("up", up, "down", down)
    assert "down against up: lower, −" in difference("up", up, "down", down)
    assert "has not moved (+0.000 to +0.000)." in difference("a", up, "b", up)


def test_questions_are_paired_by_their_ids_whatever_their_order():
    lines = healthy(4, n=60)
    one = reading(lines)
    turned = [{**lines[0], "questions": lines[0]["questions"][::-1]}]
    turned += [
        {**line, "pearson": line["pearson"][::-1], "loglikelihoods": line["loglikelihoods"][::-1]}
        for line in lines[1:]
        if line["kind"] == "evaluation"
    ]
    assert "has not moved" in difference("a", one, "b", reading(turned))


def test_runs_that_share_no_step_but_the_start_have_no_difference():
    one = reading(healthy(4, n=40))
    assert difference("a", one, "b", reading(healthy(4, n=40, every=70))) is None
    assert difference("a", one, "b", reading(healthy(4, n=40)[:2])) is None
