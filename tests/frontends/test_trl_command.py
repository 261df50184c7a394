"""The stock `trl sft` and `trl dpo` under `hre run`, in one process and in two: what a callback attached by hand finds."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from ..ports import free_port
from .files import HRE, ended, fill, numbers

# What both are told; paths are those of `files.fill`.
SETTINGS = {
    "max_steps": 4, "per_device_train_batch_size": 2, "logging_steps": 2, "save_strategy": "no", "report_to": "none",
    "use_cpu": True, "bf16": False, "seed": 3, "learning_rate": 0.01, "output_dir": "launched",
}  # fmt: skip
BY_HAND = """
import json, sys
from datasets import load_dataset
from trl import {name}Config, {name}Trainer
from hre_callback import HREConfig, HumanRankEvalCallback, load_questions

callback = HumanRankEvalCallback(load_questions("questions.jsonl"), HREConfig(eval_steps=2))
trainer = {name}Trainer(
    "model", args={name}Config(**json.loads(sys.argv[1])), train_dataset=load_dataset("{data}")["train"], callbacks=[callback]
)
trainer.train()
trainer.end()
"""


def processes(n: int) -> list[str]:
    """Arguments of `accelerate launch`, which `trl` passes on to it."""
    if n == 1:
        return []
    return f"--multi_gpu --num_processes {n} --num_machines 1 --mixed_precision no --dynamo_backend no --main_process_port {free_port()}".split()


@pytest.mark.slow
@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("data", ["sft", "dpo"])
def test_the_stock_command_has_the_callback_of_ones_own_script(tmp_path, data, n):
    fill(tmp_path)
    trl = [str(Path(sys.executable).parent / "trl"), data, "--model_name_or_path", "model", "--dataset_name", data]
    options = [word for key, value in SETTINGS.items() for word in (f"--{key}", str(value))]
    job = ended([*HRE, "run", "--config", "hre.yaml", "--", *trl, *options, *processes(n)], tmp_path)
    assert job.returncode == 0, job.stderr[-4000:]
    line = f"HRE attached to {data.upper()}Trainer: 6 questions, prompt paper, record launched/hre.jsonl\n"
    assert job.stderr.count("HRE attached") == 1 and line in job.stderr and "hre: " not in job.stderr
    (tmp_path / "by_hand.py").write_text(BY_HAND.format(name=data.upper(), data=data))
    launch = [sys.executable, "-m", "accelerate.commands.launch", *processes(n)] if n > 1 else [sys.executable]
    told = json.dumps({**SETTINGS, "output_dir": "hand"})
    job = ended([*launch, "by_hand.py", told], tmp_path)
    assert job.returncode == 0, job.stderr[-4000:]
    assert [look["step"] for look in numbers(tmp_path / "hand")] == [0, 2, 4]
    assert numbers(tmp_path / "launched") == numbers(tmp_path / "hand")
