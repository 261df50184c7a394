"""The sections of the report below its main figure, as values; None where a run has nothing to say."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence

from ..formatting import count, fixed, short, span
from ..plain_text import one_line
from ..run.keys import group_key, mismatch_prefix
from ..run.lines import Event
from ..run.record import excerpts, vote
from ..run.words import Change, verdict_words
from .changes import Moved, TopicChange, moved_questions, topic_changes
from .figure import LEAST_DRAWN, Figure, Others
from .looks import Looks, Series
from .numbers import finite
from .page import Card, Column, Facts, Groups, Questions, Table, Topics
from .reading import Numbers, Reading
from .scale import Scale, spanning
from .small_figures import change_row, dumbbell, topic_sparkline

# Rows of the tables of topics and of events.
_TOPICS, _EVENTS = 30, 100
# What follows a key for the value itself and the ends of its interval.
_ENDS = ("", "_low", "_high")
# Characters of a group's name.
_NAME = 60


def numbers(*names: str) -> list[Column]:
    """Columns of numbers."""
    return [Column(name, "num") for name in names]


def topics(reading: Reading) -> Topics | None:
    """Every topic with its n, its curve and its change since the start on one shared scale."""
    rows = topic_changes(reading)
    # One topic is the score itself.
    if len(rows) < 2:
        return None
    shown = rows[:_TOPICS]
    scale = spanning([0.0, *(v for row in shown for v in (row.low, row.high, row.delta))], margin=0.04, least=0.02)
    changes = len(reading.looks) > 1
    caption = f"HRE by topic ({reading.name}/topic/…); n counts the questions with a defined correlation"
    if changes:
        columns = [Column("topic"), Column("n", "num"), Column("start", "num wide"), Column("now", "num")]
        columns += [Column("over the run", "spark wide")] if len(reading.looks) >= LEAST_DRAWN else []
        columns += [Column("change", "num"), Column("95 % interval", "draw")]
        cells = [_topic_row(reading, row, scale) for row in shown]
    else:
        columns = [Column("topic"), *numbers("n", "now")]
        cells = [[row.topic, f"{row.n:,}", fixed(row.now)] for row in shown]
    low, high = (fixed(end, signed=True, digits=2) for end in (scale.low, scale.high))
    return Topics(Table(columns, cells, caption), changes, low, high, len(rows) - len(shown))


def _topic_row(reading: Reading, row: TopicChange, scale: Scale) -> list[str]:
    numbers = [f"{row.n:,}", fixed(row.then), fixed(row.now)]
    curve = [topic_sparkline(reading, row.topic)] if len(reading.looks) >= LEAST_DRAWN else []
    change = [fixed(row.delta, signed=True), change_row(row.delta, row.low, row.high, scale)]
    return [row.topic, *numbers, *curve, *change]


def groups(reading: Reading) -> Groups | None:
    """HRE and its change since the start for every group of people, the largest gain first."""
    keys = reading.groups()
    if not keys:
        return None
    change = {key: _ends(reading, "group_change", key) for key in keys}
    known = any(math.isfinite(one.delta) for one in change.values())
    keys.sort(key=lambda key: -change[key].delta if known and math.isfinite(change[key].delta) else math.inf)
    columns = [Column("group"), *numbers("n", "now", "95 % interval", *(("change", "its interval") if known else ()))]
    rows = []
    for key in keys:
        level, moved = _ends(reading, "group", key), change[key]
        row = [
            _excerpt(key, _NAME),
            _number(reading.current(group_key(key, "group_n")), None),
            fixed(level.delta),
            span(level.low, level.high),
        ]
        rows.append(
            row + ([fixed(moved.delta, signed=True), span(moved.low, moved.high, signed=True)] if known else [])
        )
    towards, away = (
        [_excerpt(key, _NAME) for key in keys if change[key].direction == way] for way in ("higher", "lower")
    )
    return Groups(
        Table(columns, rows, f"HRE by group of people ({reading.name}/group/…)"),
        len(keys),
        known,
        ", ".join(towards),
        ", ".join(away),
    )


def _ends(reading: Reading, what: str, key: str) -> Change:
    return Change(*(reading.current(group_key(key, f"{what}{end}")) for end in _ENDS))


def questions(reading: Reading) -> Questions | None:
    """The questions whose correlation with the votes shifted most, with their best answer."""
    rose, fell = moved_questions(reading)
    if not rose and not fell:
        return None
    return Questions(f"{reading.n_questions:,}", list(map(_card, rose)), list(map(_card, fell)))


def _card(one: Moved) -> Card:
    votes = sorted(one.question.votes, reverse=True)
    text, best = excerpts(one.question)
    return Card(
        question=_excerpt(text),
        best=_excerpt(best),
        topic=one.question.topic,
        then=fixed(one.then),
        now=fixed(one.now),
        shift=fixed(one.now - one.then, signed=True),
        dumbbell=dumbbell(one.then, one.now),
        ranks=one.ranks,
        answers=len(votes),
        votes=vote(votes[0]),
        others=", ".join(map(vote, votes[1:])),
    )


def _excerpt(text: str, most: int = 200) -> str:
    text = one_line(text)
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


# Key of the last evaluation, its plain name, decimals (None: a count), and what it means.
_TRUST: tuple[tuple[str, str, int | None, str], ...] = (
    ("n", "questions", None, "the score is a mean over these"),
    ("left_out", "left out", None, "questions that the model cannot take: not scored"),
    ("undefined", "undefined", None, "scored questions whose votes are all equal: excluded, not counted as 0"),
    (
        "constant_scores",
        "constant scores",
        None,
        "questions whose answers the model scores alike: counted as r = 0",
    ),
    ("truncated", "cut answers", None, "answers longer than the context or max_length, cut at the end"),
    ("mde", "smallest change to be seen", 3, "a true change of this size is found 4 times in 5"),
    (
        "rho",
        "pairing ρ",
        3,
        "correlation of the questions’ r with those at the start: the higher, the sharper",
    ),
    ("p_drop", "p of a fall", 4, "how often chance alone falls this far; all looks share one error rate"),
    (
        "signal_to_noise",
        "signal to noise",
        1,
        "spread of the curve over the noise of its last five looks: noise alone gives 3 to 5",
    ),
    ("noise", "noise floor", 6, "change of HRE by arithmetic alone"),
    ("spearman", "Spearman", 3, "the same by ranks"),
    ("kendall", "Kendall", 3, "the same by pairs"),
    ("pair_accuracy", "pairs right", 3, "pairs of answers that the model orders as people do; 0.5 is chance"),
    ("top1", "favourite found", 3, "questions where the model’s first answer is people’s first"),
    ("length_bias", "length bias", 3, "correlation of the model’s scores with answer length"),
    ("votes_length", "votes and length", 3, "the same for people’s votes: what bias is fair"),
    ("length_partialled", "HRE without length", 3, "HRE with answer length partialled out"),
    ("style_partialled", "HRE without style", 3, "HRE with headers, bold, lists and code partialled out"),
    ("overhead", "share of wall time", 4, "spent on HRE"),
)


def trust(reading: Reading) -> Table | None:
    """What the score rests on, at the start and now."""
    start, now = reading.start, reading.now
    rows = []
    for key, name, decimals, meaning in _TRUST if now is not None else ():
        if math.isfinite(reading.current(key)):
            before = _number(reading.metric(key)[start], decimals) if start not in (None, now) else "–"
            rows.append([name, before, _number(reading.current(key), decimals), f"{reading.name}/{key}", meaning])
    people = reading.people
    if rows and math.isfinite(people.hre):
        key, hre = f"{reading.name}/human_hre", fixed(people.hre)
        meaning = f"each against the others, leave one out, where two or more rated: {people.words}"
        rows.append(["people’s own HRE", hre, hre, key, meaning])
    columns = [Column(""), *numbers("start", "now"), Column("key", "key"), Column("meaning", "prose")]
    if start in (None, now):
        columns, rows = [columns[0], *columns[2:]], [[row[0], *row[2:]] for row in rows]
    return Table(columns, rows, f"Means over n = {reading.n_questions:,} questions") if rows else None


def _number(value: float, decimals: int | None) -> str:
    if decimals is not None:
        return fixed(value, digits=decimals)
    return f"{value:,.0f}" if math.isfinite(value) else "–"


def events(reading: Reading) -> Table | None:
    """Stops, skips, saves and resumptions, with their reasons."""
    rows = [
        [f"{event.step:,}", _event_name(event), _excerpt(event.reason or "", 300)]
        for event in reading.events
        if event.kind != "finished"
    ]
    cut = f", the last {_EVENTS} of {len(rows)}" if len(rows) > _EVENTS else ""
    columns = [Column("step", "num"), Column("event"), Column("reason", "prose")]
    return Table(columns, rows[-_EVENTS:], f"What happened besides training{cut}") if rows else None


def _event_name(event: Event) -> str:
    names = {"save": "checkpoint asked for", "skipped": "evaluation skipped"}
    rule = f" ({event.rule})" if event.rule else ""
    return names.get(event.kind, event.kind) + rule


def evaluations(reading: Reading, figure: Figure, others: Others = ()) -> Looks:
    """The numbers of the main figure, at every step of any run that is drawn."""
    mine = {step: i for i, step in enumerate(reading.steps)}
    steps = sorted(mine.keys() | {step for _, other in others for step in other.steps})
    own = [_of_run(one, [mine.get(step) for step in steps]) for one in _own(reading)]
    beside = []
    for name, other in others:
        its = {step: i for i, step in enumerate(other.steps)}
        said = Series(name, f"{other.name}/score", _scores(other))
        beside.append(_of_run(said, [its.get(step) for step in steps]))
    # HRE and its change, then that of the others, then the signals.
    series = [*own[:2], *beside, *own[2:]]
    return Looks("step", [f"{step:,}" for step in steps], [figure.x.at(step) for step in steps], series)


def _of_run(one: Series, looks: Sequence[int | None]) -> Series:
    """A run's words at steps of which it has some."""
    return Series(one.name, one.key, ["" if i is None else one.words[i] for i in looks])


def _own(reading: Reading) -> Iterator[Series]:
    """What is known at each look of a run."""
    yield Series("HRE (95 % interval)", f"{reading.name}/score", _scores(reading))
    change = _with_intervals(*(reading.metric(f"delta_start{end}") for end in _ENDS), signed=True)
    # The start has changed by nothing, whatever stands there.
    known = ["" if i == reading.start else words for i, words in enumerate(change)]
    yield Series("change (paired 95 %)", f"{reading.name}/delta_start", known)
    push = [reading.mismatch(f"push{end}") for end in _ENDS]
    if len(finite(push[0])) >= LEAST_DRAWN:
        words = _with_intervals(*push, signed=True)
        yield Series("push (95 % interval)", f"{mismatch_prefix(reading.name)}push", words)
    for proxy in reading.main_proxies():
        values = reading.signal(proxy.key)
        yield Series(proxy.label, proxy.key, [short(value) if math.isfinite(value) else "" for value in values])
    yield Series("verdict", "", [verdict_words(look.verdict) for look in reading.looks])
    counted = reading.metric("n")
    if len(set(finite(counted))) > 1:
        yield Series("questions", f"{reading.name}/n", [_number(value, None) for value in counted])


def _scores(reading: Reading) -> list[str]:
    return _with_intervals(reading.score, *reading.interval)


def _with_intervals(values: Numbers, lows: Numbers, highs: Numbers, *, signed: bool = False) -> list[str]:
    """`0.254 (0.210 to 0.300)` at each look, empty where there is none."""
    return [
        fixed(value, signed=signed) + (f" ({span(low, high, signed=signed)})" if math.isfinite(low + high) else "")
        if math.isfinite(value)
        else ""
        for value, low, high in zip(values, lows, highs, strict=True)
    ]


def facts(reading: Reading) -> Facts:
    """What was run, on which questions, with which versions, and what it cost; what is unknown is left out."""
    run, skipped = reading.run, len(reading.events_of("skipped"))
    seconds = math.fsum(look.seconds or 0.0 for look in reading.looks)
    pairs = [
        ("model", run.model or ""),
        ("trainer", run.trainer or ""),
        ("questions", f"{len(reading.questions):,} in {count(reading.n_topics, 'topic')}"),
        ("fingerprint", run.fingerprint),
        ("started", run.started or ""),
        ("evaluations", f"{len(reading.looks):,} in {seconds:,.1f} s, {skipped} skipped"),
        ("planned looks", str(run.planned_looks or "")),
        ("state", "finished" if reading.finished else "not finished when this was written"),
        ("versions", ", ".join(f"{name} {found}" for name, found in run.versions.items())),
    ]
    return [(name, value) for name, value in pairs if value]


def settings(reading: Reading) -> Facts:
    """The run's settings as JSON."""
    return [(key, json.dumps(value, ensure_ascii=False)) for key, value in reading.config.items()]
