"""Evaluations without a model: what a run's looks would give, scripted, and the record that they make."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hre_callback.data.questions import Answer, Question
from hre_callback.run.about import run_fields
from hre_callback.run.lines import RunLine, line_of
from hre_callback.run.look import Outcome, Terms, fields_of, join
from hre_callback.run.record import Record, plain
from hre_callback.stats.correlation import HREResult, correlate

VOTES = (9, 4, 1, 0)
EVERY = 10


def asked(n: int, **more: Any) -> list[Question]:
    """`n` questions of four answers in two topics, the best of which comes first."""
    return [
        Question(
            f"q{i}",
            f"why {i}?",
            tuple(Answer("so " * (4 + (i + v) % 7), v) for v in VOTES),
            f"topic{i % 2}",
            **{"counted": True, **more},
        )
        for i in range(n)
    ]


def result(gain: float, *, n: int = 200, seed: int = 0, left_out: Sequence[int] = ()) -> HREResult:
    """An evaluation whose scores lean towards people's votes by `gain`; HRE is about 0.6 at 0.1 and 0 at 0.

    What is not leaning is the same at every look of a seed, but for a little.
    """
    fixed, fresh = np.random.default_rng(seed), np.random.default_rng((seed, round(1000 * gain)))
    lengths = fixed.integers(80, 400, size=(n, 4))
    z = (np.array(VOTES) - np.mean(VOTES)) / np.std(VOTES)
    level = -0.8 + 0.15 * fixed.normal(size=(n, 4)) + gain * z + 0.01 * fresh.normal(size=(n, 4))
    loglikelihoods = level * lengths
    loglikelihoods[list(left_out)] = np.nan
    return correlate(
        fingerprint="f",
        ids=[f"q{i}" for i in range(n)],
        topics=[f"topic{i % 2}" for i in range(n)],
        votes=[VOTES] * n,
        loglikelihoods=loglikelihoods.tolist(),
        divisors=lengths.tolist(),
        lengths=lengths.tolist(),
        left_out=len(left_out),
    )


def logs(upto: int, *, loss: float = -0.01) -> list[dict[str, Any]]:
    """What the Trainer has logged up to a step: a loss that changes by `loss` a step."""
    return [{"loss": 2 + loss * step, "learning_rate": 1e-5, "step": step} for step in range(1, upto + 1)]


def run_line(terms: Terms, n: int = 200) -> RunLine:
    line = {"kind": "run", "version": 2, **run_fields(asked(n), "f", terms, {})}
    return line_of(plain({**line, "identity": terms.config.identity()}))


def played(
    terms: Terms, results: Sequence[HREResult], *, onto: Record | None = None, loss: float = -0.01
) -> tuple[Record, list[Outcome]]:
    """The record of a run of these looks, every `EVERY` steps, and what each meant."""
    record = onto or Record(run_line(terms, len(results[0].ids)))
    outcomes = []
    for found in results:
        step = EVERY * len(record.evaluations)
        outcome = join(terms, record, step, found, logs(step, loss=loss)).timed(terms.config.name, 2.0, 0.1)
        line = {"kind": "evaluation", "step": step, **fields_of(outcome, found, terms.config.name)}
        record = Record(record.run, [*record.evaluations, line_of(plain(line))], record.events)
        outcomes.append(outcome)
    return record, outcomes
