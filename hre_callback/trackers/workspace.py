"""A ready-made W&B workspace: the score and its picture first, then the training signals, then what else a run logs.

Needs the extra `workspace` (`wandb-workspaces`). The request that it sends is tested against a stub, not the service.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..config import check_option
from ..run.keys import CHART, CORE, GLOBAL_STEP, more_prefix
from ..views.reading import Proxy, Reading, common_proxies

if TYPE_CHECKING:
    from ..run.record import Record

_TITLE = "HumanRankEval"
_CHANGE = ("delta_start", "delta_start_low", "delta_start_high")


def save_workspace(project: str, *, name: str = "hre", record: Record | None = None) -> str:
    """Make the workspace in W&B as a saved view of its own; no view that exists is changed.

    Args:
        project: `ENTITY/PROJECT`.
        name: of the callback (`HREConfig.name`), first part of its keys.
        record: of a run: the panels are of the training signals and of the keys that it logs; without one of those that
            most trainers log, and of all keys.

    Returns:
        The address of the view.

    Raises:
        ValueError: `project` is not of this form, or `name` is none that `HREConfig` takes.
        ImportError: the extra is not installed.
        RuntimeError: there is no API key, or W&B refuses or does not answer.
    """
    entity, _, rest = project.partition("/")
    if not entity or not rest or "/" in rest:
        raise ValueError(f"the project is {project!r}; expected ENTITY/PROJECT, as in its address at W&B")
    # It becomes part of patterns that W&B matches keys with.
    check_option("name", name, "name")
    workspaces = _workspaces()
    import wandb

    view = workspaces.Workspace(
        entity=entity,
        project=rest,
        name=_TITLE,
        settings=workspaces.WorkspaceSettings(x_axis=GLOBAL_STEP),
        sections=_sections(
            name,
            common_proxies() if record is None else Reading(record).main_proxies(),
            everything=record is None or record.run.config.get("log") == "all",
        ),
    )
    try:
        saved = view.save()
    except wandb.errors.UsageError as error:
        raise RuntimeError("W&B has no API key: run `wandb login`, or set WANDB_API_KEY") from error
    except Exception as error:
        # The client's own failures share no class.
        raise RuntimeError(f"W&B did not take the workspace for {project}: {error}") from error
    return str(saved.url)


def save_run_workspace(record: Record) -> str:
    """The same for the W&B run that is active in this process. A W&B that does not answer takes about 20 seconds.

    Raises:
        RuntimeError: none is active, or it is offline; else see `save_workspace`.
    """
    try:
        import wandb
    except ImportError as error:
        raise RuntimeError("wandb is not installed") from error
    run = wandb.run
    if run is None:
        raise RuntimeError("no W&B run is active")
    if run.offline or run.disabled:
        raise RuntimeError("the W&B run is not online; once it is there: hre workspace ENTITY/PROJECT --run RUN")
    return save_workspace(f"{run.entity}/{run.project}", name=record.run.name, record=record)


def _workspaces() -> Any:
    try:
        import wandb_workspaces.workspaces
    except ImportError as error:
        raise ImportError('a W&B workspace needs wandb-workspaces: pip install "hre-callback[workspace]"') from error
    return wandb_workspaces.workspaces


def _sections(name: str, signals: Sequence[Proxy], *, everything: bool) -> list[Any]:
    """HRE and its losses in panels of their own: W&B has no second y axis, and a loss would flatten HRE.

    Args:
        everything: with what runs log under `log="all"` alone.
    """
    import wandb_workspaces.reports.v2 as panels

    def lines(title: str, *keys: str, x: str = GLOBAL_STEP) -> Any:
        return panels.LinePlot(title=title, x=x, y=list(keys))

    def all_of(title: str, regex: str) -> Any:
        return panels.LinePlot(title=title, x=GLOBAL_STEP, metric_regex=regex)

    def core(*parts: str) -> list[str]:
        return [f"{name}/{CORE[part]}" for part in parts]

    more, (score,) = more_prefix(name), core("score")
    ends = [f"{more}mismatch/push{end}" for end in ("_low", "_high")] if everything else []
    sections = {
        "HRE": [
            lines("HRE with its 95 % interval", *core("score", "ci_low", "ci_high")),
            panels.MediaBrowser(title="The run so far", media_keys=[f"{name}/{CHART}"]),
            lines("Change since the start, paired 95 % interval", *core(*_CHANGE)),
            lines("Which way training pushes: above 0 towards what people prefer", *core("mismatch/push"), *ends),
            lines("The verdict: 0 aligned, 0.5 decoupled, 1 watch, 2 mismatch", *core("mismatch/verdict")),
        ],
        "Training": [
            *(lines(_title(one), one.key) for one in signals),
            panels.ScatterPlot(title="Last HRE against training loss, one dot a run", x="train/loss", y=f"{name}/last"),
        ],
    }
    if everything:
        sections |= {
            "Topics": [all_of("HRE by topic", f"{more}topic/.*")],
            "Mismatch": [
                all_of(
                    "Human, policy, reward: who agrees with whom",
                    f"{more}mismatch/(human|policy)_(policy|reward|implicit)$",
                ),
                all_of("Rolling rank correlation of HRE with each signal", f"{more}mismatch/kendall/.*"),
                all_of("Cost of trusting each signal", f"{more}mismatch/regret/.*"),
                lines("HRE against sqrt(KL)", score, x=f"{more}mismatch/sqrt_kl"),
                *(lines(f"HRE against {_title(one)}", score, x=f"{more}proxy/{one.key}") for one in signals),
                all_of("Every signal, mean since the evaluation before", f"{more}proxy/.*"),
                lines("Pairs ranked as people do, best answer first", f"{more}pair_accuracy", f"{more}top1"),
            ],
        }
    return [_workspaces().Section(name=title, panels=found, is_open=True) for title, found in sections.items()]


def _title(one: Proxy) -> str:
    return f"{one.label} ({one.about})" if one.about else one.label
