"""Score models, and compare scores, runs and models."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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

if TYPE_CHECKING:
    from ..config import HREConfig
    from ..data.questions import Question
    from ..run.score_files import Scores
    from ..stats.correlation import HREResult


def score(
    model: Annotated[str, typer.Argument(help="Model folder, GGUF file or hub id.")],
    questions: Annotated[
        str, typer.Argument(help="File, dataset folder, hub dataset, known name (oasst2:de), or 'bundled'.")
    ],
    out: Annotated[Path | None, typer.Option(help="Write one JSON line per question here.")] = None,
    dtype: Annotated[str, typer.Option(help="float32, bfloat16 or float16.")] = "float32",
    device: Device = None,
    layout: Annotated[str, typer.Option(help="auto, packed, cached or padded.")] = "auto",
    limit: Limit = None,
    prompt: Prompt = "paper",
    chat_template_kwargs: ChatTemplateKwargs = None,
    normalization: Normalization = "characters",
    max_length: MaxLength = None,
    cutoff: Annotated[
        str | None, typer.Option(help="The model's knowledge cutoff, 2024-05-31: HRE also before and after that day.")
    ] = None,
    columns: Columns = None,
    adapter: Adapter = None,
    data_config: DataConfig = None,
    split: Split = None,
    trust_remote_code: TrustRemoteCode = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Score a model on voted answers, without a Trainer.

    Causal language models, encoder-decoders, PEFT adapters, and reward models by their own number.
    """
    from ..config import HREConfig
    from ..data.sources import source_path
    from ..files import check_output
    from ..run.cutoff import after_cutoff
    from ..run.scores import cutoff_summary, score_rows, summarize, topic_table, write_scores
    from ..run.words import cutoff_lines

    if out is not None:
        check_output(out, inputs=[model, source_path(questions)])
    config = HREConfig(
        prompt=prompt,  # type: ignore[arg-type]
        chat_template_kwargs=chat_template_kwargs,
        layout=layout,  # type: ignore[arg-type]
        normalization=normalization,  # type: ignore[arg-type]
        max_length=max_length,
        cutoff=cutoff,
    )
    result, loaded = _score(
        model,
        questions,
        config,
        dtype=dtype,
        device=device,
        limit=limit,
        trust_remote_code=trust_remote_code,
        quiet=quiet or as_json,
        read=reading(columns, adapter, data_config, split),
    )
    # All that can fail comes before the file: a failed command leaves none.
    judges = sorted({question.judge for question in loaded if question.judge is not None})
    summary = {**summarize(result), **({"judge": ", ".join(judges)} if judges else {})}
    after = after_cutoff(loaded, config.cutoff)
    if after is not None:
        summary["cutoff"] = {"day": config.cutoff, **cutoff_summary(result, after)}
    shown = json.dumps(summary, allow_nan=False) if as_json else topic_table(result, model)
    if out is not None:
        write_scores(out, score_rows(result, loaded, config))
    if as_json:
        say(shown)
    elif not quiet:
        with printing():
            Console().print(shown)
        if judges:
            say(f"The votes are by {', '.join(judges)}, not by people.")
        if after is not None:
            say(*cutoff_lines(summary["cutoff"], after.count(None)))
        if out is not None:
            say(f"Per-question scores: {out}")


def _score(
    model: str,
    questions: str,
    config: HREConfig | None = None,
    *,
    dtype: str = "float32",
    device: str | None = None,
    limit: int | None = None,
    trust_remote_code: bool = False,
    quiet: bool = False,
    read: Mapping[str, Any] | None = None,
) -> tuple[HREResult, Sequence[Question]]:
    """Load, score with a progress bar, let go of the model; `read` goes on to `load_questions`.

    Raises:
        ValueError: names the model or the questions, whichever stands against it.
    """
    from ..data.questions import load_questions
    from ..run.scores import check_defined
    from ..scoring.evaluator import HumanRankEvaluator
    from ..scoring.loading import load_model, parse_device, parse_dtype

    numbers, place = parse_dtype(dtype), parse_device(device)
    name = plain_text(Path(model).name)
    with progress_bar(quiet) as bar:
        task = bar.add_task(f"Loading {name}", total=None)
        loaded = load_questions(questions, max_questions=limit, **(read or {}))
        net, tokenizer = load_model(model, dtype=numbers, device=place, trust_remote_code=trust_remote_code)
        bar.update(task, description=f"Scoring {len(loaded)} questions with {name}")
        try:
            evaluator = HumanRankEvaluator(loaded, tokenizer, config)
            result = evaluator.evaluate(net, lambda done, total: bar.update(task, completed=done, total=total))
        # Whatever a model's own forward may raise.
        except Exception as error:
            raise ValueError(f"{model}: {error}") from error
    check_defined(result, questions)
    return result, loaded


def compare(
    sides: Annotated[
        list[str],
        typer.Argument(
            help="Score files, run folders (their last evaluation) or models (with --questions); the first is "
            "the reference. One run alone: its evaluations against its start, and what each stop rule says."
        ),
    ],
    questions: Annotated[
        str | None, typer.Option(help="Score the models among the arguments on these, see hre score.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--max-questions", "--limit", help="Of these, a subset, stratified by topic.")
    ] = None,
    columns: Columns = None,
    adapter: Adapter = None,
    data_config: DataConfig = None,
    split: Split = None,
    device: Device = None,
    trust_remote_code: TrustRemoteCode = False,
    fail_if_worse: Annotated[
        bool,
        typer.Option(
            "--fail-if-worse",
            help="Exit with code 1 when the last is significantly worse (one run: when drop_from_start stops it).",
        ),
    ] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Compare models on the same questions: paired difference, interval, p and a verdict in words."""
    from ..run.record import is_record

    if len(sides) == 1 and is_record(Path(sides[0])):
        found, lines, worse = _compare_run(sides[0], quiet or as_json)
    elif len(sides) == 1:
        raise ValueError(f"hre compare needs two score files, runs or models; {sides[0]} alone is not a run")
    else:
        options: dict[str, Any] = {"limit": limit, "device": device, "trust_remote_code": trust_remote_code}
        options["read"] = reading(columns, adapter, data_config, split)
        scored = [_side(side, questions, quiet=quiet or as_json, **options) for side in sides]
        found, lines, worse = _compare_sides(sides, scored)
    # Asked before anything is printed: there may be nothing that could tell.
    failed = fail_if_worse and worse()
    if as_json:
        say(json.dumps(found))
    elif not quiet:
        say(*lines)
    if failed:
        raise typer.Exit(1)


def _compare_run(run: str, quiet: bool) -> tuple[Any, list[str], Callable[[], bool]]:
    """What to print as JSON, what as text, and what tells whether to fail, for the evaluations of one run."""
    from ..run.comparison import compare_series, has_fallen, sentence
    from ..run.record import read_record

    with progress_bar(quiet) as bar:
        task = bar.add_task(plain_text(f"Reading {run}"), total=None)
        record = read_record(run)
        bar.update(task, description=plain_text(f"Comparing the evaluations of {run}"))
        series = compare_series(record, run, lambda done, total: bar.update(task, completed=done, total=total))
    looks = list(zip(series.steps, series.comparisons, strict=True))
    found = {"evaluations": [{"step": s, **row.as_dict()} for s, row in looks], "stops": series.stops}
    lines = [f"step {step}: {sentence(row)}" for step, row in looks]
    for rule, stop in series.stops.items():
        lines.append(f"{rule}: stops at step {stop[0]}: {stop[1]}" if stop else f"{rule}: does not stop")
    return found, lines, lambda: has_fallen(series)


def _compare_sides(sides: Sequence[str], scored: Sequence[Scores]) -> tuple[Any, list[str], Callable[[], bool]]:
    """The same for score files, runs and models against the first of them."""
    from ..run.comparison import compare_scores, is_worse, sentence

    rows = [
        (side, compare_scores(scored[0], now, (sides[0], side)))
        for side, now in zip(sides[1:], scored[1:], strict=True)
    ]
    found = [{"scores": side, **row.as_dict()} for side, row in rows]
    lines = [f"{side} against {sides[0]}: {sentence(row)}" for side, row in rows]
    return found, lines, lambda: is_worse(rows[-1][1])


def _side(side: str, questions: str | None, **options: Any) -> Scores:
    """The scores that one argument of `hre compare` stands for; a model is scored now, with the options of `_score`."""
    from ..run.record import is_record
    from ..run.score_files import read_scores
    from ..run.scores import score_rows

    a_model = Path(side).suffix.lower() == ".gguf"
    if questions is None or is_record(Path(side)) or (Path(side).is_file() and not a_model):
        return read_scores(Path(side))
    result, loaded = _score(side, questions, **options)
    return {row["id"]: row for row in score_rows(result, loaded)}
