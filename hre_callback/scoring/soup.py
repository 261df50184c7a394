"""Weighted means of checkpoints, written tensor by tensor into a folder that loads as they do.

A mean of weights is a model (Izmailov et al. 2018; model soups: Wortsman et al. 2022). Read and written are safetensors
alone; no more than one tensor of each is held, whatever the models' size.
"""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from .checkpoint import WEIGHTS, ModelError, one_sentence

CONFIG_FILE, ADAPTER_FILE = "config.json", "adapter_config.json"
_INDEX = "model.safetensors.index.json"
# What a loader of the model or its tokenizer may read beside the weights; no pickles.
_BESIDE = (".json", ".jinja", ".txt", ".model", ".py", ".spm", ".tiktoken")
# What a trainer leaves for itself under such names.
_OF_THE_TRAINER = ("trainer_state.json", "zero_to_fp32.py")
_TEMPLATES = "additional_chat_templates"
# What may differ between checkpoints of one model.
_PASSING = ("transformers_version", "use_cache", "_name_or_path", "dtype", "torch_dtype")
_FLOATS = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
_QUANTISED = ("F8_E4M3", "F8_E5M2", "F8_E8M0", "F4", "F6_E2M3", "F6_E3M2")


@dataclass(frozen=True)
class Tensor:
    """Where a tensor lies, and what it is in the words of safetensors (`BF16`)."""

    file: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Weights:
    """The weights of a folder by name; none is read yet.

    Attributes:
        name: what messages call it.
        config: of the model, or of the adapter.
        files: of the weights.
        tensors: in the order in which they lie.
    """

    folder: Path
    name: str
    config: Mapping[str, Any]
    files: tuple[str, ...]
    tensors: Mapping[str, Tensor]

    @property
    def adapter(self) -> bool:
        """Whether these are an adapter's, and not a whole model's."""
        return "peft_type" in self.config

    @property
    def size(self) -> int:
        """Bytes of the files."""
        return sum((self.folder / file).stat().st_size for file in self.files)


Part = tuple[Weights, float]


def find_weights(folder: Path, name: str) -> Weights:
    """What lies in a folder that `save_pretrained` wrote.

    Raises:
        ModelError: there are no weights that can be averaged: pickles, quantised numbers, half a file.
    """
    with one_sentence(name, True, WEIGHTS):
        adapter = (folder / ADAPTER_FILE).is_file()
        config = _object(folder / (ADAPTER_FILE if adapter else CONFIG_FILE))
        if not adapter and (how := config.get("quantization_config")):
            method = how.get("quant_method", "") if isinstance(how, dict) else ""
            raise ModelError(f"{name} is quantised ({method}), and a mean of such numbers is none; dequantise it first")
        files = _files(folder, name, "adapter_model" if adapter else "model")
        tensors = {key: one for file in files for key, one in _tensors(folder, file).items()}
        odd = next((key for key, one in tensors.items() if one.dtype in _QUANTISED), None)
        if odd is not None:
            raise ModelError(f"{name} is quantised: {odd} is {tensors[odd].dtype}; dequantise it first")
    return Weights(folder, name, config, files, tensors)


def check_alike(first: Weights, other: Weights) -> None:
    """The two are states of one model.

    Raises:
        ModelError: names both and the first thing that differs.
    """
    both = f"{first.name} and {other.name} are not states of one model: "
    if first.adapter != other.adapter:
        raise ModelError(f"{both}one is an adapter and the other a whole model")
    # What kind it is comes first, then whatever else the config says.
    keys = sorted({*first.config, *other.config} - set(_PASSING), key=lambda key: (key != "architectures", key))
    for key in keys:
        ours, theirs = (_as_set(one.config.get(key)) for one in (first, other))
        if ours != theirs:
            raise ModelError(f"{both}{key} is {_shown(first.config.get(key))} and {_shown(other.config.get(key))}")
    _check_tensors(first, other, both)
    for key, one in first.tensors.items():
        if one.dtype != other.tensors[key].dtype:
            raise ModelError(f"{both}{key} is {one.dtype} and {other.tensors[key].dtype}")


def check_start(checkpoint: Weights, start: Weights) -> None:
    """`start` has every weight of the checkpoint, in any precision.

    Raises:
        ModelError: names both and the first weight that is missing or of another shape.
    """
    if checkpoint.adapter or start.adapter:
        raise ModelError(f"{start.name}: of an adapter the start is its base model; expected a whole model's run")
    ours, theirs = (one.config.get("architectures") for one in (checkpoint, start))
    if ours != theirs:
        raise ModelError(f"{start.name} is {_shown(theirs)} and {checkpoint.name} {_shown(ours)}")
    both = f"{checkpoint.name} was not trained from {start.name}: "
    _check_tensors(checkpoint, start, both, more=True)


def write_mean(parts: Sequence[Part], like: Weights, out: Path) -> None:
    """Fill the folder `out` with the weighted mean and all that `like` has beside its weights.

    The mean is taken in float32 (of float64: in that) and kept in the dtype of `like`, whose whole numbers are taken as
    they are. Tied weights stand once, as they stood.

    Args:
        parts: with weights that add up to 1.

    Raises:
        ModelError: a part cannot be read.
        OSError: `out` cannot be written.
    """
    copy_beside(like.folder, out)
    with ExitStack() as stack:
        readers = [(_Reader(weights, stack), weight) for weights, weight in parts]
        template = _Reader(like, stack)
        for file in like.files:
            with (out / file).open("xb") as written:
                written.write(_raw_header(like.folder / file))
                for key, one in like.tensors.items():
                    if one.file == file:
                        numbers = one.dtype in _FLOATS
                        tensor = mean_of(key, readers).to(_FLOATS[one.dtype]) if numbers else template[key]
                        written.write(_bytes(tensor))


def copy_beside(folder: Path, out: Path) -> None:
    """Copy config, tokenizer, templates and code into `out`: all but weights and what a trainer keeps for itself."""
    for file in sorted(folder.iterdir()):
        if file.name == _TEMPLATES and file.is_dir():
            shutil.copytree(file, out / file.name)
        indices = file.name.endswith(".index.json") and file.name != _INDEX
        if file.suffix in _BESIDE and file.name not in _OF_THE_TRAINER and not indices and file.is_file():
            shutil.copyfile(file, out / file.name)


class _Reader:
    """Reads tensors of one folder; its files stay open as long as the stack."""

    def __init__(self, weights: Weights, stack: ExitStack) -> None:
        self.weights = weights
        self._stack = stack
        self._open: dict[str, Any] = {}

    def __getitem__(self, key: str) -> torch.Tensor:
        file = self.weights.tensors[key].file
        with one_sentence(self.weights.name, True, WEIGHTS):
            if file not in self._open:
                self._open[file] = self._stack.enter_context(safe_open(self.weights.folder / file, framework="pt"))
            tensor: torch.Tensor = self._open[file].get_tensor(key)
            return tensor


def mean_of(key: str, readers: Sequence[tuple[Mapping[str, torch.Tensor] | _Reader, float]]) -> torch.Tensor:
    """The weighted mean of one tensor, in float32 or wider.

    Added up as the first and its differences to the others: where all are equal, so is their mean, to the bit.
    """
    first = readers[0][0][key]
    wide = torch.promote_types(first.dtype, torch.float32)
    origin = first.to(wide)
    mean = origin.clone()
    for reader, weight in readers[1:]:
        mean += weight * (reader[key].to(wide) - origin)
    return mean


def _bytes(tensor: torch.Tensor) -> bytes:
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def _files(folder: Path, name: str, stem: str) -> tuple[str, ...]:
    """The files that a loader takes, a single one before shards."""
    if (folder / f"{stem}.safetensors").is_file():
        return (f"{stem}.safetensors",)
    if (folder / _INDEX).is_file() and stem == "model":
        shards = sorted(set(_object(folder / _INDEX)["weight_map"].values()))
        if any(Path(shard).name != shard for shard in shards):
            raise ModelError(f"{name}: {_INDEX} names files outside its folder")
        return tuple(shards)
    if any(folder.glob(f"{'pytorch_model' if stem == 'model' else stem}*.bin")):
        raise ModelError(
            f"{name}: its weights are pickles (.bin), and only safetensors are averaged: load it and save it again "
            "with save_pretrained"
        )
    raise ModelError(f"{name}: no {stem}.safetensors is in it")


def _raw_header(file: Path) -> bytes:
    """The header of a safetensors file with its length: what comes out has the same tensors in the same places."""
    with file.open("rb") as opened:
        start = opened.read(8)
        return start + opened.read(struct.unpack("<Q", start)[0])


def _tensors(folder: Path, file: str) -> dict[str, Tensor]:
    header = json.loads(_raw_header(folder / file)[8:])
    found = [(one["data_offsets"][0], key, one) for key, one in header.items() if key != "__metadata__"]
    return {key: Tensor(file, one["dtype"], tuple(one["shape"])) for _, key, one in sorted(found, key=lambda it: it[0])}


def _check_tensors(first: Weights, other: Weights, both: str, *, more: bool = False) -> None:
    alone = first.tensors.keys() - other.tensors.keys() or (
        set() if more else other.tensors.keys() - first.tensors.keys()
    )
    if alone:
        raise ModelError(
            f"{both}only one has {min(alone)}" + (f" and {len(alone) - 1} more" if alone - {min(alone)} else "")
        )
    for key, one in first.tensors.items():
        if one.shape != other.tensors[key].shape:
            raise ModelError(f"{both}{key} is {list(one.shape)} and {list(other.tensors[key].shape)}")


def _object(file: Path) -> dict[str, Any]:
    found = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(found, dict):
        raise ModelError(f"{file.parent.name}: {file.name} holds {found!r:.40}, expected an object")
    return found


def _as_set(value: object) -> object:
    """Lists of names (target_modules) are written in any order."""
    return sorted(map(str, value)) if isinstance(value, list) else value


def _shown(value: object) -> str:
    return f"{value!r:.60}"
