"""Hold out a part of one's own preference pairs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from .question_options import Columns, DataConfig, Split, reading
from .terminal_output import AsJson, Quiet, busy, say


def split(
    preferences: Annotated[
        str, typer.Argument(help="Preference rows (prompt, chosen, rejected): file, folder or hub dataset.")
    ],
    hold_out: Annotated[int, typer.Option(help="Pairs to hold out.")],
    out: Annotated[Path, typer.Option(help="Write the held-out questions here (.jsonl).")],
    train: Annotated[Path, typer.Option(help="Write the rows to train on here (.jsonl or .parquet).")],
    seed: Annotated[int, typer.Option(help="Seed of the draw.")] = 0,
    columns: Columns = None,
    data_config: DataConfig = None,
    data_split: Split = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Hold out preference pairs, and keep for training what shares no prompt and no answer with them.

    The draw is stratified by the column topic where there is one; all pairs of a prompt stay on one side.
    """
    from ..data.split_files import check_split_outputs, split_source, write_split

    check_split_outputs(preferences, out, train)
    options = reading(columns, None, data_config, data_split)
    del options["adapter"]
    with busy(f"Splitting {preferences}", quiet or as_json):
        found = split_source(preferences, hold_out=hold_out, seed=seed, **options)
        write_split(found, out, train)
    if as_json:
        say(
            json.dumps(
                {
                    "held_out": len(found.held_out),
                    "out": str(out),
                    "train": len(found.train),
                    "train_out": str(train),
                    "shared": found.shared,
                    "common_texts": found.common,
                    "no_question": dict(found.no_question.counts),
                }
            )
        )
    elif not quiet:
        say(f"{len(found.held_out):,} of {hold_out:,} pairs held out -> {out}")
        say(f"{len(found.train):,} rows to train on -> {train}")
        say(
            f"  {found.shared:>6,} rows in neither: they share a prompt, an answer, or half of one with a held-out pair"
        )
        if found.common:
            say(f"  {found.common:>6,} held-out texts stand with so many prompts that sharing them does not count")
        if said := found.no_question.sentence():
            say(f"  not held out, whatever the draw: {said.removeprefix('left out: ')}")
