"""SFT with HumanRankEval beside the loss.

python recipes/sft.py --config recipes/configs/sft_cpu.yaml
"""

from dataclasses import dataclass, field

from datasets import Dataset
from trl import ModelConfig, SFTConfig, SFTTrainer, TrlParser, get_peft_config

from hre_callback import HREArguments, HumanRankEvalCallback, load_questions


@dataclass
class DataArguments:
    """What to train on and what to hold out."""

    train: str = field(metadata={"help": "JSONL with `prompt` and `completion`, e.g. from hre build --pairs."})
    questions: str = field(metadata={"help": "Held-out questions: file, folder or hub dataset."})
    max_questions: int | None = field(default=None, metadata={"help": "Score a subset, stratified by topic."})
    held_out: str | None = field(
        default=None, metadata={"help": "Rows like those of `train`, for the evaluation loss."}
    )


def main() -> None:
    """Train; the callback does the rest."""
    parser = TrlParser((DataArguments, SFTConfig, ModelConfig, HREArguments))
    data, args, model, hre = parser.parse_args_and_config()
    args.model_init_kwargs = {"dtype": model.dtype, **(args.model_init_kwargs or {})}
    questions = load_questions(data.questions, max_questions=data.max_questions)
    trainer = SFTTrainer(
        model=model.model_name_or_path,
        args=args,
        train_dataset=Dataset.from_json(data.train),
        eval_dataset=data.held_out and Dataset.from_json(data.held_out),
        peft_config=get_peft_config(model),
        callbacks=[HumanRankEvalCallback(questions, hre.to_config())],
    )
    trainer.train(resume_from_checkpoint=args.resume_from_checkpoint)
    trainer.save_model()


if __name__ == "__main__":
    main()
