from __future__ import annotations

import math

import numpy as np
import pytest

from hre_callback.data.questions import Answer, Question
from hre_callback.run.groups import LEAST_QUESTIONS, MOST_GROUPS, group_figures, group_votes


def question(i, groups, ratings=None, votes=(3, 1, 2)):
    return Question(
        f"q{i}", "Why?", tuple(Answer(f"a{k}", v) for k, v in enumerate(votes)), ratings=ratings, groups=groups
    )


def test_a_label_of_the_question_takes_its_votes():
    asked = [question(i, {"language": "de" if i % 2 else "fr"}) for i in range(30)]
    kept, left_out = group_votes(asked)
    assert list(kept) == ["language/de", "language/fr"] and left_out == 0
    assert kept["language/de"][:2] == [(), [3, 1, 2]]


def test_labels_of_annotators_take_the_mean_of_their_ratings():
    ratings = {"a": (1.0, None, 3.0), "b": (3.0, None, 4.0), "c": (0.0, 5.0, 1.0)}
    country = {"a": "IT", "b": "IT", "c": "DE", "nobody": "DE"}
    kept, _ = group_votes([question(i, {"country": country}, ratings) for i in range(12)])
    assert kept["country/IT"][0] == [2.0, None, 3.5] and kept["country/DE"][0] == [0.0, 5.0, 1.0]


@pytest.mark.parametrize(
    "groups, left_out",
    [
        (lambda i: None, 0),
        (lambda i: {"language": "de"}, 0),
        (lambda i: {"country": {"a": "IT", "b": "DE"}}, 0),
        (lambda i: {"language": f"l{i}"}, 12),
    ],
    ids=["none", "one value", "annotators without ratings", "one question each"],
)
def test_what_tells_no_group_apart_is_no_group(groups, left_out):
    assert group_votes([question(i, groups(i)) for i in range(12)]) == ({}, left_out)


def test_of_many_groups_the_largest_are_kept_and_the_rest_is_counted():
    asked = [question(i, {"town": f"t{i % 25:02}"}) for i in range(25 * LEAST_QUESTIONS + 3)]
    kept, left_out = group_votes(asked)
    assert len(kept) == MOST_GROUPS and left_out == 5
    assert list(kept)[:4] == ["town/t00", "town/t01", "town/t02", "town/t03"]


def test_a_model_that_learns_one_groups_ranking_moves_towards_it_alone():
    rng = np.random.default_rng(0)
    first = rng.normal(size=(60, 4))
    taste = {"country/IT": rng.normal(size=(60, 4)).tolist(), "country/DE": rng.normal(size=(60, 4)).tolist()}
    now = first + 0.8 * np.array(taste["country/IT"])
    start = group_figures(taste, None, first.tolist(), None)
    row = group_figures(taste, first.tolist(), now.tolist(), None)
    assert set(start) == {
        f"{key}/country/{who}" for key in ("group", "group_low", "group_high", "group_n") for who in ("IT", "DE")
    }
    assert row["group_change_low/country/IT"] > 0.2 and row["group_n/country/IT"] == 60
    assert row["group_change_low/country/DE"] < 0 < row["group_change_high/country/DE"]
    gain = row["group/country/IT"] - start["group/country/IT"]
    assert row["group_change/country/IT"] == pytest.approx(gain)


def test_a_question_that_was_left_out_says_nothing_of_its_group():
    taste = {"g/a": [[1, 2], [2, 1]], "g/b": [[1, 2], ()]}
    row = group_figures(taste, [[0.0, 1.0], [None, None]], [[0.0, 1.0], [None, None]], None)
    assert row["group_n/g/a"] == 1 and row["group/g/a"] == 1 and math.isnan(row["group_low/g/a"])
