"""The keys of W&B, record and page: `<name>/score`, `<name>/topic/<topic>`, ...; `<name>` is the callback's (`hre`).

They are an API: charts, workspaces and records of the past build on them.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..stats.correlation import METRICS, HREResult
from .lines import Evaluation

# The step that charts of a W&B run are drawn against, as the Trainer's own are.
GLOBAL_STEP = "train/global_step"


def mismatch_prefix(name: str) -> str:
    """Where the keys of `mismatch` live: `mismatch/`, or below the name of a second callback."""
    return "mismatch/" if name == "hre" else f"{name}/mismatch/"


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


def group_key(group: str, figure: str = "group") -> str:
    """What follows the run's name in the key of a group of people: `group/language/de`, `group_change_low/...`."""
    return f"{figure}/{group}"
