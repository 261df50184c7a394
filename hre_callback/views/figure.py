"""What the run's main figure shows, decided once as values: `svg`, `png` and `terminal` draw it and never see a record.

HRE stands above the training signals, one panel each, on one axis of steps. A panel is layers in drawing order. A
drawer decides what its medium has room for (air around the curves, number of ticks, fonts, colours), nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from ..formatting import count, fixed, short, span
from .headline import Headline, headline
from .numbers import earliest, finite, latest
from .reading import Mark, Numbers, Proxy, Reading
from .scale import Scale, spanning

# Runs to compare with, each with its name.
Others: TypeAlias = Sequence[tuple[str, Reading]]

# Fewer values of a training signal than these are a line of words and no panel.
LEAST_DRAWN = 3
# HRE is never shown so near that noise looks like news.
_LEAST = 0.02
# A line farther above the curve than this, in heights of the panel, would flatten it.
_NEAR = 1.6
_KEY = (
    "Light band: 95 % interval of HRE. Dark band: start + 95 % interval of the paired change; clear of the dotted "
    "start line = a clear change on that look."
)


@dataclass(frozen=True, slots=True)
class Band:
    """An interval around a curve; a `fine` one is left out where a picture has few rows."""

    role: Literal["interval", "paired", "human"]
    at: Sequence[int]
    low: Numbers
    high: Numbers
    fine: bool = False


@dataclass(frozen=True, slots=True)
class Curve:
    """One value a look, NaN where it is missing. `label` names it at its end; `turn` tells other runs apart."""

    role: Literal["score", "other", "proxy"]
    at: Sequence[int]
    values: Numbers
    label: str = ""
    turn: int = 0


@dataclass(frozen=True, slots=True)
class Rule:
    """A horizontal line at `y`, drawn above a break in the axis when it lies `beyond` it."""

    role: Literal["zero", "ceiling", "human", "start"]
    y: float
    name: str
    label: str = ""
    fine: bool = False
    beyond: bool = False


@dataclass(frozen=True, slots=True)
class Dot:
    """One look worth a mark; its `label` stands at the end of the panel, that of `best` above the dot."""

    role: Literal["start", "best", "now", "latest"]
    x: int
    y: float
    label: str = ""


Layer: TypeAlias = Band | Curve | Rule | Dot


@dataclass(frozen=True, slots=True)
class Panel:
    """One plot.

    Attributes:
        name: in a table; `title` and `about` are its heading.
        goal: which way is better, empty if neither.
        first, now: the first and the last value as words.
        description: the curve in words, for those who cannot see it.
        axis: what the y axis must hold, with some air; lines `beyond` it not.
        least: the smallest range that may fill the panel.
    """

    name: str
    title: str
    about: str
    goal: str
    first: str
    now: str
    description: str
    layers: Sequence[Layer]
    axis: Scale
    least: float

    @property
    def curve(self) -> Curve:
        """The run's own curve."""
        return next(layer for layer in self.layers if isinstance(layer, Curve) and layer.role != "other")

    @property
    def longest(self) -> int:
        """Values of the longest curve, whosever it is."""
        return max(len(finite(layer.values)) for layer in self.layers if isinstance(layer, Curve))

    @property
    def beyond(self) -> list[Rule]:
        """The lines above a break in the axis."""
        return [layer for layer in self.layers if isinstance(layer, Rule) and layer.beyond]


@dataclass(frozen=True, slots=True)
class Skip:
    """An evaluation that failed, and why."""

    step: int
    reason: str


@dataclass(frozen=True, slots=True)
class Figure:
    """The figure: its panels, HRE first, with what crosses all of them, and the words around it.

    Attributes:
        run: `model · trainer`.
        fingerprint: of the questions.
        told: training signals of too few values for a panel; `description` says them in words.
        key: what the bands mean.
        about: what the reader must know to judge it.
        x: the steps from the first look of any run drawn to the last.
    """

    verdict: Headline
    run: str
    fingerprint: str
    key: str
    about: str
    x: Scale
    panels: Sequence[Panel]
    told: Sequence[Panel]
    marks: Sequence[Mark]
    skipped: Sequence[Skip]


def main_figure(reading: Reading, others: Others = ()) -> Figure:
    """The run's main figure; `others` are `(name, reading)` of runs on the same questions."""
    fingerprint = reading.run.fingerprint
    about = (
        f"{reading.title} · n = {count(reading.n_questions, 'question')}, {count(reading.n_topics, 'topic')} · "
        f"questions {fingerprint} · {count(len(reading.looks), 'evaluation')}"
    )
    if math.isfinite(reading.people.hre):
        about += f" · people themselves {reading.people.words}"
    push = [_push(reading)] if len(finite(reading.mismatch("push"))) >= LEAST_DRAWN else []
    proxies = [_proxy(reading, one, others) for one in reading.main_proxies()]
    drawn = [panel for panel in proxies if panel.longest >= LEAST_DRAWN]
    skipped = [Skip(event.step, str(event.reason)) for event in reading.events_of("skipped")]
    return Figure(
        verdict=headline(reading),
        run=reading.title,
        fingerprint=fingerprint,
        key=_KEY,
        about=about,
        x=step_scale(reading, others),
        panels=[_people(reading, others), *push, *drawn],
        told=[panel for panel in proxies if panel not in drawn],
        marks=reading.marks,
        skipped=skipped,
    )


def step_scale(reading: Reading, others: Others = ()) -> Scale:
    """The shared x axis: from the first step to the last of all runs drawn."""
    seen = [step for one in (reading, *(other for _, other in others)) for step in one.steps]
    seen += [mark.step for mark in reading.marks]
    low, high = min(seen, default=0), max(seen, default=0)
    return Scale(low, high) if high > low else Scale(low, low + 1)


def _people(reading: Reading, others: Others) -> Panel:
    layers = [*_intervals(reading), *_score(reading), *_others(others)]
    axis, references = _references(reading, spanning(_reach(layers), least=_LEAST))
    layers = [*_people_band(reading, axis, step_scale(reading, others)), *references, *layers]
    return Panel(
        name="HRE",
        title="HumanRankEval",
        about="agreement with people’s votes",
        goal="higher",
        first=fixed(earliest(reading.score)),
        now=fixed(latest(reading.score)),
        description=_describe(reading),
        layers=layers,
        axis=axis,
        least=_LEAST,
    )


def _reach(layers: Sequence[Layer]) -> list[float]:
    """Every value that the panel must hold."""
    found: list[float] = []
    for layer in layers:
        if isinstance(layer, Band):
            found += [*layer.low, *layer.high]
        elif isinstance(layer, Curve):
            found += layer.values
    return found


def _references(reading: Reading, inside: Scale) -> tuple[Scale, list[Rule]]:
    """What HRE is held against, as lines, and the axis with those that are near; what is far above stands beyond it."""
    found: list[Rule] = []
    people, against = reading.people, []
    if math.isfinite(people.hre):
        against.append(Rule("human", people.hre, people.name, people.name))
    if math.isfinite(reading.ceiling):
        against.append(Rule("ceiling", reading.ceiling, "human ceiling", "ceiling"))
    for rule in against:
        rule = replace(rule, beyond=inside.at(rule.y) > _NEAR)
        inside = inside if rule.beyond else spanning([inside.low, inside.high, rule.y], margin=0.02)
        found.insert(0, rule)
    if inside.low < 0 < inside.high:
        found.insert(0, Rule("zero", 0.0, "zero", fine=True))
    return inside, found


def _people_band(reading: Reading, axis: Scale, x: Scale) -> Iterator[Band]:
    """The interval of people's own HRE across the panel, as far as the panel goes."""
    low, high = max(reading.people.low, axis.low), min(reading.people.high, axis.high)
    if low < high:
        at = [math.floor(x.low), math.ceil(x.high)]
        yield Band("human", at, [low] * 2, [high] * 2, fine=True)


def _intervals(reading: Reading) -> Iterator[Layer]:
    yield Band("interval", reading.steps, *reading.interval)
    start = reading.start
    if start is None:
        return
    base = reading.score[start]
    if len(reading.looks) > 1:
        yield Band("paired", reading.steps, *reading.paired, fine=True)
    yield Rule("start", base, "start", "start" if reading.now != start else f"{fixed(base)} start")
    yield Dot("start", reading.steps[start], base)


def _score(reading: Reading) -> Iterator[Layer]:
    at, score = reading.steps, reading.score
    start, best, now = reading.start, reading.best, reading.now
    yield Curve("score", at, score)
    if best is not None and best not in (now, start):
        yield Dot("best", at[best], score[best], f"highest {fixed(score[best])}")
    if now is not None and now != start:
        yield Dot("now", at[now], score[now], f"{fixed(score[now])} now")


def _others(others: Others) -> Iterator[Layer]:
    for turn, (name, other) in enumerate(others):
        yield Curve("other", other.steps, other.score, name, turn)


def _describe(reading: Reading) -> str:
    now, start, best = reading.now, reading.start, reading.best
    if now is None or best is None:
        return "HumanRankEval: no score yet."
    at, score = reading.steps, reading.score
    begun = f"from {fixed(score[start])} at the start " if start is not None else ""
    highest = f"highest {fixed(score[best])} at step {at[best]}"
    words = f"HumanRankEval {begun}to {fixed(score[now])} at step {at[now]}, {highest}"
    if math.isfinite(reading.people.hre):
        words += f"; people themselves {reading.people.words}"
    ceiling = reading.ceiling
    return words + (f"; human ceiling {fixed(ceiling, digits=2)}." if math.isfinite(ceiling) else ".")


def _push(reading: Reading) -> Panel:
    at, numbers = reading.steps, reading.mismatch("push")
    low, high = (reading.mismatch(f"push_{end}") for end in ("low", "high"))
    end = max(i for i, value in enumerate(numbers) if math.isfinite(value))
    first, now = (fixed(value, signed=True) for value in (earliest(numbers), numbers[end]))
    zero, band, curve = Rule("zero", 0.0, "zero"), Band("interval", at, low, high), Curve("proxy", at, numbers)
    return Panel(
        name="push",
        title="push",
        about="above 0 probability moves towards what people voted for, below 0 against it; band: 95 % interval",
        goal="higher",
        first=first,
        now=now,
        description=f"Push from {first} to {now} at step {at[end]} (95 % {span(low[end], high[end], signed=True)})",
        layers=[zero, band, curve, Dot("latest", at[end], numbers[end], now)],
        axis=spanning([0.0, *_reach([band, curve])], least=_LEAST),
        least=_LEAST,
    )


def _proxy(reading: Reading, one: Proxy, others: Others) -> Panel:
    at, numbers = reading.steps, reading.signal(one.key)
    first, now = short(earliest(numbers)), short(latest(numbers))
    end = max(i for i, value in enumerate(numbers) if math.isfinite(value))
    beside = [Curve("other", other.steps, other.signal(one.key), "", turn) for turn, (_, other) in enumerate(others)]
    return Panel(
        name=one.label,
        title=one.label,
        about=one.about,
        goal=one.better or "",
        first=first,
        now=now,
        description=_describe_proxy(one, finite(numbers)),
        layers=[*beside, Curve("proxy", at, numbers), Dot("latest", at[end], numbers[end], now)],
        axis=spanning(_reach([*beside, Curve("proxy", at, numbers)])),
        least=0.0,
    )


def _describe_proxy(one: Proxy, known: Sequence[float]) -> str:
    moved = f"from {short(known[0])} to {short(known[-1])}" if len(known) > 1 else short(known[0])
    return f"{one.label}{'' if one.label == one.key else f' ({one.key})'} {moved}, {count(len(known), 'evaluation')}"
