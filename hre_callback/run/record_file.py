"""The file of a record whose run goes on: whatever has befallen it, the next write makes it whole again.

The lines are in memory, the file is a copy of them. Meanwhile anybody may remove it, empty it, put something else in
its place or take its folder away, and the disk may be full: nothing of that costs
a run, or a line once the disk is back.
"""

from __future__ import annotations

import json
import math
import os
import stat
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, BinaryIO

from ..files import write_whole
from .lines import Evaluation, Event, Line, RunLine, line_of, object_of, read_lines
from .ownership import Owner

# Device, inode, size and time of a file: while they are as we left them, so is the file.
_Mark = tuple[int, int, int, int]


class RecordFile:
    """The copy on the disk of a run's lines.

    Args:
        path: where it is. A link is followed and stays one.
        goes_on: whether the run still goes on, see `Owner`.

    Attributes:
        written: how many of the run's lines are known to be in the file.
    """

    def __init__(self, path: Path, goes_on: Callable[[], bool] | None = None) -> None:
        self.path = path
        self.written = 0
        self._owner = Owner(path, goes_on)
        # None where the last write failed: then the file is read and compared.
        self._mark: _Mark | None = None
        self._ours = False
        self._befallen: str | None = None

    def claim(self, *, grace: float | None = None) -> None:
        """Own what is there, or raise `Taken`; make the folder where there is none."""
        _target(self.path).parent.mkdir(parents=True, exist_ok=True)
        self._owner.take(grace=grace)

    def moved_to(self, path: Path) -> None:
        """The file has been renamed; it is the same one."""
        self.path = self._owner.path = path

    def release(self) -> None:
        """Give the file up for other runs."""
        self._owner.release()

    def read(self) -> list[Line]:
        """The lines that an earlier run has left there; none where there is no file, but perhaps a folder or a pipe.

        Raises:
            ValueError: it is damaged.
            OSError: it cannot be read.
        """
        return read_lines(self.path) if self.path.is_file() else []

    def aside(self) -> list[Path]:
        """Files of earlier runs that were moved aside, the oldest first."""
        target = _target(self.path)
        found = target.parent.glob(f"*{target.suffix}") if target.parent.is_dir() else ()
        numbered = {_number(file, target): file for file in found if file.is_file()}
        return [numbered[number] for number in sorted(number for number in numbered if number)]

    def move_aside(self) -> str | None:
        """Give what is there a name of its own, `<name>.1.jsonl` and so on; nothing of it is opened.

        Returns:
            that name, `None` where there was nothing.
        """
        place = _place(self.path)
        if not os.path.lexists(place):
            return None
        number = 1
        while os.path.lexists(aside := place.with_suffix(f".{number}{place.suffix}")):
            number += 1
        place.rename(aside)
        return aside.name

    def replace(self, lines: Sequence[Line]) -> None:
        """Put these lines in the place of those of an earlier run: a death leaves the old file or the new one.

        Args:
            lines: what was kept of the file, and one more.

        Raises:
            OSError: the disk refuses.
        """
        if self.path.read_bytes() == encode(lines[:-1]):
            # Nothing is dropped: a disk that is nearly full, or a folder that can't be changed, takes one line more.
            self._append(encode(lines[-1:]), lines)
            return
        try:
            write_whole(self.path, [encode(lines)])
        except ValueError as error:
            raise OSError(str(error)) from error
        self._owner.take(grace=0)
        self._wrote(lines, self.path.stat())

    def write(self, lines: Sequence[Line]) -> str | None:
        """Bring the file to these lines, which begin with those that it got before.

        Returns:
            What had befallen the file since, in words; `None` when it was as we left it.

        Raises:
            OSError: the disk refuses, or the place belongs to another run by now (`Taken`). What there is of the file
                is as it was before.
        """
        self._owner.take(grace=0)
        missing = self._missing(lines)
        _target(self.path).parent.mkdir(parents=True, exist_ok=True)
        self._append(missing, lines)
        befallen, self._befallen = self._befallen, None
        return befallen

    def _append(self, missing: bytes, lines: Sequence[Line]) -> None:
        """Add the bytes that the file lacks of these lines."""
        # Unbuffered: what a failed write left behind must not be retried when the file is closed.
        with open(self.path, "ab", buffering=0) as file:
            self._owner.take(grace=0)
            _put(file, missing, self.path)
            self._wrote(lines, os.fstat(file.fileno()))

    def _wrote(self, lines: Sequence[Line], found: os.stat_result) -> None:
        self.written, self._mark, self._ours = len(lines), _mark(found), True

    def _missing(self, lines: Sequence[Line]) -> bytes:
        """What the file lacks at its end; what is no beginning of ours is moved out of the way."""
        mark, self._mark = self._mark, None
        found = _found(self.path)
        if found is not None and mark == _mark(found):
            return encode(lines[self.written :])
        ours = encode(lines)
        there = self.path.read_bytes() if found is not None and stat.S_ISREG(found.st_mode) else None
        if there is not None and ours.startswith(there):
            written, self.written = self.written, there.count(b"\n")
            self._befall("was emptied or cut short", when=self.written < written)
            return ours[len(there) :]
        moved, self.written = self.move_aside(), 0
        self._befall(f"had something else in its place, which is {moved} now", when=moved is not None)
        self._befall("was gone", when=moved is None)
        return ours

    def _befall(self, what: str, *, when: bool) -> None:
        # The first stays until it can be told: what follows comes of it, or of a write that failed.
        if when and self._ours and self._befallen is None:
            self._befallen = what


def event(kind: str, step: int, **fields: Any) -> Evaluation | Event:
    """A line of the record, but its first, as a reader will see it."""
    line = line_of(plain({"kind": kind, "step": step, "time": now(), **fields}))
    assert not isinstance(line, RunLine)
    return line


def now() -> str:
    """The time as the record's lines have it."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def plain(value: Any) -> Any:
    """`value` in strict JSON terms: NaN and infinities are None at every depth, NumPy becomes lists and numbers.

    Raises:
        TypeError: the value, or one inside it, has no JSON form.
    """
    # Most of a line: a dozen numbers a question.
    if type(value) is float:
        return value if math.isfinite(value) else None
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        # One that is too large for a float counts as infinite.
        return value if abs(value) <= sys.float_info.max else None
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(f"the record cannot hold a {type(value).__name__}: {value!r:.80}")


def encode(lines: Sequence[Line]) -> bytes:
    """The lines as they stand in the file.

    ASCII only: a lone surrogate in a scraped answer has no UTF-8 form, and no line break can hide in a string.
    """
    objects = (object_of(line) for line in lines)
    return b"".join(json.dumps(one, allow_nan=False, separators=(",", ":")).encode() + b"\n" for one in objects)


def _put(file: BinaryIO, data: bytes, path: Path) -> None:
    """Append all of `data`, or nothing."""
    end = file.seek(0, os.SEEK_END)
    try:
        while data:
            # After a part the next try tells why there is no more.
            if not (taken := file.write(data)):
                raise OSError(f"{path}: the disk takes nothing more")
            data = data[taken:]
        os.fsync(file.fileno())
    except OSError:
        file.truncate(end)
        raise


def _mark(found: os.stat_result) -> _Mark:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _found(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None


def _target(path: Path) -> Path:
    """The file itself, links followed, there or not."""
    return Path(os.path.realpath(path))


def _place(path: Path) -> Path:
    """What to rename for the name to be free: the file that a link leads to, there or not, else what bears the name."""
    target = _target(path)
    return path if os.path.lexists(target) and not target.is_file() else target


def _number(file: Path, target: Path) -> int | None:
    """Of `hre.3.jsonl`, moved aside for `hre.jsonl`, 3."""
    stem, _, number = file.stem.rpartition(".")
    return int(number) if stem == target.stem and number.isdecimal() else None
