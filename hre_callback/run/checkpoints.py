"""The checkpoints under a folder: which there are, of which step, whole or still being written. Only files are read.

A checkpoint is what `load_model` could load: a folder with the config of a model or of an adapter, and weights. Who
wrote it does not matter: `checkpoint-20` of the Trainer, `global_step_20/actor/huggingface` of others.
"""

from __future__ import annotations

import json
import os
import re
import struct
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_CONFIGS = ("config.json", "adapter_config.json")
_WEIGHTS = ("model", "pytorch_model", "adapter_model")
_STATE = "trainer_state.json"
_FSDP = (
    "its weights are FSDP's shards; merge them into one file (accelerate merge-weights), or train with "
    "fsdp_state_dict_type: FULL_STATE_DICT"
)
_DEEPSPEED = (
    "its weights are DeepSpeed's shards; merge them with its zero_to_fp32.py --safe_serialization, or train with "
    "stage3_gather_16bit_weights_on_model_save"
)
_STEP = re.compile(r"(?:checkpoint|ckpt|global_?step|steps?|iter(?:ation)?)?[-_]?(\d+)", re.IGNORECASE)
# Folders below the one that is followed: global_step_20/actor/huggingface is the third.
_DEPTH = 4
# Bytes: what a header of safetensors may have, by its own specification.
_LARGEST_HEADER = 100_000_000

Files = tuple[tuple[str, int, int], ...]
"""Name, size and time of change of each file of a checkpoint: equal twice when nobody is writing it."""


@dataclass(frozen=True)
class Checkpoint:
    """What lies in one folder.

    Attributes:
        name: its path below the folder that is followed.
        step: optimizer steps; `None` where nothing tells them.
        lacks: why it cannot be loaded (yet), in a few words; `None` where nothing is missing.
    """

    path: Path
    name: str
    step: int | None
    files: Files
    lacks: str | None = None


@dataclass(frozen=True)
class Training:
    """What a Trainer writes beside its weights: where the run stands, and all that it has logged.

    Attributes:
        last_step: that the run is to reach; `None` where that is not known.
    """

    step: int | None = None
    epoch: float | None = None
    last_step: int | None = None
    log_history: tuple[dict[str, Any], ...] = ()


def find_checkpoints(folder: Path, before: Sequence[Checkpoint] = ()) -> list[Checkpoint]:
    """All checkpoints below `folder`, by rising step; those without a step come last.

    Of a folder that stands there twice, once as a link, the link is passed over, and what is in a checkpoint (a second
    adapter, an optimizer's shards) belongs to it. A folder of a step's name without a checkpoint in it lacks all. One
    that cannot be read is there without files, and lacks what the system says.

    Args:
        before: what was found at the last look; of what has not changed since, no file is read again.
    """
    known = {(one.path, one.files): one for one in before if one.lacks is None}
    found = [_checkpoint(path, folder, known) for path in _candidates(folder, _DEPTH, set())]
    return sorted(found, key=lambda one: (one.step is None, one.step or 0, one.name))


def settled(now: Sequence[Checkpoint], before: Sequence[Checkpoint]) -> list[Checkpoint]:
    """Those of `now` that are as they were `before`: nobody is writing them."""
    known = {one.path: one.files for one in before}
    return [one for one in now if known.get(one.path) == one.files]


def next_up(
    now: Sequence[Checkpoint],
    before: Sequence[Checkpoint],
    after: int,
    given_up: Collection[tuple[Path, Files]] = (),
) -> Checkpoint | None:
    """The checkpoint to score now; `None` where there is none, or a step before it is still being written.

    Args:
        now, before: what was found at this look and at the last one.
        after: the step of the last evaluation; only what comes after it can be joined.
        given_up: what could not be scored, with the files that it had then.
    """
    still = {one.path for one in settled(now, before)}
    twice = claimed_twice(now)
    for one in now:
        if one.step is None or one.step <= after or one.step in twice or (one.path, one.files) in given_up:
            continue
        if one.path not in still:
            # Those behind it wait: a later step closes the record to an earlier one.
            return None
        if one.lacks is None:
            return one
    return None


def claimed_twice(found: Sequence[Checkpoint]) -> dict[int, list[str]]:
    """Steps that several folders with something to load claim, and their names: nobody can say which is meant."""
    names: dict[int, list[str]] = {}
    for one in found:
        if one.step is not None and one.files:
            names.setdefault(one.step, []).append(one.name)
    return {step: several for step, several in names.items() if len(several) > 1}


def read_training(path: Path) -> Training:
    """What the checkpoint's `trainer_state.json` tells; nothing where there is none.

    Raises:
        ValueError: the file is there and is not one that a Trainer writes.
    """
    file = path / _STATE
    if not file.is_file():
        return Training()
    try:
        state = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{_STATE} cannot be read ({_reason(error)})") from error
    rows = state.get("log_history", []) if isinstance(state, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) and _is_step(row.get("step", 0)) for row in rows):
        raise ValueError(f"{_STATE} is not one of a Trainer: expected an object with log_history, rows with their step")
    epoch, last = state.get("epoch"), state.get("max_steps")
    return Training(
        step=state.get("global_step") if _is_step(state.get("global_step")) else None,
        epoch=float(epoch) if isinstance(epoch, (int, float)) and not isinstance(epoch, bool) else None,
        last_step=last if _is_step(last) and last > 0 else None,
        log_history=tuple(rows),
    )


def _candidates(folder: Path, depth: int, seen: set[str]) -> Iterator[Path]:
    """Folders that hold a checkpoint, or by their name are to hold one."""
    try:
        inside = [Path(entry.path) for entry in os.scandir(folder) if entry.is_dir()]
    except (FileNotFoundError, NotADirectoryError):
        # Deleted in this moment.
        return
    except OSError:
        # Somebody else's, or a disk that fails.
        yield folder
        return
    # What is there itself comes before a link to it.
    for path in sorted(inside, key=lambda one: (one.is_symlink(), one.name)):
        real = os.path.realpath(path)
        if real in seen or path.name.startswith((".", "_")):
            continue
        seen.add(real)
        if any(os.path.lexists(path / name) for name in _CONFIGS):
            yield path
            continue
        below = list(_candidates(path, depth - 1, seen)) if depth > 1 else []
        yield from below or ([path] if _STEP.fullmatch(path.name) else [])


def _checkpoint(path: Path, folder: Path, known: Mapping[tuple[Path, Files], Checkpoint]) -> Checkpoint:
    name = folder.name if path == folder else path.relative_to(folder).as_posix()
    named = _named_step(path, folder)
    files: Files = ()
    try:
        files = _files(path)
        if (path, files) in known:
            return known[path, files]
        told = read_training(path).step
        step = named if told is None else told
        lacks = _lacks(path, {file for file, _, _ in files})
        if told is not None and named is not None and told != named:
            lacks = f"its name says step {named} and its {_STATE} step {told}"
    except (OSError, ValueError) as error:
        step, lacks = named, _reason(error)
    return Checkpoint(path, name, step, files, lacks)


def _named_step(path: Path, folder: Path) -> int | None:
    """The step in the folder's name, or in that of the nearest one above it that has one."""
    for part in reversed(path.relative_to(folder).parts):
        if found := _STEP.fullmatch(part):
            return int(found[1])
    return None


def _files(path: Path) -> Files:
    """Of the folder itself; not what lies in folders of its own, which no loader reads."""
    stats = ((entry.name, entry.stat()) for entry in os.scandir(path) if entry.is_file())
    return tuple(sorted((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats))


def _lacks(path: Path, there: set[str]) -> str | None:
    """What must still come before the folder can be loaded; whatever else is wrong the loader finds."""
    if not there & set(_CONFIGS):
        return _in_shards(path) or "no config.json or adapter_config.json is in it"
    for name in sorted(there):
        if name.endswith(".index.json") and name.split(".")[0] in _WEIGHTS:
            missing = sorted(_shards(path / name) - there)
            if missing:
                return f"{missing[0]} is not there" + (f", nor {len(missing) - 1} more" if missing[1:] else "")
    weights = [name for name in there if name.startswith(_WEIGHTS) and name.endswith((".safetensors", ".bin"))]
    if not weights:
        return _in_shards(path) or "no weights are in it"
    return next((f"{name} {why}" for name in sorted(weights) if (why := _cut_short(path / name))), None)


def _in_shards(path: Path) -> str | None:
    """What is to be done with weights that only the trainer that wrote them reads."""
    if any(path.glob("pytorch_model_fsdp_*")) or any(path.glob("*.distcp")):
        return _FSDP
    deepspeed = (path / "zero_to_fp32.py").exists() or any(path.glob("*_model_states.pt"))
    return _DEEPSPEED if deepspeed or any(path.glob("global_step*/*_model_states.pt")) else None


def _shards(index: Path) -> set[str]:
    found = json.loads(index.read_text(encoding="utf-8"))
    weights = found.get("weight_map") if isinstance(found, dict) else None
    if not isinstance(weights, dict) or not all(isinstance(name, str) for name in weights.values()):
        raise ValueError(f"{index.name} names no files")
    return set(weights.values())


def _cut_short(file: Path) -> str | None:
    """Why a file of weights is not whole; of safetensors its own header tells how long it is to be."""
    size = file.stat().st_size
    if not file.name.endswith(".safetensors"):
        return None if size else "is empty"
    with file.open("rb") as opened:
        start = opened.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else _LARGEST_HEADER + 1
        header = opened.read(length) if length <= _LARGEST_HEADER else b""
    try:
        tensors = json.loads(header)
        ends = [one["data_offsets"][1] for name, one in tensors.items() if name != "__metadata__"]
        whole = 8 + length + max(ends, default=0)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
        return "has no header that can be read"
    return None if size >= whole else f"has {size} of {whole} bytes"


def _is_step(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{Path(str(error.filename or '')).name}: {error.strerror}"
    return str(error) or type(error).__name__
