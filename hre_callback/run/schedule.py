"""When to evaluate: pure functions of the step, and the cap on the share of wall time that evaluations may take."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from ..config import HREConfig


def due(step: int, config: HREConfig, trainer_eval_steps: int | None = None) -> bool:
    """Whether our own schedule wants an evaluation after optimizer step `step` (>= 1).

    Every `eval_steps`; with `log_spaced` also at 1, 2, 4, 8, ... before the first regular evaluation, where
    preference training moves fastest.

    Args:
        trainer_eval_steps: the Trainer's own interval; the regular one when `eval_steps` is not set.
    """
    if config.eval_steps is not None and step % config.eval_steps == 0:
        return True
    regular = config.eval_steps or trainer_eval_steps
    return config.log_spaced and step & (step - 1) == 0 and (regular is None or step < regular)


def planned_looks(
    max_steps: int,
    config: HREConfig,
    *,
    trainer_eval_steps: int | None = None,
    epochs: int | None = None,
) -> int | None:
    """Evaluations after the baseline that the whole run will make, `None` when that cannot be known.

    Alpha spending needs the number before the first look. A stop ends the run with fewer, which is safe.

    Args:
        max_steps: optimizer steps of the run.
        trainer_eval_steps: the Trainer evaluates every so many steps, `None` if it does not evaluate by steps.
        epochs: the Trainer evaluates after each of so many epochs, `None` if it does not evaluate by epochs.
    """
    if config.planned_looks is not None:
        return config.planned_looks
    if config.max_overhead is not None or max_steps <= 0:
        return None
    steps = {step for step in range(1, max_steps + 1) if due(step, config, trainer_eval_steps)}
    if trainer_eval_steps:
        # DefaultFlowCallback also evaluates after the last step when that is not on the grid
        steps |= {*range(trainer_eval_steps, max_steps + 1, trainer_eval_steps), max_steps}
    if epochs:
        steps |= {round(max_steps * epoch / epochs) for epoch in range(1, epochs + 1)}
    if config.eval_on_end:
        steps.add(max_steps)
    return len(steps) or None


@dataclass
class Stopwatch:
    """Seconds that HRE takes, all that it does counted, and their share of the wall time since training began.

    Made when HRE begins its own preparations: see `prepared`.

    Args:
        beside: training goes on meanwhile, in another process: HRE takes nothing of its time.
    """

    clock: Callable[[], float] = time.perf_counter
    spent: float = 0.0
    last: float = 0.0
    began: float = field(default=0.0)
    beside: bool = False
    _since: float | None = None

    def __post_init__(self) -> None:
        self.began = self.clock()

    def prepared(self) -> None:
        """All time so far was HRE's start-up."""
        self.spent = self.clock() - self.began

    @contextmanager
    def evaluation(self) -> Iterator[None]:
        """What happens in here is one evaluation, whether it succeeds or not: scores, statistics, record, trackers."""
        self._since = self.clock()
        try:
            yield
        finally:
            self.last = self.seconds
            self.spent += self.last
            self._since = None

    @property
    def seconds(self) -> float:
        """Of the evaluation that goes on, so far; of the last one when none does."""
        return self.last if self._since is None else self.clock() - self._since

    @property
    def overhead(self) -> float | None:
        """Share of the wall time so far, between 0 and 1; the evaluation that goes on included. `None`: `beside`."""
        if self.beside:
            return None
        going_on = 0.0 if self._since is None else self.seconds
        return (self.spent + going_on) / max(self.clock() - self.began, 1e-9)

    def affords(self, cap: float | None) -> bool:
        """Whether one more evaluation like the last keeps the share within `cap`."""
        elapsed = self.clock() - self.began
        return cap is None or (self.spent + self.last) <= cap * (elapsed + self.last)
