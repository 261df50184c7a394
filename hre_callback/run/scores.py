"""Scores of one model outside any run: as JSON lines, as numbers and as a table."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table
from rich.text import Text

from ..config import HREConfig
from ..data.questions import Question
from ..files import write_whole
from ..formatting import count, fixed, span
from ..plain_text import plain_text
from ..stats.correlation import HREResult
from ..stats.significance import bootstrap_interval
from .cutoff import After, cutoff_figures
from .keys import cutoff_key
from .record import plain

_CORRELATIONS = ("pearson", "spearman", "kendall")


def score_rows(
    result: HREResult, questions: Sequence[Question], config: HREConfig | None = None
) -> list[dict[str, Any]]:
    """One JSON-plain row per question: `id`, `topic`, the three correlations (null where undefined), `loglikelihoods`.

    `divisors` are what these were divided by to give the scores, as far as known. `fingerprint`, `scoring` (the
    settings that scores depend on) and, where the questions have one, `cluster` are there so that two files can be
    compared.
    """
    rows = []
    for i, question in enumerate(questions):
        row: dict[str, Any] = {"id": question.id, "topic": question.topic}
        row |= {name: result.per_question[name][i] for name in _CORRELATIONS}
        row |= {"loglikelihoods": result.loglikelihoods[i], "fingerprint": result.fingerprint}
        row |= {"scoring": (config or HREConfig()).identity(result.rendering)}
        if result.divisors is not None:
            row["divisors"] = result.divisors[i]
        if question.cluster is not None:
            row["cluster"] = question.cluster
        if question.judge is not None:
            row["judge"] = question.judge
        if question.date is not None:
            row["date"] = question.date
        rows.append(plain(row))
    return rows


def write_scores(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write JSON lines, whole or not at all."""
    write_whole(path, (json.dumps(row, allow_nan=False).encode() + b"\n" for row in rows))


def check_defined(result: HREResult, name: str) -> None:
    """Refuse a result that holds no score at all.

    Raises:
        ValueError: names the questions and why none of them counts.
    """
    if result.n:
        return
    equal = sum(len(set(votes)) == 1 for votes in result.votes)
    why = [f"all votes are equal in {equal}"] if equal else []
    why += [f"{result.left_out} could not be read by the model"] if result.left_out else []
    raise ValueError(
        f"{name}: none of the {len(result.ids)} questions gives a score ({', '.join(why)}); "
        "expected answers with different votes, short enough for the model"
    )


def summarize(result: HREResult) -> dict[str, Any]:
    """Score, interval, the other correlations and counts, over all questions and by topic."""
    interval = bootstrap_interval(result.per_question["pearson"], clusters=result.clusters)
    return plain(  # type: ignore[no-any-return]
        {
            "score": result.score,
            "ci_low": interval.low,
            "ci_high": interval.high,
            "spearman": result.mean("spearman"),
            "kendall": result.mean("kendall"),
            "pair_accuracy": result.mean("pair_accuracy"),
            "n": result.n,
            "undefined": result.undefined,
            "left_out": result.left_out,
            "truncated": result.truncated,
            "fingerprint": result.fingerprint,
            "topics": {
                topic: {"score": mean, "ci_low": low, "ci_high": high, "n": n}
                for topic, mean, low, high, n in _by_topic(result)
            },
        }
    )


def topic_table(result: HREResult, title: str) -> Table:
    """HRE with its 95 % interval, per topic and over all."""
    table = Table(title=Text(f"HumanRankEval of {plain_text(title)}"), caption=Text(_caption(result)))
    for column in ("topic", "HRE", "95 % interval", "Spearman", "pairs right", "questions"):
        table.add_column(column, justify="left" if column == "topic" else "right")
    spearman, pairs = result.by_topic("spearman"), result.by_topic("pair_accuracy")
    for topic, mean, low, high, n in _by_topic(result):
        table.add_row(
            Text(plain_text(topic)),
            _shown(mean),
            _span(low, high),
            _shown(spearman[topic][0]),
            _shown(pairs[topic][0], ".1%"),
            str(n),
        )
    total = bootstrap_interval(result.per_question["pearson"], clusters=result.clusters)
    table.add_section()
    table.add_row(
        "all",
        fixed(result.score, digits=4),
        _span(total.low, total.high),
        fixed(result.mean("spearman"), digits=4),
        f"{result.mean('pair_accuracy'):.1%}",
        str(result.n),
        style="bold",
    )
    return table


def cutoff_summary(result: HREResult, after: After) -> dict[str, Any]:
    """HRE before and after the cutoff, `{"before": {"score", "ci_low", "ci_high", "n"}, "after": ...}`, JSON-plain."""
    row = cutoff_figures(after, None, np.asarray(result.per_question["pearson"]), result.clusters, seed=0)
    ends = {"score": "", "ci_low": "_low", "ci_high": "_high"}
    told = {}
    for side in ("before", "after"):
        told[side] = {name: row.get(cutoff_key(f"{side}{end}"), math.nan) for name, end in ends.items()}
        told[side]["n"] = row[cutoff_key(side, "cutoff_n")]
    return plain(told)  # type: ignore[no-any-return]


def _by_topic(result: HREResult) -> list[tuple[str, float, float, float, int]]:
    rows = []
    for topic, (mean, n) in result.by_topic().items():
        of_topic = np.asarray(result.topics) == topic
        clusters = result.clusters and [c for c, t in zip(result.clusters, result.topics, strict=True) if t == topic]
        interval = bootstrap_interval(result.per_question["pearson"][of_topic], clusters=clusters)
        rows.append((topic, mean, interval.low, interval.high, n))
    return rows


def _shown(number: float, form: str = ".4f") -> str:
    return "–" if math.isnan(number) else format(number, form).replace("-", "−")


def _span(low: float, high: float) -> str:
    return span(low, high) if math.isfinite(low + high) else "–"


def _caption(result: HREResult) -> str:
    notes = [f"questions {result.fingerprint}"]
    if result.left_out:
        notes.append(f"{count(result.left_out, 'question')} left out, which the model cannot take")
    if result.undefined:
        notes.append(f"{result.undefined} without a defined correlation (all votes equal)")
    if result.truncated:
        notes.append(f"{count(result.truncated, 'answer')} cut to fit the model or max_length")
    return ", ".join(notes)
