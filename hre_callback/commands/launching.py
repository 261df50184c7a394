"""Start somebody else's training command with the callback in it; where the front-ends find ours."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from ..plain_text import plain_text
from .terminal_output import busy, say

# A shell's exit codes.
_NOT_FOUND, _NOT_STARTED = 127, 126


def run(
    command: Annotated[list[str], typer.Argument(metavar="COMMAND", help="The command and its arguments, verbatim.")],
    config: Annotated[
        Path | None,
        typer.Option(help="YAML file: questions, topics, max_questions and fields of HREConfig."),
    ] = None,
    questions: Annotated[
        str | None,
        typer.Option(help="JSONL or parquet file, dataset folder, hub dataset, or 'bundled'; before the file's own."),
    ] = None,
) -> None:
    """Run a training command; every Trainer in it that HRE can score gets the callback.

    trl sft|dpo|grpo, llamafactory-cli train, accelerate launch, torchrun, python train.py. The exit code is the
    command's. HRE_OFF=1 runs it without HRE.
    """
    from ..frontends.launch import OFF_VARIABLE, is_off, run_with
    from ..frontends.launch import run as run_alone
    from ..settings_file import read_settings

    try:
        if is_off():
            _tell(f"{OFF_VARIABLE} is set: HRE is not attached")
            code, word = run_alone(command, os.environ), ""
        else:
            settings = read_settings(config, questions=questions)
            with busy(f"Reading {settings.questions}"):
                # Before anything is started; each process loads them again.
                settings.load()
            code, word = run_with(command, settings)
    except OSError as error:
        if error.filename != command[0]:
            raise
        _tell(f"{command[0]}: {error.strerror}")
        raise typer.Exit(_NOT_FOUND if isinstance(error, FileNotFoundError) else _NOT_STARTED) from error
    if word:
        _tell(word)
    raise typer.Exit(code)


def where(
    frontend: Annotated[str, typer.Argument(help="swift: the file for ms-swift's --external_plugins.")],
) -> None:
    """Print where the file lies that a front-end is to be given."""
    from ..frontends.launch import SWIFT

    if frontend != "swift":
        raise ValueError(f"found {frontend!r}, expected 'swift'; for the others see hre_callback/frontends/README.md")
    say(SWIFT)


def _tell(line: str) -> None:
    # stdout is the command's.
    if sys.stderr is not None:
        print(f"hre: {plain_text(line)}", file=sys.stderr, flush=True)
