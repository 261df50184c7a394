"""The run as HRE sees it, the same on all ranks: rank 0 works an evaluation out and writes it, the others take it over.

What an evaluation means is `look`'s; here are the record, the disk that may refuse it, and the other ranks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from .. import distributed
from ..config import HREConfig
from ..data.questions import Question
from ..plain_text import plain_logger
from ..stats.correlation import HREResult
from ..stats.significance import known_clusters
from . import look, words
from .about import groups_of_people, human_figures, run_fields, sides_of_cutoff
from .keys import mismatch_prefix, score_of
from .line_checks import json_of
from .lines import Evaluation, Line, RunLine, Summary
from .look import Outcome, Terms
from .proxies import Direction
from .record import Record, RunRecord
from .schedule import Stopwatch

T = TypeVar("T")
logger = plain_logger(__name__)


@dataclass
class Monitor:
    """Joins evaluations of one run on one question set.

    Rank 0 works everything out and writes; the others take over its lines and its outcomes, so that clocks,
    disks and rounding can never part the ranks.

    Args:
        path: of the record.
        planned_looks, directions, rewards, scores_are_rewards: see `look.Terms`.
        rendering: hash of the contexts that a chat template made; `None` for the paper's prompt.
        goes_on: whether the trainer is still training; where that is not known, another run of this process may take
            the record over.

    Example:

    ```python
    from pathlib import Path

    evaluator = HumanRankEvaluator(questions, tokenizer, HREConfig(stop_rule="drop_from_start"))
    evaluator.prepare(model)
    monitor = Monitor(path=Path("runs/mine/hre.jsonl"), **evaluator.scored_as)
    monitor.start({"model": "mine"})
    logged = []
    for step in range(0, 20, 10):
        # ... train, and log: the same rows as a Trainer's.
        logged.append({"step": step, "loss": 2.0})
        outcome = monitor.add(step, evaluator.evaluate(model), log_history=logged)
        print(outcome.line)
        if outcome.stop:
            break
    monitor.finish(step, monitor.summary())
    ```
    """

    questions: Sequence[Question]
    config: HREConfig
    fingerprint: str
    path: Path
    planned_looks: int | None = None
    directions: Mapping[str, Direction] = field(default_factory=dict)
    rewards: Sequence[Sequence[float | None]] | None = None
    scores_are_rewards: bool = False
    rendering: str | None = None
    goes_on: Callable[[], bool] | None = None

    def __post_init__(self) -> None:
        self._record = RunRecord(self.path, writer=distributed.rank() == 0, goes_on=self.goes_on)
        self._skipped: set[int] = set()
        # What the disk said, while it refuses.
        self._refused: str | None = None
        ceiling, human = human_figures(self.questions, self.config)
        self._terms = Terms(
            config=self.config,
            clusters=known_clusters([question.cluster for question in self.questions]),
            planned_looks=self.planned_looks or self.config.planned_looks,
            directions=self.directions,
            rewards=self.rewards,
            scores_are_rewards=self.scores_are_rewards,
            ceiling=ceiling,
            human=human,
            groups=groups_of_people(self.questions),
            after=sides_of_cutoff(self.questions, self.config),
        )

    def start(
        self,
        about: Mapping[str, Any],
        *,
        resume_step: int = 0,
        log_history: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        """Open the record, or take up the one of the run that is resumed. Collective.

        Args:
            log_history: the Trainer's; a checkpoint remembers there which looks there have been.

        Raises:
            ValueError: on every rank, when the old record does not belong to this run.
        """
        run = run_fields(self.questions, self.fingerprint, self._terms, about)
        identity = self.config.identity(self.rendering)
        key = f"{self.config.name}/score"
        measured = {row["step"]: row[key] for row in log_history if key in row and "step" in row}
        self._on_main(lambda: self._begin(run, identity, resume_step, measured))

    def _begin(
        self,
        run: Mapping[str, Any],
        identity: Mapping[str, Any],
        resume_step: int,
        measured: Mapping[int, float],
    ) -> None:
        """Start the record on rank 0.

        Where the disk refuses it, it is kept in memory and tried again with each line.
        """
        with self._disk():
            self._record.start(run, identity=identity, resume_step=resume_step, measured=measured)
        for event in self.record.events:
            if event.kind == "resumed" and event.step == resume_step and event.reason:
                logger.warning("HRE resumes at step %s: %s", resume_step, event.reason)

    @contextmanager
    def _disk(self) -> Iterator[None]:
        """A disk that refuses ends no run that skips errors; each of its reasons is said once, and its end."""
        try:
            yield
        except OSError as error:
            if self.config.on_error == "raise":
                raise
            if str(error) != self._refused:
                logger.warning(
                    "HRE cannot write its record; the lines wait in memory, each new one tries again (said once): %s",
                    error,
                )
            self._refused = str(error)
        else:
            if self._refused is not None:
                logger.warning("HRE's record is written again: %s", self.path)
            self._refused = None

    def _on_main(self, work: Callable[[], T]) -> T:
        """What rank 0 makes of `work`; the other ranks take over the lines that it added. Collective."""
        before = self._record.lines[:]

        def worked() -> tuple[T, int, list[Line]]:
            value, lines = work(), self._record.lines
            # Nearly always all of them; a past that could be read late comes before what was measured since.
            pairs = zip(before, lines, strict=False)
            same = next((i for i, (old, new) in enumerate(pairs) if old is not new), len(before))
            return value, same, lines[same:]

        value, same, lines = distributed.on_rank0(worked)
        if not self._record.writer:
            self._record.adopt([*before[:same], *lines])
        return value

    def _append(self, kind: str, step: int, **fields: Any) -> None:
        """Add a line on rank 0. A disk that refuses does not end a run that skips errors."""
        with self._disk():
            self._record.append(kind, step, **fields)

    @property
    def record(self) -> Record:
        """Everything so far."""
        return self._record.record

    @property
    def run(self) -> RunLine:
        """The record's run line."""
        return self.record.run

    @property
    def looks(self) -> list[Evaluation]:
        """The evaluations so far, by rising step."""
        return self.record.evaluations

    def tried(self, step: int) -> bool:
        """Whether this step was evaluated or skipped already."""
        return step in self._skipped or self._record.evaluated(step)

    def score_at(self, step: int) -> float:
        """HRE at a step: its own, else the last one before it, NaN when its evaluation failed or there is none.

        The last one stands in for an evaluation that `max_overhead` put off.
        """
        known = self.looks and step not in self._skipped
        score = score_of(self.looks[-1], self.config.name) if known else None
        return float("nan") if score is None else float(score)

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
        epoch: float | None = None,
        log_history: Sequence[Mapping[str, Any]] = (),
        watch: Stopwatch | None = None,
    ) -> Outcome:
        """Join a result to the run. Collective: the outcome, clock times too, is rank 0's on all ranks.

        Args:
            log_history: the Trainer's, or rows like its own, `{"step": 10, "loss": 2.3}`; the training signals since
                the last evaluation are read from it.
            watch: runs during this evaluation. The row tells what it shows when the statistics are made; what record
                and trackers take after that is in the overhead of the next row.
        """

        def joined() -> Outcome:
            name = self.config.name
            found = look.join(self._terms, self.record, step, result, log_history)
            if watch is not None:
                # The clock is read when the statistics are made.
                found = found.timed(name, watch.seconds, watch.overhead)
            outcome = replace(found, line=words.console_line(name, step, found, [len(votes) for votes in result.votes]))
            # Last, so that a failure anywhere leaves a skipped evaluation and not half of one.
            self._append("evaluation", step, epoch=epoch, **look.fields_of(outcome, result, name))
            return outcome

        return self._on_main(joined)

    def asides(self, outcome: Outcome) -> list[str]:
        """What is said once in a run, after the look that gives reason to: what HRE and probes cost, displacement."""
        name, said = self.config.name, []
        if len(self.looks) == 1 and (probes := (self.run.proof or {}).get("probes")):
            said.append(words.probes_line(name, probes))
        if len(self.looks) == 2 and (overhead := outcome.row.get(f"{name}/overhead")) is not None:
            said.append(words.cost_line(name, overhead, self.config, len(self.questions)))
        if displaced(self.looks, name) and not displaced(self.looks[:-1], name):
            shifts = (outcome.row[f"{mismatch_prefix(name)}{end}_shift"] for end in ("top", "bottom"))
            said.append(f"{name.upper()}: {words.displacement_line(*shifts)}")
        return said

    def summary(self) -> Summary:
        """Of the run so far, see `look.summary`."""
        return look.summary(self._terms, self.record)

    def finish(self, step: int, summary: Summary, *, errors: Sequence[str] = ()) -> None:
        """Close the record with the run's summary and what the trackers could not write. Collective, the run's last."""
        self.note("finished", step, summary=json_of(summary), tracker_errors=list(errors))
        distributed.settle()

    def moved_to(self, path: Path) -> None:
        """The record's file has been renamed."""
        self.path = path
        self._record.moved_to(path)

    def release(self) -> None:
        """Give the record's file up for other runs."""
        self._record.release()

    def closing_line(self, summary: Summary, *, kept: bool | None = None) -> str:
        """The last words on the console but for what comes next, see `words.closing_line`."""
        return words.closing_line(
            self.config.name,
            self.record,
            summary,
            self.path,
            kept=kept,
            unwritten=self._record.unwritten,
            refused=self._refused,
        )

    def next_line(self) -> str | None:
        """What to do now that the run is over; `None` where the file does not hold a run that was measured."""
        return words.next_line(self.path) if self.looks and not self._record.unwritten else None


def displaced(looks: Sequence[Evaluation], name: str) -> bool:
    """Whether any of the evaluations showed likelihood displacement."""
    return any(look.metrics.get(f"{mismatch_prefix(name)}displaced") == 1 for look in looks)
