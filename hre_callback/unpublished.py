"""Held-out questions stay at home: `push_to_hub` uploads the whole output_dir but what begins with an underscore.

A record and its page quote questions, answers and votes. Once published they are in somebody's training data, and no
model can be measured by them any more.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from transformers import TrainingArguments


def record_path(args: TrainingArguments, name: str) -> Path:
    """Where a run's record goes: `<output_dir>/<name>.jsonl`, or `_<name>.jsonl` for uploads to pass over."""
    path = Path(args.output_dir or ".") / f"{name}.jsonl"
    hidden = path.with_name(f"_{path.name}")
    # A run that is resumed without push_to_hub, or was pushed by hand, goes on where it was.
    return hidden if args.push_to_hub or os.path.lexists(hidden) else path


def hide(folder: Path, name: str) -> dict[Path, Path]:
    """Put an underscore before records of this name, those moved aside, and their pages and charts.

    Returns:
        old and new places.

    Raises:
        OSError: a file cannot be renamed, and would be published.
    """
    moved = {}
    for file in sorted(_ours(folder, name)):
        hidden = _free(file.with_name(f"_{file.name}"), name)
        file.rename(hidden)
        moved[file] = hidden
    return moved


def _ours(folder: Path, name: str) -> Iterator[Path]:
    named = re.compile(rf"{re.escape(name)}(\.\d+)?\.(jsonl|html|png)")
    for file in folder.iterdir() if folder.is_dir() else ():
        if named.fullmatch(file.name) and file.is_file():
            yield file


def _free(path: Path, name: str) -> Path:
    """`path`, or the next number where it is taken: `_hre.1.jsonl`."""
    number, free = 0, path
    while os.path.lexists(free):
        number += 1
        free = path.with_name(f"_{name}.{number}{path.suffix}")
    return free
