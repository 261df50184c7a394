"""One evaluation joined to those before: its row, its verdict, what follows of it. Pure functions.

What is decided is a function of the record, the terms and the result alone: no disk, no clock, no torch, no Trainer. So
a resumed run, another rank, and a replay made later from the record all come to the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from ..config import NUMERIC_OPTIONS, HREConfig
from ..stats.ceiling import Ceiling
from ..stats.correlation import HREResult
from ..stats.curve import LEAST_POOLED, WINDOW, signal_to_noise
from ..stats.human_hre import HumanHRE
from ..stats.mismatch import History, measure
from ..stats.significance import (
    bootstrap_interval,
    cross_fit_best,
    drop_from_start,
    known_clusters,
    paired_difference,
)
from ..stats.stopping import Decision, decide
from ..stats.verdict import CAUSES, LEVELS, Cause, Verdict, VerdictName, judge
from .advice import advice
from .cutoff import After, cutoff_figures
from .drifts import probe_figures
from .groups import GroupVotes, group_figures
from .keys import flatten, mismatch_prefix, score_of
from .lines import Evaluation, RunLine, Summary
from .proxies import Direction, directions, improved, proxies_since
from .record import Record, answer_scores, plain

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Terms:
    """On what terms a run's evaluations are judged, from its first to its last.

    Attributes:
        clusters: (questions,) labels, `None` when no question has one.
        planned_looks: evaluations after the baseline, `None` when unknown.
        directions: which way is better, for training signals of the user's.
        rewards: explicit reward of every answer, (questions, answers); `None` without one.
        scores_are_rewards: whether the scores are a reward model's own numbers and not log-likelihoods.
        groups: votes of every group of people, see `groups.group_votes`.
        after: which questions are from after the model's cutoff, see `cutoff.after_cutoff`.
        ceiling, human: figures that stand beside HRE; NaN where they are not known.
    """

    config: HREConfig
    clusters: Sequence[str | None] | None = None
    planned_looks: int | None = None
    directions: Mapping[str, Direction] = field(default_factory=dict)
    rewards: Sequence[Sequence[float | None]] | None = None
    scores_are_rewards: bool = False
    ceiling: Ceiling = Ceiling()
    human: HumanHRE = HumanHRE()
    groups: GroupVotes = field(default_factory=dict)
    after: After | None = None


@dataclass(frozen=True)
class Outcome:
    """What one evaluation means for the run.

    Attributes:
        score: HRE, a plain float.
        row: flat metrics under the keys of `keys`.
        proxies: the training signals since the last evaluation, under their W&B names.
        verdict: whether objective and people part ways; `None` at the baseline.
        stop, save: why to stop the run or to keep this checkpoint, in a sentence; `None` for no.
        alert: what a person should hear of now: objective and people begin to part ways.
        advice: what to change, where the verdict has a cause that it did not have on the look before.
        line: one line for the person at the console.
    """

    score: float
    row: dict[str, float]
    proxies: dict[str, float]
    verdict: Verdict | None = None
    stop: str | None = None
    save: str | None = None
    alert: str | None = None
    advice: str = ""
    line: str = ""

    def timed(self, name: str, seconds: float, overhead: float | None) -> Outcome:
        """The same with what a clock showed in its row; without an overhead where HRE takes nothing of training."""
        shown = {f"{name}/seconds": seconds} | ({} if overhead is None else {f"{name}/overhead": overhead})
        return replace(self, row={**self.row, **shown})


def terms_of(run: RunLine) -> Terms:
    """The terms that a run line tells, for a replay; what it does not tell is as in a new `HREConfig`."""
    config = HREConfig(**{key: run.config[key] for key in NUMERIC_OPTIONS if key in run.config})
    clusters = known_clusters([question.cluster for question in run.questions])
    return Terms(config, clusters, run.planned_looks)


def join(
    terms: Terms, record: Record, step: int, result: HREResult, log_history: Sequence[Mapping[str, Any]]
) -> Outcome:
    """What a result means for the run whose record holds the evaluations before it.

    Args:
        step: of the result, greater than those of the record.
        log_history: the Trainer's; the training signals since the last evaluation are read from it.
    """
    config, looks = terms.config, record.evaluations
    proxies = proxies_since(log_history, looks[-1].step if looks else -1, step, terms.directions)
    steps, values = record.pearson_matrix()
    steps, values = [*steps, step], np.vstack([values, result.per_question["pearson"]])
    history = _history(terms, looks, steps, values, result, proxies, log_history)
    measured = measure(history, seed=config.seed, scores_are_rewards=terms.scores_are_rewards)
    verdict = _judged(terms, history) if looks else None
    if verdict is not None:
        measured |= {"verdict": LEVELS[verdict.name], "false_alarm": verdict.false_alarm}
        if not terms.scores_are_rewards:
            measured["p_push"] = verdict.p_push
    decision = decided(config.stop_rule, terms, steps, values, verdict)
    return Outcome(
        score=result.score,
        row=_row(terms, result, values, measured)
        | _groups_of(terms, record, result)
        | _cutoff_of(terms, values)
        | _probes_of(terms, looks, result),
        proxies=proxies,
        verdict=verdict,
        stop=decision.reason if decision.stop else None,
        save=_save(config, looks, result.score),
        alert=_alert(verdict, looks, proxies) if verdict else None,
        advice=advice(verdict.cause, proxies) if verdict and not _same_cause(verdict, looks) else "",
    )


def decided(rule: str, terms: Terms, steps: Sequence[int], values: FloatArray, verdict: Verdict | None) -> Decision:
    """What a stop rule says on these terms after the last look.

    Args:
        steps: (looks,).
        values: (looks, questions) per-question Pearson r.
        verdict: of the last look, `None` at the baseline.
    """
    config = terms.config
    return decide(
        rule,
        steps,
        values,
        alpha=config.alpha,
        min_delta=config.min_delta,
        consecutive=config.consecutive,
        patience=config.patience,
        planned_looks=terms.planned_looks,
        clusters=terms.clusters,
        seed=config.seed,
        target=config.target,
        verdict=verdict,
    )


def verdict_of(look: Evaluation) -> Verdict | None:
    """The verdict that was taken at a recorded evaluation.

    It went by all values that had been logged, which the record does not hold: it is read and not judged again.
    """
    if look.verdict not in LEVELS:
        return None
    cause = look.cause if look.cause in CAUSES else ""
    return Verdict(cast(VerdictName, look.verdict), look.reason or "", math.nan, cast(Cause, cause))


def fields_of(outcome: Outcome, result: HREResult, name: str) -> dict[str, Any]:
    """What the record's line says of an evaluation, beside when it was."""
    verdict = outcome.verdict
    return {
        "seconds": outcome.row.get(f"{name}/seconds"),
        "metrics": outcome.row,
        "proxies": outcome.proxies,
        "verdict": verdict and verdict.name,
        "reason": (verdict and verdict.reason) or None,
        "cause": (verdict and verdict.cause) or None,
        "loglikelihoods": result.loglikelihoods,
        "divisors": result.divisors,
        "lengths": result.lengths,
        "pearson": result.per_question["pearson"],
        "probes": result.probes,
    }


def summary(terms: Terms, record: Record) -> Summary:
    """Start, best and last score, the step of the best, and whether any checkpoint beats the start.

    The best of many noisy looks is too good, so `beats_start` asks the cross-fit value of the best look
    (`best_fair`: chosen on one half of the questions, read on the other) to lie above the start.

    `pooled_step` is the best of the curve pooled over neighbouring looks: noise moves it less than `best_step`, and a
    peak of a single look is lost to it.
    """
    looks, name = record.evaluations, terms.config.name
    scores = {at.step: score for at in looks if (score := score_of(at, name)) is not None}
    if not scores:
        return Summary()
    best_step = max(scores, key=lambda step: scores[step])
    steps, values = record.pearson_matrix()
    fair = cross_fit_best(values, clusters=terms.clusters, seed=terms.config.seed).score
    start = scores[min(scores)]
    pooled = cross_fit_best(values, window=WINDOW, clusters=terms.clusters, seed=terms.config.seed)
    smooth = len(steps) >= LEAST_POOLED and math.isfinite(pooled.level)
    return Summary(
        start=start,
        best=scores[best_step],
        best_step=best_step,
        best_fair=fair if math.isfinite(fair) else None,
        pooled=pooled.level if smooth else None,
        pooled_step=steps[pooled.look] if smooth else None,
        pooled_fair=pooled.score if smooth else None,
        last=scores[max(scores)],
        beats_start=bool(best_step != min(scores) and not fair <= start),
        verdict=looks[-1].verdict,
    )


def _row(terms: Terms, result: HREResult, values: FloatArray, measured: Mapping[str, float]) -> dict[str, float]:
    """Everything that is known of an evaluation, flat."""
    name = terms.config.name
    row = flatten(result, name=name)
    # Of rewards these two would be no log-likelihoods.
    if terms.scores_are_rewards:
        row = {key: value for key, value in row.items() if "/loglikelihood_" not in key}
    row |= {f"{name}/{key}": value for key, value in _statistics(terms, values).items()}
    return row | {f"{mismatch_prefix(name)}{key}": value for key, value in measured.items()}


def _groups_of(terms: Terms, record: Record, result: HREResult) -> dict[str, float]:
    """HRE by group of people, where the questions tell groups apart."""
    if not terms.groups:
        return {}
    first = None
    if record.evaluations:
        first = [answer_scores(record, record.evaluations[0], i) for i in range(len(result.ids))]
    figures = group_figures(terms.groups, first, plain(result.scores), terms.clusters)
    return {f"{terms.config.name}/{key}": value for key, value in figures.items()}


def _probes_of(terms: Terms, looks: Sequence[Evaluation], result: HREResult) -> dict[str, float]:
    """The style probes, where they are scored."""
    if result.probes is None:
        return {}
    figures = probe_figures(looks[0].probes if looks else None, plain(result.probes), terms.clusters)
    return {f"{terms.config.name}/{key}": value for key, value in figures.items()}


def _cutoff_of(terms: Terms, values: FloatArray) -> dict[str, float]:
    """HRE before and after the cutoff, where there is one."""
    if terms.after is None:
        return {}
    first = values[0] if len(values) > 1 else None
    figures = cutoff_figures(terms.after, first, values[-1], terms.clusters, seed=terms.config.seed)
    return {f"{terms.config.name}/{key}": value for key, value in figures.items()}


def _statistics(terms: Terms, values: FloatArray) -> dict[str, float]:
    """Interval of the last look, its paired difference to the first, and the running test for a fall."""
    config, clusters = terms.config, terms.clusters
    interval = bootstrap_interval(values[-1], clusters=clusters, seed=config.seed)
    row = {"ci_low": interval.low, "ci_high": interval.high, "human_ceiling": terms.ceiling.value}
    if math.isfinite(terms.human.estimate):
        row["human_hre"] = terms.human.estimate
    if len(values) < 2:
        return row
    change = paired_difference(values[-1], values[0], clusters=clusters, seed=config.seed)
    test = drop_from_start(
        values,
        alpha=config.alpha,
        planned_looks=terms.planned_looks,
        pooled=config.consecutive,
        clusters=clusters,
        seed=config.seed,
    )
    return row | {
        "delta_start": change.estimate,
        "delta_start_low": change.low,
        "delta_start_high": change.high,
        "p_drop": float(test.p[-1]),
        "rho": change.rho,
        "mde": change.mde,
        "signal_to_noise": signal_to_noise(values),
    }


def _history(
    terms: Terms,
    looks: Sequence[Evaluation],
    steps: Sequence[int],
    values: FloatArray,
    result: HREResult,
    proxies: Mapping[str, float],
    log_history: Sequence[Mapping[str, Any]],
) -> History:
    """The run so far, this look included, as the measures of mismatch want it."""
    seen = [*(look.proxies for look in looks), proxies]
    names = sorted({key for look in seen for key in look})
    # As the record gives it back: None where an answer was left out.
    now = plain(result.loglikelihoods)
    return History(
        steps=steps,
        pearson=values,
        votes=result.votes,
        lengths=result.lengths,
        looks=[*(look.loglikelihoods for look in looks), now],
        scores=plain(result.scores),
        proxies={key: np.array([look.get(key, np.nan) for look in seen], dtype=float) for key in names},
        directions=directions(names, terms.directions),
        improved=improved(log_history, steps[-1], terms.directions),
        rewards=terms.rewards,
        clusters=terms.clusters,
        divisors=result.divisors,
    )


def _judged(terms: Terms, history: History) -> Verdict:
    config = terms.config
    return judge(
        history,
        alpha=config.alpha,
        min_delta=config.min_delta,
        consecutive=config.consecutive,
        planned_looks=terms.planned_looks,
        seed=config.seed,
        scores_are_rewards=terms.scores_are_rewards,
    )


def _alert(verdict: Verdict, looks: Sequence[Evaluation], signals: Mapping[str, float]) -> str | None:
    begins = _parts(verdict) and not _parts(verdict_of(looks[-1]))
    return f"{verdict.reason}. {advice(verdict.cause, signals)}" if begins else None


def _same_cause(verdict: Verdict, looks: Sequence[Evaluation]) -> bool:
    before = verdict_of(looks[-1])
    return before is not None and before.cause == verdict.cause


def _parts(verdict: Verdict | None) -> bool:
    return verdict is not None and verdict.name == "mismatch"


def _save(config: HREConfig, looks: Sequence[Evaluation], score: float) -> str | None:
    """Why this checkpoint is worth keeping: it is better than all before it, of which there must be one."""
    best = max((s for look in looks if (s := score_of(look, config.name)) is not None), default=math.inf)
    return f"HRE {score:.4f} is the best so far" if config.save_best and score > best else None
