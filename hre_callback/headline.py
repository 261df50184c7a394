"""The verdict on a run in plain words, from its record. Pure.

The gravest thing that the record supports wins; an open question is said to be open, and one bad look alone is a
warning, not a verdict.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .story import (
    Tone,
    count,
    current,
    diverged_since,
    events,
    finished,
    fixed,
    last_index,
    min_delta,
    n_questions,
    start_index,
    steps,
    values,
)

if TYPE_CHECKING:
    from .record import Record

_Said = tuple[Tone, str] | None


@dataclass(frozen=True, slots=True)
class Headline:
    """The verdict: `tone` colours it, `title` says it in a few words, `detail` gives the numbers behind it."""

    tone: Tone
    title: str
    detail: str


def headline(record: Record) -> Headline:
    """What the run is for people, in a few words, with the numbers behind it."""
    for look in _VERDICTS:
        said = look(record)
        if said is not None:
            return Headline(*said, detail(record))
    raise AssertionError("the last verdict always speaks")


def detail(record: Record) -> str:
    """The numbers behind the verdict in a sentence, each with its interval and its n."""
    now, start = last_index(record), start_index(record)
    if now is None:
        return "No evaluation has a score."
    n = n_questions(record)
    interval = _interval(values(record, "ci_low")[now], values(record, "ci_high")[now])
    text = f"HRE {fixed(values(record, 'score')[now])} at step {steps(record)[now]:,}{interval}, n = {count(n, 'question')}"
    delta = values(record, "delta_start")[now]
    if now != start and math.isfinite(delta):
        low, high = values(record, "delta_start_low")[now], values(record, "delta_start_high")[now]
        paired = _interval(low, high, signed=True, name="paired 95 %")
        text += f"; {fixed(delta, signed=True)} since the start{paired}"
    return text + "."


def _interval(low: float, high: float, *, signed: bool = False, name: str = "95 %") -> str:
    if not (math.isfinite(low) and math.isfinite(high)):
        return ""
    return f" ({name} interval {fixed(low, signed=signed)} to {fixed(high, signed=signed)})"


def _unmeasured(record: Record) -> _Said:
    now = last_index(record)
    if now is None:
        return "neutral", "Nothing measured yet"
    if now == start_index(record):
        return "neutral", "Only the start is measured so far"
    return None


def _diverged(record: Record) -> _Said:
    since = diverged_since(record)
    if since is None or record.evaluations[-1].get("verdict") != "mismatch":
        return None
    return "bad", f"Training objective and people part ways since step {since:,}"


def _fallen(record: Record) -> _Said:
    rules = {stop.get("rule"): int(stop["step"]) for stop in events(record, "stop")}
    if "drop_from_start" in rules or _fell_for_several_looks(record):
        return "bad", "Worse for people than at the start"
    if "drop_from_best" in rules:
        return "bad", f"Past its best for people: stopped at step {rules['drop_from_best']:,}"
    return None


def _fell_for_several_looks(record: Record) -> bool:
    """Below the start, interval and all, by at least `min_delta`, on as many looks in a row as a stop rule wants."""
    looks = int((record.run.get("config") or {}).get("consecutive") or 2)
    both = zip(values(record, "delta_start"), values(record, "delta_start_high"), strict=True)
    tail = [(delta, high) for delta, high in both if math.isfinite(delta)][-looks:]
    return len(tail) == looks and all(high < 0 and -delta >= min_delta(record) for delta, high in tail)


def _watched(record: Record) -> _Said:
    since = diverged_since(record)
    if since is not None:
        return "watch", f"Watch: objective and people may be parting ways (step {since:,})"
    if current(record, "delta_start_high") < 0:
        return "watch", "Watch: lower for people than at the start on the last look"
    return None


def _compared(record: Record) -> _Said:
    low = current(record, "delta_start_low")
    above, below = current(record, "ci_low") > 0, current(record, "ci_high") < 0
    if low > 0:  # a rise is good news only for a model that does not still rank against people
        chance = "" if above else ", still below chance" if below else ", not clear of chance"
        return "neutral" if below else "good", f"Better for people than at the start{chance}"
    end = finished(record)
    if end is not None and (end.get("summary") or {}).get("beats_start") is False:
        return "neutral", "No checkpoint beats the start"
    if low >= -min_delta(record):
        if above:
            return "good", "Still good for people"
        return "neutral", f"No worse than at the start, but {'below' if below else 'not clear of'} chance"
    return None


def _open(record: Record) -> _Said:
    low = current(record, "delta_start_low")
    if not math.isfinite(low):
        known = start_index(record) is not None
        return (
            "neutral",
            "How it compares with the start is not known" if known else "No start to compare with",
        )
    return "neutral", f"No change to be seen; a fall of {fixed(-low)} could still hide"


_VERDICTS: tuple[Callable[[Record], _Said], ...] = (
    _unmeasured,
    _diverged,
    _fallen,
    _watched,
    _compared,
    _open,
)
