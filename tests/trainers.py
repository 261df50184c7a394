"""Tiny trainers for the tests: a two-layer model with dropout, a dozen rows, a few steps on the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import GPT2Config, GPT2LMHeadModel, TrainerCallback
from trl import SFTConfig, SFTTrainer

from hre_callback import Answer, Question
from hre_callback.scoring.demo_model import tiny_model

WORDS = [
    "the",
    "model",
    "reads",
    "a",
    "question",
    "and",
    "ranks",
    "what",
    "people",
    "wrote",
    "about",
    "water",
    "fire",
    "wood",
    "stone",
    "bread",
]
TEXTS = [" ".join(WORDS[(i * j) % len(WORDS)] for j in range(1, 9)) for i in range(1, 25)]


def tokenizer() -> Any:
    return tiny_model(TEXTS)[1]


def dropout_model(tok: Any, seed: int = 0) -> Any:
    """GPT-2 with dropout: a stray forward in train mode, or a draw from the RNG, changes its weights."""
    torch.manual_seed(seed)
    config = GPT2Config(
        vocab_size=len(tok), n_embd=32, n_layer=2, n_head=2, n_positions=256, bos_token_id=1, eos_token_id=2,
        resid_pdrop=0.1, embd_pdrop=0.1, attn_pdrop=0.1,
    )  # fmt: skip
    return GPT2LMHeadModel(config)


def questions(n: int = 6, answers: int = 4) -> list[Question]:
    return [
        Question(
            id=f"q{i}",
            question=f"why {TEXTS[i]}?",
            topic=("wood", "stone")[i % 2],
            answers=tuple(
                Answer(text=TEXTS[(i + 3 * a + 1) % len(TEXTS)] + "!" * a, votes=[9, 4, 1, -2][a % 4] + i)
                for a in range(answers)
            ),
        )
        for i in range(n)
    ]


def sft_dataset(n: int = 24) -> Dataset:
    return Dataset.from_list(
        [{"prompt": f"say {TEXTS[i % 24]}", "completion": " " + TEXTS[(i + 5) % 24]} for i in range(n)]
    )


def arguments(out: Path, config: type = SFTConfig, **overrides: Any) -> Any:
    settings: dict[str, Any] = {
        "output_dir": str(out), "max_steps": 8, "per_device_train_batch_size": 2, "learning_rate": 1e-2,
        "logging_steps": 2, "save_strategy": "no", "report_to": "none", "use_cpu": True, "bf16": False,
        "disable_tqdm": True, "seed": 3, "gradient_checkpointing": False,
    }  # fmt: skip
    return config(**{**settings, **overrides})


def sft_trainer(
    out: Path, callbacks: list[TrainerCallback], train: Dataset | None = None, **overrides: Any
) -> SFTTrainer:
    tok = tokenizer()
    return SFTTrainer(
        model=dropout_model(tok),
        processing_class=tok,
        train_dataset=train or sft_dataset(),
        eval_dataset=sft_dataset(4),
        args=arguments(out, **overrides),
        callbacks=callbacks,
    )
