"""The recipes without a callback line: a loop of one's own, a hyperparameter search, a W&B sweep."""

from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from hre_callback import read_record, write_report

from .ports import free_port
from .test_recipes import RECIPES, material, recipe  # noqa: F401
from .wandb_offline import seal

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning", "ignore::DeprecationWarning")


def paths(material, out):  # noqa: F811
    return [str(material / "model"), str(material / "sft.jsonl"), str(material / "questions.jsonl"), str(out)]


def test_a_loop_of_ones_own_gives_the_same_on_one_process_and_two(material, tmp_path):  # noqa: F811
    """The start is scored by one process, and by two that share the questions."""
    torchrun = ["-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", free_port()]
    environment = {
        **os.environ,
        "ACCELERATE_USE_CPU": "true",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(RECIPES.parent),
    }
    for ranks, launcher in (("1", []), ("2", torchrun)):
        asked = [sys.executable, *launcher, str(RECIPES / "own_loop.py"), *paths(material, tmp_path / ranks)]
        ended = subprocess.run(asked, capture_output=True, text=True, timeout=240, env=environment)
        assert ended.returncode == 0, ended.stderr
        assert ended.stdout.count("HRE step 20:") == 1, "one process speaks"
    one, two = (read_record(tmp_path / ranks) for ranks in ("1", "2"))
    assert [look.step for look in one.evaluations] == [look.step for look in two.evaluations] == [0, 5, 10, 15, 20]
    np.testing.assert_allclose(one.evaluations[0].pearson, two.evaluations[0].pearson, atol=1e-6)
    assert one.evaluations[-1].proxies["train/loss"] < one.evaluations[1].proxies["train/loss"]
    assert one.events[-1].kind == "finished" and write_report(tmp_path / "1").html.exists()


def test_a_search_takes_hre_as_its_objective(material, tmp_path, monkeypatch, capsys):  # noqa: F811
    """A stand-in for optuna tries two learning rates, as the Trainer's own backends do."""
    from transformers import Trainer
    from transformers.trainer_utils import BestRun

    module, found = recipe("search"), []
    asked = SimpleNamespace(suggest_float=lambda name, low, high, log: (name, low < high, log))
    assert module.space(asked) == {"learning_rate": ("learning_rate", True, True)}

    def search(trainer, hp_space, *, compute_objective, n_trials, direction, backend):
        assert (hp_space, n_trials, direction, backend) == (module.space, 2, "maximize", "optuna")
        for number, rate in enumerate((1e-2, 1e-6)):
            trainer.args.learning_rate = rate
            trainer.train()
            found.append((compute_objective(trainer.evaluate()), str(number), {"learning_rate": rate}))
        objective, number, params = max(found)
        return BestRun(number, objective, params)

    monkeypatch.setattr(Trainer, "hyperparameter_search", search)
    options = {"max_steps": 2, "use_cpu": True, "disable_tqdm": True, "save_strategy": "no"}
    module.main(*paths(material, tmp_path / "run"), trials=2, **options)
    assert len({objective for objective, *_ in found}) == 2
    assert f"HRE {max(found)[0]:.4f}" in capsys.readouterr().out
    runs = sorted(path.name for path in (tmp_path / "run").glob("hre*.jsonl"))
    assert runs == ["hre.1.jsonl", "hre.jsonl"], "each trial has its record"


def test_a_sweep_takes_hre_as_its_objective(material, tmp_path, monkeypatch):  # noqa: F811
    import wandb

    wandb.teardown()
    seal(monkeypatch, tmp_path)
    asked, told = {}, []
    begin = wandb.init

    def init(**given):
        run = begin(**given, config={"learning_rate": 1e-3})
        log = run.log
        monkeypatch.setattr(run, "log", lambda row, *more, **options: (told.append(row), log(row, *more, **options)))
        return run

    def agent(sweep, function, count):
        asked.update(sweep=sweep, count=count)
        function()

    monkeypatch.setattr(wandb, "init", init)
    monkeypatch.setattr(wandb, "sweep", lambda sweep, project: sweep)
    monkeypatch.setattr(wandb, "agent", agent)
    recipe("sweep").main(
        *paths(material, tmp_path / "run"),
        "project",
        trials=1,
        max_steps=2,
        use_cpu=True,
        bf16=False,
        disable_tqdm=True,
    )
    wandb.teardown()
    (record,) = (read_record(path) for path in (tmp_path / "run").iterdir())
    assert asked["sweep"]["metric"] == {"name": "eval_hre", "goal": "maximize"} and asked["count"] == 1
    assert told[-1] == {"eval_hre": record.evaluations[-1].metrics["hre/score"]}
