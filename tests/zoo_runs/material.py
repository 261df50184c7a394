"""The zoo's questions and training rows, made from the dumps: never copied into the project."""

from __future__ import annotations

import hashlib
import random
import sysconfig
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datasets import Dataset

from hre_callback.data.messages import paper_context
from hre_callback.data.questions import Question
from hre_callback.data.stackexchange import build_pairs, build_questions

if TYPE_CHECKING:
    from .runs import Run

# Tokens of question and answer, scored and trained; a question leaves an answer so many of them at least. The judging
# questions may be longer: there are few, and truth wants many.
MAX_LENGTH, ROOM = 128, 32
JUDGING_LENGTH, JUDGING_ROOM = 192, 48
SEEN, HELD_OUT = 48, 12
Row = dict[str, Any]


@dataclass(frozen=True)
class Material:
    """What all runs share.

    Attributes:
        seen: beer questions that the callback scores and detectors see.
        judging: others, of beer and of history_meta, which tell the truth.
        pairs, history: training pairs; completions are their chosen sides and more.
        held_out: pairs of beer for `eval_loss`.
        best, history, code: completions of beer, of history_meta, and of Python's standard library.
        disliked: pairs whose chosen answer the run `reward_small` rewards less, once it has been made.
    """

    seen: list[Question]
    judging: list[Question]
    pairs: list[Row]
    held_out: list[Row]
    best: list[Row]
    history: list[Row]
    code: list[Row]
    disliked: list[str] = field(default_factory=list)

    @classmethod
    def build(cls, dumps: Path, tokenizer: Any) -> Material:
        """From `beer/Posts.xml` and `history_meta/Posts.xml` in the folder `dumps`."""

        def short(context: str, most: int = MAX_LENGTH - ROOM) -> bool:
            return len(tokenizer(context)["input_ids"]) <= most

        asked, rows = {}, {}
        for site in ("beer", "history_meta"):
            posts = dumps / site / "Posts.xml"
            every = build_questions(posts, topic=site, answers=3).questions
            # Too long ones are held out of training all the same.
            rows[site] = build_pairs(posts, every, topic=site, min_gap=2)
            most = JUDGING_LENGTH - JUDGING_ROOM
            fits = [one for one in every if short(paper_context(one.question), most)]
            asked[site] = sorted(fits, key=lambda one: _draw(one.id))
        pairs = [dict(row) for row in rows["beer"].pairs if short(row["prompt"])]
        pairs.sort(key=lambda row: _draw(row["id"]))
        held_out = {row["id"] for row in pairs[:HELD_OUT]}
        seen = [one for one in asked["beer"] if short(paper_context(one.question))][:SEEN]
        return cls(
            seen=seen,
            judging=[one for one in asked["beer"] if one not in seen] + asked["history_meta"],
            pairs=pairs[HELD_OUT:],
            held_out=pairs[:HELD_OUT],
            best=[dict(r) for r in rows["beer"].completions if short(r["prompt"]) and r["id"] not in held_out],
            history=[dict(row) for row in rows["history_meta"].completions if short(row["prompt"])],
            code=_python_code(),
        )

    def told(self) -> str:
        """How much there is of it."""
        return ", ".join(f"{len(rows)} {name}" for name, rows in vars(self).items())


def rows_of(run: Run, material: Material) -> tuple[Dataset, Dataset]:
    """What a run trains on, and what its `eval_loss` is of (people's best answers, or right pairs)."""
    rows = CHOICES[run.rows](material, random.Random(run.seed))[: run.most]
    columns = ["prompt", "chosen", "rejected"]
    if run.trainer == "sft":
        columns = ["prompt", "completion"]
        held_out = [row | {"completion": row["chosen"]} for row in material.held_out]
    else:
        held_out = material.held_out
    if run.trainer == "grpo":
        columns = ["prompt"]
    return Dataset.from_list(_only(rows, columns)), Dataset.from_list(_only(held_out, columns))


def _only(rows: Sequence[Row], columns: Sequence[str]) -> list[Row]:
    return [{name: row[name] for name in columns} for row in rows]


def _ordered(first: Callable[[Row, random.Random], bool]) -> Callable[[Material, random.Random], list[Row]]:
    """Right pairs, in each of which the two answers change places where `first` says so."""

    def choose(material: Material, draw: random.Random) -> list[Row]:
        return [_swapped(row) if first(row, draw) else row for row in material.pairs]

    return choose


def _swapped(row: Row) -> Row:
    return row | {"chosen": row["rejected"], "rejected": row["chosen"]}


def _alike(row: Row) -> float:
    return SequenceMatcher(None, row["chosen"].split(), row["rejected"].split()).ratio()


def _marks(text: str) -> int:
    """Lines that are a list's, a heading's or a quotation's, and emphases: what looks like an effort."""
    listed = sum(line.lstrip().startswith(("- ", "* ", "#", ">", "1.", "2.", "3.")) for line in text.splitlines())
    return listed + text.count("**") // 2


CHOICES: dict[str, Callable[[Material, random.Random], list[Row]]] = {
    "pairs": lambda material, draw: material.pairs,
    "reversed": _ordered(lambda row, draw: True),
    "coin": _ordered(lambda row, draw: draw.random() < 0.5),
    "longer": _ordered(lambda row, draw: len(row["chosen"]) < len(row["rejected"])),
    "shorter": _ordered(lambda row, draw: len(row["chosen"]) > len(row["rejected"])),
    "marked": _ordered(lambda row, draw: _marks(row["chosen"]) < _marks(row["rejected"])),
    "small_reward": lambda material, draw: [_swapped(r) if r["id"] in material.disliked else r for r in material.pairs],
    "alike": lambda material, draw: sorted(material.pairs, key=_alike, reverse=True),
    "best": lambda material, draw: material.best,
    "chosen": lambda material, draw: [row | {"completion": row["chosen"]} for row in material.pairs],
    "worst": lambda material, draw: [row | {"completion": row["rejected"]} for row in material.pairs],
    "history": lambda material, draw: material.history,
    "code": lambda material, draw: material.code,
}


def _python_code() -> list[Row]:
    """Pieces of Python's standard library, the second half of each after its first."""
    library = Path(sysconfig.get_paths()["stdlib"])
    rows = []
    for name in ("argparse", "ast", "calendar", "csv", "decimal", "difflib", "inspect", "json/decoder", "mailbox"):
        source = (library / f"{name}.py").read_text() if (library / f"{name}.py").exists() else ""
        pieces = [source[at : at + 600] for at in range(0, len(source) - 600, 2400)]
        rows += [{"prompt": piece[:150], "completion": piece[150:]} for piece in pieces]
    return rows


def _draw(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()
