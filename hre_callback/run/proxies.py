"""Training signals to hold against HRE: what each is called, which way is better, what is worth a look first."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy import stats

from .keys import is_look

Direction = Literal["up", "down"]
# How much room a signal gets: a panel of its own also where nothing is known of the run (`always`), one in a run that
# logs it (`panel`), none unless the run logs nothing else (`seldom`), none at all (`never`).
Room = Literal["always", "panel", "seldom", "never"]

_IGNORED = {"epoch", "step", "learning_rate", "grad_norm", "num_tokens", "step_time", "total_flos"}
_IGNORED_PARTS: tuple[str, ...] = ("runtime", "per_second", "num_input_tokens", "train_loss", "_mem_")
_IGNORED_PARTS += ("preparation_time", "compilation_time")
# Clocks and counters of the asynchronous trainers.
_IGNORED_GROUPS = ("perf/", "batch/", "sample/", "rollout/")
# The spread of a signal says nothing of its own.
_SPREAD = ("_std", "/std")


@dataclass(frozen=True, slots=True)
class _Known:
    label: str
    better: Direction | None
    room: Room = "panel"


# Everything that TRL's trainers log of their objective, the most telling first: the end of the key; what a person
# calls it; the direction that counts as progress, None for what only accompanies training.
_KNOWN: dict[str, _Known] = {
    # GRPO, RLOO, GMPO, AsyncGRPO, A2PO; Online-DPO; SDPO
    "reward": _Known("reward", "up", "always"),
    "objective/rlhf_reward": _Known("reward after the KL penalty", "up"),
    "objective/scores": _Known("reward", "up"),
    "self_distillation/reward_mean": _Known("reward", "up"),
    # DPO and its loss types, TPO, KTO, ORPO, CPO, Online-DPO
    "rewards/margins": _Known("reward margin", "up", "always"),
    "margins": _Known("reward margin", "up"),
    "objective/scores_margin": _Known("reward margin", "up"),
    # Reward
    "margin": _Known("reward margin", "up"),
    "loss": _Known("training loss", "down", "always"),
    # ORPO, CPO
    "nll_loss": _Known("likelihood loss", "down"),
    # SDPO, SDFT; GOLD and IW-OPD; AsyncDistillation
    "self_distillation/distillation_loss": _Known("distillation loss", "down"),
    "on_policy_loss": _Known("on-policy loss", "down"),
    "off_policy_loss": _Known("off-policy loss", "down"),
    "matched_loss": _Known("loss of matched tokens", "down"),
    "unmatched_loss": _Known("loss of unmatched tokens", "down"),
    "jsd": _Known("divergence from the teacher", "down"),
    "iw_opd/mean_advantage": _Known("advantage of the teacher", "up"),
    "perplexity": _Known("perplexity", "down"),
    "kl": _Known("KL from the start", None, "always"),
    "objective/kl": _Known("KL from the start", None),
    "rewards/accuracies": _Known("reward accuracy", "up"),
    "accuracy": _Known("reward accuracy", "up"),
    "mean_token_accuracy": _Known("token accuracy", "up"),
    "log_odds_chosen": _Known("log odds of the chosen answer", "up", "seldom"),
    "log_odds_ratio": _Known("log odds ratio", "up", "seldom"),
    "entropy": _Known("entropy", None),
    "objective/entropy": _Known("entropy", None),
    "rewards/chosen": _Known("reward of the chosen answer", "up", "seldom"),
    "rewards/rejected": _Known("reward of the rejected answer", "down", "seldom"),
    # GRPO, RLOO; A2PO; the load of experts; the RL loss, whose value says nothing of progress.
    "completions/mean_length": _Known("completion length", None, "seldom"),
    "implicit_reward": _Known("implicit reward", None, "seldom"),
    "advantage": _Known("advantage", None, "seldom"),
    "v_star": _Known("optimal value", None, "seldom"),
    "aux_loss": _Known("load-balancing loss", None, "seldom"),
    "policy_loss": _Known("policy loss", None, "seldom"),
    "self_distillation/policy_loss": _Known("policy loss", None, "seldom"),
}
_LARGEST = sys.float_info.max
# The longest ending first: `eval_beer_aux_loss` is the `aux_loss` of the dataset `beer`.
_BY_LENGTH = sorted(_KNOWN, key=len, reverse=True)
# Where these are logged, the loss is a policy gradient's and says nothing about progress; where the implicit reward is
# as well, it is a regression's again (A2PO).
_ONLINE = ("reward", "objective/rlhf_reward", "self_distillation/reward_mean", "iw_opd/mean_advantage")
_REGRESSION = "implicit_reward"
_GRADIENTS = ("loss", "on_policy_loss")
# Logged values below which no trend is significant.
_LEAST_POINTS = 5


def proxies_since(
    log_history: Iterable[Mapping[str, Any]],
    after_step: int,
    upto_step: int,
    extra: Iterable[str] = (),
) -> dict[str, float]:
    """Mean of every training signal logged in `after_step < step <= upto_step`, under its W&B name.

    Read from the Trainer's own history, so that a resumed run gives the same values as an uninterrupted one. What was
    logged at `after_step` behind the row of its HRE (a second evaluation set) counts where nothing newer is there.

    Args:
        extra: keys that count although their name says otherwise.
    """
    rows = list(log_history)
    since = [row for row in rows if after_step < int(row.get("step", -1)) <= upto_step]
    return {**_means(_behind_the_score(rows, after_step), extra), **_means(since, extra)}


def _means(rows: Sequence[Mapping[str, Any]], extra: Iterable[str]) -> dict[str, float]:
    values: dict[str, list[float]] = defaultdict(list)
    for _, key, value in _points(rows, extra):
        values[key].append(value)
    return {name: sum(numbers) / len(numbers) for name, numbers in values.items()}


def _behind_the_score(rows: Sequence[Mapping[str, Any]], step: int) -> list[Mapping[str, Any]]:
    """The rows of a step that were logged after its HRE."""
    of_step = [row for row in rows if row.get("step") == step]
    ours = next((i for i, row in enumerate(of_step) if is_look(row)), len(of_step))
    return of_step[ours:]


@dataclass(frozen=True, slots=True)
class Signal:
    """One training signal: its W&B name, its plain name, which way is better, its place among others.

    Attributes:
        rank: the smaller, the more telling.
        room: whether it is worth a panel.
    """

    key: str
    label: str
    better: Direction | None
    rank: tuple[int, int, str]
    room: Room


def signals(names: Iterable[str], override: Mapping[str, Direction] | None = None) -> list[Signal]:
    """What is known of the signals that a run logs together (W&B names), the most telling first.

    Args:
        override: `{"my_metric": "up"}` for signals of your own, or to correct one; with or without `train/`. They
            come first.
    """
    known = list(names)
    told = as_logged(override)
    online = any(_ending(name)[0] in _ONLINE for name in known)
    online = online and not any(_ending(name)[0] == _REGRESSION for name in known)
    return sorted((_signal(name, told, online) for name in known), key=lambda one: one.rank)


def directions(names: Iterable[str], override: Mapping[str, Direction] | None = None) -> dict[str, Direction]:
    """Which way is better, for the signals (W&B names) where that is known; see `signals`."""
    return {one.key: one.better for one in signals(names, override) if one.better is not None}


def common_signals() -> list[Signal]:
    """The signals most worth a panel where nothing is known of the run."""
    names = [f"train/{ending}" for ending, known in _KNOWN.items() if known.room == "always"]
    return [one for name in [*names, "eval/loss"] for one in signals([name])]


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
        if p < alpha:
            # NaN for a signal that never moves.
            found.append(key)
    return [one.key for one in signals(series, override) if one.key in found]


def check_directions(override: Mapping[str, Direction] | None) -> dict[str, Direction]:
    """The user's directions, checked.

    Raises:
        ValueError: a direction is neither `"up"` nor `"down"`.
    """
    for key, way in (override or {}).items():
        if not (isinstance(way, str) and way in ("up", "down")):
            raise ValueError(f"proxies[{key!r}] is {way!r:.80}; say 'up' or 'down', whichever is better")
    return dict(override or {})


def wandb_name(key: str) -> str:
    """The key under which transformers' `WandbCallback` logs it."""
    for prefix in ("eval", "test"):
        if key.startswith(f"{prefix}_"):
            return f"{prefix}/{key.removeprefix(f'{prefix}_')}"
    return f"train/{key}"


def as_logged(override: Mapping[str, Direction] | None) -> dict[str, Direction]:
    """The user's directions by W&B name."""
    return {_as_logged(key): way for key, way in (override or {}).items()}


def _points(log_history: Iterable[Mapping[str, Any]], extra: Iterable[str]) -> Iterable[tuple[int, str, float]]:
    """(step, W&B name, value) of every finite training signal; rows of an HRE callback are not signals."""
    told = {_as_logged(key) for key in extra}
    # Thousands of rows have the same few keys: None for one that is no signal.
    names: dict[str, str | None] = {}
    for row in log_history:
        if is_look(row):
            continue
        step = int(row.get("step", -1))
        for key, value in row.items():
            if key not in names:
                name = wandb_name(key)
                names[key] = name if name in told or _counts(name) else None
            if (counted := names[key]) is not None and _is_number(value):
                yield step, counted, float(value)


def _signal(name: str, told: Mapping[str, Direction], online: bool) -> Signal:
    ending, dataset = _ending(name)
    known = _KNOWN.get(ending) or _reward_function(ending, online) or _Known(name, None, "seldom")
    if (online and ending in _GRADIENTS) or name.endswith(_SPREAD) or not _counts(name):
        known = _Known(known.label, None, "never")
    label = _label(name, known.label, dataset)
    if name in told:
        return Signal(name, label, told[name], (-1, list(told).index(name), name), "always")
    rank = list(_KNOWN).index(ending) if ending in _KNOWN else len(_KNOWN)
    return Signal(name, label, known.better, (rank, int(bool(dataset)), name), known.room)


def _label(name: str, label: str, dataset: str) -> str:
    if label != name and name.startswith("eval/"):
        label = f"evaluation {label.removeprefix('training ')}"
    return f"{label} ({dataset})" if dataset else label


def _ending(name: str) -> tuple[str, str]:
    """The part of a name that says what it is, and the dataset when there are several: `eval/beer_loss`."""
    tail = _tail(name)
    if tail in _KNOWN or not name.startswith("eval/"):
        return tail, ""
    for ending in _BY_LENGTH:
        if tail.endswith(f"_{ending}"):
            return ending, tail.removesuffix(f"_{ending}")
    return tail, ""


def _reward_function(ending: str, online: bool) -> _Known | None:
    """One reward function of several: `rewards/<name>/mean` (GRPO, RLOO), `rewards/<name>` (AsyncGRPO, SDPO)."""
    name = ending.removeprefix("self_distillation/").removeprefix("rewards/")
    if name == ending or not (online or ending.endswith("/mean") or ending.startswith("self_distillation/")):
        return None
    return _Known(f"reward by {name.removesuffix('/mean')}", "up", "seldom")


def _as_logged(key: str) -> str:
    return key if key.startswith(("train/", "eval/", "test/")) else wandb_name(key)


def _tail(name: str) -> str:
    return name.split("/", 1)[-1]


def _counts(name: str) -> bool:
    tail = _tail(name)
    of_dataset = name.startswith("eval/") and tail.endswith(("_num_tokens", "_step_time"))
    if tail in _IGNORED or of_dataset or tail.startswith(_IGNORED_GROUPS):
        return False
    return not any(part in name for part in _IGNORED_PARTS)


def _is_number(value: Any) -> bool:
    # A whole number too large for a float (10**400) is as undefined as infinity; comparing it does not overflow.
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= _LARGEST
