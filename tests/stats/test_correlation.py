import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from hre_callback.formatting import span
from hre_callback.run.scores import summarize, topic_table
from hre_callback.stats.correlation import (
    METRICS,
    correlate,
    partial_correlation,
    pearson,
    pearson_variance,
    question_metrics,
)

numbers = st.floats(-1e3, 1e3, allow_nan=False).map(lambda x: round(x, 3))
questions = st.integers(2, 8).flatmap(
    lambda n: st.tuples(
        st.lists(st.integers(-5, 40), min_size=n, max_size=n), st.lists(numbers, min_size=n, max_size=n)
    )
)


@settings(deadline=None)
@given(questions)
def test_agrees_with_scipy(question):
    votes, scores = question
    found = question_metrics(votes, scores)
    if np.ptp(votes) == 0:
        assert all(np.isnan(value) for value in found.values())
    elif np.ptp(scores) == 0:
        assert found["pearson"] == found["spearman"] == found["kendall"] == 0
        assert found["pair_accuracy"] == 0.5
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert found["pearson"] == pytest.approx(stats.pearsonr(votes, scores).statistic, abs=1e-9)
        assert found["spearman"] == pytest.approx(stats.spearmanr(votes, scores).statistic, abs=1e-12)
        assert found["kendall"] == pytest.approx(stats.kendalltau(votes, scores).statistic, abs=1e-12)


def test_pair_accuracy_and_top1_by_hand():
    found = question_metrics([10, 5, 5, 1], [-1.0, -2.0, -3.0, -2.0])
    # pairs with different votes: (10,5) right, (10,5) right, (10,1) right, (5,1) tie, (5,1) wrong
    assert found["pair_accuracy"] == pytest.approx((3 + 0.5 + 0) / 5)
    assert found["top1"] == 1
    assert question_metrics([10, 5], [-1.0, -1.0])["top1"] == 0.5


def test_partial_correlation_is_that_of_the_residuals():
    rng = np.random.default_rng(0)
    lengths = rng.integers(10, 300, 12)
    votes = lengths / 20 + rng.normal(size=12)
    scores = -lengths / 30 + rng.normal(size=12)

    def residual(y):
        return y - np.polyval(np.polyfit(lengths, y, 1), lengths)

    expected = stats.pearsonr(residual(votes), residual(scores)).statistic
    assert partial_correlation(votes, scores, lengths) == pytest.approx(expected)
    assert partial_correlation(votes, scores, np.full(12, 7)) == pearson(votes, scores)


def result(votes, scores, lengths=None, topics=None, styles=None):
    n = len(votes)
    lengths = lengths or [[10] * len(v) for v in votes]
    return correlate(
        fingerprint="f", ids=[f"q{i}" for i in range(n)], topics=topics or ["all"] * n, votes=votes,
        loglikelihoods=scores, divisors=[[1.0] * len(v) for v in votes], lengths=lengths, styles=styles,
    )  # fmt: skip


def test_undefined_questions_are_counted_and_left_out():
    found = result([[3, 3, 3], [3, 2, 1], [3, 2, 1]], [[-1, -2, -3], [-1, -2, -3], [-2, -2, -2]])
    assert (found.n, found.undefined, found.constant_scores) == (2, 1, 1)
    assert np.isnan(found.per_question["pearson"][0])
    assert found.score == pytest.approx((1 + 0) / 2)


def test_left_out_questions_are_undefined_everywhere():
    found = result([[3, 2], [3, 2]], [[np.nan, -1.0], [-1.0, -2.0]])
    assert all(np.isnan(found.per_question[metric][0]) for metric in METRICS)
    assert found.n == 1


def test_micro_average_and_topics():
    votes = [[2, 1]] * 4
    found = result(votes, [[-1, -2], [-2, -1], [-1, -2], [-1, -2]], topics=["a", "a", "b", "a"])
    assert found.score == pytest.approx(0.5)  # over questions, not over topics
    assert found.by_topic() == {"a": (pytest.approx(1 / 3), 3), "b": (1.0, 1)}


def test_a_length_only_scorer_is_exposed():
    rng = np.random.default_rng(0)
    lengths = [[int(x) for x in rng.integers(20, 400, 4)] for _ in range(200)]
    votes = [[int(x) for x in rng.integers(0, 40, 4)] for _ in range(200)]
    found = result(votes, [[-float(n) for n in row] for row in lengths], lengths).length_bias()
    assert found["length_bias"] == pytest.approx(-1)
    assert abs(found["votes_length"]) < 0.15


def test_a_scorer_that_follows_markdown_alone_has_no_hre_without_it():
    """People like markdown and something else; one model has seen the markdown alone, another the rest alone."""
    rng = np.random.default_rng(0)
    styles = rng.poisson(4, size=(600, 5))
    rest = 2 * rng.normal(size=(600, 5))
    votes, shape = (styles + rest).tolist(), styles.shape
    by_style = result(votes, (styles + 0.5 * rng.normal(size=shape)).tolist(), styles=styles.tolist())
    by_rest = result(votes, (rest + 0.5 * rng.normal(size=shape)).tolist(), styles=styles.tolist())
    assert by_style.score > 0.5 and abs(by_style.style_partialled()) < 0.06
    assert by_rest.style_partialled() > by_rest.score > 0.5


def test_without_markdown_it_is_hre_itself_and_unknown_where_the_marks_are():
    votes, scores = [[3, 2, 1], [1, 2, 4]], [[-1.0, -2.0, -2.5], [-1.0, -3.0, -2.0]]
    plain = result(votes, scores, styles=[[0, 0, 0], [7, 7, 7]])
    assert plain.style_partialled() == pytest.approx(plain.score)
    assert np.isnan(result(votes, scores).style_partialled())
    # of two answers that differ in style nothing is left
    assert np.isnan(result([[2, 1]], [[-1.0, -2.0]], styles=[[0, 3]]).style_partialled())


def test_displacement_shows_what_ranks_hide():
    votes = [[9, 1]] * 3
    before = result(votes, [[-10.0, -20.0]] * 3)
    after = result(votes, [[-30.0, -60.0]] * 3)
    assert before.score == after.score == 1.0
    assert before.displacement() == {"loglikelihood_top": -1.0, "loglikelihood_bottom": -2.0}
    assert after.displacement() == {"loglikelihood_top": -3.0, "loglikelihood_bottom": -6.0}


def test_empty_means_are_nan_without_a_warning():
    found = result([[1, 1]], [[-1.0, -2.0]])
    assert np.isnan(found.score) and found.n == 0


def test_noise_of_arithmetic_is_what_small_errors_do_to_the_mean():
    """Against brute force: scores off by independent errors, many times."""
    rng = np.random.default_rng(0)
    votes = rng.integers(0, 30, (5, 4))
    lls, errors = rng.normal(-300, 40, (5, 4)), rng.uniform(0.01, 0.5, (5, 4))
    divisors = rng.integers(50, 400, (5, 4))

    def score(lls, rounding=None):
        names = [str(i) for i in range(5)]
        return correlate(
            fingerprint="f", ids=names, topics=names, votes=votes.tolist(), loglikelihoods=lls.tolist(),
            divisors=divisors.tolist(), lengths=divisors.tolist(), rounding=rounding,
        )  # fmt: skip

    seen = np.std([score(lls + errors * rng.normal(size=(5, 4))).score for _ in range(1500)])
    assert score(lls, errors.tolist()).noise == pytest.approx(seen, rel=0.1)
    assert np.isnan(score(lls).noise)


def test_noise_where_r_cannot_move():
    assert np.isnan(pearson_variance([2, 2, 2], [1.0, 2.0, 3.0], [0.1] * 3))
    assert pearson_variance([1, 2, 3], [5.0, 5.0, 5.0], [0.1] * 3) == 0
    assert pearson_variance([1, 2], [3.0, 4.0], [0.1] * 2) == pytest.approx(0)


def test_the_intervals_of_a_score_are_those_of_its_clusters():
    rng = np.random.default_rng(0)
    threads = rng.normal(size=(10, 4))
    scores = [(threads[i // 8] + 0.01 * rng.normal(size=4)).tolist() for i in range(80)]
    options = dict(
        fingerprint="f", ids=[f"q{i}" for i in range(80)], topics=["a", "b"] * 40, votes=[[4, 3, 2, 1]] * 80,
        loglikelihoods=scores, divisors=[[1.0] * 4] * 80, lengths=[[1] * 4] * 80,
    )  # fmt: skip
    labels = [f"thread {i // 8}" for i in range(80)]
    alone, clustered = (summarize(correlate(**options, clusters=c)) for c in (None, labels))
    for one, other in ((alone, clustered), (alone["topics"]["a"], clustered["topics"]["a"])):
        assert one["score"] == other["score"]
        assert other["ci_high"] - other["ci_low"] > 1.5 * (one["ci_high"] - one["ci_low"])
    assert correlate(**options, clusters=[None] * 80).clusters is None
    assert correlate(**options, clusters=[None] * 79 + ["x"]).clusters == (None,) * 79 + ("x",)
    table = topic_table(correlate(**options, clusters=labels), "m")
    shown = list(table.columns[2].cells)[-1]
    assert shown == span(clustered["ci_low"], clustered["ci_high"])


def test_questions_of_many_sizes_at_once_are_each_question_by_itself():
    rng = np.random.default_rng(0)
    sizes = rng.integers(2, 9, 300)
    votes = [rng.integers(0, 4, n).tolist() for n in sizes]
    scores = [np.round(rng.normal(-1, 0.5, n), 1).tolist() for n in sizes]
    scores[5] = [np.nan] * len(scores[5])
    found = result(votes, scores)
    for i, (v, s) in enumerate(zip(votes, scores, strict=True)):
        alone = question_metrics(v, s)
        for metric in METRICS:
            assert found.per_question[metric][i] == pytest.approx(alone[metric], abs=1e-12, nan_ok=True)


def test_a_missing_number_is_no_zero_beside_constant_ones():
    assert np.isnan(pearson([1, np.nan, 3], [2.0, 2.0, 2.0]))
    assert np.isnan(pearson([1, 2, 3], [2.0, np.nan, 2.0]))
