"""A record made fit to be kept: no text, few digits."""

from __future__ import annotations

from typing import Any

import numpy as np

from hre_callback.run.look import Outcome, join, terms_of
from hre_callback.run.record import Record
from hre_callback.stats.correlation import correlate

DIGITS = 5
# Of the run line: what names a place, quotes somebody or describes a proof.
_EMPTY = {"model": "SmolLM2-135M-Instruct", "run_name": None, "proof": None, "overlap": None}


def stripped(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The lines of a record, the run line first, without texts and rounded."""
    run, *rest = lines
    questions = [question | {"question": "", "best_answer": ""} for question in run["questions"]]
    return [rounded(run | _EMPTY | {"questions": questions}), *map(rounded, rest)]


def rounded(value: Any) -> Any:
    """Every number to a few significant digits, at every depth; NaN is null."""
    if isinstance(value, float):
        if value != value:
            return None
        return int(value) if value.is_integer() and abs(value) < 1e9 else float(f"{value:.{DIGITS}g}")
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(item) for item in value]
    return value


def judged(record: Record) -> tuple[list[int], np.ndarray]:
    """Steps and per-question correlations, (looks, questions), of the judging questions of a recording."""
    found = [event for event in record.events if event.kind == "judged"]
    rows = [[np.nan if r is None else r for r in event.more["pearson"]] for event in found]
    return [event.step for event in found], np.array(rows, dtype=float)


def logs(record: Record) -> list[dict[str, Any]]:
    """The rows that the Trainer logged, as in its `log_history`."""
    return [{"step": event.step, **event.more["logs"]} for event in record.events if event.kind == "log"]


def replayed(record: Record) -> list[Outcome]:
    """What the package makes of every look of a recording, from its log-likelihoods and logged rows alone."""
    run, terms = record.run, terms_of(record.run)
    outcomes = []
    for at, look in enumerate(record.evaluations):
        assert look.divisors is not None and look.lengths is not None
        result = correlate(
            fingerprint=run.fingerprint,
            ids=[question.id for question in run.questions],
            topics=[question.topic for question in run.questions],
            clusters=[question.cluster for question in run.questions],
            votes=[question.votes for question in run.questions],
            loglikelihoods=[[np.nan if x is None else x for x in row] for row in look.loglikelihoods],
            divisors=look.divisors,
            lengths=look.lengths,
        )
        before = Record(run, record.evaluations[:at])
        outcomes.append(join(terms, before, look.step, result, history(record, look.step)))
    return outcomes


def history(record: Record, upto: int) -> list[dict[str, Any]]:
    """The Trainer's `log_history` at the look of step `upto`, with a row for every look as the callback leaves one.

    The baseline is taken before the Trainer's first evaluation, every other look after the step's rows.
    """
    looked = [{"step": look.step, "hre/ci_low": 0.0} for look in record.evaluations if look.step < upto]
    rows = [(row["step"], 0, row) for row in logs(record) if row["step"] <= upto and upto]
    rows += [(row["step"], 1 if row["step"] else -1, row) for row in looked]
    return [row for _, _, row in sorted(rows, key=lambda one: one[:2])]
