"""Scores the checkpoints that a training run writes, from another process or machine, as the callback does inside it.

The folder is looked at again and again; what is whole is loaded, scored, and joined to a record of its own, with the
training signals that the checkpoint itself remembers. Nothing is written into a checkpoint, and no failure of one ends
the rest.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import distributed
from .config import HREConfig
from .data.questions import Question
from .files import write_whole
from .plain_text import plain_text
from .run.checkpoints import Checkpoint, Files, Training, claimed_twice, find_checkpoints, next_up, read_training
from .run.lines import read_lines
from .run.monitor import Monitor
from .run.record import Record, read_record
from .run.schedule import Stopwatch
from .scoring.errors import EvaluationError
from .scoring.evaluator import HumanRankEvaluator
from .trackers.announcer import Announcer
from .trackers.fanout import Trackers
from .views.console import Bar

# What a run line calls the trainer of a record that was made here.
TRAINER = "hre follow"
# Seconds between the two looks that show whether anybody is writing, where nobody waits for more.
_GLANCE = 1.0


@dataclass
class Follower:
    """Follows one folder.

    Args:
        folder: where the checkpoints appear; need not be there yet.
        path: of the record.
        load: gives model and tokenizer of a checkpoint's folder, or of `start`; see `load_model`.
        start: the model that training began with, scored as step 0: a folder or a hub id.
        stop_file: is written when a rule says stop: a JSON object of step, rule and reason.
        tell: prints a line for the person.
        quiet: no bars.

    Raises:
        ValueError: at `path` is another run's record, or the stop file is there already.
    """

    folder: Path
    questions: Sequence[Question]
    config: HREConfig
    path: Path
    load: Callable[[str | Path], tuple[Any, Any]]
    start: str | None = None
    stop_file: Path | None = None
    tell: Callable[[str], None] = print
    quiet: bool = False

    def __post_init__(self) -> None:
        self._trackers = Trackers([])
        self._announcer: Announcer | None = None
        self._stopwatch = Stopwatch(beside=True)
        # What was found when, and what could not be scored.
        self._now: list[Checkpoint] = []
        self._looked = -math.inf
        self._given_up: dict[tuple[Path, Files], str] = {}
        # What was said, and what is to be recorded as soon as there is a record.
        self._said: set[str] = set()
        self._skipped: list[tuple[int, str]] = []
        self._past = earlier_record(self.path, self.run_name)
        if self.stop_file is not None and self.stop_file.exists() and not self.stopped:
            raise ValueError(
                f"{self.stop_file} is there already, and whoever waits for it stops at once: remove it, or give "
                "another name"
            )

    @property
    def run_name(self) -> str:
        """The folder's own name: a record goes on with the checkpoints of one folder alone."""
        return self.folder.resolve().name

    @property
    def record(self) -> Record | None:
        """What has been scored so far, in this process or before; `None` for nothing yet."""
        return self._announcer.monitor.record if self._announcer else self._past

    @property
    def last(self) -> int:
        """The step of the last evaluation, -1 before the first."""
        looks = self.record.evaluations if self.record else ()
        return looks[-1].step if looks else -1

    @property
    def stopped(self) -> bool:
        """Whether a rule says stop at the last evaluation."""
        events = self.record.events if self.record else ()
        return any(event.kind == "stop" and event.step == self.last for event in events)

    def follow(self, trackers: Trackers, *, once: bool = False, every: float = 10.0) -> bool:
        """Score what is there, and what comes, until a rule says stop or the run has reached its last step.

        Args:
            trackers: where the run is also shown.
            once: what is there now, and no more.
            every: seconds between two looks at the folder.

        Returns:
            whether a rule says stop at the last evaluation.

        Raises:
            ValueError: the model of `start` cannot be scored, or the record at `path` cannot be continued.
        """
        self._trackers = trackers
        try:
            self._write_stop()
            self._score_start()
            self._look(0)
            if not (self._now or once):
                self._say(f"Waiting for checkpoints in {self.folder}")
            wait = _GLANCE
            while not (self._announcer and self.stopped) and not self._over():
                up = self._look(wait)
                if up is not None:
                    self._score(up)
                elif once:
                    break
                wait = every if up is None and not once else _GLANCE
        finally:
            self._close()
        return self.stopped

    def unscored(self) -> list[str]:
        """What is in the folder beyond the last evaluation, and why it was not scored."""
        found = []
        for one in self._now:
            why = self._given_up.get((one.path, one.files)) or one.lacks or "somebody is still writing it"
            if one.step is not None and one.step > self.last:
                found.append(f"{one.name}: {why}")
        return found

    # ---- looking -----------------------------------------------------------------------------------------

    def _look(self, seconds: float) -> Checkpoint | None:
        """What is to be scored now, by a look that comes so long after the one before."""
        time.sleep(max(0.0, self._looked + seconds - time.monotonic()))
        before, self._now = self._now, find_checkpoints(self.folder, self._now)
        self._looked = time.monotonic()
        self._tell_of(before)
        return next_up(self._now, before, self.last, self._given_up)

    def _tell_of(self, before: Sequence[Checkpoint]) -> None:
        """What a person should know of what was found, each thing once."""
        for step, names in claimed_twice(self._now).items():
            self._say(f"Step {step} is claimed by {' and '.join(names)}: none of them is scored")
        still = {(one.path, one.files) for one in before}
        looks = {look.step for look in self.record.evaluations} if self.record else set()
        for one in self._now:
            if one.step is None:
                if one.lacks is None:
                    self._say(
                        f"{one.name}: neither its name nor a trainer_state.json tells its step; it is passed over"
                    )
                elif not one.files:
                    self._say(f"{one.name} cannot be read, what is in it is passed over ({one.lacks})")
            elif one.lacks is not None and one.step > self.last and (one.path, one.files) in still:
                self._say(f"{one.name} is not whole yet: {one.lacks}")
            elif one.lacks is None and one.step < self.last and one.step not in looks:
                self._say(f"{one.name} comes after step {self.last} was scored: too late for the record")
        self._tell_of_deleted(before)

    def _tell_of_deleted(self, before: Sequence[Checkpoint]) -> None:
        here = {one.path for one in self._now}
        for one in before:
            known = one.path in here or (one.path, one.files) in self._given_up
            if not known and one.step is not None and one.step > self.last and one.lacks is None:
                self._skip(one.step, f"{one.name} was deleted before it could be scored")

    def _over(self) -> bool:
        """Whether the run has reached its last step, by the checkpoint that was scored last."""
        for one in self._now:
            if one.step == self.last and one.lacks is None:
                try:
                    training = read_training(one.path)
                except ValueError:
                    # Deleted or written anew by now: it tells nothing.
                    continue
                if training.last_step is not None and self.last >= training.last_step:
                    self._say(f"The run has reached its last step, {self.last}")
                    return True
        return False

    # ---- scoring -----------------------------------------------------------------------------------------

    def _score_start(self) -> None:
        if self.start is None:
            return
        if self.last < 0:
            self._evaluate(self.start, 0, Training(epoch=0.0), plain_text(Path(self.start).name))
        elif self.record is not None and (first := self.record.evaluations[0].step) != 0:
            self._say(f"The record begins at step {first}: {self.start} comes too late to be scored as its start")

    def _score(self, up: Checkpoint) -> None:
        """Score a checkpoint; what fails is said and recorded, and tried again when its files change."""
        try:
            self._evaluate(up.path, up.step or 0, read_training(up.path), up.name)
        except _NotJoined:
            raise
        except Exception as error:
            if self.config.on_error == "raise":
                raise
            reason = str(error) if isinstance(error, (ValueError, EvaluationError)) else distributed.describe(error)
            self._failed(up, str(reason))

    def _failed(self, up: Checkpoint, reason: str) -> None:
        now = {one.path: one.files for one in find_checkpoints(self.folder)}
        if up.path not in now:
            reason = f"{up.name} was deleted while it was read"
        elif now[up.path] != up.files:
            self._say(f"{up.name} has changed while it was read; it is tried again")
            return
        self._given_up[up.path, up.files] = reason
        self._skip(up.step or 0, reason)

    def _skip(self, step: int, reason: str) -> None:
        if self._announcer is None:
            # There is no record yet, and this may never be one.
            self._say(f"Step {step} was skipped: {reason}")
            self._skipped.append((step, reason))
        else:
            self._announcer.skip(step, reason)

    def _evaluate(self, source: str | Path, step: int, training: Training, name: str) -> None:
        model, tokenizer = self.load(source)
        evaluator = HumanRankEvaluator(self.questions, tokenizer, self.config)
        with self._stopwatch.evaluation(), Bar(f"HRE at step {step}", hidden=self.quiet) as progress:
            evaluator.prepare(model)
            announcer = self._opened(evaluator, name)
            outcome = announcer.monitor.add(
                step,
                evaluator.evaluate(model, progress),
                epoch=training.epoch,
                log_history=training.log_history,
                watch=self._stopwatch,
            )
        announcer.look(step, outcome)
        if step and len(announcer.monitor.looks) == 1:
            self._say(f"The start was not scored (--start): all changes are counted from step {step}")
        announcer.judgement(step, outcome)
        announcer.show(ending=outcome.stop is not None)
        if outcome.stop:
            self._write_stop()

    def _opened(self, evaluator: HumanRankEvaluator, name: str) -> Announcer:
        """The run's announcer; begins the record, or takes it up, with the first model that can be scored.

        Raises:
            ValueError: the model is asked or read otherwise than those before.
        """
        terms = evaluator.scored_as
        if self._announcer is not None:
            monitor = self._announcer.monitor
            if (monitor.rendering, monitor.scores_are_rewards) != (terms["rendering"], terms["scores_are_rewards"]):
                raise ValueError(
                    f"{name}: its chat template asks the questions in other words than that of the checkpoints before, "
                    "or it is another kind of model: the scores do not compare"
                )
            return self._announcer
        about: Mapping[str, Any] = {
            "model": name,
            "trainer": TRAINER,
            "run_name": self.run_name,
            "rounding": evaluator.rounding,
            "proof": evaluator.proof,
        }
        monitor = Monitor(path=self.path, goes_on=lambda: True, **terms)
        try:
            monitor.start(about, resume_step=0 if self._past is None else _last_known(self._past))
        except (ValueError, OSError) as error:
            raise _NotJoined(str(error)) from error
        for step, reason in self._skipped:
            monitor.skip(step, reason)
        self._announcer = Announcer(monitor, self._trackers, self.tell)
        self._trackers.start(monitor.run)
        return self._announcer

    def _write_stop(self) -> None:
        """Write the stop file where a rule says stop and it is not there."""
        if self.stop_file is None or self.record is None or not self.stopped or self.stop_file.exists():
            return
        stop = next(event for event in reversed(self.record.events) if event.kind == "stop")
        told = {"step": stop.step, "rule": stop.rule, "reason": stop.reason}
        write_whole(self.stop_file, [(json.dumps(told) + "\n").encode()])

    def _close(self) -> None:
        if self._announcer is not None:
            self._announcer.close(self.last)
            self._announcer.monitor.release()

    def _say(self, line: str) -> None:
        """Say it, once."""
        if line not in self._said:
            self._said.add(line)
            self.tell(line)


class _NotJoined(ValueError):
    """No checkpoint is at fault: the record itself cannot be written."""


def _last_known(past: Record) -> int:
    """The step up to which a record is to be kept, all of it; at 0 a run would begin anew."""
    return max([1, *(look.step for look in past.evaluations), *(event.step for event in past.events)])


def earlier_record(path: Path, run_name: str) -> Record | None:
    """The record of the same folder that is to be taken up; `None` where there is none.

    Raises:
        ValueError: it is another run's, or damaged.
    """
    if not path.exists() or not read_lines(path):
        return None
    record = read_record(path)
    run = record.run
    if run.trainer != TRAINER or run.run_name != run_name:
        whose = f"of {run.trainer or 'another trainer'}, run {run.run_name or 'without a name'}"
        raise ValueError(f"{path} is the record {whose}; give this one a folder of its own: --out")
    return record
