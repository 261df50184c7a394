"""The layouts that are known, by name and by shape, and which data set of the hub each name means.

Read from the data sets' cards in November 2026; a layout that has changed since is told by its rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ...plain_text import plain_text
from . import (
    arena,
    community_alignment,
    grouped,
    helpsteer2,
    helpsteer3,
    mt_bench,
    oasst,
    preferences,
    prism,
    reward_bench,
    shp,
    single,
    stack_preferences,
    ultrafeedback,
)
from .fields import Adapter, Fields

OWN_LAYOUT = "questions"
"""The name of this package's own layout."""


@dataclass(frozen=True, slots=True)
class Layout:
    """A layout and, where it has one, its data set.

    Attributes:
        read: its rows as rows of this package.
        fits: whether a row is one of it.
        columns: what its rows are told by, for messages.
        repo, config, splits: on the hub; of the splits those that are there, all where none of them is.
        folder: where a part lies in the data set, by its name behind the colon; `None` where all parts lie together.
        judge: who voted, where it was not people.
        counted: whether the votes are counts; `None` where only the values tell.
    """

    read: Adapter
    fits: Callable[[Fields], bool]
    columns: str
    repo: str = ""
    config: str | None = None
    splits: tuple[str, ...] = ()
    folder: Callable[[str], str] | None = None
    judge: str | None = None
    counted: bool | None = False


def _site(part: str) -> str:
    if part == "stackoverflow":
        return "data/stackoverflow.com"
    return f"data/{part}" if "." in part else f"data/{part}.stackexchange.com"


_OASST = "message_id, parent_id, text, role, rank"
LAYOUTS: Mapping[str, Layout] = {
    "preferences": Layout(preferences.questions, preferences.fits, "prompt, chosen, rejected"),
    "grouped": Layout(grouped.questions, grouped.fits, "prompt, responses, scores (or ranks)", counted=None),
    "single": Layout(single.questions, single.fits, "prompt, response, score", counted=None),
    "helpsteer3": Layout(
        helpsteer3.questions,
        helpsteer3.fits,
        "context, response1, response2, overall_preference",
        "nvidia/HelpSteer3",
        "preference",
        ("validation",),
    ),
    "helpsteer2": Layout(
        helpsteer2.questions,
        helpsteer2.fits,
        "prompt, response, helpfulness",
        "nvidia/HelpSteer2",
        splits=("validation",),
    ),
    "community-alignment": Layout(
        community_alignment.questions,
        community_alignment.fits,
        "first_turn_prompt, first_turn_response_a",
        "facebook/community-alignment-dataset",
    ),
    "arena-140k": Layout(
        arena.questions,
        arena.fits,
        "conversation_a, conversation_b, winner, evaluation_session_id",
        "lmarena-ai/arena-human-preference-140k",
    ),
    "oasst1": Layout(oasst.questions, oasst.fits, _OASST, "OpenAssistant/oasst1"),
    "oasst2": Layout(oasst.questions, oasst.fits, _OASST, "OpenAssistant/oasst2"),
    "prism": Layout(
        prism.questions,
        prism.fits,
        "user_prompt, model_response, score",
        "HannahRoseKirk/prism-alignment",
        "utterances",
    ),
    "shp": Layout(
        shp.questions,
        shp.fits,
        "history, human_ref_A, human_ref_B, score_A",
        "stanfordnlp/SHP",
        splits=("test",),
        folder=str,
    ),
    "stack-exchange-preferences": Layout(
        stack_preferences.questions,
        stack_preferences.fits,
        "qid, question, answers with pm_score",
        "HuggingFaceH4/stack-exchange-preferences",
        folder=_site,
    ),
    "reward-bench-2": Layout(
        reward_bench.questions,
        reward_bench.fits,
        "prompt, chosen and rejected as lists of texts",
        "allenai/reward-bench-2",
        judge="verification (RewardBench 2)",
    ),
    "mt-bench-human": Layout(
        mt_bench.questions,
        mt_bench.fits,
        "question_id, model_a, model_b, winner, judge",
        "lmsys/mt_bench_human_judgments",
        splits=("human",),
    ),
    "ultrafeedback": Layout(
        ultrafeedback.questions,
        ultrafeedback.fits,
        "instruction, completions with response and overall_score",
        "openbmb/UltraFeedback",
        judge="GPT-4 (UltraFeedback)",
    ),
    "nectar": Layout(
        grouped.questions,
        lambda row: False,
        "prompt, responses, scores (or ranks)",
        "berkeley-nest/Nectar",
        judge="GPT-4 (Nectar)",
    ),
}


def named(name: str) -> tuple[str, Layout, str | None] | None:
    """(name, layout, part) of `oasst2:de`; the name of the layout's data set will do too. `None` for other names."""
    key, _, part = name.partition(":")
    if key in LAYOUTS:
        return key, LAYOUTS[key], part or None
    for known, layout in LAYOUTS.items():
        if layout.repo and layout.repo.lower() == name.lower():
            return known, layout, None
    return None


def layout_named(name: str) -> tuple[str, Layout, str | None]:
    """The same, or a ValueError that lists the names."""
    found = named(name) if isinstance(name, str) else None
    if found is None:
        raise ValueError(f"adapter: found {name!r:.60}, expected one of {', '.join(LAYOUTS)}")
    return found


def layout_of(row: Fields, source: str) -> tuple[str, Layout] | None:
    """The one layout that a row fits; `None` for this package's own.

    Raises:
        ValueError: it fits none, or two; lists the columns that there are and what is expected.
    """
    own = {"question", "answers"} <= row.keys() and _is_own(row["answers"])
    fitting: dict[str, Layout | None] = {OWN_LAYOUT: None} if own else {}
    doubt = ""
    for name, layout in LAYOUTS.items():
        if own and layout.read is grouped.questions:
            continue
        try:
            # The first of those that have one layout: oasst1 and oasst2.
            if layout.fits(row) and all(known is None or known.fits is not layout.fits for known in fitting.values()):
                fitting[name] = layout
        except ValueError as error:
            doubt = doubt or f"; {error}"
    if len(fitting) == 1:
        ((name, only),) = fitting.items()
        return None if only is None else (name, only)
    seen = ", ".join(plain_text(column) for column in row) or "none"
    if fitting:
        raise ValueError(
            f"{source}: found the columns {seen}, which fit {' and '.join(fitting)}; say which with adapter=, or which "
            "columns with columns="
        )
    # Rows that are this package's own but for a fault are told what it is where they are read.
    if not doubt and {"question", "answers"} & row.keys() and not _beside_answers(row):
        return None
    shapes = dict.fromkeys(layout.columns for layout in LAYOUTS.values())
    kinds = ", ".join(f"{plain_text(column)} ({_kind(value)})" for column, value in row.items()) or "none"
    raise ValueError(
        f"{source}: found the columns {kinds}, expected question, answers (a list of text and votes), or those of "
        f"another layout ({'; '.join(shapes)}), or columns={{...}}{doubt}"
    )


def _kind(value: Any) -> str:
    """What a column holds, in the word that an error needs."""
    if isinstance(value, list) and value:
        return f"list of {_kind(value[0])}"
    kinds = {str: "text", dict: "object", type(None): "null", int: "number", float: "number"}
    return kinds.get(type(value), type(value).__name__)


def _is_own(answers: Any) -> bool:
    return isinstance(answers, list) and any(isinstance(a, Mapping) and {"text", "votes"} <= a.keys() for a in answers)


def _beside_answers(row: Fields) -> bool:
    """Whether answers are texts: then their votes are looked for beside them."""
    return isinstance(row.get("answers"), list) and any(isinstance(answer, str) for answer in row["answers"])
