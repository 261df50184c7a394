"""Several processes, really launched: the same numbers as one, no hang, one decision. One test is one launch.

The launches are what a user types, `accelerate launch`, with CPU processes; every one has a time limit, after which
all of it is killed and the test fails with the end of its output.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hre_callback import HREConfig, HumanRankEvaluator, distributed, read_record
from hre_callback.scoring.demo_model import tiny_model
from hre_callback.scoring.encoding import Key
from hre_callback.scoring.errors import EvaluationError
from hre_callback.scoring.loglikelihood import score_together
from hre_callback.scoring.outputs import Reading
from hre_callback.scoring.plan import Group, share

from .distributed.worker import BUDGET, LAYOUTS, SIZES, STEPS
from .ports import free_port
from .trainers import TEXTS, dropout_model, questions, tokenizer

ROOT = Path(__file__).parents[1]
Ranks = list[dict[str, Any]]

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore:.*torch.jit.script.*")


def launch(out: Path, processes: int, engine: str, *scenarios: str, limit: float = 240) -> tuple[int, str]:
    """Exit code and output of `tests/distributed/worker.py` under `accelerate launch`."""
    command = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_machines", "1"]
    command += ["--num_processes", str(processes), "--mixed_precision", "no", "--dynamo_backend", "no"]
    command += ["--main_process_port", free_port(), "tests/distributed/worker.py", str(out), engine, *scenarios]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("WANDB_")}
    environment |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    environment["PYTHONPATH"] = str(ROOT)
    log = out / "output.txt"
    with open(log, "wb") as file:
        job = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=file, stderr=file, start_new_session=True)
        try:
            code = job.wait(timeout=limit)
        except subprocess.TimeoutExpired:
            os.killpg(job.pid, signal.SIGKILL)
            job.wait()
            text = log.read_text(errors="replace")
            pytest.fail(f"{engine}, {processes} processes: not done after {limit} s\n{text[-6000:]}")
    return code, log.read_text(errors="replace")


def results(out: Path, processes: int, engine: str, *scenarios: str, limit: float = 240) -> Ranks:
    code, output = launch(out, processes, engine, *scenarios, limit=limit)
    assert code == 0, output[-6000:]
    ranks = [json.loads((out / f"rank{rank}.json").read_text()) for rank in range(processes)]
    assert [rank["world"] for rank in ranks] == [processes] * processes
    return ranks


# ---- what one process gives ----------------------------------------------------------------------------------


def check_scores(ranks: list[dict[str, Any]], model: Any, tok: Any) -> None:
    """Every layout and size: equal to one process, question by question; shares that cover everything once."""
    for layout in LAYOUTS:
        for n in SIZES:
            config = HREConfig(layout=layout, token_budget=BUDGET)
            expected = HumanRankEvaluator(questions(n), tok, config).evaluate(model)
            found = [rank[f"{layout}-{n}"] for rank in ranks]
            for rank in found:
                assert rank["ids"] == list(expected.ids) and len(set(rank["ids"])) == n
                np.testing.assert_allclose(rank["pearson"], expected.per_question["pearson"], atol=1e-5)
                np.testing.assert_allclose(rank["loglikelihoods"], expected.loglikelihoods, rtol=1e-5)
                assert rank["loglikelihoods"] == found[0]["loglikelihoods"]  # not nearly: the same bits
            assert len({rank["forwards"] for rank in found}) == 1, "unequal numbers of forwards"
            keys = [tuple(key) for rank in found for key in rank["share"]]
            assert len(keys) == len(set(keys)) == 4 * n


def check_training(ranks: Ranks, out: Path, engine: str) -> None:
    """Bit-identical with and without the callback; scores of the weights that it ended with; logs alike."""
    found = [rank["training"] for rank in ranks]
    assert [rank["engine"] for rank in found] == [engine] * len(ranks)
    for rank in found:
        assert rank["digests"][0] == rank["digests"][1]
        assert rank["logs"][0] == rank["logs"][1]
        assert rank["ours"] == found[0]["ours"]
        assert [row["step"] for row in rank["ours"]] == [0, 2, 4, 6, 8]
    tok = tokenizer()
    model = dropout_model(tok)
    first = HumanRankEvaluator(questions(7), tok).evaluate(model)
    missing, unexpected = model.load_state_dict(torch.load(out / "training" / "weights.pt"), strict=False)
    assert missing in ([], ["lm_head.weight"]) and not unexpected  # tied
    last = HumanRankEvaluator(questions(7), tok).evaluate(model)
    record = read_record(out / "training" / "watched")
    for line, expected in ((record.evaluations[0], first), (record.evaluations[-1], last)):
        np.testing.assert_allclose(line.pearson, expected.per_question["pearson"], atol=1e-5)
    assert abs(last.score - first.score) > 1e-3  # training moved it
    check_scores([rank["scores"] for rank in found], model, tok)


def check_failures(ranks: Ranks, out: Path, scenario: str, skipped: dict[int, str]) -> None:
    """Training ended as if nothing had happened; the skips are recorded, the others are there; budgets are alike."""
    for rank in ranks:
        found = rank[scenario]
        assert found["step"] == STEPS
        assert found["digest"] == rank["training"]["digests"][0]
        assert found["budget"] == BUDGET // 2
        assert found["ours"] == ranks[0][scenario]["ours"]
        assert [row["step"] for row in found["ours"]] == [s for s in (0, 2, 4, 6, 8) if s not in skipped]
    events = {event.step: event.reason for event in read_record(out / scenario).events if event.kind == "skipped"}
    assert events.keys() == skipped.keys()
    for step, reason in skipped.items():
        assert reason in events[step]


# ---- launches ------------------------------------------------------------------------------------------------


def test_two_processes_ddp(tmp_path: Path) -> None:
    scenarios = ("plain_scores", "probes", "other_questions", "training", "failures", "preference")
    ranks = results(tmp_path, 2, "ddp", *scenarios)
    check_scores([rank["plain_scores"] for rank in ranks], *tiny_model(TEXTS))
    for rank in ranks:
        assert rank["probes"]["layout"] == "cached"
        planted = "rank 1: RuntimeError: planted: no packed rows"
        assert rank["probes"]["refused"] == [f"packed ({by}): {planted}" for by in ("function", "mask")]
        assert (rank["probes"]["packed"], rank["probes"]["budget"]) == ("packed (function)", BUDGET // 2)
        assert "different questions" in rank["other_questions"]
        assert rank["preference"] == ranks[0]["preference"]
        assert [row["step"] for row in rank["preference"]["ours"]] == [0, 2, 4]
    check_training(ranks, tmp_path, "DistributedDataParallel")
    skipped = {2: "rank 1: RuntimeError: planted failure", 6: "NaN or infinite log-likelihoods"}
    check_failures(ranks, tmp_path, "failures", skipped)


def test_one_decision_and_one_writer(tmp_path: Path) -> None:
    ranks = results(
        tmp_path, 2, "ddp", "stopping", "full_disk", "trackers", "resumed", "raises"
    )  # fmt: skip
    for rank in ranks:
        # a fall on rank 0 stops all, with rank 0's numbers; a fall that only rank 1 sees stops nobody
        assert {on: found["step"] for on, found in rank["stopping"].items()} == {"0": 2, "1": STEPS}
        assert rank["stopping"] == ranks[0]["stopping"]
        assert rank["full_disk"]["step"] == STEPS
        assert rank["full_disk"]["error"].startswith("PermissionError: ")  # of one class on all ranks
        assert rank["full_disk"]["error"].endswith("[Errno 13] planted")
        assert rank["resumed"]["ours"] == ranks[0]["resumed"]["ours"]
        assert rank["raises"] == "rank 1: RuntimeError: planted failure"
    for step in range(1, STEPS + 1):  # save_best: every rank wrote its part of every checkpoint
        folder = tmp_path / "stopping" / "1" / f"checkpoint-{step}"
        assert {file.name for file in folder.glob("rng_state_*")} == {"rng_state_0.pth", "rng_state_1.pth"}
    full = read_record(tmp_path / "full_disk" / "full")
    assert [line.step for line in full.evaluations] == [0, 2, 4, 6, 8]
    assert ranks[1]["full_disk"]["writes"] == 0 < ranks[0]["full_disk"]["writes"]
    assert [rank["trackers"]["active"] for rank in ranks] == [True, False]
    assert [rank["trackers"]["sinks"] for rank in ranks] == [1, 0]
    assert ranks[0]["trackers"]["errors"] == []
    assert len(list(tmp_path.glob("trackers/**/run-*.wandb"))) == 1
    clocks = ("hre/seconds", "hre/overhead")
    uninterrupted = [without(row, clocks) for row in ranks[0]["resumed"]["whole"]]
    assert [without(row, clocks) for row in ranks[0]["resumed"]["ours"]] == uninterrupted


def without(row: dict[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key not in keys}


def test_two_processes_fsdp2(tmp_path: Path) -> None:
    ranks = results(tmp_path, 2, "fsdp2", "training", "failures_outside")
    check_sharded(ranks, tmp_path, "FSDPGPT2LMHeadModel")


def check_sharded(ranks: Ranks, out: Path, engine: str) -> None:
    check_training(ranks, out, engine)
    check_failures(ranks, out, "failures_outside", {2: "rank 1: RuntimeError: planted failure"})
    for rank in ranks:  # after its last evaluation a rank holds its part again, no more
        assert rank["training"]["here"] <= rank["training"]["whole"] / len(ranks) * 1.01


def test_a_failure_inside_a_sharded_forward_ends_the_run_soon(tmp_path: Path) -> None:
    """Nobody can go on from there. It must not hang, and must say why."""
    code, output = launch(tmp_path, 2, "fsdp2", "failure_inside", limit=120)
    assert code != 0
    assert "ForwardError: rank 1: RuntimeError inside a forward of a model whose parameters are spread" in output
    assert "Timed out" not in output


@pytest.mark.slow
def test_two_processes_fsdp1(tmp_path: Path) -> None:
    check_sharded(results(tmp_path, 2, "fsdp1", "training", "failures_outside"), tmp_path, "FullyShardedDataParallel")  # fmt: skip


@pytest.mark.slow
def test_three_processes_ddp(tmp_path: Path) -> None:
    ranks = results(tmp_path, 3, "ddp", "plain_scores", "training", "failures")
    check_scores([rank["plain_scores"] for rank in ranks], *tiny_model(TEXTS))
    check_training(ranks, tmp_path, "DistributedDataParallel")
    skipped = {2: "rank 1: RuntimeError: planted failure", 6: "NaN or infinite log-likelihoods"}
    check_failures(ranks, tmp_path, "failures", skipped)


@pytest.mark.slow
@pytest.mark.timeout(700)
@pytest.mark.skipif(
    importlib.util.find_spec("deepspeed") is None, reason="deepspeed is not installed: pip install deepspeed"
)
@pytest.mark.parametrize("stage", [2, 3])
def test_two_processes_zero(tmp_path: Path, stage: int) -> None:
    """The first launch on a machine compiles a communication kernel of DeepSpeed's for minutes."""
    ranks = results(tmp_path, 2, f"zero{stage}", "training", "failures_outside", limit=600)
    check_training(ranks, tmp_path, "DeepSpeedEngine")
    check_failures(ranks, tmp_path, "failures_outside", {2: "rank 1: RuntimeError: planted failure"})
    for rank in ranks:
        part = rank["training"]["whole"] / (2 if stage == 3 else 1)
        assert rank["training"]["here"] <= part * 1.01


# ---- one process ---------------------------------------------------------------------------------------------


def groups(n: int, seed: int = 0) -> list[Group]:
    lengths = np.random.default_rng(seed).lognormal(5, 1, n).astype(int) + 2
    return [Group(((f"q{i}", 0),), (1,) * int(length), ((1, 2),)) for i, length in enumerate(lengths)]


@pytest.mark.parametrize(("n", "shares"), [(7, 1), (7, 2), (7, 3), (3, 7), (500, 8), (500, 1000)])
def test_shares_cover_everything_once_and_weigh_alike(n: int, shares: int) -> None:
    made = groups(n)
    parts = [share(made, index, shares) for index in range(shares)]
    keys = [key for part in parts for group in part for key in group.keys]
    assert sorted(keys) == sorted(key for group in made for key in group.keys)
    tokens = [sum(group.tokens for group in part) for part in parts]
    longest = max(group.tokens for group in made)
    assert max(tokens) <= max(longest, 4 / 3 * max(sum(tokens) / shares, longest))
    assert max(tokens) - min(tokens) <= longest


def test_one_process_needs_no_group() -> None:
    assert distributed.all_or_raise(lambda: 3) == distributed.on_rank0(lambda: 3) == 3
    for collective in (distributed.all_or_raise, distributed.on_rank0):
        with pytest.raises(KeyError, match="planted"):
            collective(lambda: {}["planted"])


def test_an_answer_scored_twice_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    key: Key = ("q", 0)
    shares = [{key: -1.0}] * 2
    monkeypatch.setattr(distributed, "gather", lambda value: shares if isinstance(value, dict) else [value])
    with pytest.raises(EvaluationError, match="1 answers were scored by two ranks"):
        score_together(tiny_model(TEXTS)[0], [], Reading(1))
