"""The sections of the report below its main figure; each takes the record and gives markup, or nothing to say."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from .figures import change_row, dumbbell, topic_sparkline
from .headline import headline
from .page import facts, paragraph, section, table
from .shifts import Moved, TopicChange, moved_questions, topic_changes
from .story import (
    best_index,
    comparable,
    count,
    current,
    events,
    finished,
    fixed,
    last_index,
    main_proxies,
    n_questions,
    proxy_values,
    short,
    start_index,
    steps,
    values,
)
from .svg import Scale, spanning

if TYPE_CHECKING:
    from .record import Record

_TOPICS = 30  # rows of the topic table
_ROWS = 300  # rows of the table of all evaluations
_NUM = "num"


def comparison(record: Record, name: str, others: Sequence[tuple[str, Record]]) -> str:
    """All runs side by side; a run on other questions is listed but said to be incomparable."""
    if not others:
        return ""
    columns = [
        ("run", ""),
        ("start", _NUM),
        ("now", _NUM),
        ("change, 95 % interval", _NUM),
        ("highest", _NUM),
    ]
    columns += [("n", _NUM), ("verdict", "")]
    rows = [_run_row(name, record)] + [_run_row(label, other) for label, other in others]
    apart = [label for label, other in others if not comparable(record, other)]
    warning = (
        f"Not drawn: {', '.join(apart)}. Scored on other questions or in another way, so not comparable."
    )
    caption = "Start and change are of the same run; a difference between two runs has no interval here."
    return section(
        "compare", "Runs compared", table(columns, rows, caption), paragraph(warning, "note") if apart else ""
    )


def _run_row(name: str, record: Record) -> list[str]:
    start, now, best = start_index(record), last_index(record), best_index(record)
    score, at = values(record, "score"), steps(record)
    low, high = (fixed(current(record, f"delta_start_{side}"), signed=True) for side in ("low", "high"))
    return [
        escape(name),
        fixed(score[start]) if start is not None else "–",
        f"{fixed(score[now])} @ {at[now]:,}" if now is not None else "–",
        f"{fixed(current(record, 'delta_start'), signed=True)} ({low} to {high})",
        f"{fixed(score[best])} @ {at[best]:,}" if best is not None else "–",
        f"{n_questions(record):,}",
        escape(headline(record).title),
    ]


def topics(record: Record) -> str:
    """Every topic with its n, its curve and its change since the start on one shared scale."""
    rows = topic_changes(record)
    if not rows:
        return ""
    shown = rows[:_TOPICS]
    ends = [v for row in shown for v in (row.low, row.high, row.delta)]
    scale = spanning([0.0, *ends], margin=0.04, least=0.02)
    many = len(record.evaluations) > 1
    columns = [("topic", ""), ("n", _NUM), ("now", _NUM)]
    if many:
        columns[2:2] = [("start", f"{_NUM} wide")]
        columns += [("over the run", "spark wide"), ("change", _NUM), ("95 % interval", "draw")]
    cells = [_topic_row(record, row, scale) for row in shown]
    if not many:
        cells = [[cell[0], cell[1], cell[3]] for cell in cells]
    caption = "HRE by topic; n counts the questions with a defined correlation"
    words = (
        f"Each interval is a paired t interval on its own, from {fixed(scale.low, signed=True, digits=2)} to "
        f"{fixed(scale.high, signed=True, digits=2)}; the upright hairline is no change. Of many topics, about one "
        "in twenty leaves it by chance alone."
    )
    if len(rows) > len(shown):
        words += f" The {len(rows) - len(shown)} smallest topics are left out."
    return section(
        "topics", "By topic", table(columns, cells, caption), paragraph(words, "note") if many else ""
    )


def _topic_row(record: Record, row: TopicChange, scale: Scale) -> list[str]:
    change = [fixed(row.delta, signed=True), change_row(row.delta, row.low, row.high, scale)]
    numbers = [f"{row.n:,}", fixed(row.then), fixed(row.now)]
    return [escape(row.topic), *numbers, topic_sparkline(record, row.topic), *change]


def questions(record: Record) -> str:
    """The questions whose correlation with the votes shifted most, with their best answer."""
    rose, fell = moved_questions(record)
    if not rose and not fell:
        return ""
    note = (
        f"The largest shifts among {n_questions(record):,} questions: read them as examples, not as evidence. With "
        "few answers to a question its own r jumps by chance. r is the correlation of the model’s scores with the "
        "votes; hollow: at the start, filled: now."
    )
    sides = (("Towards people", rose), ("Away from people", fell))
    body = "".join(
        f"<div><h3>{title}</h3>{''.join(map(_question, found)) or paragraph('None.')}</div>"
        for title, found in sides
    )
    return section(
        "questions", "Questions that moved most", paragraph(note, "note"), f'<div class="pair">{body}</div>'
    )


def _question(one: Moved) -> str:
    question = one.question
    votes = sorted(question["votes"], reverse=True)
    ranks = ""
    if one.ranks is not None:
        before, after = one.ranks
        ranks = (
            f" People’s favourite: ranked {before} of {len(votes)} by the model at the start, now {after}."
        )
    shift = f"r {fixed(one.then)} → {fixed(one.now)} ({fixed(one.now - one.then, signed=True)})."
    votes_line = f"{votes[0]} votes; the others {', '.join(map(str, votes[1:]))}. Topic: {question['topic']}."
    return (
        f"<article><h4>{escape(_excerpt(question['question']))}</h4>\n"
        f'<div class="dumb">{dumbbell(one.then, one.now)}</div>\n{paragraph(shift + ranks)}'
        f"<blockquote>{escape(_excerpt(question['best_answer']))}</blockquote>"
        f"{paragraph(votes_line, 'note')}</article>\n"
    )


def _excerpt(text: str, most: int = 200) -> str:
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


# Key of the last evaluation, its plain name, decimals (None: a count), and what it means.
_TRUST: tuple[tuple[str, str, int | None, str], ...] = (
    ("n", "questions", None, "the score is a mean over these"),
    ("left_out", "left out", None, "questions that alone fill the context: not scored"),
    ("undefined", "undefined", None, "questions whose votes are all equal: excluded, not counted as 0"),
    (
        "constant_scores",
        "constant scores",
        None,
        "questions whose answers the model scores alike: counted as r = 0",
    ),
    ("truncated", "cut answers", None, "answers longer than the context, cut at the end"),
    ("mde", "smallest change to be seen", 3, "a true change of this size is found 4 times in 5"),
    (
        "rho",
        "pairing ρ",
        3,
        "correlation of the questions’ r with those at the start: the higher, the sharper",
    ),
    ("p_drop", "p of a fall", 3, "how often chance alone falls this far; all looks share one error rate"),
    ("human_hre", "a human’s HRE", 3, "one annotator against the others"),
    ("noise", "noise floor", 6, "change of HRE by arithmetic alone"),
    ("spearman", "Spearman", 3, "the same by ranks"),
    ("kendall", "Kendall", 3, "the same by pairs"),
    ("pair_accuracy", "pairs right", 3, "pairs of answers that the model orders as people do; 0.5 is chance"),
    ("top1", "favourite found", 3, "questions where the model’s first answer is people’s first"),
    ("length_bias", "length bias", 3, "correlation of the model’s scores with answer length"),
    ("votes_length", "votes and length", 3, "the same for people’s votes: what bias is fair"),
    ("length_partialled", "HRE without length", 3, "HRE with answer length partialled out"),
    ("overhead", "share of wall time", 4, "spent on HRE"),
)


def trust(record: Record) -> str:
    """What the score rests on, at the start and now."""
    start, now = start_index(record), last_index(record)
    if now is None:
        return ""
    rows = []
    for key, name, decimals, meaning in _TRUST:
        numbers = values(record, key)
        if math.isfinite(numbers[now]):
            before = _number(numbers[start], decimals) if start not in (None, now) else "–"
            rows.append([escape(name), before, _number(numbers[now], decimals), escape(meaning)])
    columns = [("", ""), ("start", _NUM), ("now", _NUM), ("meaning", "")]
    if start in (None, now):
        columns, rows = [columns[0], *columns[2:]], [[row[0], *row[2:]] for row in rows]
    caption = f"Means over n = {n_questions(record):,} questions"
    return section("trust", "What the score rests on", table(columns, rows, caption)) if rows else ""


def _number(value: float, decimals: int | None) -> str:
    return (
        fixed(value, digits=decimals)
        if decimals is not None
        else f"{value:,.0f}"
        if math.isfinite(value)
        else "–"
    )


def events_list(record: Record) -> str:
    """Stops, skips, saves and resumptions, with their reasons."""
    rows = [
        [
            f"{event['step']:,}",
            escape(_event_name(event)),
            escape(_excerpt(str(event.get("reason") or ""), 300)),
        ]
        for event in record.events
        if event.get("kind") != "finished"
    ]
    shown = rows[-100:]
    caption = "What happened besides training" + (f", the last 100 of {len(rows)}" if len(rows) > 100 else "")
    columns = [("step", _NUM), ("event", ""), ("reason", "")]
    return section("events", "Events", table(columns, shown, caption)) if rows else ""


def _event_name(event: Mapping[str, Any]) -> str:
    names = {"save": "checkpoint asked for", "skipped": "evaluation skipped"}
    rule = f" ({event['rule']})" if event.get("rule") else ""
    return names.get(str(event["kind"]), str(event["kind"])) + rule


def evaluations(record: Record) -> str:
    """Every evaluation as a table, folded away: the numbers behind the figure."""
    if not record.evaluations:
        return ""
    proxies = main_proxies(record)
    columns = [
        ("step", _NUM),
        ("HRE", _NUM),
        ("95 % interval", _NUM),
        ("change", _NUM),
        ("its interval", _NUM),
    ]
    columns += [("n", _NUM)] + [(one.label, _NUM) for one in proxies] + [("verdict", "")]
    curves = {key: values(record, key) for key in ("score", "ci_low", "ci_high", "delta_start", "n")}
    paired = [values(record, f"delta_start_{side}") for side in ("low", "high")]
    signals_of = [proxy_values(record, one.key) for one in proxies]
    every = math.ceil(len(record.evaluations) / _ROWS)
    rows = []
    for i, look in enumerate(record.evaluations):
        if i % every and i != len(record.evaluations) - 1:
            continue
        interval = f"{fixed(curves['ci_low'][i])} to {fixed(curves['ci_high'][i])}"
        change = f"{fixed(paired[0][i], signed=True)} to {fixed(paired[1][i], signed=True)}"
        row = [
            f"{look['step']:,}",
            fixed(curves["score"][i]),
            interval,
            fixed(curves["delta_start"][i], signed=True),
        ]
        row += [change, _number(curves["n"][i], None), *(short(numbers[i]) for numbers in signals_of)]
        rows.append([*row, escape(str(look.get("verdict") or ""))])
    caption = count(len(record.evaluations), "evaluation") + (f", one in {every} shown" if every > 1 else "")
    body = f"<details><summary>{caption}</summary>\n{table(columns, rows, caption)}</details>"
    return section("evaluations", "All evaluations", body)


def facts_list(record: Record) -> str:
    """What was run, on which questions, with which versions and settings, and what it cost."""
    run = record.run
    seconds = math.fsum(float(look.get("seconds") or 0.0) for look in record.evaluations)
    asked = {question["topic"] for question in run["questions"]}
    pairs = [
        ("model", str(run.get("model") or "")),
        ("trainer", str(run.get("trainer") or "")),
        ("questions", f"{len(run['questions']):,} in {count(len(asked), 'topic')}"),
        ("fingerprint", str(run["fingerprint"])),
        ("started", str(run.get("started") or "")),
        (
            "evaluations",
            f"{len(record.evaluations):,} in {seconds:,.1f} s, {len(events(record, 'skipped'))} skipped",
        ),
        ("planned looks", str(run.get("planned_looks") or "")),
        ("state", "finished" if finished(record) else "not finished when this was written"),
        ("versions", ", ".join(f"{name} {found}" for name, found in (run.get("versions") or {}).items())),
    ]
    config = {key: json.dumps(value, ensure_ascii=False) for key, value in (run.get("config") or {}).items()}
    settings = (
        f"<details><summary>Settings</summary>{facts(list(config.items()))}</details>" if config else ""
    )
    return section("facts", "The run", facts(pairs), settings)
