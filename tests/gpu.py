"""`make gpu`, `python -m tests.gpu`: the attention function on this machine's accelerator, proven and measured.

Needs torch and transformers alone. Exit code 0: all that was tried is right; 1: something is not; 2: no accelerator.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import torch
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM
from transformers.utils import is_flash_attn_2_available

from hre_callback.scoring import kernels
from hre_callback.scoring.batches import plan
from hre_callback.scoring.budget import default_budget
from hre_callback.scoring.loglikelihood import learn_together, score_together
from hre_callback.scoring.outputs import Reading
from hre_callback.scoring.plan import Group, Way, ways

from .scored import choose_layout
from .zoo import VOCABULARY, build

FUNCTION = Way("packed", "function")
DTYPES = (torch.float32, torch.bfloat16, torch.float16)
# plain, GQA, windows, caps with windows, norms with windows, sinks with windows; some only in their own attention
FAMILIES = {"llama": "sdpa", "qwen3": "sdpa", "gpt2": "sdpa", "mistral_window": "sdpa", "gemma2_mixed": "eager",
            "gemma3_mixed": "sdpa", "cohere2_mixed": "sdpa", "gpt_oss": "eager"}  # fmt: skip
SHAPES = {"1B": (2048, 8192, 16, 32, 8), "7B": (4096, 14336, 32, 32, 8)}
Scores = dict[Any, float]


def groups(vocabulary: int, questions: int, context: int, answers: int, length: int) -> list[Group]:
    """Questions with answers of ids drawn by a seed, lengths between half and one and a half of those given."""
    draw = random.Random(0)

    def ids(middle: int) -> tuple[int, ...]:
        return tuple(draw.choices(range(3, vocabulary), k=draw.randint(max(1, middle // 2), 3 * middle // 2)))

    return [
        Group(tuple((f"q{q}", a) for a in range(answers)), ids(context), tuple(ids(length) for _ in range(answers)))
        for q in range(questions)
    ]  # fmt: skip


def prove(device: torch.device, attentions: Sequence[str]) -> list[tuple[str, bool, str]]:
    """(what, right, with what figures) of every family, dtype and attention; on rows longer than every window."""
    asked, found = groups(VOCABULARY, 5, 28, 4, 12), []
    for name, own in FAMILIES.items():
        for attention in [own, *attentions]:
            for dtype in DTYPES:
                if dtype == torch.float32 and attention.startswith("flash"):
                    continue
                what = f"{name}, {str(dtype).removeprefix('torch.')}, {attention}"
                try:
                    model = build(name, attention, scale=1.0).to(device, dtype)
                    choice = choose_layout(model, asked, "auto", 256)
                except (ValueError, ImportError, RuntimeError) as error:
                    found.append((what, False, f"{type(error).__name__}: {error}"))
                    continue
                figures = f"off by {choice.difference:.1e} nats, rounding {choice.rounding:.1e} nats a token"
                right = choice.way == FUNCTION
                found.append((what, right, figures if right else f"{choice.way}: {choice.refused}"))
    return found


def one_call(device: torch.device) -> list[str]:
    """For which head sizes and dtypes one call serves all spans, and where they go one by one."""
    lines = []
    for dtype in DTYPES[1:]:
        for size in (64, 128, 256):
            for name, asked in {
                "plain": (0, 0, 0),
                "window": (1, 0, 0),
                "cap": (0, 1, 0),
                "sinks": (1, 0, 1),
            }.items():
                right = kernels.together_is_right(device, dtype, (8, 2, size, size), *map(bool, asked))
                way = "one call" if right else "one by one"
                lines.append(f"  {str(dtype).removeprefix('torch.'):9} head size {size:3}  {name:7} {way}")
    return lines


def official(model: Any, asked: Sequence[Group], rows: int = 8) -> Callable[[], Scores]:
    """The official harness: right-padded pairs, longest first, full logits, log-softmax of all."""
    pairs = [
        (key, group.context, ids) for group in asked for key, ids in zip(group.keys, group.continuations, strict=True)
    ]
    pairs.sort(key=lambda pair: -len(pair[1]) - len(pair[2]))

    @torch.no_grad()
    def score() -> Scores:
        found = {}
        for start in range(0, len(pairs), rows):
            batch = pairs[start : start + rows]
            texts = [torch.tensor((*context, *ids)[:-1]) for _, context, ids in batch]
            padded = torch.nn.utils.rnn.pad_sequence(texts, batch_first=True).to(model.device)
            logprobs = torch.log_softmax(model(input_ids=padded).logits.float(), dim=-1)
            for row, (key, context, ids) in zip(logprobs, batch, strict=True):
                at = len(context) - 1
                wanted = torch.tensor(ids, device=row.device)[:, None]
                found[key] = float(row[at : at + len(ids)].gather(-1, wanted).double().sum())
        return found

    return score


def ours(model: Any, asked: Sequence[Group], reading: Reading, way: Way) -> Callable[[], Scores]:
    batches = plan(asked, way, default_budget(model))
    return lambda: score_together(model, batches, reading)


def floor(model: Any, asked: Sequence[Group], reading: Reading) -> Callable[[], Scores]:
    """`packed` with attention left out: every token's output is its own value."""
    score = ours(model, asked, reading, FUNCTION)

    def values(work: Any, query: Any, key: Any, value: Any, asked: Any) -> Any:
        return value.repeat_interleave(query.shape[1] // value.shape[1], dim=1).transpose(1, 2)

    def without() -> Scores:
        with patch.object(kernels, "attend", values):
            return score()

    return without


def measure(model: Any, asked: Sequence[Group], repeats: int) -> list[str]:
    """Lines of a table: seconds, times as fast as the official way, of the floor, peak memory over the model's own."""
    reading, _ = learn_together(model, asked[0].context[:16])
    contestants = {"official": official(model, asked)}
    contestants |= {str(way): ours(model, asked, reading, way) for way in ways("auto")[:-1]}
    contestants["floor"] = floor(model, asked, reading)
    took: dict[str, list[float]] = {name: [] for name in contestants}
    peaks: dict[str, str] = {}
    scores: dict[str, Scores] = {}
    for turn in range(repeats + 1):
        for name, score in contestants.items():
            try:
                seconds, peaks[name], scores[name] = _timed(score, model.device)
            except Exception as error:  # one way that fails must not end the table; it is shown
                peaks[name], seconds = f"{type(error).__name__}: {str(error)[:80]}", float("nan")
            # the first turn warms up
            took[name] += [seconds] if turn else []
    unique = sum(group.tokens for group in asked)
    pairs = sum(len(g.context) + len(ids) - 1 for g in asked for ids in g.continuations)
    lines = [f"  {unique} tokens, {pairs / unique:.2f} times as many in pairs"]
    for name, seconds in took.items():
        ratios = [median(a / b for a, b in zip(took[base], seconds, strict=True)) for base in ("official", "floor")]
        off = max((abs(scores[name][k] - scores["official"][k]) for k in scores.get(name, {})), default=0.0)
        lines.append(
            f"  {name:18} {median(seconds):8.3f} s  {ratios[0]:6.2f} x official  {ratios[1]:5.2f} of the floor  "
            f"{peaks[name]:>12}  off by {off:.2g}"
        )
    return lines


def _timed(score: Callable[[], Scores], device: torch.device) -> tuple[float, str, Scores]:
    cuda = device.type == "cuda"
    if cuda:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    held = torch.cuda.memory_allocated() if cuda else 0
    began = time.perf_counter()
    found = score()
    if cuda:
        torch.cuda.synchronize()
    peak = f"{(torch.cuda.max_memory_allocated() - held) / 2**20:.0f} MiB" if cuda else "-"
    return time.perf_counter() - began, peak, found


def shaped(name: str, device: torch.device) -> Any:
    hidden, middle, layers, heads, shared = SHAPES[name]
    config = LlamaConfig(
        vocab_size=128_256, hidden_size=hidden, intermediate_size=middle, num_hidden_layers=layers,
        num_attention_heads=heads, num_key_value_heads=shared, max_position_embeddings=8192, dtype=torch.bfloat16,
    )  # fmt: skip
    with torch.device(device):
        return LlamaForCausalLM(config).to(torch.bfloat16).eval()


def main(given: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, help="folder of a small real model, e.g. by `hre demo-model FOLDER`")
    parser.add_argument("--repeats", type=int, default=3)
    asked = parser.parse_args(given)
    if not torch.cuda.is_available():
        print("No accelerator here (torch.cuda.is_available() is False): nothing was tried.")
        return 2
    device, not_tried = torch.device("cuda"), ["other cards", "several cards", "float8", "training beside it"]
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}\n\nProven, per family, dtype and attention:")
    attentions = ["flash_attention_2"] if is_flash_attn_2_available() else []
    if not attentions:
        not_tried.append("flash attention as the model's own (flash_attn is not installed)")
    found = prove(device, attentions)
    for what, right, figures in found:
        print(f"  {'right' if right else 'WRONG'}  {what}: {figures}")
    print("\nSpans of a batch:", *one_call(device), sep="\n")
    for name in SHAPES:
        print(f"\n{name}-shaped, random weights, bfloat16:")
        try:
            model = shaped(name, device)
        except torch.OutOfMemoryError:
            not_tried.append(f"{name} (does not fit this card)")
            continue
        for questions, context, answers, length in ((48, 250, 4, 250), (48, 1500, 6, 60)):
            made = groups(100_000, questions, context, answers, length)
            print(*measure(model, made, asked.repeats), sep="\n")
        del model
        torch.cuda.empty_cache()
    if asked.model is None:
        not_tried.append("a real model (--model FOLDER)")
    else:
        print(f"\n{asked.model}, bfloat16:")
        model = AutoModelForCausalLM.from_pretrained(asked.model, dtype=torch.bfloat16).to(device).eval()
        print(*measure(model, groups(model.config.vocab_size, 64, 250, 4, 250), asked.repeats), sep="\n")
    print("\nNot tried:", *not_tried, sep="\n  ")
    return 0 if all(right for _, right, _ in found) else 1


if __name__ == "__main__":
    sys.exit(main())
