"""Means of LoRA adapters that are means of what they add to the model, exactly.

An adapter adds s B A to a weight. The mean of two is w1 s B1 A1 + w2 s B2 A2, which is *not* the mean of the As times
the mean of the Bs. It is one adapter of their ranks together, [B1 | B2] over [A1 ; A2]: nothing is approximated.
Hu et al. 2021 (LoRA), section 4.1.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from .checkpoint import ADAPTER, ModelError, one_sentence
from .soup import ADAPTER_FILE, Part, Weights, copy_beside, mean_of

# Fields of a LoraConfig that make more than s B A of an adapter, and what they are where they make nothing.
_PLAIN: dict[str, tuple[object, ...]] = {
    "peft_type": ("LORA",),
    "use_dora": (None, False),
    "lora_bias": (None, False),
    "use_qalora": (None, False),
    "target_parameters": (None, []),
    "trainable_token_indices": (None, [], {}),
    "layer_replication": (None, []),
    "alora_invocation_tokens": (None, []),
    "megatron_config": (None,),
    # Others change the base model too, or are drawn anew for another rank.
    "init_lora_weights": (None, True, False, "gaussian", "eva", "orthogonal"),
}
_A, _B = ("lora_A", "lora_embedding_A"), ("lora_B", "lora_embedding_B")


def check_adapter_kind(weights: Weights) -> None:
    """It is a LoRA adapter whose mean is exact.

    Raises:
        ModelError: names the field that stands against it.
    """
    for field, plain in _PLAIN.items():
        value = weights.config.get(field)
        # True == 1: what is asked for is the very value.
        if not any(type(value) is type(one) and value == one for one in plain):
            raise ModelError(
                f"{weights.name}: an adapter with {field} {value!r:.40} has no exact mean; expected plain LoRA, or "
                "checkpoints that are merged into whole models (merge_and_unload)"
            )
    odd = [key for key in weights.tensors if "lora_" in key and not _is(key, _A) and not _is(key, _B)]
    if odd:
        raise ModelError(f"{weights.name}: {odd[0]} is no part of a plain LoRA, and has no exact mean")


def only_lora(weights: Weights) -> bool:
    """Whether the adapter brings nothing but LoRA: no module or bias of its own, which do not start at zero."""
    return all(_is(key, _A) or _is(key, _B) for key in weights.tensors)


def starts_at_zero(weights: Weights) -> bool:
    """Whether such an adapter adds nothing before training, so that its base model is the start."""
    return weights.config.get("init_lora_weights", True) is not False


def write_adapter_mean(parts: Sequence[Part], out: Path) -> None:
    """Fill the folder `out` with an adapter that adds the weighted mean of what the parts add.

    Args:
        parts: alike, and each passes `check_adapter_kind`; weights that add up to less than 1 leave the rest to the
            base model.

    Raises:
        ModelError: a part cannot be read.
        OSError: `out` cannot be written.
    """
    first = parts[0][0]
    read = [(_read(weights), weight) for weights, weight in parts]
    mean: dict[str, torch.Tensor] = {}
    for key in first.tensors:
        if _is(key, _A):
            mean[key] = torch.cat([tensors[key] for tensors, _ in read], dim=0).contiguous()
        elif _is(key, _B):
            scaled = [_times(tensors[key], weight * _regained(first.config, len(parts))) for tensors, weight in read]
            mean[key] = torch.cat(scaled, dim=1).contiguous()
        else:
            mean[key] = mean_of(key, read).to(read[0][0][key].dtype)
    copy_beside(first.folder, out)
    (out / ADAPTER_FILE).write_text(json.dumps(_wider(first.config, len(parts)), indent=2) + "\n", encoding="utf-8")
    try:
        save_file(mean, out / "adapter_model.safetensors", metadata={"format": "pt"})
    except SafetensorError as error:
        # A full disk, in words of its own.
        raise OSError(f"{out.parent}: an adapter cannot be written there: {error}") from error


def _regained(config: Mapping[str, Any], times: int) -> float:
    """What the scale s loses by the larger rank: it is alpha / r, or alpha over its root (rsLoRA)."""
    return math.sqrt(times) if config.get("use_rslora") else float(times)


def _wider(config: Mapping[str, Any], times: int) -> dict[str, Any]:
    ranks = {module: rank * times for module, rank in (config.get("rank_pattern") or {}).items()}
    return {**config, "r": config["r"] * times, "rank_pattern": ranks}


def _times(tensor: torch.Tensor, factor: float) -> torch.Tensor:
    wide = torch.promote_types(tensor.dtype, torch.float32)
    return (tensor.to(wide) * factor).to(tensor.dtype)


def _read(weights: Weights) -> dict[str, torch.Tensor]:
    with one_sentence(weights.name, True, ADAPTER):
        return load_file(weights.folder / weights.files[0])


def _is(key: str, names: Sequence[str]) -> bool:
    return any(part in names for part in key.split("."))
