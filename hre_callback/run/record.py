"""The run's own record: one strict-JSON object a line, appended as things happen, readable after any kind of death.

The file does not depend on any tracker. It starts with a `run` line; then come `evaluation` lines and events
(`skipped`, `stop`, `save`, `resumed`, `finished`, ...) in the order in which they happened.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..plain_text import plain_logger
from ..stats.correlation import normalised
from .lines import FORMAT, Evaluation, Event, Line, RunLine, RunQuestion, line_of, read_lines
from .ownership import Taken
from .record_file import RecordFile, event, now
from .record_file import plain as plain
from .resumption import find_past, joined

logger = plain_logger(__name__)
# The record's folder below the checkpoints that `hre follow` scored; the underscore has `push_to_hub` pass over it.
BESIDE = "_hre"
_RUN_PREFIX = b'{"kind":"run",'


@dataclass(frozen=True)
class Record:
    """What a record says: the run line, the evaluations by rising step, all other events in order."""

    run: RunLine
    evaluations: list[Evaluation] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    def pearson_matrix(self) -> tuple[list[int], NDArray[np.float64]]:
        """Steps of the looks, and per-question Pearson r of shape (looks, questions); NaN where undefined."""
        matrix = np.full((len(self.evaluations), len(self.run.questions)), np.nan)
        for row, evaluation in zip(matrix, self.evaluations, strict=True):
            row[:] = [np.nan if r is None else r for r in evaluation.pearson]
        return [evaluation.step for evaluation in self.evaluations], matrix


class RunRecord:
    """The record of the run that is going on.

    Every rank keeps the same lines in memory, one rank writes them. `start` reads files, so only the writer
    should call it; it then sends `lines` to the other ranks, which `adopt` them: one source of truth, also
    where the ranks share no disk.

    Args:
        path (`str` or `Path`): the file, `<output_dir>/<name>.jsonl`.
        writer (`bool`, *optional*, defaults to `True`): whether this process writes (rank 0). The others never
            touch the file.
        goes_on (`Callable`, *optional*): whether the run still goes on. While it does, nobody else can start its
            record; once it does not, another run of this process can, though this object still lives.
    """

    def __init__(self, path: str | Path, *, writer: bool = True, goes_on: Callable[[], bool] | None = None) -> None:
        self.path = Path(path)
        self.writer = writer
        self.lines: list[Line] = []
        self._file = RecordFile(self.path, goes_on)
        self._resumed: tuple[int, Mapping[int, float]] | None = None
        self._continues = False
        self._opened = False
        self._mended = False

    @property
    def record(self) -> Record:
        """The lines so far, in the form that `read_record` gives for the file."""
        return _sort_out(self.lines)

    @property
    def unwritten(self) -> int:
        """How many evaluations are in memory alone."""
        return len(_evaluations(self.lines[self._file.written :]))

    def start(
        self,
        run: Mapping[str, Any],
        *,
        identity: Mapping[str, Any],
        resume_step: int = 0,
        measured: Mapping[int, float] | None = None,
    ) -> None:
        """Open the record of a new run, or take up the old one.

        A new run never overwrites: a file of an earlier one moves aside to `<name>.1.jsonl` and so on. A run
        resumed at step k keeps everything up to k and drops what the dead run did after it, so that the
        evaluations come out as those of an uninterrupted run. Where the same run was started anew by mistake in
        between, its looks are found in the file that was moved aside then.

        Args:
            run (`Mapping`): fields of the run line, with `fingerprint` and `questions`.
            identity (`Mapping`): the settings that scores depend on (`HREConfig.identity()`).
            resume_step (`int`, *optional*, defaults to `0`): global step of the checkpoint that is resumed.
            measured (`Mapping`, *optional*): scores by step that this checkpoint remembers.

        Raises:
            ValueError: the record to resume is damaged, or of other questions or another way of scoring; or another
                run that still goes on writes this file.
            OSError: the disk refuses. The lines stay in memory, and the next one tries all of it again.
        """
        head = {"kind": "run", "version": FORMAT, **run, "identity": identity, "started": now()}
        self.lines = [line_of(plain(head))]
        self._resumed = (resume_step, measured or {}) if resume_step else None
        if not self.writer:
            return
        try:
            self._file.claim()
            self._open()
            self._write()
        except Taken as error:
            raise ValueError(
                f"{error}. A record has one writer: end that run, or give this one another output_dir or "
                "HREConfig(name=...)"
            ) from error

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
        looks = _evaluations(self.lines)
        if kind == "evaluation" and looks and step <= looks[-1].step:
            raise ValueError(f"step {step} cannot be recorded: step {looks[-1].step} has been evaluated already")
        line = event(kind, step, **fields)
        self.lines.append(line)
        if self.writer:
            if not self._opened:
                self._open_late()
            self._write()
        return line

    def moved_to(self, path: Path) -> None:
        """The file has been renamed, and goes on there."""
        self.path = path
        self._file.moved_to(path)

    def release(self) -> None:
        """Give the file up for other runs."""
        self._file.release()

    def evaluated(self, step: int) -> bool:
        """Whether the record holds an evaluation of this step."""
        return any(look.step == step for look in _evaluations(self.lines))

    def _write(self) -> None:
        """Bring the file to all of the lines.

        Where something had befallen it, that is told once, and stands there too.
        """
        befallen = self._file.write(self.lines)
        if befallen is None:
            return
        last = self.lines[-1]
        step = 0 if isinstance(last, RunLine) else last.step
        self.lines.append(event("mended", step, reason=f"the file {befallen}"))
        self._file.write(self.lines)
        if not self._mended:
            logger.warning(f"HRE's record {self.path} {befallen}; all of it has been written again (said once).")
        self._mended = True

    def _open(self) -> None:
        """Take up what an earlier run left, or move it aside. What the disk refuses here can be tried again."""
        if self._resumed is not None:
            past = find_past(self._file, self.record.run, *self._resumed)
            self.lines, self._continues = joined(past.lines, self.lines[1:]), past.in_place
            self._resumed = None
        if self._continues:
            self._file.replace(self.lines)
        else:
            self._file.move_aside()
        self._opened = True

    def _open_late(self) -> None:
        """The same while the run goes on, which a record that cannot be continued does not end any more."""
        self._file.claim(grace=0)
        try:
            self._open()
        except ValueError as error:
            assert self._resumed is not None
            self.lines.append(event("resumed", self._resumed[0], reason=f"{error} It starts here."))
            self._resumed = None
            self._open()


def read_record(path: str | Path, *, described: bool = False) -> Record:
    """Read a record from its file, or from the run's folder when that holds exactly one.

    A last line cut short by a kill is dropped; damage anywhere else is an error.

    Args:
        path (`str` or `Path`): the file or the folder.
        described (`bool`, *optional*, defaults to `False`): whether it must also say of each question what a report
            shows: topic, votes and lengths of its answers.

    Raises:
        ValueError: there is no record, there are several, or a line (named) is not what it should be.
    """
    file = find_record(Path(path))
    lines = read_lines(file, described=described)
    if not lines:
        raise ValueError(f"{file}: no complete line: the run died before its record began")
    return _sort_out(lines)


def is_record(path: Path) -> bool:
    """Whether a file is a run's record, or a folder holds one."""
    return bool(_begun(path)) if path.is_dir() else _begins(path)


def excerpts(question: RunQuestion) -> tuple[str, str]:
    """What is known of a question's text and of its best answer's; its id, and "", where the record has no texts."""
    return question.question or f"question {question.id}", question.best_answer


def vote(number: float) -> str:
    """Votes as people read them: counts whole, means and ratings to four digits."""
    return str(number) if isinstance(number, int) else f"{number:.4g}"


def answer_scores(record: Record, look: Evaluation, i: int) -> list[float | None]:
    """Scores of the answers of question `i` at an evaluation; None where an answer has none, or it can't be known.

    A look of an older record does not hold its divisors; they are taken to be the whole answers' characters where the
    run normalised by these.
    """
    loglikelihoods = look.loglikelihoods[i]
    divisors = look.divisors[i] if look.divisors else _old_divisors(record.run, i)
    if not loglikelihoods or divisors is None:
        return [None for _ in record.run.questions[i].votes]
    return plain(normalised(loglikelihoods, divisors))  # type: ignore[no-any-return]


def _old_divisors(run: RunLine, i: int) -> list[float] | None:
    normalization = run.config.get("normalization", "characters")
    return [float(n) for n in run.questions[i].lengths] if normalization == "characters" else None


def find_record(path: Path) -> Path:
    """The record's file: `path` itself, or the one record in the folder `path`, or else in its folder of `hre follow`.

    Raises:
        ValueError: there is none, or there are several.
    """
    if not path.is_dir():
        if not path.is_file():
            raise ValueError(f"{path}: no such record")
        return path
    # Not hre.1.jsonl, which has been moved aside.
    found = [file for file in _begun(path) if not Path(file.stem).suffix[1:].isdigit()]
    if not found:
        raise ValueError(f"{path}: no record (a .jsonl file that begins with a run line) in this folder")
    if len(found) > 1:
        raise ValueError(f"{path}: several records, name one: {', '.join(file.name for file in found)}")
    return found[0]


def _begun(folder: Path) -> list[Path]:
    """Records in a run's folder; where it has none of its own, those that `hre follow` made beside the checkpoints."""
    places = ([file for file in sorted(place.glob("*.jsonl")) if _begins(file)] for place in (folder, folder / BESIDE))
    return next((found for found in places if found), [])


def _begins(file: Path) -> bool:
    # A folder cannot be read, and a pipe would wait for its writer for ever.
    if not file.is_file():
        return False
    try:
        with open(file, "rb") as opened:
            return opened.read(len(_RUN_PREFIX)) == _RUN_PREFIX
    except PermissionError:
        # Somebody else's. Who names it is told so when it is read.
        return False


def _sort_out(lines: Sequence[Line]) -> Record:
    run = lines[0]
    assert isinstance(run, RunLine)
    return Record(run, _evaluations(lines), [line for line in lines if isinstance(line, Event)])


def _evaluations(lines: Iterable[Line]) -> list[Evaluation]:
    return [line for line in lines if isinstance(line, Evaluation)]
