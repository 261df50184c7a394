"""What a run's record holds, as curves and marks: the one reading that figure, page, terminal and trackers share."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import PureWindowsPath
from typing import TYPE_CHECKING, Any, Literal

from ..formatting import count, fixed, span
from ..run.keys import group_key, mismatch_prefix, probe_key
from ..run.proxies import Direction, Signal, common_signals, signals
from ..run.words import ceiling_words
from .numbers import latest

if TYPE_CHECKING:
    from ..run.lines import Evaluation, Event, RunLine, RunQuestion
    from ..run.record import Record

Tone = Literal["good", "neutral", "watch", "bad"]
Numbers = Sequence[float]

_GOAL: dict[Direction, str] = {"up": "higher", "down": "lower"}


@dataclass(frozen=True, slots=True)
class Proxy:
    """One training signal: its key in the record, its plain name, the direction that counts as progress."""

    key: str
    label: str
    better: str | None

    @property
    def about(self) -> str:
        """What stands beside the name: `train/loss, lower is the goal`; the key only where the name is another."""
        facts = [self.key] if self.key != self.label else []
        return ", ".join(facts + ([f"{self.better} is the goal"] if self.better else []))


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened at `step` and belongs on every panel."""

    step: int
    text: str
    tone: Tone

    @property
    def words(self) -> str:
        """What it is and when."""
        return f"{self.text}, step {self.step:,}"


@dataclass(frozen=True, slots=True)
class People:
    """The humans' own HRE: each annotator against the others, leave one out; NaN where it is not known.

    Attributes:
        n, people: questions that two or more rated, and annotators; 0 where an older record does not tell.
    """

    hre: float
    low: float
    high: float
    n: int
    people: int

    @property
    def name(self) -> str:
        """Whose line this is: `2 people`."""
        return f"{self.people:,} people" if self.people else "a human"

    @property
    def words(self) -> str:
        """`0.612 (95 % 0.520 to 0.700), 2 people on 40 questions`."""
        known = math.isfinite(self.low + self.high)
        interval = f" (95 % {span(self.low, self.high)})" if known else ""
        asked = f" on {count(self.n, 'question')}" if self.n else ""
        return f"{fixed(self.hre)}{interval}, {self.name}{asked}"


@dataclass(frozen=True, eq=False)
class Reading:
    """A record, read once: every curve has one number for each evaluation, NaN where it is null or absent."""

    record: Record

    # The run ------------------------------------------------------------------------------------------------------

    @property
    def run(self) -> RunLine:
        """The run line."""
        return self.record.run

    @cached_property
    def name(self) -> str:
        """The callback's name, first part of the run's keys."""
        return self.run.name

    @cached_property
    def title(self) -> str:
        """`model · trainer`, as far as they are known; of a model on the disk only the folder's own name."""
        model = self.run.model or ""
        local = model.startswith((".", "~")) or model.count("/") > 1 or "\\" in model
        # PureWindowsPath reads both kinds of slash.
        model = PureWindowsPath(model).name if local else model
        parts = [part for part in (model, self.run.trainer or "") if part]
        return " · ".join(parts) or self.name

    @property
    def questions(self) -> Sequence[RunQuestion]:
        """The questions of the run line."""
        return self.run.questions

    @cached_property
    def judge(self) -> str:
        """Who gave the votes, where it was not people; else empty."""
        return ", ".join(sorted({question.judge for question in self.questions if question.judge}))

    @property
    def config(self) -> Mapping[str, Any]:
        """The run's settings."""
        return self.run.config

    @cached_property
    def n_questions(self) -> int:
        """Questions that the score averages over: the last `hre/n`, else all questions of the run."""
        counted = latest(self.metric("n"))
        return int(counted) if math.isfinite(counted) else len(self.questions)

    @cached_property
    def n_topics(self) -> int:
        """Topics of the run's questions."""
        return len({question.topic for question in self.questions if question.topic})

    @cached_property
    def ceiling(self) -> float:
        """The human ceiling of the run's questions, NaN when unknown."""
        recorded = self.run.human_ceiling
        return float(recorded) if recorded is not None else latest(self.metric("human_ceiling"))

    @property
    def ceiling_words(self) -> str:
        """Where it comes from, or why there is none; empty in older records."""
        return ceiling_words(self.run.human_ceiling_from, self.run.human_ceiling_n)

    @cached_property
    def people(self) -> People:
        """People's own HRE on the run's questions."""
        run = self.run
        hre, low, high = map(_number, (run.human_hre, run.human_hre_low, run.human_hre_high))
        return People(hre, low, high, run.human_hre_n, run.human_hre_people)

    @cached_property
    def min_delta(self) -> float:
        """The smallest fall of HRE that the run calls worth stopping for."""
        return float(self.config.get("min_delta", 0.01))

    def comparable(self, other: Reading) -> bool:
        """Whether two runs were scored in the same way on the same questions: only then may they share an axis."""
        return (self.run.fingerprint, self.run.identity) == (other.run.fingerprint, other.run.identity)

    # Curves -------------------------------------------------------------------------------------------------------

    @property
    def looks(self) -> Sequence[Evaluation]:
        """The evaluations."""
        return self.record.evaluations

    @cached_property
    def steps(self) -> list[int]:
        """The step of every evaluation, in the order of the record."""
        return [look.step for look in self.looks]

    def metric(self, key: str) -> Numbers:
        """One metric, by its key without the run's name (`"score"`)."""
        return self._column(f"{self.name}/{key}")

    def mismatch(self, key: str) -> Numbers:
        """One `mismatch/...` metric."""
        return self._column(f"{mismatch_prefix(self.name)}{key}")

    def mismatch_keys(self, prefix: str) -> list[str]:
        """What follows `mismatch/` and `prefix` in the keys of all evaluations, sorted."""
        start = f"{mismatch_prefix(self.name)}{prefix}"
        found = {key for look in self.looks for key in look.metrics if key.startswith(start)}
        return sorted(key[len(start) :] for key in found)

    def groups(self) -> list[str]:
        """The groups of people that HRE is known of, `<name>/<value>`, sorted."""
        return self._below(group_key(""))

    def probes(self) -> list[str]:
        """The kinds of style probes, sorted."""
        return self._below(probe_key(""))

    def _below(self, key: str) -> list[str]:
        start = f"{self.name}/{key}"
        return sorted({key[len(start) :] for look in self.looks for key in look.metrics if key.startswith(start)})

    def signal(self, key: str) -> Numbers:
        """One training signal."""
        return [_number(look.proxies.get(key)) for look in self.looks]

    def _column(self, key: str) -> Numbers:
        return [_number(look.metrics.get(key)) for look in self.looks]

    def pearsons(self, look: int) -> Numbers:
        """The correlation of every question at an evaluation, by its index; NaN where it is undefined."""
        return [_number(r) for r in self.looks[look].pearson]

    @cached_property
    def score(self) -> Numbers:
        """HRE."""
        return self.metric("score")

    @cached_property
    def interval(self) -> tuple[Numbers, Numbers]:
        """The 95 % interval of HRE itself."""
        return self.metric("ci_low"), self.metric("ci_high")

    @cached_property
    def paired(self) -> tuple[Numbers, Numbers]:
        """The start's score plus the paired interval of the change: what HRE itself is plausibly, given the start."""
        base = self.score[self.start] if self.start is not None else math.nan
        low, high = ([base + d for d in self.metric(f"delta_start_{side}")] for side in ("low", "high"))
        if self.start is not None:
            # The start differs from itself by nothing, whether recorded or not.
            low[self.start] = high[self.start] = base
        return low, high

    # Which evaluation ---------------------------------------------------------------------------------------------

    @cached_property
    def start(self) -> int | None:
        """Index of the baseline: the evaluation at step 0, if there is one with a score."""
        at_zero = (i for i, step in enumerate(self.steps) if step == 0 and math.isfinite(self.score[i]))
        return next(at_zero, None)

    @cached_property
    def best(self) -> int | None:
        """Index of the highest score. A maximum of noisy numbers is flattering: label it as the highest, no more."""
        scored = [(score, -i) for i, score in enumerate(self.score) if math.isfinite(score)]
        return -max(scored)[1] if scored else None

    @cached_property
    def now(self) -> int | None:
        """Index of the last evaluation that has a score."""
        scored = [i for i, score in enumerate(self.score) if math.isfinite(score)]
        return scored[-1] if scored else None

    def current(self, key: str) -> float:
        """A metric at the last evaluation that has a score; NaN where it is absent there."""
        return self.metric(key)[self.now] if self.now is not None else math.nan

    # What happened ------------------------------------------------------------------------------------------------

    @property
    def events(self) -> Sequence[Event]:
        """All events in their order."""
        return self.record.events

    def events_of(self, kind: str) -> list[Event]:
        """The events of one kind: `skipped`, `stop`, `save`, `resumed`, `finished`."""
        return [event for event in self.events if event.kind == kind]

    @cached_property
    def finished(self) -> Event | None:
        """The `finished` event, unless the run was resumed after it."""
        closing = [event for event in self.events if event.kind in ("finished", "resumed")]
        return closing[-1] if closing and closing[-1].kind == "finished" else None

    @property
    def verdict(self) -> str | None:
        """The verdict of the last evaluation."""
        return self.looks[-1].verdict if self.looks else None

    @cached_property
    def diverged_since(self) -> int | None:
        """First step of the unbroken `watch`/`mismatch` streak that the record ends with, None if it ends well."""
        return self._since("watch", "mismatch")

    @cached_property
    def decoupled_since(self) -> int | None:
        """The same for `decoupled`."""
        return self._since("decoupled")

    def _since(self, *verdicts: str) -> int | None:
        since = None
        for look in reversed(self.looks):
            if look.verdict not in verdicts:
                break
            since = look.step
        return since

    @cached_property
    def marks(self) -> list[Mark]:
        """What belongs on every panel as a vertical line: where objective and people part ways, and the stop."""
        found = []
        if self.diverged_since is not None:
            apart = self.verdict == "mismatch"
            text = "part ways" if apart else "watch"
            found.append(Mark(self.diverged_since, text, "bad" if apart else "watch"))
        return found + [Mark(stop.step, "stopped", "bad") for stop in self.events_of("stop")]

    # Training signals ---------------------------------------------------------------------------------------------

    @cached_property
    def _told(self) -> dict[str, Direction]:
        """The directions that the run was given by its user."""
        return {key: way for key, way in self.run.directions.items() if way in _GOAL}

    @cached_property
    def _signals(self) -> list[Signal]:
        """All training signals of the run that have a value, the most telling first."""
        seen = sorted({key for look in self.looks for key in look.proxies})
        logged = [key for key in seen if math.isfinite(latest(self.signal(key)))]
        return signals(logged, self._told)

    def proxy(self, key: str) -> Proxy:
        """The plain name and the good direction of a training signal, as the run was told."""
        known = (one for one in self._signals if one.key == key)
        return _proxy(next(known, None) or signals([key], self._told)[0])

    def main_proxies(self, limit: int = 4) -> list[Proxy]:
        """The training signals most worth a look, at most `limit`: the user's own, then the optimised one.

        Signals without room of their own (proxies.py) are shown only where fewer than two others are.
        """
        found = [one for one in self._signals if one.room != "never"]
        known = [one for one in found if one.room != "seldom"]
        return [_proxy(one) for one in (known if len(known) > 1 else found)[:limit]]


def common_proxies() -> list[Proxy]:
    """The training signals that most trainers log, for a view that knows no run."""
    return [_proxy(one) for one in common_signals()]


def _proxy(one: Signal) -> Proxy:
    return Proxy(one.key, one.label, None if one.better is None else _GOAL[one.better])


def _number(value: float | None) -> float:
    """A float; null is NaN."""
    return math.nan if value is None else float(value)
