"""Makes the zoo of runs: about twenty trainings of SmolLM2-135M-Instruct on Stack Exchange, recorded without a text.

    python -m tests.zoo_runs.record models/SmolLM2-135M-Instruct stackexchange runs/zoo [NAME ...]

The model is that of `hre demo-model`; the second folder holds `beer/Posts.xml` and `history_meta/Posts.xml`, unpacked
dumps. Each run writes `NAME.jsonl` beside this file: the package's record, rounded, without any text, with the
Trainer's logged rows as events of the kind `log` and the judging questions' correlations (`truth.py`) as events of the
kind `judged`. What each run was, and its truth, goes into `runs.json`. The rates, seeds and questions are in `RUNS` and
in `material.py`.

To cost minutes on one core, only the upper layers train, and what the lower ones make of a batch is kept (`lower.py`).
"""

from __future__ import annotations

import gc
import json
import sys
import time
import traceback
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer, TrainerCallback
from trl import DPOConfig, DPOTrainer, GRPOConfig, GRPOTrainer, RewardConfig, RewardTrainer, SFTConfig, SFTTrainer

from hre_callback import HREConfig, HumanRankEvalCallback, HumanRankEvaluator, read_record
from hre_callback.run.lines import object_of

from . import HERE, TABLE
from .lower import keep_lower
from .material import JUDGING_LENGTH, MAX_LENGTH, Material, rows_of
from .recorded import judged, rounded, stripped
from .runs import RUNS, Run
from .truth import truth_of

# Looks of the detectors' questions, and which of them the judging questions are scored at.
LOOKS, JUDGED = 6, (0, 2, 6)


class Judge(TrainerCallback):
    """Scores the judging questions at a few steps."""

    def __init__(self, evaluator: HumanRankEvaluator, steps: list[int]) -> None:
        self.evaluator, self.steps = evaluator, steps
        self.found: dict[int, list[float]] = {}

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._score(state, kwargs["model"])

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._score(state, kwargs["model"])

    def _score(self, state: Any, model: Any) -> None:
        if state.global_step in self.steps:
            self.found[state.global_step] = self.evaluator.evaluate(model).per_question["pearson"].tolist()


def trainer_of(run: Run, model_folder: str, material: Material, out: Path, callbacks: list[Any]) -> Any:
    """The run's trainer; what is not in `run.settings` is the same for all."""
    train, held_out = rows_of(run, material)
    every = run.steps // LOOKS
    common: dict[str, Any] = {
        "output_dir": str(out), "max_steps": run.steps, "per_device_train_batch_size": 4, "seed": run.seed,
        "per_device_eval_batch_size": 12, "lr_scheduler_type": "constant", "logging_steps": 1, "save_strategy": "no",
        "report_to": "none", "use_cpu": True, "bf16": True, "gradient_checkpointing": False, "disable_tqdm": True,
        "eval_strategy": "steps", "eval_steps": every, **run.settings,
    }  # fmt: skip
    if run.trainer != "grpo":
        common |= {"max_length": MAX_LENGTH, "eval_on_start": True}
    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    of = AutoModelForSequenceClassification if run.trainer == "reward" else AutoModelForCausalLM
    more = {"num_labels": 1} if run.trainer == "reward" else {}
    torch.manual_seed(run.seed)
    model = keep_lower(of.from_pretrained(model_folder, dtype=torch.float32, **more))
    beside: dict[str, Any] = {"processing_class": tokenizer, "callbacks": callbacks, "train_dataset": train}
    if run.trainer == "grpo":
        args = GRPOConfig(**{**common, "eval_strategy": "no"})
        return GRPOTrainer(model, run.reward, args=args, **beside)
    config, trainer = {
        "sft": (SFTConfig, SFTTrainer), "dpo": (DPOConfig, DPOTrainer), "reward": (RewardConfig, RewardTrainer),
    }[run.trainer]  # fmt: skip
    if run.trainer == "dpo":
        common["precompute_ref_log_probs"] = True
    return trainer(model, args=config(**common), eval_dataset=held_out, **beside)


def record(run: Run, model_folder: str, material: Material, out: Path) -> None:
    """Train, judge, and write the recording and the table."""
    began = time.monotonic()
    rewarded = out / "small_reward.json"
    if run.rows == "small_reward":
        material = replace(material, disliked=json.loads(rewarded.read_text()))
    every = run.steps // LOOKS
    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    settings = HREConfig(max_length=MAX_LENGTH, eval_steps=every)
    told = HREConfig(max_length=JUDGING_LENGTH)
    judge = Judge(HumanRankEvaluator(material.judging, tokenizer, told), [every * look for look in JUDGED])
    rewards = [run.reward] if run.reward else []
    watcher = HumanRankEvalCallback(material.seen, settings, reward_funcs=rewards)
    trainer = trainer_of(run, model_folder, material, out / run.name, [watcher, judge])
    trainer.train()
    if run.trainer == "reward":
        rewarded.write_text(json.dumps(disliked(trainer.model, tokenizer, material)))
    found = read_record(out / run.name)
    lines = [object_of(found.run), *map(object_of, found.evaluations), *map(object_of, found.events)]
    logs = [row for row in trainer.state.log_history if "hre/score" not in row]
    lines += [{"kind": "log", "step": row["step"], "logs": row} for row in logs]
    lines += [{"kind": "judged", "step": step, "pearson": values} for step, values in judge.found.items()]
    (HERE / f"{run.name}.jsonl").write_text(
        "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in stripped(lines))
    )
    write_table(material)
    print(run.name, row_of(run), f"{time.monotonic() - began:.0f} s", flush=True)


@torch.no_grad()
def disliked(model: Any, tokenizer: Any, material: Material) -> list[str]:
    """The pairs of which a reward model prefers the rejected answer."""

    def reward(text: str) -> float:
        ids = tokenizer(text + tokenizer.eos_token, return_tensors="pt", truncation=True, max_length=MAX_LENGTH)
        return float(model(ids["input_ids"]).logits.squeeze())

    model.eval()
    pairs = {
        row["id"]: [reward(row["prompt"] + row[side]) for side in ("chosen", "rejected")] for row in material.pairs
    }
    return [id_ for id_, (chosen, rejected) in pairs.items() if chosen < rejected]


def write_table(material: Material) -> None:
    """What each recorded run was and what the judging questions say of it, told anew from all recordings."""
    rows = [row_of(run) for name, run in RUNS.items() if (HERE / f"{name}.jsonl").exists()]
    table = {"runs": rows, "judging_questions": [question.id for question in material.judging]}
    TABLE.write_text(json.dumps(table, indent=1) + "\n")


def row_of(run: Run) -> dict[str, Any]:
    """One run of the table."""
    steps, values = judged(read_record(HERE / f"{run.name}.jsonl"))
    told = truth_of(steps, values)
    return {
        "name": run.name, "kind": run.kind, "did": run.did, "trainer": run.trainer, "seed": run.seed, "steps": run.steps,
        "settings": run.settings, "truth": told.truth, "harmful_from": told.harmful_from,
        "judged": rounded({"questions": values.shape[1], "steps": told.steps, "hre": told.hre, "change": told.change, "p": told.p}),
    }  # fmt: skip


def main(model_folder: str, dumps: str, out: str, *names: str) -> None:
    """Make the named runs, or those of the table that have no recording yet."""
    torch.set_num_threads(1)
    material = Material.build(Path(dumps), AutoTokenizer.from_pretrained(model_folder))
    print(material.told(), flush=True)
    for name in names or [name for name in RUNS if not (HERE / f"{name}.jsonl").exists()]:
        try:
            record(RUNS[name], model_folder, material, Path(out))
        except Exception:
            # The others are made all the same; what failed has no file, and the next call tries it again.
            traceback.print_exc()
        gc.collect()


if __name__ == "__main__":
    if len(sys.argv) < 4 or not set(sys.argv[4:]) <= set(RUNS):
        sys.exit(f"{__doc__}\nThe runs: {', '.join(RUNS)}")
    main(*sys.argv[1:])
