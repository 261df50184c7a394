"""Results as flat numbers under stable keys, and where they go: W&B, trackio, TensorBoard.

The keys are an API: `<name>/score`, `<name>/topic/<topic>`, ... where `<name>` is the callback's (`hre`). The
trackers are those of the Trainer's `report_to`. Each draws against `train/global_step`, the axis of the
Trainer's own curves, which also stays right in a resumed run.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .correlation import METRICS, HREResult
from .record import Line, Record, most_moved

if TYPE_CHECKING:
    from transformers import TrainingArguments

logger = logging.getLogger(__name__)
GLOBAL_STEP = "train/global_step"
_TABLE_ROWS = 50


def flatten(result: HREResult, *, name: str = "hre") -> dict[str, float]:
    """All numbers of one evaluation, flat; NaN where undefined.

    Topics appear when there is more than one: a single topic is the score itself.
    """
    topics = result.by_topic()
    values = {
        "score": result.score,
        **{metric: result.mean(metric) for metric in METRICS if metric != "pearson"},
        "n": result.n,
        "undefined": result.undefined,
        "constant_scores": result.constant_scores,
        "truncated": result.truncated,
        "left_out": result.left_out,
        "noise": result.noise,
        **result.length_bias(),
        **result.displacement(),
        **({f"topic/{topic}": mean for topic, (mean, _) in topics.items()} if len(topics) > 1 else {}),
    }
    return {f"{name}/{key}": float(value) for key, value in values.items()}


class Tracker:
    """What a place that shows curves can do; the base does nothing.

    Args:
        name: of the callback, first part of every key.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def start(self, run: Line) -> None:
        """Tell about the run: `run` is the record's run line."""

    def log(self, row: Mapping[str, float], step: int) -> None:
        """Draw the finite numbers of one evaluation at the Trainer's global step."""

    def alert(self, title: str, text: str) -> None:
        """Call for a person."""

    def image(self, key: str, png: bytes, step: int) -> None:
        """Show a PNG."""

    def finish(self, record: Record, summary: Mapping[str, Any]) -> None:
        """Show what is known at the end: the summary, the questions that moved, HRE against the proxies."""


class Trackers:
    """All trackers of a run, as one.

    No failure of theirs reaches training: the first of each is a warning, and all different ones are kept in
    `errors`, for the record.
    """

    def __init__(self, sinks: Sequence[Tracker]) -> None:
        self.sinks = list(sinks)
        self.errors: list[str] = []
        self._warned: set[Tracker] = set()

    @classmethod
    def for_run(cls, args: TrainingArguments, name: str, *, is_main: bool) -> Trackers:
        """The trackers that `args.report_to` names; none except on the main process."""
        if not is_main:
            return cls([])
        makers: dict[str, Callable[[], Tracker]] = {
            "wandb": lambda: WandbTracker(name),
            "trackio": lambda: TrackioTracker(name),
            "tensorboard": lambda: TensorBoardTracker(name, Path(args.output_dir or ".")),
        }
        return cls([make() for place, make in makers.items() if place in (args.report_to or ())])

    def start(self, run: Line) -> None:
        """See `Tracker.start`."""
        self._each(lambda sink: sink.start(run))

    def log(self, row: Mapping[str, float | None], step: int) -> None:
        """See `Tracker.log`; an undefined number is left out, which draws a gap and not a zero."""
        finite = {
            key: float(value) for key, value in row.items() if value is not None and math.isfinite(value)
        }
        self._each(lambda sink: sink.log(finite, step))

    def alert(self, title: str, text: str) -> None:
        """See `Tracker.alert`."""
        self._each(lambda sink: sink.alert(title, text))

    def image(self, key: str, png: bytes | str | Path, step: int) -> None:
        """Show a PNG, given as its bytes or its file, under `<name>/<key>`."""
        data = png if isinstance(png, bytes) else Path(png).read_bytes()
        self._each(lambda sink: sink.image(f"{sink.name}/{key}", data, step))

    def finish(self, record: Record, summary: Mapping[str, Any]) -> None:
        """See `Tracker.finish`."""
        self._each(lambda sink: sink.finish(record, summary))

    def _each(self, call: Callable[[Tracker], None]) -> None:
        for sink in self.sinks:
            try:
                call(sink)
            except Exception as error:  # whatever a tracker throws, training goes on and the record says so
                self._failed(sink, error)

    def _failed(self, sink: Tracker, error: Exception) -> None:
        text = f"{type(sink).__name__}: {type(error).__name__}: {error}"
        if text not in self.errors:
            self.errors.append(text)
        if sink not in self._warned:
            self._warned.add(sink)
            logger.warning("HRE could not write to a tracker; training goes on (said once): %s", text)


class WandbTracker(Tracker):
    """Writes to the active W&B run, which the Trainer's `WandbCallback` or the user has made."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._defined: set[str] = set()

    def start(self, run: Line) -> None:
        """Put the questions' fingerprint, the config and the versions under `<name>` in the run's config."""
        _wandb_run().config.update({self.name: _config_block(run)}, allow_val_change=True)

    def log(self, row: Mapping[str, float], step: int) -> None:
        """Log one row.

        Never with `step=`: the Trainer logs without it, so W&B would shift or drop the row. And in one call: a
        row that holds HRE and the proxies lets W&B plot one against the other.
        """
        self._define(row)
        _wandb_run().log({**row, GLOBAL_STEP: step})

    def alert(self, title: str, text: str) -> None:
        """Send a W&B alert of level WARN."""
        _wandb_run().alert(title=title, text=text, level="WARN")

    def image(self, key: str, png: bytes, step: int) -> None:
        """Log a `wandb.Image`."""
        import wandb
        from PIL import Image

        self._define([key])
        _wandb_run().log({key: wandb.Image(Image.open(BytesIO(png))), GLOBAL_STEP: step})

    def finish(self, record: Record, summary: Mapping[str, Any]) -> None:
        """Write the summary; log the table and the charts, once, in one row. The run stays open: it is not ours."""
        run = _wandb_run()
        known = {**summary, "stop_reason": _stop_reason(record)}
        run.summary.update({f"{self.name}/{key}": value for key, value in known.items() if value is not None})
        media = _wandb_media(self.name, record)
        if media:
            self._define(media)
            run.log({**media, GLOBAL_STEP: record.evaluations[-1]["step"]})

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

    def log(self, row: Mapping[str, float], step: int) -> None:
        """Log one row; trackio's own step counts rows, so the axis to choose is `train/global_step`."""
        import trackio

        trackio.log({**row, GLOBAL_STEP: step})

    def alert(self, title: str, text: str) -> None:
        """Fire a trackio alert."""
        import trackio

        trackio.alert(title, text)


class TensorBoardTracker(Tracker):
    """Writes event files in a folder of its own, inside the one where the Trainer writes its events.

    Not beside the Trainer's file: TensorBoard reads the files of one folder one after the other, and leaves
    the first for good when a second appears, so the Trainer's live curves would freeze.
    """

    def __init__(self, name: str, output_dir: Path) -> None:
        super().__init__(name)
        self.output_dir = output_dir
        self._open_writer: Any = None
        self._step = 0

    @property
    def _writer(self) -> Any:
        if self._open_writer is None:
            from torch.utils.tensorboard import SummaryWriter

            folder = _tensorboard_folder(self.output_dir) / self.name
            self._open_writer = SummaryWriter(str(folder), filename_suffix=_OWN_EVENTS)
        return self._open_writer

    def start(self, run: Line) -> None:
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

    def finish(self, record: Record, summary: Mapping[str, Any]) -> None:
        """Add the summary as a text and close the file."""
        self._text("summary", {**summary, "stop_reason": _stop_reason(record)})
        self._writer.close()
        self._open_writer = None

    def _text(self, key: str, values: Mapping[str, Any]) -> None:
        lines = [f"- {item}: {value}" for item, value in values.items() if value is not None]
        self._writer.add_text(f"{self.name}/{key}", "\n".join(lines), self._step)
        self._writer.flush()


_OWN_EVENTS = ".hre_callback"


def _tensorboard_folder(output_dir: Path) -> Path:
    """Where the Trainer writes: what the user fixed, else the folder of the newest event file of its own."""
    from transformers.integrations.integration_utils import default_logdir

    fixed = os.getenv("TENSORBOARD_LOGGING_DIR")
    if fixed:
        return Path(fixed).expanduser()
    events = [file for file in output_dir.glob("runs/**/events.out.tfevents.*") if file.suffix != _OWN_EVENTS]
    if not events:
        return output_dir / default_logdir()
    return max(events, key=lambda file: file.stat().st_mtime_ns).parent


def _wandb_run() -> Any:
    import wandb

    if wandb.run is None:
        raise RuntimeError(
            "no W&B run is active, so HRE is not in W&B (the record has it); "
            'keep "wandb" in report_to or call wandb.init() before training'
        )
    return wandb.run


def _wandb_media(name: str, record: Record) -> dict[str, Any]:
    """The table of the questions that moved, all curves in one chart, HRE against each proxy."""
    import wandb

    media: dict[str, Any] = {}
    columns, rows = most_moved(record, _TABLE_ROWS)
    if rows:
        media[f"{name}/most_moved"] = wandb.Table(columns=columns, data=rows)
    score = f"{name}/score"
    curves = _curves(record, score)
    if score not in curves or len(curves) < 2:
        return media
    scaled = {key: (list(curve), _standardised(list(curve.values()))) for key, curve in curves.items()}
    media[f"{name}/curves"] = wandb.plot.line_series(
        xs=[steps for steps, _ in scaled.values()],
        ys=[values for _, values in scaled.values()],
        keys=list(scaled),
        title="HRE and the training signals, each in standard deviations from its mean",
        xname=GLOBAL_STEP,
    )
    for key, curve in curves.items():
        pairs = [[value, curves[score][step], step] for step, value in curve.items() if step in curves[score]]
        if key != score and len(pairs) > 1:
            table = wandb.Table(columns=[key, score, "step"], data=pairs)
            media[f"{name}/against/{key}"] = wandb.plot.scatter(table, key, score, title=f"HRE against {key}")
    return media


def _curves(record: Record, score: str) -> dict[str, dict[int, float]]:
    """Step -> value of the score and of every proxy that has two values or more and is not constant."""
    curves: dict[str, dict[int, float]] = {score: {}}
    for look in record.evaluations:
        for key, value in {score: look["metrics"].get(score), **look["proxies"]}.items():
            if value is not None:
                curves.setdefault(key, {})[look["step"]] = value
    return {key: curve for key, curve in curves.items() if len(set(curve.values())) > 1}


def _standardised(values: Sequence[float]) -> list[float]:
    centred = np.asarray(values) - np.mean(values)
    return [float(value) for value in centred / np.std(centred)]


def _config_block(run: Line) -> dict[str, Any]:
    known = ("fingerprint", "planned_looks", "human_ceiling", "versions")
    return {
        **(run.get("config") or {}),
        **{key: run[key] for key in known if key in run},
        "n_questions": len(run["questions"]),
    }


def _stop_reason(record: Record) -> str | None:
    stops = [event for event in record.events if event["kind"] == "stop"]
    return str(stops[-1].get("reason")) if stops else None
