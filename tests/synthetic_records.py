"""Realistic run records, simulated question by question, for the tests of everything that reads a record."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hre_callback.views.reading import Reading

from .records import of_lines

TOPICS = ("python", "java", "unix", "math", "stats", "english", "latex")
QUESTIONS = (
    "How do I undo the last commit without losing my work?",
    "Why is <b>my</b> list & tuple comparison false when every element is equal?",
    "What is the difference between a mutex and a semaphore, in plain words?",
    "Is it “less” or “fewer” in front of an amount of money?",
    "How can I keep a table from drifting to the next page?",
    "When does a larger sample not help at all?",
)
ANSWERS = (
    "Use a soft reset: the commit goes away, the changes stay in your working tree.",
    "Because == compares types first; convert one of them and the elements are compared one by one.",
    "A mutex belongs to the one who locked it. A semaphore only counts.",
    "When the error is bias, not variance: more of the same biased sample is only more certainty about the wrong thing.",
)


def _pearson(scores: np.ndarray, votes: np.ndarray) -> np.ndarray:
    a = scores - scores.mean(1, keepdims=True)
    b = votes - votes.mean(1, keepdims=True)
    return (a * b).sum(1) / np.sqrt((a**2).sum(1) * (b**2).sum(1))


def _interval(values: np.ndarray) -> tuple[float, float, float]:
    mean, half = float(values.mean()), 1.96 * float(values.std(ddof=1)) / math.sqrt(len(values))
    return mean, mean - half, mean + half


def _questions(n: int, votes: np.ndarray, lengths: np.ndarray, topics: Sequence[str]) -> list[dict[str, Any]]:
    return [
        {
            "id": f"q{i}",
            "topic": topics[i % len(topics)],
            "cluster": None,
            "question": f"{QUESTIONS[i % len(QUESTIONS)]} ({i})",
            "best_answer": ANSWERS[i % len(ANSWERS)],
            "votes": [int(v) for v in votes[i]],
            "lengths": [int(v) for v in lengths[i]],
        }
        for i in range(n)
    ]


def run_lines(
    gains: Sequence[float],
    proxies: Callable[[float], dict[str, float | None]],
    *,
    n: int = 300,
    every: int = 50,
    trainer: str = "SFTTrainer",
    topics: Sequence[str] = TOPICS,
    seed: int = 0,
    ceiling: float | None = 0.71,
    triangle: bool = False,
) -> list[dict[str, Any]]:
    """The lines of a record with one evaluation per gain; `gains[t]` moves probability towards the votes."""
    rng = np.random.default_rng(seed)
    votes = np.sort(rng.poisson(rng.gamma(1.2, 9.0, size=(n, 4))), axis=1)[:, ::-1] + np.array([3, 2, 1, 0])
    lengths = rng.integers(80, 900, size=(n, 4))
    votes_z = (votes - votes.mean(1, keepdims=True)) / votes.std(1, keepdims=True)
    fixed_part = -1.6 + 0.30 * rng.normal(size=(n, 4))
    first: np.ndarray | None = None
    lines: list[dict[str, Any]] = [
        {
            "kind": "run",
            "version": 1,
            "name": "hre",
            "fingerprint": "3f9a1c0b7e5d2846",
            "config": {"name": "hre", "prompt": "paper", "normalization": "characters", "min_delta": 0.01}
            | {"alpha": 0.05, "consecutive": 2, "stop_rule": "mismatch", "eval_steps": every, "seed": 0},
            "versions": {
                "hre_callback": "0.1.0",
                "torch": "2.13.0",
                "transformers": "5.23.0",
                "trl": "1.16.0",
            },
            "model": "SmolLM2-135M-Instruct",
            "trainer": trainer,
            "started": "2026-11-22T10:00:00+00:00",
            "planned_looks": len(gains) - 1 or None,
            "human_ceiling": ceiling,
            "questions": _questions(n, votes, lengths, topics),
        }
    ]
    of_topic = np.array([topics[i % len(topics)] for i in range(n)])
    for t, gain in enumerate(gains):
        scores = fixed_part + gain * votes_z + 0.08 * rng.normal(size=(n, 4)) * (t > 0)
        r = _pearson(scores, votes.astype(float))
        first = r if first is None else first
        metrics = _metrics(r, first, t, ceiling)
        metrics |= {f"hre/topic/{topic}": float(r[of_topic == topic].mean()) for topic in topics}
        metrics["hre/loglikelihood_top"] = float(scores[:, 0].mean())
        metrics["hre/loglikelihood_bottom"] = float(scores[:, -1].mean())
        if triangle:
            x = t / max(1, len(gains) - 1)
            metrics |= {"mismatch/human_policy": metrics["hre/score"]}
            metrics |= {"mismatch/human_reward": 0.31 - 0.24 * x, "mismatch/policy_reward": 0.12 + 0.55 * x}
        lines.append(
            {
                "kind": "evaluation",
                "step": t * every,
                "epoch": round(t * every / 400, 3),
                "time": f"2026-11-22T{10 + t // 60 % 12:02d}:{t % 60:02d}:00+00:00",
                "seconds": 3.2,
                "metrics": metrics,
                "proxies": proxies(t / max(1, len(gains) - 1)) if t else {},
                "verdict": "aligned" if t else None,
                "reason": None,
                "loglikelihoods": [[round(float(v), 2) for v in row] for row in scores * lengths],
                "pearson": [round(float(v), 4) for v in r],
            }
        )
    _add_rolling(lines[1:])
    return lines


def _metrics(r: np.ndarray, first: np.ndarray, t: int, ceiling: float | None) -> dict[str, float | None]:
    score, low, high = _interval(r)
    delta, delta_low, delta_high = _interval(r - first) if t else (0.0, 0.0, 0.0)
    return {
        "hre/score": score,
        "hre/ci_low": low,
        "hre/ci_high": high,
        "hre/delta_start": delta,
        "hre/delta_start_low": delta_low,
        "hre/delta_start_high": delta_high,
        "hre/n": len(r),
        "hre/undefined": 0,
        "hre/constant_scores": 0,
        "hre/truncated": 2,
        "hre/rho": 0.93,
        "hre/mde": 0.014,
        "hre/human_ceiling": ceiling,
        "hre/length_bias": -0.12,
        "hre/votes_length": 0.08,
        "hre/length_partialled": score - 0.01,
        "hre/spearman": score * 0.95,
        "hre/kendall": score * 0.8,
        "hre/pair_accuracy": 0.5 + score / 2.5,
        "hre/top1": 0.25 + score / 2,
        "hre/seconds": 3.2,
        "hre/overhead": 0.021,
    }


def _add_rolling(evaluations: list[dict[str, Any]], window: int = 5) -> None:
    """Rolling rank correlation of every proxy with HRE, signed so that +1 means 'they improve together'."""
    for t in range(window, len(evaluations)):
        rows = evaluations[t - window + 1 : t + 1]
        score = np.array([row["metrics"]["hre/score"] for row in rows])
        for key in rows[-1]["proxies"]:
            if any(row["proxies"].get(key) is None for row in rows):
                continue
            sign = -1 if "loss" in key else 1
            proxy = sign * np.array([row["proxies"][key] for row in rows])
            pairs = [(i, j) for i in range(window) for j in range(i)]
            tau = np.mean([np.sign((score[i] - score[j]) * (proxy[i] - proxy[j])) for i, j in pairs])
            rank = np.corrcoef(np.argsort(np.argsort(score)), np.argsort(np.argsort(proxy)))[0, 1]
            evaluations[t]["metrics"][f"mismatch/kendall/{key}"] = float(tau)
            evaluations[t]["metrics"][f"mismatch/spearman/{key}"] = float(rank)


def _finished(lines: list[dict[str, Any]], beats_start: bool) -> dict[str, Any]:
    scores = [line["metrics"]["hre/score"] for line in lines if line["kind"] == "evaluation"]
    rows = [line for line in lines if line["kind"] == "evaluation"]
    best = int(np.argmax(scores))
    return {
        "kind": "finished",
        "step": rows[-1]["step"],
        "time": "2026-11-22T12:00:00+00:00",
        "summary": {
            "best": scores[best],
            "best_step": rows[best]["step"],
            "last": scores[-1],
            "start": scores[0],
            "verdict": rows[-1]["verdict"],
            "beats_start": beats_start,
        },
    }


def _sft(x: float) -> dict[str, float | None]:
    wiggle = 0.03 * math.sin(37 * x)
    return {
        "train/loss": 2.4 - 0.9 * x**0.5 + wiggle,
        "eval/loss": 2.3 - 0.6 * x**0.5,
        "train/learning_rate": 1e-5,
    }


def _dpo(x: float) -> dict[str, float | None]:
    wiggle = 0.04 * math.sin(53 * x)
    return {
        "train/loss": 0.69 - 0.45 * x + wiggle,
        "train/rewards/margins": 2.8 * x + wiggle,
        "train/rewards/accuracies": 0.5 + 0.4 * x,
        "eval/loss": 0.69 - 0.30 * x,
    }


def _grpo(x: float) -> dict[str, float | None]:
    return {
        "train/loss": 0.0 + 0.002 * x,
        "train/reward": 0.2 + 1.4 * x + 0.06 * math.sin(41 * x),
        "train/kl": 0.36 * x**2,
        "train/entropy": 1.3 - 0.5 * x,
        "eval/loss": None,
    }


def healthy(looks: int = 13, **options: Any) -> list[dict[str, Any]]:
    """HRE rises with the training."""
    lines = run_lines([0.045 + 0.035 * t / (looks - 1) for t in range(looks)], _sft, **options)
    return [*lines, _finished(lines, beats_start=True)]


def flat(looks: int = 13, **options: Any) -> list[dict[str, Any]]:
    """Training changes nothing for people."""
    lines = run_lines([0.055] * looks, _sft, **options)
    return [*lines, _finished(lines, beats_start=False)]


def mismatch(looks: int = 13, **options: Any) -> list[dict[str, Any]]:
    """DPO: the loss falls, the margins rise, HRE rises a little and then falls below its start; stopped."""
    gains = [0.055 + 0.03 * x - 0.075 * x**2 for x in (t / (looks - 1) for t in range(looks))]
    lines = run_lines(gains, _dpo, trainer="DPOTrainer", every=40, **options)
    rows = lines[1:]
    below = [row for row in rows if row["metrics"]["hre/delta_start_high"] < 0]
    for i, row in enumerate(below):
        row["verdict"] = "mismatch" if i else "watch"
        row["reason"] = "The reward margin rose and HRE fell, both more than chance explains."
        row["metrics"]["mismatch/verdict"] = 2 if i else 1
        row["metrics"]["mismatch/regret/train/loss"] = 0.031
        row["metrics"]["mismatch/regret/train/rewards/margins"] = 0.034
    stop = {"kind": "stop", "step": rows[-1]["step"], "time": "2026-11-22T11:00:00+00:00", "rule": "mismatch"}
    stop["reason"] = "The reward margin improved while HRE fell by 0.11 on 2 looks in a row."
    return [*lines, stop, _finished(lines, beats_start=False)]


def grpo(looks: int = 16, **options: Any) -> list[dict[str, Any]]:
    """GRPO: reward and KL rise, HRE holds and then sinks; reward model scores the answers (triangle)."""
    gains = [0.055 + 0.012 * x - 0.026 * x**3 for x in (t / (looks - 1) for t in range(looks))]
    return run_lines(gains, _grpo, trainer="GRPOTrainer", triangle=True, every=25, **options)


def reading(lines: Sequence[dict[str, Any]]) -> Reading:
    """The record of these lines, read."""
    return Reading(of_lines(lines))


def write(lines: Sequence[dict[str, Any]], path: Path) -> Path:
    """The record file of these lines, NaN as null."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line, allow_nan=False, separators=(",", ":")) + "\n" for line in lines))
    return path
