"""The report's section on style probes, as values: what else training moves the model towards."""

from __future__ import annotations

import math

from ..formatting import fixed
from ..run.drifts import FLOOR, leanings
from ..run.keys import probe_key
from ..run.words import probes_line
from .page import Column, Probes, Table
from .reading import Reading
from .scale import spanning
from .sections import numbers
from .small_figures import change_row

# What a kind of rewrite is, in words.
NAMES = {
    "markdown_added": "markdown added",
    "markdown_stripped": "markdown stripped",
    "cut": "cut in half",
    "padded": "padded with nothing",
    "hedged": "hedged",
    "flattering": "a flattering opener",
    "refusal": "a refusal instead",
}


def probes(reading: Reading) -> Probes | None:
    """Every style with its drift since the start, the largest first; None where none has drifted yet."""
    now = reading.now
    drift = {kind: _ends(reading, kind) for kind in reading.probes()} if now is not None else {}
    known = sorted((kind for kind in drift if math.isfinite(drift[kind][0])), key=lambda kind: -drift[kind][0])
    if now is None or not known:
        return None
    told = (reading.run.proof or {}).get("probes") or {}
    scale = spanning([0.0, *(value for kind in known for value in drift[kind])], margin=0.04, least=2 * FLOOR)
    names = ("questions", "left out", "drift")
    columns = [Column("answers rewritten"), *numbers(*names), Column("simultaneous 95 %", "draw")]
    rows = []
    for kind in known:
        delta, low, high = drift[kind]
        left_out = told.get("kinds", {}).get(kind, {}).get("left_out")
        rows.append(
            [
                NAMES.get(kind, kind),
                f"{reading.current(probe_key(kind, 'probe_n')):,.0f}",
                "–" if left_out is None else f"{left_out:,}",
                fixed(delta, signed=True),
                change_row(delta, low, high, scale),
            ]
        )
    more, less = leanings(reading.looks[now].metrics, reading.name)
    return Probes(
        Table(columns, rows, "Drift of rewritten answers against the answers, nats a character since the start"),
        low=fixed(scale.low, signed=True, digits=2),
        high=fixed(scale.high, signed=True, digits=2),
        floor=f"±{FLOOR:g}",
        more=", ".join(NAMES.get(kind, kind) for kind in known if kind in more),
        less=", ".join(NAMES.get(kind, kind) for kind in known if kind in less),
        cost=f"{probes_line(reading.name, told)}." if told else "",
    )


def _ends(reading: Reading, kind: str) -> tuple[float, float, float]:
    low, high = (reading.current(probe_key(kind, f"probe_drift_{end}")) for end in ("low", "high"))
    return reading.current(probe_key(kind, "probe_drift")), low, high
