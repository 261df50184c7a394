"""The run as HRE sees it: every evaluation joined to the ones before, turned into rows, a verdict and decisions.

Knows no Trainer and no torch: what it decides is a function of the record, so that a resumed run, another rank
and a report made later all come to the same.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from . import distributed
from .ceiling import human_ceiling, human_hre
from .config import HREConfig
from .correlation import HREResult
from .mismatch import LEVELS, History, Verdict, judge, measure, prefix
from .proxies import Direction, directions, improved, proxies_since
from .questions import Question
from .record import Record, RunRecord, describe_questions
from .significance import bootstrap_interval, cross_fit_best, drop_from_start, paired_difference
from .stopping import Decision, decide
from .tracking import flatten

T = TypeVar("T")
logger = logging.getLogger(__name__)
_VERSIONS = ("hre-callback", "torch", "transformers", "trl", "accelerate", "peft", "wandb")


@dataclass(frozen=True)
class Outcome:
    """What one evaluation means for the run.

    Attributes:
        score: HRE, a plain float.
        row: flat metrics under their tracker names.
        proxy_row: the training signals since the last evaluation, to be plotted against HRE.
        line: one line for the person at the console.
        stop, save: why to stop the run or to keep this checkpoint, in a sentence; `None` for no.
        alert: what a person should hear of now: objective and people begin to part ways.
    """

    score: float
    row: dict[str, float]
    proxy_row: dict[str, float]
    line: str
    stop: str | None = None
    save: str | None = None
    alert: str | None = None


@dataclass
class Monitor:
    """Joins evaluations of one run on one question set.

    Rank 0 works everything out and writes; the others take over its lines and its outcomes, so that clocks,
    disks and rounding can never part the ranks.

    Args:
        path: of the record.
        planned_looks: evaluations after the baseline, `None` when unknown.
        directions: which way is better, for training signals of the user's.
        rewards: explicit reward of every answer, (questions, answers); `None` without one.
        of_rewards: whether the scores are a reward model's own numbers and not log-likelihoods.
    """

    questions: Sequence[Question]
    config: HREConfig
    fingerprint: str
    path: Path
    planned_looks: int | None = None
    directions: Mapping[str, Direction] = field(default_factory=dict)
    rewards: Sequence[Sequence[float | None]] | None = None
    of_rewards: bool = False

    def __post_init__(self) -> None:
        self._record = RunRecord(self.path, writer=distributed.rank() == 0)
        self._skipped: set[int] = set()
        clusters = [question.cluster for question in self.questions]
        self._clusters = clusters if any(clusters) else None
        votes = [[answer.votes for answer in question.answers] for question in self.questions]
        self._ceiling = human_ceiling(votes, seed=self.config.seed)
        self._human = human_hre([question.ratings for question in self.questions])

    def start(self, about: Mapping[str, Any], *, resume_step: int = 0) -> None:
        """Open the record, or take up the one of the run that is resumed. Collective.

        Raises:
            ValueError: on every rank, when the old record does not belong to this run.
        """
        run = {
            "name": self.config.name,
            "fingerprint": self.fingerprint,
            "config": self.config.as_dict(),
            "versions": _versions(),
            **about,
            "planned_looks": self.planned_looks,
            "human_ceiling": self._ceiling,
            "human_hre": self._human,
            "questions": describe_questions(self.questions),
        }
        identity = self.config.identity()
        self._on_main(lambda: self._record.start(run, identity=identity, resume_step=resume_step))

    def _on_main(self, work: Callable[[], T]) -> T:
        """What rank 0 makes of `work`; the other ranks take over the lines that it added. Collective."""
        known = len(self._record.lines)
        value, lines = distributed.from_main(lambda: (work(), self._record.lines[known:]))
        if not self._record.writer:
            self._record.adopt([*self._record.lines, *lines])
        return value

    def _append(self, kind: str, step: int, **fields: Any) -> None:
        """Add a line on rank 0. A disk that refuses does not end a run that skips errors."""
        try:
            self._record.append(kind, step, **fields)
        except OSError as error:
            if self.config.on_error == "raise":
                raise
            logger.warning("HRE could not write its record, the line waits for the next one: %s", error)

    @property
    def record(self) -> Record:
        """Everything so far."""
        return self._record.record

    @property
    def run(self) -> dict[str, Any]:
        """The record's run line."""
        return self.record.run

    @property
    def looks(self) -> list[dict[str, Any]]:
        """The evaluations so far, by rising step."""
        return self.record.evaluations

    def tried(self, step: int) -> bool:
        """Whether this step was evaluated or skipped already."""
        return step in self._skipped or self._record.evaluated(step)

    def score_at(self, step: int) -> float:
        """HRE at a step: its own, else the last one before it, NaN when its evaluation failed or there is none.

        The last one stands in for an evaluation that `max_overhead` put off.
        """
        if step in self._skipped or not self.looks:
            return float("nan")
        return float(self.looks[-1]["metrics"][f"{self.config.name}/score"])

    def skip(self, step: int, reason: str) -> None:
        """Record an evaluation that failed. Collective."""
        self._skipped.add(step)
        self.note("skipped", step, reason=reason)

    def note(self, kind: str, step: int, **fields: Any) -> None:
        """Record an event. Collective."""
        self._on_main(lambda: self._append(kind, step, **fields))

    def add(
        self,
        step: int,
        result: HREResult,
        *,
        epoch: float | None,
        log_history: Sequence[Mapping[str, Any]],
        seconds: float,
        overhead: float,
    ) -> Outcome:
        """Join a result to the run. Collective: the outcome, clock times too, is rank 0's on all ranks.

        Args:
            log_history: the Trainer's; the training signals since the last evaluation are read from it.
            seconds, overhead: what this evaluation took, and the share of wall time of all so far.
        """
        return self._on_main(lambda: self._join(step, result, epoch, log_history, seconds, overhead))

    def _join(
        self,
        step: int,
        result: HREResult,
        epoch: float | None,
        log_history: Sequence[Mapping[str, Any]],
        seconds: float,
        overhead: float,
    ) -> Outcome:
        name = self.config.name
        since = self.looks[-1]["step"] if self.looks else -1
        proxies = proxies_since(log_history, since, step, self.directions)
        steps, values = self.record.pearson_matrix()
        steps, values = [*steps, step], np.vstack([values, result.per_question["pearson"]])
        row = flatten(result, name=name)
        if self.of_rewards:  # these two are nats per character
            row = {key: value for key, value in row.items() if "/loglikelihood_" not in key}
        row |= {f"{name}/{key}": value for key, value in self._statistics(values).items()}
        row |= {f"{name}/seconds": seconds, f"{name}/overhead": overhead}
        history = self._history(steps, values, result, proxies, log_history)
        measured = measure(history, seed=self.config.seed, of_rewards=self.of_rewards)
        verdict = self._judge(history, measured) if len(steps) > 1 else None
        if verdict is not None:
            measured |= {"verdict": float(LEVELS[verdict.name]), "false_alarm": verdict.false_alarm}
        row |= {f"{prefix(name)}{key}": value for key, value in measured.items()}
        decision = self._decide(steps, values, verdict)
        was_mismatch = bool(self.looks) and self.looks[-1]["verdict"] == "mismatch"
        best = max((s for s in map(self._score_of, self.looks) if s is not None), default=float("inf"))
        self._append(
            "evaluation",
            step,
            epoch=epoch,
            seconds=seconds,
            metrics=row,
            proxies=proxies,
            verdict=verdict and verdict.name,
            reason=(verdict and verdict.reason) or None,
            loglikelihoods=result.loglikelihoods,
            pearson=result.per_question["pearson"],
        )
        return Outcome(
            score=result.score,
            row=row,
            proxy_row={f"{name}/proxy/{key}": value for key, value in proxies.items()},
            line=self._line(step, result, row) + _aside(verdict),
            stop=decision.reason if decision.stop else None,
            save=f"HRE {result.score:.4f} is the best so far"
            if self.config.save_best and result.score > best
            else None,
            alert=verdict.reason if verdict and verdict.name == "mismatch" and not was_mismatch else None,
        )

    def _history(
        self,
        steps: Sequence[int],
        values: NDArray[np.float64],
        result: HREResult,
        proxies: Mapping[str, float],
        log_history: Sequence[Mapping[str, Any]],
    ) -> History:
        """The run so far, this look included, as the measures of mismatch want it."""
        seen = [*(look["proxies"] for look in self.looks), proxies]
        names = sorted({key for look in seen for key in look})
        return History(
            steps=steps,
            pearson=values,
            votes=result.votes,
            lengths=[[len(answer.text) for answer in question.answers] for question in self.questions],
            start=self.looks[0]["loglikelihoods"] if self.looks else _or_none(result.loglikelihoods),
            now=_or_none(result.loglikelihoods),
            scores=_or_none(result.scores),
            proxies={key: np.array([look.get(key, np.nan) for look in seen], dtype=float) for key in names},
            directions=directions(names, self.directions),
            improved=improved(log_history, steps[-1], self.directions),
            rewards=self.rewards,
            clusters=self._clusters,
        )

    def _judge(self, history: History, measured: Mapping[str, float]) -> Verdict:
        config = self.config
        return judge(
            history,
            alpha=config.alpha,
            min_delta=config.min_delta,
            consecutive=config.consecutive,
            planned_looks=self.planned_looks,
            seed=config.seed,
            displaced=measured.get("displaced") == 1.0,
        )

    def _statistics(self, values: NDArray[np.float64]) -> dict[str, float]:
        """Interval of the last look, its paired difference to the first, and the running test for a fall."""
        seed, clusters = self.config.seed, self._clusters
        interval = bootstrap_interval(values[-1], clusters=clusters, seed=seed)
        row = {"ci_low": interval.low, "ci_high": interval.high, "human_ceiling": self._ceiling}
        if np.isfinite(self._human):
            row["human_hre"] = self._human
        if len(values) < 2:
            return row
        change = paired_difference(values[-1], values[0], clusters=clusters, seed=seed)
        test = drop_from_start(
            values,
            alpha=self.config.alpha,
            planned_looks=self.planned_looks,
            pooled=self.config.consecutive,
            clusters=clusters,
            seed=seed,
        )
        return row | {
            "delta_start": change.estimate,
            "delta_start_low": change.low,
            "delta_start_high": change.high,
            "p_drop": float(test.p[-1]),
            "rho": change.rho,
            "mde": change.mde,
        }

    def _decide(self, steps: Sequence[int], values: NDArray[np.float64], verdict: Verdict | None) -> Decision:
        config = self.config
        if config.stop_rule == "mismatch":
            return (
                Decision(True, verdict.reason)
                if verdict and verdict.name == "mismatch"
                else Decision(False, "")
            )
        return decide(
            config.stop_rule,
            steps,
            values,
            alpha=config.alpha,
            min_delta=config.min_delta,
            consecutive=config.consecutive,
            patience=config.patience,
            planned_looks=self.planned_looks,
            clusters=self._clusters,
            seed=config.seed,
        )

    def _score_of(self, look: Mapping[str, Any]) -> float | None:
        score: float | None = look["metrics"][f"{self.config.name}/score"]
        return score

    def summary(self) -> dict[str, Any]:
        """Start, best and last score, the step of the best, and whether any checkpoint beats the start.

        The best of many noisy looks is too good, so `beats_start` asks the cross-fit value of the best look
        (`best_fair`: chosen on one half of the questions, read on the other) to lie above the start.
        """
        _, values = self.record.pearson_matrix()
        scores = {at["step"]: score for at in self.looks if (score := self._score_of(at)) is not None}
        if not scores:
            return dict.fromkeys(
                ("start", "best", "best_step", "best_fair", "last", "beats_start", "verdict")
            )
        best_step = max(scores, key=lambda step: scores[step])
        fair = cross_fit_best(values, seed=self.config.seed).score
        start = scores[min(scores)]
        return {
            "start": start,
            "best": scores[best_step],
            "best_step": best_step,
            "best_fair": fair if np.isfinite(fair) else None,
            "last": scores[max(scores)],
            "beats_start": best_step != min(scores) and not fair <= start,
            "verdict": self.looks[-1]["verdict"],
        }

    def finish(self, step: int, summary: Mapping[str, Any], *, errors: Sequence[str] = ()) -> None:
        """Close the record with the run's summary and what the trackers could not write."""
        self.note("finished", step, summary=summary, tracker_errors=list(errors))

    def closing_line(self, summary: Mapping[str, Any]) -> str:
        """The last word on the console."""
        if summary["best_step"] is None:
            return f"{self.config.name.upper()}: no evaluation succeeded; see {self.path}"
        if not summary["beats_start"]:
            best = "no checkpoint beats the start"
        else:
            best = f"best {summary['best']:.4f} at step {summary['best_step']}"
            if summary["best_fair"] is not None:
                best += f" ({summary['best_fair']:.4f} without the luck of the pick)"
        start, last = summary["start"], summary["last"]
        return f"{self.config.name.upper()}: start {start:.4f}, last {last:.4f}, {best}. Record: {self.path}"

    def _line(self, step: int, result: HREResult, row: Mapping[str, float]) -> str:
        name = self.config.name
        low, high = row[f"{name}/ci_low"], row[f"{name}/ci_high"]
        line = f"{name.upper()} step {step}: {result.score:.4f} (95 % {low:.3f} to {high:.3f}, {result.n} questions)"
        if (change := row.get(f"{name}/delta_start")) is not None:
            low, high = row[f"{name}/delta_start_low"], row[f"{name}/delta_start_high"]
            line += f", {change:+.4f} since the start ({low:+.3f} to {high:+.3f})"
        return f"{line}, {row[f'{name}/seconds']:.1f} s"


def _aside(verdict: Verdict | None) -> str:
    """What the console line says of a verdict worth hearing."""
    return f". {verdict.name.upper()}: {verdict.reason}" if verdict and verdict.name != "aligned" else ""


def _or_none(rows: Sequence[Sequence[float]]) -> list[list[float | None]]:
    """Per-answer numbers as the record gives them back: None where an answer was left out."""
    return [[x if np.isfinite(x) else None for x in row] for row in rows]


def _versions() -> dict[str, str]:
    found = {}
    for package in _VERSIONS:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue  # optional packages
    return found
