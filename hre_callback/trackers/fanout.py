"""What is shown of a run, when, in all trackers of the Trainer's `report_to`, see `trackers.py`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..plain_text import plain_lines, plain_logger, plain_text
from ..run.keys import CHART, MOVED
from ..run.lines import RunLine, Summary
from ..run.record import Record
from ..run.words import no_workspace_line
from ..views.changes import most_moved
from ..views.figure import main_figure
from ..views.reading import Reading
from .base import TensorBoardTracker, Tracker, TrackioTracker, WandbTracker
from .workspace import save_run_workspace

if TYPE_CHECKING:
    from transformers import TrainingArguments

logger = plain_logger(__name__)
# Looks of a run at which pictures and tables are sent, about.
_SHOWN = 20
# Of each such look.
_TABLE_ROWS = 20


class Trackers:
    """All trackers of a run, as one.

    No failure of theirs reaches training: the first of each is a warning, and all different ones are kept in
    `errors`, for the record.
    """

    def __init__(self, sinks: Sequence[Tracker]) -> None:
        self.sinks = list(sinks)
        self.errors: list[str] = []
        self._warned: set[Tracker] = set()
        self._draws = True
        # Evaluations and events that the last picture knew.
        self._shown = (0, 0)
        # Evaluations that the last `finish` knew.
        self._finished = -1
        self._constants: dict[str, float] = {}
        # Whether somebody has asked for the workspace already.
        self.workspace_tried = False

    @classmethod
    def for_run(cls, args: TrainingArguments, name: str, *, is_main: bool) -> Trackers:
        """The trackers that `args.report_to` names; none except on the main process."""
        wanted = [args.report_to] if isinstance(args.report_to, str) else list(args.report_to or ())
        if not is_main:
            return cls([])
        return cls.at(wanted, name, Path(args.output_dir or "."), getattr(args, "logging_dir", None))

    @classmethod
    def at(cls, places: Sequence[str], name: str, folder: Path, logging_dir: str | None = None) -> Trackers:
        """The trackers of these names; `folder` is the training's `output_dir`, `logging_dir` of transformers 4."""
        makers: dict[str, Callable[[], Tracker]] = {
            "wandb": lambda: WandbTracker(name),
            "trackio": lambda: TrackioTracker(name),
            "tensorboard": lambda: TensorBoardTracker(name, folder, logging_dir),
        }
        others = [place for place in places if place not in makers and place != "none"]
        if others:
            logger.warning(
                f"HRE writes to {', '.join(makers)} and not to {', '.join(others)}: what it finds is in its record "
                "and in the Trainer's log history."
            )
        return cls([make() for place, make in makers.items() if place in places])

    def start(self, run: RunLine) -> None:
        """See `Tracker.start`."""
        self._each(lambda sink: sink.start(run))

    def log(self, row: Mapping[str, float | None], step: int) -> None:
        """See `Tracker.log`; an undefined number is left out, which draws a gap and not a zero."""
        finite = {
            plain_text(key): float(value) for key, value in row.items() if value is not None and math.isfinite(value)
        }
        self._each(lambda sink: sink.log(finite, step))

    def constants(self, values: Mapping[str, float]) -> None:
        """See `Tracker.constants`; nothing happens where they are what they were."""
        if values != self._constants:
            self._constants = {plain_text(key): value for key, value in values.items()}
            self._each(lambda sink: sink.constants(self._constants))

    def alert(self, title: str, text: str) -> None:
        """See `Tracker.alert`."""
        self._each(lambda sink: sink.alert(plain_text(title), plain_text(text)))

    def image(self, key: str, png: bytes | str | Path, step: int) -> None:
        """Show a PNG, given as its bytes or its file, under `<name>/<key>`."""
        data = png if isinstance(png, bytes) else Path(png).read_bytes()
        self._each(lambda sink: sink.image(f"{sink.name}/{key}", data, step))

    def show(self, record: Record) -> None:
        """Show the run so far, at about twenty looks of it: its chart, and the questions that moved most.

        Looks beyond the plan, or without one, are shown ever more rarely.
        """
        look = len(record.evaluations) - 1
        if look % math.ceil(max(record.run.planned_looks or 0, look, 1) / _SHOWN) == 0:
            self._show(record)

    def finish(self, record: Record, summary: Summary) -> None:
        """Show the whole run, then `Tracker.finish`; nothing happens the second time, unless there was another look."""
        if self._finished == len(record.evaluations):
            return
        self._finished = len(record.evaluations)
        self._show(record)
        self._each(lambda sink: sink.finish(record, summary))

    def save_workspace(self, record: Record) -> str | None:
        """The address of a W&B workspace for the run, which is saved now; `None` where it can't be, which is said."""
        try:
            return save_run_workspace(record)
        except Exception as error:
            # Without the extra, offline, without a key, or refused.
            reason = no_workspace_line(str(error))
            self.errors.append(reason)
            logger.warning("%s", reason)
            return None

    def _show(self, record: Record) -> None:
        known = len(record.evaluations), len(record.events)
        if not self.sinks or not record.evaluations or known == self._shown:
            return
        step = record.evaluations[-1].step
        picture = self._chart(record)
        if picture is not None:
            self.image(CHART, picture, step)
        columns, rows = most_moved(record, _TABLE_ROWS)
        if rows and known[0] != self._shown[0]:
            named = ["step", *columns]
            stepped = [[step, *(plain_lines(cell) if isinstance(cell, str) else cell for cell in row)] for row in rows]
            self._each(lambda sink: sink.table(f"{sink.name}/{MOVED}", named, stepped, step))
        self._shown = known

    def _chart(self, record: Record) -> bytes | None:
        """The run's chart as a PNG; None when it cannot be drawn, for one, without matplotlib, which is an extra."""
        if not self._draws:
            return None
        try:
            from ..views.png import chart_png

            return chart_png(main_figure(Reading(record)))
        except Exception as error:
            # A picture is not worth a training run.
            self._draws = False
            self.errors.append(f"chart: {type(error).__name__}: {error}")
            logger.warning("The trackers get no chart image; all else goes on (said once): %s", error)
            return None

    def _each(self, call: Callable[[Tracker], None]) -> None:
        for sink in self.sinks:
            try:
                call(sink)
            except Exception as error:
                # Whatever a tracker throws, training goes on and the record says so.
                self._failed(sink, error)

    def _failed(self, sink: Tracker, error: Exception) -> None:
        text = f"{type(sink).__name__}: {type(error).__name__}: {error}"
        if text not in self.errors:
            self.errors.append(text)
        if sink not in self._warned:
            self._warned.add(sink)
            logger.warning("HRE could not write to a tracker; training goes on (said once): %s", text)
