"""The keys of a record's numbers (`<name>/score`, `<name>/topic/<topic>`, ...), and what of them trackers show where.

`<name>` is the callback's (`hre`). They are an API: charts, workspaces and records of the past build on them. A new
number is shown under `<name>_more/`, to those who ask for all, until `CORE` names it.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..stats.correlation import METRICS, HREResult
from .lines import Evaluation

# The step that charts of a W&B run are drawn against, as the Trainer's own are.
GLOBAL_STEP = "train/global_step"
# Number of the record -> curve, both without the run's name. Trackers sort by name, and the score is to come first, its
# picture next: no name here comes before `score`.
CORE: dict[str, str] = {
    "score": "score",
    "ci_low": "score_low",
    "ci_high": "score_high",
    "delta_start": "since_start",
    "delta_start_low": "since_start_low",
    "delta_start_high": "since_start_high",
    "mismatch/push": "training_push",
    "mismatch/verdict": "verdict_level",
}
# The picture of the run so far, and the table of the questions that moved most.
CHART, MOVED = "score_chart", "what_moved"
# First parts of what is the same at every evaluation: for config and summary, a straight line as a curve.
_CONSTANTS = (
    "n",
    "undefined",
    "left_out",
    "truncated",
    "human_ceiling",
    "human_hre",
    "votes_length",
    "group_n",
    "probe_n",
    "cutoff_n",
)


def mismatch_prefix(name: str) -> str:
    """Where the keys of `mismatch` live: `mismatch/`, or below the name of a second callback."""
    return "mismatch/" if name == "hre" else f"{name}/mismatch/"


def more_prefix(name: str) -> str:
    """Where trackers show what is no core curve: one section beside that of `name`, which they fold."""
    return f"{name}_more/"


def shown(numbers: Mapping[str, float], name: str, log: str) -> dict[str, float]:
    """An evaluation's numbers (keys of the record) as trackers and the Trainer's history show them.

    Args:
        log: `core` for the curves of `CORE`, `all` for the others too; see `HREConfig.log`.
    """
    parts = {_part(key, name): value for key, value in numbers.items()}
    curves = {f"{name}/{curve}": parts[part] for part, curve in CORE.items() if part in parts}
    if log == "core":
        return curves
    hidden = {*CORE, *_twice(parts)}
    rest = {part: value for part, value in parts.items() if part not in hidden and not _is_constant(part)}
    return curves | {f"{more_prefix(name)}{part}": value for part, value in rest.items()}


def constants(numbers: Mapping[str, float | None], name: str) -> dict[str, float]:
    """What is the same at every evaluation, by its part of the key; without what is not known."""
    parts = {_part(key, name): value for key, value in numbers.items()}
    return {part: value for part, value in parts.items() if value is not None and value == value and _is_constant(part)}


def is_look(row: Mapping[str, object]) -> bool:
    """Whether a row of the Trainer's history was written by an HRE callback, of whichever name, now or in the past."""
    names = [key.removeprefix("eval_") for key in row if key.startswith("eval_")]
    return any(key.startswith((f"{name}/", more_prefix(name))) for name in names for key in row)


def _part(key: str, name: str) -> str:
    """What follows the run's name in a key of the record."""
    prefix = mismatch_prefix(name)
    return f"mismatch/{key.removeprefix(prefix)}" if key.startswith(prefix) else key.removeprefix(f"{name}/")


def _is_constant(part: str) -> bool:
    return part.split("/", 1)[0] in _CONSTANTS


def _twice(parts: Mapping[str, float]) -> set[str]:
    """Numbers that are the score itself: the policy's agreement with people, and a reward model's with them."""
    return {"mismatch/human_policy"} | (set() if "mismatch/policy_reward" in parts else {"mismatch/human_reward"})


def flatten(result: HREResult, *, name: str = "hre") -> dict[str, float]:
    """All numbers of one evaluation, flat; NaN where undefined.

    Topics appear when there is more than one: a single topic is the score itself.
    """
    topics = result.by_topic()
    values = {
        "score": result.score,
        **{metric: result.mean(metric) for metric in METRICS if metric != "pearson"},
        "n": result.n,
        "undefined": result.undefined,
        "constant_scores": result.constant_scores,
        "truncated": result.truncated,
        "left_out": result.left_out,
        "noise": result.noise,
        **result.length_bias(),
        "style_partialled": result.style_partialled(),
        **result.displacement(),
        **({f"topic/{topic}": mean for topic, (mean, _) in topics.items()} if len(topics) > 1 else {}),
    }
    return {f"{name}/{key}": float(value) for key, value in values.items()}


def proxy_row(proxies: Mapping[str, float], *, name: str = "hre") -> dict[str, float]:
    """The training signals of one evaluation (W&B names), to be plotted against HRE."""
    return {f"{name}/proxy/{key}": value for key, value in proxies.items()}


def score_of(look: Evaluation, name: str) -> float | None:
    """HRE of a recorded evaluation; `None` where it has none."""
    return look.metrics.get(f"{name}/score")


def cutoff_key(figure: str, of: str = "cutoff") -> str:
    """What follows the run's name in a key of before and after the cutoff: `cutoff/before_low`, `cutoff_n/before`."""
    return f"{of}/{figure}"


def group_key(group: str, figure: str = "group") -> str:
    """What follows the run's name in the key of a group of people: `group/language/de`, `group_change_low/...`."""
    return f"{figure}/{group}"


def probe_key(kind: str, figure: str = "probe") -> str:
    """What follows the run's name in the key of a style probe: `probe/cut`, `probe_drift_low/cut`, ..."""
    return f"{figure}/{kind}"
