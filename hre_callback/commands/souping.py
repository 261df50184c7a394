"""Average a run's checkpoints, and let people's votes say whether that is worth it."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from ..plain_text import plain_text
from .question_options import (
    Adapter,
    ChatTemplateKwargs,
    Columns,
    DataConfig,
    Limit,
    MaxLength,
    Normalization,
    Prompt,
    Split,
    reading,
)
from .terminal_output import AsJson, Device, Quiet, TrustRemoteCode, printing, progress_bar, say

_NOTHING = "Nothing was saved; --save-anyway saves the best average all the same."


def soup(
    run: Annotated[Path, typer.Argument(help="Folder with checkpoint-N folders: whole models, or LoRA adapters.")],
    questions: Annotated[str, typer.Option(help="What hre score takes: file, folder, hub dataset, name, 'bundled'.")],
    out: Annotated[Path | None, typer.Option(help="New folder for the average. Default: nothing is saved.")] = None,
    save_anyway: Annotated[
        bool, typer.Option("--save-anyway", help="Save it also where it is not shown to be better.")
    ] = False,
    start: Annotated[
        str | None,
        typer.Option(help="The model that training began with. Default: an adapter's base model, or the record's."),
    ] = None,
    last: Annotated[int | None, typer.Option(help="Checkpoints in the average of the last. Default: half.")] = None,
    interpolate: Annotated[
        str, typer.Option(help="How far from the start to the average of all, by commas; '' for none.")
    ] = "0.25,0.5,0.75",
    greedy: Annotated[
        bool, typer.Option("--greedy", help="Also the average that takes checkpoints in as long as HRE allows.")
    ] = False,
    limit: Limit = None,
    prompt: Prompt = "paper",
    chat_template_kwargs: ChatTemplateKwargs = None,
    normalization: Normalization = "characters",
    max_length: MaxLength = None,
    columns: Columns = None,
    adapter: Adapter = None,
    data_config: DataConfig = None,
    split: Split = None,
    dtype: Annotated[str, typer.Option(help="float32, bfloat16, float16, or auto: the checkpoints' own.")] = "auto",
    device: Device = None,
    trust_remote_code: TrustRemoteCode = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Average a run's checkpoints; HRE chooses which, and tells what it is worth on questions that did not choose.

    Tried are the average of all, of the last, and all on the way back to the start. Saved is only what is shown to be
    better than the best single checkpoint; where a folder was asked for and nothing was saved the code is 1.
    """
    from ..config import HREConfig
    from ..data.questions import load_questions
    from ..files import check_new_folder, nearest_folder, partial_folder
    from ..run.soups import as_dict, averages, sentences, soup_table
    from ..scoring.loading import load_model, parse_device, parse_dtype
    from .mixing import Mixes, check_room, find_origin, whole_checkpoints

    shares = _shares(interpolate)
    if out is not None:
        check_new_folder(out)
    config = HREConfig(
        prompt=prompt,  # type: ignore[arg-type]
        chat_template_kwargs=chat_template_kwargs,
        normalization=normalization,  # type: ignore[arg-type]
        max_length=max_length,
    )
    numbers: Any = "auto" if dtype == "auto" else parse_dtype(dtype)
    place = parse_device(device)
    checkpoints = whole_checkpoints(run)
    soups = averages(len(checkpoints), last, shares)

    def load(source: str | Path, kind: Any = numbers) -> Any:
        return load_model(source, dtype=kind, device=place, trust_remote_code=trust_remote_code)

    room = nearest_folder(out) if out is not None else Path(tempfile.gettempdir())
    check_room(room, checkpoints[0])
    with progress_bar(quiet or as_json) as bar, partial_folder(room) as scratch:
        task = bar.add_task(plain_text(f"Reading {questions}"), total=None)
        loaded = load_questions(questions, max_questions=limit, **reading(columns, adapter, data_config, split))
        origin = find_origin(run, checkpoints[-1], start, scratch, lambda source: load(source, "auto")[0])
        mixes = Mixes(checkpoints, origin, loaded, config, scratch, load)
        mixes.tell = lambda text: bar.update(task, description=plain_text(text))
        chosen = mixes.choose(soups, greedy=greedy)
        found = as_dict(mixes.scored, chosen, origin.name)
        saved = out if out is not None and (chosen.better or save_anyway) else None
        if saved is not None:
            mixes.save(chosen.mix, saved, found)
    if as_json:
        say(json.dumps({**found, "saved": None if saved is None else str(saved)}, allow_nan=False))
    elif not quiet:
        with printing():
            Console().print(soup_table(mixes.scored, chosen, mixes.clusters))
        say(*sentences(chosen, origin.name))
        say(*([] if out is None else [f"Saved: {saved}" if saved is not None else _NOTHING]))
    if out is not None and saved is None:
        raise typer.Exit(1)


def _shares(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",") if part.strip()]
    except ValueError as error:
        raise ValueError(f"--interpolate {text!r}: expected numbers between 0 and 1, separated by commas") from error
