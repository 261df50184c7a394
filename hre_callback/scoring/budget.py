"""How many tokens one forward pass may hold: from the model's sizes and the memory that training leaves free."""

from __future__ import annotations

from typing import Any

import torch

from .architecture import input_device, text_config

# More make nothing faster: the matrix products are as large as they need to be.
_CPU_TOKENS = 2048
# Numbers, 512 MiB in float32: the logits are what fills memory.
_CPU_LOGITS = 1 << 27
_LEAST, _MOST = 512, 1 << 16
# Of the memory that is free; the rest is for what this estimate does not know.
_SHARE = 0.5


def default_budget(model: torch.nn.Module) -> int:
    """Tokens per forward pass to start with, a power of two on accelerators; out of memory halves it later.

    On the CPU fixed by the vocabulary alone, so that a score does not depend on what else the machine does.
    """
    device = input_device(model)
    vocabulary = _size(text_config(model), "vocab_size", 1 << 16)
    if device.type == "cpu" or (free := free_memory(device)) is None:
        return max(1, min(_CPU_TOKENS, _CPU_LOGITS // vocabulary))
    room = _SHARE * (free - _still_to_come(model)) / _bytes_per_token(model, vocabulary)
    return max(_LEAST, min(_MOST, 1 << max(0, int(room).bit_length() - 1)))


def free_memory(device: torch.device) -> int | None:
    """Bytes that torch can still get or holds unused; `None` where the device cannot tell."""
    if device.type != "cuda":
        return None
    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def _still_to_come(model: torch.nn.Module) -> int:
    """Bytes that training takes after the plan is made: a gradient and Adam's two moments a trained weight."""
    return sum(3 * p.numel() * p.element_size() for p in model.parameters() if p.requires_grad and p.grad is None)


def _bytes_per_token(model: torch.nn.Module, vocabulary: int) -> int:
    """Logits as the model makes them and in float32; the widest layer's activations; keys and values of all layers."""
    config = text_config(model)
    hidden = _size(config, "hidden_size", 4096)
    widest = _size(config, "intermediate_size", 4 * hidden)
    layers = _size(config, "num_hidden_layers", 32)
    width = next(model.parameters()).element_size()
    return vocabulary * (width + 4) + width * (8 * hidden + 4 * widest + 2 * hidden * layers)


def _size(config: Any, name: str, otherwise: int) -> int:
    value = getattr(config, name, None)
    return value if isinstance(value, int) and value > 0 else otherwise
