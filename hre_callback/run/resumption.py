"""What a run that is resumed finds of its own past on the disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..config import other_rendering
from .keys import score_of
from .lines import Evaluation, Event, Line, RunLine, by_answer, object_of, read_lines
from .record_file import RecordFile, event

# Steps that a sentence names.
_NAMED = 5
# Fields of the run line that belong to one start of a run, not to its settings.
_PASSING = ("started", "questions", "rounding", "proof")


@dataclass(frozen=True)
class Past:
    """The lines that the resumed run goes on from: a run line, what was kept, and the event that tells of it.

    Attributes:
        in_place: whether they come from the file that the run writes; else what is there is another run's.
    """

    lines: list[Line]
    in_place: bool


def find_past(file: RecordFile, new: RunLine, step: int, measured: Mapping[int, float]) -> Past:
    """Look for the record of the steps up to `step`.

    It is the run's file, unless one that was moved aside (the run was started anew by mistake, and now it is resumed
    after all) has more of the looks that the checkpoint remembers.

    Args:
        new: run line of the resumed run.
        measured: scores by step that the checkpoint remembers.

    Raises:
        ValueError: the file is damaged, or its scores do not compare with this run's.
        OSError: the file cannot be read.
    """
    measured = {at: score for at, score in measured.items() if at <= step}
    lines, source = file.read(), file.path
    known = _known(lines, new, measured)
    for aside in reversed(file.aside()) if known < len(measured) else ():
        other = _readable(aside)
        if (more := _known(other, new, measured)) > known:
            lines, source, known = other, aside, more
    if not lines:
        return Past([new, event("resumed", step, **_told(measured, [], False, file.path, file.path))], False)
    old = lines[0]
    assert isinstance(old, RunLine)
    check_same(old, new, source)
    kept, changed = _kept(lines, old, new, step), _changed(old, new)
    told = _told(measured, kept, True, file.path, source)
    resumed = event("resumed", step, dropped=len(lines) - 1 - len(kept), changed=changed, **told)
    run = replace(old, questions=new.questions, directions=new.directions)
    return Past([run, *kept, resumed], source == file.path)


def joined(past: Sequence[Line], since: Sequence[Line]) -> list[Line]:
    """The past that was found late, when the disk could be read again, before what has been measured since."""
    last = max((line.step for line in past if isinstance(line, Evaluation)), default=-1)
    return [*past, *(line for line in since if not isinstance(line, Evaluation) or line.step > last)]


def check_same(old: RunLine, new: RunLine, path: Path) -> None:
    """Refuse to join scores that do not compare.

    Raises:
        ValueError: names what differs.
    """
    if _same(old, new):
        return
    raise ValueError(
        f"{path} cannot be continued: its scores are not comparable with this run's. "
        f"The record has questions {old.fingerprint} and scoring {old.identity}, "
        f"this run has questions {new.fingerprint} and scoring {new.identity}."
        f"{other_rendering(old.identity, new.identity)} "
        "Resume with the same questions and settings, or give HREConfig another `name` (or move the file away) "
        "to start a new record."
    )


def _same(old: Line, new: RunLine) -> bool:
    return isinstance(old, RunLine) and (old.fingerprint, old.identity) == (new.fingerprint, new.identity)


def _readable(path: Path) -> list[Line]:
    """The lines of a file that may be anything."""
    try:
        return read_lines(path)
    except (OSError, ValueError):
        return []


def _known(lines: Sequence[Line], new: RunLine, measured: Mapping[int, float]) -> int:
    """How many of the looks that the checkpoint remembers stand in a record, with their scores."""
    if not lines or not _same(lines[0], new):
        return 0
    looks = [line for line in lines if isinstance(line, Evaluation) and line.step in measured]
    return sum(measured[look.step] == score_of(look, new.name) for look in looks)


def _kept(lines: Sequence[Line], old: RunLine, new: RunLine, step: int) -> list[Line]:
    """The lines up to `step` with the new run's order of questions: the set may come in another one."""
    at = {question.id: i for i, question in enumerate(old.questions)}
    order = [at[question.id] for question in new.questions]
    return [_reorder(line, order) for line in lines if not isinstance(line, RunLine) and line.step <= step]


def _reorder(line: Evaluation | Event, order: Sequence[int]) -> Evaluation | Event:
    if isinstance(line, Event):
        return line
    lists: dict[str, Any] = {key: [rows[i] for i in order] for key, rows in by_answer(line).items() if rows is not None}
    return replace(line, pearson=[line.pearson[i] for i in order], **lists)


def _changed(old: RunLine, new: RunLine) -> dict[str, Any]:
    """What the new run sets otherwise."""
    before = object_of(old)
    return {key: value for key, value in object_of(new).items() if key not in _PASSING and before.get(key) != value}


def _told(measured: Mapping[int, float], kept: Sequence[Line], found: bool, path: Path, source: Path) -> dict[str, Any]:
    """What a person must hear of the past: looks that are nowhere, a start that has moved, another file."""
    looks = {line.step for line in kept if isinstance(line, Evaluation)}
    lost = sorted(measured.keys() - looks)
    said = []
    if source != path:
        said.append(f"the looks before stand in {source.name}, moved aside when this run was started anew")
    if not found:
        said.append(
            f"no record of the steps before was found at {path.name}: it starts here, and so do all changes that it "
            "tells (to go on from the old record, put it there and resume again)"
        )
    if lost:
        few = ", ".join(map(str, lost[:_NAMED])) + (", …" if len(lost) > _NAMED else "")
        said.append(f"the checkpoint remembers looks that are in no record (steps {few})")
    if looks and lost and lost[0] < min(looks):
        said.append(f"changes are counted from step {min(looks)}")
    told: dict[str, Any] = {"lost": lost} if lost else {}
    return told | ({"reason": "; ".join(said)} if said else {})
