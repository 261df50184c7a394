"""Score the checkpoints of a finished run.

python recipes/score_checkpoints.py runs/sft questions.jsonl

Writes one score file per checkpoint, for `hre compare`, and prints the curve. The numbers are those that the
callback logs during training.
"""

import re
import sys
from pathlib import Path

from hre_callback import HumanRankEvaluator, load_questions
from hre_callback.run.scores import score_rows, write_scores
from hre_callback.scoring.loading import load_model, parse_device


def main(run: Path, source: str) -> None:
    """Score every `checkpoint-<step>` folder of `run`, in order of steps."""
    folders = {int(match[1]): path for path in run.iterdir() if (match := re.fullmatch(r"checkpoint-(\d+)", path.name))}
    if not folders:
        sys.exit(f"{run}: no checkpoint-<step> folder in it; train with save_strategy=steps")
    questions = load_questions(source)
    for step, folder in sorted(folders.items()):
        model, tokenizer = load_model(folder, device=parse_device())
        result = HumanRankEvaluator(questions, tokenizer).evaluate(model)
        write_scores(run / f"scores-{step}.jsonl", score_rows(result, questions))
        print(f"step {step}: HRE {result.score:.4f} over {result.n} questions")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), sys.argv[2])
