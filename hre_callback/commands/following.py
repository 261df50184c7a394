"""Score a run's checkpoints beside it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from .terminal_output import Device, Quiet, TrustRemoteCode, busy, say

# Seconds between two looks.
_LEAST, _MOST = 0.1, 86_400


def follow(
    folder: Annotated[Path, typer.Argument(help="Where the checkpoints appear.")],
    questions: Annotated[
        str | None, typer.Option(help="JSONL or parquet file, dataset folder, hub dataset, or 'bundled'.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="YAML of HREConfig's fields, questions, topics.")] = None,
    start: Annotated[
        str | None, typer.Option(help="The model that training began with, scored as step 0: folder or hub id.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the record. Default: _hre in FOLDER.")] = None,
    stop_file: Annotated[Path | None, typer.Option(help="Written when a stop rule says stop.")] = None,
    wandb: Annotated[str | None, typer.Option(help="ENTITY/PROJECT/RUN to show it in.")] = None,
    trackers: Annotated[
        str, typer.Option(help="Of these, by commas: tensorboard, trackio or trackio:PROJECT/RUN.")
    ] = "",
    once: Annotated[
        bool, typer.Option("--once", help="Score what is there and leave; code 1 when a stop rule says stop.")
    ] = False,
    every: Annotated[float, typer.Option(help="Seconds between two looks at FOLDER.")] = 10.0,
    dtype: Annotated[str, typer.Option(help="float32, bfloat16, float16, or auto: the checkpoint's own.")] = "auto",
    device: Device = None,
    trust_remote_code: TrustRemoteCode = False,
    quiet: Quiet = False,
) -> None:
    """Score each checkpoint and adapter that appears in a folder, whichever trainer writes it.

    The record, the verdict and the curves are those of the callback. Ends when a stop rule says stop (code 1), when
    the run reaches its last step, or by Ctrl-C; started again, it goes on where it was.
    """
    from ..data.sources import source_path
    from ..files import check_output, check_output_folder
    from ..run.record import BESIDE
    from ..settings_file import read_settings
    from ..trackers.joining import check_places, joined

    places = trackers.replace(",", " ").split()
    check_places(wandb, places)
    settings = read_settings(config, questions=questions)
    room = out or folder / BESIDE
    if not _LEAST <= every <= _MOST:
        # NaN passes typer's own bound, and no clock waits for ever.
        raise ValueError(f"--every is {every:g}; expected {_LEAST:g} to {_MOST:,} seconds")
    if once and not folder.is_dir():
        raise ValueError(f"{folder}: no such folder")
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file; expected the folder where checkpoints appear")
    check_output_folder(room)
    if stop_file is not None:
        check_output(stop_file, inputs=[source_path(settings.questions), config])
    with busy(f"Reading {settings.questions}", quiet):
        loaded = settings.load()

    from ..follow import Follower
    from ..scoring.loading import load_model, parse_device, parse_dtype

    numbers: Any = "auto" if dtype == "auto" else parse_dtype(dtype)
    place = parse_device(device)
    follower = Follower(
        folder,
        loaded,
        settings.config,
        room / f"{settings.config.name}.jsonl",
        lambda source: load_model(source, dtype=numbers, device=place, trust_remote_code=trust_remote_code),
        start=start,
        stop_file=stop_file,
        tell=(lambda line: None) if quiet else say,
        quiet=quiet or not sys.stderr.isatty(),
    )
    with joined(settings.config.name, folder, wandb, places) as shown:
        stopped = follower.follow(shown, once=once, every=every)
    left = follower.unscored()
    if follower.record is None or not follower.record.evaluations:
        raise ValueError(f"{folder}: nothing was scored" + (f"; {left[0]}" if left else ", no checkpoint is in it"))
    if not quiet:
        say(*(f"Not scored: {line}" for line in left))
    if stopped:
        raise typer.Exit(1)
