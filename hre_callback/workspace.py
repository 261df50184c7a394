"""A ready-made W&B workspace: HRE first, its topics, the mismatch curves and the training signals, each on its axis.

Needs the extra `workspace` (`wandb-workspaces`). The request that it sends is tested against a stub, not the service.
"""

from __future__ import annotations

from typing import Any

from .mismatch import prefix
from .trackers import GLOBAL_STEP

_TITLE = "HumanRankEval"
# The training signals that HRE is drawn against, in the order of story.py; a run shows those that its trainer logs.
_SIGNALS = ("train/loss", "eval/loss", "train/reward", "train/rewards/margins", "train/kl")


def save_workspace(project: str, *, name: str = "hre") -> str:
    """Make the workspace in W&B as a saved view of its own; no view that exists is changed.

    Args:
        project: `ENTITY/PROJECT`.
        name: of the callback (`HREConfig.name`), first part of its keys.

    Returns:
        The address of the view.

    Raises:
        ValueError: `project` is not of this form.
        ImportError: the extra is not installed.
        RuntimeError: there is no API key, or W&B refuses or does not answer.
    """
    entity, _, rest = project.partition("/")
    if not entity or not rest or "/" in rest:
        raise ValueError(f"the project is {project!r}; expected ENTITY/PROJECT, as in its address at W&B")
    workspaces = _workspaces()
    import wandb

    view = workspaces.Workspace(
        entity=entity,
        project=rest,
        name=_TITLE,
        settings=workspaces.WorkspaceSettings(x_axis=GLOBAL_STEP),
        sections=_sections(name),
    )
    try:
        saved = view.save()
    except wandb.errors.UsageError as error:
        raise RuntimeError("W&B has no API key: run `wandb login`, or set WANDB_API_KEY") from error
    except Exception as error:  # the client's own failures share no class
        raise RuntimeError(f"W&B did not take the workspace for {project}: {error}") from error
    return str(saved.url)


def _workspaces() -> Any:
    try:
        import wandb_workspaces.workspaces
    except ImportError as error:
        raise ImportError(
            'a W&B workspace needs wandb-workspaces: pip install "hre-callback[workspace]"'
        ) from error
    return wandb_workspaces.workspaces


def _sections(name: str) -> list[Any]:
    """HRE and its losses in panels of their own: W&B has no second y axis, and a loss would flatten HRE."""
    import wandb_workspaces.reports.v2 as panels

    def lines(title: str, *keys: str, x: str = GLOBAL_STEP) -> Any:
        return panels.LinePlot(title=title, x=x, y=list(keys))

    def all_of(title: str, regex: str) -> Any:
        return panels.LinePlot(title=title, x=GLOBAL_STEP, metric_regex=regex)

    of = f"{name}/{{}}".format
    interval = [of("score"), of("ci_low"), of("ci_high"), of("human_ceiling")]
    change = [of("delta_start"), of("delta_start_low"), of("delta_start_high")]
    sections = {
        "HRE": [
            lines("HRE with its 95 % interval", *interval),
            lines("Change since the start, paired 95 % interval", *change),
            panels.MediaBrowser(title="The run so far", media_keys=[of("chart")]),
            lines("Pairs ranked as people do, best answer first", of("pair_accuracy"), of("top1")),
        ],
        "Topics": [all_of("HRE by topic", f"{name}/topic/.*")],
        "Mismatch": [
            all_of(
                "Human, policy, reward: who agrees with whom",
                f"{prefix(name)}(human|policy)_(policy|reward|implicit)$",
            ),
            all_of("Rolling rank correlation of HRE with each signal", f"{prefix(name)}kendall/.*"),
            all_of("Cost of trusting each signal", f"{prefix(name)}regret/.*"),
            lines("The verdict: 0 aligned, 1 watch, 2 mismatch", f"{prefix(name)}verdict"),
            lines("HRE against sqrt(KL)", of("score"), x=f"{prefix(name)}sqrt_kl"),
            *(lines(f"HRE against {key}", of("score"), x=of(f"proxy/{key}")) for key in _SIGNALS),
            panels.ScatterPlot(
                title="Last HRE against training loss, one dot a run", x="train/loss", y=of("last")
            ),
        ],
        "Training": [lines(key, key) for key in _SIGNALS],
    }
    return [
        _workspaces().Section(name=title, panels=found, is_open=True) for title, found in sections.items()
    ]
