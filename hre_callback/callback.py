"""The Trainer callback: decides when to evaluate, calls down, puts results where the Trainer looks for them."""

from __future__ import annotations

import math
import os
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import (
    EarlyStoppingCallback,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from . import distributed
from .best_checkpoint import LastKept, check_can_keep, check_one_keeps, kept, mark_best
from .binding import Training, another_set_follows
from .config import HREConfig
from .data.checks import check_questions
from .data.questions import Question, load_questions
from .patience import callbacks_beside, hold_patience
from .plain_text import plain_logger
from .preflight import advise, check_arguments, explicit_rewards
from .run.keys import shown
from .run.lines import Summary
from .run.look import Outcome
from .run.monitor import Monitor
from .run.proxies import Direction, check_directions
from .run.schedule import Stopwatch, due
from .scoring.errors import EvaluationError, ForwardError
from .scoring.evaluator import HumanRankEvaluator
from .scoring.plan import Way
from .scoring.rewards import RewardFunc, total
from .trackers.announcer import Announcer
from .trackers.fanout import Trackers
from .trainer_args import describe_run, looks_to_come, trainer_eval_steps, with_template_kwargs
from .unpublished import hide, record_path
from .views.console import Bar, say

logger = plain_logger(__name__)


class HumanRankEvalCallback(TrainerCallback):
    """Runs HumanRankEval inside training and shows where the training objective and people part ways.

    Add it to any transformers or TRL trainer. It evaluates at step 0, at every evaluation of the Trainer, every
    `config.eval_steps` and at the end; puts `eval_hre` into the Trainer's metrics (so that
    `metric_for_best_model="eval_hre"` works) and its log history, the curves into W&B, trackio or TensorBoard
    (`args.report_to`), and everything into `<output_dir>/<config.name>.jsonl`. Training is not changed: same
    weights, same optimizer state, same logs, bit for bit.

    A callback serves one trainer at a time. In the next one, or with another model or tokenizer, it is bound anew.

    Args:
        questions: held-out questions with voted answers, or what `load_questions` takes: a file, a folder, a hub
            dataset.
        config: see `HREConfig`.
        reward_funcs: the list that `GRPOTrainer` gets (functions, plain or async, reward models, their folders or hub
            ids): each scores the held-out answers once, and its agreement with the votes is logged as
            `mismatch/human_reward`.
        proxies: which way is better for training signals that are not known by name, `{"my_metric": "up"}`.

    Example:
    ```python
    questions = load_questions("huawei-noah/human_rank_eval", max_questions=512)
    trainer = DPOTrainer(..., callbacks=[HumanRankEvalCallback(questions, HREConfig(eval_steps=50))])
    ```
    """

    def __init__(
        self,
        questions: Sequence[Question] | str | os.PathLike[str],
        config: HREConfig | None = None,
        *,
        reward_funcs: Sequence[RewardFunc | torch.nn.Module | str] = (),
        proxies: Mapping[str, Direction] | None = None,
    ) -> None:
        check_arguments(config, reward_funcs, proxies)
        self.config = config or HREConfig()
        self.reward_funcs = tuple(reward_funcs)
        self.directions = check_directions(proxies)
        self.questions = _asked(questions)
        self.metric = f"eval_{self.config.name}"
        self.evaluator: HumanRankEvaluator | None = None
        # From on_train_begin to on_train_end.
        self.monitor: Monitor | None = None
        self._training: Training | None = None
        # The model that the evaluator was prepared for.
        self._bound_to: Callable[[], Any] = lambda: None
        self._trackers = Trackers([])
        self._stopwatch = Stopwatch()
        self._last_kept = LastKept()
        # An evaluation to be made as soon as the step is logged.
        self._pending: dict[str, bool] | None = None
        # Ends what a skipped evaluation holds, see `patience`.
        self._release: Callable[[], None] = lambda: None

    # ---- events, in the order of a run -------------------------------------------------------------------

    def on_init_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Refuse callbacks that do not go together: see `_check_callbacks`."""
        self._check_callbacks(args)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Tokenise and plan, open or take up the record, take the baseline."""
        self._check_callbacks(args)
        moved = self._moved(state, kwargs.get("model"))
        self._bind(state)
        self._stopwatch = Stopwatch()
        self.evaluator = self._make_evaluator(args, kwargs)
        overlap = advise(self.evaluator, getattr(kwargs.get("train_dataloader"), "dataset", None))
        rewards, failed = explicit_rewards(self.evaluator, self.reward_funcs)
        self.monitor = Monitor(
            self.questions,
            self.evaluator.config,
            self.evaluator.fingerprint,
            path=self._place(args, state),
            planned_looks=looks_to_come(args, state, self.config),
            directions=self.directions,
            # GRPO's weights, where its functions are those that HRE was given.
            rewards=total(rewards, getattr(args, "reward_weights", None)) if rewards else None,
            scores_are_rewards=self.evaluator.scores_are_rewards,
            rendering=self.evaluator.rendering,
            goes_on=self._training.goes_on if self._training else None,
        )
        about = {
            **describe_run(args, kwargs.get("model")),
            "overlap": overlap,
            "rewards": rewards,
            "rounding": self.evaluator.rounding,
            "proof": self.evaluator.proof,
        }
        self.monitor.start(about, resume_step=state.global_step, log_history=state.log_history)
        # A resumed run keeps that of its beginning.
        rounding = self.monitor.run.rounding
        self.evaluator.rounding = float("nan") if rounding is None else rounding
        if failed is not None:
            self.monitor.note("reward_failed", state.global_step, reason=failed)
        if moved is not None:
            self.monitor.note("restarted", state.global_step, reason=moved)
            if state.is_world_process_zero:
                logger.warning(f"HRE: {moved}")
        self._trackers = Trackers.for_run(args, self.config.name, is_main=state.is_world_process_zero)
        self._trackers.start(self.monitor.run)
        self._stopwatch.prepared()
        if self.config.eval_on_start and not self.monitor.looks:
            self._evaluate(args, state, control, kwargs)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Evaluate when our schedule says so, unless the Trainer is about to and `on_evaluate` will.

        When the Trainer logs after this step we wait for `on_log`, so that this step's losses stand beside the
        score and not beside the next one.
        """
        if not self._serves(state):
            return
        self._trained = state.global_step
        ending = self.config.eval_on_end and (control.should_training_stop or state.global_step >= state.max_steps)
        wanted = due(state.global_step, self.config, trainer_eval_steps(args, state))
        if not (ending or wanted) or control.should_evaluate:
            return
        if control.should_log:
            self._pending = {"optional": not ending}
        else:
            self._evaluate(args, state, control, kwargs, optional=not ending)

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Make the evaluation that waited for this step's logs."""
        if self.config.save_best and self._serves(state) and "train_runtime" in (kwargs.get("logs") or {}):
            # The last that the Trainer logs of a run; then it tidies up its checkpoints.
            self._last_kept.spare(args, state)
        if self._pending is not None and self._trains(state):
            waiting, self._pending = self._pending, None
            self._evaluate(args, state, control, kwargs, **waiting)

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Make it now if the logs never came; the weights are still those of the step before."""
        if self._serves(state):
            self._release()
            self.on_log(args, state, control, **kwargs)

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Put `eval_hre` into the metrics that the Trainer is about to select on.

        A skipped evaluation has no score: NaN never becomes the best, the Trainer's lookup still finds it, and those
        who count evaluations without a new best do not count this one. Of several sets of data we wait for the last, so
        that the losses of all stand beside the score, unless the Trainer selects on the score at each.
        """
        metrics: dict[str, float] = kwargs["metrics"]
        trains = self._trains(state)
        needed = trains and args.metric_for_best_model in (self.metric, self.config.name)
        if not needed and another_set_follows():
            return
        if not trains or self.monitor is None:
            # trainer.evaluate() outside training: score the model as it is, record nothing.
            metrics[self.metric] = self._score_alone(args, kwargs)
            return
        self._release()
        self._evaluate(args, state, control, kwargs, optional=not needed)
        metrics[self.metric] = score = self.monitor.score_at(state.global_step)
        if needed and math.isnan(score):
            self._release = hold_patience(callbacks_beside(self), kwargs.get("lr_scheduler"))

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Close the record and the summaries."""
        if not self._serves(state) or self.monitor is None:
            return
        self._release()
        self._last_kept.restore(state)
        # With load_best_model_at_end another checkpoint is loaded by now.
        if self.config.eval_on_end and not args.load_best_model_at_end:
            self._evaluate(args, state, control, kwargs)
        with self._going_on("close its record"):
            self._announcer().close(state.global_step, lambda summary: self._kept(args, state, summary))
        self._let_go()

    def _kept(self, args: TrainingArguments, state: TrainerState, summary: Summary) -> bool | None:
        """Whether the best checkpoint is there; `None` where nobody promised."""
        step = summary.best_step
        return kept(args, state, step) if self.config.save_best and step is not None else None

    def on_push_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Put out of the upload's way what quotes held-out questions; a failure stops the push, not a run."""
        if not state.is_world_process_zero:
            return
        if not self._serves(state):
            self._hide(args)
            return
        with self._going_on("hide its record from the upload"):
            self._hide(args)

    def _place(self, args: TrainingArguments, state: TrainerState) -> Path:
        """Where the record goes. What earlier runs left is put out of the way of uploads, if there are to be any."""
        if args.push_to_hub and state.is_world_process_zero:
            with self._going_on("hide earlier records from uploads"):
                self._hide(args)
        return record_path(args, self.config.name)

    def _hide(self, args: TrainingArguments) -> None:
        moved = hide(Path(args.output_dir or "."), self.config.name)
        if moved:
            names = ", ".join(f"{old.name} → {new.name}" for old, new in moved.items())
            say(f"HRE quotes held-out questions, which are not to be published: {names} in {args.output_dir}")
        if self.monitor is not None and self.monitor.path in moved:
            self.monitor.moved_to(moved[self.monitor.path])

    # ---- one trainer at a time ----------------------------------------------------------------------------

    def _bind(self, state: TrainerState) -> None:
        """Serve the trainer that begins now.

        Raises:
            ValueError: another one, which is still training, is served.
        """
        if self.monitor is not None and self._training is not None and self._training.goes_on():
            raise ValueError(
                f"this HumanRankEvalCallback ({self.config.name!r}) serves another trainer, which is still training; "
                "a callback object serves one trainer at a time: make one for each"
            )
        self._let_go()
        self._training = Training(state)

    def _let_go(self) -> None:
        """End the run that is served, if there is one: of itself, or because its trainer has died."""
        self._release()
        if self.monitor is not None:
            self.monitor.release()
        self.monitor, self._training, self._pending = None, None, None
        self._last_kept, self._trained = LastKept(), 0

    def _moved(self, state: TrainerState, model: Any) -> str | None:
        """What to say of a start that is none: this run begins with the weights of one that has died."""
        if self.monitor is None or self._trained == 0 or state.global_step or self._bound_to() is not model:
            return None
        return (
            f"the run begins anew with weights that {self._trained} steps of a run before have moved "
            "(auto_find_batch_size does so): its start is not the model's"
        )

    def _serves(self, state: TrainerState) -> bool:
        """Whether an event with this state belongs to the run that is served."""
        return self.monitor is not None and self._training is not None and self._training.serves(state)

    def _trains(self, state: TrainerState) -> bool:
        """The same for an event that comes outside of training too."""
        return self._training is not None and self._serves(state) and self._training.goes_on()

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
        if optional and not distributed.broadcast(self._stopwatch.affords(self.config.max_overhead)):
            return
        with self._stopwatch.evaluation():
            self._look(args, state, control, kwargs)

    def _look(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, kwargs: dict[str, Any]
    ) -> None:
        """Everything that an evaluation is, all of it on the stopwatch."""
        assert self.monitor is not None
        try:
            outcome = self._score(args, state, kwargs)
        except ForwardError:
            # The other ranks wait inside their forwards: there is nothing to go on with.
            raise
        except Exception as error:
            if self.config.on_error == "raise":
                raise
            self._skip(state, error)
            return
        with self._going_on("show an evaluation"):
            self._publish(state, outcome)
            # The Trainer's own evaluation, whose metrics it looks at next.
            self._act(args, state, control, outcome, compared="metrics" in kwargs)
            # Now, not in on_train_end: the Trainer's callbacks come before us there, and trackio's closes its run.
            ending = control.should_training_stop or state.global_step >= state.max_steps
            self._announcer().show(ending=ending)

    def _standing(self) -> tuple[Way | None, str | None]:
        """The way that is used, and why no style probe is scored: where it changes, the record is to say so."""
        assert self.evaluator is not None
        layout = self.evaluator.layout
        refused = self.evaluator.proof["probes"]["refused"] if self.config.probes and layout else None
        return layout.way if layout else None, refused

    def _score(self, args: TrainingArguments, state: TrainerState, kwargs: dict[str, Any]) -> Outcome:
        """Score the model as it is now and join the result to the run."""
        assert self.evaluator is not None and self.monitor is not None
        before = self._standing()
        hidden = args.disable_tqdm or not state.is_world_process_zero
        with Bar(f"HRE at step {state.global_step}", hidden=hidden) as progress:
            result = self.evaluator.evaluate(kwargs["model"], progress)
        way, unscored = self._standing()
        if before[0] and (way, unscored) != before:
            reason = f"no style probe is scored any more: {unscored}" if unscored != before[1] else None
            self.monitor.note("layout", state.global_step, reason=reason, **self.evaluator.proof)
        return self.monitor.add(
            state.global_step,
            result,
            epoch=state.epoch,
            log_history=state.log_history,
            watch=self._stopwatch,
        )

    def _skip(self, state: TrainerState, error: Exception) -> None:
        """Record an evaluation that failed, and say so. Collective."""
        reason = str(error) if isinstance(error, EvaluationError) else distributed.describe(error)
        self._announcer().skip(state.global_step, str(reason))

    @contextmanager
    def _going_on(self, what: str) -> Iterator[None]:
        """What fails in here is said and recorded, and does not end a run that skips errors."""
        try:
            yield
        except Exception as error:
            if self.config.on_error == "raise":
                raise
            reason = f"HRE could not {what}: {distributed.describe(error)}"
            self._trackers.errors.append(reason)
            logger.warning(f"{reason}; training goes on")

    def _publish(self, state: TrainerState, outcome: Outcome) -> None:
        """One row for the Trainer's history (on every rank), then what everybody is told."""
        # What trackers show. No NaN in the checkpoint.
        row = shown(outcome.row, self.config.name, self.config.log)
        history = {key: value for key, value in row.items() if value == value}
        if state.epoch is not None:
            history["epoch"] = state.epoch
        state.log_history.append({self.metric: outcome.score, **history, "step": state.global_step})
        self._announcer().look(state.global_step, outcome)

    def _act(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        outcome: Outcome,
        *,
        compared: bool,
    ) -> None:
        """Stop or save as the outcome says; it is rank 0's, so that all ranks do the same."""
        assert self.monitor is not None
        if outcome.save:
            mark_best(args, state, self.metric, outcome.score, compared=compared)
        if outcome.save and not control.should_save:
            control.should_save = True
            self.monitor.note("save", state.global_step, reason=outcome.save)
        control.should_training_stop |= outcome.stop is not None
        self._announcer().judgement(state.global_step, outcome)

    def _announcer(self) -> Announcer:
        """Of the run that is served."""
        assert self.monitor is not None
        return Announcer(self.monitor, self._trackers)

    def _score_alone(self, args: TrainingArguments, kwargs: dict[str, Any]) -> float:
        """The score of the model that is evaluated now, with its own tokenizer, whatever else this object serves."""
        evaluator = self.evaluator
        if evaluator is None or not self._fits(evaluator, args, kwargs):
            served = self.evaluator, self._bound_to
            evaluator = self.evaluator = self._make_evaluator(args, kwargs)
            if self.monitor is not None:
                self.evaluator, self._bound_to = served
        try:
            return evaluator.evaluate(kwargs["model"]).score
        except ForwardError:
            raise
        except Exception as error:
            if self.config.on_error == "raise":
                raise
            logger.warning(f"HRE was skipped: {error}")
            return float("nan")

    def _make_evaluator(self, args: TrainingArguments, kwargs: dict[str, Any]) -> HumanRankEvaluator:
        if kwargs.get("processing_class") is None:
            raise ValueError(
                "HumanRankEvalCallback needs the Trainer's tokenizer: pass processing_class= to the Trainer"
            )
        config = with_template_kwargs(self.config, args)
        evaluator = HumanRankEvaluator(self.questions, kwargs["processing_class"], config)
        self._bound_to = weakref.ref(kwargs["model"])
        try:
            evaluator.prepare(kwargs["model"])
        except (ValueError, ForwardError):
            # What cannot be scored at all is refused here, before anything has been spent on it.
            raise
        except Exception as error:
            if self.config.on_error == "raise":
                raise
            # Recorded when the first evaluation, which tries again, fails too.
            logger.warning(
                f"HRE could not prepare yet, the first evaluation tries again: {distributed.describe(error)}"
            )
        return evaluator

    def _fits(self, evaluator: HumanRankEvaluator, args: TrainingArguments, kwargs: dict[str, Any]) -> bool:
        """Whether the evaluator was made for this very model, tokenizer and template."""
        return (
            evaluator.processor is kwargs.get("processing_class")
            and self._bound_to() is kwargs["model"]
            and evaluator.config == with_template_kwargs(self.config, args)
        )

    def _check_callbacks(self, args: TrainingArguments) -> None:
        """Refuse what stands beside us and does not go with us.

        A second callback of our name would write our record and our keys; an `EarlyStoppingCallback` before us would
        find no `eval_hre` and switch itself off; what the Trainer is to keep may be what it takes away.
        """
        if self.config.save_best:
            check_can_keep(args, self.metric)
        callbacks = callbacks_beside(self)
        ours = [one for one in callbacks if isinstance(one, HumanRankEvalCallback)]
        if sum(one.config.name == self.config.name for one in ours) > 1:
            raise ValueError(
                f"two HumanRankEvalCallbacks of one trainer are named {self.config.name!r} and would write one record; "
                "give each its own name, HREConfig(name=...)"
            )
        check_one_keeps(args, [one.config.name for one in ours if one.config.save_best])
        before = callbacks[: callbacks.index(self)] if callbacks else []
        if any(isinstance(callback, EarlyStoppingCallback) for callback in before):
            raise ValueError(
                "EarlyStoppingCallback comes before HumanRankEvalCallback and would not see its metric: "
                "list HumanRankEvalCallback first, callbacks=[HumanRankEvalCallback(...), EarlyStoppingCallback(...)]"
            )


def _asked(questions: Sequence[Question] | str | os.PathLike[str]) -> Sequence[Question]:
    return (
        load_questions(os.fspath(questions))
        if isinstance(questions, (str, os.PathLike))
        else check_questions(questions)
    )
