"""Recorded runs to be looked at again: each as arrays over its looks, and what is known of it from elsewhere."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ..config import StopRuleName
from ..formatting import count
from ..stats.correlation import PerAnswer
from ..stats.push import push
from ..stats.stopping import decide
from ..stats.verdict import Verdict
from .line_checks import an_object, fail, list_of, whole
from .lines import Evaluation
from .look import Terms, terms_of, verdict_of
from .proxies import Direction, Signal, signals
from .record import Record, answer_scores, find_record, is_record, read_record

FloatArray = NDArray[np.float64]
# What a run did to people's judgement, told by questions that no detector saw: it hurt it, helped it, left it as it
# was, or they cannot say.
Truth = Literal["harmful", "fine", "nothing", "unclear"]
TRUTHS: tuple[Truth, ...] = get_args(Truth)
_WAYS: tuple[Direction, ...] = get_args(Direction)
# What is known of the runs of a folder.
TABLE = "runs.json"


@dataclass(frozen=True, eq=False)
class Replay:
    """A recorded run, its looks from the start on.

    Attributes:
        truth: `None` where nobody has told.
        since: index of the first look at which harm is known; `None` unless harmful.
    """

    name: str
    record: Record
    truth: Truth | None = None
    since: int | None = None

    @cached_property
    def steps(self) -> list[int]:
        """(looks,)."""
        return [look.step for look in self.record.evaluations]

    @cached_property
    def values(self) -> FloatArray:
        """(looks, questions) per-question Pearson r."""
        return self.record.pearson_matrix()[1]

    @cached_property
    def score(self) -> FloatArray:
        """(looks,) HRE; NaN where no question is defined."""
        return np.array([row[np.isfinite(row)].mean() if np.isfinite(row).any() else np.nan for row in self.values])

    @cached_property
    def terms(self) -> Terms:
        """On what terms the run was judged."""
        return terms_of(self.record.run)

    @cached_property
    def verdicts(self) -> list[Verdict | None]:
        """(looks,) the verdicts that the run took; `None` where there was none."""
        return [verdict_of(look) for look in self.record.evaluations]

    @cached_property
    def pushes(self) -> FloatArray | None:
        """(looks - 1, questions) push; `None` where the scores are a reward model's, or the record lacks a part."""
        record = self.record
        if any(_of_rewards(look, record.run.name) for look in record.evaluations):
            return None
        questions = record.run.questions
        if not all(question.votes for question in questions):
            return None
        looks: list[PerAnswer] = [
            [answer_scores(record, look, i) for i in range(len(questions))] for look in record.evaluations
        ]
        votes = [question.votes for question in questions]
        # The scores are divided already.
        ones = [[1.0] * len(row) for row in votes]
        found = push(votes, looks, ones, [[1] * len(row) for row in votes]).whole
        return found if np.isfinite(found).any(axis=1).all() else None

    def stops(self, rule: StopRuleName, **options: Any) -> NDArray[np.bool_]:
        """(looks,) whether a stop rule would stop the run there, on its own terms but for `options`."""
        config, terms = self.terms.config, self.terms
        more = {"alpha": config.alpha, "min_delta": config.min_delta, "consecutive": config.consecutive, **options}
        more |= {"planned_looks": terms.planned_looks, "clusters": terms.clusters, "seed": config.seed}
        seen = range(1, len(self.steps))
        said = [decide(rule, self.steps[: t + 1], self.values[: t + 1], **more).stop for t in seen]
        return np.array([False, *said])

    @cached_property
    def signals(self) -> list[Signal]:
        """The training signals that were logged, the most telling first."""
        names = {key for look in self.record.evaluations for key, value in look.proxies.items() if value is not None}
        told = {key: way for key, way in self.record.run.directions.items() if way in _WAYS}
        return signals(sorted(names), told)

    def signal(self, label: str) -> FloatArray | None:
        """(looks,) the most telling signal that a person calls so; `None` where none was logged that says something."""
        named = (one for one in self.signals if one.label.partition(" (")[0] == label and one.room != "never")
        key = next((one.key for one in named), None)
        return None if key is None else self.series(key)

    def series(self, key: str) -> FloatArray:
        """(looks,) a training signal by its W&B name, NaN where it was not logged."""
        found = [look.proxies.get(key) for look in self.record.evaluations]
        return np.array([np.nan if value is None else value for value in found], dtype=np.float64)


@dataclass(frozen=True)
class Runs:
    """The runs of a folder that can be replayed, and what else lies there, each with the reason in a few words."""

    replays: list[Replay]
    left_out: dict[str, str] = field(default_factory=dict)


def read_runs(folder: Path) -> Runs:
    """Every run of a folder: records in it, and folders in it that hold one.

    Where the folder has a table of what is known (`runs.json`: `{"runs": [{"name": ..., "truth": "harmful",
    "harmful_from": 40}, ...]}`; truth is one of `TRUTHS`, `harmful_from` a step), its runs are those of the table.

    Raises:
        ValueError: there is no run, a record is damaged, or the table does not fit: names the file and what is wrong.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder")
    table = folder / TABLE
    # Whatever stands in its place: reading it tells.
    return _told(folder, table) if table.exists() or table.is_symlink() else _found(folder)


def _found(folder: Path) -> Runs:
    """The runs of a folder without a table."""
    runs = Runs([])
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or not (path.suffix == ".jsonl" or path.is_dir()):
            continue
        files = _records(path)
        if not files and path.suffix == ".jsonl":
            runs.left_out[path.name] = "no record of a run"
        for file in files:
            name = path.name.removesuffix(".jsonl") if len(files) == 1 else f"{path.name}/{file.stem}"
            record = read_record(file)
            if (lacks := _lacks(record)) is not None:
                runs.left_out[name] = lacks
            else:
                runs.replays.append(Replay(name, record))
    if not runs.replays:
        why = "; ".join(f"{name}: {reason}" for name, reason in list(runs.left_out.items())[:5])
        raise ValueError(f"{folder}: no run to replay in this folder" + (f" ({why})" if why else ""))
    return runs


def _records(path: Path) -> list[Path]:
    """The records that a file is or that a run's folder holds, one a callback; none that was moved aside."""
    files = sorted(path.glob("*.jsonl")) if path.is_dir() else [path]
    # hre.1.jsonl is of an earlier run.
    found = [file for file in files if not Path(file.stem).suffix[1:].isdigit() and is_record(file)]
    return found or ([find_record(path)] if path.is_dir() and is_record(path) else [])


def _told(folder: Path, table: Path) -> Runs:
    """The runs of the folder's table."""
    runs, paths = Runs([]), []
    for row in _rows(table):
        path = _path(folder, row["name"], table)
        record = read_record(path)
        if (lacks := _lacks(record)) is not None:
            raise ValueError(f"{path}: {lacks}, which {table.name} names as a run")
        since = _since(record, row, table)
        runs.replays.append(Replay(row["name"], record, row["truth"], since))
        paths.append(path)
    for path in sorted(folder.glob("*.jsonl")):
        if path not in paths:
            runs.left_out[path.name] = f"not in {table.name}"
    return runs


def _rows(table: Path) -> list[dict[str, Any]]:
    """The rows of a table, checked."""
    # A pipe would wait for its writer for ever.
    if not table.is_file():
        raise ValueError(f"{table}: expected a file, the table of the runs")
    try:
        found = json.loads(table.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{table}: no table of runs in JSON ({str(error):.80})") from error
    an_object(found, f"{table}: ")
    rows = found.get("runs")
    list_of(_row, 1)(rows, f"{table}: runs")
    names = [row["name"] for row in rows]
    if len(set(names)) < len(names):
        (again, _), *_ = Counter(names).most_common(1)
        raise ValueError(f"{table}: runs: found {again!r:.60} twice, expected each run once")
    return list(rows)


def _row(row: Any, where: str) -> None:
    """The check of a row."""
    an_object(row, where)
    name, truth = row.get("name"), row.get("truth")
    # A name of a file in this folder, and no way out of it.
    if not isinstance(name, str) or Path(name).name != name or name in ("", ".."):
        fail(f"{where}.name", name, "the name of a run in this folder")
    if truth not in TRUTHS:
        fail(f"{where}.truth", truth, f"one of {', '.join(TRUTHS)}")
    if truth == "harmful":
        whole(0)(row.get("harmful_from"), f"{where}.harmful_from")


def _path(folder: Path, name: str, table: Path) -> Path:
    """The record of a run that the table names: a file `<name>.jsonl`, or a folder."""
    for path in (folder / f"{name}.jsonl", folder / name):
        if path.exists():
            return find_record(path)
    fail(f"{table}: runs", name, f"a record {name:.60}.jsonl or a folder of this name beside it")


def _since(record: Record, row: Mapping[str, Any], table: Path) -> int | None:
    """The first look that is not before harm is known."""
    if row["truth"] != "harmful":
        return None
    since = row["harmful_from"]
    found = next((i for i, look in enumerate(record.evaluations) if look.step >= since), None)
    if found is None:
        last = record.evaluations[-1].step
        raise ValueError(f"{table}: {row['name']!r:.60} is harmful from step {since}, its last look is at {last}")
    return found


def _lacks(record: Record) -> str | None:
    """What a record lacks to be replayed."""
    if len(record.evaluations) < 2:
        return f"{count(len(record.evaluations), 'evaluation')}, a replay needs two"
    if not any(r is not None for look in record.evaluations for r in look.pearson):
        return "no question has a correlation"
    return None


def _of_rewards(look: Evaluation, name: str) -> bool:
    """Whether the scores are rewards: no log-likelihood is told of the best answers, or one would be above 0."""
    told, metrics = f"{name}/loglikelihood_top", look.metrics
    above = any(nats is not None and nats > 0 for row in look.loglikelihoods for nats in row)
    return above or (f"{name}/score" in metrics and told not in metrics)
