"""A warm process for the `hre` command: it has imported what takes seconds, and forks for each command.

A command then has an interpreter, streams, a folder and an end of its own, as from a shell, in a tenth of the time.
Run as a module it answers requests, one JSON line each; `Warm` is the other end.
"""

from __future__ import annotations

import contextlib
import gc
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

_QUIET = {
    "HF_HUB_OFFLINE": "1",
    "WANDB_MODE": "offline",
    "WANDB_SILENT": "true",
    "OMP_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "COLUMNS": "200",
}
_STREAMS = {"stdin": os.O_RDONLY, "stdout": os.O_WRONLY, "stderr": os.O_WRONLY}


class Ended(NamedTuple):
    """How a command ended: its exit code (minus the signal's number where it was killed), and what it printed."""

    code: int
    out: str
    err: str
    seconds: float


class Warm:
    """Starts the process; `run` runs one command in it."""

    def __init__(self, folder: Path, first: Sequence[str] = ()) -> None:
        """In `folder` lie its streams and temporary files; `first` are commands that it runs itself, before it forks."""
        self.streams = folder / "streams"
        (folder / "tmp").mkdir()
        self.streams.mkdir()
        quiet = _QUIET | {"TMPDIR": str(folder / "tmp"), "HF_HOME": str(folder / "hub")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.warm", *first],
            cwd=Path(__file__).parents[1],
            env={**os.environ, **quiet},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(
        self,
        args: Sequence[object],
        cwd: Path,
        *,
        answers: str = "",
        limit: int = 20,
        interrupt: float = 0.0,
        environment: Mapping[str, str | None] | None = None,
        encoding: str = "utf-8",
        **places: str,
    ) -> Ended:
        """`hre *args` in the folder `cwd`.

        Args:
            answers: what stands on its stdin.
            limit: seconds after which it is killed.
            interrupt: seconds of work after which Ctrl-C is pressed; waiting does not count.
            environment: variables that are set, or unset by None.
            encoding: of stdout and stderr.
            places: for `stdin`, `stdout`, `stderr` a file in place of ours, "closed", or "broken": a pipe that nobody
                reads.
        """
        (self.streams / "stdin").write_text(answers)
        streams = {name: places.get(name, str(self.streams / name)) for name in _STREAMS}
        request = {"args": [*map(str, args)], "cwd": str(cwd), "limit": limit, "interrupt": interrupt}
        request |= {"environment": dict(environment or {}), "encoding": encoding, "streams": streams}
        for name in ("stdout", "stderr"):
            (self.streams / name).write_bytes(b"")
        assert self.process.stdin is not None and self.process.stdout is not None
        begun = time.monotonic()
        print(json.dumps(request), file=self.process.stdin, flush=True)
        code = int(self.process.stdout.readline())
        out, err = ((self.streams / name).read_bytes().decode(encoding) for name in ("stdout", "stderr"))
        return Ended(code, out, err, time.monotonic() - begun)

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def _serve() -> None:
    # The first of its kind imports, and works out, what all that follow find ready.
    for words in sys.argv[1:]:
        _come_to_an_end(words.split())
    gc.collect()
    gc.freeze()
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            _become(**request)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _come_to_an_end(args: Sequence[str]) -> None:
    """Run a command here, whatever comes of it."""
    from hre_callback.cli import main

    sys.argv = ["hre", *args]
    nowhere = io.StringIO()
    with (
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
        contextlib.suppress(SystemExit),
    ):
        main()


def _become(args: Sequence[str], cwd: str, limit: int, interrupt: float, **around: Any) -> None:
    """Be the command: never returns."""
    from hre_callback.cli import main

    signal.alarm(limit)
    os.chdir(cwd)
    _open_streams(around["streams"], around["encoding"])
    for name, value in around["environment"].items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value
    tempfile.tempdir = None
    sys.argv = ["hre", *args]
    # Like Ctrl-C, but by the clock of the work: as far into it on a busy machine.
    signal.signal(signal.SIGVTALRM, lambda *_: signal.raise_signal(signal.SIGINT))
    signal.setitimer(signal.ITIMER_VIRTUAL, interrupt)
    code: object = 0
    try:
        main()
    except SystemExit as left:
        code = left.code or 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    os._exit(_end(code))


def _end(code: object) -> int:
    """What Python does last, and would then exit with."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError as error:
            os.write(2, f"Exception ignored on flushing: {error}\n".encode())
            code = 120
    return code if isinstance(code, int) else 1


def _open_streams(streams: Mapping[str, str], encoding: str) -> None:
    for number, (name, flags) in enumerate(_STREAMS.items()):
        os.close(number)
        if streams[name] == "broken":
            nobody, opened = os.pipe()
            os.close(nobody)
        elif streams[name] != "closed":
            opened = os.open(streams[name], flags)
        else:
            setattr(sys, name, None)
            continue
        if opened != number:
            os.dup2(opened, number)
            os.close(opened)
        mode = "r" if number == 0 else "w"
        setattr(sys, name, os.fdopen(number, mode, encoding=encoding, closefd=False))


if __name__ == "__main__":
    _serve()
