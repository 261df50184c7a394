"""The `hre` command as a person types it."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys

import pytest
from rich.console import Console

from hre_callback import HREConfig, HumanRankEvaluator, load_questions
from hre_callback.cli import app, main
from hre_callback.commands.missing import missing_module
from hre_callback.commands.terminal_output import bar_on_stderr
from hre_callback.scoring.demo_model import load_model, tiny_model

from .synthetic_records import healthy, write
from .trainers import TEXTS

DUMP = """<?xml version="1.0" encoding="utf-8"?>
<posts>
{rows}
</posts>
"""


def hre(*args, capsys, code=0):
    """Run the command in this process; returns what it printed to stdout and stderr."""
    capsys.readouterr()
    old = sys.argv
    sys.argv = ["hre", *map(str, args)]
    try:
        with pytest.raises(SystemExit) as left:
            main()
    finally:
        sys.argv = old
    captured = capsys.readouterr()
    assert (left.value.code or 0) == code, captured.err
    return captured.out, captured.err


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    model, tokenizer = tiny_model(TEXTS)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_score_prints_a_table_and_writes_lines(model_folder, tmp_path, capsys):
    out_file = tmp_path / "scores.jsonl"
    out, _ = hre("score", model_folder, "bundled", "--limit", "10", "--out", out_file, capsys=capsys)
    assert "95 % interval" in out and "cooking" in out and "all" in out
    rows = [json.loads(line) for line in out_file.read_text().splitlines()]
    questions = load_questions("bundled", max_questions=10)
    model, tokenizer = load_model(model_folder)
    result = HumanRankEvaluator(questions, tokenizer, HREConfig()).evaluate(model)
    assert [row["id"] for row in rows] == [question.id for question in questions]
    assert [row["pearson"] for row in rows] == pytest.approx(list(result.per_question["pearson"]), abs=1e-6)
    assert all(
        {"id", "topic", "pearson", "spearman", "kendall", "loglikelihoods", "divisors"} <= row.keys() for row in rows
    )
    assert all(len(row["loglikelihoods"]) == 4 for row in rows)


def test_score_json_and_quiet(model_folder, capsys):
    out, _ = hre("score", model_folder, "bundled", "--limit", "10", "--json", capsys=capsys)
    summary = json.loads(out)
    assert summary["n"] == 10
    assert summary["ci_low"] < summary["score"] < summary["ci_high"]
    out, _ = hre("score", model_folder, "bundled", "--limit", "5", "--quiet", capsys=capsys)
    assert out == ""


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["score", "no/such/folder", "bundled"], "no/such/folder"),
        (["score", "MODEL", "no_such.jsonl"], "no_such.jsonl"),
        (["score", "MODEL", "bundled", "--layout", "folded"], "HREConfig.layout is 'folded'; allowed: auto"),
        (["score", "MODEL", "bundled", "--dtype", "int4"], "dtype 'int4' is not one of float32"),
        (["build", "no_such.xml", "--topic", "x", "--out", "x.jsonl"], "no_such.xml"),
        (["report", "no_such_run"], "no_such_run"),
    ],
)
def test_errors_are_one_line_and_exit_2(args, message, model_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    args = [model_folder if arg == "MODEL" else arg for arg in args]
    out, err = hre(*args, capsys=capsys, code=2)
    assert out == ""
    assert err.startswith("hre: ") and message in err
    assert "Traceback" not in err and len(err.strip().splitlines()) == 1


HOSTILE = [
    "[red]x[/]",
    "[/]",
    "[link=http://x]y[/link]",
    "[physics]",
    "\x1b[31mred",
    ":smile:",
    "a\u202eb",
]


def question_file(path, topics):
    answers = [
        {"text": "the wind", "votes": 3},
        {"text": "no rope at all", "votes": 1},
        {"text": "ale", "votes": 0},
    ]
    rows = [{"id": t, "topic": t, "question": f"why {i}?", "answers": answers} for i, t in enumerate(topics)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_topic_is_shown_as_it_is_written(model_folder, tmp_path, capsys, monkeypatch):
    """No markup is read, nothing reaches the terminal that it would act on."""
    monkeypatch.setenv("COLUMNS", "200")
    out, _ = hre("score", model_folder, question_file(tmp_path / "q.jsonl", HOSTILE), capsys=capsys)
    for shown in [
        "[red]x[/]",
        "[/] ",
        "[link=http://x]y[/link]",
        "[physics]",
        r"\x1b[31mred",
        ":smile:",
        r"a\u202eb",
    ]:
        assert f" {shown}" in out
    assert "\x1b" not in out and "\u202e" not in out


def test_names_of_files_are_shown_as_they_are_written(tmp_path, capsys):
    _, err = hre("score", tmp_path / "[/]\x1b[31m\nhre: forged", "bundled", capsys=capsys, code=2)
    assert err.count("\n") == 1 and r"[/]\x1b[31m\nhre: forged" in err


def test_a_bar_reads_no_markup():
    bar = bar_on_stderr(quiet=False)
    bar.add_task("Reading [/x] and [red]y[/]")
    console = Console(width=200)
    with console.capture() as shown:
        console.print(bar)
    assert "Reading [/x] and [red]y[/]" in shown.get()


def test_a_console_of_ascii_only_gets_its_result(monkeypatch, tmp_path):
    console = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", console)
    write(healthy(3, n=20), tmp_path / "é" / "hre.jsonl")
    monkeypatch.setattr(sys, "argv", ["hre", "report", str(tmp_path / "é")])
    with pytest.raises(SystemExit) as left:
        main()
    assert not left.value.code
    console.flush()
    assert rb"\xe9" in console.buffer.getvalue()


def test_build_makes_questions_and_pairs(tmp_path, capsys):
    rows, number = [], 0
    for q in range(6):
        number += 1
        question = number
        rows.append(
            f'<row Id="{question}" PostTypeId="1" CreationDate="2020-01-0{q + 1}T00:00:00" Score="3" '
            f'Title="Title {q}" Body="&lt;p&gt;What is number {q}?&lt;/p&gt;" />'
        )
        for a, votes in enumerate((12, 7, 3, -1)):
            number += 1
            text = f"&lt;p&gt;Answer {a} to question {q}, long enough to be kept in.&lt;/p&gt;"
            rows.append(f'<row Id="{number}" PostTypeId="2" ParentId="{question}" Score="{votes}" Body="{text}" />')
    dump = tmp_path / "Posts.xml"
    dump.write_text(DUMP.format(rows="\n".join(rows)))
    questions, pairs = tmp_path / "q.jsonl", tmp_path / "train.jsonl"
    args = ["build", dump, "--topic", "numbers", "--out", questions, "--max-questions", "4", "--pairs", pairs]
    out, _ = hre(*args, "--json", capsys=capsys)
    assert json.loads(out)["questions"] == 4
    assert json.loads(out)["pairs"] == 2
    assert len(load_questions(questions)) == 4
    held_out = {answer.text for question in load_questions(questions) for answer in question.answers}
    trained = [json.loads(line) for line in pairs.read_text().splitlines()]
    assert not held_out & {row["chosen"].strip() for row in trained}
    out, _ = hre("build", dump, "--topic", "numbers", "--out", questions, "--after", "2020-01-04", capsys=capsys)
    assert out.startswith("3 of 6 questions")


@pytest.mark.parametrize("command", [group.name or group.callback.__name__ for group in app.registered_commands])
def test_every_command_has_an_example(command, capsys):
    out, _ = hre(command.replace("_", "-"), "--help", capsys=capsys)
    assert "Example" in out and f"hre {command.replace('_', '-')}" in out


def test_help_shows_a_session(capsys):
    out, _ = hre("--help", capsys=capsys)
    lines = [line.strip() for line in out.splitlines()]
    starts = [line.split()[1] for line in lines if line.startswith("hre ")]
    assert starts == ["demo", "build", "score", "watch", "report", "compare"]


def test_power_as_json_says_what_the_text_says(capsys):
    out, _ = hre("power", "--delta", "0.01", "--rho", "0.95", "--json", capsys=capsys)
    told = json.loads(out)
    text, _ = hre("power", "--delta", "0.01", "--rho", "0.95", capsys=capsys)
    assert text.startswith(f"{told['questions']} questions see") and told["questions"] == 2617
    assert f"1000 questions: power {told['power']['1000']:.2f}" in text


def test_report_as_json(tmp_path, capsys):
    write(healthy(3, n=20), tmp_path / "run" / "hre.jsonl")
    out, _ = hre("report", tmp_path / "run", "--json", capsys=capsys)
    paths = json.loads(out)
    assert paths == {kind: str(tmp_path / "run" / f"hre.{kind}") for kind in ("html", "png")}
    assert all((tmp_path / "run" / f"hre.{kind}").stat().st_size > 1000 for kind in paths)


def test_as_a_module_it_is_the_same_command(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "hre_callback", "report", str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 2 and done.stderr.startswith("hre: ") and "no record" in done.stderr


def test_completion_for_a_shell_is_shown(monkeypatch, capsys):
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    out, _ = hre("--show-completion", "bash", capsys=capsys)
    assert "COMPREPLY" in out


def test_ctrl_c_that_a_library_takes_for_another_error_is_ctrl_c_still(monkeypatch, capsys):
    """Matplotlib's converters in C answer Ctrl-C with `ValueError: Invalid bounding box`."""

    def swallow(**_: object) -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise ValueError("Invalid bounding box") from None

    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr("hre_callback.cli.app", swallow)
    try:
        with pytest.raises(SystemExit) as ended:
            main()
    finally:
        signal.signal(signal.SIGINT, before)
    assert (ended.value.code, capsys.readouterr().err) == (130, "")


def test_a_package_that_is_missing_is_named_with_what_to_type(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "trl", None)
    _, said = hre("demo", "--out", tmp_path / "demo", capsys=capsys, code=2)
    assert "this needs trl, which is not installed: pip install trl" in said


@pytest.mark.parametrize(
    ("module", "installed", "said"),
    [
        ("yaml", {}, "this needs pyyaml, which is not installed: pip install pyyaml"),
        ("PIL.Image", {}, "this needs pillow, which is not installed: pip install pillow"),
        ("wandb_workspaces.reports", {}, "wandb-workspaces, which is not installed: pip install wandb-workspaces"),
        ("lm_eval", {}, "pip install lm-eval"),
        ("einsum_ops.nn", {}, "the module einsum_ops.nn, which is not installed; install the package that has it"),
        (
            "transformers.models.new",
            {"transformers": ["transformers"]},
            "transformers.models.new, which the installed transformers does not have: pip install --upgrade transformers",
        ),
        ("swift.trainers", {"swift": ["ms-swift"]}, "pip install --upgrade ms-swift"),
    ],
)
def test_a_guessed_package_is_not_named(module, installed, said, monkeypatch):
    monkeypatch.setattr("hre_callback.commands.missing.packages_distributions", lambda: installed)
    assert said in missing_module(module)
