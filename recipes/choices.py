"""Which checkpoint would HRE have chosen, which the training signals, and which do other people's votes prefer?

python recipes/choices.py runs/sft_few data/unseen.jsonl

The run has a checkpoint for every look (`save_steps` equal to `hre_eval_steps`). Each choice is scored on questions
that the run has never seen; then HRE's choice is held against every other, question by question.
"""

import sys
from pathlib import Path

from hre_callback import HREConfig, HumanRankEvaluator, load_questions, read_record
from hre_callback.run.keys import score_of
from hre_callback.run.proxies import signals
from hre_callback.scoring.loading import load_model, parse_device
from hre_callback.stats.significance import paired_difference


def choices(run: Path) -> dict[str, int]:
    """Who chooses -> the step that it would keep, among the looks of which there is a checkpoint."""
    record = read_record(run)
    looks = [look for look in record.evaluations if (run / f"checkpoint-{look.step}").is_dir()]
    if len(looks) < 2:
        sys.exit(f"{run}: {len(looks)} looks with a checkpoint, two are needed; train with save_steps = hre_eval_steps")
    by_score = {look.step: score for look in looks if (score := score_of(look, record.run.name)) is not None}
    chosen = {"HRE": max(by_score, key=lambda step: by_score[step]), "the last": looks[-1].step}
    for signal in signals({key for look in looks for key in look.proxies}):
        values = {look.step: look.proxies[signal.key] for look in looks if look.proxies.get(signal.key) is not None}
        if signal.better and signal.room != "seldom" and values:
            best = max if signal.better == "up" else min
            chosen[signal.label] = best(values, key=lambda step, found=values: found[step])
    return chosen


def main(run: Path, source: str) -> None:
    """Score every choice on the questions of `source`, and say how much better HRE's is."""
    asked, chosen = load_questions(source), choices(run)
    config = HREConfig(max_length=read_record(run).run.config["max_length"])
    found = {}
    for step in sorted(set(chosen.values())):
        model, tokenizer = load_model(run / f"checkpoint-{step}", device=parse_device())
        found[step] = HumanRankEvaluator(asked, tokenizer, config).evaluate(model)
    for who, step in chosen.items():
        line = f"{who} chooses step {step}: HRE {found[step].score:.3f} on {found[step].n} other questions"
        if step != chosen["HRE"]:
            gain = paired_difference(*(found[at].per_question["pearson"] for at in (chosen["HRE"], step)))
            line += f"; HRE's choice {gain.estimate:+.3f} (95 % {gain.low:+.3f} to {gain.high:+.3f}, p = {gain.p:.3f})"
        print(line)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), sys.argv[2])
