"""The report's section on objective mismatch, as values: do the training signals and people want the same?"""

from __future__ import annotations

import math
from typing import Literal

from ..formatting import fixed, short, span
from ..run.keys import mismatch_prefix
from .figure import LEAST_DRAWN
from .numbers import earliest, finite, latest
from .page import Chart, Column, Peak, Signals, Table, Triangle
from .reading import Reading
from .small_figures import Line, kl_figure, lines_figure, rolling_figure, triangle


def signals(reading: Reading) -> Signals | None:
    """Objective mismatch: the triangle, rolling correlations, HRE against √KL, displacement, regret."""
    found = Signals(
        n=f"{reading.n_questions:,}",
        triangle=_triangle(reading),
        direction=_direction(reading),
        rolling=_rolling(reading),
        kl=_kl(reading),
        peak=_peak(reading),
        displacement=_displacement(reading),
        regret=_regret(reading),
    )
    said = (found.triangle, found.direction, found.rolling, found.kl, found.displacement, found.regret)
    return found if any(said) else None


def _triangle(reading: Reading) -> Triangle | None:
    kind = _reward(reading)
    keys = ("human_policy", f"human_{kind}", f"policy_{kind}")
    edges = [reading.mismatch(key) for key in keys]
    if not any(finite(edge) for edge in edges[1:]):
        return None
    # The implicit reward is what training pushes: such a run has no reward of its own.
    third = "reward" if kind == "reward" else "training"
    drawn, curves = triangle([earliest(edge) for edge in edges], [latest(edge) for edge in edges], third), None
    if max(len(finite(edge)) for edge in edges) >= LEAST_DRAWN:
        names, css = ("people–model", f"people–{third}", f"model–{third}"), ("score", "proxy", "thin")
        full = [f"{mismatch_prefix(reading.name)}{key}" for key in keys]
        lines = [Line(*one) for one in zip(names, full, edges, css, strict=True)]
        curves = lines_figure(reading, lines, "The three correlations of the triangle over the run", zero=True)
    return Triangle(drawn, curves, explicit=kind == "reward")


def _reward(reading: Reading) -> Literal["reward", "implicit"]:
    """Which reward the triangle is about. Older records keep the implicit one under both names."""
    told, implicit = (finite(reading.mismatch(f"human_{kind}")) for kind in ("reward", "implicit"))
    return "reward" if told and (reading.run.rewards != {} or not implicit) else "implicit"


# Key below `mismatch/`, its plain name, decimals, whether it has an interval, and what it means.
_DIRECTION: tuple[tuple[str, str, int, bool, str], ...] = (
    ("push", "push", 3, True, "votes against the change of each answer’s score since the start; 0 is neither way"),
    (
        "p_push",
        "p of push below 0",
        4,
        False,
        "how often chance alone lies as far below; all looks share one error rate",
    ),
    ("push_start_free", "push, free of the start", 3, True, "without sharpening what was likely already"),
    ("push_length_free", "push, free of length", 3, True, "without favouring long or short answers"),
    ("margin", "margin", 4, False, "r times the spread of the scores: goes on where r is full"),
    ("concordance", "concordance", 3, False, "pairs of answers that reward and score order alike; 0.5 is chance"),
    ("distance", "distance", 4, False, "nats a character moved: ranking means less the farther"),
)


def _direction(reading: Reading) -> Table | None:
    """Which way training moves probability, at the last look that tells."""
    rows = []
    for key, name, decimals, ends, meaning in _DIRECTION:
        value = latest(reading.mismatch(key))
        if math.isfinite(value):
            low, high = (latest(reading.mismatch(f"{key}_{end}")) for end in ("low", "high"))
            shown = fixed(value, digits=decimals, signed=ends)
            interval = span(low, high, signed=True) if ends else ""
            rows.append([name, shown, interval, f"{mismatch_prefix(reading.name)}{key}", meaning])
    columns = [Column(""), Column("now", "num"), Column("95 % interval", "num"), Column("key", "key")]
    columns.append(Column("meaning", "prose"))
    return Table(columns, rows, f"The direction of training, n = {reading.n_questions:,} questions") if rows else None


def _rolling(reading: Reading) -> list[Chart]:
    kept = reading.mismatch_keys("kendall/")
    shown = [one for one in reading.main_proxies() if one.key in kept]
    shown = shown or [reading.proxy(key) for key in kept[:4]]
    return [
        rolling_figure(reading, one)
        for one in shown
        if len(finite(reading.mismatch(f"kendall/{one.key}"))) >= LEAST_DRAWN
    ]


def _kl(reading: Reading) -> Chart | None:
    key = next((one.key for one in reading.main_proxies(99) if one.key.split("/")[-1] == "kl"), None)
    return kl_figure(reading, key) if key else None


def _peak(reading: Reading) -> Peak | None:
    """The fit d(α − β ln d) of HRE against d = √KL (Gao et al.)."""
    peak, low, high, share = (latest(reading.mismatch(f"kl_peak_rl{end}")) for end in ("", "_low", "_high", "_share"))
    return Peak(short(peak), short(low), short(high), f"{share:.0%}") if math.isfinite(peak) else None


def _displacement(reading: Reading) -> Chart | None:
    ends = (("best", "loglikelihood_top", "score"), ("worst", "loglikelihood_bottom", "proxy"))
    lines = [Line(name, f"{reading.name}/{key}", reading.metric(key), css) for name, key, css in ends]
    if len(finite(lines[0].values)) < LEAST_DRAWN:
        return None
    return lines_figure(reading, lines, "Log-likelihood of the best and worst voted answers", zero=False)


def _regret(reading: Reading) -> Table | None:
    rows = []
    for key in reading.mismatch_keys("regret/"):
        regret = latest(reading.mismatch(f"regret/{key}"))
        if math.isfinite(regret):
            rows.append([key, fixed(regret, signed=True), f"{len(finite(reading.signal(key))):,}"])
    caption = (
        "HRE at the look that HRE chooses minus HRE at the look that the signal chooses, chosen on one half of the "
        "questions and read on the other: at 0 or below, the signal chose no worse"
    )
    columns = [Column("signal"), Column("HRE given up", "num"), Column("evaluations", "num")]
    return Table(columns, rows, caption) if rows else None
