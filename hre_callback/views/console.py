"""What a person reads while training goes on: lines that do not break the Trainer's bar, and a bar of our own."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from tqdm.auto import tqdm

from ..plain_text import SPELLED, plain_logger, plain_text

logger = plain_logger(__name__)


def say(line: str) -> None:
    """Print a line, which may hold text from outside, without breaking the Trainer's progress bar.

    A console that cannot show it costs no run.
    """
    line = plain_text(line)
    try:
        try:
            tqdm.write(line)
        except UnicodeEncodeError:
            tqdm.write(line.encode("ascii", SPELLED).decode())
    except (OSError, ValueError) as error:
        # Closed, or at the other end of a pipe that nobody reads.
        logger.warning(f"HRE could not print to the console ({error}): {line}")


class Bar:
    """A bar over the batches of one evaluation, gone when it is done; `with Bar(title) as update:`."""

    def __init__(self, title: str, *, hidden: bool = False) -> None:
        self.bar: Any = None
        self.hidden = hidden
        self.title = title

    def __enter__(self) -> Callable[[int, int], None]:
        return self._update

    def _update(self, done: int, total: int) -> None:
        if self.hidden:
            return
        try:
            if self.bar is None:
                self.bar = tqdm(total=total, desc=self.title, leave=False, dynamic_ncols=True)
            self.bar.update(done - self.bar.n)
        except (OSError, ValueError):
            # The terminal is gone; what remains of the bar is not worth an evaluation.
            self.hidden, self.bar = True, None

    def __exit__(self, *exc: object) -> None:
        if self.bar is not None:
            with suppress(OSError, ValueError):
                self.bar.close()
