"""Scores of one model outside any run: as JSON lines, as numbers and as a table."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from .config import HREConfig
from .correlation import HREResult
from .files import write_whole
from .questions import Question
from .record import plain
from .significance import bootstrap_interval

_CORRELATIONS = ("pearson", "spearman", "kendall")


def score_rows(
    result: HREResult, questions: Sequence[Question], config: HREConfig | None = None
) -> list[dict[str, Any]]:
    """One JSON-plain row per question: `id`, `topic`, the three correlations (null where undefined), `loglikelihoods`.

    `fingerprint`, `scoring` (the settings that scores depend on) and, where the questions have one, `cluster` are
    there so that two files can be compared.
    """
    rows = []
    for i, question in enumerate(questions):
        row: dict[str, Any] = {"id": question.id, "topic": question.topic}
        row |= {name: result.per_question[name][i] for name in _CORRELATIONS}
        row |= {"loglikelihoods": result.loglikelihoods[i], "fingerprint": result.fingerprint}
        row |= {"scoring": (config or HREConfig()).identity()}
        if question.cluster is not None:
            row["cluster"] = question.cluster
        rows.append(plain(row))
    return rows


def write_scores(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write JSON lines, whole or not at all."""
    write_whole(path, (json.dumps(row, allow_nan=False).encode() + b"\n" for row in rows))


def summarize(result: HREResult) -> dict[str, Any]:
    """Score, interval, the other correlations and counts, over all questions and by topic."""
    interval = bootstrap_interval(result.per_question["pearson"])
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
    table = Table(title=f"HumanRankEval of {title}", caption=_caption(result))
    for column in ("topic", "HRE", "95 % interval", "Spearman", "pairs right", "questions"):
        table.add_column(column, justify="left" if column == "topic" else "right")
    spearman, pairs = result.by_topic("spearman"), result.by_topic("pair_accuracy")
    for topic, mean, low, high, n in _by_topic(result):
        table.add_row(
            topic,
            f"{mean:.4f}",
            _span(low, high),
            f"{spearman[topic][0]:.4f}",
            f"{pairs[topic][0]:.1%}",
            str(n),
        )
    total = bootstrap_interval(result.per_question["pearson"])
    table.add_section()
    table.add_row(
        "all",
        f"{result.score:.4f}",
        _span(total.low, total.high),
        f"{result.mean('spearman'):.4f}",
        f"{result.mean('pair_accuracy'):.1%}",
        str(result.n),
        style="bold",
    )
    return table


def _by_topic(result: HREResult) -> list[tuple[str, float, float, float, int]]:
    rows = []
    for topic, (mean, n) in result.by_topic().items():
        interval = bootstrap_interval(result.per_question["pearson"][np.asarray(result.topics) == topic])
        rows.append((topic, mean, interval.low, interval.high, n))
    return rows


def _span(low: float, high: float) -> str:
    return f"{low:.3f} to {high:.3f}" if low == low else "-"


def _caption(result: HREResult) -> str:
    notes = [f"questions {result.fingerprint}"]
    if result.undefined:
        notes.append(f"{result.undefined} without a defined correlation")
    if result.truncated:
        notes.append(f"{result.truncated} answers cut to fit the model")
    return ", ".join(notes)
