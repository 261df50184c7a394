"""What the page shows, as values, and the one place where they meet its template.

The template escapes everything that is no markup, and only `svg.element` makes markup. The page is self-contained: its
policy forbids every request.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ..plain_text import as_html
from .headline import Headline

# Names and values.
Facts = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: its class in the style sheet (`num`, `wide`, `draw`, `spark`), its key in the record."""

    name: str
    css: str = ""
    key: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A table; the first cell of a row is its heading. A cell is words, or a figure.

    Raises:
        ValueError: a row has more or fewer cells than there are columns.
    """

    columns: Sequence[Column]
    rows: Sequence[Sequence[str]]
    caption: str

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"a row of {len(row)} cells in a table of {len(self.columns)} columns: {row}")


@dataclass(frozen=True, slots=True)
class Answers:
    """What the page says below its headings, see `answers`; empty where nothing is to be said."""

    signal: str
    moved: str
    do: Sequence[str]
    sure: Sequence[str]


@dataclass(frozen=True, slots=True)
class Chart:
    """A figure, and the numbers that it is drawn from."""

    drawn: Markup
    numbers: Table


@dataclass(frozen=True, slots=True)
class RunCard:
    """A run beside others: its name, the class of its line, its verdict, where it stands on the scale of all."""

    name: str
    css: str
    verdict: Headline
    thermometer: Markup


@dataclass(frozen=True, slots=True)
class Comparison:
    """All runs side by side; `apart` names those not to be drawn together, `said` how the others stand to this one."""

    cards: Sequence[RunCard]
    table: Table
    apart: str
    said: Sequence[str]


@dataclass(frozen=True, slots=True)
class Triangle:
    """People, model and reward: the triangle and its three curves; whether the reward is an explicit one."""

    drawn: Markup
    curves: Chart | None
    explicit: bool


@dataclass(frozen=True, slots=True)
class Peak:
    """Where the fit of HRE against √KL peaks, its 95 % interval, and the share of resamples that have a peak."""

    at: str
    low: str
    high: str
    share: str


@dataclass(frozen=True, slots=True)
class Signals:
    """Objective mismatch over `n` questions; what cannot be said is empty or None."""

    n: str
    triangle: Triangle | None
    direction: Table | None
    rolling: Sequence[Chart]
    kl: Chart | None
    peak: Peak | None
    displacement: Chart | None
    regret: Table | None


@dataclass(frozen=True, slots=True)
class Topics:
    """Every topic; `changes` since the start lie between `low` and `high`; `left_out` are too many to show."""

    table: Table
    changes: bool
    low: str
    high: str
    left_out: int


@dataclass(frozen=True, slots=True)
class Groups:
    """`n` groups of people; whether there are `changes`, and the groups that HRE clearly rose for and fell for."""

    table: Table
    n: int
    changes: bool
    towards: str
    away: str


@dataclass(frozen=True, slots=True)
class Probes:
    """Style probes: drifts between `low` and `high`, the styles clearly leant to more and less, and their cost."""

    table: Table
    low: str
    high: str
    floor: str
    more: str
    less: str
    cost: str


@dataclass(frozen=True, slots=True)
class Cutoff:
    """Both sides of the model's cutoff; what is `told` of them, if anything; whether there are `changes`."""

    table: Table
    told: str
    changes: bool


@dataclass(frozen=True, slots=True)
class Card:
    """A question that moved: r then and now, where the model ranks people's favourite, its votes."""

    question: str
    best: str
    topic: str
    then: str
    now: str
    shift: str
    dumbbell: Markup
    ranks: tuple[int, int] | None
    answers: int
    votes: str
    others: str


@dataclass(frozen=True, slots=True)
class Questions:
    """The questions that moved most, towards people and away from them, of `n`."""

    n: str
    rose: Sequence[Card]
    fell: Sequence[Card]


@dataclass(frozen=True, slots=True)
class Page:
    """The whole page; a section without anything to say is None, or empty."""

    run: str
    verdict: Headline
    thermometer: Markup
    answers: Answers
    figure: Chart | None
    has_skips: bool
    has_others: bool
    has_ceiling: bool
    ceiling: str
    people: str
    comparison: Comparison | None
    signals: Signals | None
    topics: Topics | None
    groups: Groups | None
    cutoff: Cutoff | None
    probes: Probes | None
    questions: Questions | None
    trust: Table | None
    events: Table | None
    facts: Facts
    settings: Facts


def written(page: Page) -> str:
    """The page as HTML."""
    return from_template("page.html.jinja", page=page)


def from_template(name: str, **values: object) -> str:
    """What a template of this folder makes of `values`, each one escaped."""
    return _environment().get_template(name).render(**values)


@cache
def _environment() -> Environment:
    return Environment(
        autoescape=True,
        finalize=_letters,
        loader=FileSystemLoader(Path(__file__).parent),
        lstrip_blocks=True,
        trim_blocks=True,
        undefined=StrictUndefined,
    )


def _letters(value: object) -> Markup:
    """Every value that the template writes: markup as it is, all else as letters that nobody acts on."""
    return value if isinstance(value, Markup) else Markup(as_html(value))
