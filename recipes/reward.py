"""A reward model and its own HumanRankEval: python recipes/reward.py --config recipes/configs/reward_cpu.yaml

The model has no words to score: its reward ranks the held-out answers, and HRE says how far people agree.
"""

from dataclasses import dataclass, field

from datasets import Dataset
from transformers import AutoModelForSequenceClassification, AutoTokenizer
from trl import ModelConfig, RewardConfig, RewardTrainer, TrlParser, get_peft_config

from hre_callback import HREArguments, HumanRankEvalCallback, load_questions


@dataclass
class DataArguments:
    """What to train on and what to hold out."""

    train: str = field(
        metadata={"help": "JSONL with `prompt`, `chosen`, `rejected`, e.g. from hre build --pairs."}
    )
    questions: str = field(metadata={"help": "Held-out questions: file, folder or hub dataset."})
    max_questions: int | None = field(default=None, metadata={"help": "Score a subset, stratified by topic."})


def main() -> None:
    """Train; the callback does the rest."""
    parser = TrlParser((DataArguments, RewardConfig, ModelConfig, HREArguments))
    data, args, model, hre = parser.parse_args_and_config()
    tokenizer = AutoTokenizer.from_pretrained(model.model_name_or_path)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    net = AutoModelForSequenceClassification.from_pretrained(
        model.model_name_or_path, num_labels=1, dtype=model.dtype, pad_token_id=tokenizer.pad_token_id
    )
    questions = load_questions(data.questions, max_questions=data.max_questions)
    trainer = RewardTrainer(
        model=net,
        args=args,
        processing_class=tokenizer,
        train_dataset=Dataset.from_json(data.train),
        peft_config=get_peft_config(model),
        callbacks=[HumanRankEvalCallback(questions, hre.to_config())],
    )
    trainer.train(resume_from_checkpoint=args.resume_from_checkpoint)
    trainer.save_model()


if __name__ == "__main__":
    main()
