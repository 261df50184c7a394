"""A W&B sweep with `eval_hre` as its objective.

wandb login; python recipes/sweep.py models/SmolLM2-135M-Instruct data/train.jsonl data/beer.jsonl runs/sweep my-project
"""

import sys

import wandb
from datasets import Dataset
from trl import SFTConfig, SFTTrainer

from hre_callback import HREConfig, HumanRankEvalCallback, load_questions

SWEEP = {
    "method": "bayes",
    "metric": {"name": "eval_hre", "goal": "maximize"},
    "parameters": {"learning_rate": {"distribution": "log_uniform_values", "min": 1e-6, "max": 1e-4}},
}


def main(source: str, train: str, held_out: str, out: str, project: str, trials: int = 8, **options) -> None:
    """Make the sweep and run `trials` of it; W&B's page of the sweep shows the rest."""
    questions = load_questions(held_out)

    def trial() -> None:
        with wandb.init(project=project) as run:
            trainer = SFTTrainer(
                model=source,
                args=SFTConfig(
                    f"{out}/{run.id}",
                    learning_rate=run.config["learning_rate"],
                    report_to="wandb",
                    **{"max_steps": 20, **options},
                ),
                train_dataset=Dataset.from_json(train),
                callbacks=[HumanRankEvalCallback(questions, HREConfig(eval_steps=10))],
            )
            trainer.train()
            # The last HRE as one plain number: that of the curve, `hre/score`, has a maximum too.
            last = [row["eval_hre"] for row in trainer.state.log_history if "eval_hre" in row][-1]
            run.log({"eval_hre": last})

    wandb.agent(wandb.sweep(SWEEP, project=project), function=trial, count=trials)


if __name__ == "__main__":
    if len(sys.argv) != 6:
        sys.exit(__doc__)
    main(*sys.argv[1:])
