"""When a run should stop: rules by name, pure over the history, each with its reason in a sentence.

`drop_from_start` and `drop_from_best` stop a run without a true fall with probability at most alpha, over all
its looks together (significance.py, simulated in the tests). So do `mismatch` and `decoupled`, which follow the
verdict that was taken at the look (verdict.py), and `target`, for the claim that HRE has passed it. `patience` has no
such control: it is what people know, and it stops most healthy runs that are looked at often (98 % of runs with ten
looks and no true change).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from ..config import StopRuleName
from .significance import LooksTest, drop_from_best, drop_from_start, spent_alpha, t_interval
from .verdict import Verdict

FloatArray = NDArray[np.float64]
# Verdicts that stop a run, by the rule that follows them.
_VERDICTS = {"mismatch": ("mismatch",), "decoupled": ("decoupled", "mismatch")}


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether to stop, and why in one sentence; `delta` and `p` belong to the rule's own test, NaN without one."""

    stop: bool
    reason: str
    delta: float = float("nan")
    p: float = float("nan")


def decide(
    rule: str,
    steps: Sequence[int],
    values: FloatArray,
    *,
    alpha: float = 0.05,
    min_delta: float = 0.01,
    consecutive: int = 2,
    patience: int = 3,
    planned_looks: int | None = None,
    clusters: Sequence[object] | None = None,
    seed: int = 0,
    target: float | None = None,
    verdict: Verdict | None = None,
) -> Decision:
    """What `rule` says after the last look.

    Args:
        rule: a `StopRuleName`.
        steps: (looks,) optimizer steps, the first being the baseline.
        values: (looks, questions) per-question Pearson r, NaN where undefined.
        consecutive: looks whose mean must have fallen; the drop rules pool that many.
        target: HRE that is enough, for `target`.
        verdict: of the last look, for `mismatch` and `decoupled`; `None` at the baseline.

    Raises:
        ValueError: no rule of that name.
    """
    if rule == "never":
        return Decision(False, "")
    if rule == "patience":
        return _patience(steps, values, patience)
    if rule in _VERDICTS:
        parted = verdict if verdict is not None and verdict.name in _VERDICTS[rule] else None
        return Decision(parted is not None, parted.reason if parted else "")
    if rule == "target":
        return _reached(steps, values, target, alpha, planned_looks, clusters)
    tests = {"drop_from_start": drop_from_start, "drop_from_best": drop_from_best}
    if rule not in tests:
        raise ValueError(f"no stop rule {rule!r}; known: {', '.join(get_args(StopRuleName))}")
    if len(values) <= consecutive:
        return Decision(False, "")
    test = tests[rule](
        values, alpha=alpha, planned_looks=planned_looks, pooled=consecutive, clusters=clusters, seed=seed
    )
    return _dropped(test, steps, "its start" if rule == "drop_from_start" else "its best", min_delta, consecutive)


def _dropped(test: LooksTest, steps: Sequence[int], below: str, min_delta: float, consecutive: int) -> Decision:
    delta, p, spent = float(test.delta[-1]), float(test.p[-1]), float(test.spent[-1])
    stop = bool(test.rejected[-1]) and delta <= -min_delta
    window = " and ".join(str(step) for step in steps[-consecutive:])
    reason = (
        f"HRE fell {-delta:.3f} below {below} at steps {window} "
        f"(p = {p:.4f} at look {len(test.p)}, error rate spent so far {spent:.3f})"
    )
    return Decision(stop, reason if stop else "", delta, p)


def _patience(steps: Sequence[int], values: FloatArray, patience: int) -> Decision:
    known = values[:, np.isfinite(values).all(axis=0)]
    if not known.size:
        return Decision(False, "")
    means = known.mean(axis=1)
    best = int(means.argmax())
    waited = len(means) - 1 - best
    aside = "patience is uncontrolled: noise alone does this"
    reason = f"no new best for {waited} evaluations since step {steps[best]} ({aside})"
    return Decision(waited >= patience, reason if waited >= patience else "", float(means[-1] - means[best]))


def _reached(
    steps: Sequence[int],
    values: FloatArray,
    target: float | None,
    alpha: float,
    planned_looks: int | None,
    clusters: Sequence[object] | None,
) -> Decision:
    """Every look spends its part of alpha on a one-sided t bound, as many looks as there are with the start.

    One question more is taken to be as wrong as can be, r = -1: where nearly all questions have the highest r (of two
    answers: +1), those that have not may be missing by chance, and the t bound alone would claim too much.
    """
    looks = None if planned_looks is None else planned_looks + 1
    spent = spent_alpha(len(values), alpha, looks)
    here = max(spent[-1] - (spent[-2] if len(spent) > 1 else 0.0), 1e-12)
    more = None if clusters is None else [*clusters, None]
    found = t_interval(np.append(values[-1], -1.0), clusters=more, confidence=1 - 2 * here)
    if target is None or not found.low >= target:
        return Decision(False, "")
    estimate = float(np.nanmean(values[-1]))
    reason = (
        f"HRE {estimate:.4f} at step {steps[-1]} has passed the target {target:g}: at least {found.low:.4f} "
        f"(one-sided bound, error rate spent so far {spent[-1]:.3f})"
    )
    return Decision(True, reason, estimate - target)
