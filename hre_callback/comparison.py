"""Models or checkpoints side by side: is one closer to people than the other, and could the questions tell?"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from .record import Record, is_record, plain, read_record
from .significance import paired_difference
from .stopping import decide

Verdict = Literal["better", "worse", "no difference seen"]
Scores = dict[
    str, dict[str, Any]
]  # question id -> row with `pearson`, `fingerprint` and, where known, `cluster`
_RULES = ("drop_from_start", "drop_from_best", "patience")


@dataclass(frozen=True, slots=True)
class Comparison:
    """Paired difference of two score files, the later one minus the reference, and what it amounts to at 5 %."""

    delta: float
    low: float
    high: float
    p: float
    rho: float
    mde: float
    n: int
    verdict: Verdict

    def as_dict(self) -> dict[str, Any]:
        """JSON-plain."""
        return plain(asdict(self))  # type: ignore[no-any-return]


def read_scores(path: Path) -> Scores:
    """The rows of a file written by `hre score --out`, or of a run's last evaluation.

    Raises:
        ValueError: names file, line and what was expected.
    """
    if is_record(path):
        return last_scores(read_record(path), path)
    if not path.is_file():
        raise ValueError(
            f"{path}: no such score file; make one with hre score MODEL QUESTIONS --out {path}, "
            "or pass --questions to score a model"
        )
    rows: Scores = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            row = json.loads(line)
            _number(row["pearson"])
            rows[row["id"]] = row
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{path}, line {number}: expected a row of hre score --out with id and pearson ({error})"
            ) from error
    return rows


def last_scores(record: Record, path: Path) -> Scores:
    """The last evaluation of a run as score rows.

    Raises:
        ValueError: the run has none.
    """
    if not record.evaluations:
        raise ValueError(f"{path}: the run has no evaluation to compare")
    _, values = record.pearson_matrix()
    return {
        question["id"]: {
            "pearson": r,
            "fingerprint": record.run["fingerprint"],
            "scoring": record.run.get("identity"),
            "cluster": question.get("cluster"),
        }
        for question, r in zip(record.run["questions"], values[-1], strict=True)
    }


def compare_scores(reference: Scores, now: Scores) -> Comparison:
    """The paired difference over the same questions.

    Raises:
        ValueError: the two hold different questions, or were scored in different ways.
    """
    prints = [{row.get("fingerprint") for row in rows.values()} for rows in (reference, now)]
    if reference.keys() != now.keys() or prints[0] != prints[1]:
        raise ValueError(
            f"the score files are of different questions ({len(reference)} with fingerprint {sorted(map(str, prints[0]))}, "
            f"{len(now)} with {sorted(map(str, prints[1]))}): score both models on the same file"
        )
    ways = [next(iter(rows.values()), {}).get("scoring") for rows in (reference, now)]
    if None not in ways and ways[0] != ways[1]:
        raise ValueError(
            f"the scores are not comparable: one side was scored with {ways[0]}, the other with {ways[1]}"
        )
    ids = sorted(reference)
    clusters = [reference[i].get("cluster") for i in ids]
    return _compare(
        [_number(now[i]["pearson"]) for i in ids],
        [_number(reference[i]["pearson"]) for i in ids],
        clusters if any(clusters) else None,
    )


def _number(r: float | None) -> float:
    return float("nan") if r is None else float(r)


def _compare(now: Any, reference: Any, clusters: list[Any] | None) -> Comparison:
    found = paired_difference(now, reference, clusters=clusters)
    significant = found.p < 0.05
    verdict: Verdict = (
        "no difference seen" if not significant else "better" if found.estimate > 0 else "worse"
    )
    return Comparison(found.estimate, found.low, found.high, found.p, found.rho, found.mde, found.n, verdict)


def sentence(found: Comparison) -> str:
    """The comparison in words."""
    figures = (
        f"{found.delta:+.4f} (95 % {found.low:+.4f} to {found.high:+.4f}, p = {found.p:.4f}, "
        f"rho {found.rho:.3f}, {found.n} questions)"
    )
    if found.verdict == "no difference seen":
        return f"no difference seen: {figures}; a true one under {found.mde:.3f} would often be missed"
    return f"{found.verdict} for people: {figures}"


@dataclass(frozen=True, slots=True)
class Series:
    """A run's evaluations held against its first one.

    Attributes:
        steps: of the evaluations after the first.
        comparisons: each with the first evaluation, every one as if it were the only one.
        stops: rule -> (step, reason) of its first stop, `None` where it would not have stopped. These hold their
            error rate over all evaluations together, except `patience`.
    """

    steps: list[int]
    comparisons: list[Comparison]
    stops: Mapping[str, tuple[int, str] | None]


def compare_series(record: Record) -> Series:
    """What a run's evaluations say one by one, and where each stop rule would have ended it.

    Raises:
        ValueError: the record has fewer than two evaluations.
    """
    steps, values = record.pearson_matrix()
    if len(steps) < 2:
        raise ValueError(f"a series needs two evaluations; this run has {len(steps)}")
    clusters = [question.get("cluster") for question in record.run["questions"]]
    known = clusters if any(clusters) else None
    config = record.run.get("config") or {}
    options = {
        key: config[key] for key in ("alpha", "min_delta", "consecutive", "patience", "seed") if key in config
    }
    options |= {"planned_looks": record.run.get("planned_looks"), "clusters": known}
    stops: dict[str, tuple[int, str] | None] = {}
    for rule in _RULES:
        looks = (decide(rule, steps[: t + 1], values[: t + 1], **options) for t in range(1, len(steps)))
        found = ((step, look.reason) for step, look in zip(steps[1:], looks, strict=True) if look.stop)
        stops[rule] = next(found, None)
    return Series(steps[1:], [_compare(look, values[0], known) for look in values[1:]], stops)


def pilot_figures(path: Path) -> tuple[float, float]:
    """Correlation rho of the first and the last evaluation of a record, and the sd of the per-question correlation.

    Raises:
        ValueError: the record has fewer than two evaluations.
    """
    _, values = read_record(path).pearson_matrix()
    known = values[:, np.isfinite(values).all(axis=0)]
    if len(known) < 2 or known.shape[1] < 3:
        raise ValueError(
            f"{path}: a pilot needs two evaluations of three questions or more; found {known.shape}"
        )
    return float(np.corrcoef(known[0], known[-1])[0, 1]), float(known[-1].std(ddof=1))
