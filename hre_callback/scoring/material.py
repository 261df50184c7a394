"""The questions in a model's tokens: what can be scored, what is left out and why, and the numbers laid out again."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch

from .. import distributed
from ..config import HREConfig
from ..data.questions import Question, fingerprint
from ..data.style import style_marks
from ..plain_text import plain_logger
from ..stats.correlation import HREResult, correlate
from .architecture import input_rows
from .encoding import EncodedAnswer, Key, encode
from .errors import EvaluationError
from .outputs import Reading
from .plan import Group, group_by_context
from .probed import Probes

logger = plain_logger(__name__)


class Material:
    """Encoded questions of one model; empty until `encode`.

    Attributes:
        answers: what HRE scores, by key.
        groups: the same, answers of one context together.
        probes: the style probes; none unless `HREConfig.probes`.
        rows: `groups` with the probes as further answers of their questions.
        left_out: question id -> why it cannot be scored.
        truncated: answers whose tail was cut.
        rendering: hash of the contexts that the chat template made, `None` for the paper's prompt.
    """

    def __init__(self, questions: Sequence[Question], processor: Any, config: HREConfig) -> None:
        self.answers: dict[Key, EncodedAnswer] = {}
        self.groups: list[Group] = []
        self.rows: list[Group] = []
        self.probes = Probes(questions)
        self.left_out: dict[str, str] = {}
        self.truncated = 0
        self.rendering: str | None = None
        self._questions, self._processor, self._config = questions, processor, config
        self._fingerprint = fingerprint(questions)
        self._styles = [[style_marks(answer.text) for answer in question.answers] for question in questions]
        self._said = 0

    def encode(self, model: torch.nn.Module, reading: Reading, possible: int | None) -> None:
        """Tokenise all questions and leave out, with a reason, those that the model cannot read.

        Args:
            possible: tokens that the model can read at once, `None` without a limit.

        Raises:
            ValueError: no question can be scored.
        """
        wanted = self._config.max_length
        limit = min((n for n in (wanted, possible) if n is not None), default=None)
        if wanted is not None and possible is not None and possible < wanted:
            logger.warning(
                "HREConfig.max_length is %d, but the model reads %d tokens: that many are used", wanted, possible
            )
        in_tokens = partial(
            encode,
            tokenizer=self._processor,
            prompt=self._config.prompt,
            normalization="none" if reading.rewards else self._config.normalization,
            max_length=limit,
            chat_template_kwargs=self._config.template_kwargs,
            whole=reading.rewards,
        )
        encoding = in_tokens(self._questions)
        for question in encoding.left_out:
            too_long = f"leaves no room for an answer in {limit} tokens"
            self.left_out[question] = encoding.rewritten.get(question, too_long)
        self.truncated, self.rendering = encoding.truncated, encoding.rendering
        rows = (input_rows(model), reading.vocabulary or None)
        self.answers = {answer.key: answer for answer in encoding.answers}
        for answer in encoding.answers:
            if reason := _unknown_id(answer, *rows):
                self.left_out[answer.key[0]] = reason
        self._regroup()
        if not self.groups:
            raise ValueError(f"no question can be scored: {self._reasons()}")
        if self._config.probes and reading.rewards:
            self.refuse_probes("a reward model gives no likelihood of a text")
        elif self._config.probes:
            self.probes.encode(self.answers, in_tokens, lambda answer: bool(_unknown_id(answer, *rows)))
            self._regroup()

    def as_dict(self) -> dict[str, Any]:
        """What is left out, and with style probes what they are and cost (`Probes.as_dict`); plain JSON."""
        probes = {"probes": self.probes.as_dict(self.answers)} if self._config.probes else {}
        return {"left_out": dict(self.left_out), **probes}

    def leave_out_as_large(self, keys: Sequence[Key], error: EvaluationError) -> None:
        """Leave out every question with a row as long as the shortest that did not fit memory; first its probes alone.

        Raises:
            EvaluationError: that would be half of them or more.
        """
        if self.probes.leave_out_as_large(keys, self.answers):
            self._regroup()
            return
        sizes = {key: len(a.context) + len(a.continuation) for key, a in self.answers.items()}
        least = min(sizes[key] for key in keys)
        large = {key[0] for key, size in sizes.items() if size >= least}
        if 2 * (len(self.left_out) + len(large)) > len(self._questions):
            raise EvaluationError(f"out of memory with single answers of {least} tokens: {error}") from error
        for question in large:
            self.left_out[question] = (
                f"one answer with its question, {least} tokens or more, does not fit memory; set max_length"
            )
        self._regroup()
        self.say_left_out()

    def refuse_probes(self, why: str) -> None:
        """Score no style probe any more; said on rank 0."""
        if distributed.rank() == 0:
            logger.warning("HRE goes on without style probes: %s", why)
        self.probes.refuse(why)
        self._regroup()

    def say_left_out(self) -> None:
        """Warn on rank 0 of what is left out, once for each more."""
        if len(self.left_out) > self._said and distributed.rank() == 0:
            logger.warning(
                "HRE leaves out %d of %d questions: %s", len(self.left_out), len(self._questions), self._reasons()
            )
        self._said = len(self.left_out)

    def result(self, scored: Mapping[Key, float], rounding: float) -> HREResult:
        """Lay the keyed log-likelihoods out in the order of the questions; every answer must be there once.

        Args:
            rounding: nats a token that arithmetic alone changes.

        Raises:
            EvaluationError: an answer was not scored, or its number is not finite.
        """
        encoded, everything = self.answers, scored
        if missing := sorted((encoded.keys() | self.probes.answers.keys()) ^ scored.keys()):
            raise EvaluationError(f"{len(missing)} answers were not scored, e.g. {missing[:3]}")
        scored = {key: value for key, value in everything.items() if key in encoded}
        if bad := sorted(key for key, value in scored.items() if not math.isfinite(value)):
            question, index = bad[0]
            raise EvaluationError(
                f"the model gives NaN or infinite log-likelihoods for {len(bad)} of {len(scored)} answers, "
                f"first question {question!r} answer {index}"
            )
        tokens = {key: len(answer.continuation) for key, answer in encoded.items()}
        questions = self._questions
        rows = [[(q.id, index) for index in range(len(q.answers))] for q in questions]
        return correlate(
            fingerprint=self._fingerprint,
            ids=[q.id for q in questions],
            topics=[q.topic for q in questions],
            clusters=[q.cluster for q in questions],
            votes=[[a.votes for a in q.answers] for q in questions],
            loglikelihoods=[[scored.get(key, math.nan) for key in keys] for keys in rows],
            divisors=[[encoded[key].divisor if key in encoded else 1.0 for key in keys] for keys in rows],
            lengths=[[encoded[key].length if key in encoded else 0 for key in keys] for keys in rows],
            styles=self._styles,
            truncated=self.truncated,
            left_out=len(self.left_out),
            rendering=self.rendering,
            # independent errors add up like a random walk
            rounding=[[rounding * math.sqrt(tokens.get(key, 0)) for key in keys] for keys in rows],
            probes=self.probes.differences(everything, encoded) if self.probes.answers else None,
        )

    def _regroup(self) -> None:
        """Without the questions that are left out."""
        self.answers = {key: a for key, a in self.answers.items() if key[0] not in self.left_out}
        self.groups = group_by_context(list(self.answers.values()))
        self.probes.keep_with(self.answers)
        probes = self.probes.answers.values()
        self.rows = group_by_context([*self.answers.values(), *probes]) if probes else self.groups

    def _reasons(self) -> str:
        """What is left out and why, at most three by name."""
        shown = [f"{question} ({reason})" for question, reason in list(self.left_out.items())[:3]]
        return "; ".join(shown) + (" ..." if len(self.left_out) > 3 else "")


def _unknown_id(answer: EncodedAnswer, input_rows: int | None, vocabulary: int | None) -> str:
    """Why the model cannot read an answer's tokens; empty if it can."""
    largest = max(*answer.context, *answer.continuation)
    predicted = max(answer.continuation)
    if input_rows is not None and largest >= input_rows:
        helps = "resize_token_embeddings or another tokenizer helps"
        return f"token {largest} has no row among the model's {input_rows}; {helps}"
    if vocabulary is not None and predicted >= vocabulary:
        return f"token {predicted} is none of the {vocabulary} that the model predicts; another tokenizer helps"
    return ""
