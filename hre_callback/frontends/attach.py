"""`hre run`, inside a process of the command: each Trainer that HRE can score gets one callback."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

from transformers import EarlyStoppingCallback, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK
from transformers.trainer_callback import DefaultFlowCallback

from .. import distributed
from ..callback import HumanRankEvalCallback
from ..patience import callbacks_beside
from ..plain_text import plain_text
from ..scoring.errors import ForwardError
from ..scoring.evaluator import HumanRankEvaluator
from ..settings_file import Settings
from ..unpublished import record_path
from .settings import from_json

Tell = Callable[[str], None]
Note = Callable[[str, str], None]
# Numbers the callbacks of a process, alike on all ranks.
_made = count()
# Seconds that ranks may begin apart, data being read on some of them.
_TOGETHER = 300.0


def attach(handler: Any, trainer: Any, tell: Tell, note: Note) -> None:
    """Put a callback into the `CallbackHandler` that `trainer` has just made, unless it holds one.

    Args:
        tell: says a line to the person.
        note: leaves word for the end of `hre run`: "attached" or "left", and a line.

    Raises:
        ValueError: the questions cannot be loaded any more.
    """
    name = type(trainer).__name__ if trainer is not None else "a Trainer"
    if any(isinstance(one, HumanRankEvalCallback) for one in handler.callbacks):
        if distributed.rank() == 0:
            tell(_has_one(name))
        note("attached", "")
        return
    callback = LaunchedCallback(from_json(os.environ["HRE_RUN"]), name, tell, note)
    handler.callbacks.insert(place_among(handler.callbacks), callback)


def place_among(callbacks: Sequence[TrainerCallback]) -> int:
    """Behind the trackers, whose runs must be open; before early stopping, which needs the metric."""
    shows = (DefaultFlowCallback, *INTEGRATION_TO_CALLBACK.values())
    behind = 1 + max((place for place, one in enumerate(callbacks) if isinstance(one, shows)), default=-1)
    stops = (place for place, one in enumerate(callbacks) if isinstance(one, EarlyStoppingCallback))
    return min(behind, next(stops, len(callbacks)))


def _has_one(name: str) -> str:
    return f"HRE: {plain_text(name)} has a HumanRankEvalCallback of its own; hre run adds none"


class _LeftAlone(Exception):  # noqa: N818 - no failure: the Trainer trains on without HRE
    """HRE cannot score what this Trainer trains."""


class LaunchedCallback(HumanRankEvalCallback):
    """The callback of a Trainer that did not ask for it: what HRE cannot score is left alone with a sentence.

    With `on_error="raise"` it ends the run, as a callback attached by hand does.
    """

    def __init__(self, settings: Settings, trainer: str, tell: Tell, note: Note) -> None:
        super().__init__(settings.load(), settings.config)
        self._trainer, self._tell, self._note = plain_text(trainer), tell, note
        self._told = False
        self._come_as = f"callback {next(_made)}"
        self._absent: list[int] | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """As by hand, where the model can be scored."""
        if self._gives_way(args):
            return
        try:
            super().on_train_begin(args, state, control, **kwargs)
        except _LeftAlone as why:
            self._leave(args, why)

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """As by hand, where the model can be scored."""
        if not self._serves(state) and self._gives_way(args):
            return
        try:
            super().on_evaluate(args, state, control, **kwargs)
        except _LeftAlone as why:
            self._leave(args, why)

    def _make_evaluator(self, args: TrainingArguments, kwargs: dict[str, Any]) -> HumanRankEvaluator:
        try:
            evaluator = super()._make_evaluator(args, kwargs)
        except ForwardError:
            raise
        except ValueError as error:
            # What cannot be scored at all, by the word of the evaluator that tried.
            if self.config.on_error == "raise":
                raise
            raise _LeftAlone(str(error)) from error
        if not self._told:
            self._told = True
            self._note("attached", "")
            record = "" if "metrics" in kwargs else f", record {record_path(args, self.config.name)}"
            words = f"{len(self.questions)} questions, prompt {self.config.prompt}{record}"
            self._say(args, f"HRE attached to {self._trainer}: {words}")
        return evaluator

    def _gives_way(self, args: TrainingArguments) -> bool:
        """Make room for a callback that the Trainer was given after it was made; go where other ranks have none."""
        if self._absent is None:
            # Where a launcher gave our variables to some ranks alone, these would wait for the others for ever.
            self._absent = distributed.absent(self._come_as, _TOGETHER)
        if self._absent:
            why = f"ranks {self._absent} came without it; start hre run on every machine"
            line = f"HRE leaves {self._trainer} alone: {why}"
            self._note("left", line)
            self._say(args, line)
            self._go()
            return True
        others = [one for one in callbacks_beside(self) if isinstance(one, HumanRankEvalCallback) and one is not self]
        if others:
            self._note("attached", "")
            self._say(args, _has_one(self._trainer))
            self._go()
        return bool(others)

    def _leave(self, args: TrainingArguments, why: _LeftAlone) -> None:
        line = f"HRE leaves {self._trainer} alone: {plain_text(why)}"
        self._note("left", line)
        self._say(args, line)
        self._let_go()
        self._go()

    def _go(self) -> None:
        """Out of the list, in which the handler may just be going from one to the next: its length must stay."""
        callbacks = callbacks_beside(self)
        callbacks[callbacks.index(self)] = TrainerCallback()

    def _say(self, args: TrainingArguments, line: str) -> None:
        if args.process_index == 0:
            self._tell(plain_text(line))
