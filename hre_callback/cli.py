"""The `hre` command: its commands by name, and how it ends."""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any, TextIO

import typer

from .commands.detecting import detectors
from .commands.following import follow
from .commands.getting_started import build, demo, demo_model
from .commands.launching import run, where
from .commands.missing import missing_module
from .commands.rating import rate
from .commands.reading_runs import power, report, watch, workspace
from .commands.scoring_models import compare, score
from .commands.souping import soup
from .commands.splitting import split
from .commands.terminal_output import STDOUT
from .plain_text import SPELLED, plain_text

_EXAMPLES = """Examples (each command has its own: hre COMMAND --help):

  hre demo

  hre build Posts.xml --topic beer --out beer.jsonl --pairs train.jsonl

  hre score models/base beer.jsonl --out before.jsonl

  hre watch runs/dpo

  hre report runs/dpo

  hre compare before.jsonl after.jsonl"""

app = typer.Typer(
    name="hre",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="HumanRankEval: does the model rank answers as people do, and does training keep it so?",
    epilog=_EXAMPLES,
)
# Each command, and what its help ends with.
_COMMANDS: dict[Callable[..., None], str] = {
    score: "hre score HuggingFaceTB/SmolLM2-135M-Instruct beer.jsonl --out scores.jsonl",
    build: "hre build Posts.xml --topic beer --out beer.jsonl --max-questions 100 --pairs train.jsonl",
    split: "hre split preferences.jsonl --hold-out 500 --out held_out.jsonl --train train.jsonl",
    rate: "hre rate beer.jsonl --out rate.html ; hre rate --collect saved --questions beer.jsonl --out rated.jsonl",
    demo: "hre demo --out demo",
    demo_model: "hre demo-model models/SmolLM2-135M-Instruct",
    report: "hre report runs/dpo --compare runs/sft",
    compare: "hre compare before.jsonl after.jsonl --fail-if-worse ; hre compare runs/dpo ; "
    "hre compare models/base runs/dpo/checkpoint-20 --questions beer.jsonl",
    detectors: "hre detectors runs --out detectors",
    power: "hre power --delta 0.01 --pilot runs/dpo",
    watch: "hre watch runs/dpo",
    follow: "hre follow runs/dpo --questions beer.jsonl --start models/base --stop-file runs/dpo/STOP",
    soup: "hre soup runs/sft --questions beer.jsonl --start models/base --out runs/sft-soup",
    workspace: "hre workspace my-team/my-project",
    run: "hre run --questions beer.jsonl -- trl sft --config sft.yaml",
    where: "hre where swift",
}
# What follows the first word of somebody else's command belongs to that.
_VERBATIM = {"allow_interspersed_args": False}
for _command, _example in _COMMANDS.items():
    _settings = _VERBATIM if _command is run else None
    app.command(epilog=f"Example: {_example}", context_settings=_settings)(_command)

# typer keeps the class to itself; older versions take it from click.
_UsageError: Any = typer.BadParameter.__bases__[0]
_CTRL_C = 130


def main() -> None:
    """Entry point: what went wrong in one line, with exit code 2, instead of a traceback."""
    for stream in (sys.stdout, sys.stderr):
        # A console that knows ASCII only is no reason to lose a result.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=SPELLED)
    code, wrong = _run(_note_ctrl_c())
    lost = _flush(sys.stdout)
    if isinstance(lost, BrokenPipeError):
        # Whoever reads has read enough (`| head -1`), and needs no word about it.
        code, wrong = 1, ""
    elif lost is not None:
        code, wrong = 2, str(OSError(lost.errno, lost.strerror, STDOUT))
    # None where the shell has closed it: `print` would take stdout instead.
    if wrong and sys.stderr is not None:
        with suppress(OSError):
            print(f"hre: {plain_text(wrong)}", file=sys.stderr)
    _flush(sys.stderr)
    sys.exit(code)


def _note_ctrl_c() -> list[int]:
    """Holds something once Ctrl-C has been pressed: a library in C may make another error of the KeyboardInterrupt."""
    pressed: list[int] = []

    def press(number: int, frame: FrameType | None) -> None:
        pressed.append(number)
        signal.default_int_handler(number, frame)

    # Whoever put the command into the background wants no Ctrl-C, and a thread may ask for none.
    here = threading.current_thread() is threading.main_thread()
    if here and callable(signal.getsignal(signal.SIGINT)):
        signal.signal(signal.SIGINT, press)
    return pressed


def _run(pressed: list[int]) -> tuple[int, str]:
    """Exit code of the command, and what went wrong; `pressed` is not empty after Ctrl-C."""
    try:
        return app(standalone_mode=False) or 0, ""
    # typer meets it inside a command; it may also come while the commands are still being made.
    except (typer.Abort, KeyboardInterrupt):
        return _CTRL_C, ""
    except _UsageError as error:
        # Without any argument the help has been printed already.
        alone = type(error).__name__ == "NoArgsIsHelpError"
        where = "hre --help" if error.ctx is None else f"{error.ctx.command_path} --help"
        words = error.format_message().rstrip(".")
        return error.exit_code, "" if alone else f"{words}; see {where}"
    except Exception as error:
        if pressed:
            return _CTRL_C, ""
        if isinstance(error, ModuleNotFoundError) and error.name:
            return 2, missing_module(error.name)
        if isinstance(error, (ValueError, ImportError, OSError, RuntimeError)):
            return 2, str(error)
        raise


def _flush(stream: TextIO | None) -> OSError | None:
    """Write what is left; what cannot be written is dropped, or Python would try again at its end, in its own words."""
    if stream is None:
        return None
    try:
        stream.flush()
    except OSError as error:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
        return error
    return None
