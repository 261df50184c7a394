"""What the Trainer's own arguments say that HRE goes by: its schedule, its chat template's arguments, its name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from transformers import TrainerState, TrainingArguments

from .config import HREConfig
from .run.schedule import planned_looks


def trainer_eval_steps(args: TrainingArguments, state: TrainerState) -> int | None:
    """How often the Trainer evaluates by steps; `None` where it does not."""
    return int(state.eval_steps) if args.eval_strategy == "steps" and state.eval_steps else None


def with_template_kwargs(config: HREConfig, args: TrainingArguments) -> HREConfig:
    """The trainer's own arguments of the chat template (GRPO and others have them), unless the user gave HRE some."""
    given = getattr(args, "chat_template_kwargs", None)
    if config.prompt != "chat" or config.chat_template_kwargs is not None or not given:
        return config
    return replace(config, chat_template_kwargs=given)


def looks_to_come(args: TrainingArguments, state: TrainerState, config: HREConfig) -> int | None:
    """Evaluations after the baseline that this run will have; `None` when unknown."""
    epochs = state.num_train_epochs if args.eval_strategy == "epoch" else None
    return planned_looks(state.max_steps, config, trainer_eval_steps=trainer_eval_steps(args, state), epochs=epochs)


def describe_run(args: TrainingArguments, model: Any) -> dict[str, Any]:
    """What the record says of the run beside the questions: which model, which training arguments class."""
    name = getattr(getattr(model, "config", None), "_name_or_path", None) or type(model).__name__
    return {
        # A folder's place says nothing to others.
        "model": Path(name).name if Path(name).is_dir() else name,
        "trainer": type(args).__name__.removesuffix("Config").removesuffix("TrainingArguments") or "Trainer",
        "run_name": args.run_name,
    }
