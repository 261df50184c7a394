"""Which averages of a run's checkpoints are tried, which one people's votes choose, and what it is worth.

Uniform and greedy soups: Wortsman et al. 2022, section 2 and algorithm 1. Towards the start: WiSE-FT (Wortsman et al.
2022, "Robust fine-tuning of zero-shot models") and the last stage of WARP (Ramé et al. 2024, section 3.3).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table
from rich.text import Text

from ..formatting import count, fixed, span
from ..plain_text import plain_text
from ..stats.cross_fit import chosen_difference, read_elsewhere
from ..stats.significance import bootstrap_interval, random_halves, units
from .comparison import Comparison, sentence
from .words import Change

FloatArray = NDArray[np.float64]
# Of fewer independent questions no difference has an interval.
LEAST = 6
_SPLITS = 20


@dataclass(frozen=True, slots=True)
class Mix:
    """A weighted mean of the run's checkpoints and its start.

    Attributes:
        name: how it is told; two of the same weights are one.
        weights: of the checkpoints, in the order of their steps; with `start`, that of the start, they add up to 1.
    """

    name: str = field(compare=False)
    weights: tuple[float, ...]
    start: float = 0.0


@dataclass(frozen=True, slots=True)
class Chosen:
    """The soup that HRE chooses, and what choosing is worth: each question is read where others have chosen.

    Attributes:
        mix, single: the best average and the best checkpoint by all questions.
        score: HRE of what was chosen, read elsewhere; of the best by all questions it would be too high.
        against_single: the chosen soup against the checkpoint that was chosen in the same way.
        against_start: the same against the model that training began with; `None` where that is not known.
        halves: how many halves of the questions there were.
        times: of them, how many chose which average and which checkpoint.
    """

    mix: Mix
    single: Mix
    score: float
    against_single: Comparison
    against_start: Comparison | None
    halves: int
    times: Mapping[Mix, int]

    @property
    def better(self) -> bool:
        """Whether the soup is shown to be above the best single checkpoint."""
        return self.against_single.verdict == "higher"


def singles(names: Sequence[str]) -> list[Mix]:
    """Each checkpoint alone."""
    return [Mix(name, tuple(float(i == j) for j in range(len(names)))) for i, name in enumerate(names)]


def averages(checkpoints: int, last: int | None, shares: Sequence[float]) -> list[Mix]:
    """The mean of all, of the last ones, and of all on the way from the start.

    Args:
        last: how many; `None` for the later half.
        shares: how far from the start to the mean of all; for each one more.

    Raises:
        ValueError: there are not so many checkpoints, or a share is not between 0 and 1.
    """
    tail = (checkpoints + 1) // 2 if last is None else last
    if last is not None and not 2 <= last <= checkpoints:
        raise ValueError(f"--last is {last}; expected 2 to {checkpoints}, the number of checkpoints")
    odd = [share for share in shares if not 0 < share < 1]
    if odd:
        raise ValueError(f"--interpolate has {odd[0]:g}; expected numbers between 0 (the start) and 1 (the average)")
    whole = mean_of_these(range(checkpoints), checkpoints, f"all {checkpoints}")
    found = [whole]
    if 2 <= tail < checkpoints:
        found.append(mean_of_these(range(checkpoints - tail, checkpoints), checkpoints, f"last {tail}"))
    for share in dict.fromkeys(shares):
        weights = tuple(share * weight for weight in whole.weights)
        found.append(Mix(f"{whole.name}, {share:g} of the way", weights, 1 - share))
    return found


def mean_of_these(which: Sequence[int], checkpoints: int, name: str) -> Mix:
    """The mean of some of the checkpoints."""
    return Mix(name, tuple(1 / len(which) if i in which else 0.0 for i in range(checkpoints)))


def choose(
    score: Callable[[Mix], FloatArray],
    alone: Sequence[Mix],
    soups: Sequence[Mix],
    *,
    start: Mix | None = None,
    greedy: bool = False,
    clusters: Sequence[str | None] | None = None,
    flips: int = 2000,
    seed: int = 0,
) -> Chosen:
    """Choose among soups, and among single checkpoints, on one half of the questions and read on the other.

    Both ways round, over 20 random splits; with `greedy`, whose averages depend on the half, over one. A cluster is
    never in both halves.

    Args:
        score: (questions,) per-question r of a mix, NaN where undefined; asked again it costs nothing.
        greedy: also try the soup that takes checkpoints from the best on, each that does not make it worse.

    Raises:
        ValueError: there are fewer than 6 independent questions, or the mixes have no r for different ones.
    """
    values = [score(mix) for mix in (*alone, *soups, *([start] if start is not None else []))]
    known = np.isfinite(values[0])
    independent = units(values[0], clusters)
    if independent < LEAST:
        raise ValueError(
            f"{independent} independent questions have a correlation; choosing on one half and reading "
            f"on the other takes {LEAST} or more"
        )

    def row(mix: Mix) -> FloatArray:
        found = score(mix)
        if not np.array_equal(np.isfinite(found), known):
            raise ValueError(f"{mix.name}: other questions have a correlation than of {alone[0].name}")
        return found[known]

    def best(mixes: Sequence[Mix], half: FloatArray) -> Mix:
        return max(mixes, key=lambda mix: float(row(mix) @ half))

    def tried(half: FloatArray) -> list[Mix]:
        return [*soups, *(_greedy(alone, lambda mix: float(row(mix) @ half)) if greedy else ())]

    everything = np.ones(int(known.sum()))
    _, halves = random_halves(values[0][None], clusters, 1 if greedy else _SPLITS, seed)
    of_soups, of_alone = [best(tried(half), half) for half in halves], [best(alone, half) for half in halves]
    soup, single = (read_elsewhere([row(mix) for mix in which], halves) for which in (of_soups, of_alone))
    groups = None if clusters is None else [one for one, kept in zip(clusters, known, strict=True) if kept]
    among = np.stack([row(mix) for mix in dict.fromkeys([*soups, *of_soups])])

    def against(read: FloatArray, others: Sequence[Mix]) -> Comparison:
        candidates = among, np.stack([row(mix) for mix in others])
        found = chosen_difference((soup, read), candidates, halves, clusters=groups, flips=flips, seed=seed)
        verdict = Change(found.estimate, found.low, found.high).direction
        terms = asdict(found)
        return Comparison(delta=terms.pop("estimate"), **terms, units=independent, verdict=verdict)

    return Chosen(
        best(tried(everything), everything),
        best(alone, everything),
        float(soup.mean()),
        against(single, alone),
        None if start is None else against(row(start), [start]),
        len(halves),
        {mix: (of_soups + of_alone).count(mix) for mix in {*of_soups, *of_alone}},
    )


def _greedy(alone: Sequence[Mix], score: Callable[[Mix], float]) -> list[Mix]:
    """Algorithm 1 of Wortsman et al.: from the best checkpoint on, each that does not make the mean worse.

    Nothing where no other joins the best: that is no average.
    """
    order = sorted(range(len(alone)), key=lambda i: -score(alone[i]))
    kept, soup = order[:1], alone[order[0]]
    for i in order[1:]:
        more = sorted([*kept, i])
        mean = mean_of_these(more, len(alone), " + ".join(alone[j].name for j in more))
        if score(mean) >= score(soup):
            kept, soup = more, mean
    return [soup] if len(kept) > 1 else []


def soup_table(tried: Mapping[Mix, FloatArray], chosen: Chosen, clusters: Sequence[str | None] | None) -> Table:
    """HRE of all that was tried, on all questions, and how often it was chosen."""
    table = Table(title=Text("HRE on all questions; of many the best looks better than it is"))
    for column in ("model", "HRE", "95 % interval", f"chosen, of {chosen.halves} halves"):
        table.add_column(column, justify="left" if column == "model" else "right")
    for mix, values in tried.items():
        found = bootstrap_interval(values, clusters=clusters)
        times = str(chosen.times.get(mix, 0))
        table.add_row(Text(plain_text(mix.name)), fixed(found.estimate), span(found.low, found.high), times)
    return table


def sentences(chosen: Chosen, start: str | None) -> list[str]:
    """What was chosen and what it is worth, in words."""
    told = [
        f"Best average: {chosen.mix.name}. Best single checkpoint: {chosen.single.name}. Chosen on one half of the "
        f"questions and read on the other, the average has HRE {fixed(chosen.score)}.",
        f"Against the best single checkpoint, chosen in the same way: {sentence(chosen.against_single)}",
    ]
    if chosen.against_start is not None:
        told.append(f"Against the start, {start}: {sentence(chosen.against_start)}")
    if not chosen.better:
        told.append("No average is shown to be better than the best single checkpoint.")
    return told


def as_dict(tried: Mapping[Mix, FloatArray], chosen: Chosen, start: str | None) -> dict[str, Any]:
    """The same, JSON-plain."""
    rows = [
        {
            "name": mix.name,
            "weights": list(mix.weights),
            "start": mix.start,
            "score": float(np.nanmean(values)),
            "chosen": chosen.times.get(mix, 0),
        }
        for mix, values in tried.items()
    ]
    return {
        "tried": rows,
        "halves": chosen.halves,
        "average": chosen.mix.name,
        "checkpoint": chosen.single.name,
        "start": start,
        "score": chosen.score,
        "against_checkpoint": chosen.against_single.as_dict(),
        "against_start": None if chosen.against_start is None else chosen.against_start.as_dict(),
    }


def cost(models: int, questions: int, greedy: int = 0) -> str:
    """What is to be scored, said before it begins.

    Args:
        greedy: checkpoints that a greedy soup chooses from: by each half of the questions, and by all.
    """
    more = f" and at most {3 * (greedy - 1)} more for the greedy average" if greedy else ""
    return f"{count(models, 'model')}{more} to be scored on {count(questions, 'question')} each"
