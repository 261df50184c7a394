"""Were the held-out answers trained on? Word n-grams of the training data against those of the answers."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from .questions import Question

_N = 8  # words to an n-gram: PaLM's analysis (Chowdhery et al. 2022, section 8) uses 8-grams too
_SHARE = 0.5  # of an answer's n-grams that must be in the training data
_ROWS = 10_000  # rows looked at; of more, a seeded sample
# A run of word characters, or one character of a script that writes without spaces.
_WORD = re.compile(r"[぀-ヿ㐀-鿿가-힯]|[^\W぀-ヿ㐀-鿿가-힯]+")


@dataclass(frozen=True, slots=True)
class Overlap:
    """What the training data shares with the answers.

    Attributes:
        ids: questions with an answer of which at least half the 8-grams are in the training data.
        rows, of: training rows looked at, and rows there are; 0 when the data cannot be read without a trace
            (a stream, a transform).
    """

    ids: tuple[str, ...]
    rows: int
    of: int

    def sentence(self) -> str:
        """The finding for a person."""
        some = ", ".join(self.ids[:5]) + (", ..." if len(self.ids) > 5 else "")
        return (
            f"{len(self.ids)} of the held-out questions have answers that are also in the training data ({some}): "
            f"HRE measures memory there, not ranking (8-grams, {self.rows} of {self.of} training rows read). "
            "Leave them out of one of the two; hre build makes sets that share nothing."
        )


def find_overlap(dataset: Any, questions: Sequence[Question], tokenizer: Any, *, seed: int = 0) -> Overlap:
    """The questions whose answers occur in the training data.

    Args:
        dataset: `train_dataloader.dataset`, raw text or tokenised (then decoded). Only a map-style
            `datasets.Dataset` without a transform is read: anything else could draw random numbers or consume a
            stream that training needs.
    """
    if not _readable(dataset):
        return Overlap((), 0, 0)
    pieces = {
        (question.id, i): grams
        for question in questions
        for i, answer in enumerate(question.answers)
        if (grams := set(islice(_grams(answer.text), 0, None, _N)))
    }
    wanted = set().union(*pieces.values()) if pieces else set()
    rows = range(len(dataset))
    if len(rows) > _ROWS:
        rows = sorted(random.Random(seed).sample(rows, _ROWS))  # type: ignore[assignment]
    found: set[int] = set()
    for text in _texts(dataset, rows, tokenizer):
        found.update(wanted.intersection(_grams(text)))
    hit = {
        key[0]: None for key, grams in pieces.items() if len(grams & found) >= _SHARE * len(grams)
    }  # a dict keeps the order of the questions
    return Overlap(tuple(hit), len(rows), len(dataset))


def _readable(dataset: Any) -> bool:
    return (
        hasattr(dataset, "column_names")
        and hasattr(dataset, "__len__")
        and getattr(dataset, "format", {}).get("type") != "custom"
    )


def _grams(text: str) -> Iterator[int]:
    words = _WORD.findall(text.lower())
    return (hash(tuple(words[i : i + _N])) for i in range(len(words) - _N + 1))


def _texts(dataset: Any, rows: Sequence[int], tokenizer: Any) -> Iterator[str]:
    """Every text of the rows: strings and chat messages as they are, lists of token ids decoded."""
    for row in rows:
        for name, value in dataset[row].items():
            if name.endswith("ids") and hasattr(value, "__len__") and len(value):
                yield tokenizer.decode(value)
            else:
                yield from _strings(value)


def _strings(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from _strings(value.get("content"))
    elif isinstance(value, list) and value and isinstance(value[0], (str, dict)):
        for item in value:
            yield from _strings(item)
