"""GRPO with HumanRankEval beside the reward, and the reward itself judged by people's votes.

python recipes/grpo.py --config recipes/configs/grpo_cpu.yaml
"""

from dataclasses import dataclass, field
from typing import Any

from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer, ModelConfig, TrlParser, get_peft_config

from hre_callback import HREArguments, HumanRankEvalCallback, load_questions


@dataclass
class DataArguments:
    """What to train on, what to reward and what to hold out."""

    train: str = field(metadata={"help": "JSONL with `prompt`, e.g. from hre build --pairs."})
    questions: str = field(metadata={"help": "Held-out questions: file, folder or hub dataset."})
    max_questions: int | None = field(default=None, metadata={"help": "Score a subset, stratified by topic."})
    reward: str = field(
        default="brevity",
        metadata={"help": "'brevity' (a mismatch on purpose), or a reward model: folder or hub id."},
    )


def brevity_reward(completions: list[str], **kwargs: Any) -> list[float]:
    """The shorter, the better: easy to learn, cheap to serve, and not what people vote for."""
    return [-len(completion) / 100 for completion in completions]


def main() -> None:
    """Train; the callback does the rest."""
    parser = TrlParser((DataArguments, GRPOConfig, ModelConfig, HREArguments))
    data, args, model, hre = parser.parse_args_and_config()
    args.model_init_kwargs = {"dtype": model.dtype, **(args.model_init_kwargs or {})}
    reward_funcs = [brevity_reward if data.reward == "brevity" else data.reward]
    questions = load_questions(data.questions, max_questions=data.max_questions)
    trainer = GRPOTrainer(
        model=model.model_name_or_path,
        reward_funcs=reward_funcs,
        args=args,
        train_dataset=Dataset.from_json(data.train).select_columns("prompt"),
        peft_config=get_peft_config(model),
        callbacks=[HumanRankEvalCallback(questions, hre.to_config(), reward_funcs=reward_funcs)],
    )
    trainer.train(resume_from_checkpoint=args.resume_from_checkpoint)
    trainer.save_model()


if __name__ == "__main__":
    main()
