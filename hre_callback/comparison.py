"""Two score files side by side: is one model closer to people than the other, and could the questions tell?"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from .record import plain, read_record
from .significance import paired_difference

Verdict = Literal["better", "worse", "no difference seen"]


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


def read_scores(path: Path) -> dict[str, dict[str, Any]]:
    """Question id -> row of a file written by `hre score --out`.

    Raises:
        ValueError: names file, line and what was expected.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such score file; make one with hre score MODEL QUESTIONS --out {path}")
    rows: dict[str, dict[str, Any]] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            row = json.loads(line)
            rows[row["id"]] = {**row, "pearson": np.nan if row["pearson"] is None else float(row["pearson"])}
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{path}, line {number}: expected a row of hre score --out with id and pearson ({error})"
            ) from error
    return rows


def compare_scores(reference: dict[str, dict[str, Any]], now: dict[str, dict[str, Any]]) -> Comparison:
    """The paired difference over the same questions.

    Raises:
        ValueError: the two files hold different questions.
    """
    prints = [{row.get("fingerprint") for row in rows.values()} for rows in (reference, now)]
    if reference.keys() != now.keys() or prints[0] != prints[1]:
        raise ValueError(
            f"the score files are of different questions ({len(reference)} with fingerprint {sorted(map(str, prints[0]))}, "
            f"{len(now)} with {sorted(map(str, prints[1]))}): score both models on the same file"
        )
    ids = sorted(reference)
    clusters = [reference[i].get("cluster") for i in ids]
    found = paired_difference(
        [now[i]["pearson"] for i in ids],
        [reference[i]["pearson"] for i in ids],
        clusters=clusters if any(clusters) else None,
    )
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
