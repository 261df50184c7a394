"""Whatever stands in the place of an input or an output, wherever a command prints, whenever it is ended."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from . import bad_inputs as bad
from .commands import LIMIT, is_one_sentence, state
from .warm import Warm

# ---- anything in the place of an input ------------------------------------------------------------------------------


def as_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        # Its name may have a hundred letters only.
        one.bind(os.path.relpath(path))


def as_folder(inside: str, make: Callable[[Path], object]) -> Callable[[Path], object]:
    def prepare(path: Path) -> None:
        path.mkdir()
        make(path / inside)

    return prepare


THINGS: dict[str, Callable[[Path], object]] = {
    "nothing": lambda path: None,
    "a folder": Path.mkdir,
    "a pipe": os.mkfifo,
    "a socket": as_socket,
    "/dev/null": lambda path: path.symlink_to("/dev/null"),
    "/dev/zero": lambda path: path.symlink_to("/dev/zero"),
    "a link to itself": lambda path: path.symlink_to(path),
    "a link to nowhere": lambda path: path.symlink_to("nowhere"),
    "an empty file": lambda path: path.write_bytes(b""),
    "bytes": lambda path: path.write_bytes(bytes(range(256)) * 20),
    "null bytes": lambda path: path.write_bytes(bytes(5000)),
    "gzip": lambda path: path.write_bytes(b"\x1f\x8b\x08" + bytes(100)),
    "a BOM": lambda path: path.write_bytes(b"\xef\xbb\xbf"),
    "a text": lambda path: path.write_bytes(b"hello\r\nworld\r\n"),
    "a list": lambda path: path.write_bytes(b"[]\n"),
    "digits": lambda path: path.write_bytes(b"9" * 5000 + b"\n"),
    "a deep list": lambda path: path.write_text(bad.DEEP),
    "a folder with a pipe": as_folder("hre.jsonl", os.mkfifo),
    "a folder with a folder": as_folder("hre.jsonl", Path.mkdir),
    "a folder with /dev/zero": as_folder("hre.jsonl", lambda path: path.symlink_to("/dev/zero")),
    "a folder with a link to itself": as_folder("hre.jsonl", lambda path: path.symlink_to(path)),
    "a folder with a text": as_folder("hre.jsonl", lambda path: path.write_text("hello")),
}
# What is read by a way of its own meets all of them, what shares one of these the first.
TAKING = [
    "score X q.jsonl", "score X.gguf q.jsonl", "score m X", "score m X.parquet", "build X --topic t --out o.jsonl", "report X",
    "compare X", "detectors X", "compare a.jsonl X", "rate q.jsonl --out r.jsonl --collect X",
]  # fmt: skip

TAKING_TOO = [
    "score m X.jsonl", "report run --compare X --out o.html", "compare X.jsonl a.jsonl", "compare m X --questions q.jsonl",
    "compare m m --questions X.jsonl", "power --pilot X", "watch X --once", "workspace a/b --run X", "rate X --out o.html", "rate X.jsonl --out r.jsonl --collect saved",
]  # fmt: skip
TAKEN = [(command, thing) for command in TAKING for thing in THINGS]
TAKEN += [(command, thing) for command in TAKING_TOO for thing in list(THINGS)[:8]]


@pytest.mark.parametrize(("command", "thing"), TAKEN)
def test_anything_in_the_place_of_an_input_is_named(command: str, thing: str, full: Path, warm: Warm) -> None:
    name = next(word for word in command.split() if word.startswith("X"))
    THINGS[thing](full / name)
    before = state(full)
    ended = warm.run(command.split(), full, limit=LIMIT)
    is_one_sentence(ended)
    assert name in ended.err, ended.err
    assert state(full) == before


@pytest.mark.parametrize("thing", THINGS)
def test_anything_beside_a_record_is_no_obstacle(thing: str, full: Path, warm: Warm) -> None:
    THINGS[thing](full / "run" / "X.jsonl")
    for command in ("watch run", "compare run"):
        ended = warm.run(command.split(), full, limit=LIMIT)
        assert (ended.code, ended.err) == (0, ""), ended


@pytest.mark.parametrize("thing", ["bytes", "a text", "a list"])
def test_a_file_that_will_never_be_a_record_is_not_waited_for(thing: str, full: Path, warm: Warm) -> None:
    THINGS[thing](full / "X")
    is_one_sentence(warm.run(["watch", "X"], full, limit=LIMIT)._replace(out=""))


NAMES = ["", "a\x1b[31m\nhre: [/]X", "x" * 300, "\udcffé\u2028\u202e", "/"]
NAMED = [
    "score X q.jsonl", "score m X", "score m q.jsonl --dtype X", "score m q.jsonl --device X", "score m q.jsonl --layout X",
    "score m q.jsonl --prompt X", "score m q.jsonl --normalization X", "score m q.jsonl --chat-template-kwargs X",
    "score m q.jsonl --limit X", "score m q.jsonl --max-length X", "build X --topic t --out o.jsonl", "build Posts.xml --topic t --out X",
    "build Posts.xml --topic t --out o.jsonl --pairs X", "build Posts.xml --topic t --out o.jsonl --after X", "demo --steps X",
    "report X",  "compare X a.jsonl", "compare m m --questions X", "power --pilot X", "power --delta X", "watch X --once", "workspace X", "workspace a/b --name X", "workspace a/b --run X", "X", "power --no-X",
    "rate X --out o.html", "rate q.jsonl --out X", "rate q.jsonl --out r.jsonl --collect X", "rate q.jsonl --out o.html --seed X",
]  # fmt: skip


@pytest.mark.parametrize("command", NAMED)
def test_a_name_of_nothing_is_shown_as_it_is_written(command: str, full: Path, warm: Warm) -> None:
    for name in NAMES:
        before = state(full)
        words = [word.replace("X", name) if word in ("X", "--no-X") else word for word in command.split()]
        is_one_sentence(warm.run(words, full, limit=LIMIT))
        assert state(full) == before


# ---- outputs --------------------------------------------------------------------------------------------------------

WRITING = {
    "score m q.jsonl --out X.jsonl": "q.jsonl",
    "build Posts.xml --topic t --out X.jsonl": "Posts.xml",
    "build Posts.xml --topic t --out o.jsonl --pairs X.jsonl": "Posts.xml",
    "report run --out X.html": "run/hre.jsonl",
    "rate q.jsonl --out X.html": "q.jsonl",
    "rate q.jsonl --collect saved --out X.jsonl": "saved/a.json",
}
OCCUPIED: dict[str, Callable[[Path, Path], object]] = {
    "a folder": lambda path, given: path.mkdir(),
    "a pipe": lambda path, given: os.mkfifo(path),
    "a socket": lambda path, given: as_socket(path),
    "a device": lambda path, given: path.symlink_to("/dev/null"),
    "a link to itself": lambda path, given: path.symlink_to(path),
    "the input by a link": lambda path, given: path.symlink_to(given),
    "the input by a hard link": lambda path, given: os.link(given, path),
}


@pytest.mark.parametrize("thing", OCCUPIED)
@pytest.mark.parametrize("command", WRITING)
def test_an_output_takes_no_place_that_is_taken(command: str, thing: str, full: Path, warm: Warm) -> None:
    name = next(word for word in command.split() if word.startswith("X"))
    OCCUPIED[thing](full / name, full / WRITING[command])
    before = state(full)
    if thing == "a folder" and command.startswith("report"):
        # Asked to write into a folder of this name, it does.
        return
    ended = warm.run(command.split(), full, limit=LIMIT)
    is_one_sentence(ended)
    assert name in ended.err, ended.err
    assert state(full) == before


# ---- where it prints ------------------------------------------------------------------------------------------------

PRINTING = [
    "score m q.jsonl", "score m q.jsonl --json", "build Posts.xml --topic t --out o.jsonl", "report run", "report run --json",
    "compare a.jsonl a.jsonl", "compare run", "detectors run", "detectors run --out d --json", "power", "power --json", "watch run --once", "watch run", "--help", "power --help",
    "rate q.jsonl --out o.html", "rate q.jsonl --out r.jsonl --collect saved",
]  # fmt: skip


@pytest.mark.parametrize("command", PRINTING)
def test_where_it_prints_is_no_obstacle(command: str, full: Path, warm: Warm) -> None:
    ended = warm.run(command.split(), full, limit=LIMIT, stdout="broken")
    assert (ended.code, ended.err) == (1, ""), ended
    ended = warm.run(command.split(), full, limit=LIMIT, stdout="/dev/full")
    assert ended.code == 2 and ended.err.startswith("hre: ") and "standard output" in ended.err, ended
    assert ended.err.count("\n") == 1
    closed = dict.fromkeys(("stdin", "stdout", "stderr"), "closed")
    ended = warm.run(command.split(), full, limit=LIMIT, **closed)
    assert (ended.code, ended.err) == (0, ""), ended
    bare = {"COLUMNS": "20", "HOME": None, "TERM": "dumb", "TMPDIR": "/nowhere", "LC_ALL": "C"}
    ended = warm.run(command.split(), full, limit=LIMIT, environment=bare, encoding="ascii", stdin="closed")
    assert (ended.code, ended.err) == (0, ""), ended


def test_an_error_that_nobody_can_read_is_still_an_error(full: Path, warm: Warm) -> None:
    for place in ("closed", "broken", "/dev/full"):
        ended = warm.run(["report", "nowhere"], full, stderr=place)
        assert (ended.code, ended.out, ended.err) == (2, "", ""), (place, ended)


@pytest.mark.parametrize("command", ["power --delta x", "power --nothing", "report", "nothing", "score m"])
def test_a_command_that_is_written_wrongly_is_one_sentence(command: str, full: Path, warm: Warm) -> None:
    ended = warm.run(command.split(), full)
    is_one_sentence(ended)
    assert "--help" in ended.err


@pytest.mark.parametrize("command", PRINTING[:8])
def test_ctrl_c_at_any_moment_leaves_nothing(command: str, full: Path, warm: Warm) -> None:
    before = state(full)
    for seconds in (0.001, 0.02, 0.1):
        ended = warm.run(command.split(), full, interrupt=seconds)
        if ended.code == 0:
            # It was faster.
            return
        assert (ended.code, ended.err, state(full)) == (130, "", before), ended


QUIET = {
    "score m q.jsonl --out s.jsonl": "s.jsonl", "build Posts.xml --topic t --out o.jsonl --pairs p.jsonl": "p.sft.jsonl",
    "report run": "run/hre.html", "compare run": "run", "detectors run --out d": "d/detectors.md", "compare a.jsonl a.jsonl": "a.jsonl", "compare m m --questions q.jsonl": "m",
    "rate q.jsonl --out o.html": "o.html", "rate q.jsonl --out r.jsonl --collect saved": "r.jsonl",
}  # fmt: skip


@pytest.mark.parametrize("command", QUIET)
def test_quiet_says_nothing_and_does_all(command: str, full: Path, warm: Warm) -> None:
    ended = warm.run([*command.split(), "--quiet"], full, limit=LIMIT)
    assert ended[:3] == (0, "", "") and (full / QUIET[command]).exists(), ended
    ended = warm.run([*command.split(), "--quiet", "--json"], full, limit=LIMIT)
    assert ended.err == "" and ended.out.count("\n") == 1 and json.loads(ended.out, parse_constant=pytest.fail)


def test_code_that_comes_with_data_is_not_run_nor_asked_about(full: Path, warm: Warm) -> None:
    (full / "data").mkdir()
    (full / "data" / "data.py").write_text("import os\nos.mkdir('ran')\n")
    before = state(full)
    for command in ("score m data", "score m data --trust-remote-code", "compare m m --questions data"):
        is_one_sentence(warm.run(command.split(), full, limit=LIMIT, answers="y\n" * 9))
        assert state(full) == before
