"""Taking part in a run that another process logs: its W&B run, its trackio run, its TensorBoard folder."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from .fanout import Trackers

# What transformers calls its project where nobody names one.
_PROJECT = "huggingface"


def check_places(wandb_run: str | None, places: Sequence[str]) -> None:
    """Refuse a place that cannot be meant, before anything is done.

    Args:
        wandb_run: `ENTITY/PROJECT/RUN`.
        places: `tensorboard`, `trackio` or `trackio:PROJECT/RUN`.

    Raises:
        ValueError: names what was found and what was expected.
    """
    if wandb_run is not None and not _named(wandb_run, 3):
        raise ValueError(
            f"--wandb is {wandb_run!r:.80}; expected ENTITY/PROJECT/RUN, RUN being the id at the end of its address"
        )
    for place in places:
        kind, _, run = place.partition(":")
        if not (place == "tensorboard" or (kind == "trackio" and (place == kind or _named(run, 2)))):
            raise ValueError(f"--trackers has {place!r:.80}; expected tensorboard, trackio or trackio:PROJECT/RUN")


@contextmanager
def joined(name: str, folder: Path, wandb_run: str | None, places: Sequence[str]) -> Iterator[Trackers]:
    """The trackers of the run whose checkpoints are in `folder`, from here to the end of the block.

    Args:
        name: first part of every key, see `Tracker`.
        folder: where TensorBoard's events are; its name is trackio's run where none is given.
        wandb_run, places: see `check_places`.

    Raises:
        ValueError: W&B knows no such run.
    """
    with ExitStack() as opened:
        if wandb_run is not None:
            opened.enter_context(_wandb(wandb_run))
        for place in places:
            if place.startswith("trackio"):
                opened.enter_context(_trackio(place.partition(":")[2] or f"{_PROJECT}/{folder.resolve().name}"))
        kinds = [place.partition(":")[0] for place in places]
        yield Trackers.at([*kinds, "wandb"] if wandb_run else kinds, name, folder)


def _named(text: str, parts: int) -> bool:
    found = text.split("/")
    return len(found) == parts and all(part.strip() == part and part for part in found)


@contextmanager
def _wandb(run: str) -> Iterator[None]:
    """Write beside the training's own process: W&B's mode for that, in which ending is left to the other one."""
    import wandb

    entity, project, id_ = run.split("/")
    # offline or disabled: the person has said so.
    mode: Any = os.environ.get("WANDB_MODE") or "shared"
    if mode == "shared":
        _check_run(run)
    settings = wandb.Settings(x_primary=False, x_update_finish_state=False, x_label="hre-follow")
    wandb.init(entity=entity, project=project, id=id_, mode=mode, settings=settings)
    try:
        yield
    finally:
        wandb.finish()


def _check_run(run: str) -> None:
    """W&B would make a new run of an id that is mistyped."""
    import wandb

    try:
        wandb.Api().run(run)
    except (ValueError, wandb.errors.Error) as error:
        raise ValueError(f"--wandb {run}: no such run can be read ({str(error).splitlines()[0]:.200})") from error


@contextmanager
def _trackio(run: str) -> Iterator[None]:
    import trackio

    project, name = run.split("/")
    trackio.init(project=project, name=name, resume="allow", embed=False)
    try:
        yield
    finally:
        trackio.finish()
