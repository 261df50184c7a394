"""Preference rows as TRL takes them: `prompt`, `chosen`, `rejected`, in texts or messages; a prompt may be implicit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from ..checks import fail
from ..messages import ASSISTANT
from .fields import Fields, LeftOut, Placed, answers, bare, conversation, digest, is_text
from .generic import QUESTION, answer_text, asked, dialogue, one_of, own_columns

SIDES = "chosen", "rejected"


class Pair(NamedTuple):
    """What was asked, the chosen answer and the rejected one."""

    question: str | list[Fields]
    chosen: str
    rejected: str


def fits(row: Fields) -> bool:
    """Whether this is such a row: both sides are texts, or both are messages."""
    if not set(SIDES) <= row.keys():
        return False
    sides = [row[side] for side in SIDES]
    return all(isinstance(side, str) for side in sides) or all(
        isinstance(side, list) and side and isinstance(side[0], Mapping) for side in sides
    )


def questions(rows: Iterable[Placed], left_out: LeftOut) -> Iterator[Placed]:
    """A pair is a question with two answers, votes 1 and 0; pairs of one prompt are one cluster."""
    for placed in rows:
        pair = read_pair(placed)
        if isinstance(pair, str):
            left_out.add(placed, pair)
            continue
        yield placed._replace(
            row={
                "cluster": digest(pair.question),
                **own_columns(placed.row),
                "question": pair.question,
                "answers": answers((pair.chosen, pair.rejected), (1, 0)),
            }
        )


def read_pair(placed: Placed) -> Pair | str:
    """The pair of a row, or why there is none.

    Raises:
        ValueError: the row is no preference row; names the place and the field.
    """
    row = placed.row
    for side in SIDES:
        if side not in row:
            raise ValueError(f"{placed.where}: no column {side!r}; found the columns {sorted(map(str, row))}")
    if any(row[side] is None for side in SIDES):
        return "pairs without both answers"
    for side in SIDES:
        if not isinstance(row[side], (str, list)) or type(row[side]) is not type(row["chosen"]):
            fail(placed.where, side, row[side], "a text or a list of messages, the same of chosen and rejected")
    prompt = one_of(row, QUESTION)
    if isinstance(row["chosen"], str):
        return _of_texts(placed, prompt)
    return _of_messages(placed, prompt)


def _of_texts(placed: Placed, prompt: str | None) -> Pair | str:
    texts = [placed.row[side] for side in SIDES]
    if prompt is None:
        talks = [dialogue(text) for text in texts]
        if not all(talks):
            raise ValueError(
                f"{placed.where}: chosen and rejected are texts and there is no prompt; found the columns "
                f"{sorted(map(str, placed.row))}, expected a prompt, or conversations"
            )
        return _parted(*talks)
    question = asked(placed, prompt)
    if question is None:
        return "pairs with something else than text"
    return Pair(question, *(answer_text(text, placed.where, "chosen") for text in texts))


def _of_messages(placed: Placed, prompt: str | None) -> Pair | str:
    talks = [conversation(placed, side) for side in SIDES]
    before: Any = []
    if prompt is not None and any(talk[:1] and talk[0]["role"] == ASSISTANT for talk in talks):
        before = asked(placed, prompt)
    if before is None or not all(is_text(talk) for talk in talks):
        return "pairs with something else than text"
    if isinstance(before, str):
        before = [{"role": "user", "content": before}]
    # Some write the prompt and then the whole conversation again.
    return _parted(*([*before, *bare(talk)] if talk and talk[0]["role"] == ASSISTANT else bare(talk) for talk in talks))


def _parted(chosen: list[Fields], rejected: list[Fields]) -> Pair | str:
    """The pair of two conversations that are one until their last message."""
    if not (chosen and rejected) or chosen[:-1] != rejected[:-1]:
        return "pairs that part before the last answer"
    if not chosen[:-1] or {chosen[-1]["role"], rejected[-1]["role"]} != {ASSISTANT}:
        return "pairs that do not end with an answer to something"
    return Pair(chosen[:-1], chosen[-1]["content"], rejected[-1]["content"])
