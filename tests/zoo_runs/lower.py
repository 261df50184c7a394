"""Only the upper layers train; what the frozen lower ones make of a batch is kept, because it never changes."""

from __future__ import annotations

import hashlib
from typing import Any

import torch
from torch import nn

from hre_callback.scoring import attention

UPPER = 6
_KEPT: dict[bytes, torch.Tensor] = {}


class Lower(nn.Module):
    """The lower layers as one, remembering its outputs by its inputs (bit for bit, so that nothing is believed)."""

    def __init__(self, layers: list[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    @torch.no_grad()
    def forward(self, hidden_states: torch.Tensor, **more: Any) -> torch.Tensor:
        # While text is generated, every call fills a cache of keys and values.
        if more.get("past_key_values") is not None:
            return self._through(hidden_states, more)
        key = _digest(hidden_states, more)
        if key not in _KEPT:
            _KEPT[key] = self._through(hidden_states, more)
        elif (forward := attention._FORWARD.get()) is not None:
            # Packed rows: who serves them counts the layers that asked, and these have asked before.
            forward.callers.update(layer.self_attn for layer in self.layers)
        return _KEPT[key]

    def _through(self, hidden_states: torch.Tensor, more: dict[str, Any]) -> torch.Tensor:
        for layer in self.layers:
            hidden_states = layer(hidden_states, **more)
        return hidden_states


def _digest(hidden_states: torch.Tensor, more: dict[str, Any]) -> bytes:
    digest = hashlib.blake2b(str(torch.is_autocast_enabled("cpu")).encode())
    for name, value in [("hidden", hidden_states), *sorted(more.items())]:
        digest.update(name.encode())
        for part in value if isinstance(value, tuple) else (value,):
            if isinstance(part, torch.Tensor):
                digest.update(str((part.shape, part.dtype)).encode())
                digest.update(part.detach().contiguous().view(torch.uint8).numpy().tobytes())
            else:
                digest.update(repr(part).encode())
    return digest.digest()


def keep_lower(model: Any, trained: int = UPPER) -> Any:
    """Freeze everything below the upper layers (the embedding too), and remember what it gives."""
    model.requires_grad_(False)
    layers = list(model.model.layers)
    lower, upper = layers[:-trained], layers[-trained:]
    model.model.layers = nn.ModuleList([Lower(lower), *upper])
    for part in (*upper, model.model.norm, *([model.score] if hasattr(model, "score") else [])):
        part.requires_grad_(True)
    return model
