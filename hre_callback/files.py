"""Files that are written whole or not at all, and never in place of something else."""

from __future__ import annotations

import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

Chunks = Iterable[bytes]


def check_output(
    path: str | Path,
    *,
    inputs: Iterable[str | Path | None] = (),
    outputs: Iterable[str | Path | None] = (),
    derived: bool = False,
) -> None:
    """Find out, before the work begins, whether a file may and can be written to `path`.

    Args:
        path (`str` or `Path`): the file. A link to a file stands for that file.
        inputs (`Iterable`, *optional*): what the command reads; no file of these, nor one inside a folder of these, is
            replaced. What does not exist (a hub id), and None, is passed over.
        outputs (`Iterable`, *optional*): what the same command writes besides.
        derived (`bool`, *optional*, defaults to `False`): nobody typed this name, it was made from another one: a link,
            which leads to who knows where, is refused.

    Raises:
        ValueError: one sentence that names `path` and says what stands against it.
    """
    path = Path(path)
    target = _file_at(path)
    if derived and path.is_symlink():
        raise ValueError(f"{path} is a link to {os.readlink(path)}; give that name, if it is to be written")
    for given in outputs:
        if given is not None and _same(target, Path(given)):
            raise ValueError(f"{path} and {given} are one file; two outputs need two names")
    for given in inputs:
        if given is not None:
            _check_input(path, target, Path(given))
    _try_folder(path, target.parent)


def check_output_folder(path: str | Path) -> None:
    """The same for a folder that is to be filled, and need not exist yet.

    Raises:
        ValueError: there is something else of that name, or nothing can be written there.
    """
    path = Path(path)
    mode = _mode(path)
    if mode is not None and not stat.S_ISDIR(mode):
        raise ValueError(f"{path} is {_kind(mode)}, expected a folder or a new name")
    _try_folder(path, Path(os.path.realpath(path)))


def check_new_folder(path: str | Path) -> None:
    """The same for a folder that must not exist yet.

    Raises:
        ValueError: there is something of that name, a link to nowhere too, or nothing can be written there.
    """
    path = Path(path)
    if _mode(path) is not None or os.path.lexists(path):
        raise ValueError(f"{path} is there already, and is not replaced; expected a new name")
    _try_folder(path, Path(os.path.realpath(path.parent)))


def nearest_folder(path: Path) -> Path:
    """The folder above `path` that is there: on the disk that `path` will be on."""
    return next(one for one in Path(os.path.realpath(path)).parents if one.is_dir())


@contextmanager
def partial_folder(place: Path) -> Iterator[Path]:
    """A new folder in `place` to fill and to rename when it is whole; what is left under its first name goes."""
    partial = place / f".{secrets.token_hex(16)}.partial"
    partial.mkdir()
    try:
        yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def move_whole(partial: Path, path: Path) -> None:
    """Give a whole folder its name; its data is on the disk when this returns.

    Raises:
        ValueError: something of that name has come meanwhile.
    """
    for file in (one for one in partial.rglob("*") if one.is_file()):
        with file.open("rb") as opened:
            os.fsync(opened.fileno())
    if os.path.lexists(path):
        raise ValueError(f"{path} has come meanwhile, and is not replaced")
    with _folders([path.parent]), _named(path):
        partial.rename(path)


def write_whole(path: Path, chunks: Chunks) -> None:
    """Write `chunks` one after the other; a crash or a kill leaves the old file or the new one, never half of it.

    Missing folders are made. The data is on the disk when this returns. A link is followed and stays a link.

    Raises:
        ValueError: `path` is a folder, a device, a pipe or a socket.
    """
    write_together([(path, chunks)])


def write_together(files: Sequence[tuple[Path, Chunks]]) -> None:
    """Write several files: all of them, or none when one fails. Otherwise as `write_whole`."""
    targets = [_file_at(path) for path, _ in files]
    with _folders(target.parent for target in targets):
        partials: list[Path] = []
        try:
            for target, (_, chunks) in zip(targets, files, strict=True):
                # In the same folder: a rename cannot cross disks. A name that nobody can have prepared a link for, and
                # short: the longest name that a folder takes is taken here too.
                partial = target.with_name(f".{secrets.token_hex(16)}.partial")
                with _named(target):
                    _write_new(partial, chunks, partials, keep_mode_of=target)
            for partial, target in zip(partials, targets, strict=True):
                with _named(target):
                    os.replace(partial, target)
        finally:
            for partial in partials:
                partial.unlink(missing_ok=True)


def _write_new(path: Path, chunks: Chunks, made: list[Path], *, keep_mode_of: Path) -> None:
    # Mode x: never a file or link that is there already. The system's umask gives the permissions of a new file.
    with path.open("xb") as file:
        made.append(path)
        old = _mode(keep_mode_of)
        if old is not None:
            path.chmod(stat.S_IMODE(old))
        file.writelines(chunks)
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def _named(target: Path) -> Iterator[None]:
    """An error of the disk names the file that was to be, not the partial one, or none at all."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(target)) from error


@contextmanager
def _folders(folders: Iterable[Path]) -> Iterator[None]:
    """Make the folders; those that were made go again when what follows fails."""
    made: list[Path] = []
    try:
        for folder in folders:
            missing = [one for one in (folder, *folder.parents) if not one.exists()]
            folder.mkdir(parents=True, exist_ok=True)
            made += reversed(missing)
        yield
    except BaseException:
        for folder in reversed(made):
            # Somebody else's file may lie in it by now: then it stays.
            with suppress(OSError):
                folder.rmdir()
        raise


def _file_at(path: Path) -> Path:
    """The file that `path` stands for, links followed; ValueError where no ordinary file can be written."""
    mode = _mode(path)
    if mode is not None and not stat.S_ISREG(mode):
        raise ValueError(f"{path} is {_kind(mode)}, expected a file or a new name")
    if mode is not None and not os.access(path, os.W_OK):
        raise ValueError(f"{path} is there already and read-only")
    if not path.name:
        raise ValueError(f"{str(path)!r} is no name of a file")
    return Path(os.path.realpath(path))


def _mode(path: Path) -> int | None:
    """Kind and permissions of what is there, None where nothing is; a name that no file can have is a ValueError."""
    try:
        return path.stat().st_mode
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ValueError(f"{path}: cannot be written: {reason}") from error


def _kind(mode: int) -> str:
    kinds = (
        (stat.S_ISREG, "a file"),
        (stat.S_ISDIR, "a folder"),
        (stat.S_ISFIFO, "a pipe"),
        (stat.S_ISSOCK, "a socket"),
    )
    return next((name for test, name in kinds if test(mode)), "a device")


def _same(target: Path, other: Path) -> bool:
    """Whether both names lead to one file, there or not: by link, hard link, or another way of writing the path."""
    resolved = Path(os.path.realpath(other))
    if os.path.normcase(target) == os.path.normcase(resolved):
        return True
    return target.exists() and resolved.exists() and target.samefile(resolved)


def _check_input(path: Path, target: Path, given: Path) -> None:
    try:
        there = given.exists()
    except (OSError, ValueError):
        # No file can have this name, so none is in danger; whoever reads the input says what is wrong with it.
        return
    if not there:
        return
    if _same(target, given):
        raise ValueError(f"{path} is {given}, which this command reads; it would be lost: choose another name")
    # As it is named and as it is resolved: a hub's cache holds its files as links.
    named = Path(os.path.realpath(path.parent)) / path.name
    folder = Path(os.path.realpath(given))
    if target.exists() and (folder in named.parents or folder in target.parents):
        raise ValueError(f"{path} lies in {given}, which this command reads; it would be lost: choose another name")


def _try_folder(path: Path, folder: Path) -> None:
    """Write a file without a name where `path` is to be, or in the nearest folder above that is there."""
    nearest = next(one for one in (folder, *folder.parents) if os.path.lexists(one))
    try:
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        raise ValueError(f"{path}: cannot be written: {nearest}: {error.strerror}") from error
