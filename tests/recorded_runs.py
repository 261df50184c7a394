"""A folder of recorded runs, from looks that were never taken: what `hre detectors` reads."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hre_callback.config import HREConfig
from hre_callback.run.look import Terms
from hre_callback.run.record import Record
from hre_callback.run.record_file import encode

from .looks import played, result

# What an answer's score leans towards the votes at each look.
WAYS: dict[str, Sequence[float]] = {
    "worse": (0.15, 0.12, 0.09, 0.06, 0.03, 0.0),
    "better": (0.05, 0.06, 0.07, 0.08, 0.09, 0.10),
    "still": (0.05, 0.051, 0.049, 0.05, 0.051, 0.049),
}


def recorded(way: Sequence[float], *, n: int = 60, seed: int = 0, name: str = "hre") -> Record:
    """The record that the package makes of a run whose scores lean so."""
    terms = Terms(HREConfig(name=name), planned_looks=max(1, len(way) - 1))
    return played(terms, [result(gain, n=n, seed=seed) for gain in way])[0]


def write(record: Record, path: Path) -> Path:
    """The file of a record."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode([record.run, *record.evaluations, *record.events]))
    return path


def tell(folder: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """The table of what is known of a folder's runs."""
    path = folder / "runs.json"
    path.write_text(json.dumps({"runs": rows}))
    return path


def zoo(folder: Path) -> Path:
    """Three runs and their truth."""
    for name, content in _contents().items():
        (folder / name).write_bytes(content)
    return folder


@cache
def _contents() -> dict[str, bytes]:
    with TemporaryDirectory() as place:
        return {path.name: path.read_bytes() for path in _made(Path(place)).iterdir()}


def _made(folder: Path) -> Path:
    for name, way in WAYS.items():
        write(recorded(way), folder / f"{name}.jsonl")
    tell(
        folder,
        [
            {"name": "worse", "truth": "harmful", "harmful_from": 25, "did": "reversed"},
            {"name": "better", "truth": "fine"},
            {"name": "still", "truth": "nothing", "harmful_from": None},
        ],
    )
    return folder
