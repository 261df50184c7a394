"""Training signals to hold against HRE: which of the Trainer's logs count, which way is better, do they improve."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import numpy as np
from scipy import stats

Direction = Literal["up", "down"]

_IGNORED = {"epoch", "step", "learning_rate", "grad_norm", "num_tokens", "step_time", "total_flos"}
_IGNORED_PARTS = ("runtime", "per_second", "num_input_tokens", "train_loss")
# What each stable TRL trainer, and the experimental ones that are tested, optimises: the last part of the key and the
# direction that counts as progress, the most telling first. Signals that only accompany training (kl, entropy, logits,
# lengths) have none.
_DIRECTIONS: dict[str, Direction] = {
    "reward": "up",  # GRPO, RLOO
    "objective/rlhf_reward": "up",  # Online-DPO
    "objective/scores": "up",
    "objective/scores_margin": "up",
    "rewards/margins": "up",  # DPO and its loss types, KTO, ORPO, CPO, Online-DPO
    "margin": "up",  # Reward
    "loss": "down",
    "nll_loss": "down",  # ORPO, CPO
    "rewards/accuracies": "up",
    "accuracy": "up",  # Reward
    "mean_token_accuracy": "up",  # SFT
    "log_odds_chosen": "up",  # ORPO
    "log_odds_ratio": "up",
    "rewards/chosen": "up",
    "rewards/rejected": "down",
}
_ONLINE = ("reward", "objective/rlhf_reward")  # where these are logged, the loss says nothing about progress
_LEAST_POINTS = 5  # logged values below which no trend is significant


def proxies_since(
    log_history: Iterable[Mapping[str, Any]],
    after_step: int,
    upto_step: int,
    extra: Iterable[str] = (),
) -> dict[str, float]:
    """Mean of every training signal logged in `after_step < step <= upto_step`, under its W&B name.

    Read from the Trainer's own history, so that a resumed run gives the same values as an uninterrupted one.

    Args:
        extra: keys that count although their name says otherwise.
    """
    values: dict[str, list[float]] = defaultdict(list)
    for step, key, value in _points(log_history, extra):
        if after_step < step <= upto_step:
            values[key].append(value)
    return {name: sum(numbers) / len(numbers) for name, numbers in values.items()}


def directions(names: Iterable[str], override: Mapping[str, Direction] | None = None) -> dict[str, Direction]:
    """Which way is better, for the signals (W&B names) where that is known.

    Args:
        override: `{"my_metric": "up"}` for signals of your own, or to correct one; with or without `train/`.
    """
    known = list(names)
    told = {_as_logged(key): way for key, way in (override or {}).items()}
    online = any(_tail(name) in _ONLINE for name in known)
    found: dict[str, Direction] = {}
    for name in known:
        tail = _tail(name)
        if name in told:
            found[name] = told[name]
        elif tail.startswith("rewards/") and tail.endswith("/mean"):  # one reward function of GRPO or RLOO
            found[name] = "up"
        elif tail in _DIRECTIONS and not (online and tail == "loss"):
            found[name] = _DIRECTIONS[tail]
    return found


def improved(
    log_history: Iterable[Mapping[str, Any]],
    upto_step: int,
    override: Mapping[str, Direction] | None = None,
    *,
    alpha: float = 0.05,
) -> list[str]:
    """The signals that got better since the start: one-sided Mann-Kendall test for a trend over all logged values.

    (Mann 1945; Kendall's tau of value and time, exact for few values.) What is optimised most directly comes first.
    """
    series: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for step, key, value in _points(log_history, override or ()):
        if step <= upto_step:
            series[key].append((step, value))
    ways = directions(series, override)
    found = []
    for key, points in series.items():
        if key not in ways or len(points) < _LEAST_POINTS:
            continue
        at, values = np.array(points).T
        p = stats.kendalltau(at, values, alternative="greater" if ways[key] == "up" else "less").pvalue
        if p < alpha:  # NaN for a signal that never moves
            found.append(key)
    return sorted(found, key=_rank)


def check_directions(override: Mapping[str, Direction] | None) -> dict[str, Direction]:
    """The user's directions, checked.

    Raises:
        ValueError: a direction is neither `"up"` nor `"down"`.
    """
    for key, way in (override or {}).items():
        if way not in ("up", "down"):
            raise ValueError(f"proxies[{key!r}] is {way!r}; say 'up' or 'down', whichever is better")
    return dict(override or {})


def wandb_name(key: str) -> str:
    """The key under which transformers' `WandbCallback` logs it."""
    for prefix in ("eval", "test"):
        if key.startswith(f"{prefix}_"):
            return f"{prefix}/{key.removeprefix(f'{prefix}_')}"
    return f"train/{key}"


def _points(
    log_history: Iterable[Mapping[str, Any]], extra: Iterable[str]
) -> Iterable[tuple[int, str, float]]:
    """(step, W&B name, value) of every finite training signal; rows of an HRE callback are not signals."""
    told = {_as_logged(key) for key in extra}
    for row in log_history:
        if any(key.endswith("/ci_low") for key in row):
            continue
        for key, value in row.items():
            name = wandb_name(key)
            if (name in told or _counts(key)) and _is_number(value):
                yield int(row.get("step", -1)), name, float(value)


def _rank(name: str) -> tuple[int, str]:
    known = list(_DIRECTIONS)
    return known.index(_tail(name)) if _tail(name) in known else len(known), name


def _as_logged(key: str) -> str:
    return key if key.startswith(("train/", "eval/", "test/")) else wandb_name(key)


def _tail(name: str) -> str:
    return name.split("/", 1)[1]


def _counts(key: str) -> bool:
    return key.removeprefix("eval_") not in _IGNORED and not any(part in key for part in _IGNORED_PARTS)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
