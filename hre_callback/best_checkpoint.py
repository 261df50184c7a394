"""The checkpoint of the best look, kept also where `save_total_limit` takes old checkpoints away.

The Trainer spares one checkpoint alone: the one that its state names as the best. Where nothing else selects, that is
the one of HRE; where another metric selects, both can't be had, and that is said before the first step.
"""

from __future__ import annotations

from pathlib import Path

from transformers import TrainerState, TrainingArguments


def check_can_keep(args: TrainingArguments, metric: str) -> None:
    """Refuse settings of the Trainer with which `save_best` could not keep its promise.

    Args:
        metric: `eval_<name>`, under which the Trainer sees the score.

    Raises:
        ValueError: names what stands against it and the setting that works.
    """
    if _selects(args, metric):
        if not args.greater_is_better:
            raise ValueError(
                f"save_best keeps the highest HRE and metric_for_best_model={args.metric_for_best_model!r} with "
                "greater_is_better=False the lowest; set greater_is_better=True"
            )
        return
    if args.metric_for_best_model is None:
        return
    instead = f"set metric_for_best_model={metric!r} and greater_is_better=True"
    if _limit(args) is not None:
        raise ValueError(
            f"save_best cannot keep the best HRE checkpoint with save_total_limit={args.save_total_limit}: of old ones "
            f"the Trainer spares only the best by metric_for_best_model={args.metric_for_best_model!r}; {instead}, or "
            "save_total_limit=None"
        )
    if args.save_strategy == "best":
        raise ValueError(
            f'save_best asks for checkpoints that save_strategy="best" refuses, where {args.metric_for_best_model!r} '
            f'is not at its best; {instead}, or save_strategy="steps"'
        )


def check_one_keeps(args: TrainingArguments, names: list[str]) -> None:
    """Refuse several callbacks that want to keep a checkpoint each.

    Args:
        names: of the callbacks of one trainer that have `save_best`.

    Raises:
        ValueError: the Trainer spares only one.
    """
    if len(names) > 1 and _limit(args) is not None:
        raise ValueError(
            f"save_best of {' and '.join(map(repr, names))} cannot both keep a checkpoint with save_total_limit="
            f"{args.save_total_limit}: the Trainer spares one; set save_best in one of them, or save_total_limit=None"
        )


def mark_best(args: TrainingArguments, state: TrainerState, metric: str, score: float, *, compared: bool) -> None:
    """Name this step as the best one, before the Trainer saves its checkpoint and takes older ones away.

    Args:
        compared: the Trainer is about to compare this score with its best itself, and would find no better one.
    """
    selects = _selects(args, metric)
    if selects and not compared:
        # An evaluation of ours between the Trainer's own: what comes has to be better than this one.
        state.best_metric, state.best_global_step = score, state.global_step
    if args.metric_for_best_model is None:
        state.best_global_step = state.global_step


class LastKept:
    """With a limit of 1 the Trainer deletes, at the very end, all but the best: the last one too."""

    def __init__(self) -> None:
        self._best: str | None = None

    def spare(self, args: TrainingArguments, state: TrainerState) -> None:
        """Let the Trainer know of no best one while it tidies up, unless it has selected that one itself."""
        if args.metric_for_best_model is None and _limit(args) == 1:
            self._best, state.best_model_checkpoint = state.best_model_checkpoint, None

    def restore(self, state: TrainerState) -> None:
        """Name it again."""
        if self._best is not None:
            state.best_model_checkpoint, self._best = self._best, None


def kept(args: TrainingArguments, state: TrainerState, step: int) -> bool:
    """Whether there is a checkpoint of this step."""
    folders = {Path(args.output_dir or ".")}
    if state.best_model_checkpoint is not None:
        # Of a search for hyperparameters: each trial has a folder of its own.
        folders.add(Path(state.best_model_checkpoint).parent)
    return any((folder / f"checkpoint-{step}").is_dir() for folder in folders)


def _selects(args: TrainingArguments, metric: str) -> bool:
    return args.metric_for_best_model in (metric, metric.removeprefix("eval_"))


def _limit(args: TrainingArguments) -> int | None:
    limit = args.save_total_limit
    return limit if limit is not None and limit > 0 else None
