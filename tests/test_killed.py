"""kill -9 at thirty points inside HRE, half of them inside the record's own code: at most the evaluation in flight is lost.

A process that has imported everything forks for each run; a profiler counts the calls made in the package and kills at
the one that was drawn.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hre_callback import HREConfig
from hre_callback.run.lines import Evaluation, read_lines

from .test_resume import evaluations

POINTS = 30
LOOKS = (0, 2, 4, 6)
SETTINGS = {"save_strategy": "steps", "save_steps": 4, "max_steps": 6}
CONFIG = HREConfig(eval_steps=2, stop_rule="drop_from_start")
DRIVER = """
import json, os, signal, sys
from pathlib import Path
from transformers import TrainerCallback
from transformers.trainer_utils import get_last_checkpoint
import hre_callback
from hre_callback import HumanRankEvalCallback
from tests.test_killed import CONFIG, SETTINGS
from tests.trainers import questions, sft_trainer

PACKAGE = os.path.dirname(hre_callback.__file__)
OURS = {os.path.join(PACKAGE, name) for name in (
    "run/record.py", "run/record_file.py", "run/resumption.py", "run/ownership.py", "files.py")}

class Passed(TrainerCallback):
    def __init__(self, path):
        self.file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    def on_step_begin(self, args, state, control, **kwargs):
        os.write(self.file, b"%d\\n" % state.global_step)

def watch(kill_at, found):
    count = 0
    def profile(frame, event, arg):
        nonlocal count
        name = frame.f_code.co_filename
        if event in ("call", "c_call") and name.startswith(PACKAGE):
            count += 1
            if count == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            if found is not None and name in OURS:
                found.append(count)
    sys.setprofile(profile)
    return lambda: count

def train(folder, kill_at=0, found=None):
    trainer = sft_trainer(folder, [HumanRankEvalCallback(questions(), CONFIG), Passed(folder / "passed")], **SETTINGS)
    last = get_last_checkpoint(str(folder))
    counted = watch(kill_at, found)
    trainer.train(resume_from_checkpoint=last)
    sys.setprofile(None)
    return counted()

for line in sys.stdin:
    request = json.loads(line)
    folder = Path(request["folder"])
    folder.mkdir(exist_ok=True)
    child = os.fork()
    if child == 0:
        try:
            found = [] if request.get("count") else None
            total = train(folder, request.get("kill_at", 0), found)
            if found is not None:
                (folder / "counted").write_text(json.dumps([total, found]))
        except BaseException as error:
            sys.stderr.write(repr(error))
            os._exit(1)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Asks for a run in a folder; gives its exit code."""
    errors = tmp_path_factory.mktemp("driver") / "errors"
    with errors.open("w") as file:
        driver = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", DRIVER],
            cwd=Path(__file__).parents[1], env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=file, text=True,
        )  # fmt: skip

    def ask(**request):
        driver.stdin.write(json.dumps(request) + "\n")
        driver.stdin.flush()
        while not (answer := driver.stdout.readline()).strip().lstrip("-").isdigit():
            assert answer, errors.read_text()[-2000:]
        return int(answer)

    yield ask
    driver.stdin.close()
    driver.wait(60)
    driver.stdout.close()


@pytest.fixture(scope="module")
def whole(runs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    assert runs(folder=str(folder), count=True) == 0
    return folder


def points(folder):
    total, ours = json.loads((folder / "counted").read_text())
    draw = random.Random(0)
    return sorted(draw.sample(range(1, total + 1), POINTS // 2) + draw.sample(ours, POINTS - POINTS // 2))


def passed(folder):
    found = (folder / "passed").read_text().split()
    return max(map(int, found), default=-1) if found else -1


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")
@pytest.mark.parametrize("third", range(3))
def test_kill_9_at_thirty_points_loses_at_most_the_evaluation_in_flight(runs, whole, tmp_path, third):
    expected = evaluations(whole)
    assert [row[0] for row in expected] == list(LOOKS)
    for number, kill_at in enumerate(points(whole)[third::3]):
        folder = tmp_path / str(number)
        code = runs(folder=str(folder), kill_at=kill_at)
        assert code == -signal.SIGKILL, f"point {kill_at} was not reached"
        path = folder / "hre.jsonl"
        # Before the record has begun there may be none.
        lines = read_lines(path) if path.exists() else []
        steps = [line.step for line in lines if isinstance(line, Evaluation)]
        assert steps == list(LOOKS)[: len(steps)]
        assert set(steps) >= {step for step in LOOKS if step <= passed(folder)}, f"point {kill_at}"
        if (folder / f"checkpoint-{LOOKS[-1]}").exists():
            # All of the training was done; a Trainer that is resumed then makes one step too many.
            assert steps == list(LOOKS)
            continue
        # The resumed run dies too, early, where it takes its record up; or it has no such point and ends.
        assert runs(folder=str(folder), kill_at=kill_at // 9 + 1) in (-signal.SIGKILL, 0)
        assert runs(folder=str(folder)) == 0
        for found, wanted in zip(evaluations(path), expected, strict=True):
            assert found[0] == wanted[0] and found[2] == pytest.approx(wanted[2])
            assert found[1] == pytest.approx(wanted[1], nan_ok=True)
            assert found[3] == [pytest.approx(row) for row in wanted[3]]
        assert not [name for name in os.listdir(folder) if name.endswith(".partial")], f"point {kill_at}"
