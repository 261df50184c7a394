"""Hyperparameters chosen by HumanRankEval: `Trainer.hyperparameter_search` with `eval_hre` as its objective.

pip install optuna; python recipes/search.py models/SmolLM2-135M-Instruct data/train.jsonl data/beer.jsonl runs/search
"""

import sys

from datasets import Dataset
from transformers import DataCollatorForLanguageModeling, Trainer, TrainingArguments

from hre_callback import HREConfig, HumanRankEvalCallback, load_questions
from hre_callback.scoring.loading import load_model


def space(trial):
    """What is searched; `trial` is optuna's."""
    return {"learning_rate": trial.suggest_float("learning_rate", 1e-6, 1e-4, log=True)}


def main(source: str, train: str, held_out: str, out: str, trials: int = 8, **options) -> None:
    """Train `trials` models; say which learning rate people's ranking of answers prefers.

    Choose on one set of questions and report on another: the best of many trials is too good by luck.
    """
    _, tokenizer = load_model(source)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    rows = Dataset.from_json(train).map(
        lambda row: tokenizer(row["prompt"] + row["completion"], truncation=True, max_length=256),
        remove_columns=["prompt", "completion"],
    )
    trainer = Trainer(
        model_init=lambda: load_model(source)[0],
        args=TrainingArguments(out, **{"max_steps": 20, "eval_strategy": "no", "report_to": "none", **options}),
        train_dataset=rows,
        # The Trainer wants one to evaluate at all; the objective is HRE on the held-out questions.
        eval_dataset=rows.select(range(2)),
        data_collator=DataCollatorForLanguageModeling(tokenizer, mlm=False),
        processing_class=tokenizer,
        callbacks=[HumanRankEvalCallback(load_questions(held_out), HREConfig(eval_on_end=False))],
    )
    best = trainer.hyperparameter_search(
        space,
        compute_objective=lambda metrics: metrics["eval_hre"],
        n_trials=trials,
        direction="maximize",
        backend="optuna",
    )
    print(f"best trial {best.run_id}: HRE {best.objective:.4f} with {best.hyperparameters}")


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    main(*sys.argv[1:])
