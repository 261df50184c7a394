"""What a score was divided by goes into the record, and everything that reads a score there divides by it."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from hre_callback import HREConfig, HumanRankEvalCallback, HumanRankEvaluator, Question, read_record
from hre_callback.data.questions import Answer
from hre_callback.run.record import RunRecord, answer_scores
from hre_callback.stats.correlation import pearson
from hre_callback.views.changes import most_moved, moved_questions
from hre_callback.views.reading import Reading

from ..trainers import TEXTS, questions, sft_trainer

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
NORMALIZATIONS = ("characters", "bytes", "tokens", "none")


def long_and_short():
    """Questions whose best answer is far longer than what the model is let read, some of it beyond ASCII."""
    made = []
    for i in range(8):
        texts = [" ".join(TEXTS[i : i + 12]), TEXTS[i + 1], "ü é " + TEXTS[i + 2], TEXTS[i + 3] + "!"]
        answers = tuple(Answer(text, votes) for text, votes in zip(texts, (9, 4, 1, 0), strict=True))
        made.append(Question(f"q{i}", f"why {TEXTS[i]}?", answers))
    return made


@pytest.fixture(scope="module", params=NORMALIZATIONS)
def run(request, tmp_path_factory):
    """A run whose longest answers are cut, and the results that its evaluations gave."""
    results, evaluate = [], HumanRankEvaluator.evaluate

    def keeping(self, model, progress=None):
        results.append(evaluate(self, model, progress))
        return results[-1]

    folder = tmp_path_factory.mktemp("run")
    config = HREConfig(eval_steps=1, max_length=48, normalization=request.param)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(HumanRankEvaluator, "evaluate", keeping)
        sft_trainer(folder, [HumanRankEvalCallback(long_and_short(), config)], max_steps=3).train()
    assert all(result.truncated == 8 for result in results)
    return read_record(folder), results


def test_the_record_gives_back_the_scores_that_were_correlated(run):
    record, results = run
    for look, result in zip(record.evaluations, results, strict=True):
        for i, scores in enumerate(result.scores):
            assert answer_scores(record, look, i) == list(scores)
            assert pearson(record.run.questions[i].votes, answer_scores(record, look, i)) == pytest.approx(
                look.pearson[i]
            )
        assert look.lengths == [list(row) for row in result.lengths]
        assert look.lengths[0][0] < record.run.questions[0].lengths[0], "the first answer was cut"


def test_tables_and_ranks_rest_on_these_scores(run):
    record, results = run
    columns, rows = most_moved(record)
    for row in rows:
        i = int(row[0][1:])
        for column, result in (("scores_start", results[0]), ("scores_now", results[-1])):
            assert row[columns.index(column)] == ", ".join(f"{score:.3f}" for score in result.scores[i])
    for side in moved_questions(Reading(record)):
        for one in side:
            i = int(one.question.id[1:])
            ranks = tuple(1 + sum(s > r.scores[i][0] for s in r.scores[i]) for r in (results[0], results[-1]))
            assert one.ranks == ranks


def test_length_drift_and_displacement_are_differences_of_what_each_look_says(run):
    record, results = run
    last = record.evaluations[-1].metrics
    first = record.evaluations[0].metrics
    drift = last["hre/length_bias"] - first["hre/length_bias"]
    assert last["mismatch/length_drift"] == pytest.approx(drift)
    per_character = [
        [ll[0] / n[0] for ll, n in zip(result.loglikelihoods, result.lengths, strict=True)]
        for result in (results[0], results[-1])
    ]
    top = np.mean(per_character[1]) - np.mean(per_character[0])
    assert last["mismatch/top_shift"] == pytest.approx(top)
    assert last["hre/loglikelihood_top"] - first["hre/loglikelihood_top"] == pytest.approx(top)


def test_an_older_record_without_divisors_is_still_read(run):
    record, results = run
    old = [dataclasses.replace(look, divisors=None, lengths=None) for look in record.evaluations]
    older = dataclasses.replace(record, evaluations=old)
    known = record.run.config["normalization"] == "characters"
    found = answer_scores(older, old[-1], 0)
    assert (found[1:] == pytest.approx(results[-1].scores[0][1:])) if known else (found == [None] * 4)
    rows = most_moved(older)[1]
    assert rows and all(("-, -, -, -" in row) != known for row in rows)
    for side in moved_questions(Reading(older)):
        assert all((one.ranks is not None) == known for one in side)


def test_divisors_are_put_in_the_order_of_the_run_that_resumes(tmp_path):
    asked = [{"id": f"q{i}", "votes": [1, 2], "lengths": [9, 9]} for i in range(3)]
    head = {"name": "hre", "fingerprint": "f"}
    record = RunRecord(tmp_path / "hre.jsonl")
    record.start({**head, "questions": asked}, identity={})
    values = {"pearson": [0.0, 0.1, 0.2], "loglikelihoods": [[-1.0, -2.0], [-3.0, -4.0], [-5.0, -6.0]]}
    record.append("evaluation", 0, **values, divisors=[[1, 2], [3, 4], [5, 6]], lengths=[[1, 2], [3, 4], [5, 6]])
    record.append("evaluation", 1, **values)
    again = RunRecord(tmp_path / "hre.jsonl")
    again.start({**head, "questions": asked[::-1]}, identity={}, resume_step=1)
    first, second = again.record.evaluations
    assert first.divisors == first.lengths == [[5, 6], [3, 4], [1, 2]]
    assert answer_scores(again.record, first, 0) == [-1.0, -1.0]
    assert second.divisors is None and answer_scores(again.record, second, 0) == [-5.0 / 9, -6.0 / 9]


def test_a_reward_models_numbers_are_divided_by_nothing(tmp_path):
    from ..scoring.test_rewards import reward_trainer

    reward_trainer(tmp_path, [HumanRankEvalCallback(questions(4), HREConfig(eval_steps=1))]).train()
    record = read_record(tmp_path)
    for look in record.evaluations:
        for i, numbers in enumerate(look.loglikelihoods):
            assert answer_scores(record, look, i) == numbers and all(map(math.isfinite, numbers))
