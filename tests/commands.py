"""Commands in a warm process, and the folder that they run in."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from hre_callback import load_questions
from hre_callback.scoring.demo_model import tiny_model

from . import bad_inputs as bad
from .rated import save, saved
from .trainers import TEXTS
from .warm import Ended, Warm

# Seconds: far more than any of them takes, on a machine with other work to do.
LIMIT = 30


@pytest.fixture(scope="session")
def warm(tmp_path_factory: pytest.TempPathFactory, model: Path) -> Iterator[Warm]:
    folder = tmp_path_factory.mktemp("warm")
    run, out = folder / "run.jsonl", folder / "out.html"
    run.write_bytes(bad.record())
    first = [
        "report nowhere",
        f"score {model} bundled --limit 2",
        "score nowhere bundled",
        f"score {model} {folder}",
        f"score {model} no.parquet",
        f"report {run} --out {out}",
        f"watch {run} --once",
        f"compare {run}",
        "build no --topic t --out no.jsonl",
        "rate no --out no.html",
        "rate no --collect no --out no.jsonl",
        "power",
        "workspace a/b",
    ]
    process = Warm(folder, first)
    yield process
    process.close()


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    for one in tiny_model(TEXTS):
        one.save_pretrained(folder)
    return folder


@pytest.fixture
def folder(tmp_path: Path, model: Path) -> Path:
    (tmp_path / "m").symlink_to(model)
    return tmp_path


@pytest.fixture
def full(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder with one of each that a command takes."""
    files = {"q.jsonl": bad.questions(bad.row()), "a.jsonl": bad.scores()}
    fill(folder, {**files, "run/hre.jsonl": bad.record(), "Posts.xml": bad.dump()})
    asked = load_questions(folder / "q.jsonl")
    save(folder / "saved", "a.json", saved(asked, "Anna", {asked[0].id: range(1, len(asked[0].answers) + 1)}))
    monkeypatch.chdir(folder)
    return folder


def fill(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)


def state(folder: Path) -> list[tuple[str, int, bytes]]:
    """Names, kinds and contents of everything below `folder`."""
    kinds = [(file, file.lstat().st_mode) for file in sorted(folder.rglob("*"))]
    return [(str(f), mode, f.read_bytes() if stat.S_ISREG(mode) else b"") for f, mode in kinds]


def is_one_sentence(ended: Ended) -> None:
    assert ended.code == 2, ended
    assert ended.out == "" and ended.err.count("\n") == 1 and ended.err.startswith("hre: "), ended
    assert not re.search(r"Traceback|[^ -~\né“”·…]", ended.err) and len(ended.err) < 1000, ended.err
