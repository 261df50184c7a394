"""DPO with HumanRankEval beside the margins.

python recipes/dpo.py --config recipes/configs/dpo_cpu.yaml
"""

from dataclasses import dataclass, field

from datasets import Dataset
from trl import DPOConfig, DPOTrainer, ModelConfig, TrlParser, get_peft_config

from hre_callback import HREArguments, HumanRankEvalCallback, load_questions


@dataclass
class DataArguments:
    """What to train on and what to hold out."""

    train: str = field(metadata={"help": "JSONL with `prompt`, `chosen`, `rejected`, e.g. from hre build --pairs."})
    questions: str = field(metadata={"help": "Held-out questions: file, folder or hub dataset."})
    max_questions: int | None = field(default=None, metadata={"help": "Score a subset, stratified by topic."})
    reverse: bool = field(default=False, metadata={"help": "Swap chosen and rejected: a mismatch on purpose."})


def main() -> None:
    """Train; the callback does the rest."""
    parser = TrlParser((DataArguments, DPOConfig, ModelConfig, HREArguments))
    data, args, model, hre = parser.parse_args_and_config()
    args.model_init_kwargs = {"dtype": model.dtype, **(args.model_init_kwargs or {})}
    pairs = Dataset.from_json(data.train)
    if data.reverse:
        pairs = pairs.rename_columns({"chosen": "rejected", "rejected": "chosen"})
    questions = load_questions(data.questions, max_questions=data.max_questions)
    trainer = DPOTrainer(
        model=model.model_name_or_path,
        args=args,
        train_dataset=pairs,
        peft_config=get_peft_config(model),
        callbacks=[HumanRankEvalCallback(questions, hre.to_config())],
    )
    trainer.train(resume_from_checkpoint=args.resume_from_checkpoint)
    trainer.save_model()


if __name__ == "__main__":
    main()
