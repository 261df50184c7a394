"""Peak memory of one way of scoring, in a process of its own: `python -m tests.benchmarks.memory WAY QUESTIONS`.

A two-layer model with a vocabulary of 150,000, so that logits and not weights are what memory goes to.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from hre_callback.scoring.demo_model import demo_model_folder
from hre_callback.scoring.plan import ways as all_ways

from . import ways

VOCABULARY = 150_000
OURS = {str(way): way for way in all_ways("auto")}
WAYS = ("official", "harness", *OURS)


def measure(way: str, questions: int) -> float:
    """MiB over what the process held before scoring; in a fresh process."""
    command = [sys.executable, "-m", "tests.benchmarks.memory", way, str(questions)]
    out = subprocess.run(command, capture_output=True, text=True, check=False)
    if out.returncode:
        raise RuntimeError(f"{way}: {out.stderr[-2000:]}")
    return float(json.loads(out.stdout.splitlines()[-1]))


def _big_vocabulary_model() -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=64, intermediate_size=128, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=2048,
    )  # fmt: skip
    torch.manual_seed(0)
    return LlamaForCausalLM(config).eval()


def _status(field: str) -> float:
    """MiB of `VmRSS` or `VmHWM` (the peak)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


def _main(way: str, count: int) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(demo_model_folder())
    model, asked = _big_vocabulary_model(), ways.beer_questions(count)
    answers = ways.encoded(asked, model, tokenizer)
    score = {
        "official": lambda: ways.official(model, answers),
        "harness": lambda: ways.harness(model, tokenizer, asked),
    }.get(way, lambda: ways.layout(model, answers, OURS[way]))()
    with torch.no_grad():
        model(input_ids=torch.zeros(1, 8, dtype=torch.long))  # what the first call of all loads is not counted
    before = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    score()
    print(json.dumps(_status("VmHWM") - before))


if __name__ == "__main__":
    _main(sys.argv[1], int(sys.argv[2]))
