"""Every recipe is short, its configs parse, and SFT and DPO really train."""

from __future__ import annotations

import ast
import importlib.util
import json
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from hre_callback import HREConfig, load_questions, read_record
from hre_callback.scoring.demo_model import tiny_model

from .synthetic_records import healthy, write
from .trainers import TEXTS, questions, sft_dataset
from .wandb_offline import read_run, seal

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning", "ignore::DeprecationWarning")
RECIPES = Path(__file__).parents[1] / "recipes"
CONFIGS = sorted((RECIPES / "configs").glob("*.yaml"))


def recipe(name):
    """The recipe as a module; a config is named after its recipe."""
    spec = importlib.util.spec_from_file_location(f"recipe_{name}", RECIPES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def called(monkeypatch, name, config, *more):
    """The recipe, with its command line set."""
    monkeypatch.setattr(sys, "argv", [f"{name}.py", "--config", str(config), *map(str, more)])
    return recipe(name)


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.py")), ids=lambda path: path.stem)
def test_a_recipe_is_read_in_a_minute(path):
    assert len(path.read_text().splitlines()) < 80


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_a_config_parses_in_its_recipe(config, monkeypatch):
    """As written, on a machine without a GPU; nothing is left over and HRE's options are checked."""
    name = config.stem.partition("_")[0]
    module = called(monkeypatch, name, config, "--use_cpu", "true")
    told = {}

    class Stop(Exception):
        pass

    class Parser(module.TrlParser):
        def parse_args_and_config(self):
            told["parsed"] = super().parse_args_and_config()
            raise Stop

    monkeypatch.setattr(module, "TrlParser", Parser)
    with pytest.raises(Stop):
        module.main()
    data, args, model, hre = told["parsed"]
    assert data.train.startswith("data/") and args.output_dir.startswith("runs/")
    assert isinstance(hre.to_config(), HREConfig) and hre.hre_eval_steps
    assert model.model_name_or_path


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    """A saved tiny model, pairs, completions and questions as JSONL."""
    folder = tmp_path_factory.mktemp("material")
    model, tokenizer = tiny_model(TEXTS)
    model.save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    completions = list(sft_dataset(12))
    pairs = [
        {"prompt": row["prompt"], "chosen": row["completion"], "rejected": " " + TEXTS[i]}
        for i, row in enumerate(completions)
    ]
    rows = {"sft": completions, "dpo": pairs, "questions": [asdict(question) for question in questions()]}
    for name, lines in rows.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


@pytest.mark.parametrize("name", ["sft", "dpo"])
def test_a_recipe_trains(name, material, tmp_path, monkeypatch):
    import wandb

    wandb.teardown()
    seal(monkeypatch, tmp_path)
    out = tmp_path / "run"
    module = called(
        monkeypatch, name, RECIPES / "configs" / f"{name}_cpu.yaml",
        "--model_name_or_path", material / "model", "--train", material / f"{name}.jsonl",
        "--questions", material / "questions.jsonl", "--output_dir", out, "--max_steps", 2,
        "--hre_eval_steps", 1, "--logging_steps", 1, "--max_length", 64,
    )  # fmt: skip
    module.main()
    wandb.finish()
    wandb.teardown()
    record = read_record(out)
    assert [look.step for look in record.evaluations] == [0, 1, 2]
    assert "train/loss" in record.evaluations[-1].proxies
    assert record.events[-1].kind == "finished" and record.events[-1].tracker_errors == []
    assert (out / "model.safetensors").exists()
    told = read_run(tmp_path)
    assert [step for step, _ in told.curve("hre/score")] == [0, 1, 2]
    assert [step for step, _ in told.curve("hre/score_chart")] == [0, 1, 2]
    assert [step for step, _ in told.curve("hre/what_moved")] == [1, 2]


def test_choices_are_compared_on_other_questions(material, tmp_path, monkeypatch, capsys):
    """Each signal's choice is the step at which it was best, scored from its checkpoint; HRE's stands against it."""
    out = tmp_path / "run"
    called(
        monkeypatch, "sft", RECIPES / "configs" / "sft_cpu.yaml",
        "--model_name_or_path", material / "model", "--train", material / "sft.jsonl",
        "--questions", material / "questions.jsonl", "--output_dir", out, "--max_steps", 3, "--learning_rate", 1e-2,
        "--hre_eval_steps", 1, "--logging_steps", 1, "--max_length", 64, "--report_to", "none",
        "--save_strategy", "steps", "--save_steps", 1,
    ).main()  # fmt: skip
    looks = {look.step: look for look in read_record(out).evaluations if look.step}
    capsys.readouterr()
    recipe("choices").main(out, str(material / "questions.jsonl"))
    said = dict(line.split(" chooses step ") for line in capsys.readouterr().out.splitlines())
    best = max(looks, key=lambda step: looks[step].metrics["hre/score"])
    # The other questions are the same here: so is the score.
    assert said["HRE"].startswith(f"{best}: HRE {looks[best].metrics['hre/score']:.3f} on ")
    assert said["the last"].startswith("3: ")
    least = min(looks, key=lambda step: looks[step].proxies["train/loss"])
    assert said["training loss"].startswith(f"{least}: ")
    others = [line for line in said.values() if not line.startswith(f"{best}: ")]
    assert others and all("HRE's choice +" in line and " p = " in line for line in others)


def test_choices_need_checkpoints(material, tmp_path):
    write(healthy(), tmp_path / "hre.jsonl")
    with pytest.raises(SystemExit, match="0 looks with a checkpoint, two are needed"):
        recipe("choices").main(tmp_path, str(material / "questions.jsonl"))


# ---- the notebook ----------------------------------------------------------------------------------------


NOTEBOOK = json.loads((RECIPES / "notebook.ipynb").read_text("utf-8"))


def cell(code, names):
    """Run a cell as a notebook does: what its last line is worth is shown."""
    *before, last = ast.parse(code).body
    exec(compile(ast.Module(before, []), "a cell", "exec"), names)
    if isinstance(last, ast.Expr):
        return eval(compile(ast.Expression(last.value), "a cell", "eval"), names)
    exec(compile(ast.Module([last], []), "a cell", "exec"), names)
    return None


def test_the_notebook_is_one_and_holds_no_output():
    assert NOTEBOOK["nbformat"] == 4
    for one in NOTEBOOK["cells"]:
        assert not one.get("outputs") and one.get("execution_count") is None
    kinds = [one["cell_type"] for one in NOTEBOOK["cells"]]
    assert kinds[0] == "markdown" and kinds.count("code") == 5


def test_every_cell_of_the_notebook_runs(material, tmp_path, monkeypatch, capsys):
    """On a tiny model, with the parameters of its first cell set as whoever runs notebooks by command does."""
    shown, names = [], {}
    mine = {"MODEL": str(material / "model"), "STEPS": 2, "EVERY": 2, "OUT": str(tmp_path / "run")}
    few = load_questions("bundled", max_questions=4)
    monkeypatch.setattr("hre_callback.data.questions.load_questions", lambda source: few)
    for one in NOTEBOOK["cells"]:
        if one["cell_type"] != "code":
            continue
        shown.append(cell("".join(one["source"]), names))
        if one["metadata"].get("tags") == ["parameters"]:
            assert mine.keys() <= names.keys()
            names |= mine
    *_, record, points, paths = shown
    assert "step 0: the start, HRE" in capsys.readouterr().out, "a line as it goes"
    assert 'class="curves"' in record._repr_html_() and len(record.evaluations) == 2
    assert [step for step, _ in points] == [0, 2] and paths.html == tmp_path / "run" / "hre.html"
