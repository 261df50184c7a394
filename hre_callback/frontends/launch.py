"""Start a command whose Trainers get the callback; pass on signals, and say what became of it. POSIX and no torch."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType

from ..settings_file import Settings
from .settings import as_json, wherever

HOOK = Path(__file__).parent / "hook"
# What ms-swift is given as --external_plugins.
SWIFT = Path(__file__).parent / "ms_swift" / "hre_swift.py"
OFF_VARIABLE = "HRE_OFF"
_PASSED_ON = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2")
# These a terminal sends to everybody in its foreground, to the command too.
_OF_THE_TERMINAL = ("SIGINT", "SIGQUIT")
# A shell's exit code of a command that a signal ended is this and the signal's number.
_ENDED_BY_SIGNAL = 128


def is_off() -> bool:
    """Whether the environment says that HRE is not to be attached."""
    return os.environ.get(OFF_VARIABLE, "0") not in ("", "0")


def run_with(command: Sequence[str], settings: Settings) -> tuple[int, str]:
    """Run the command with the callback in its Trainers.

    Returns:
        its exit code, and what to say at its end; empty where HRE was attached.

    Raises:
        OSError: it cannot be started.
    """
    with TemporaryDirectory(prefix="hre-run-", ignore_cleanup_errors=True) as seen:
        behind = [path] if (path := os.environ.get("PYTHONPATH")) else []
        added = {
            "HRE_RUN": as_json(wherever(settings)),
            "HRE_RUN_SEEN": seen,
            "PYTHONPATH": os.pathsep.join([str(HOOK), *behind]),
        }
        code = run(command, {**os.environ, **added})
        return code, what_became(Path(seen))


def what_became(seen: Path) -> str:
    """Why no Trainer had the callback, from the word that the processes left; empty where one had it."""
    kinds = {path.name.partition("-")[0]: path for path in sorted(seen.iterdir())}
    if "attached" in kinds:
        return ""
    if "left" in kinds:
        return f"HRE scored no Trainer of this command: {kinds['left'].read_text(errors='replace')}"
    if "imported" in kinds:
        return "HRE was never attached: the command imported transformers and made no Trainer"
    return (
        "HRE was never attached: no Python of this command imported transformers' Trainer, or it does not see the "
        "PYTHONPATH of hre run (set anew, -I, -E or -S, another machine or container)"
    )


def run(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run the command as a shell would: its own streams and open files, signals passed on, its exit code.

    Raises:
        OSError: it cannot be started.
    """
    passing = _Passing()
    with _handling(passing):
        child = subprocess.Popen(command, env=environment, close_fds=False)
        passing.to(child)
        code = child.wait()
    return code if code >= 0 else _ENDED_BY_SIGNAL - code


class _Passing:
    """A signal handler that gives to the command what it does not have yet."""

    def __init__(self) -> None:
        self.child: subprocess.Popen[bytes] | None = None
        self.early: list[int] = []
        self.seen: set[int] = set()

    def to(self, child: subprocess.Popen[bytes]) -> None:
        self.child = child
        for number in self.early:
            child.send_signal(number)

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.child is None:
            self.early.append(number)
            return
        # The first Ctrl-C has reached the command by itself; who sends another wants it to get there.
        again = number in self.seen
        self.seen.add(number)
        if again or signal.Signals(number).name not in _OF_THE_TERMINAL or not _in_the_foreground():
            self.child.send_signal(number)


def _in_the_foreground() -> bool:
    """Whether a terminal's Ctrl-C goes to this process, and so to the command, which is in the same group."""
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)


@contextmanager
def _handling(passing: _Passing) -> Iterator[None]:
    """Signals go to `passing`, but for those that whoever started us had us ignore."""
    before = {}
    if threading.current_thread() is threading.main_thread():
        numbers = [getattr(signal, name) for name in _PASSED_ON if hasattr(signal, name)]
        heard = [number for number in numbers if signal.getsignal(number) != signal.SIG_IGN]
        before = {number: signal.signal(number, passing) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
