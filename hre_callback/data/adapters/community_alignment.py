"""facebook/community-alignment-dataset: people of five countries choose one of four answers, up to four turns."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ..checks import fail
from .fields import Fields, LeftOut, Placed, answers, digest, label, text

_TURNS = ("first", "second", "third", "fourth")
_LETTERS = "abcd"
_PERSON = "annotator_"


def fits(row: Fields) -> bool:
    """Whether this is a row of it."""
    return {"first_turn_prompt", "first_turn_response_a", "first_turn_preferred_response", "annotator_id"} <= row.keys()


@dataclass(slots=True)
class _Asked:
    """One prompt with its four answers, and who chose which."""

    first: Placed
    talk: list[dict[str, Any]]
    texts: list[str]
    choices: dict[str, str] = field(default_factory=dict)
    people: defaultdict[str, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))


def questions(rows: Iterable[Placed], left_out: LeftOut) -> Iterator[Placed]:
    """Who saw the same conversation and the same four answers votes together: votes are how often each was chosen.

    Ratings: annotator -> 1 for the chosen one, 0 for the others. Groups: the language, and of each annotator what the
    columns `annotator_*` tell (country, age, ...). Cluster: the first prompt. A later turn follows the answer that the
    person chose before, so mostly one person votes there.
    """
    asked: dict[str, _Asked] = {}
    for placed in rows:
        for talk, texts, chosen in _turns(placed, left_out):
            key = digest([talk, sorted(texts)])
            one = asked.setdefault(key, _Asked(placed, talk, texts))
            who = label(placed, "annotator_id") or fail(placed.where, "annotator_id", None, "an id")
            one.choices[who] = chosen
            for name, value in placed.row.items():
                if name.startswith(_PERSON) and name != "annotator_id" and isinstance(value, str) and value.strip():
                    one.people[name.removeprefix(_PERSON)][who] = value
    for key, one in asked.items():
        votes = [sum(chosen == text for chosen in one.choices.values()) for text in one.texts]
        language = label(one.first, "assigned_lang") or None
        yield one.first._replace(
            row={
                "id": f"community-alignment:{key}",
                "question": one.talk,
                "answers": answers(one.texts, votes),
                "topic": language,
                "cluster": digest(one.talk[0]["content"]),
                "ratings": {who: [int(text == chosen) for text in one.texts] for who, chosen in one.choices.items()},
                "groups": {"language": language, **one.people},
            }
        )


def _turns(placed: Placed, left_out: LeftOut) -> Iterator[tuple[list[dict[str, Any]], list[str], str]]:
    """(conversation so far, the four answers, the chosen one), turn by turn, as far as the person went."""
    talk: list[dict[str, Any]] = []
    for turn in _TURNS:
        if not placed.row.get(f"{turn}_turn_prompt"):
            return
        talk = [*talk, {"role": "user", "content": text(placed, f"{turn}_turn_prompt")}]
        texts = [text(placed, f"{turn}_turn_response_{letter}") for letter in _LETTERS]
        preferred = label(placed, f"{turn}_turn_preferred_response").removeprefix("response_")
        if preferred not in tuple(_LETTERS):
            left_out.add(placed, "turns without a choice")
            return
        if len(set(texts)) < len(texts):
            left_out.add(placed, "turns with answers of the same text")
            return
        chosen = texts[_LETTERS.index(preferred)]
        yield talk, texts, chosen
        talk = [*talk, {"role": "assistant", "content": chosen}]
