"""What a person may see who ranks answers: questions and answers without votes, and nothing that hints at them."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import Any

from ..plain_text import plain_lines, plain_text
from .checks import Question
from .messages import Asked, spelled
from .questions import fingerprint, stratified_subset

# Columns of a tab in somebody's code.
_TAB = 4


def blind_questions(
    questions: Sequence[Question], *, max_questions: int | None = None, seed: int = 0
) -> dict[str, Any]:
    """The questions as plain JSON values for the page on which they are ranked.

    The answers stand in the order of their keys, which is that of a hash: a file that lists the best answer first tells
    nobody so. The fingerprint is that of all `questions`, also where the page asks a subset.

    Args:
        max_questions: ask a subset of this size, stratified by topic.
        seed: of the subset, and of the order in which every person meets questions and answers.

    Returns:
        `fingerprint`, `seed` and `questions`: each with `id`, `topic`, `turns` of `role` (empty where there is one
        text) and `text`, and `answers` of `key` and `text`.
    """
    asked = questions if max_questions is None else stratified_subset(questions, max_questions, seed=seed)
    return {"fingerprint": fingerprint(questions), "seed": seed, "questions": [_blind(question) for question in asked]}


def answer_keys(question: Question) -> list[str]:
    """A key for each answer, in the question's order: made of its text alone, so that it tells nothing else."""
    seen: Counter[str] = Counter()
    keys = []
    for answer in question.answers:
        digest = hashlib.sha256(answer.text.encode()).hexdigest()[:12]
        # The same text may stand there twice.
        keys.append(f"{digest}-{seen[digest]}")
        seen[digest] += 1
    return keys


def _blind(question: Question) -> dict[str, Any]:
    texts = zip(answer_keys(question), (answer.text for answer in question.answers), strict=True)
    return {
        "id": question.id,
        "topic": question.topic,
        "turns": [{"role": role, "text": _shown(text)} for role, text in _turns(question.question)],
        "answers": [{"key": key, "text": _shown(text)} for key, text in sorted(texts)],
    }


def _turns(asked: Asked) -> list[tuple[str, str]]:
    if isinstance(asked, str):
        return [("", asked)]
    return [(plain_text(message["role"]), spelled(message)) for message in asked]


def _shown(text: str) -> str:
    """As a page shows it: no sign that turns the direction of reading, tabs as blanks."""
    return plain_lines(text.expandtabs(_TAB).strip("\r\n"))
