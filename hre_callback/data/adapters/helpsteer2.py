"""nvidia/HelpSteer2: one rated answer a row, two rows a prompt; attributes from 0 to 4."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from .fields import Fields, LeftOut, Placed, answers, number, text

# Earlier turns stand in the prompt itself.
_TURN = re.compile(r"\n?<extra_id_1>(User|Assistant)\n")


def fits(row: Fields) -> bool:
    """Whether this is a row of it."""
    return {"prompt", "response", "helpfulness", "correctness", "verbosity"} <= row.keys()


def questions(rows: Iterable[Placed], left_out: LeftOut) -> Iterator[Placed]:
    """The answers of one prompt together: votes are the mean helpfulness that people gave."""
    groups: dict[str, list[Placed]] = {}
    for placed in rows:
        groups.setdefault(text(placed, "prompt"), []).append(placed)
    for prompt, rated in groups.items():
        texts, votes = zip(*((text(one, "response"), number(one, "helpfulness")) for one in rated), strict=True)
        yield rated[0]._replace(row={"question": _asked(prompt), "answers": answers(texts, votes)})


def _asked(prompt: str) -> str | list[dict[str, Any]]:
    first, *rest = _TURN.split(prompt)
    if not rest:
        return prompt
    turns = zip(("User", *rest[::2]), (first, *rest[1::2]), strict=True)
    return [{"role": role.lower(), "content": said} for role, said in turns]
