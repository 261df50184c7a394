"""Where the commands write: nowhere but where they were told, never over what they read, all of it or nothing."""

from __future__ import annotations

import json
import os
import stat

import pytest

from hre_callback.commands import scoring_models
from hre_callback.data import stackexchange
from hre_callback.scoring import demo_model
from hre_callback.views import report
from hre_callback.views.report import write_report

from .synthetic_records import healthy, write
from .test_cli import DUMP, hre, model_folder

__all__ = ["model_folder"]


@pytest.fixture
def dump(tmp_path):
    rows = ['<row Id="1" PostTypeId="1" CreationDate="2020-01-01T00:00:00" Score="3" Title="T" Body="What?" />']
    rows += [
        f'<row Id="{2 + i}" PostTypeId="2" ParentId="1" Score="{9 - 3 * i}" Body="Answer {i}, long enough to be kept in." />'
        for i in range(4)
    ]
    path = tmp_path / "Posts.xml"
    path.write_text(DUMP.format(rows="\n".join(rows)))
    return path


@pytest.fixture
def questions(tmp_path):
    path = tmp_path / "q.jsonl"
    answers = [{"text": f"answer {i}", "votes": i} for i in range(3)]
    path.write_text(json.dumps({"question": "What?", "answers": answers}) + "\n")
    return path


def state(folder):
    """Names, kinds and contents of everything below `folder`."""
    files = sorted(folder.rglob("*"))
    return [(str(f), f.lstat().st_mode, f.read_bytes() if stat.S_ISREG(f.lstat().st_mode) else b"") for f in files]


def never(*_, **__):
    raise AssertionError("the work has begun")


def refused(*args, capsys, folder, says):
    """The command ends with one sentence and exit code 2, and the folder is as it was."""
    before = state(folder)
    out, err = hre(*args, capsys=capsys, code=2)
    assert out == "" and len(err.splitlines()) == 1 and says in err, err
    assert state(folder) == before


BAD = {
    "the questions": ("q.jsonl", "which this command reads"),
    "the model's weights": ("model/model.safetensors", "which this command reads"),
    "a folder": ("model", "is a folder"),
    "a pipe": ("pipe.jsonl", "is a pipe"),
    "a device": ("null.jsonl", "is a device"),
    "below a file": ("q.jsonl/x.jsonl", "Not a directory"),
}


@pytest.mark.parametrize("bad", BAD)
def test_score_knows_before_the_work_where_it_cannot_write(bad, questions, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(scoring_models, "_score", never)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.safetensors").write_bytes(b"weights")
    os.mkfifo(tmp_path / "pipe.jsonl")
    (tmp_path / "null.jsonl").symlink_to("/dev/null")
    name, says = BAD[bad]
    refused(
        "score",
        tmp_path / "model",
        questions,
        "--out",
        tmp_path / name,
        capsys=capsys,
        folder=tmp_path,
        says=says,
    )


def test_score_does_not_replace_the_bundled_questions(tmp_path, monkeypatch, capsys):
    sample = tmp_path / "sample.jsonl"
    sample.write_text("precious")
    monkeypatch.setattr("hre_callback.data.sources.SAMPLE_QUESTIONS", sample)
    refused(
        "score",
        "m",
        "bundled",
        "--out",
        sample,
        capsys=capsys,
        folder=tmp_path,
        says="which this command reads",
    )


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--out", "Posts.xml"], "found the suffix '.xml', expected .jsonl"),
        (["--out", "dump.jsonl"], "which this command reads"),
        (["--out", "pipe.jsonl"], "is a pipe"),
        (["--out", "q.jsonl", "--pairs", "q.jsonl"], "two outputs need two names"),
        (["--out", "q.jsonl", "--pairs", "./x/../q.jsonl"], "two outputs need two names"),
        (["--out", "q.jsonl", "--pairs", "link.jsonl"], "two outputs need two names"),
        (["--out", "q.sft.jsonl", "--pairs", "q.jsonl"], "two outputs need two names"),
        (["--out", "q.jsonl", "--pairs", "dump.jsonl"], "which this command reads"),
        (["--out", "q.jsonl", "--pairs", "b.json"], "found the suffix '.json', expected .jsonl"),
        (["--out", "q.jsonl", "--pairs", "pipe.jsonl"], "is a pipe"),
        (["--out", "q.jsonl", "--pairs", "taken.jsonl"], "taken.sft.jsonl is a folder"),
        (["--out", "q.jsonl", "--pairs", "lost.jsonl"], "lost.sft.jsonl is a link to"),
    ],
)
def test_build_knows_before_the_work_where_it_cannot_write(options, says, dump, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(stackexchange, "build_questions", never)
    os.mkfifo("pipe.jsonl")
    os.link("Posts.xml", "dump.jsonl")
    os.symlink("q.jsonl", "link.jsonl")
    os.mkdir("x"), os.mkdir("taken.sft.jsonl")
    os.symlink("elsewhere", "lost.sft.jsonl")
    refused("build", "Posts.xml", "--topic", "t", *options, capsys=capsys, folder=tmp_path, says=says)


def test_build_leaves_no_questions_when_the_pairs_fail(dump, tmp_path, monkeypatch, capsys):
    def fail(*_, **__):
        raise ValueError("pairs failed")

    monkeypatch.setattr(stackexchange, "build_pairs", fail)
    options = ["--out", tmp_path / "new" / "q.jsonl", "--pairs", tmp_path / "p.jsonl"]
    refused("build", dump, "--topic", "t", *options, capsys=capsys, folder=tmp_path, says="pairs failed")


@pytest.fixture
def run(tmp_path):
    write(healthy(3, n=20), tmp_path / "run" / "hre.jsonl")
    return tmp_path / "run"


def test_a_record_does_not_decide_where_its_report_goes(tmp_path, capsys):
    lines = healthy(3, n=20)
    for number, name in enumerate(["../../evil", "/tmp/evil", "a/b", "", "x.y", 7]):
        lines[0]["name"] = name
        run = tmp_path / "deep" / "er" / str(number)
        write(lines, run / "train.jsonl")
        refused("report", run, capsys=capsys, folder=tmp_path, says="train.jsonl, line 1: name is ")
    for name in ("evil", "x" * 300, None):
        lines[0]["name"] = name
        run = tmp_path / "deep" / "er" / str(name)[:9]
        write(lines, run / "train.jsonl")
        hre("report", run, capsys=capsys)
        hre("report", run / "train.jsonl", "--out", run / "out", capsys=capsys)
        assert sorted(str(p.relative_to(run)) for p in run.rglob("*.*")) == [
            *("out/train.html", "out/train.png"),
            *("train.html", "train.jsonl", "train.png"),
        ]
    assert not list(tmp_path.rglob("*evil.*")) and not os.path.lexists("/tmp/evil.html")


@pytest.mark.parametrize(
    ("prepare", "options", "says"),
    [
        (lambda run: os.mkfifo(run / "hre.html"), [], "hre.html is a pipe"),
        (lambda run: (run / "hre.png").mkdir(), [], "hre.png is a folder"),
        (lambda run: (run / "hre.png").symlink_to("/dev/null"), [], "hre.png is a device"),
        (lambda run: (run / "hre.html").symlink_to(run / "x"), [], "hre.html is a link to"),
        (lambda run: (run / "hre.png").symlink_to(run / "x"), ["--out", "o.html"], None),
        (
            lambda run: (run / "o.html").symlink_to("hre.jsonl"),
            ["--out", "o.html"],
            "which this command reads",
        ),
        (
            lambda run: os.link(run / "hre.jsonl", run / "o.png"),
            ["--out", "o.html"],
            "which this command reads",
        ),
    ],
)
def test_report_knows_before_the_work_where_it_cannot_write(prepare, options, says, run, monkeypatch, capsys):
    monkeypatch.chdir(run)
    prepare(run)
    if says is None:
        hre("report", run, *options, capsys=capsys)
        return
    monkeypatch.setattr(report, "render", never)
    refused("report", run, *options, capsys=capsys, folder=run, says=says)


def test_report_does_not_replace_the_other_runs_record(run, tmp_path, monkeypatch):
    other = write(healthy(3, n=20), tmp_path / "other.html")
    with pytest.raises(ValueError, match="which this command reads"):
        write_report(run, other, others=[other])


def test_a_chart_that_fails_leaves_no_page(run, monkeypatch, capsys):
    def fail(*_, **__):
        raise ValueError("no chart")

    monkeypatch.setattr(report, "chart_png", fail)
    refused("report", run, capsys=capsys, folder=run, says="no chart")


@pytest.mark.parametrize(
    ("name", "says"),
    [("file", "is a file, expected a folder"), ("pipe", "is a pipe"), ("full", "hre.html is a pipe")],
)
def test_demo_knows_before_the_work_where_it_cannot_write(name, says, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("hre_callback.demo.load_questions", never)
    (tmp_path / "file").write_text("precious")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "full").mkdir()
    os.mkfifo(tmp_path / "full" / "hre.html")
    refused("demo", "--out", tmp_path / name, capsys=capsys, folder=tmp_path, says=says)


@pytest.mark.parametrize(
    ("name", "says"),
    [("file", "is a file, expected a folder"), ("pipe", "is a pipe"), ("full", "full holds something else")],
)
def test_demo_model_takes_no_place_that_is_taken(name, says, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(demo_model, "demo_gguf", lambda: tmp_path / "model.gguf")
    monkeypatch.setattr(demo_model, "load_model", never)
    (tmp_path / "file").write_text("precious")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes").write_text("precious")
    refused("demo-model", tmp_path / name, capsys=capsys, folder=tmp_path, says=says)


def test_a_conversion_that_fails_leaves_nothing(tmp_path, monkeypatch, capsys):
    class Broken:
        def save_pretrained(self, folder):
            (folder / "half.safetensors").write_bytes(b"half")
            raise OSError("the disk is full")

    monkeypatch.setattr(demo_model, "demo_gguf", lambda: tmp_path / "model.gguf")
    monkeypatch.setattr(demo_model, "load_model", lambda _: (Broken(), Broken()))
    refused("demo-model", tmp_path / "m", capsys=capsys, folder=tmp_path, says="the disk is full")
