"""What a command that trains finds on the disk: a tiny model, questions, data for SFT and DPO; and what it left."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hre_callback.scoring.demo_model import tiny_model

from ..trainers import TEXTS, questions, sft_dataset

ROOT = Path(__file__).parents[2]
HRE = (sys.executable, "-m", "hre_callback")
# Seconds; far more than any command takes, on a machine with other work to do.
LIMIT = 240


def lines(rows: Sequence[Mapping[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def fill(folder: Path) -> Path:
    """The files that the commands of the tests name."""
    for part in tiny_model(TEXTS):
        part.save_pretrained(folder / "model")
    (folder / "questions.jsonl").write_text(lines(question_rows()))
    for name, rows in {"sft": list(sft_dataset()), "dpo": pairs()}.items():
        (folder / name).mkdir()
        (folder / name / "train.jsonl").write_text(lines(rows))
    (folder / "hre.yaml").write_text("questions: questions.jsonl\neval_steps: 2\n")
    return folder


def question_rows() -> list[dict[str, Any]]:
    return [
        {
            "id": q.id,
            "topic": q.topic,
            "question": q.question,
            "answers": [{"text": a.text, "votes": a.votes} for a in q.answers],
        }
        for q in questions(6)
    ]


def pairs() -> list[dict[str, str]]:
    return [
        {"prompt": f"say {TEXTS[i]}", "chosen": " " + TEXTS[(i + 5) % 24], "rejected": " " + TEXTS[(i + 7) % 24]}
        for i in range(24)
    ]


def environment(**more: str) -> dict[str, str]:
    """That of a person who has the package and no network, none of pytest's or of a launch around us."""
    ours = ("WANDB_", "HRE_", "PYTEST_", "RANK", "WORLD_SIZE", "LOCAL_", "MASTER_")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
    quiet = {
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "CUDA_VISIBLE_DEVICES": "",
    }
    return {**kept, **quiet, "PYTHONPATH": str(ROOT), **more}


def ended(
    command: Sequence[object], folder: Path, limit: float = LIMIT, **more: str
) -> subprocess.CompletedProcess[str]:
    """The command, run in `folder` to its end."""
    return subprocess.run(
        list(map(str, command)), cwd=folder, env=environment(**more), stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=limit, start_new_session=True,
    )  # fmt: skip


def numbers(folder: Path) -> list[dict[str, Any]]:
    """The evaluations in the record of a run, without the clock."""
    rows = [json.loads(line) for line in (folder / "hre.jsonl").read_text().splitlines()]
    looks = [{**row, "seconds": None, "time": None} for row in rows if row["kind"] == "evaluation"]
    timed = ("hre/seconds", "hre/overhead")
    return [{**look, "metrics": {key: x for key, x in look["metrics"].items() if key not in timed}} for look in looks]
