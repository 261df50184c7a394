"""One writer for one file: a lock of the operating system on the file itself, which dies with the process.

Nothing lies beside the file, so nothing stays behind, whatever way the process ends.
"""

from __future__ import annotations

import os
import stat
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

try:
    import fcntl
except ImportError:
    # Not a POSIX system: only the owners of this process are known.
    fcntl = None  # type: ignore[assignment]

# Seconds that a process which was killed gets to be gone.
_GRACE = 3.0
_owners: weakref.WeakSet[Owner] = weakref.WeakSet()


class Taken(OSError):
    """The file belongs to another run."""


class Owner:
    """That of a file, from `take` to `release`.

    Args:
        path: the file.
        goes_on: whether the run that it belongs to still goes on. Where it does not, an owner of this process may be
            succeeded: a run that died of an exception leaves its objects behind.
    """

    def __init__(self, path: Path, goes_on: Callable[[], bool] | None = None) -> None:
        self.path = path
        self._goes_on = goes_on or (lambda: False)
        self._file: int | None = None
        self._inode: tuple[int, int] | None = None
        _owners.add(self)

    def take(self, *, grace: float | None = None) -> None:
        """Own the file that is at the path now; where there is none, nothing happens.

        Raises:
            Taken: another run has it, in this process or another, and still has when `grace` seconds are over
                (by default as long as a killed process takes to be gone).
        """
        until = time.monotonic() + (_GRACE if grace is None else grace)
        while (inode := _inode(self.path)) is not None and inode != self._inode:
            self._succeed(inode)
            if self._lock(inode) or time.monotonic() > until:
                break
            time.sleep(0.1)
        else:
            return
        if self._inode != inode:
            raise Taken(f"{self.path} belongs to another run that still goes on, in another process")

    def release(self) -> None:
        """Give the file up. May be called again."""
        if self._file is not None:
            with suppress(OSError):
                os.close(self._file)
        self._file = self._inode = None

    def __del__(self) -> None:
        self.release()

    def _succeed(self, inode: tuple[int, int]) -> None:
        """End what owners of this process have whose run has ended."""
        for other in [one for one in _owners if one is not self and one._inode == inode]:
            if other._goes_on():
                raise Taken(f"{self.path} belongs to another run that still goes on, in this process")
            other.release()

    def _lock(self, inode: tuple[int, int]) -> bool:
        """Lock the file, if it is still this one that is there when we have it."""
        file = _open(self.path)
        if not _locked(file) or _inode(self.path) != inode:
            os.close(file)
            return False
        self.release()
        self._file, self._inode = file, inode
        return True


def _inode(path: Path) -> tuple[int, int] | None:
    """Which ordinary file is there, None for anything else."""
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if stat.S_ISREG(found.st_mode) else None


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR)
    except PermissionError:
        return os.open(path, os.O_RDONLY)


def _locked(file: int) -> bool:
    """Whether the lock is ours; where the file system has no locks, it counts as ours."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _forget() -> None:
    """A forked child (a data loader's worker) shares its parent's locks and would hold them when the parent is dead."""
    for owner in list(_owners):
        owner.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
