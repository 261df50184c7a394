"""Ask people: a page on which they rank answers, and their files joined into the questions."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .question_options import Adapter, Columns, DataConfig, Split, reading
from .terminal_output import AsJson, Quiet, busy, say

if TYPE_CHECKING:
    from ..data.questions import Question
    from ..data.rating_files import RatingFile


def rate(
    out: Annotated[Path, typer.Option(help="The page (.html); with --collect the questions with ratings (.jsonl).")],
    asked: Annotated[
        str | None, typer.Argument(metavar="[QUESTIONS]", help="JSONL or parquet file, folder, hub dataset, 'bundled'.")
    ] = None,
    collect: Annotated[
        Path | None, typer.Option(help="Join the files that people saved, all .json in this folder.")
    ] = None,
    questions: Annotated[str | None, typer.Option(help="The questions, where they are not the argument.")] = None,
    max_questions: Annotated[
        int | None, typer.Option(min=1, help="Ask a subset of this size, stratified by topic.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the subset and of everybody's order. Default: 0.")] = None,
    columns: Columns = None,
    adapter: Adapter = None,
    data_config: DataConfig = None,
    split: Split = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Make a page on which people rank the answers blind; join what they save into the questions' ratings.

    The report then draws their own HRE beside the model's.
    """
    source = _one_source(asked, questions)
    read = reading(columns, adapter, data_config, split)
    if collect is None:
        _make_page(source, read, out, max_questions, seed or 0, quiet, as_json)
        return
    if max_questions is not None or seed is not None:
        raise ValueError("--max-questions and --seed are of the page; --collect joins all that people ranked")
    _collect(source, read, collect, out, quiet, as_json)


def _one_source(asked: str | None, questions: str | None) -> str:
    given = [source for source in (asked, questions) if source is not None]
    if len(given) != 1:
        raise ValueError(f"hre rate needs one set of questions, found {len(given)}: hre rate QUESTIONS --out page.html")
    return given[0]


def _check_suffix(out: Path, *allowed: str) -> None:
    if out.suffix.lower() not in allowed:
        raise ValueError(f"--out is {str(out)!r}; expected a file that ends in {' or '.join(allowed)}")


def _make_page(
    source: str, read: Mapping[str, Any], out: Path, most: int | None, seed: int, quiet: bool, as_json: bool
) -> None:
    from ..data.blind import blind_questions
    from ..data.questions import load_questions
    from ..data.rating_files import KIND, VERSION
    from ..data.sources import source_path
    from ..files import check_output, write_whole
    from ..views.rating_page import rating_page

    _check_suffix(out, ".html", ".htm")
    check_output(out, inputs=[source_path(source)])
    with busy(f"Making {out}", quiet or as_json):
        data = blind_questions(load_questions(source, **read), max_questions=most, seed=seed)
        write_whole(out, [rating_page({"kind": KIND, "version": VERSION, **data}).encode()])
    made = {"page": str(out), "questions": len(data["questions"]), "fingerprint": data["fingerprint"]}
    if as_json:
        say(json.dumps(made))
    elif not quiet:
        say(f"{made['questions']} questions to rank, no votes inside -> {out}")
        then = f"hre rate --collect FOLDER --questions {source} --out rated.jsonl"
        say(f"Send it to people, put the files that they save into one folder, then: {then}")


def _collect(source: str, read: Mapping[str, Any], folder: Path, out: Path, quiet: bool, as_json: bool) -> None:
    from ..data.questions import load_questions, question_lines
    from ..data.rating_files import join_ratings, rating_paths, read_rating_files
    from ..data.sources import source_path
    from ..files import check_output, write_whole

    _check_suffix(out, ".jsonl")
    paths = rating_paths(folder)
    check_output(out, inputs=[source_path(source), folder, *paths])
    with busy(f"Joining the ratings in {folder}", quiet or as_json):
        loaded = load_questions(source, **read)
        files = read_rating_files(paths, loaded, source)
        joined = join_ratings(loaded, files)
        summary = _summary(files, joined, out)
        write_whole(out, question_lines(joined))
    if as_json:
        say(json.dumps(summary, allow_nan=False))
    elif not quiet:
        say(*_lines(summary))


def _summary(files: list[RatingFile], joined: list[Question], out: Path) -> dict[str, Any]:
    """Who ranked what, and how well they agree: figures of `HumanHRE`, null where there are none."""
    from ..stats.human_hre import human_hre
    from ..stats.significance import known_clusters

    people = [
        {"rater": one.rater, "file": str(one.path), "ranked": len(one.ratings), "skipped": one.skipped} for one in files
    ]
    found = human_hre([one.ratings for one in joined], clusters=known_clusters([one.cluster for one in joined]))
    figures = {key: value if math.isfinite(value) else None for key, value in asdict(found).items()}
    return {"out": str(out), "questions": len(joined), "people": people, "human_hre": figures}


def _lines(summary: dict[str, Any]) -> list[str]:
    lines = [
        f"{one['rater']}: {one['ranked']} ranked, {one['skipped']} skipped ({one['file']})" for one in summary["people"]
    ]
    human = summary["human_hre"]
    if human["estimate"] is None:
        lines.append("No question was ranked apart by two people, so there is no human HRE to draw.")
    else:
        told = f"{human['estimate']:.3f}" + (
            "" if human["low"] is None else f" (95 % {human['low']:.3f} to {human['high']:.3f})"
        )
        lines.append(f"Human HRE, each of {human['people']} people against the others: {told}, {human['n']} questions")
    return [*lines, f"{summary['questions']} questions -> {summary['out']}"]
