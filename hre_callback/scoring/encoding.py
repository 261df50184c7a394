"""Questions -> token ids: where the context ends, where each continuation begins, what was cut, all counted."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..config import Normalization, Prompt
from ..data.messages import paper_context, texts_of
from ..data.questions import Question
from .chat import ChatTemplate

# (question id, answer index): every number of this package travels with it.
Key = tuple[str, int]
# Tokens; an answer cut shorter than this says nothing about the answer.
_LEAST_ROOM = 16


@dataclass(frozen=True, slots=True)
class EncodedAnswer:
    """One (question, answer) pair as the model sees it.

    Attributes:
        key: question id and answer index.
        context: token ids that are given.
        continuation: token ids that are scored, at least one.
        length: characters of the answer that are scored (all of them unless it was truncated).
        divisor: what the log-likelihood is divided by, see `HREConfig.normalization`.
        truncated: whether the answer's tail was cut to fit `max_length`.
    """

    key: Key
    context: tuple[int, ...]
    continuation: tuple[int, ...]
    length: int
    divisor: float
    truncated: bool


@dataclass(frozen=True, slots=True)
class Encoding:
    """All encoded answers, and the questions without any.

    Attributes:
        left_out: ids of the questions that are too long to leave room for an answer, or that the chat template
            rewrites.
        rewritten: of the latter, question id -> what the template does.
        rendering: hash of all texts that the chat template made, `None` for the paper's prompt. Another template, other
            arguments or another date in it are other contexts: their scores must not be joined.
    """

    answers: tuple[EncodedAnswer, ...]
    left_out: tuple[str, ...]
    rewritten: Mapping[str, str] = field(default_factory=dict)
    rendering: str | None = None

    @property
    def truncated(self) -> int:
        """Number of answers that lost their tail."""
        return sum(answer.truncated for answer in self.answers)


@dataclass(frozen=True, slots=True)
class _Row:
    """One answer before it is tokenised; `answer` is what is scored, and begins in `joint` at character `begin`.

    `head` is what a chat template writes before the first message.
    """

    key: Key
    context: str
    joint: str
    answer: str
    begin: int
    head: str = ""


def encode(
    questions: Sequence[Question],
    tokenizer: Any,
    *,
    prompt: Prompt = "paper",
    normalization: Normalization = "characters",
    max_length: int | None = None,
    chat_template_kwargs: Mapping[str, Any] | None = None,
    whole: bool = False,
) -> Encoding:
    """Tokenise every question with each of its answers.

    As in the official implementation, context and continuation are tokenised *together* and the first
    `len(tokenizer(context))` ids are the context:

        ids      c c c c c c a a a a          c: context, a: continuation
        logits     p p p p p P P P P .        P: the predictions that are scored (one before each a)

    If a merge across the boundary leaves no continuation token, the last id is scored, so that every answer
    has one. With `prompt="chat"` no token that holds a character of an answer is given away, and the context of a
    question's answers ends at the same token, see `_shared_boundaries`. An answer that does not fit `max_length` loses
    its tail, and its length shrinks with it; a question that leaves fewer than 16 tokens for an answer that needs more
    is left out as a whole.

    Args:
        tokenizer: any transformers tokenizer, or a processor that holds one; none of its settings is changed.
        max_length: tokens of context and continuation together; `None` for no limit.
        chat_template_kwargs: passed on to the chat template.
        whole: continuations go on to the end of the text that training sees (the template's closing words, else the end
            of sequence), as a reward model reads it.

    Raises:
        ValueError: `prompt="chat"` and there is no chat template, or it does not write the question and its answer
            once each, or rewrites them all; or the tokenizer gives no tokens.
    """
    processor, tokenizer = tokenizer, getattr(tokenizer, "tokenizer", tokenizer)
    begins: dict[str, tuple[int, ...]] = {"": ()}
    end: tuple[int, ...] = ()
    rewritten: dict[str, str] = {}
    if chat := prompt == "chat":
        template = ChatTemplate(processor, chat_template_kwargs, _texts(questions))
        rows, rewritten = _chat_rows(questions, template, whole=whole)
        begins = {head: _missing_bos(tokenizer, head) for head in {row.head for row in rows}}
    else:
        rows = _paper_rows(questions)
        end = _end_of_sequence(tokenizer) if whole else ()
    joint, spans = _tokenize(tokenizer, [row.joint for row in rows])
    starts = (_shared_boundaries if chat else _official_boundaries)(rows, joint, spans, tokenizer)
    encoded: list[EncodedAnswer] = []
    too_long: dict[str, None] = {}
    for row, ids, span, start in zip(rows, joint, spans, starts, strict=True):
        bos = begins[row.head]
        room = None if max_length is None else max_length - len(bos) - len(end)
        if start < 1 and not bos:
            raise ValueError(f"question {row.key[0]!r}: the tokenizer gives its context no token to start from")
        if room is not None and len(ids) > room and room - start < _LEAST_ROOM:
            too_long[row.key[0]] = None
            continue
        kept = ids[:room]
        text = row.answer if len(kept) == len(ids) else _kept_text(row, span, kept, start, tokenizer)
        encoded.append(
            EncodedAnswer(
                key=row.key,
                context=bos + tuple(kept[:start]),
                continuation=tuple(kept[start:]) + end,
                length=len(text),
                divisor=_divisor(text, len(kept) - start, normalization),
                truncated=len(kept) < len(ids),
            )
        )
    return Encoding(
        answers=tuple(a for a in encoded if a.key[0] not in too_long),
        left_out=(*too_long, *rewritten),
        rewritten=rewritten,
        rendering=_digest(rows) if chat else None,
    )


def _paper_rows(questions: Sequence[Question]) -> list[_Row]:
    rows = []
    for question in questions:
        context = paper_context(question.question)
        for index, answer in enumerate(question.answers):
            rows.append(_Row((question.id, index), context, f"{context} {answer.text}", answer.text, len(context) + 1))
    return rows


def _chat_rows(
    questions: Sequence[Question], template: ChatTemplate, *, whole: bool
) -> tuple[list[_Row], dict[str, str]]:
    """The rows, and the questions that have none because the template rewrites one of their texts."""
    rows: list[_Row] = []
    rewritten: dict[str, str] = {}
    for question in questions:
        try:
            found = [template.around(question.question, answer.text) for answer in question.answers]
        except ValueError as error:
            rewritten[question.id] = str(error)
            continue
        for index, one in enumerate(found):
            joint = one.context + one.answer + (one.closing if whole else "")
            rows.append(_Row((question.id, index), one.context, joint, one.answer, len(one.context), one.head))
    if not rows:
        question_id, reason = next(iter(rewritten.items()))
        raise ValueError(f"prompt='chat' cannot be used: {reason}, for every question (first {question_id!r})")
    return rows, rewritten


def _texts(questions: Sequence[Question]) -> list[str]:
    return [text for q in questions for text in (*texts_of(q.question), *(answer.text for answer in q.answers))]


def _official_boundaries(
    rows: Sequence[_Row], joint: Sequence[list[int]], spans: Sequence[Any], tokenizer: Any
) -> list[int]:
    """Where continuations begin: at the number of ids that the context has by itself."""
    contexts = _context_ids(rows, tokenizer)
    return [min(len(contexts[row.context]), len(ids) - 1) for row, ids in zip(rows, joint, strict=True)]


def _shared_boundaries(
    rows: Sequence[_Row], joint: Sequence[list[int]], spans: Sequence[Any], tokenizer: Any
) -> list[int]:
    """Where continuations begin: after the last id that is the same for all answers and holds no character of one.

    A template that ends in a space has it merged into the first word of one answer and not of another
    (": " + "Hello" is ":", " Hello"; ": " + "42" is ":", " ", "42"). All of them are then scored from the ":" on.
    """
    contexts = _context_ids(rows, tokenizer)
    # context -> the first ids of its answers so far, as many as they share
    shared: dict[str, list[int]] = {}
    for row, ids, span in zip(rows, joint, spans, strict=True):
        free = None if span is None else span.char_to_token(row.begin)
        # some tokenizers tell no characters, many do not tell white space: there the context by itself says it
        if free is None or row.answer[:1].isspace():
            common = _in_common(ids, contexts[row.context])
            free = common if free is None else min(free, common)
        before = shared.get(row.context, ids)
        shared[row.context] = before[: min(free, _in_common(ids, before))]
    return [min(len(shared[row.context]), len(ids) - 1) for row, ids in zip(rows, joint, strict=True)]


def _context_ids(rows: Sequence[_Row], tokenizer: Any) -> dict[str, list[int]]:
    contexts = list(dict.fromkeys(row.context for row in rows))
    return dict(zip(contexts, _tokenize(tokenizer, contexts)[0], strict=True))


def _in_common(one: Sequence[int], other: Sequence[int]) -> int:
    """How many first ids the two share."""
    pairs = zip(one, other, strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def _digest(rows: Sequence[_Row]) -> str:
    """Hash of the rendered texts, whatever the order of the questions."""
    texts = sorted((row.key, row.context, row.answer) for row in rows)
    return hashlib.sha256(json.dumps(texts).encode()).hexdigest()[:16]


def _tokenize(tokenizer: Any, texts: list[str]) -> tuple[list[list[int]], Sequence[Any]]:
    """Ids without special tokens, and what tells a token's characters (`None` where the tokenizer cannot)."""
    if not texts:
        return [], []
    # verbose=False: the "longer than the maximum" warning would blame the user for what we handle
    out = tokenizer(texts, add_special_tokens=False, verbose=False)
    return list(out["input_ids"]), getattr(out, "encodings", None) or [None] * len(texts)


def _kept_text(row: _Row, span: Any, kept: Sequence[int], start: int, tokenizer: Any) -> str:
    """The part of the answer that the kept tokens spell, so that its length is cut together with its ids."""
    if span is not None:
        return row.answer[: max(1, span.offsets[len(kept) - 1][1] - row.begin)]
    return row.answer[: max(1, len(tokenizer.decode(kept[start:]).strip()))]


def _divisor(text: str, tokens: int, normalization: Normalization) -> float:
    if normalization == "characters":
        return float(len(text))
    if normalization == "bytes":
        return float(len(text.encode("utf-8", errors="surrogatepass")))
    return float(tokens) if normalization == "tokens" else 1.0


def _end_of_sequence(tokenizer: Any) -> tuple[int, ...]:
    eos = getattr(tokenizer, "eos_token_id", None)
    return () if eos is None else (eos,)


def _missing_bos(tokenizer: Any, head: str) -> tuple[int, ...]:
    """The BOS that the tokenizer would add by itself and the template's first words lack: exactly one either way."""
    bos = getattr(tokenizer, "bos_token_id", None)
    if bos is None or tokenizer("a")["input_ids"][:1] != [bos]:
        return ()
    written = tokenizer(head, add_special_tokens=False, verbose=False)["input_ids"] if head else []
    return () if bos in written else (bos,)
