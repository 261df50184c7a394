"""`hre run` around commands that know nothing of it: streams, signals, exit codes, and what it says at the end."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from hre_callback.frontends.launch import what_became

from .files import HRE, LIMIT, ROOT, ended, environment

RUN = (*HRE, "run", "--questions", "bundled")
NEVER = "hre: HRE was never attached: "


def python(code: str, *flags: str) -> tuple[str, ...]:
    return (sys.executable, *flags, "-c", code)


def waiting(folder: Path, code: str, *before: str, **options: object) -> subprocess.Popen[bytes]:
    """`hre run` around Python code, once that says that it is ready by making a file."""
    code = f"import signal, sys, time\n{code}\nopen('ready', 'w').close()\ntime.sleep(60)"
    job = subprocess.Popen((*before, *RUN, "--", *python(code)), cwd=folder, env=environment(), **options)  # type: ignore[call-overload]
    deadline = time.monotonic() + LIMIT
    while not (folder / "ready").exists() and time.monotonic() < deadline:
        assert job.poll() is None
        time.sleep(0.05)
    return job


# ---- the command is the person's -----------------------------------------------------------------------------


def test_the_exit_code_is_the_commands(tmp_path):
    assert ended((*RUN, "--", "sh", "-c", "exit 7"), tmp_path).returncode == 7
    assert ended((*RUN, "--", "sh", "-c", "kill -9 $$"), tmp_path).returncode == 128 + 9


def test_streams_words_and_open_files_are_the_commands(tmp_path):
    """Bytes, words that look like options, an inherited descriptor as in `<(...)`, and nothing else on stdout."""
    code = "import os, sys; os.write(1, repr(sys.argv[1:]).encode() + sys.stdin.buffer.read() + os.read(int(sys.argv[1]), 9))"
    inner, outer = os.pipe()
    os.write(outer, b"through")
    words = [str(inner), "--config", "--", "--questions", "", "*", "é\udcff"]
    job = subprocess.run(
        (*RUN, "--", *python(code), *words), cwd=tmp_path, env=environment(), input=b"\x00\xff\n", capture_output=True, pass_fds=[inner], timeout=LIMIT
    )  # fmt: skip
    os.close(inner), os.close(outer)
    assert job.stdout == repr(words).encode() + b"\x00\xff\n" + b"through"


def test_a_first_word_ends_the_options_of_hre(tmp_path):
    job = ended((*RUN, "echo", "--config", "x"), tmp_path)
    assert job.stdout == "--config x\n"


@pytest.mark.parametrize(("word", "code", "why"), [("nosuchcommand", 127, "No such file"), (".", 126, "Permission denied"), ("./plain", 126, "Permission denied"), ("./empty", 126, "Exec format error")])  # fmt: skip
def test_a_command_that_cannot_be_started_is_one_sentence(tmp_path, word, code, why):
    (tmp_path / "plain").write_text("")
    (tmp_path / "empty").write_bytes(b"\x00\x01")
    (tmp_path / "empty").chmod(0o755)
    for off in ("", "1"):
        job = ended((*RUN, "--", word, "--lr", "1"), tmp_path, HRE_OFF=off)
        last = job.stderr.splitlines()[-1]
        assert (job.returncode, job.stdout) == (code, "") and last.startswith(f"hre: {word}: {why}"), job


@pytest.mark.parametrize("options", [[], ["--questions", "nowhere.jsonl"], ["--config", "nowhere.yaml"], ["--config", "bad.yaml"], ["--questions", "bad.jsonl"], ["--nonsense"]])  # fmt: skip
def test_what_is_wrong_is_said_before_the_command_starts(tmp_path, options):
    (tmp_path / "bad.yaml").write_text("questions: bundled\neval_step: 3\n")
    (tmp_path / "bad.jsonl").write_text("{}\n")
    job = ended((*HRE, "run", *options, "--", "touch", "started"), tmp_path)
    assert (
        job.returncode == 2 and job.stdout == "" and job.stderr.startswith("hre: ") and job.stderr.count("\n") == 1
    ), job
    assert not (tmp_path / "started").exists()


def test_without_a_command_there_is_nothing_to_run(tmp_path):
    job = ended((*RUN, "--"), tmp_path)
    assert job.returncode == 2 and "COMMAND" in job.stderr


# ---- signals ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1"])
def test_a_signal_is_passed_on_once_and_the_command_decides(tmp_path, name):
    code = f"signal.signal(signal.{name}, lambda *_: sys.exit(41))"
    job = waiting(tmp_path, code, start_new_session=True)
    job.send_signal(getattr(signal, name))
    assert job.wait(LIMIT) == 41


def test_a_command_that_a_signal_ends_has_a_shells_exit_code(tmp_path):
    job = waiting(tmp_path, "", start_new_session=True)
    job.terminate()
    assert job.wait(LIMIT) == 128 + signal.SIGTERM


def test_ctrl_c_at_a_terminal_reaches_the_command_once(tmp_path):
    """The terminal itself sends it to both; a launcher that sends it again would look impatient."""
    ours, terminal = pty.openpty()

    def own_terminal() -> None:
        fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)

    code = "got = []\nsignal.signal(signal.SIGINT, lambda *_: got.append(1))\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(len(got)))"
    job = waiting(
        tmp_path, code, start_new_session=True, preexec_fn=own_terminal, stdin=terminal, stdout=terminal, stderr=terminal
    )  # fmt: skip
    os.write(ours, b"\x03")
    time.sleep(1)
    job.terminate()
    assert job.wait(LIMIT) == 1
    os.close(ours), os.close(terminal)


def test_what_was_ignored_stays_ignored(tmp_path):
    """`nohup hre run ...` outlives its terminal."""
    code = "assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN"
    job = waiting(tmp_path, code, "nohup", start_new_session=True, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)  # fmt: skip
    job.send_signal(signal.SIGHUP)
    job.terminate()
    assert job.wait(LIMIT) == 128 + signal.SIGTERM


# ---- inside the command's Pythons ---------------------------------------------------------------------------


def fake_transformers(folder: Path) -> str:
    """A package of that name with the one class that the hook waits for; its place on the path."""
    (folder / "fake" / "transformers").mkdir(parents=True)
    (folder / "fake" / "transformers" / "__init__.py").write_text("")
    (folder / "fake" / "transformers" / "trainer_callback.py").write_text(
        "class CallbackHandler:\n    def __init__(self, callbacks):\n        self.callbacks = callbacks\n"
    )
    return f"{folder / 'fake'}{os.pathsep}{ROOT}"


def test_a_python_without_transformers_is_left_as_it_is(tmp_path):
    before = ended(python("import sys; print(sorted(sys.modules))"), tmp_path).stdout
    job = ended((*RUN, "--", *python("import sys; print(sorted(sys.modules))")), tmp_path)
    assert {*eval(job.stdout)} - {*eval(before)} <= {"sitecustomize", "importlib.util", "importlib._abc", "importlib"}
    assert job.stderr.startswith(NEVER + "no Python of this command imported transformers")


def test_a_sitecustomize_of_the_persons_own_does_its_work(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "sitecustomize.py").write_text("seen = 5\n")
    code = "import sitecustomize, sys; print(sitecustomize.seen, sitecustomize.__file__)"
    job = ended((*RUN, "--", *python(code)), tmp_path, PYTHONPATH=f"{ROOT}{os.pathsep}{tmp_path / 'mine'}")
    assert job.stdout.split() == ["5", str(tmp_path / "mine" / "sitecustomize.py")]


def test_a_python_that_lacks_the_package_says_so_and_trains_on(tmp_path):
    code = "from transformers.trainer_callback import CallbackHandler as H; print(H([1]).callbacks)"
    job = ended((*RUN, "--", *python(code)), tmp_path, PYTHONPATH=fake_transformers(tmp_path))
    assert (job.returncode, job.stdout) == (0, "[1]\n")
    said, last = job.stderr.splitlines()
    assert said.startswith(f"HRE is not attached: {sys.executable} cannot import hre_callback")
    assert last == f"hre: HRE scored no Trainer of this command: {said}"


def test_a_look_whether_the_module_is_there_does_not_lose_the_hook(tmp_path):
    code = (
        "import importlib.util as u, sys; u.find_spec('transformers.trainer_callback');"
        "from transformers.trainer_callback import CallbackHandler as H; H([])"
    )
    job = ended((*RUN, "--", *python(code)), tmp_path, PYTHONPATH=fake_transformers(tmp_path))
    assert "HRE is not attached" in job.stderr


def test_a_command_without_a_trainer_is_told_of(tmp_path):
    path = fake_transformers(tmp_path)
    job = ended((*RUN, "--", *python("import transformers.trainer_callback")), tmp_path, PYTHONPATH=path)
    assert job.stderr == NEVER + "the command imported transformers and made no Trainer\n"


@pytest.mark.parametrize("flag", ["-I", "-S", "-E"])
def test_an_isolated_python_is_told_of(tmp_path, flag):
    job = ended((*RUN, "--", *python("print(1)", flag)), tmp_path)
    assert (job.returncode, job.stdout) == (0, "1\n")
    assert job.stderr.startswith(NEVER) and "-I, -E or -S" in job.stderr


@pytest.mark.parametrize(("off", "attached"), [("1", False), ("yes", False), ("0", True), ("", True)])
def test_the_switch_runs_the_command_alone(tmp_path, off, attached):
    job = ended((*RUN, "--", *python("import os; print('HRE_RUN' in os.environ)")), tmp_path, HRE_OFF=off)
    assert job.stdout == f"{attached}\n"
    assert job.stderr.startswith("hre: HRE_OFF is set: HRE is not attached\n") != attached


def test_the_switch_works_for_one_process_of_many(tmp_path):
    path = fake_transformers(tmp_path)
    code = f"HRE_OFF=1 {sys.executable} -c 'import transformers.trainer_callback'"
    job = ended((*RUN, "--", "sh", "-c", code), tmp_path, PYTHONPATH=path)
    assert job.stderr.startswith(NEVER + "no Python of this command")


def test_one_trainer_that_was_scored_is_enough(tmp_path):
    for name, line in {"imported-1": "", "left-1": "HRE leaves A alone: why"}.items():
        (tmp_path / name).write_text(line)
    assert what_became(tmp_path) == "HRE scored no Trainer of this command: HRE leaves A alone: why"
    (tmp_path / "attached-2").write_text("")
    assert what_became(tmp_path) == ""


def test_nothing_is_left_behind(tmp_path):
    (tmp_path / "tmp").mkdir()
    ended((*RUN, "--", "true"), tmp_path, TMPDIR=str(tmp_path / "tmp"))
    assert list((tmp_path / "tmp").iterdir()) == []
