"""Before and after the model's cutoff: which side a question is on, and what a row tells of the sides."""

from __future__ import annotations

import logging
import math
from dataclasses import replace

import numpy as np
import pytest

from hre_callback import HREConfig
from hre_callback.run.about import groups_of_people, sides_of_cutoff
from hre_callback.run.cutoff import after_cutoff, cutoff_figures
from hre_callback.run.look import Terms

from ..looks import asked, played, result

DAY = "2024-05-31"


def dated(n=24, dates=("2024-05-31", "2024-06-01", None)):
    return [replace(one, date=dates[i % len(dates)]) for i, one in enumerate(asked(n))]


def test_the_day_itself_is_before():
    assert after_cutoff(dated(4), DAY) == [False, True, None, False]
    assert after_cutoff(dated(4), None) is None


def test_a_row_tells_both_sides_their_changes_and_the_difference():
    rng = np.random.default_rng(0)
    after = [False] * 60 + [True] * 40 + [None] * 20
    first = 0.3 * rng.normal(size=120)
    # The old ones rise by .1, the new ones stay.
    now = first + np.where([one is True for one in after], 0.0, 0.1) + 0.05 * rng.normal(size=120)
    start, row = cutoff_figures(after, None, first, None, seed=0), cutoff_figures(after, first, now, None, seed=0)
    levels = {f"cutoff/{side}{end}" for side in ("before", "after") for end in ("", "_low", "_high")}
    levels |= {"cutoff_n/before", "cutoff_n/after"}
    changes = {
        f"cutoff/{what}{end}"
        for what in ("before_change", "after_change", "difference")
        for end in ("", "_low", "_high")
    }
    assert start.keys() == levels and row.keys() == levels | changes
    assert (row["cutoff_n/before"], row["cutoff_n/after"]) == (60, 40)
    assert row["cutoff/before"] == pytest.approx(now[:60].mean()) and row["cutoff/before_low"] < row["cutoff/before"]
    gain = row["cutoff/before"] - start["cutoff/before"]
    assert row["cutoff/before_change"] == pytest.approx(gain) and row["cutoff/before_change_low"] > 0
    assert row["cutoff/difference"] == pytest.approx(row["cutoff/after_change"] - row["cutoff/before_change"])
    assert row["cutoff/difference_high"] < 0 and row["cutoff/after_change_low"] < 0.02


def test_a_side_without_a_question_has_its_number_alone():
    row = cutoff_figures([True, True, None], np.zeros(3), np.array([0.1, 0.2, 0.3]), None, seed=0)
    assert row["cutoff_n/before"] == 0 and "cutoff/before" not in row and "cutoff/difference" not in row
    assert row["cutoff/after_change"] == pytest.approx(0.15) and math.isnan(row["cutoff/after_change_low"])


@pytest.mark.parametrize(
    ("dates", "said"),
    [
        (("2024-05-31", "2024-06-01"), ""),
        ((None,), "No question has a date"),
        (("2020-01-01",), "0 questions are from after the cutoff"),
        (("2024-06-01", *["2020-01-01"] * 7), "3 questions are from after the cutoff"),
    ],
    ids=["both", "none", "one side", "few"],
)
def test_questions_that_tell_nothing_are_said_at_the_start(dates, said, caplog):
    with caplog.at_level(logging.WARNING):
        sides_of_cutoff(dated(dates=dates), HREConfig(cutoff=DAY))
    assert said in caplog.text and bool(caplog.text) is bool(said)


def test_people_whose_labels_are_given_without_ratings_are_said(caplog):
    people = {"country": {"ann": "IT", "bo": "DE", "ciro": "IT"}}
    told = [replace(one, groups=people, ratings={"ann": (1.0, 2.0, 3.0, 4.0)}) for one in asked(12)]
    with caplog.at_level(logging.WARNING):
        groups_of_people(told)
    assert "name 2 people such as 'bo' without a rating" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        groups_of_people([replace(one, groups={"language": "de"}) for one in asked(12)])
    assert not caplog.text


def test_without_a_cutoff_nothing_is_told():
    assert Terms(HREConfig()).after is None
    record, _ = played(Terms(HREConfig()), [result(0.0), result(0.1)])
    assert not [key for look in record.evaluations for key in look.metrics if "cutoff" in key]
