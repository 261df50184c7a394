"""Were the held-out answers trained on? Word n-grams of the training data against those of the answers.

This is advice: it never ends a run by an error of its own, stops when its time is up, and says what it could not check.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from ..plain_text import plain_text
from .questions import Question
from .sameness import SHARE, N, grams
from .training_data import TrainingRows, texts

# Rows looked at; of more, a seeded sample.
_ROWS = 10_000
_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Overlap:
    """What the training data shares with the answers.

    Attributes:
        ids: questions with an answer of which at least half the 8-grams are in the training data.
        rows, of: training rows looked at, and rows there are; 0 when the data cannot be read without a trace
            (a stream, a transform).
        unchecked: what could not be looked at and why, in words; empty when all was.
    """

    ids: tuple[str, ...]
    rows: int
    of: int
    unchecked: str = ""

    def sentence(self) -> str:
        """The finding for a person."""
        some = ", ".join(map(plain_text, self.ids[:5])) + (", ..." if len(self.ids) > 5 else "")
        return (
            f"{len(self.ids)} of the held-out questions have answers that are also in the training data ({some}): "
            f"HRE measures memory there, not ranking (8-grams, {self.rows} of {self.of} training rows read). "
            "Leave them out of one of the two; hre build makes sets that share nothing."
        )


def find_overlap(
    dataset: Any,
    questions: Sequence[Question],
    tokenizer: Any,
    *,
    seed: int = 0,
    seconds: float = _SECONDS,
    clock: Callable[[], float] = time.monotonic,
) -> Overlap:
    """The questions whose answers occur in the training data.

    Never raises: what went wrong stands in `unchecked`.

    Args:
        dataset: `train_dataloader.dataset`, raw text or tokenised (then decoded). Only a map-style
            `datasets.Dataset` without a transform is read: anything else could draw random numbers or consume a
            stream that training needs.
        seconds: time that the whole look may take; what was read by then counts.
    """
    began = clock()
    try:
        rows = TrainingRows(dataset)
        pieces = {
            (question.id, i): found
            for question in questions
            for i, answer in enumerate(question.answers)
            if (found := set(islice(grams(answer.text), 0, None, N)))
        }
        # In a drawn order: what is read until the time is up is a sample of the whole.
        order = random.Random(seed).sample(range(len(rows)), min(len(rows), _ROWS))
        return _search(rows, order, pieces, tokenizer, lambda: clock() - began > seconds)
    except Exception as error:
        # Advice is not worth a run; the caller tells what is said here.
        reason = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        return Overlap((), 0, 0, f"the training data could not be checked for held-out answers: {reason}")


def _search(
    rows: TrainingRows,
    order: Sequence[int],
    pieces: dict[tuple[str, int], set[int]],
    tokenizer: Any,
    late: Callable[[], bool],
) -> Overlap:
    """Look at the rows in `order` until time is up; a row that cannot be read is left out and counted."""
    wanted = set().union(*pieces.values()) if pieces else set()
    found: set[int] = set()
    read, odd, reason, cut = 0, 0, "", False
    for row in order:
        if cut := late():
            break
        try:
            for text in texts(rows[row], tokenizer):
                found.update(wanted.intersection(grams(text)))
            read += 1
        except Exception as error:
            odd, reason = odd + 1, reason or f"row {row}: {type(error).__name__}: {error}"
    # A dict, because it keeps the order of the questions.
    hit = {key[0]: None for key, grams in pieces.items() if len(grams & found) >= SHARE * len(grams)}
    gaps = []
    if cut:
        gaps.append(f"the time for it was up after {read} of {len(rows)} training rows")
    if odd:
        gaps.append(f"{odd} of {len(rows)} training rows could not be read ({reason:.200})")
    unchecked = f"not checked in full for held-out answers: {'; '.join(gaps)}" if gaps else ""
    return Overlap(tuple(hit), read, len(rows), unchecked)
