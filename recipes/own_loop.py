"""HumanRankEval in a training loop of one's own: PyTorch and accelerate, no Trainer.

accelerate launch recipes/own_loop.py models/SmolLM2-135M-Instruct data/train.jsonl data/beer.jsonl runs/own
"""

import json
import sys
from itertools import islice
from pathlib import Path

import torch
from accelerate import Accelerator

from hre_callback import HREConfig, HumanRankEvaluator, Monitor, load_questions
from hre_callback.scoring.loading import load_model

STEPS, EVERY, BATCH, LENGTH = 20, 5, 4, 256


def endless(loader):
    """Batches, epoch after epoch."""
    while True:
        yield from loader


def main(source: str, train: str, held_out: str, out: Path) -> None:
    """Train on `prompt` and `completion` rows; stop when people and training part ways."""
    accelerator = Accelerator()
    plain, tokenizer = load_model(source)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token

    def collate(rows):
        texts = [row["prompt"] + row["completion"] for row in rows]
        batch = tokenizer(texts, padding=True, truncation=True, max_length=LENGTH, return_tensors="pt")
        labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
        return {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"], "labels": labels}

    rows = [json.loads(line) for line in Path(train).read_text().splitlines()]
    loader = torch.utils.data.DataLoader(rows, BATCH, shuffle=True, collate_fn=collate)
    optimizer = torch.optim.AdamW(plain.parameters(), lr=2e-5)
    model, optimizer, loader = accelerator.prepare(plain, optimizer, loader)

    # The plain model with one process and DDP; with FSDP or DeepSpeed `model` itself, which holds the shards together.
    config = HREConfig(stop_rule="drop_from_start")
    evaluator = HumanRankEvaluator(load_questions(held_out), tokenizer, config)
    evaluator.prepare(plain)
    monitor = Monitor(path=out / "hre.jsonl", planned_looks=STEPS // EVERY, **evaluator.scored_as)
    monitor.start({"model": source, "trainer": "own loop", "proof": evaluator.proof})
    accelerator.print(monitor.add(0, evaluator.evaluate(plain)).line)

    logged = []
    for step, batch in enumerate(islice(endless(loader), STEPS), start=1):
        model.train()
        loss = model(**batch).loss
        accelerator.backward(loss)
        optimizer.step()
        optimizer.zero_grad()
        logged.append({"step": step, "loss": accelerator.reduce(loss.detach(), "mean").item()})
        if step % EVERY == 0:
            # On all processes: each scores its share, and all come to the same outcome.
            outcome = monitor.add(step, evaluator.evaluate(plain), log_history=logged)
            accelerator.print(outcome.line)
            if outcome.stop:
                monitor.note("stop", step, rule=config.stop_rule, reason=outcome.stop)
                break
    summary = monitor.summary()
    monitor.finish(step, summary)
    accelerator.print(monitor.closing_line(summary))
    accelerator.end_training()


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    main(*sys.argv[1:4], Path(sys.argv[4]))
