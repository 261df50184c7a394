"""HumanRankEval of a model, with no Trainer anywhere: encode and plan once, then score as often as wanted."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch

from . import distributed
from .batches import Batch, CachedBatch, Group, group_by_context
from .budget import default_budget
from .config import HREConfig
from .correlation import HREResult, correlate
from .encoding import Encoding, Key, encode
from .layout import LayoutChoice, choose_layout, context_length, plan
from .loglikelihood import Scorer, no_trace
from .questions import Question, fingerprint

Progress = Callable[[int, int], None]  # (batches done, batches in all)


class EvaluationError(RuntimeError):
    """An evaluation that failed on some rank, raised alike on all of them; the message names rank and cause."""


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
        self._encoding = Encoding((), ())
        self._groups: list[Group] = []
        self._batches: Sequence[Batch | CachedBatch] = []

    def prepare(self, model: torch.nn.Module) -> None:
        """Tokenise, choose the layout and plan the batches: once per run, the first `evaluate` does it by itself.

        Collective when training is distributed.
        """
        max_length = self.config.max_length or context_length(model, self.tokenizer)
        self._encoding = encode(
            self.questions,
            self.tokenizer,
            prompt=self.config.prompt,
            normalization=self.config.normalization,
            max_length=max_length,
        )
        if not self._encoding.answers:
            raise ValueError(f"every question is longer than the {max_length} tokens that the model can read")
        groups = group_by_context(self._encoding.answers)
        wanted = self.config.token_budget or default_budget(model)
        self.layout = choose_layout(model, groups, self.config.layout, wanted)
        self.budget = self.layout.budget
        self._shortest = groups[-1]  # the least work there is, for ranks that have run out of their own
        self._groups = distributed.share(groups, distributed.rank(), distributed.world_size())
        self._plan()

    def evaluate(self, model: torch.nn.Module, progress: Progress | None = None) -> HREResult:
        """Score all questions; leaves no trace on the model. Collective when training is distributed.

        Out of memory halves the token budget, on all ranks together, and tries again.

        Args:
            model: called as given (wrapped for FSDP and ZeRO, plain for DDP), never unwrapped.
            progress: called after every batch with (done, total).

        Raises:
            EvaluationError: scoring failed on a rank; raised on all of them.
        """
        if self.layout is None:
            self.prepare(model)
        while True:
            scored, errors = self._score_share(model, progress)
            if not errors:
                return self._result(scored)
            if not all(message.startswith("out of memory") for message in errors.values()) or self.budget < 2:
                raise EvaluationError("; ".join(f"rank {r}: {message}" for r, message in errors.items()))
            self.budget //= 2
            self._plan()

    def _plan(self) -> None:
        assert self.layout is not None
        self._batches = plan(self._groups, self.layout.layout, self.budget)

    def _score_share(
        self, model: torch.nn.Module, progress: Progress | None
    ) -> tuple[dict[Key, float], dict[int, str]]:
        """All ranks' log-likelihoods, and the errors by rank: every rank gets the same two."""
        mine: dict[Key, float] = {}
        error: str | None = None
        forwards = max(distributed.gather(len(self._batches)))
        with no_trace(model):
            try:
                scorer = Scorer(model)
                for index in range(forwards):
                    if index < len(self._batches):
                        mine.update(scorer.score(self._batches[index]))
                    else:  # sharded models need the same number of forwards on every rank
                        scorer.score(self._spare())
                    if progress is not None:
                        progress(index + 1, forwards)
            except torch.OutOfMemoryError as e:
                error = f"out of memory with {self.budget} tokens a batch: {e}"
            except Exception as e:  # recorded, gathered and raised again on every rank by `evaluate`
                error = f"{type(e).__name__}: {e}"
        gathered = distributed.gather((mine, error))
        scored = {key: value for share, _ in gathered for key, value in share.items()}
        return scored, {r: e for r, (_, e) in enumerate(gathered) if e is not None}

    def _spare(self) -> Batch | CachedBatch:
        assert self.layout is not None
        return plan([self._shortest], self.layout.layout, self.budget)[0]

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
        assert self.layout is not None
        nats = self.layout.rounding  # a token, from the probe; independent errors add up like a random walk
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
            rounding=[[nats * math.sqrt(tokens.get(key, 0)) for key in keys] for keys in rows],
        )
