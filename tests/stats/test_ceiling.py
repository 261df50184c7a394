"""The human ceiling by what the votes were made of, against what a model that knows people's opinion reaches."""

import math

import numpy as np
import pytest

from hre_callback.stats.ceiling import are_counts, expected_r, human_ceiling
from hre_callback.stats.correlation import pearson


def value(*args, **more):
    return human_ceiling(*args, **more).value


@pytest.mark.parametrize("answers", [2, 4])
@pytest.mark.parametrize("size", [1.0, 3.0, 10.0, 40.0])
def test_of_counts_it_is_what_a_perfect_model_reaches(size, answers):
    """Votes are Poisson around a true quality; the perfect model knows the quality."""
    rng = np.random.default_rng(0)
    quality = size * rng.gamma(1.5, size=(3000, answers))
    votes = rng.poisson(quality)
    reached = np.nanmean(pearson(votes, quality))
    found = human_ceiling(votes.tolist(), counted=[True] * 3000)
    # A vote and a half an answer on average, of two answers: the normal approximation is at its end.
    near = 0.08 if (size, answers) == (1.0, 2) else 0.03
    assert found.value == pytest.approx(reached, abs=near) and (found.source, found.n) == ("counts", 3000)


def rated(kind, answers, people, noise, *, unequal=False, missing=0.0, n=1000, seed=0):
    """Ratings of questions, the votes that they come to, and what a model reaches that knows everybody's opinion."""
    rng = np.random.default_rng(seed)
    ratings, votes, reached = [], [], []
    while len(votes) < n:
        quality = rng.normal(size=answers)
        asked = int(rng.integers(1, people + 1)) if unequal else people
        seen = quality + noise * rng.normal(size=(asked, answers))
        if kind == "ranks":
            seen = seen.argsort(-1).argsort(-1).astype(float)
        elif kind == "scale":
            seen = np.clip(np.round(3 + seen), 1, 5)
        elif kind == "choice":
            chances = np.exp(quality / noise) / np.exp(quality / noise).sum()
            seen, quality = np.eye(answers)[rng.choice(answers, size=asked, p=chances)], chances
        elif kind == "preference":
            apart = np.clip(np.round(seen[:, 1] - seen[:, 0]), -3, 3)
            seen = np.stack([-apart / 2, apart / 2], axis=1)
        seen[rng.random(seen.shape) < missing] = np.nan
        if not np.isfinite(seen).any(axis=0).all():
            continue
        rows = {f"p{i}": [None if np.isnan(x) else x for x in row] for i, row in enumerate(seen.tolist())}
        ratings.append({who: row for who, row in rows.items() if any(x is not None for x in row)})
        votes.append(np.nanmean(seen, axis=0).tolist())
        reached.append(pearson(votes[-1], quality))
    return ratings, votes, np.nanmean(reached)


@pytest.mark.parametrize(
    ("kind", "answers", "people", "more"),
    [
        ("scale", 4, 2, {}),
        ("scale", 4, 3, {"unequal": True, "missing": 0.2}),
        ("scale", 2, 3, {"unequal": True}),
        ("ranks", 4, 10, {"unequal": True}),
        ("choice", 4, 10, {}),
        ("choice", 4, 10, {"unequal": True}),
        ("choice", 2, 2, {}),
        ("choice", 2, 4, {}),
        ("choice", 2, 9, {"unequal": True}),
        ("preference", 2, 3, {}),
        ("preference", 2, 3, {"unequal": True}),
    ],
)
def test_of_annotators_it_is_what_a_perfect_model_reaches(kind, answers, people, more):
    """Few of them, as many to a question or not, of all answers or not, two answers or four."""
    ratings, votes, reached = rated(kind, answers, people, 0.7, **more)
    found = human_ceiling(votes, ratings)
    assert found.value == pytest.approx(reached, abs=0.04) and found.source == "annotators"
    assert found.n == sum(len(question) > 1 for question in ratings) or more.get("missing")


def test_people_who_do_not_agree_at_all_have_a_low_ceiling():
    ratings, votes, _ = rated("scale", 4, 2, 50.0)
    assert value(votes, ratings) < 0.25


def test_expected_r_is_that_of_samples():
    assert expected_r(0.6, 2) == pytest.approx(2 * math.asin(0.6) / math.pi)
    pairs = np.random.default_rng(0).multivariate_normal([0, 0], [[1, 0.9], [0.9, 1]], size=(20000, 4))
    assert expected_r(0.9, 4) == pytest.approx(pearson(pairs[..., 0], pairs[..., 1]).mean(), abs=0.005)
    assert expected_r(0.9, 5000) == pytest.approx(0.9, abs=1e-3) and expected_r(np.ones(2), 2) == pytest.approx([1, 1])


COUNTS = [[40, 3, -7, 1], [12, -3, 2, 0], [5, 4, 0, 30]]


@pytest.mark.parametrize(
    ("votes", "counts"),
    [
        (COUNTS, True),
        ([[40.0, 3.0, 1.0]], True),
        ([[40, 3], [4.5, 1]], False),
        ([[1, 0], [0, 1]], False),
        ([[1, 2, 5], [3, 10, 1]], False),
        ([[0, -1, -2], [-2, 0, -14]], False),
        ([list(range(12)), list(range(12, 0, -1))], False),
        ([[1.3, -0.4], [0.1, 20.2]], False),
        ([[math.log1p(40), 0.0]], False),
        ([], False),
    ],
    ids=["net votes", "as floats", "means", "labels", "scale", "minus ranks", "ranks", "z-scores", "logs", "none"],
)
def test_what_looks_like_counts(votes, counts):
    assert are_counts(votes) is counts
    if votes:
        assert human_ceiling(votes).source == ("counts" if counts else "no counts")


def test_a_declaration_stands_above_the_look_of_the_values():
    few = [[3, 1, 0], [2, 5, 1], [4, 0, 1]]
    assert human_ceiling(few, counted=[True] * 3).source == "counts"
    assert human_ceiling(COUNTS, counted=[None, False, None]) == human_ceiling(COUNTS, counted=[False] * 3)
    assert human_ceiling(COUNTS, counted=[False] * 3).source == "no counts"
    assert human_ceiling([[0.5, 1.5]], counted=[True]).source == "no counts", "a mean is no count, whoever says so"


def test_ratings_that_the_votes_were_not_made_of_tell_nothing_of_the_votes():
    """Two colleagues who rank answers that a forum voted on: the ceiling is still that of the forum's votes."""
    rng = np.random.default_rng(0)
    votes = rng.poisson(20 * rng.gamma(1.5, size=(100, 4))).tolist()
    colleagues = [{who: rng.permutation(4).tolist() for who in "ab"} for _ in votes]
    assert human_ceiling(votes, colleagues) == human_ceiling(votes)
    assert human_ceiling([[v / 7 for v in row] for row in votes], colleagues).source == "no counts"


@pytest.mark.parametrize(("two", "n"), [(0, 0), (5, 5)])
def test_of_one_rater_there_is_none(two, n):
    ratings, votes, _ = rated("scale", 4, 2, 0.7, n=40)
    few = [question if i < two else {"p0": question["p0"]} for i, question in enumerate(ratings)]
    made = [np.mean(list(question.values()), axis=0).tolist() for question in few]
    found = human_ceiling(made, few)
    assert math.isnan(found.value) and (found.source, found.n) == ("few raters", n)


def test_of_nothing_and_of_votes_that_are_alike():
    assert human_ceiling([[3, 3, 3]]).source == "alike" and math.isnan(value([[3, 3, 3]]))
    assert 0 <= value(COUNTS) <= 1


def test_a_seed_splits_as_it_always_has():
    votes = np.random.default_rng(0).geometric(0.1, (200, 4)).tolist()
    assert value(votes) == pytest.approx(0.8923376669952744, abs=1e-12)
    ratings, votes, _ = rated("scale", 4, 3, 0.7, n=50)
    assert value(votes, ratings) == value(votes, ratings) != value(votes, ratings, seed=1)
