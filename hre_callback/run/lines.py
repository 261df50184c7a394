"""What stands on a record's lines, typed: read once, checked once, at every depth, so that no reader has to guess.

A record comes from a disk, and perhaps from somebody else. A line that is read here has the types and sizes that
comparison, figures, page and terminal build on; anything else is one sentence with file, line and field. The type of a
field is its check (`line_checks`). Fields that are not known here are kept as they are: a later version may write more.

Format 2 says everything: a run line and an evaluation have every field, null where it is not known; one that came
`later` may be absent from older records, for its default. In format 1 any field might be absent, or null, for its
default, which is that of the dataclass; a run that is resumed goes on in format 2.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar

from ..config import NUMERIC_OPTIONS, check_option
from .line_checks import (
    an_object,
    check_of,
    correlation,
    divisor,
    fail,
    have,
    json_of,
    later,
    list_of,
    made,
    needed_of,
    number,
    said_of,
    text,
    whole,
)

FORMAT = 2
# What a report shows of a question.
_SHOWN = ("topic", "votes", "lengths")


def _name(value: Any, where: str) -> None:
    """It becomes part of keys and of file names."""
    check_option("name", value, where)


def _config(value: Any, where: str) -> None:
    """Numbers and switches as `HREConfig` has them; a word may be one of a later version."""
    an_object(value, where)
    for key, item in value.items():
        if key in NUMERIC_OPTIONS:
            check_option(key, item, f"{where}.{key}")
        elif key == "name":
            _name(item, f"{where}.{key}")
        elif key in ("normalization", "stop_rule"):
            text(item, f"{where}.{key}")


def _questions(value: Any, where: str) -> None:
    list_of(_question, 1)(value, where)
    ids = [question["id"] for question in value]
    if len(set(ids)) < len(ids):
        (again, _), *_ = Counter(ids).most_common(1)
        raise ValueError(f"{where}: found the id {again!r:.60} twice, expected each question once")


def _question(value: Any, where: str) -> None:
    check_of(RunQuestion)(value, where)
    if {"votes", "lengths"} <= value.keys() and len(value["lengths"]) != len(value["votes"]):
        fail(f"{where}.lengths", value["lengths"], f"{len(value['votes'])} values, one an answer")


Name = Annotated[str, _name]
Count = Annotated[int, whole(1)]
Correlation = Annotated[float, correlation]
Divisor = Annotated[float, divisor]
Config = Annotated[dict[str, Any], _config]
Json = dict[str, Any]


@dataclass(frozen=True)
class RunQuestion:
    """A question in the run line: an excerpt to know it by, the votes and the characters of its answers.

    Attributes:
        judge: who gave the votes, where it was not people.
    """

    id: str
    topic: str = ""
    cluster: str | None = None
    question: str = ""
    best_answer: str = ""
    votes: Annotated[list[float], list_of(number, 2)] = field(default_factory=list)
    lengths: Annotated[list[int], list_of(whole(0), 2)] = field(default_factory=list)
    judge: str | None = None
    more: Json = field(default_factory=dict)


@dataclass(frozen=True)
class RunLine:
    """The first line of a record: what is the same for all of its evaluations.

    Attributes:
        version: of the record's format.
        identity: the settings that scores depend on, see `HREConfig.identity`.
        rewards: explicit rewards of every answer by reward function; `None` where that was not recorded.
        directions: which way is better, for training signals of the user's.
        human_ceiling_from, human_ceiling_n: where it comes from, or why there is none, see `stats.ceiling.Ceiling`.
        human_hre: people's own HRE, with its interval, questions and people, see `stats.human_hre.HumanHRE`.
        more: what a later version has written.
    """

    kind: ClassVar[str] = "run"
    version: Count
    name: Name = "hre"
    fingerprint: str = field(kw_only=True)
    identity: Json | None = None
    config: Config = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    model: str | None = None
    trainer: str | None = None
    run_name: str | None = None
    started: str | None = None
    planned_looks: Count | None = None
    human_ceiling: float | None = None
    human_ceiling_from: str | None = later(None)
    human_ceiling_n: int = later(0)
    human_hre: float | None = None
    human_hre_low: float | None = None
    human_hre_high: float | None = None
    human_hre_n: int = 0
    human_hre_people: int = 0
    rounding: float | None = None
    proof: Json | None = None
    overlap: Json | None = None
    rewards: Json | None = None
    directions: dict[str, str] = field(default_factory=dict)
    questions: Annotated[list[RunQuestion], _questions] = field(kw_only=True)
    more: Json = field(default_factory=dict)


@dataclass(frozen=True)
class Evaluation:
    """One scoring of all questions at one step. Lists are in the order of the run's questions, then of the answers.

    Attributes:
        seconds: wall-clock time.
        metrics: under the keys of `run.keys`; `None` where undefined.
        proxies: the training signals since the evaluation before, under their W&B names.
        verdict, reason, cause: how objective and people stood to each other (`stats.verdict`); `None` at the baseline.
        divisors: what each log-likelihood is divided by; `None` in older records.
        lengths: characters of each answer that were scored; `None` in older records.
        probes: kind of rewrite -> per question, nats a character of the rewritten answers minus those of the answers;
            `None` where no style probe was scored.
    """

    kind: ClassVar[str] = "evaluation"
    step: int
    time: str | None = None
    epoch: float | None = None
    seconds: float | None = None
    metrics: dict[str, float | None] = field(default_factory=dict)
    proxies: dict[str, float | None] = field(default_factory=dict)
    verdict: str | None = None
    reason: str | None = None
    cause: str | None = None
    loglikelihoods: list[list[float | None]] = field(kw_only=True)
    divisors: list[list[Divisor]] | None = None
    lengths: list[list[int]] | None = None
    probes: dict[str, list[float | None]] | None = later(None)
    pearson: list[Correlation | None] = field(kw_only=True)
    more: Json = field(default_factory=dict)


@dataclass(frozen=True)
class Summary:
    """Of a finished run, see `look.summary`; `None` where nothing was measured.

    Attributes:
        best, best_step, best_fair: the highest look, and what it is worth without the luck of the pick.
        pooled, pooled_step, pooled_fair: the same of the curve whose looks are pooled with their neighbours, `pooled`
            being the pooled value and `pooled_fair` what the look by itself is worth; `None` of fewer than five looks.
    """

    start: float | None = None
    best: float | None = None
    best_step: int | None = None
    best_fair: float | None = None
    pooled: float | None = None
    pooled_step: int | None = None
    pooled_fair: float | None = None
    last: float | None = None
    beats_start: bool | None = None
    verdict: str | None = None
    more: Json = field(default_factory=dict)


@dataclass(frozen=True)
class Event:
    """Something else that happened: it says what it has to say and no more.

    Attributes:
        kind: `skipped`, `stop`, `save`, `resumed`, `restarted`, `reward_failed`, `layout`, `mended`, `workspace`,
            `finished`, ...
        rule: that stopped the run.
        dropped, changed, lost: of a run that is resumed: lines of the dead run's that were dropped, settings that are
            others now, steps whose looks are in no record.
        summary, tracker_errors: of a run that has finished.
    """

    kind: str
    step: int
    time: str | None = None
    reason: str | None = None
    rule: str | None = None
    dropped: int | None = None
    changed: Json | None = None
    lost: list[int] | None = None
    summary: Summary | None = None
    tracker_errors: list[str] | None = None
    more: Json = field(default_factory=dict)


Line = RunLine | Evaluation | Event
_TYPES: dict[str, type[RunLine] | type[Evaluation]] = {"run": RunLine, "evaluation": Evaluation}


def line_of(value: Mapping[str, Any]) -> Line:
    """The line of a JSON object that is as it should be."""
    kind = _TYPES.get(value["kind"])
    if kind is None:
        return made(Event, value)
    return made(kind, {key: item for key, item in value.items() if key != "kind"})


def object_of(line: Line) -> Json:
    """The JSON object of a line, as format 2 has it."""
    value: Json = json_of(line)
    if isinstance(line, Event):
        return {key: item for key, item in value.items() if item is not None or key in line.more}
    return {"kind": line.kind, **value}


def read_lines(path: Path, *, described: bool = False) -> list[Line]:
    """The lines of the record at `path`, checked; a last line cut short by a kill is dropped.

    Args:
        described: each question must also have what a report shows of it: topic, votes and lengths of its answers.

    Raises:
        ValueError: a line is not what it should be: one sentence that names file, line, field, found and expected.
        OSError: the file cannot be read.
    """
    rows = path.read_bytes().split(b"\n")
    lines: list[Line] = []
    version = FORMAT
    for number_, row in enumerate(rows, start=1):
        where = f"{path}, line {number_}: "
        try:
            value = json.loads(row, parse_constant=_refuse)
        except RecursionError as error:
            raise ValueError(f"{where}nested too deeply to be a line of a record") from error
        except ValueError as error:
            # Bad JSON or bad UTF-8. After the last newline: nothing, or a line cut short by a kill.
            if number_ == len(rows):
                break
            raise ValueError(f"{where}not a line of strict JSON ({error})") from error
        _check_kind(value, where, first=not lines)
        if not lines:
            version = _version(value, where)
        value = _checked(value, version, where)
        if not lines and (described or version > 1):
            for i, question in enumerate(value["questions"]):
                have(question, said_of(RunQuestion) if version > 1 else _SHOWN, f"{where}questions[{i}]")
        line = line_of(value)
        if isinstance(line, Evaluation):
            _check_answers(line, lines[0], where)
        lines.append(line)
    _check_order(lines, path)
    return lines


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


def _check_kind(value: Any, where: str, *, first: bool) -> None:
    kind = value.get("kind") if isinstance(value, dict) else None
    if not isinstance(kind, str):
        raise ValueError(f"{where}expected an object with a 'kind', found {value!r:.80}")
    if (kind == "run") != first:
        raise ValueError(f"{where}expected {'the run line' if first else 'an event'}, found kind {kind!r}")


def _version(run: Mapping[str, Any], where: str) -> int:
    """The format of a record by its run line."""
    if "version" not in run:
        raise ValueError(f"{where}the run line lacks version")
    version = run["version"]
    whole(1)(version, f"{where}version")
    if version > FORMAT:
        raise ValueError(f"{where}version {version}; this package reads up to {FORMAT}: upgrade it")
    return int(version)


def _checked(value: Json, version: int, where: str) -> Json:
    """A line's object as format 2 has it, or a refusal."""
    kind = value["kind"]
    of = _TYPES.get(kind, Event)
    needed: Sequence[str] = needed_of(of) if version == 1 or of is Event else said_of(of)
    if version == 1:
        # Null and absence meant the same.
        value = {key: item for key, item in value.items() if item is not None}
    missing = [key for key in needed if key not in value]
    if missing:
        raise ValueError(f"{where}the {kind} line lacks {', '.join(missing)}")
    check = check_of(of)
    try:
        # Without the names of places, of which a record has millions.
        check(value, "")
    except ValueError:
        check(value, where)
        raise
    return {**value, "version": FORMAT} if of is RunLine else value


def _check_answers(look: Evaluation, run: Line, where: str) -> None:
    """Every list of an evaluation has an entry for each question, and inside it one for each answer."""
    assert isinstance(run, RunLine)
    probes = {f"probes[{kind!r:.60}]": rows for kind, rows in (look.probes or {}).items()}
    lists: dict[str, Sequence[Any] | None] = {"pearson": look.pearson, **by_answer(look), **probes}
    for key, rows in lists.items():
        if rows is not None and len(rows) != len(run.questions):
            raise ValueError(f"{where}{key!r} has {len(rows)} values, the run has {len(run.questions)} questions")
    for key, rows in by_answer(look).items():
        for i, (row, question) in enumerate(zip(rows or (), run.questions, strict=rows is not None)):
            if question.votes and len(row) != len(question.votes):
                fail(f"{where}{key}[{i}]", row, f"{len(question.votes)} values, one an answer")


def by_answer(look: Evaluation) -> dict[str, Sequence[Sequence[Any]] | None]:
    """The lists of an evaluation that have a number for each answer, by name."""
    return {"loglikelihoods": look.loglikelihoods, "divisors": look.divisors, "lengths": look.lengths}


def _check_order(lines: Sequence[Line], path: Path) -> None:
    last = -1
    for number_, line in enumerate(lines, start=1):
        if not isinstance(line, Evaluation):
            continue
        if line.step <= last:
            raise ValueError(
                f"{path}, line {number_}: step: found {line.step} after {last}, "
                "expected evaluations by rising step, each once"
            )
        last = line.step
