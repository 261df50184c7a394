"""HumanRankEval of a model, with no Trainer anywhere: encode and plan once, then score as often as wanted."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch

from . import distributed
from .batches import Batch, CachedBatch, Group, group_by_context, one_by_one
from .budget import default_budget
from .config import HREConfig
from .correlation import HREResult, correlate
from .encoding import Encoding, Key, encode
from .layout import LayoutChoice, choose_layout, context_length, plan
from .loglikelihood import EvaluationError, Progress, score_together
from .questions import Question, fingerprint
from .rewards import is_reward_model, score_sequences

T = TypeVar("T")


class HumanRankEvaluator:
    """Scores questions with any causal language model; the same weights give the same bits.

    Args:
        questions: held-out questions with voted answers, see `load_questions`.
        tokenizer: the model's tokenizer, or a processor that holds one. Never changed.
        config: see `HREConfig`; only the scoring fields matter here.

    Example:

    ```python
    evaluator = HumanRankEvaluator(load_questions("bundled"), tokenizer)
    print(evaluator.evaluate(model).score)
    ```
    """

    def __init__(
        self, questions: Sequence[Question], tokenizer: Any, config: HREConfig | None = None
    ) -> None:
        if not questions:
            raise ValueError("no questions to score")
        if tokenizer is None:
            raise ValueError("a tokenizer is needed to score answers; got None")
        self.questions = tuple(questions)
        self.tokenizer = getattr(tokenizer, "tokenizer", tokenizer)  # a processor holds its tokenizer
        self.config = config or HREConfig()
        self.fingerprint = fingerprint(self.questions)
        self.layout: LayoutChoice | None = None
        self.budget = 0
        self.rounding = (
            math.nan
        )  # nats a token that arithmetic alone changes, measured by the probe of `prepare`
        self.of_rewards = False  # scores are a reward model's own numbers; known from `prepare` on
        self._encoding = Encoding((), ())
        self._groups: list[Group] = []
        self._batches: Sequence[Batch | CachedBatch] = []

    def prepare(self, model: torch.nn.Module) -> None:
        """Tokenise, choose the layout and plan the batches: once per run, the first `evaluate` does it by itself.

        Collective when training is distributed: all ranks come to the same layout and the same token budget.

        Raises:
            ValueError: the questions, or a layout asked for by name, do not fit the model; the ranks differ.
            EvaluationError: the model failed on the probe of the layouts; may be tried again.
        """
        self.of_rewards = is_reward_model(model)
        self._encoding = distributed.together(lambda: self._encode(model))
        groups = group_by_context(self._encoding.answers)
        if len(set(distributed.gather((self.fingerprint, sum(group.tokens for group in groups))))) > 1:
            raise ValueError("the ranks have different questions or tokenizers: load the same on all of them")
        if self.of_rewards:  # whole sequences, nothing to share between answers
            self.layout = LayoutChoice("padded", 0.0)
            return
        self.budget = min(distributed.gather(self.config.token_budget or default_budget(model)))
        self.layout = self._within_memory(
            lambda: choose_layout(model, groups, self.config.layout, self.budget)
        )
        self.rounding = self.layout.rounding
        if self.layout.layout == "padded":  # nothing is shared within a question, so ranks may share it out
            groups = one_by_one(groups)
        self._groups = distributed.my_share(groups)
        self._plan()

    def evaluate(self, model: torch.nn.Module, progress: Progress | None = None) -> HREResult:
        """Score all questions; leaves no trace on the model. Collective when training is distributed.

        Out of memory halves the token budget, on all ranks together, and tries again.

        Args:
            model: called as given (wrapped for FSDP and ZeRO, plain for DDP), never unwrapped.
            progress: called after every batch with (forwards done, forwards in all).

        Raises:
            EvaluationError: scoring failed on a rank; raised on all of them.
            ForwardError: it failed inside a forward of a sharded model, where no rank can go on.
        """
        if self.layout is None:
            self.prepare(model)
        if self.of_rewards:
            return self._result(self._rewards(model))
        return self._result(self._within_memory(lambda: score_together(model, self._batches, progress)))

    def _rewards(self, model: torch.nn.Module) -> dict[Key, float]:
        """A reward model's number for every answer: question, answer and end of sequence, as `RewardTrainer` trains it.

        Longest first and dealt out in turn, repeated where a rank is one short, so that all make equal forwards.
        """
        end = [] if self.tokenizer.eos_token_id is None else [self.tokenizer.eos_token_id]
        rows = {a.key: [*a.context, *a.continuation, *end] for a in self._encoding.answers}
        keys = sorted(rows, key=lambda key: (-len(rows[key]), key))
        keys += keys[-1:] * (-len(keys) % distributed.world_size())
        mine = keys[distributed.rank() :: distributed.world_size()]
        try:
            numbers = distributed.together(lambda: score_sequences(model, [rows[key] for key in mine]))
        except ValueError:  # not a reward model
            raise
        except Exception as error:  # a rank's failure, raised on all
            raise EvaluationError(str(error)) from error
        shares = distributed.gather(dict(zip(mine, numbers, strict=True)))
        return {key: number for share in shares for key, number in share.items()}

    def _encode(self, model: torch.nn.Module) -> Encoding:
        max_length = self.config.max_length or context_length(model, self.tokenizer)
        encoding = encode(
            self.questions,
            self.tokenizer,
            prompt=self.config.prompt,
            normalization="none" if self.of_rewards else self.config.normalization,
            max_length=max_length,
        )
        if not encoding.answers:
            raise ValueError(f"every question is longer than the {max_length} tokens that the model can read")
        return encoding

    def _plan(self) -> None:
        if self.layout is not None:
            self._batches = plan(self._groups, self.layout.layout, self.budget)

    def _within_memory(self, work: Callable[[], T]) -> T:
        """`work`, again with half the token budget whenever it was too much for a rank."""
        while True:
            try:
                return work()
            except EvaluationError as error:
                if not error.out_of_memory:
                    raise
                if self.budget < 2:
                    raise EvaluationError(
                        f"out of memory with {self.budget} tokens a batch: {error}"
                    ) from error
            self.budget //= 2
            self._plan()

    def _result(self, scored: dict[Key, float]) -> HREResult:
        """Lay the keyed log-likelihoods out in the order of the questions; every answer must be there once."""
        encoded = {answer.key: answer for answer in self._encoding.answers}
        if scored.keys() != encoded.keys():
            missing = sorted(encoded.keys() - scored.keys())[:3]
            raise EvaluationError(f"{len(encoded) - len(scored)} answers were not scored, e.g. {missing}")
        if bad := sorted(key for key, value in scored.items() if not math.isfinite(value)):
            question, index = bad[0]
            raise EvaluationError(
                f"the model gives NaN or infinite log-likelihoods for {len(bad)} of {len(scored)} answers, "
                f"first question {question!r} answer {index}"
            )
        tokens = {key: len(answer.continuation) for key, answer in encoded.items()}
        rows = [[(q.id, index) for index in range(len(q.answers))] for q in self.questions]
        return correlate(
            fingerprint=self.fingerprint,
            ids=[q.id for q in self.questions],
            topics=[q.topic for q in self.questions],
            votes=[[a.votes for a in q.answers] for q in self.questions],
            loglikelihoods=[[scored.get(key, math.nan) for key in keys] for keys in rows],
            divisors=[[encoded[key].divisor if key in encoded else 1.0 for key in keys] for keys in rows],
            lengths=[[encoded[key].length if key in encoded else 0 for key in keys] for keys in rows],
            truncated=self._encoding.truncated,
            left_out=len(self._encoding.left_out),
            # independent errors add up like a random walk
            rounding=[[self.rounding * math.sqrt(tokens.get(key, 0)) for key in keys] for keys in rows],
        )
