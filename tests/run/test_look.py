"""What an evaluation means, by values: row, verdict, decision, summary; from a record, without torch or a Trainer."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import numpy as np
import pytest

from hre_callback import HREConfig
from hre_callback.run.comparison import compare_series
from hre_callback.run.keys import proxy_row, score_of
from hre_callback.run.lines import Summary
from hre_callback.run.look import Terms, decided, join, summary, terms_of, verdict_of
from hre_callback.run.record import Record
from hre_callback.run.words import console_line
from hre_callback.stats.ceiling import Ceiling
from hre_callback.stats.human_hre import HumanHRE
from hre_callback.stats.stopping import decide

from .. import records
from ..looks import EVERY, logs, played, result, run_line

FALLING = [result(0.1 - 0.015 * t) for t in range(7)]
RISING = [result(0.02 * t) for t in range(4)]
FLAT = [result(0.05), result(0.0501), result(0.0502)]
# What a look has beside the plain figures of its result.
FIRST = {"ci_low", "ci_high", "human_ceiling"}
LATER = {"delta_start", "delta_start_low", "delta_start_high", "p_drop", "rho", "mde", "signal_to_noise"}


def terms(**options):
    fields = {key: options.pop(key) for key in list(options) if key in Terms.__dataclass_fields__}
    return Terms(HREConfig(**options), **{"planned_looks": 6, **fields})


def keys_of(row, prefix="hre/"):
    return {key.removeprefix(prefix) for key in row if key.startswith(prefix)}


def test_the_first_evaluation_has_its_own_figures_and_no_verdict():
    found = RISING[1]
    outcome = join(terms(ceiling=Ceiling(0.7)), Record(run_line(terms())), 0, found, [])
    row = outcome.row
    assert outcome.score == found.score == row["hre/score"] == pytest.approx(0.12, abs=0.06)
    assert keys_of(row) >= FIRST and not keys_of(row) & LATER
    assert row["hre/ci_low"] < found.score < row["hre/ci_high"] and row["hre/human_ceiling"] == 0.7
    assert row["hre/n"] == 200 and {"hre/topic/topic0", "hre/topic/topic1"} <= row.keys()
    assert row["mismatch/human_policy"] == pytest.approx(found.score)
    assert (outcome.verdict, outcome.stop, outcome.save, outcome.alert, outcome.proxies) == (None,) * 4 + ({},)


def test_every_later_one_is_held_against_the_first_on_the_same_questions():
    record, outcomes = played(terms(), RISING)
    values = [found.per_question["pearson"] for found in RISING]
    for outcome, r in zip(outcomes[1:], values[1:], strict=True):
        row = outcome.row
        assert keys_of(row) == keys_of(outcomes[0].row) | LATER
        assert row["hre/delta_start"] == pytest.approx((r - values[0]).mean())
        assert row["hre/rho"] == pytest.approx(np.corrcoef(r, values[0])[0, 1])
        assert row["hre/delta_start_low"] < row["hre/delta_start"] < row["hre/delta_start_high"]
        assert 0 < row["hre/mde"] < 0.1 and row["hre/p_drop"] > 0.5
        assert outcome.verdict.name == "aligned" and row["mismatch/verdict"] == 0
    assert outcomes[-1].score > outcomes[0].score + 0.2


def test_the_signals_are_means_since_the_evaluation_before():
    _, outcomes = played(terms(), RISING[:3])
    means = [np.mean([2 - 0.01 * step for step in steps]) for steps in (range(1, 11), range(11, 21))]
    assert [outcome.proxies for outcome in outcomes] == [{}, *({"train/loss": pytest.approx(m)} for m in means)]  # fmt: skip
    assert proxy_row(outcomes[1].proxies) == {"hre/proxy/train/loss": pytest.approx(means[0])}


def test_a_loss_that_improves_while_hre_falls_is_a_mismatch_which_is_told_once():
    record, outcomes = played(terms(stop_rule="mismatch"), FALLING)
    names = [outcome.verdict and outcome.verdict.name for outcome in outcomes]
    assert names[:2] == [None, "watch"] and set(names[2:]) == {"mismatch"}
    assert [bool(outcome.alert) for outcome in outcomes] == [name == "mismatch" and i == 2 for i, name in enumerate(names)]  # fmt: skip
    at_once = outcomes[2]
    assert at_once.stop == at_once.verdict.reason
    assert at_once.alert.startswith(f"{at_once.verdict.reason}. To change: ")
    assert at_once.stop.startswith("train/loss improves while HRE is 0.")
    assert at_once.row["mismatch/verdict"] == 2 and 0 < at_once.row["mismatch/false_alarm"] <= 0.05
    assert [look.verdict for look in record.evaluations] == names


@pytest.mark.parametrize("loss", [0.0, 0.01])
def test_a_fall_while_no_signal_improves_is_no_mismatch(loss):
    _, outcomes = played(terms(stop_rule="mismatch"), FALLING, loss=loss)
    # Which way training pushes needs no signal.
    assert {outcome.verdict.name for outcome in outcomes[1:]} <= {"aligned", "watch"}
    assert {outcome.verdict.cause for outcome in outcomes[1:]} <= {"", "push"}
    assert not any(outcome.stop or outcome.alert for outcome in outcomes)


def test_a_signal_of_the_user_s_own_counts_the_way_that_was_told():
    rows = [{"my_metric": -0.1 * step, "step": step} for step in range(1, 61)]
    names = {}
    for way in ("up", "down"):
        told = terms(directions={"my_metric": way})
        record, _ = played(told, FALLING[:6], loss=0.0)
        names[way] = join(told, record, 60, FALLING[6], rows).verdict.name
    assert names == {"up": "watch", "down": "mismatch"}


@pytest.mark.parametrize("rule", ["never", "drop_from_start", "drop_from_best", "patience"])
@pytest.mark.parametrize("results", [FALLING, RISING], ids=["falling", "rising"])
def test_the_stop_is_the_rule_s_on_the_terms_of_the_run(rule, results):
    settings = {"alpha": 0.02, "min_delta": 0.02, "consecutive": 3, "patience": 2, "seed": 5}
    _, outcomes = played(terms(stop_rule=rule, **settings), results)
    values = np.stack([found.per_question["pearson"] for found in results])
    for t, outcome in enumerate(outcomes):
        steps = [EVERY * s for s in range(t + 1)]
        said = decide(rule, steps, values[: t + 1], planned_looks=6, **settings)
        assert outcome.stop == (said.reason if said.stop else None)
    assert any(outcome.stop for outcome in outcomes) == (results is FALLING and rule != "never")


def test_a_checkpoint_is_kept_when_it_is_better_than_all_before_it_which_the_first_cannot_be():
    saves = [o.save for o in played(terms(save_best=True), [RISING[1], RISING[2], RISING[2], RISING[0]])[1]]
    assert [bool(save) for save in saves] == [False, True, False, False]
    assert saves[1] == f"HRE {RISING[2].score:.4f} is the best so far"
    assert not any(outcome.save for outcome in played(terms(), RISING)[1])


def test_clusters_widen_the_interval():
    pairs = [f"c{i // 8}" for i in range(200)]
    alone, together = (played(terms(clusters=c), RISING[:2])[1][1].row for c in (None, pairs))
    assert alone["hre/delta_start"] == together["hre/delta_start"]
    assert alone["hre/ci_low"] != together["hre/ci_low"]


def test_the_scores_of_a_reward_model_have_no_log_likelihoods_and_no_implicit_reward():
    rows = [played(terms(scores_are_rewards=flag), RISING[:2])[1][1].row for flag in (False, True)]
    gone = rows[0].keys() - rows[1].keys()
    assert {"hre/loglikelihood_top", "mismatch/human_implicit", "mismatch/top_shift"} <= gone
    assert rows[1]["mismatch/human_reward"] == pytest.approx(RISING[1].score)


def test_an_explicit_reward_closes_the_triangle():
    rewards = [list(range(4, 0, -1))] * 200
    _, outcomes = played(terms(rewards=rewards), RISING[:2])
    r = np.corrcoef(rewards[0], (9, 4, 1, 0))[0, 1]
    assert [outcome.row["mismatch/human_reward"] for outcome in outcomes] == pytest.approx([r, r])


def test_a_figure_that_is_not_known_has_no_key_of_its_own_or_is_not_a_number():
    without, with_both = (
        played(terms(**f), RISING[:1])[1][0].row
        for f in ({}, {"ceiling": Ceiling(0.7), "human": HumanHRE(0.4, 0.3, 0.5, 40, 2)})
    )
    assert math.isnan(without["hre/human_ceiling"]) and "hre/human_hre" not in without
    assert (with_both["hre/human_ceiling"], with_both["hre/human_hre"]) == (0.7, 0.4)


def test_questions_that_were_left_out_count_nowhere():
    few = [result(gain, left_out=[0, 7]) for gain in (0.05, 0.06)]
    record, outcomes = played(terms(), [few[0], RISING[3], few[1]])
    assert [outcome.row["hre/n"] for outcome in outcomes] == [198, 200, 198]
    assert record.evaluations[0].loglikelihoods[7] == [None] * 4 and record.evaluations[0].pearson[7] is None
    values = [found.per_question["pearson"] for found in (few[0], RISING[3])]
    assert outcomes[1].row["hre/delta_start"] == pytest.approx(np.nanmean(values[1] - values[0]))


def test_a_second_callback_has_keys_of_its_own():
    mine = [played(terms(name=name, save_best=True), RISING)[1] for name in ("hre", "beer")]
    for one, other in zip(*mine, strict=True):
        renamed = {key.replace("beer/mismatch/", "mismatch/").replace("beer/", "hre/"): v for key, v in other.row.items()}  # fmt: skip
        assert renamed == pytest.approx(one.row, nan_ok=True) and other.save == one.save
        assert all(key.startswith("beer/") for key in other.row)


def test_a_look_changes_nothing_and_says_the_same_again():
    record, _ = played(terms(), FALLING[:3])
    before, told = copy.deepcopy(record), logs(30)
    first, second = (join(terms(), record, 30, FALLING[3], told) for _ in range(2))
    assert record == before and told == logs(30)
    assert first.row == pytest.approx(second.row, nan_ok=True, rel=0, abs=0)
    assert replace(first, row={}) == replace(second, row={})


@pytest.mark.parametrize("resumed_at", range(1, 6))
def test_a_run_that_is_resumed_anywhere_decides_as_one_that_was_not(resumed_at):
    told = terms(stop_rule="drop_from_best", save_best=True)
    whole, outcomes = played(told, FALLING)
    kept = Record(whole.run, whole.evaluations[:resumed_at])
    again, later = played(told, FALLING[resumed_at:], onto=kept)
    assert again == whole
    assert [(o.stop, o.save, o.alert) for o in later] == [(o.stop, o.save, o.alert) for o in outcomes[resumed_at:]]  # fmt: skip


@pytest.mark.parametrize("seed", [0, 3])
def test_a_replay_from_the_record_says_what_the_run_said(seed):
    """Differences and intervals, and the stop of the run's own rule, also where the seed is not the usual one."""
    settings = {"seed": seed, "alpha": 0.02, "consecutive": 3, "patience": 2}
    for rule in ("drop_from_start", "drop_from_best", "mismatch", "patience"):
        record, outcomes = played(terms(stop_rule=rule, **settings), FALLING)
        replayed = compare_series(record)
        said = next(((t * EVERY, o.stop) for t, o in enumerate(outcomes) if o.stop), None)
        assert said is not None and replayed.stops[rule] == said
    for found, outcome in zip(replayed.comparisons, outcomes[1:], strict=True):
        row = outcome.row
        assert [found.delta, found.low, found.high, found.rho, found.mde] == [
            row[f"hre/{key}"] for key in ("delta_start", "delta_start_low", "delta_start_high", "rho", "mde")
        ]


def test_the_terms_of_a_record_are_those_of_its_run():
    told = terms(alpha=0.02, min_delta=0.03, consecutive=4, patience=7, seed=9, planned_looks=11)
    found = terms_of(run_line(told))
    for key in ("alpha", "min_delta", "consecutive", "patience", "seed"):
        assert getattr(found.config, key) == getattr(told.config, key)
    assert found.planned_looks == 11 and found.clusters is None
    run = records.of({"questions": [{"id": "a", "cluster": "c"}, {"id": "b", "cluster": None}]}).run
    assert terms_of(run) == Terms(HREConfig(), clusters=("c", None))


def test_a_word_or_a_setting_of_a_later_version_stops_no_replay():
    run = replace(run_line(terms()), config={"stop_rule": "by_the_moon", "seed": 4, "moons": 2})
    assert terms_of(run).config == HREConfig(seed=4)
    moon, none = records.of(looks=[{"step": 0, "verdict": "eclipse"}, {"step": 1}]).evaluations
    assert verdict_of(moon) is None and verdict_of(none) is None
    values = np.stack([found.per_question["pearson"] for found in RISING])
    assert not decided("mismatch", terms(), [0, 10, 20, 30], values, verdict_of(moon)).stop


def test_a_recorded_verdict_is_read_back():
    record, outcomes = played(terms(), FALLING)
    for look, outcome in zip(record.evaluations[1:], outcomes[1:], strict=True):
        found = verdict_of(look)
        assert (found.name, found.reason) == (outcome.verdict.name, outcome.verdict.reason)
        assert math.isnan(found.false_alarm)
    assert score_of(record.evaluations[2], "hre") == FALLING[2].score
    assert (
        score_of(record.evaluations[2], "beer") is None
        and score_of(records.of(looks=[{"step": 0}]).evaluations[0], "hre") is None
    )


def test_a_rising_run_beats_its_start():
    record, outcomes = played(terms(), RISING)
    found = summary(terms(), record)
    assert (found.start, found.last) == (RISING[0].score, RISING[3].score)
    assert (found.best, found.best_step, found.beats_start) == (RISING[3].score, 30, True)
    assert found.best_fair == pytest.approx(RISING[3].score, abs=0.05) and found.verdict == "aligned"


def test_a_falling_run_does_not_and_luck_alone_does_not_either():
    assert summary(terms(), played(terms(), FALLING)[0]).beats_start is False
    lucky = summary(terms(), played(terms(), FLAT)[0])
    assert lucky.pooled is lucky.pooled_step is lucky.pooled_fair is None
    assert lucky.best >= lucky.start and lucky.best_fair <= lucky.best


def test_the_best_of_the_pooled_curve_is_not_the_one_high_look():
    values = [0.0, 0.02, 0.2, 0.0, 0.13, 0.15, 0.14, 0.1]
    found = summary(terms(), played(terms(), [result(value) for value in values])[0])
    assert (found.best_step, found.pooled_step) == (20, 50)
    scores = [result(value).score for value in values]
    assert found.pooled == pytest.approx(sum(scores[4:7]) / 3) and found.pooled_fair == pytest.approx(
        scores[5], abs=0.06
    )


def test_the_p_of_the_push_is_that_of_the_test_that_the_verdict_makes():
    _, outcomes = played(terms(planned_looks=6), FALLING)
    for outcome in outcomes[1:]:
        assert outcome.row["mismatch/p_push"] == outcome.verdict.p_push
    assert "mismatch/p_push" not in outcomes[0].row
    assert outcomes[-1].row["mismatch/p_push"] < 0.01 and outcomes[-1].row["mismatch/push_high"] < 0
    told = terms(scores_are_rewards=True)
    assert not {"mismatch/p_push", "mismatch/push"} & played(told, FALLING[:3])[1][-1].row.keys()


def test_where_nothing_was_measured_there_is_nothing_to_sum_up():
    nothing = [result(0.1, left_out=range(200))]
    for record in (Record(run_line(terms())), played(terms(), nothing)[0]):
        assert summary(terms(), record) == Summary()


def test_what_to_change_is_said_when_a_cause_begins_and_not_again():
    _, outcomes = played(terms(), FALLING)
    told = [bool(outcome.advice) for outcome in outcomes]
    causes = ["", *(outcome.verdict.cause for outcome in outcomes[1:])]
    assert told == [False, *(now not in ("", before) for before, now in zip(causes, causes[1:], strict=False))]
    assert sum(told) >= 1
    first = outcomes[told.index(True)]
    assert first.advice in console_line("hre", 10, first)


def test_groups_of_people_stand_in_the_row_from_the_start_on():
    votes = [list(row) for row in RISING[0].votes]
    half = len(votes) // 2
    groups = {"l/a": votes[:half] + [()] * (len(votes) - half), "l/b": [()] * half + votes[half:]}
    _, outcomes = played(terms(groups=groups), RISING)
    assert "hre/group_change/l/a" not in outcomes[0].row and "hre/group_change/l/a" in outcomes[1].row
    for found, outcome in zip(RISING, outcomes, strict=True):
        r = found.per_question["pearson"][:half]
        assert outcome.row["hre/group/l/a"] == pytest.approx(np.nanmean(r))
        assert outcome.row["hre/group_n/l/b"] == np.isfinite(found.per_question["pearson"][half:]).sum()
    assert not [key for key in played(terms(), RISING)[1][1].row if "/group" in key]
