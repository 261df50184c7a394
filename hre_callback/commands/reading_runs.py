"""Look at a run's record: page, terminal, workspace; plan the next one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from .terminal_output import AsJson, Quiet, busy, printing, say


def report(
    run: Annotated[Path, typer.Argument(help="Run folder or record (.jsonl).")],
    out: Annotated[Path | None, typer.Option(help="The HTML file. Default: beside the record.")] = None,
    compare: Annotated[list[Path] | None, typer.Option(help="Another run to draw beside it; may be repeated.")] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Write one self-contained HTML page and a PNG of a run."""
    from ..views.png import NO_MATPLOTLIB
    from ..views.report import write_report

    with busy(f"Reading and drawing {run}", quiet or as_json):
        paths = write_report(run, out, others=compare or ())
    if as_json:
        say(json.dumps({"html": str(paths.html), "png": None if paths.png is None else str(paths.png)}))
    elif not quiet:
        say(f"Report: {paths.html}", f"Chart:  {paths.png or f'none, {NO_MATPLOTLIB}'}")


def watch(
    run: Annotated[Path, typer.Argument(help="Run folder or record (.jsonl).")],
    once: Annotated[bool, typer.Option("--once", help="Print one frame and leave.")] = False,
) -> None:
    """Follow a run's HRE curve in the terminal."""
    from ..views.terminal import watch as follow

    with printing():
        follow(run, once=once)


def workspace(
    project: Annotated[str, typer.Argument(help="ENTITY/PROJECT of the runs.")],
    name: Annotated[str, typer.Option(help="HREConfig.name of the runs.")] = "hre",
    run: Annotated[
        Path | None, typer.Option(help="Run folder or record (.jsonl) whose training signals get the panels.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Make a W&B workspace with HRE, topics, mismatch and training panels. Needs the extra workspace."""
    from ..run.record import read_record
    from ..trackers.workspace import save_workspace

    record = None if run is None else read_record(run)
    with busy(f"Asking W&B for a workspace of {project}", quiet):
        address = save_workspace(project, name=name, record=record)
    if not quiet:
        say(f"Workspace: {address}")


def power(
    delta: Annotated[float, typer.Option(help="The fall or rise to be seen.")] = 0.01,
    pilot: Annotated[Path | None, typer.Option(help="Run folder or record that tells rho and the spread.")] = None,
    rho: Annotated[float, typer.Option(help="Correlation of two evaluations over questions.")] = 0.95,
    answers: Annotated[
        int | None, typer.Option(help="Answers a question, which tell the spread where no --sd does. Default: 4.")
    ] = None,
    sd: Annotated[float | None, typer.Option(help="Standard deviation of the per-question correlation.")] = None,
    as_json: AsJson = False,
) -> None:
    """How many questions does it take to see a difference?"""
    from ..run.comparison import pilot_answers, pilot_figures
    from ..run.words import two_answers_line
    from ..stats.significance import null_sd, questions_needed
    from ..stats.significance import power as chance

    if answers is not None and (sd is not None or pilot is not None):
        raise ValueError(f"--answers {answers} tells a spread, and so does {'--pilot' if pilot else '--sd'}: give one")
    kinds = [4 if answers is None else answers] if pilot is None else pilot_answers(pilot)
    if pilot is not None:
        rho, sd = pilot_figures(pilot)
    elif sd is None:
        sd = null_sd(kinds[0])
    needed = questions_needed(delta, rho, sd=sd)
    table = {n: chance(delta, n, rho, sd=sd) for n in (100, 250, 500, 1000, 2000, 7000)}
    if as_json:
        found = {"delta": delta, "rho": rho, "sd": sd, "answers": answers, "questions": needed, "power": table}
        say(json.dumps(found, allow_nan=False))
        return
    say(f"{needed} questions see a difference of {delta:g} with 80 % power (rho {rho:.3f}, sd {sd:.3f}, two-sided 5 %)")
    for n, share in table.items():
        say(f"  {n:>5} questions: power {share:.2f}")
    if line := two_answers_line(delta, kinds):
        say(line)
