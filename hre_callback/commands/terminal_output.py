"""What a command prints, and the bar while it works; the options that many commands share."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from typing import Annotated
from warnings import catch_warnings, simplefilter

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from ..plain_text import plain_text

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")]
Device = Annotated[
    str | None, typer.Option(help="cpu, cuda, cuda:1, mps, ... Default: the accelerator if there is one.")
]
TrustRemoteCode = Annotated[
    bool, typer.Option("--trust-remote-code", help="Run Python code that comes with the model.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]

STDOUT = "standard output"


@contextmanager
def progress_bar(quiet: bool) -> Iterator[Progress]:
    """A bar on a terminal's stderr while something works, gone when done; stdout is kept for the result.

    Quiet, nothing that the work prints, warns or logs is shown.
    """
    bar = bar_on_stderr(quiet)
    nowhere = io.StringIO()
    with ExitStack() as stack:
        if quiet:
            stack.enter_context(redirect_stderr(nowhere))
            stack.enter_context(catch_warnings())
            simplefilter("ignore")
            # Loggers of other packages hold the stderr that they were made with.
            stack.callback(logging.disable, logging.root.manager.disable)
            logging.disable(logging.CRITICAL)
        stack.enter_context(redirect_stdout(nowhere if quiet else sys.stderr))
        # A bar that is not shown ends with an empty line all the same in rich before 14.
        yield bar if bar.disable else stack.enter_context(bar)


def bar_on_stderr(quiet: bool) -> Progress:
    """A bar that reads no markup, shown where stderr is a terminal."""
    console = Console(stderr=True)
    # Words hold paths and names from outside: no markup is read in them.
    words = TextColumn("{task.description}", style="progress.description", markup=False)
    columns = (words, BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal)


def say(*lines: object) -> None:
    """Print lines that may hold text from outside."""
    with printing():
        for line in lines:
            print(plain_text(line))


@contextmanager
def printing() -> Iterator[None]:
    """What standard output refuses (a full disk) is named; that nobody reads any more is typer's to meet."""
    try:
        yield
    except OSError as error:
        if error.filename is not None or isinstance(error, BrokenPipeError):
            raise
        raise OSError(error.errno, error.strerror, STDOUT) from error


@contextmanager
def busy(text: str, quiet: bool = False) -> Iterator[None]:
    """A bar that says what is going on where nobody knows how long it takes."""
    with progress_bar(quiet) as bar:
        bar.add_task(plain_text(text), total=None)
        yield
