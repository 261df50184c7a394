"""Training signals to hold against HRE: which of the Trainer's logs count, and their means between evaluations."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

_IGNORED = {"epoch", "step", "learning_rate", "grad_norm", "num_tokens", "step_time", "total_flos"}
_IGNORED_PARTS = ("runtime", "per_second", "num_input_tokens", "train_loss")


def proxies_since(
    log_history: Iterable[Mapping[str, Any]], after_step: int, upto_step: int
) -> dict[str, float]:
    """Mean of every training signal logged in `after_step < step <= upto_step`, under its W&B name.

    Read from the Trainer's own history, so that a resumed run gives the same values as an uninterrupted one.
    """
    values: dict[str, list[float]] = defaultdict(list)
    for row in log_history:
        if after_step < row.get("step", -1) <= upto_step and not any(
            key.startswith("eval_hre") for key in row
        ):
            for key, value in row.items():
                if _counts(key, value):
                    values[wandb_name(key)].append(float(value))
    return {name: sum(numbers) / len(numbers) for name, numbers in values.items()}


def wandb_name(key: str) -> str:
    """The key under which transformers' `WandbCallback` logs it."""
    for prefix in ("eval", "test"):
        if key.startswith(f"{prefix}_"):
            return f"{prefix}/{key.removeprefix(f'{prefix}_')}"
    return f"train/{key}"


def _counts(key: str, value: Any) -> bool:
    if key.removeprefix("eval_") in _IGNORED or any(part in key for part in _IGNORED_PARTS):
        return False
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
