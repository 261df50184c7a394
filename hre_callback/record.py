"""The run's own record: one strict-JSON object a line, appended as things happen, readable after any kind of death.

The file does not depend on any tracker. It starts with a `run` line; then come `evaluation` lines and events
(`skipped`, `stop`, `save`, `resumed`, `finished`, ...) in the order in which they happened.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .files import write_whole

if TYPE_CHECKING:
    from .questions import Question

VERSION = 1
Line = dict[str, Any]
_EXCERPT = 300  # characters of a text that the record keeps
_PER_QUESTION = (
    "loglikelihoods",
    "pearson",
)  # lists of an evaluation line, in the order of the run's questions
_RUN_PREFIX = b'{"kind":"run",'


def plain(value: Any) -> Any:
    """`value` in strict JSON terms: NaN and infinities are None at every depth, NumPy becomes lists and numbers.

    Raises:
        TypeError: the value, or one inside it, has no JSON form.
    """
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(f"the record cannot hold a {type(value).__name__}: {value!r:.80}")


def describe_questions(questions: Iterable[Question]) -> list[Line]:
    """The `questions` of a run line: who they are, an excerpt to recognise them by, votes and answer lengths."""
    described = []
    for question in questions:
        best = max(question.answers, key=lambda answer: answer.votes)
        described.append(
            {
                "id": question.id,
                "topic": question.topic,
                "cluster": question.cluster,
                "question": question.question[:_EXCERPT],
                "best_answer": best.text[:_EXCERPT],
                "votes": [answer.votes for answer in question.answers],
                "lengths": [len(answer.text) for answer in question.answers],
            }
        )
    return described


@dataclass(frozen=True)
class Record:
    """What a record says: the run line, the evaluations by rising step, all other events in order."""

    run: Line
    evaluations: list[Line] = field(default_factory=list)
    events: list[Line] = field(default_factory=list)

    def pearson_matrix(self) -> tuple[list[int], NDArray[np.float64]]:
        """Steps of the looks, and per-question Pearson r of shape (looks, questions); NaN where undefined."""
        matrix = np.full((len(self.evaluations), len(self.run["questions"])), np.nan)
        for row, evaluation in zip(matrix, self.evaluations, strict=True):
            row[:] = [np.nan if r is None else r for r in evaluation["pearson"]]
        return [evaluation["step"] for evaluation in self.evaluations], matrix


class RunRecord:
    """The record of the run that is going on.

    Every rank keeps the same lines in memory, one rank writes them. `start` reads files, so only the writer
    should call it; it then sends `lines` to the other ranks, which `adopt` them: one source of truth, also
    where the ranks share no disk.

    Args:
        path (`str` or `Path`): the file, `<output_dir>/<name>.jsonl`.
        writer (`bool`, *optional*, defaults to `True`): whether this process writes (rank 0). The others never
            touch the file.
    """

    def __init__(self, path: str | Path, *, writer: bool = True) -> None:
        self.path = Path(path)
        self.writer = writer
        self.lines: list[Line] = []
        self._unwritten: list[Line] = []  # what the disk has refused so far

    @property
    def record(self) -> Record:
        """The lines so far, in the form that `read_record` gives for the file."""
        return _sort_out(self.lines)

    def start(self, run: Mapping[str, Any], *, identity: Mapping[str, Any], resume_step: int = 0) -> None:
        """Open the record of a new run, or take up the old one.

        A new run never overwrites: a file of an earlier one moves aside to `<name>.1.jsonl` and so on. A run
        resumed at step k keeps everything up to k and drops what the dead run did after it, so that the
        evaluations come out as those of an uninterrupted run.

        Args:
            run (`Mapping`): fields of the run line, with `fingerprint` and `questions`.
            identity (`Mapping`): the settings that scores depend on (`HREConfig.identity()`).
            resume_step (`int`, *optional*, defaults to `0`): global step of the checkpoint that is resumed.

        Raises:
            ValueError: the record to resume is damaged, or of other questions or another way of scoring.
        """
        head = {"kind": "run", "version": VERSION, **run, "identity": identity, "started": _now()}
        self.lines = [plain(head)]
        if not self.writer:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        old = _parse(self.path) if resume_step and self.path.exists() else []
        if old:
            self._take_up(old, resume_step)
            return
        _move_aside(self.path)
        self._write(self.lines)
        if resume_step:
            reason = f"no record of the steps before was found at {self.path.name}: it starts here"
            self.append("resumed", resume_step, reason=reason)

    def adopt(self, lines: Sequence[Line]) -> None:
        """Take the writer's `lines` as this rank's memory."""
        self.lines = list(lines)

    def append(self, kind: str, step: int, **fields: Any) -> Line:
        """Add one line; it is on the disk when this returns. Returns it as a reader will see it.

        Raises:
            ValueError: an evaluation whose step does not come after that of the last one.
            OSError: the disk refused (full); the file is left as it was before, the line stays in memory and
                is written with the next one.
        """
        evaluated = [line["step"] for line in self.lines if line["kind"] == "evaluation"]
        if kind == "evaluation" and evaluated and step <= evaluated[-1]:
            raise ValueError(
                f"step {step} cannot be recorded: step {evaluated[-1]} has been evaluated already"
            )
        line: Line = plain({"kind": kind, "step": step, "time": _now(), **fields})
        self.lines.append(line)
        if self.writer:
            self._unwritten.append(line)
            self._write(self._unwritten)
            self._unwritten = []
        return line

    def evaluated(self, step: int) -> bool:
        """Whether the record holds an evaluation of this step."""
        return any(line["kind"] == "evaluation" and line["step"] == step for line in self.lines)

    def _take_up(self, old: list[Line], step: int) -> None:
        new = self.lines[0]
        _check_same(old[0], new, self.path)
        order = _order(old[0], new)
        kept = [_reorder(line, order) for line in old[1:] if line["step"] <= step]
        changed = {
            key: value
            for key, value in new.items()
            if key not in ("started", "questions", "rounding") and old[0].get(key) != value
        }
        event = {
            "kind": "resumed",
            "step": step,
            "time": _now(),
            "dropped": len(old) - 1 - len(kept),
            "changed": changed,
        }
        self.lines = [{**old[0], "questions": new["questions"]}, *kept, event]
        write_whole(self.path, [_encode(self.lines)])

    def _write(self, lines: Sequence[Line]) -> None:
        # Unbuffered: what a failed write left behind must not be retried when the file is closed.
        data = _encode(lines)
        with open(self.path, "ab", buffering=0) as file:
            end = file.seek(0, os.SEEK_END)
            try:
                if file.write(data) != len(data):
                    raise OSError(f"{self.path}: the disk took only part of a line")
                os.fsync(file.fileno())
            except OSError:
                file.truncate(end)
                raise


def read_record(path: str | Path) -> Record:
    """Read a record from its file, or from the run's folder when that holds exactly one.

    A last line cut short by a kill is dropped; damage anywhere else is an error.

    Raises:
        ValueError: there is no record, there are several, or a line (named) is not what it should be.
    """
    file = _find(Path(path))
    lines = _parse(file)
    if not lines:
        raise ValueError(f"{file}: no complete line: the run died before its record began")
    return _sort_out(lines)


def is_record(path: Path) -> bool:
    """Whether a file is a run's record, or a folder holds one."""
    if path.is_dir():
        return any(_begins(file) for file in path.glob("*.jsonl"))
    return path.is_file() and _begins(path)


def most_moved(record: Record, limit: int = 50) -> tuple[list[str], list[list[Any]]]:
    """The questions whose correlation changed most between the first and the last evaluation.

    Returns:
        column names, and at most `limit` rows, largest change first. Scores are nats per character.
    """
    columns = ["id", "topic", "question", "best_answer", "votes"]
    columns += ["scores_start", "scores_now", "pearson_start", "pearson_now", "shift"]
    if len(record.evaluations) < 2:
        return columns, []
    first, last = record.evaluations[0], record.evaluations[-1]
    rows: list[list[Any]] = []
    for i, question in enumerate(record.run["questions"]):
        before, now = first["pearson"][i], last["pearson"][i]
        if before is None or now is None:
            continue
        scores = [_per_character(look["loglikelihoods"][i], question["lengths"]) for look in (first, last)]
        votes = ", ".join(map(str, question["votes"]))
        known = [question[key] for key in ("id", "topic", "question", "best_answer")]
        rows.append([*known, votes, *scores, before, now, now - before])
    rows.sort(key=lambda row: (-abs(row[-1]), row[0]))
    return columns, rows[:limit]


def _per_character(loglikelihoods: Sequence[float | None], lengths: Sequence[int]) -> str:
    pairs = zip(loglikelihoods, lengths, strict=True)
    return ", ".join("-" if ll is None else f"{ll / max(length, 1):.3f}" for ll, length in pairs)


def _find(path: Path) -> Path:
    if not path.is_dir():
        if not path.is_file():
            raise ValueError(f"{path}: no such record")
        return path
    live = (
        file for file in path.glob("*.jsonl") if not Path(file.stem).suffix[1:].isdigit()
    )  # not hre.1.jsonl
    found = sorted(file for file in live if _begins(file))
    if not found:
        raise ValueError(f"{path}: no record (a .jsonl file that begins with a run line) in this folder")
    if len(found) > 1:
        raise ValueError(f"{path}: several records, name one: {', '.join(file.name for file in found)}")
    return found[0]


def _begins(file: Path) -> bool:
    with open(file, "rb") as opened:
        return opened.read(len(_RUN_PREFIX)) == _RUN_PREFIX


def _parse(path: Path) -> list[Line]:
    rows = path.read_bytes().split(b"\n")
    lines: list[Line] = []
    for number, row in enumerate(rows, start=1):
        try:
            line = json.loads(row, parse_constant=_refuse)
        except ValueError as error:  # bad JSON and bad UTF-8
            if number == len(rows):  # what follows the last newline: nothing, or a line cut short by a kill
                break
            raise ValueError(f"{path}, line {number}: not a line of strict JSON ({error})") from error
        _check_line(line, lines, f"{path}, line {number}")
        lines.append(line)
    return lines


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


def _check_line(line: Any, before: Sequence[Line], where: str) -> None:
    kind = line.get("kind") if isinstance(line, dict) else None
    if not isinstance(kind, str):
        raise ValueError(f"{where}: expected an object with a 'kind', found {line!r:.80}")
    if (kind == "run") != (not before):
        raise ValueError(f"{where}: expected {'an event' if before else 'the run line'}, found kind {kind!r}")
    needed = ("version", "fingerprint", "questions") if kind == "run" else ("step",)
    missing = [key for key in needed if key not in line]
    if missing:
        raise ValueError(f"{where}: the {kind} line lacks {', '.join(missing)}")
    if kind == "run" and line["version"] > VERSION:
        raise ValueError(
            f"{where}: version {line['version']}; this package reads up to {VERSION}: upgrade it"
        )
    for key in _PER_QUESTION if kind == "evaluation" else ():
        found, expected = len(line.get(key) or ()), len(before[0]["questions"])
        if found != expected:
            raise ValueError(f"{where}: {key!r} has {found} values, the run has {expected} questions")


def _sort_out(lines: Sequence[Line]) -> Record:
    evaluations = [line for line in lines[1:] if line["kind"] == "evaluation"]
    return Record(lines[0], evaluations, [line for line in lines[1:] if line["kind"] != "evaluation"])


def _check_same(old: Line, new: Line, path: Path) -> None:
    if old["fingerprint"] == new["fingerprint"] and old.get("identity") == new["identity"]:
        return
    raise ValueError(
        f"{path} cannot be continued: its scores are not comparable with this run's. "
        f"The record has questions {old['fingerprint']} and scoring {old.get('identity')}, "
        f"this run has questions {new['fingerprint']} and scoring {new['identity']}. "
        "Resume with the same questions and settings, or give HREConfig another `name` (or move the file away) "
        "to start a new record."
    )


def _order(old: Line, new: Line) -> list[int]:
    """Where each of the new run's questions stands in the old record: the set may come in another order."""
    at = {question["id"]: i for i, question in enumerate(old["questions"])}
    return [at[question["id"]] for question in new["questions"]]


def _reorder(line: Line, order: Sequence[int]) -> Line:
    if line["kind"] != "evaluation":
        return line
    return {**line, **{key: [line[key][i] for i in order] for key in _PER_QUESTION}}


def _move_aside(path: Path) -> None:
    if not path.exists():
        return
    number = 1
    while (aside := path.with_suffix(f".{number}{path.suffix}")).exists():
        number += 1
    path.rename(aside)


def _encode(lines: Sequence[Line]) -> bytes:
    # ASCII only: a lone surrogate in a scraped answer has no UTF-8 form, and no line break can hide in a string.
    return b"".join(
        json.dumps(line, allow_nan=False, separators=(",", ":")).encode() + b"\n" for line in lines
    )


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
