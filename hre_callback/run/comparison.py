"""Models or checkpoints side by side: is one closer to people than the other, and could the questions tell?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np

from ..config import StopRuleName, other_rendering
from ..formatting import count, fixed
from ..stats.significance import known_clusters, paired_difference, units
from .look import decided, terms_of, verdict_of
from .record import Record, plain, read_record
from .score_files import Scores, correlation
from .score_files import read_scores as read_scores
from .words import Change, Direction

_RULES = tuple(rule for rule in get_args(StopRuleName) if rule != "never")
_LEVEL = 0.05
# Of fewer independent questions even a difference of one sign throughout has p = 2 / 2^5 > 5 %: no gate can close.
_LEAST_TO_TELL = 6


@dataclass(frozen=True, slots=True)
class Comparison:
    """Paired difference of two score files, the later one minus the reference, and what it amounts to at 5 %.

    `n` counts the questions with a correlation on both sides, `units` the independent ones among them: clusters, or
    questions that have none.
    """

    delta: float
    low: float
    high: float
    p: float
    rho: float
    mde: float
    n: int
    units: int
    verdict: Direction

    def as_dict(self) -> dict[str, Any]:
        """JSON-plain."""
        return plain(asdict(self))  # type: ignore[no-any-return]


def compare_scores(
    reference: Scores, now: Scores, names: tuple[str, str] = ("the reference", "the other")
) -> Comparison:
    """The paired difference over the same questions.

    Args:
        names: of the two sides, for messages.

    Raises:
        ValueError: the two hold different questions, were scored in different ways, or share too few independent
            questions with a correlation for any difference to be seen.
    """
    prints = [{row.get("fingerprint") for row in rows.values()} for rows in (reference, now)]
    if reference.keys() != now.keys() or prints[0] != prints[1]:
        raise ValueError(
            f"{names[0]} and {names[1]} are scores of different questions ({len(reference)} with fingerprint "
            f"{sorted(map(str, prints[0]))}, {len(now)} with {sorted(map(str, prints[1]))}): score both models on the "
            "same file"
        )
    ways = [next(iter(rows.values()), {}).get("scoring") for rows in (reference, now)]
    if None not in ways and ways[0] != ways[1]:
        raise ValueError(
            f"the scores are not comparable: {names[0]} was scored with {ways[0]}, {names[1]} with {ways[1]}."
            f"{other_rendering(*ways)}"
        )
    ids = sorted(reference)
    clusters = [reference[i].get("cluster") for i in ids]
    later, before = ([rows[i]["pearson"] for i in ids] for rows in (now, reference))
    return _compare(later, before, known_clusters(clusters), f"{names[1]} against {names[0]}")


def _compare(now: Any, reference: Any, clusters: Sequence[Any] | None, which: str, *, seed: int = 0) -> Comparison:
    a, b = np.asarray(now, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    n, independent = int(np.isfinite(a - b).sum()), units(a - b, clusters)
    if independent < 2:
        counted = f"{n} of {len(a)} questions" + (f" in {independent} cluster" if clusters is not None else "")
        raise ValueError(
            f"{which}: {counted} can be compared, at least 2 independent ones are needed (questions "
            "count that have a correlation on both sides)"
        )
    found = paired_difference(a, b, clusters=clusters, seed=seed)
    # The interval decides, and `p` says the same of it.
    verdict = Change(found.estimate, found.low, found.high).direction
    return Comparison(found.estimate, found.low, found.high, found.p, found.rho, found.mde, n, independent, verdict)


def is_worse(found: Comparison) -> bool:
    """Whether a gate should close.

    Raises:
        ValueError: of so few independent questions no fall could be significant, so an open gate would say nothing.
    """
    if found.units < _LEAST_TO_TELL:
        raise ValueError(
            f"{found.units} independent questions can be compared: of fewer than {_LEAST_TO_TELL} no fall is "
            f"significant at {_LEVEL:.0%}, so --fail-if-worse could never fail"
        )
    return found.verdict == "lower"


def sentence(found: Comparison) -> str:
    """The comparison in words, those of a run's own lines."""
    change = Change(found.delta, found.low, found.high)
    more = f", p = {found.p:.4f}, rho {fixed(found.rho)}, {count(found.n, 'question')}"
    told = change.told("", more)
    if change.direction != "no clear change" or change.still:
        return told
    return f"{told}; a true one under {fixed(found.mde)} would often be missed"


@dataclass(frozen=True, slots=True)
class Series:
    """A run's evaluations held against its first one.

    Attributes:
        steps: of the evaluations after the first.
        comparisons: each with the first evaluation, every one as if it were the only one.
        stops: rule -> (step, reason) of its first stop, `None` where it would not have stopped. These hold their
            error rate over all evaluations together, except `patience`. `mismatch` goes by the recorded verdicts.
    """

    steps: list[int]
    comparisons: list[Comparison]
    stops: Mapping[str, tuple[int, str] | None]


def compare_series(
    record: Record, path: str | Path = "the record", progress: Callable[[int, int], object] | None = None
) -> Series:
    """What a run's evaluations say one by one, and where each stop rule would have ended it.

    Args:
        path: of the record, for messages.
        progress: called after every evaluation with (evaluations done, evaluations in all).

    Raises:
        ValueError: the record has fewer than two evaluations, or too few comparable questions.
    """
    if len(record.evaluations) < 2:
        raise ValueError(f"{path}: a series needs two evaluations; this run has {len(record.evaluations)}")
    for look in record.evaluations:
        for r in look.pearson:
            correlation(r, f"{path}, step {look.step}")
    steps, values = record.pearson_matrix()
    terms = terms_of(record.run)
    verdicts = [verdict_of(look) for look in record.evaluations]
    compared: list[Comparison] = []
    stops: dict[str, tuple[int, str] | None] = dict.fromkeys(_RULES)
    for t, step in enumerate(steps[1:], start=1):
        which = f"{path}: step {step} against step {steps[0]}"
        compared.append(_compare(values[t], values[0], terms.clusters, which, seed=terms.config.seed))
        for rule in (rule for rule, stop in stops.items() if stop is None):
            decision = decided(rule, terms, steps[: t + 1], values[: t + 1], verdicts[t])
            if decision.stop:
                stops[rule] = (step, decision.reason)
        if progress is not None:
            progress(t, len(steps) - 1)
    return Series(steps[1:], compared, stops)


def has_fallen(series: Series) -> bool:
    """Whether a gate on a run should close: `drop_from_start` would have stopped it. Raises as `is_worse` does."""
    is_worse(series.comparisons[-1])
    return series.stops["drop_from_start"] is not None


def pilot_answers(path: Path) -> list[int]:
    """Answers of each question of a record, as far as it tells them."""
    return [len(question.votes) for question in read_record(path).run.questions]


def pilot_figures(path: Path) -> tuple[float, float]:
    """Correlation rho of the first and the last evaluation of a record, and the sd of the per-question correlation.

    Raises:
        ValueError: the record has fewer than two evaluations, or nothing differs in them.
    """
    _, values = read_record(path).pearson_matrix()
    known = values[:, np.isfinite(values).all(axis=0)]
    if len(known) < 2 or known.shape[1] < 3:
        raise ValueError(f"{path}: a pilot needs two evaluations of three questions or more; found {known.shape}")
    if min(np.ptp(known[0]), np.ptp(known[-1]), np.ptp(known[-1] - known[0])) < 1e-9:
        raise ValueError(
            f"{path}: a pilot needs questions that differ, and a first and a last evaluation that do; "
            "found the same correlation everywhere"
        )
    return float(np.corrcoef(known[0], known[-1])[0, 1]), float(known[-1].std(ddof=1))
