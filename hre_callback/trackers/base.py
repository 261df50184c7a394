"""The places that show a run: W&B, trackio, TensorBoard.

Each draws against `train/global_step`, the axis of the Trainer's own curves, which also stays right in a resumed run.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from ..plain_text import as_markdown, plain_text
from ..run.keys import GLOBAL_STEP, constants
from ..run.line_checks import json_of
from ..run.lines import RunLine, Summary
from ..run.record import Record
from .wandb_charts import end_charts


class Tracker:
    """What a place that shows curves can do; the base does nothing.

    Args:
        name: of the callback, first part of every key.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def start(self, run: RunLine) -> None:
        """Tell about the run: `run` is the record's run line."""

    def log(self, row: Mapping[str, float], step: int) -> None:
        """Draw the finite numbers of one evaluation at the Trainer's global step."""

    def constants(self, values: Mapping[str, float]) -> None:
        """Tell what is the same at every evaluation and no curve, by its key without the run's name."""

    def alert(self, title: str, text: str) -> None:
        """Call for a person."""

    def image(self, key: str, png: bytes, step: int) -> None:
        """Show a PNG."""

    def table(self, key: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], step: int) -> None:
        """Add rows to a table that grows with the run."""

    def finish(self, record: Record, summary: Summary) -> None:
        """Show what is known at the end: the summary, HRE against the proxies."""


class WandbTracker(Tracker):
    """Writes to the active W&B run, which the Trainer's `WandbCallback` or the user has made."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._defined: set[str] = set()
        self._tables: dict[str, Any] = {}

    def start(self, run: RunLine) -> None:
        """Put the questions' fingerprint, the config and the versions under `<name>` in the run's config."""
        _wandb_run().config.update({self.name: _config_block(run)}, allow_val_change=True)

    def log(self, row: Mapping[str, float], step: int) -> None:
        """Log one row.

        Never with `step=`: the Trainer logs without it, so W&B would shift or drop the row. And in one call: a
        row that holds HRE and the proxies lets W&B plot one against the other.
        """
        self._define(row)
        _wandb_run().log({**row, GLOBAL_STEP: step})

    def constants(self, values: Mapping[str, float]) -> None:
        """Put them into the run's summary at once: a killed run has no end."""
        _wandb_run().summary.update({f"{self.name}/{key}": value for key, value in values.items()})

    def alert(self, title: str, text: str) -> None:
        """Send a W&B alert of level WARN."""
        _wandb_run().alert(title=title, text=text, level="WARN")

    def image(self, key: str, png: bytes, step: int) -> None:
        """Log a `wandb.Image`."""
        import wandb
        from PIL import Image

        self._define([key])
        _wandb_run().log({key: wandb.Image(Image.open(BytesIO(png))), GLOBAL_STEP: step})

    def table(self, key: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], step: int) -> None:
        """Log the new rows alone: an incremental table, whose cost does not grow with the run."""
        import wandb

        if key not in self._tables:
            self._tables[key] = wandb.Table(columns=list(columns), log_mode="INCREMENTAL")
        for row in rows:
            self._tables[key].add_data(*row)
        self._define([key])
        _wandb_run().log({key: self._tables[key], GLOBAL_STEP: step})

    def finish(self, record: Record, summary: Summary) -> None:
        """Write the summary; log the charts, once, in one row. The run stays open: it is not ours."""
        run = _wandb_run()
        known = _last_words(self.name, record, summary)
        run.summary.update({f"{self.name}/{key}": value for key, value in known.items() if value is not None})
        media = end_charts(self.name, record, GLOBAL_STEP) if record.run.config.get("log") == "all" else {}
        if media:
            self._define(media)
            run.log({**media, GLOBAL_STEP: record.evaluations[-1].step})

    def _define(self, keys: Mapping[str, Any] | Sequence[str]) -> None:
        # Exact names: the first glob that matches wins, and WandbCallback has defined "*" by now.
        run = _wandb_run()
        for key in keys:
            if key in self._defined or "*" in key:
                continue
            summary = "max,last" if key == f"{self.name}/score" else None
            run.define_metric(key, step_metric=GLOBAL_STEP, summary=summary)
            self._defined.add(key)


class TrackioTracker(Tracker):
    """Writes to the active trackio run, which the Trainer's `TrackioCallback` has made and will finish."""

    def start(self, run: RunLine) -> None:
        """Put the run under `<name>` in trackio's config, which goes out with the first row."""
        import trackio

        trackio.config.update({self.name: _config_block(run)}, allow_val_change=True)

    def log(self, row: Mapping[str, float], step: int) -> None:
        """Log one row; trackio's own step counts rows, so the axis to choose is `train/global_step`."""
        import trackio

        trackio.log({**row, GLOBAL_STEP: step})

    def alert(self, title: str, text: str) -> None:
        """Fire a trackio alert."""
        import trackio

        trackio.alert(title, text)

    def image(self, key: str, png: bytes, step: int) -> None:
        """Log a `trackio.Image`."""
        import trackio
        from PIL import Image

        trackio.log({key: trackio.Image(Image.open(BytesIO(png))), GLOBAL_STEP: step})

    def table(self, key: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], step: int) -> None:
        """Log the new rows as a `trackio.Table` of their own."""
        import trackio

        table = trackio.Table(columns=list(columns), data=[list(row) for row in rows])
        trackio.log({key: table, GLOBAL_STEP: step})

    def finish(self, record: Record, summary: Summary) -> None:
        """Log the summary as a Markdown list: trackio has no summary of its own."""
        import trackio

        text = _markdown(_last_words(self.name, record, summary))
        step = record.evaluations[-1].step if record.evaluations else 0
        trackio.log({f"{self.name}/summary": trackio.Markdown(text), GLOBAL_STEP: step})


class TensorBoardTracker(Tracker):
    """Writes event files in a folder of its own, inside the one where the Trainer writes its events.

    Not beside the Trainer's file: TensorBoard reads the files of one folder one after the other, and leaves
    the first for good when a second appears, so the Trainer's live curves would freeze.
    """

    def __init__(self, name: str, output_dir: Path, logging_dir: str | None = None) -> None:
        super().__init__(name)
        self.output_dir = output_dir
        self.logging_dir = logging_dir
        self._open_writer: Any = None
        self._step = 0

    @property
    def _writer(self) -> Any:
        if self._open_writer is None:
            from torch.utils.tensorboard import SummaryWriter

            folder = _tensorboard_folder(self.output_dir, self.logging_dir) / self.name
            self._open_writer = SummaryWriter(str(folder), filename_suffix=_OWN_EVENTS)
        return self._open_writer

    def start(self, run: RunLine) -> None:
        """Open the file while the Trainer's is the newest, and describe the run in it."""
        self._text("config", _config_block(run))

    def log(self, row: Mapping[str, float], step: int) -> None:
        """Add one scalar per key at the global step."""
        self._step = step
        for key, value in row.items():
            self._writer.add_scalar(key, value, step)
        self._writer.flush()

    def alert(self, title: str, text: str) -> None:
        """Add the alert as a text."""
        self._text("alert", {title: text})

    def image(self, key: str, png: bytes, step: int) -> None:
        """Add an image."""
        from PIL import Image

        pixels = np.asarray(Image.open(BytesIO(png)).convert("RGB"))
        self._writer.add_image(key, pixels, step, dataformats="HWC")
        self._writer.flush()

    def finish(self, record: Record, summary: Summary) -> None:
        """Add the summary as a text and close the file."""
        self._text("summary", _last_words(self.name, record, summary))
        self._writer.close()
        self._open_writer = None

    def _text(self, key: str, values: Mapping[str, Any]) -> None:
        self._writer.add_text(f"{self.name}/{key}", _markdown(values), self._step)
        self._writer.flush()


_OWN_EVENTS = ".hre_callback"


def _tensorboard_folder(output_dir: Path, logging_dir: str | None) -> Path:
    """Where the Trainer writes: what the user fixed, else the folder of the newest event file of its own.

    Args:
        logging_dir: of the training arguments in transformers 4, which knows no variable for it.
    """
    fixed = os.getenv("TENSORBOARD_LOGGING_DIR")
    if fixed and not logging_dir:
        return Path(fixed).expanduser()
    place = Path(logging_dir).expanduser() if logging_dir else output_dir / "runs"
    events = [file for file in place.rglob("events.out.tfevents.*") if file.suffix != _OWN_EVENTS]
    if events:
        return max(events, key=lambda file: file.stat().st_mtime_ns).parent
    # As the Trainer names it.
    return place if logging_dir else place / f"{datetime.now():%b%d_%H-%M-%S}_{socket.gethostname()}"


def _wandb_run() -> Any:
    import wandb

    if wandb.run is None:
        raise RuntimeError(
            "no W&B run is active, so HRE is not in W&B (the record has it); "
            'keep "wandb" in report_to or call wandb.init() before training'
        )
    return wandb.run


def _config_block(run: RunLine) -> dict[str, Any]:
    known = {
        "fingerprint": run.fingerprint,
        "planned_looks": run.planned_looks,
        "human_ceiling": run.human_ceiling,
        "human_hre": run.human_hre,
        "overlap": run.overlap,
        "directions": run.directions or None,
        "versions": run.versions,
    }
    told = {key: value for key, value in known.items() if value is not None}
    return {**run.config, **told, "n_questions": len(run.questions)}


def _last_words(name: str, record: Record, summary: Summary) -> dict[str, Any]:
    """What stands beside a finished run: its summary, why it stopped, and what was the same at every evaluation."""
    stops = [event.reason for event in record.events if event.kind == "stop"]
    known = constants(record.evaluations[-1].metrics, name) if record.evaluations else {}
    told = {plain_text(key): value for key, value in known.items()}
    return {**json_of(summary), "stop_reason": stops[-1] if stops else None, **told}


def _markdown(values: Mapping[str, Any]) -> str:
    """A list; what it says may come from outside."""
    return "\n".join(f"- {item}: {as_markdown(value)}" for item, value in values.items() if value is not None)
