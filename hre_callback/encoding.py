"""Questions -> token ids: where the context ends, where each continuation begins, what was cut, all counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .config import Normalization, Prompt
from .questions import Answer, Question

Key = tuple[str, int]  # (question id, answer index): every number of this package travels with it
_LEAST_ROOM = 16  # tokens; an answer cut shorter than this says nothing about the answer


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
    """All encoded answers, and the ids of the questions too long to leave room for any answer."""

    answers: tuple[EncodedAnswer, ...]
    left_out: tuple[str, ...]

    @property
    def truncated(self) -> int:
        """Number of answers that lost their tail."""
        return sum(answer.truncated for answer in self.answers)


def encode(
    questions: Sequence[Question],
    tokenizer: Any,
    *,
    prompt: Prompt = "paper",
    normalization: Normalization = "characters",
    max_length: int | None = None,
) -> Encoding:
    """Tokenise every question with each of its answers.

    As in the official implementation, context and continuation are tokenised *together* and the first
    `len(tokenizer(context))` ids are the context:

        ids      c c c c c c a a a a          c: context, a: continuation
        logits     p p p p p P P P P .        P: the predictions that are scored (one before each a)

    If a merge across the boundary leaves no continuation token, the last id is scored, so that every answer
    has one. An answer that does not fit `max_length` loses its tail, and its length shrinks with it; a
    question that leaves fewer than 16 tokens for an answer that needs more is left out as a whole.

    Args:
        tokenizer: any transformers tokenizer; none of its settings is changed.
        max_length: tokens of context and continuation together; `None` for no limit.

    Raises:
        ValueError: `prompt="chat"` and the tokenizer has no chat template, or the tokenizer gives no tokens.
    """
    if prompt == "chat" and not getattr(tokenizer, "chat_template", None):
        raise ValueError(
            "prompt='chat' needs a tokenizer with a chat template; use prompt='paper' or set one"
        )
    contexts, continuations, rows = [], [], []
    for question in questions:
        context = (
            _chat_context(question, tokenizer)
            if prompt == "chat"
            else f"Question: {question.question}\nAnswer:"
        )
        contexts.append(context)
        for index, answer in enumerate(question.answers):
            continuations.append(context + ("" if prompt == "chat" else " ") + answer.text)
            rows.append((question, index, len(contexts) - 1, len(continuations[-1]) - len(answer.text)))
    bos = _missing_bos(tokenizer, contexts[:1]) if prompt == "chat" else ()
    context_ids, _ = _tokenize(tokenizer, contexts, offsets=False)
    joint_ids, joint_offsets = _tokenize(tokenizer, continuations, offsets=max_length is not None)

    encoded: list[EncodedAnswer] = []
    too_long: dict[str, None] = {}
    for (question, index, c, start), ids, offsets in zip(rows, joint_ids, joint_offsets, strict=True):
        boundary = min(len(context_ids[c]), len(ids) - 1)
        if boundary < 1 and not bos:
            raise ValueError(
                f"question {question.id!r}: the tokenizer gives its context no token to start from"
            )
        room = len(ids) if max_length is None else max_length - len(bos)
        if len(ids) > room and room - boundary < _LEAST_ROOM:
            too_long[question.id] = None
            continue
        text = question.answers[index].text
        if len(ids) > room:
            text = _kept_text(text, start, offsets, ids, boundary, room, tokenizer)
        continuation = tuple(ids[boundary:room])
        encoded.append(
            EncodedAnswer(
                key=(question.id, index),
                context=bos + tuple(ids[:boundary]),
                continuation=continuation,
                length=len(text),
                divisor=_divisor(text, len(continuation), normalization),
                truncated=len(ids) > room,
            )
        )
    return Encoding(tuple(a for a in encoded if a.key[0] not in too_long), tuple(too_long))


def _tokenize(tokenizer: Any, texts: list[str], *, offsets: bool) -> tuple[list[list[int]], list[Any]]:
    """Ids without special tokens; with offsets into the text where the tokenizer can tell them."""
    if not texts:
        return [], []
    offsets = offsets and getattr(tokenizer, "is_fast", False)
    # verbose=False: the "longer than the maximum" warning would blame the user for what we handle
    out = tokenizer(texts, add_special_tokens=False, verbose=False, return_offsets_mapping=offsets)
    return list(out["input_ids"]), list(out["offset_mapping"]) if offsets else [None] * len(texts)


def _kept_text(
    text: str, start: int, offsets: Any, ids: list[int], boundary: int, room: int, tokenizer: Any
) -> str:
    """The part of the answer that the kept tokens spell, so that its length is cut together with its ids."""
    if offsets is not None:
        return text[: max(1, offsets[room - 1][1] - start)]
    return text[: max(1, len(tokenizer.decode(ids[boundary:room]).strip()))]


def _divisor(text: str, tokens: int, normalization: Normalization) -> float:
    if normalization == "characters":
        return float(len(text))
    if normalization == "bytes":
        return float(len(text.encode("utf-8", errors="surrogatepass")))
    return float(tokens) if normalization == "tokens" else 1.0


def _chat_context(question: Question, tokenizer: Any) -> str:
    """Everything that the chat template puts before the answer's first character.

    Rendered with an answer in place, as training sees it, and cut where the answer starts: some templates
    write more before an answer than the generation prompt (an empty reasoning block, for instance).
    """
    user = {"role": "user", "content": question.question}
    answer = question.answers[0].text.strip()
    rendered: str = tokenizer.apply_chat_template(
        [user, {"role": "assistant", "content": answer}], tokenize=False
    )
    if (start := rendered.rfind(answer)) > 0:
        return rendered[:start]
    prompt: str = tokenizer.apply_chat_template([user], tokenize=False, add_generation_prompt=True)
    return prompt


def _missing_bos(tokenizer: Any, contexts: list[str]) -> tuple[int, ...]:
    """The BOS that the tokenizer would add by itself and the template did not write: exactly one either way."""
    bos = getattr(tokenizer, "bos_token_id", None)
    if bos is None or not contexts:
        return ()
    adds_bos = tokenizer("a")["input_ids"][:1] == [bos]
    has_bos = tokenizer(contexts, add_special_tokens=False, verbose=False)["input_ids"][0][:1] == [bos]
    return (bos,) if adds_bos and not has_bos else ()


def trained_on_chat(dataset: Any, tokenizer: Any) -> bool | None:
    """Whether the first training row was rendered with the chat template; `None` when that cannot be seen.

    Looks at a map-style `datasets.Dataset` only, and not through a transform of the user's: reading those could
    draw random numbers or consume a stream that training needs.
    """
    if not hasattr(dataset, "column_names") or not hasattr(dataset, "__len__") or len(dataset) == 0:
        return None
    if getattr(dataset, "format", {}).get("type") == "custom" or not getattr(
        tokenizer, "chat_template", None
    ):
        return None
    row = dataset[0]
    if "messages" in row or isinstance(row.get("prompt"), list):
        return True
    ids = next((row[name] for name in ("input_ids", "prompt_ids", "prompt_input_ids") if name in row), None)
    text = tokenizer.decode(ids) if ids is not None else row.get("prompt")
    opening = _chat_context(Question("q", "\u2603", (Answer("a", 1), Answer("b", 0))), tokenizer).split(
        "\u2603"
    )[0]
    return opening.strip()[-12:] in text if isinstance(text, str) and opening.strip() else None
