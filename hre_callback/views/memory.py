"""The section on the model's knowledge cutoff, as values: what HRE did on either side of it."""

from __future__ import annotations

import math

from ..formatting import fixed, span
from ..run.keys import cutoff_key
from ..run.words import Change, cutoff_words, memory_words
from .page import Column, Cutoff, Table
from .reading import Reading
from .sections import numbers

# What of a side is shown: the level, and its change.
_SIDES = ("", "_change")


def cutoff(reading: Reading) -> Cutoff | None:
    """HRE and its change on questions from before the cutoff and after it, and whether the changes differ."""
    day = reading.config.get("cutoff")
    if not isinstance(day, str) or reading.now is None:
        return None
    sizes = [reading.current(cutoff_key(side, "cutoff_n")) for side in ("before", "after")]
    before, after = (int(n) if math.isfinite(n) else 0 for n in sizes)
    level, change = ([_figures(reading, cutoff_key(f"{side}{of}")) for side in ("before", "after")] for of in _SIDES)
    apart = _figures(reading, cutoff_key("difference"))
    known = any(math.isfinite(one.delta) for one in change)
    columns = [
        Column("questions"),
        *numbers("n", "now", "95 % interval", *(("change", "its interval") if known else ())),
    ]
    rows = []
    for side, n, now, moved in zip(("before", "after"), (before, after), level, change, strict=True):
        more = [fixed(moved.delta, signed=True), span(moved.low, moved.high, signed=True)] if known else []
        rows.append([f"from {side} {day}", f"{n:,}", fixed(now.delta), span(now.low, now.high), *more])
    if math.isfinite(apart.delta):
        more = [fixed(apart.delta, signed=True), span(apart.low, apart.high, signed=True)]
        rows.append(["after less before", f"{before + after:,}", "–", "–", *more])
    told = cutoff_words(day, before, after)
    if not told and (memory := memory_words(reading.looks[reading.now].metrics, reading.name, day)):
        told = f"{memory[0].upper()}{memory[1:]}."
    return Cutoff(Table(columns, rows, "HRE before and after the model’s knowledge cutoff"), told, known)


def _figures(reading: Reading, key: str) -> Change:
    return Change(*(reading.current(f"{key}{end}") for end in ("", "_low", "_high")))
