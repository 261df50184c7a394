"""`python -m tests.benchmarks.growth`: how an evaluation's time grows with questions, answers and lengths.

A small Llama with random weights and ids drawn at random: only the numbers of tokens matter. CPU seconds, the least of
some repeats; the exponent is the slope in logarithms from the first to the last size.
"""

from __future__ import annotations

import argparse
import math
import random
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from hre_callback.scoring.batches import plan
from hre_callback.scoring.loglikelihood import learn_together, score_together
from hre_callback.scoring.plan import Group, Way, ways

VOCABULARY, BUDGET = 500, 2048
# name -> (sizes, groups of a size, what the exponent is when nothing is wasted)
GROWTH: dict[str, tuple[Sequence[int], Callable[[int], list[Group]], str]] = {
    "questions": ((32, 128, 512), lambda n: groups(n, 60, 4, 30), "1"),
    "answers a question": ((2, 4, 8, 16), lambda n: groups(24, 60, n, 30), "below 1: the question is read once"),
    "tokens a question": ((100, 300, 1000, 3000), lambda n: groups(6, n, 4, 30), "1 to 2: attention is a square"),
}  # fmt: skip


def model() -> Any:
    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, max_position_embeddings=8192,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return LlamaForCausalLM(config).eval()


def groups(questions: int, context: int, answers: int, length: int) -> list[Group]:
    """Every question with as many answers of one length, ids drawn by a seed."""
    draw = random.Random(0)

    def ids(count: int) -> tuple[int, ...]:
        return tuple(draw.choices(range(VOCABULARY), k=count))

    return [
        Group(tuple((f"q{q}", a) for a in range(answers)), ids(context), tuple(ids(length) for _ in range(answers)))
        for q in range(questions)
    ]  # fmt: skip


def seconds(built: Any, asked: Sequence[Group], way: Way, repeats: int) -> float:
    """Of one evaluation, planned before."""
    batches, (reading, _) = plan(asked, way, BUDGET), learn_together(built, asked[0].context[:16])
    took = []
    for _ in range(repeats):
        began = time.process_time()
        score_together(built, batches, reading)
        took.append(time.process_time() - began)
    return min(took)


def exponent(sizes: Sequence[float], took: Sequence[float]) -> float:
    return math.log(took[-1] / took[0]) / math.log(sizes[-1] / sizes[0])


def measure(repeats: int) -> list[str]:
    """Lines of a table."""
    built = model()
    lines = [
        "| growing | way | sizes | CPU s | exponent | with nothing wasted |",
        "|---|---|---|---|---|---|",
    ]
    for name, (sizes, make, expected) in GROWTH.items():
        for way in ways("auto")[:-1]:
            took = [seconds(built, make(size), way, repeats) for size in sizes]
            shown = ", ".join(f"{s:.2f}" for s in took)
            lines.append(
                f"| {name} | {way} | {', '.join(map(str, sizes))} | {shown} | {exponent(sizes, took):.2f} | {expected} |"
            )
    return lines


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    torch.set_num_threads(1)
    print("\n".join(measure(parser.parse_args().repeats)), flush=True)
