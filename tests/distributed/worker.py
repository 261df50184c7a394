"""Run by `accelerate launch`, on every rank: named scenarios, their results as one JSON file a rank.

`worker.py OUT ENGINE SCENARIO...`, from the root of the checkout. A scenario is a function of this file; what it
returns is for `tests/test_distributed.py` to judge.
"""

from __future__ import annotations

import faulthandler
import json
import math
import os
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from transformers import TrainerCallback
from trl import DPOConfig, DPOTrainer

from hre_callback import EvaluationError, HREConfig, HumanRankEvalCallback, HumanRankEvaluator
from hre_callback.run import record
from hre_callback.scoring.demo_model import tiny_model
from hre_callback.scoring.scorer import Scorer
from tests.distributed.engines import digest, engine_arguments, full_weights, local_size, trainer_of
from tests.scoring.test_no_trace import logs
from tests.test_callback import result_with
from tests.trainers import TEXTS, dropout_model, questions, sft_dataset, tokenizer

LAYOUTS = ("packed", "cached", "padded")
SIZES = (1, 7)  # fewer questions than processes, and not a multiple of them
STEPS = 8
BUDGET = 96  # tokens: several batches on every rank


class Planted(TrainerCallback):
    """Makes this rank's forwards of an evaluation go wrong at chosen steps; `wrong` is called with the output."""

    def __init__(self, wrong: dict[int, Any], rank: int = 1) -> None:
        self.wrong = wrong if dist.get_rank() == rank else {}
        self.now: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any, **kwargs: Any) -> None:
        model.register_forward_hook(self._forward)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.now = self.wrong.get(state.global_step)

    def _forward(self, module: Any, args: Any, output: Any) -> None:
        if self.now is not None and not module.training:
            self.now(self, output)


def fail(planted: Planted, output: Any) -> None:
    raise RuntimeError("planted failure")


def out_of_memory_once(planted: Planted, output: Any) -> None:
    planted.now = None
    raise torch.OutOfMemoryError("planted")


def nan(planted: Planted, output: Any) -> None:
    output.logits.fill_(math.nan)


def watched(engine: str, out: Path, *others: Any, config: HREConfig | None = None, **settings: Any) -> Any:
    """A finished run with the callback, and the callback."""
    config = config or HREConfig(eval_steps=2, token_budget=BUDGET)
    callback = HumanRankEvalCallback(questions(7), config)
    trainer = trainer_of(engine, out, [*others, callback], max_steps=STEPS, **settings)
    trainer.train()
    return trainer, callback


def ours(trainer: Any) -> list[dict[str, Any]]:
    """The rows that we put into the Trainer's history; they must be equal on all ranks, clock times too."""
    return [row for row in trainer.state.log_history if any(key.startswith("eval_hre") for key in row)]


def scored(model: Any, tok: Any, n: int, layout: str) -> dict[str, Any]:
    forwards: list[int] = []
    hook = model.register_forward_pre_hook(lambda *_: forwards.append(1))
    evaluator = HumanRankEvaluator(questions(n), tok, HREConfig(layout=layout, token_budget=BUDGET))
    result = evaluator.evaluate(model)
    hook.remove()
    groups = evaluator._share(evaluator.layout.layout)
    share = [key for group in groups for key in group.keys]
    return {
        "ids": result.ids,
        "loglikelihoods": result.loglikelihoods,
        "pearson": result.per_question["pearson"].tolist(),
        "forwards": len(forwards),
        "share": share,
        "tokens": sum(group.tokens for group in groups),
    }


# ---- scenarios ---------------------------------------------------------------------------------------------


def plain_scores(engine: str, out: Path) -> dict[str, Any]:
    """An ordinary model, every layout and size."""
    model, tok = tiny_model(TEXTS)
    return {f"{layout}-{n}": scored(model, tok, n, layout) for layout in LAYOUTS for n in SIZES}


def training(engine: str, out: Path) -> dict[str, Any]:
    """With the callback and without; then the trained model as it stands, in every layout."""
    plain = trainer_of(engine, out / "plain", [], max_steps=STEPS)
    plain.train()
    trainer, _ = watched(engine, out / "watched")
    weights = full_weights(engine, trainer.model)
    if dist.get_rank() == 0:
        torch.save(weights, out / "weights.pt")
    tok = tokenizer()
    return {
        "world": trainer.accelerator.num_processes,
        "engine": type(trainer.model_wrapped).__name__,
        "whole": sum(p.numel() for p in weights.values()),
        "here": local_size(trainer.model),
        "digests": [digest(engine, plain), digest(engine, trainer)],
        "logs": [logs(plain), logs(trainer)],
        "ours": ours(trainer),
        "scores": {f"{layout}-{n}": scored(trainer.model, tok, n, layout) for layout in LAYOUTS for n in SIZES},
    }


def failures(engine: str, out: Path) -> dict[str, Any]:
    """Rank 1 fails in three ways, inside the forward, and training does not notice."""
    trainer, callback = watched(engine, out, Planted({2: fail, 4: out_of_memory_once, 6: nan}))
    return {
        "step": trainer.state.global_step,
        "budget": callback.evaluator.budget,
        "digest": digest(engine, trainer),
        "ours": ours(trainer),
    }


def failures_outside(engine: str, out: Path) -> dict[str, Any]:
    """Rank 1 fails between its forwards: where sharded ranks do not wait for each other."""
    plain = Scorer.score
    planted = Planted({2: RuntimeError("planted failure"), 4: torch.OutOfMemoryError("planted")})

    def score(self: Scorer, batch: Any) -> Any:
        found = plain(self, batch)
        if planted.now is not None:
            error, planted.now = planted.now, None
            raise error
        return found

    Scorer.score = score
    planted._forward = lambda *args: None
    try:
        trainer, callback = watched(engine, out, planted)
    finally:
        Scorer.score = plain
    return {
        "step": trainer.state.global_step,
        "budget": callback.evaluator.budget,
        "digest": digest(engine, trainer),
        "ours": ours(trainer),
    }


def failure_inside(engine: str, out: Path) -> None:
    """Rank 1 fails inside a forward; under FSDP and ZeRO-3 this must end the run, soon and with the reason."""

    class InLayer(Planted):
        def on_train_begin(self, args: Any, state: Any, control: Any, model: Any, **kwargs: Any) -> None:
            blocks = [module for name, module in model.named_modules() if name.endswith("h.0")]
            blocks[0].register_forward_hook(self._forward)

    watched(engine, out, InLayer({2: fail}))


def probes(engine: str, out: Path) -> dict[str, Any]:
    """Rank 1 alone cannot do the packed layout; rank 1 alone has too little memory for the first probe."""
    model, tok = tiny_model(TEXTS)
    rank = dist.get_rank()

    def no_packing(module: Any, args: Any, kwargs: Any) -> None:
        mask = kwargs.get("attention_mask")
        if rank == 1 and (mask is None or mask.dim() == 4):
            raise RuntimeError("planted: no packed rows")

    hook = model.register_forward_pre_hook(no_packing, with_kwargs=True)
    refusing = HumanRankEvaluator(questions(7), tok, HREConfig(token_budget=BUDGET))
    refusing.prepare(model)
    hook.remove()

    calls: list[int] = []

    def too_much(module: Any, args: Any) -> None:
        calls.append(1)
        if rank == 1 and len(calls) == 1:
            raise torch.OutOfMemoryError("planted")

    hook = model.register_forward_pre_hook(too_much)
    small = HumanRankEvaluator(questions(7), tok, HREConfig(token_budget=BUDGET))
    small.prepare(model)
    hook.remove()
    assert refusing.layout is not None and small.layout is not None
    return {
        "layout": refusing.layout.layout,
        "refused": refusing.layout.refused,
        "budget": small.budget,
        "packed": str(small.layout.way),
    }


def other_questions(engine: str, out: Path) -> str:
    """Ranks that were given different questions must not start."""
    model, tok = tiny_model(TEXTS)
    try:
        HumanRankEvaluator(questions(5 + dist.get_rank()), tok).prepare(model)
    except ValueError as error:
        return str(error)
    return "not noticed"


def raises(engine: str, out: Path) -> str:
    """`on_error="raise"` ends the run on all ranks alike."""
    config = HREConfig(eval_steps=2, token_budget=BUDGET, on_error="raise")
    try:
        watched(engine, out, Planted({2: fail}), config=config)
    except EvaluationError as error:
        return str(error)
    return "went on"


def stopping(engine: str, out: Path) -> dict[str, Any]:
    """Scores that differ between ranks: here a fall on rank 0 only, there on rank 1 only."""
    plain = HumanRankEvaluator.evaluate
    found = {}
    for falls_on in (0, 1):
        scores = iter([0.5 - 0.1 * k if dist.get_rank() == falls_on else 0.1 * k for k in range(20)])
        HumanRankEvaluator.evaluate = lambda self, m, p=None, s=scores: result_with(next(s), self)
        config = HREConfig(eval_steps=1, stop_rule="patience", patience=2, save_best=True)
        settings = {"save_strategy": "steps", "save_steps": 100, "save_total_limit": 9}
        trainer, _ = watched(engine, out / f"{falls_on}", config=config, **settings)
        found[falls_on] = {
            "step": trainer.state.global_step,
            "ours": ours(trainer),
        }
    HumanRankEvaluator.evaluate = plain
    return found


def full_disk(engine: str, out: Path) -> dict[str, Any]:
    """Rank 0's disk refuses two lines of a record, which loses none; then it refuses a whole record: all ranks raise."""
    plain = record.RunRecord._write
    writes: list[int] = []

    def write(self: Any) -> None:
        writes.append(1)
        if len(writes) in (3, 4):
            raise OSError(28, "No space left on device")
        plain(self)

    record.RunRecord._write = write
    trainer, _ = watched(engine, out / "full")
    record.RunRecord._write = plain
    plain_start = record.RunRecord.start

    def start(self: Any, *args: Any, **kwargs: Any) -> None:
        raise PermissionError(13, "planted")

    record.RunRecord.start = start
    try:
        strict = HREConfig(eval_steps=2, token_budget=BUDGET, on_error="raise")
        watched(engine, out / "refused", config=strict)
        error = "went on"
    except (PermissionError, RuntimeError) as e:
        error = f"{type(e).__name__}: {e}"
    record.RunRecord.start = plain_start
    return {"step": trainer.state.global_step, "ours": ours(trainer), "error": error, "writes": len(writes)}


def preference(engine: str, out: Path) -> dict[str, Any]:
    """DPO with a reference model of its own."""
    tok = tokenizer()
    rows = [{**row, "chosen": row["completion"], "rejected": " stone"} for row in sft_dataset(8)]
    from datasets import Dataset

    trainer = DPOTrainer(
        model=dropout_model(tok),
        ref_model=dropout_model(tok),
        processing_class=tok,
        train_dataset=Dataset.from_list([{key: row[key] for key in ("prompt", "chosen", "rejected")} for row in rows]),
        args=engine_arguments(engine, out, DPOConfig, max_steps=4, beta=0.1),
        callbacks=[HumanRankEvalCallback(questions(7), HREConfig(eval_steps=2))],
    )
    trainer.train()
    return {"step": trainer.state.global_step, "ours": ours(trainer)}


def trackers(engine: str, out: Path) -> dict[str, Any]:
    """W&B, offline: one run, made by rank 0."""
    import wandb

    for name in ("WANDB_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR", "WANDB_CONFIG_DIR"):
        os.environ[name] = str(out)
    out.mkdir(parents=True, exist_ok=True)
    os.environ.update(WANDB_MODE="offline", WANDB_SILENT="true", WANDB_ERROR_REPORTING="false")
    os.environ.update(WANDB_X_DISABLE_STATS="true", WANDB_X_DISABLE_META="true", WANDB_CONSOLE="off")
    trainer, callback = watched(engine, out / "run", report_to="wandb")
    active = wandb.run is not None
    if active:
        wandb.finish()
    return {"active": active, "sinks": len(callback._trackers.sinks), "errors": callback._trackers.errors}


def resumed(engine: str, out: Path) -> dict[str, Any]:
    """Trained to the half, resumed to the end, against uninterrupted."""
    settings = {"save_strategy": "steps", "save_steps": 4}
    whole, _ = watched(engine, out / "whole", **settings)

    class Halt(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            control.should_training_stop = state.global_step == 5 and not again

    again = False
    watched(engine, out / "halved", Halt(), **settings)
    again = True
    callback = HumanRankEvalCallback(questions(7), HREConfig(eval_steps=2, token_budget=BUDGET))
    trainer = trainer_of(engine, out / "halved", [callback], max_steps=STEPS, **settings)
    trainer.train(resume_from_checkpoint=str(out / "halved" / "checkpoint-4"))
    return {"whole": ours(whole), "ours": ours(trainer)}


def main(out: Path, engine: str, *scenarios: str) -> None:
    faulthandler.dump_traceback_later(100)  # where it hangs, if it does
    # Made before the Trainer makes it, which keeps it: a hang fails the test well before its time limit.
    dist.init_process_group("gloo", timeout=timedelta(seconds=60))
    if engine.startswith("zero"):
        import deepspeed

        deepspeed.init_distributed(dist_backend="gloo")
    found: dict[str, Any] = {"world": dist.get_world_size(), "rank": dist.get_rank()}
    for scenario in scenarios:
        (out / scenario).mkdir(parents=True, exist_ok=True)
        found[scenario] = globals()[scenario](engine, out / scenario)
        dist.barrier()
    (out / f"rank{dist.get_rank()}.json").write_text(json.dumps(found))
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
