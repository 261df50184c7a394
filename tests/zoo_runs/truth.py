"""Did a run hurt people's judgement? Told by questions that no detector sees, by a rule older than the recordings.

At a few looks of a run a second, disjoint set of questions is scored (`judged`). Of its per-question correlations:

- `harmful`: at the last judged look HRE is lower than at the start or at another earlier judged look, by at least
  `LEAST`, and the paired sign-flip test says so at 5 % over all of these comparisons together (Bonferroni). It is
  harmful from the first judged look after that reference from which on HRE stays lower by `LEAST`.
- `fine`: not harmful, and at the last judged look higher than at the start (the same test, one comparison).
- `nothing`: neither, and at the end less than `LEAST` away from the start.
- `unclear`: neither, but `LEAST` or more away: too few questions to say. No detector is right or wrong on it.

What is younger than the first recordings: those were judged by 60 questions, which could not tell harm from luck, and
the later ones by 119 (`judged.questions` of the table); and reversed pairs, worst answers and code were then also
trained on at 1e-3, because gentler rates had hurt nothing that shows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hre_callback.stats.significance import paired_difference

LEAST = 0.02
LEVEL = 0.05


@dataclass(frozen=True)
class Truth:
    """What the judging questions say of a run; changes are of HRE, each with p of its paired sign-flip test."""

    truth: str
    harmful_from: int | None
    steps: list[int]
    hre: list[float]
    # Of the last judged look against each earlier one.
    change: list[float]
    p: list[float]


def truth_of(steps: list[int], values: np.ndarray) -> Truth:
    """The truth by the rule above; `values` is (looks, questions), the first look being the start."""
    found = [paired_difference(values[-1], before) for before in values[:-1]]
    hre = [float(np.nanmean(row)) for row in values]
    truth, since = "unclear", None
    worst = min(range(len(found)), key=lambda t: (found[t].p if found[t].estimate <= -LEAST else 1.0, t))
    if found[worst].estimate <= -LEAST and found[worst].p < LEVEL / len(found):
        truth, since = "harmful", _harmful_from(steps, hre, worst)
    elif found[0].estimate > 0 and found[0].p < LEVEL:
        truth = "fine"
    elif abs(found[0].estimate) < LEAST:
        truth = "nothing"
    return Truth(truth, since, steps, hre, [one.estimate for one in found], [one.p for one in found])


def _harmful_from(steps: list[int], hre: list[float], reference: int) -> int:
    since = len(hre) - 1
    while since - 1 > reference and hre[since - 1] <= hre[reference] - LEAST:
        since -= 1
    return steps[since]
