"""What a run's record holds, as curves and marks: the one reading that page, chart and terminal share. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PureWindowsPath
from typing import TYPE_CHECKING, Any, Literal

from .mismatch import prefix

if TYPE_CHECKING:
    from .record import Record

Tone = Literal["good", "neutral", "watch", "bad"]

# Last part of a proxy's name -> what a person calls it, and the direction that counts as progress. In the order
# in which they are worth a panel: the signal that is optimised first, then how far the policy has moved.
_PROXIES: dict[str, tuple[str, str | None]] = {
    "reward": ("reward", "higher"),
    "rewards/margins": ("reward margin", "higher"),
    "margins": ("reward margin", "higher"),
    "margin": ("reward margin", "higher"),
    "eval/loss": ("evaluation loss", "lower"),
    "loss": ("training loss", "lower"),
    "kl": ("KL from the start", None),
    "rewards/accuracies": ("reward accuracy", "higher"),
    "accuracy": ("reward accuracy", "higher"),
    "mean_token_accuracy": ("token accuracy", "higher"),
    "entropy": ("entropy", None),
}
_NEVER = ("learning_rate", "grad_norm", "epoch", "num_tokens", "runtime", "per_second", "_std")


@dataclass(frozen=True, slots=True)
class Proxy:
    """One training signal: its key in the record, its plain name, the direction that counts as progress."""

    key: str
    label: str
    better: str | None


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened at `step` and belongs on every panel."""

    step: int
    text: str
    tone: Tone


def number(value: Any) -> float:
    """A float from a JSON value; null, and anything that is no number, is NaN."""
    return float(value) if isinstance(value, (int, float)) else math.nan


def fixed(value: float, *, signed: bool = False, digits: int = 3) -> str:
    """`0.254`, or `+0.022` when `signed`; a real minus sign; an en dash for NaN."""
    if not math.isfinite(value):
        return "–"
    text = f"{value:+.{digits}f}" if signed else f"{value:.{digits}f}"
    if float(text) == 0:
        text = text.replace("-", "+") if signed else text.lstrip("-")
    return text.replace("-", "−")


def short(value: float) -> str:
    """A number of any size in four significant digits: `1.234`, `0.00412`, `5.6e−07`."""
    return f"{value:.4g}".replace("-", "−") if math.isfinite(value) else "–"


def count(n: int, noun: str) -> str:
    """`1 topic`, `2,000 topics`."""
    return f"{n:,} {noun}{'s' * (n != 1)}"


def steps(record: Record) -> list[int]:
    """The step of every evaluation, in the order of the record."""
    return [int(evaluation["step"]) for evaluation in record.evaluations]


def values(record: Record, key: str) -> list[float]:
    """One metric over the evaluations, by its key without the run's prefix (`"score"`); NaN where absent."""
    full = f"{record.run.get('name') or 'hre'}/{key}"
    return [number((evaluation.get("metrics") or {}).get(full)) for evaluation in record.evaluations]


def mismatch_values(record: Record, key: str) -> list[float]:
    """One `mismatch/...` metric over the evaluations; NaN where absent."""
    full = f"{mismatch_prefix(record)}{key}"
    return [number((row.get("metrics") or {}).get(full)) for row in record.evaluations]


def mismatch_prefix(record: Record) -> str:
    """Where the run's `mismatch/...` keys live."""
    return prefix(record.run.get("name") or "hre")


def proxy_values(record: Record, key: str) -> list[float]:
    """One training signal over the evaluations; NaN where it was not logged."""
    return [number((evaluation.get("proxies") or {}).get(key)) for evaluation in record.evaluations]


def latest(numbers: Sequence[float]) -> float:
    """The last finite number, NaN if there is none."""
    return next((value for value in reversed(numbers) if math.isfinite(value)), math.nan)


def keys_under(record: Record, prefix: str, table: str = "metrics") -> list[str]:
    """What follows `prefix` in the keys of all evaluations, sorted."""
    found = {key for row in record.evaluations for key in (row.get(table) or {}) if key.startswith(prefix)}
    return sorted(key[len(prefix) :] for key in found)


def topics(record: Record) -> list[str]:
    """The topics that were scored, sorted."""
    return keys_under(record, f"{record.run.get('name') or 'hre'}/topic/")


def _describe(key: str) -> tuple[int, Proxy]:
    for rank, (ending, (label, better)) in enumerate(_PROXIES.items()):
        if key == ending or key.endswith("/" + ending):
            side = "evaluation " if key.startswith("eval/") and not label.startswith("evaluation") else ""
            return rank, Proxy(key, side + label, better)
    return len(_PROXIES), Proxy(key, key, None)


def proxy(key: str) -> Proxy:
    """The plain name and the good direction of a training signal."""
    return _describe(key)[1]


def main_proxies(record: Record, limit: int = 4) -> list[Proxy]:
    """The training signals most worth a look, at most `limit`, the optimised one first.

    With an explicit reward (GRPO, RLOO, PPO) the policy loss says nothing about progress and is left out.
    Signals that this package does not know by name are shown only where fewer than two known ones are.
    """
    keys = [key for key in keys_under(record, "", "proxies") if not any(word in key for word in _NEVER)]
    keys = [key for key in keys if any(math.isfinite(value) for value in proxy_values(record, key))]
    if any(key.split("/")[-1] == "reward" for key in keys):
        keys = [key for key in keys if key.split("/")[-1] != "loss"]
    ranked = sorted((_describe(key) for key in keys), key=lambda item: (item[0], item[1].key))
    known = [found for rank, found in ranked if rank < len(_PROXIES)]
    return known[:limit] if len(known) > 1 else [found for _, found in ranked[:limit]]


def start_index(record: Record) -> int | None:
    """Index of the baseline: the evaluation at step 0, if there is one with a score."""
    scores = values(record, "score")
    at_zero = (i for i, step in enumerate(steps(record)) if step == 0 and math.isfinite(scores[i]))
    return next(at_zero, None)


def paired_band(record: Record) -> tuple[list[float], list[float]]:
    """The start's score plus the paired interval of the change: what HRE itself is plausibly, given the start."""
    start = start_index(record)
    base = values(record, "score")[start] if start is not None else math.nan
    low, high = ([base + d for d in values(record, f"delta_start_{side}")] for side in ("low", "high"))
    if start is not None:
        low[start] = high[start] = base  # the start differs from itself by nothing, whether recorded or not
    return low, high


def best_index(record: Record) -> int | None:
    """Index of the highest score. A maximum of noisy numbers is flattering: label it as the highest, no more."""
    finite = [(score, -i) for i, score in enumerate(values(record, "score")) if math.isfinite(score)]
    return -max(finite)[1] if finite else None


def last_index(record: Record) -> int | None:
    """Index of the last evaluation that has a score."""
    scored = [i for i, score in enumerate(values(record, "score")) if math.isfinite(score)]
    return scored[-1] if scored else None


def ceiling_of(record: Record) -> float:
    """The human ceiling of the run's questions, NaN when unknown."""
    recorded = record.run.get("human_ceiling")
    return float(recorded) if recorded is not None else latest(values(record, "human_ceiling"))


def human_of(record: Record) -> float:
    """A human's own HRE on the run's questions (one annotator against the others), NaN when unknown."""
    return number(record.run.get("human_hre"))


def min_delta(record: Record) -> float:
    """The smallest fall of HRE that the run calls worth stopping for."""
    return float((record.run.get("config") or {}).get("min_delta", 0.01))


def current(record: Record, key: str) -> float:
    """A metric at the last evaluation that has a score; NaN where it is absent there."""
    now = last_index(record)
    return values(record, key)[now] if now is not None else math.nan


def events(record: Record, kind: str) -> list[dict[str, Any]]:
    """The events of one kind: `skipped`, `stop`, `save`, `resumed`, `finished`."""
    return [event for event in record.events if event.get("kind") == kind]


def finished(record: Record) -> dict[str, Any] | None:
    """The `finished` event, unless the run was resumed after it."""
    closing = [event for event in record.events if event.get("kind") in ("finished", "resumed")]
    return closing[-1] if closing and closing[-1]["kind"] == "finished" else None


def diverged_since(record: Record) -> int | None:
    """First step of the unbroken `watch`/`mismatch` streak that the record ends with, None if it ends well."""
    since = None
    for evaluation in reversed(record.evaluations):
        if evaluation.get("verdict") not in ("watch", "mismatch"):
            break
        since = int(evaluation["step"])
    return since


def marks(record: Record) -> list[Mark]:
    """What belongs on every panel as a vertical line: where objective and people part ways, and the stop."""
    found = []
    verdict = record.evaluations[-1].get("verdict") if record.evaluations else None
    since = diverged_since(record)
    if since is not None:
        text = "part ways" if verdict == "mismatch" else "watch"
        found.append(Mark(since, text, "bad" if verdict == "mismatch" else "watch"))
    for stop in events(record, "stop"):
        found.append(Mark(int(stop["step"]), "stopped", "bad"))
    return found


def n_questions(record: Record) -> int:
    """Questions that the score averages over: the last `hre/n`, else all questions of the run."""
    counted = latest(values(record, "n"))
    return int(counted) if math.isfinite(counted) else len(record.run.get("questions") or ())


def run_title(run: Mapping[str, Any]) -> str:
    """`model · trainer`, as far as they are known; of a model on the disk only the folder's own name."""
    model = str(run.get("model") or "")
    local = model.startswith((".", "~")) or model.count("/") > 1 or "\\" in model
    name = PureWindowsPath(model).name if local else model  # reads both kinds of slash
    parts = [part for part in (name, str(run.get("trainer") or "")) if part]
    return " · ".join(parts) or str(run.get("name") or "hre")


def comparable(one: Record, other: Record) -> bool:
    """Whether two runs were scored in the same way on the same questions: only then may they share an axis."""
    return all(one.run.get(key) == other.run.get(key) for key in ("fingerprint", "identity"))
