"""HumanRankEval of a model, with no Trainer anywhere: encode and plan once, then score as often as wanted."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import torch

from .. import distributed
from ..config import HREConfig, Layout, check_config
from ..data.checks import check_questions
from ..data.messages import paper_context
from ..data.questions import Question, fingerprint
from ..plain_text import plain_logger
from ..stats.correlation import HREResult
from .architecture import input_rows
from .batches import lay_out
from .budget import default_budget
from .encoding import Key
from .errors import EvaluationError
from .layouts import LayoutChoice, choose_layout
from .limits import readable_tokens
from .loglikelihood import Progress, learn_together, look_together, score_together
from .material import Material
from .outputs import Reading
from .plan import Group, Rows, Way, arrange, my_share, ways
from .sequences import score_sequences_together
from .tensors import Batch, CachedBatch

T = TypeVar("T")
logger = plain_logger(__name__)


class HumanRankEvaluator:
    """Scores questions with any causal language model; the same weights give the same bits.

    Args:
        questions: held-out questions with voted answers, see `load_questions`.
        tokenizer: the model's tokenizer, or a processor that holds one, whose own chat template then comes first.
            Never changed.
        config: see `HREConfig`; only the scoring fields matter here.

    Example:

    ```python
    evaluator = HumanRankEvaluator(load_questions("bundled"), tokenizer)
    print(evaluator.evaluate(model).score)
    ```
    """

    def __init__(self, questions: Sequence[Question], tokenizer: Any, config: HREConfig | None = None) -> None:
        self.questions = check_questions(questions)
        if tokenizer is None:
            raise ValueError("a tokenizer is needed to score answers; got None")
        # A processor holds its tokenizer, and may have a chat template of its own.
        self.processor = tokenizer
        self.tokenizer = getattr(tokenizer, "tokenizer", tokenizer)
        if not callable(self.tokenizer):
            raise ValueError(f"tokenizer: found {tokenizer!r:.80}, expected a tokenizer or a processor")
        self.config = check_config(config)
        self.fingerprint = fingerprint(self.questions)
        self.layout: LayoutChoice | None = None
        self.budget = 0
        # nats a token that arithmetic alone changes, measured by the first proof of a layout
        self.rounding = math.nan
        # scores are a reward model's own numbers; known from `prepare` on
        self.scores_are_rewards = False
        # tokens that the model can read at once, `None` without a limit
        self.max_tokens: int | None = None
        self._material = Material(self.questions, self.processor, self.config)
        self._model: Callable[[], torch.nn.Module | None] = lambda: None
        self._reading = Reading(0)
        self._evaluations = 0
        self._batches: Sequence[Batch | CachedBatch] = []

    def prepare(self, model: torch.nn.Module) -> None:
        """Look at the model, tokenise, prove a layout and plan: once per run, the first `evaluate` does it by itself.

        Collective when training is distributed: all ranks come to the same layout and the same token budget.

        Raises:
            ValueError: HRE cannot score the model (it gives no likelihood of a text, or sees the future); no question,
                or not the layout asked for by name, fits it; the ranks differ.
            EvaluationError: the model failed on the probe of the layouts; may be tried again.
        """
        if not isinstance(model, torch.nn.Module):
            raise ValueError(f"model: found {model!r:.80}, expected a torch.nn.Module such as load_model gives")
        self.layout, self._batches, self._evaluations = None, [], 0
        self._model = weakref.ref(model)
        self.budget = min(distributed.gather(self.config.token_budget or default_budget(model)))
        ids = distributed.all_or_raise(lambda: self._first_ids(model))
        self._reading, tables = self._within_memory(lambda: learn_together(model, ids))
        self.scores_are_rewards = self._reading.rewards
        self.max_tokens = readable_tokens(model, self.tokenizer, tables, self._reading.virtual)
        material = self._material = Material(self.questions, self.processor, self.config)
        distributed.all_or_raise(lambda: material.encode(model, self._reading, self.max_tokens))
        sizes = sum(group.tokens for group in material.rows)
        if len(set(distributed.gather((self.fingerprint, self.rendering, sizes)))) > 1:
            raise ValueError("the ranks have different questions or tokenizers: load the same on all of them")
        if self.scores_are_rewards:
            # whole sequences, nothing to share between answers
            self._use(LayoutChoice("padded"))
        else:
            self._use(self._chosen(model, ways(self.config.layout)))
        self._material.say_left_out()

    @property
    def left_out(self) -> dict[str, str]:
        """Question id -> why it cannot be scored; known from `prepare` on."""
        return self._material.left_out

    @property
    def rendering(self) -> str | None:
        """Hash of the contexts that the chat template made, `None` for the paper's prompt; known from `prepare` on."""
        return self._material.rendering

    @property
    def proof(self) -> dict[str, Any]:
        """What was proven and refused of the model, with the figures, and what is left out; plain JSON."""
        return {
            **(self.layout.as_dict() if self.layout else {}),
            "logits": self._reading.keeps,
            "virtual_tokens": self._reading.virtual,
            "max_tokens": self.max_tokens,
            **self._material.as_dict(),
        }

    @property
    def scored_as(self) -> dict[str, Any]:
        """What a `Monitor` must know of how the scores come about: `Monitor(path=..., **evaluator.scored_as)`.

        Known from `prepare` on.
        """
        return {
            "questions": self.questions,
            "config": self.config,
            "fingerprint": self.fingerprint,
            "rendering": self.rendering,
            "scores_are_rewards": self.scores_are_rewards,
        }

    def evaluate(self, model: torch.nn.Module, progress: Progress | None = None) -> HREResult:
        """Score all questions; leaves no trace on the model. Collective when training is distributed.

        Out of memory halves the token budget, on all ranks together, and tries again. The layout is proven again
        once weights have moved, and one that fails is replaced by the next.

        Args:
            model: called as given (wrapped for FSDP and ZeRO, plain for DDP), never unwrapped.
            progress: called after every batch with (forwards done, forwards in all).

        Raises:
            EvaluationError: scoring failed on a rank; raised on all of them.
            ForwardError: it failed inside a forward of a sharded model, where no rank can go on.
        """
        if self.layout is None or self._model() is not model:
            # what was proven for one model says nothing of another
            self.prepare(model)
        if self.scores_are_rewards:
            return self._material.result(self._rewards(model), self.rounding)
        try:
            self._prove_again(model)
            return self._material.result(self._scored(model, progress), self.rounding)
        except EvaluationError as error:
            if error.out_of_memory or not self._fall_back(model, error):
                raise
        return self._material.result(self._scored(model, progress), self.rounding)

    def _scored(self, model: torch.nn.Module, progress: Progress | None) -> dict[Key, float]:
        return self._within_memory(lambda: score_together(model, self._batches, self._reading, progress))

    def _chosen(self, model: torch.nn.Module, among: Sequence[Way]) -> LayoutChoice:
        more = self._arranged_with_probes if self._material.probes.answers else None
        choose = partial(choose_layout, model, self._reading, self._share, self._arranged, among, more)
        found = self._within_memory(choose)
        if found.refused_more:
            self._material.refuse_probes(found.refused_more)
            self._plan()
        return found

    def _prove_again(self, model: torch.nn.Module) -> None:
        """At evaluations 2, 3, 4, 8, 16 and so on: a fresh adapter adds nothing, so the start proves little."""
        assert self.layout is not None
        self._evaluations += 1
        n = self._evaluations
        if n < 2 or (n > 3 and n & (n - 1)):
            return
        before = self.layout
        try:
            found = self._chosen(model, [before.way])
        except ValueError as error:
            if isinstance(error.__cause__, EvaluationError):
                # it failed, which says nothing of what it would have shown
                raise error.__cause__ from error
            found = self._next_layout(model, before, error)
        self._use(found if found.way != before.way else replace(found, refused=before.refused))

    def _next_layout(self, model: torch.nn.Module, refused: LayoutChoice, why: ValueError) -> LayoutChoice:
        """The next layout that is proven after one was refused; what would end a run here only skips an evaluation."""
        slower = ways(self.config.layout, after=refused.way)
        if not slower:
            raise EvaluationError(str(why)) from why
        try:
            found = self._chosen(model, slower)
        except ValueError as error:
            raise EvaluationError(str(error)) from error
        logger.warning("HRE goes on with layout '%s': %s", found.way, why)
        return replace(found, refused=(*refused.refused, f"{refused.way}: {why}", *found.refused))

    def _fall_back(self, model: torch.nn.Module, error: EvaluationError) -> bool:
        """Whether another layout is proven for the model after the one in use failed."""
        assert self.layout is not None
        failed = self.layout
        slower = ways(self.config.layout, after=failed.way)
        if not slower or not self._fails_again(model, error):
            return False
        try:
            found = self._chosen(model, slower)
        except (EvaluationError, ValueError):
            # the model itself fails: the first error says it better
            return False
        self._use(replace(found, refused=(*failed.refused, f"{failed.way}: {error}", *found.refused)))
        logger.warning("HRE goes on with layout '%s'; '%s' failed: %s", found.way, failed.way, error)
        return True

    def _fails_again(self, model: torch.nn.Module, error: EvaluationError) -> bool:
        """Whether the batches that failed do so once more: what happens once is no fault of the layout."""
        failed = {key for keys in error.batches for key in keys}
        batches = [batch for batch in self._batches if failed.intersection(batch.keys)]
        try:
            look_together(model, batches, self._reading)
        except EvaluationError:
            return True
        return False

    def _use(self, choice: LayoutChoice) -> None:
        new = self.layout is None or choice.way != self.layout.way or not self._batches
        self.layout = choice
        if math.isnan(self.rounding):
            self.rounding = choice.rounding
        if new:
            self._plan()

    def _plan(self) -> None:
        if self.layout is not None and not self.scores_are_rewards:
            way = self.layout.way
            self._batches = [lay_out(rows, way) for rows in self._arranged_with_probes(way.layout)]

    def _share(self, layout: Layout) -> list[Group]:
        return my_share(self._material.groups, layout)

    def _arranged(self, layout: Layout) -> list[Rows]:
        return arrange(self._share(layout), layout, self.budget)

    def _arranged_with_probes(self, layout: Layout) -> list[Rows]:
        return arrange(my_share(self._material.rows, layout), layout, self.budget)

    def _rewards(self, model: torch.nn.Module) -> dict[Key, float]:
        """A reward model's number for every answer: the whole text, as `RewardTrainer` trains it."""
        rows = {a.key: [*a.context, *a.continuation] for a in self._material.answers.values()}
        numbers, at_once = score_sequences_together(model, rows)
        self.layout = LayoutChoice("padded" if at_once > 1 else "single")
        return numbers

    def _first_ids(self, model: torch.nn.Module) -> list[int]:
        """The first sixteen tokens of the first question, for a first look at the model."""
        first, known = self.questions[0], input_rows(model)
        text = f"{paper_context(first.question)} {first.answers[0].text}"
        tokens = self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        ids = [i for i in tokens if known is None or i < known]
        return (ids or [0])[:16]

    def _within_memory(self, work: Callable[[], T]) -> T:
        """`work`, again with half the token budget whenever it was too much for a rank.

        A single answer that is still too much takes its question, and all with a longer row, out of the set.
        """
        began = self.budget
        while True:
            try:
                return work()
            except EvaluationError as error:
                if not error.out_of_memory:
                    raise
                if self.budget > 1:
                    self.budget //= 2
                elif error.batches and all(len(keys) == 1 for keys in error.batches):
                    self._material.leave_out_as_large([keys[0] for keys in error.batches], error)
                    self.budget = began
                else:
                    raise EvaluationError(f"out of memory with {self.budget} tokens a batch: {error}") from error
            self._plan()
