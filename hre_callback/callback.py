"""The Trainer callback: decides when to evaluate, calls down, puts results where the Trainer looks for them."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from tqdm.auto import tqdm
from transformers import (
    EarlyStoppingCallback,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.utils import logging

from . import distributed
from .config import HREConfig
from .contamination import find_overlap
from .encoding import trained_on_chat
from .evaluator import HumanRankEvaluator
from .loglikelihood import EvaluationError
from .monitor import Monitor, Outcome
from .proxies import Direction, check_directions
from .questions import Question
from .rewards import RewardFunc, Rewards, score_rewards, total
from .schedule import Stopwatch, due, planned_looks
from .tracking import Trackers

logger = logging.get_logger(__name__)


class HumanRankEvalCallback(TrainerCallback):
    """Runs HumanRankEval inside training and shows where the training objective and people part ways.

    Add it to any transformers or TRL trainer. It evaluates at step 0, at every evaluation of the Trainer, every
    `config.eval_steps` and at the end; puts `eval_hre` into the Trainer's metrics (so that
    `metric_for_best_model="eval_hre"` works) and its log history, the curves into W&B, trackio or TensorBoard
    (`args.report_to`), and everything into `<output_dir>/<config.name>.jsonl`. Training is not changed: same
    weights, same optimizer state, same logs, bit for bit.

    Args:
        questions: held-out questions with voted answers, see `load_questions`.
        config: see `HREConfig`.
        reward_funcs: the list that `GRPOTrainer` gets (functions, reward models, their folders or hub ids): each
            scores the held-out answers once, and its agreement with the votes is logged as `mismatch/human_reward`.
        proxies: which way is better for training signals that are not known by name, `{"my_metric": "up"}`.

    Example:
    ```python
    questions = load_questions("huawei-noah/human_rank_eval", max_questions=512)
    trainer = DPOTrainer(..., callbacks=[HumanRankEvalCallback(questions, HREConfig(eval_steps=50))])
    ```
    """

    def __init__(
        self,
        questions: Sequence[Question],
        config: HREConfig | None = None,
        *,
        reward_funcs: Sequence[RewardFunc | torch.nn.Module | str] = (),
        proxies: Mapping[str, Direction] | None = None,
    ) -> None:
        self.config = config or HREConfig()
        self.reward_funcs = tuple(reward_funcs)
        self.directions = check_directions(proxies)
        self.questions = tuple(questions)
        if not self.questions:
            raise ValueError("HumanRankEvalCallback needs at least one question; got none")
        self.metric = f"eval_{self.config.name}"
        self.evaluator: HumanRankEvaluator | None = None
        self.monitor: Monitor | None = None  # from on_train_begin to on_train_end
        self._trackers = Trackers([])
        self._stopwatch = Stopwatch()
        self._waiting: dict[str, bool] | None = None  # an evaluation to be made as soon as the step is logged

    # ---- events, in the order of a run -------------------------------------------------------------------

    def on_init_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Refuse an order of callbacks in which early stopping would never see HRE."""
        self._check_order()

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Tokenise and plan, open or take up the record, take the baseline."""
        self._check_order()
        self._stopwatch = Stopwatch()
        self.evaluator = self._make_evaluator(kwargs)
        self._warn_about_prompt(kwargs)
        overlap = self._check_contamination(kwargs, state)
        rewards, failed = self._score_rewards()
        self.monitor = Monitor(
            self.questions,
            self.config,
            self.evaluator.fingerprint,
            path=Path(args.output_dir or ".") / f"{self.config.name}.jsonl",
            planned_looks=_planned_looks(args, state, self.config),
            directions=self.directions,
            rewards=total(rewards) if rewards else None,
            of_rewards=self.evaluator.of_rewards,
        )
        about = {
            **_describe(args, kwargs.get("model")),
            "overlap": overlap,
            "rewards": rewards,
            "rounding": self.evaluator.rounding,
        }
        self.monitor.start(about, resume_step=state.global_step)
        rounding = self.monitor.run.get("rounding")  # a resumed run keeps that of its beginning
        self.evaluator.rounding = float("nan") if rounding is None else rounding
        if failed is not None:
            self.monitor.note("reward_failed", state.global_step, reason=failed)
        self._trackers = Trackers.for_run(args, self.config.name, is_main=state.is_world_process_zero)
        self._trackers.start(self.monitor.run)
        if self.config.eval_on_start and not self.monitor.looks:
            self._evaluate(args, state, control, kwargs)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Evaluate when our schedule says so, unless the Trainer is about to and `on_evaluate` will.

        When the Trainer logs after this step we wait for `on_log`, so that this step's losses stand beside the
        score and not beside the next one.
        """
        ending = self.config.eval_on_end and (
            control.should_training_stop or state.global_step >= state.max_steps
        )
        wanted = due(state.global_step, self.config, _trainer_eval_steps(args, state))
        if not (ending or wanted) or control.should_evaluate:
            return
        if control.should_log:
            self._waiting = {"optional": not ending}
        else:
            self._evaluate(args, state, control, kwargs, optional=not ending)

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Make the evaluation that waited for this step's logs."""
        if self._waiting is not None:
            waiting, self._waiting = self._waiting, None
            self._evaluate(args, state, control, kwargs, **waiting)

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Make it now if the logs never came; the weights are still those of the step before."""
        self.on_log(args, state, control, **kwargs)

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Put `eval_hre` into the metrics that the Trainer is about to select on."""
        metrics: dict[str, float] = kwargs["metrics"]
        if (
            self.monitor is None
        ):  # trainer.evaluate() outside training: score the model as it is, record nothing
            metrics[self.metric] = self._score_alone(kwargs)
            return
        needed = args.metric_for_best_model in (self.metric, self.config.name)
        self._evaluate(args, state, control, kwargs, optional=not needed)
        # A skipped evaluation has no score: NaN never becomes the best, and the Trainer's lookup still finds it.
        metrics[self.metric] = self.monitor.score_at(state.global_step)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Close the record and the summaries."""
        assert self.monitor is not None
        if (
            self.config.eval_on_end and not args.load_best_model_at_end
        ):  # else another checkpoint is loaded by now
            self._evaluate(args, state, control, kwargs)
        summary = self.monitor.summary()
        self._trackers.finish(self.monitor.record, summary)
        self.monitor.finish(state.global_step, summary, errors=self._trackers.errors)
        if state.is_world_process_zero:
            _say(self.monitor.closing_line(summary))
        self.monitor = None

    # ---- one evaluation ----------------------------------------------------------------------------------

    def _evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        kwargs: dict[str, Any],
        *,
        optional: bool = False,
    ) -> None:
        """Score this step once, whatever events ask for it; then record, log and act on the outcome."""
        assert self.evaluator is not None and self.monitor is not None
        step = state.global_step
        if self.monitor.tried(step):
            return
        if optional and not distributed.decide_once(self._stopwatch.affords(self.config.max_overhead)):
            return
        began = time.perf_counter()
        try:
            with _progress(args, state, step) as progress:
                result = self.evaluator.evaluate(kwargs["model"], progress)
        except EvaluationError as error:
            if self.config.on_error == "raise":
                raise
            self.monitor.skip(step, str(error))
            if state.is_world_process_zero:
                logger.warning(f"HRE at step {step} was skipped, training goes on: {error}")
            return
        self._stopwatch.add(time.perf_counter() - began)
        outcome = self.monitor.add(
            step,
            result,
            epoch=state.epoch,
            log_history=state.log_history,
            seconds=self._stopwatch.last,
            overhead=self._stopwatch.overhead,
        )
        self._publish(state, outcome)
        self._act(state, control, outcome)
        if control.should_training_stop or state.global_step >= state.max_steps:
            # Now, not in on_train_end: the Trainer's callbacks come before us there, and trackio's closes its run.
            self._trackers.finish(self.monitor.record, self.monitor.summary())
        else:
            self._trackers.show(self.monitor.record)

    def _publish(self, state: TrainerState, outcome: Outcome) -> None:
        """One row for the Trainer's history (on every rank), one for the trackers, one line for the person."""
        history = {
            key: value for key, value in outcome.row.items() if value == value
        }  # no NaN in the checkpoint
        if state.epoch is not None:
            history["epoch"] = state.epoch
        state.log_history.append({self.metric: outcome.score, **history, "step": state.global_step})
        self._trackers.log({**outcome.row, **outcome.proxy_row}, state.global_step)
        if state.is_world_process_zero:
            _say(outcome.line)

    def _act(self, state: TrainerState, control: TrainerControl, outcome: Outcome) -> None:
        """Stop or save as the outcome says; it is rank 0's, so that all ranks do the same."""
        assert self.monitor is not None
        stop, save = outcome.stop, outcome.save
        if outcome.alert and not stop:
            self._trackers.alert(
                f"HRE and the training objective part ways at step {state.global_step}", outcome.alert
            )
        if save and not control.should_save:
            control.should_save = True
            self.monitor.note("save", state.global_step, reason=save)
        if stop:
            control.should_training_stop = True
            self.monitor.note("stop", state.global_step, rule=self.config.stop_rule, reason=stop)
            self._trackers.alert(f"HRE stops the run at step {state.global_step}", stop)
            if state.is_world_process_zero:
                _say(f"{self.config.name.upper()} stops the run: {stop}")

    def _score_alone(self, kwargs: dict[str, Any]) -> float:
        evaluator = self.evaluator = self.evaluator or self._make_evaluator(kwargs)
        try:
            return evaluator.evaluate(kwargs["model"]).score
        except EvaluationError as error:
            if self.config.on_error == "raise":
                raise
            logger.warning(f"HRE was skipped: {error}")
            return float("nan")

    def _make_evaluator(self, kwargs: dict[str, Any]) -> HumanRankEvaluator:
        if kwargs.get("processing_class") is None:
            raise ValueError(
                "HumanRankEvalCallback needs the Trainer's tokenizer: pass processing_class= to the Trainer"
            )
        evaluator = HumanRankEvaluator(self.questions, kwargs["processing_class"], self.config)
        try:
            evaluator.prepare(kwargs["model"])
        except EvaluationError:  # the first evaluation tries again, and is recorded when it fails too
            if self.config.on_error == "raise":
                raise
        return evaluator

    def _warn_about_prompt(self, kwargs: dict[str, Any]) -> None:
        """Say so when the questions are asked in another form than the training data."""
        assert self.evaluator is not None
        dataset = getattr(kwargs.get("train_dataloader"), "dataset", None)
        chat = trained_on_chat(dataset, self.evaluator.tokenizer)
        if chat is not None and chat != (self.config.prompt == "chat"):
            data, wanted = ("conversational", "chat") if chat else ("not conversational", "paper")
            logger.warning(
                f"The training data is {data} and HRE asks with prompt={self.config.prompt!r}: "
                f"HREConfig(prompt={wanted!r}) would measure the model as it is trained."
            )

    def _check_contamination(self, kwargs: dict[str, Any], state: TrainerState) -> dict[str, Any] | None:
        """Say so, or refuse to train, when held-out answers are in the training data."""
        assert self.evaluator is not None
        if self.config.contamination == "off":
            return None
        dataset, tokenizer = (
            getattr(kwargs.get("train_dataloader"), "dataset", None),
            self.evaluator.tokenizer,
        )
        overlap = distributed.from_main(
            lambda: find_overlap(dataset, self.questions, tokenizer, seed=self.config.seed)
        )
        if overlap.ids and self.config.contamination == "raise":
            raise ValueError(overlap.sentence())
        if overlap.ids and state.is_world_process_zero:
            logger.warning(overlap.sentence())
        return {"questions": overlap.ids, "n": len(overlap.ids), "rows": overlap.rows, "of": overlap.of}

    def _score_rewards(self) -> tuple[dict[str, Rewards], str | None]:
        """The explicit rewards of the answers; a function that cannot score them is told of and left out."""
        assert self.evaluator is not None
        tokenizer = self.evaluator.tokenizer
        try:
            return distributed.from_main(
                lambda: score_rewards(self.reward_funcs, self.questions, self.config, tokenizer)
            ), None
        except Exception as error:  # a user's function may raise anything; recorded by our caller
            if self.config.on_error == "raise":
                raise
            reason = f"{type(error).__name__}: {error}"
            logger.warning(
                f"HRE goes on without the explicit reward, which cannot score its answers: {reason}"
            )
            return {}, reason

    def _check_order(self) -> None:
        """Raise when an `EarlyStoppingCallback` stands before us: it would find no `eval_hre` and switch itself off.

        The list of callbacks is in no argument of an event. Our caller holds it, so that is where we look; a
        caller that is not a `CallbackHandler` (a test, another framework) has no order to check.
        """
        handler = sys._getframe(2).f_locals.get("self")
        callbacks = getattr(handler, "callbacks", [])
        before = callbacks[: callbacks.index(self)] if self in callbacks else []
        if any(isinstance(callback, EarlyStoppingCallback) for callback in before):
            raise ValueError(
                "EarlyStoppingCallback comes before HumanRankEvalCallback and would not see its metric: "
                "list HumanRankEvalCallback first, callbacks=[HumanRankEvalCallback(...), EarlyStoppingCallback(...)]"
            )


def _trainer_eval_steps(args: TrainingArguments, state: TrainerState) -> int | None:
    return int(state.eval_steps) if args.eval_strategy == "steps" and state.eval_steps else None


def _planned_looks(args: TrainingArguments, state: TrainerState, config: HREConfig) -> int | None:
    epochs = state.num_train_epochs if args.eval_strategy == "epoch" else None
    return planned_looks(
        state.max_steps, config, trainer_eval_steps=_trainer_eval_steps(args, state), epochs=epochs
    )


def _describe(args: TrainingArguments, model: Any) -> dict[str, Any]:
    """What the record says of the run beside the questions: which model, which training arguments class."""
    name = getattr(getattr(model, "config", None), "_name_or_path", None) or type(model).__name__
    return {
        "model": Path(name).name if Path(name).is_dir() else name,  # a folder's place says nothing to others
        "trainer": type(args).__name__.removesuffix("Config").removesuffix("TrainingArguments") or "Trainer",
        "run_name": args.run_name,
    }


def _say(line: str) -> None:
    """Print without breaking the Trainer's progress bar."""
    tqdm.write(line)


class _progress:  # noqa: N801 - reads as a context manager
    """A bar over the batches of one evaluation, on the main process, gone when it is done."""

    def __init__(self, args: TrainingArguments, state: TrainerState, step: int) -> None:
        self.bar: Any = None
        self.hidden = args.disable_tqdm or not state.is_world_process_zero
        self.title = f"HRE at step {step}"

    def __enter__(self) -> Any:
        return self._update

    def _update(self, done: int, total: int) -> None:
        if self.bar is None:
            self.bar = tqdm(
                total=total, desc=self.title, leave=False, disable=self.hidden, dynamic_ncols=True
            )
        self.bar.update(done - self.bar.n)

    def __exit__(self, *exc: object) -> None:
        if self.bar is not None:
            self.bar.close()
