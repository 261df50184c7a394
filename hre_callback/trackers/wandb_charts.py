"""The W&B charts of a finished run: all curves in one picture, HRE against each main training signal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..run.keys import more_prefix
from ..run.record import Record
from ..views.reading import Reading


def end_charts(name: str, record: Record, x_axis: str) -> dict[str, Any]:
    """Key -> W&B chart. Each holds its whole table, so they are worth logging once, at the end.

    Args:
        name: of the callback, first part of every key.
        record: of the run.
        x_axis: what the evaluations' steps are called.
    """
    import wandb

    score = f"{name}/score"
    curves = _curves(record, score)
    if score not in curves or len(curves) < 2:
        return {}
    scaled = {key: (list(curve), _standardised(list(curve.values()))) for key, curve in curves.items()}
    charts: dict[str, Any] = {
        f"{more_prefix(name)}curves": wandb.plot.line_series(
            xs=[steps for steps, _ in scaled.values()],
            ys=[values for _, values in scaled.values()],
            keys=list(scaled),
            title="HRE and the training signals, each in standard deviations from its mean",
            xname=x_axis,
        )
    }
    for key, curve in curves.items():
        pairs = [[value, curves[score][step], step] for step, value in curve.items() if step in curves[score]]
        if key != score and len(pairs) > 1:
            table = wandb.Table(columns=[key, score, "step"], data=pairs)
            charts[f"{more_prefix(name)}against/{key}"] = wandb.plot.scatter(
                table, key, score, title=f"HRE against {key}"
            )
    return charts


def _curves(record: Record, score: str) -> dict[str, dict[int, float]]:
    """Step -> value of the score and of every main proxy that has two values or more and is not constant."""
    curves: dict[str, dict[int, float]] = {score: {}}
    signals = [one.key for one in Reading(record).main_proxies()]
    for look in record.evaluations:
        values = {
            score: look.metrics.get(score),
            **{key: look.proxies.get(key) for key in signals},
        }
        for key, value in values.items():
            if value is not None:
                curves.setdefault(key, {})[look.step] = value
    return {key: curve for key, curve in curves.items() if len(set(curve.values())) > 1}


def _standardised(values: Sequence[float]) -> list[float]:
    centred = np.asarray(values) - np.mean(values)
    return [float(value) for value in centred / np.std(centred)]
