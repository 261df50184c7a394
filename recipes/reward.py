"""A reward model, with its own HumanRankEval beside the loss: does it rank answers as people do?

python recipes/reward.py --config recipes/configs/reward_cpu.yaml
"""

from dataclasses import dataclass, field

from datasets import Dataset
from trl import ModelConfig, RewardConfig, RewardTrainer, TrlParser, get_peft_config

from hre_callback import HREArguments, HumanRankEvalCallback, load_questions


@dataclass
class DataArguments:
    """What to train on and what to hold out."""

    train: str = field(metadata={"help": "JSONL with `prompt`, `chosen`, `rejected`, e.g. from hre build --pairs."})
    questions: str = field(metadata={"help": "Held-out questions: file, folder or hub dataset."})
    max_questions: int | None = field(default=None, metadata={"help": "Score a subset, stratified by topic."})


def main() -> None:
    """Train; the callback does the rest."""
    parser = TrlParser((DataArguments, RewardConfig, ModelConfig, HREArguments))
    data, args, model, hre = parser.parse_args_and_config()
    args.model_init_kwargs = {"dtype": model.dtype, **(args.model_init_kwargs or {})}
    questions = load_questions(data.questions, max_questions=data.max_questions)
    trainer = RewardTrainer(
        model=model.model_name_or_path,  # as a sequence classifier of one label: the reward
        args=args,
        train_dataset=Dataset.from_json(data.train),
        peft_config=get_peft_config(model),
        callbacks=[HumanRankEvalCallback(questions, hre.to_config())],
    )
    trainer.train(resume_from_checkpoint=args.resume_from_checkpoint)
    trainer.save_model()


if __name__ == "__main__":
    main()
