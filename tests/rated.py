"""What a rating page would save, without a browser."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hre_callback import Question, fingerprint
from hre_callback.data.blind import answer_keys
from hre_callback.data.rating_files import KIND, VERSION


def saved(questions: Sequence[Question], rater: str, places: Mapping[str, Sequence[int] | None]) -> dict[str, Any]:
    """A file; `places` by question id in the order of its answers, None where skipped. The answers are shown reversed."""
    of = {question.id: question for question in questions}
    rows: list[dict[str, Any]] = []
    for asked, given in places.items():
        row = {"id": asked, "shown": answer_keys(of[asked])[::-1]}
        rows.append(row | ({"skipped": True} if given is None else {"places": [*given][::-1]}))
    head = {"kind": KIND, "version": VERSION, "fingerprint": fingerprint(questions), "rater": rater, "seed": 0}
    return {**head, "ratings": rows}


def save(folder: Path, name: str, content: object) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return path
