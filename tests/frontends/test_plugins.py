"""The plugins of other front-ends: against stand-ins for their interfaces always, and end to end where they are installed.

The second kind has the marker `frontends` and wants `HRE_FRONTENDS`, a folder with the virtual environments
`llamafactory`, `ms-swift` and `axolotl`; this package's own source is used, and need not be installed in them.
"""

from __future__ import annotations

import importlib
import json
import os
import runpy
import subprocess
import sys
import types
from pathlib import Path

import pytest

from hre_callback import HREConfig, HumanRankEvalCallback
from hre_callback.frontends.launch import SWIFT

from .files import ended, fill, lines, numbers

SFT = {"max_steps": 4, "per_device_train_batch_size": 2, "logging_steps": 2, "report_to": "none", "learning_rate": 0.01}


def stand_in(monkeypatch, name, **attributes):
    """A module of somebody else's package that has these names."""
    parts = name.split(".")
    for n in range(1, len(parts) + 1):
        module = types.ModuleType(".".join(parts[:n]))
        monkeypatch.setitem(sys.modules, module.__name__, module)
    vars(sys.modules[name]).update(attributes)


# ---- against their interfaces ---------------------------------------------------------------------------------


def test_ms_swift_finds_the_callback_by_its_name(tmp_path, monkeypatch):
    """ms-swift runs the file, then calls `callbacks_map[name](args, trainer)`."""
    table: dict[str, type] = {}
    stand_in(monkeypatch, "swift.callbacks", callbacks_map=table)
    (tmp_path / "hre.yaml").write_text("questions: bundled\nmax_questions: 3\neval_steps: 7\n")
    monkeypatch.setenv("HRE_CONFIG", str(tmp_path / "hre.yaml"))
    runpy.run_path(str(SWIFT))
    callback = table["hre"](object(), object())
    assert isinstance(callback, HumanRankEvalCallback)
    assert callback.config == HREConfig(eval_steps=7) and len(callback.questions) == 3
    monkeypatch.delenv("HRE_CONFIG")
    with pytest.raises(ValueError, match="HRE_CONFIG is not set"):
        table["hre"](object(), object())


def test_the_folder_that_ms_swift_puts_first_on_the_path_hides_nothing():
    """It would hide the packages swift and axolotl from every process that comes after."""
    assert {path.name for path in SWIFT.parent.iterdir()} - {"__pycache__"} == {"__init__.py", SWIFT.name}


@pytest.fixture
def axolotl(monkeypatch):
    class BasePlugin:
        pass

    stand_in(monkeypatch, "axolotl.integrations.base", BasePlugin=BasePlugin)
    monkeypatch.delitem(sys.modules, "hre_callback.frontends.axolotl", raising=False)
    yield importlib.import_module("hre_callback.frontends.axolotl")
    sys.modules.pop("hre_callback.frontends.axolotl", None)


def test_axolotl_gets_our_keys_and_one_callback(axolotl):
    """axolotl merges the model that `get_input_args` names into its own, and drops what is None."""
    plugin = axolotl.HREPlugin()
    module, _, name = plugin.get_input_args().rpartition(".")
    keys = getattr(importlib.import_module(module), name)
    assert {"hre_questions", "hre_max_questions", "hre_eval_steps"} <= set(keys.model_fields)
    given = {"hre_questions": "bundled", "hre_max_questions": 3, "hre_contamination": False, "hre_min_delta": "2e-2"}
    merged = type("Merged", (keys,), {})(**given).model_dump()
    plugin.register({**merged, "learning_rate": 0.1})
    (callback,) = plugin.add_callbacks_pre_trainer({**merged, "learning_rate": 0.1}, None)
    assert callback.config == HREConfig(contamination="off", min_delta=0.02) and len(callback.questions) == 3


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"hre_eval_steps": 3}, "axolotl's config: hre_questions is missing"),
        ({"hre_questions": "bundled", "hre_eval_step": 3}, r"'eval_step' is no .* mean eval_steps\?"),
        ({"hre_questions": "nowhere.jsonl"}, "nowhere.jsonl"),
    ],
)
def test_axolotl_refuses_before_it_loads_a_model(axolotl, given, message):
    with pytest.raises(ValueError, match=message):
        axolotl.HREPlugin().register(given)


@pytest.fixture
def factory(monkeypatch):
    """LLaMA-Factory as far as our entry knows it; gives what its `run_exp` was called with."""
    called: list[tuple[object, list[object]]] = []
    stand_in(
        monkeypatch, "llamafactory.hparams.parser", read_args=lambda args=None: args if args is not None else ["-h"]
    )
    stand_in(monkeypatch, "llamafactory.train.tuner", run_exp=lambda args, callbacks: called.append((args, callbacks)))
    # `stand_in` has made the package anew.
    stand_in(
        monkeypatch, "llamafactory.hparams.parser", read_args=lambda args=None: args if args is not None else ["-h"]
    )
    monkeypatch.setitem(
        sys.modules,
        "llamafactory.train.tuner",
        types.SimpleNamespace(run_exp=lambda args, callbacks: called.append((args, callbacks))),
    )
    return called


def test_llama_factory_gets_its_own_keys_and_the_callback(factory):
    from hre_callback.frontends.llamafactory import run_exp

    run_exp({"stage": "sft", "hre_questions": "bundled", "hre_eval_steps": 7})
    ((args, (callback,)),) = factory
    assert args == {"stage": "sft"} and callback.config == HREConfig(eval_steps=7)
    with pytest.raises(ValueError, match="LLaMA-Factory's arguments: hre_questions is missing"):
        run_exp({"stage": "sft"})
    with pytest.raises(ValueError, match="expected a YAML or JSON file"):
        run_exp()


# ---- end to end ----------------------------------------------------------------------------------------------


def python_of(name: str) -> Path:
    homes = os.environ.get("HRE_FRONTENDS")
    python = Path(homes or "/nowhere") / name / "bin" / "python"
    if not python.exists():
        pytest.skip(f"HRE_FRONTENDS names no folder with a virtual environment {name}")
    return python


def trained(job: subprocess.CompletedProcess[str], out: Path) -> None:
    assert job.returncode == 0, (job.stdout + job.stderr)[-6000:]
    looks = numbers(out)
    assert [look["step"] for look in looks] == [0, 2, 4] and looks[0]["pearson"] != looks[-1]["pearson"]


@pytest.mark.frontends
def test_llama_factory_trains_with_the_launcher_and_with_the_entry_alike(tmp_path):
    python = python_of("llamafactory")
    fill(tmp_path)
    told = {"file_name": "sft/train.jsonl", "columns": {"prompt": "prompt", "response": "completion"}}
    (tmp_path / "dataset_info.json").write_text(json.dumps({"tiny": told}))
    args = {
        **SFT, "stage": "sft", "do_train": True, "finetuning_type": "full", "model_name_or_path": "model", "dataset_dir": ".",
        "dataset": "tiny", "template": "empty", "cutoff_len": 128, "save_strategy": "no", "use_cpu": True,
    }  # fmt: skip
    (tmp_path / "launched.json").write_text("")
    (tmp_path / "launched.yaml").write_text(json.dumps({**args, "output_dir": "launched"}))
    (tmp_path / "entry.yaml").write_text(json.dumps({**args, "output_dir": "entry", "hre_questions": "questions.jsonl", "hre_eval_steps": 2}))  # fmt: skip
    cli = python.with_name("llamafactory-cli")
    run = [python, "-m", "hre_callback", "run", "--config", "hre.yaml", "--", cli, "train", "launched.yaml"]
    job = ended(run, tmp_path)
    trained(job, tmp_path / "launched")
    assert "HRE attached to CustomSeq2SeqTrainer: 6 questions" in job.stderr
    trained(ended([python, "-m", "hre_callback.frontends.llamafactory", "entry.yaml"], tmp_path), tmp_path / "entry")
    assert numbers(tmp_path / "launched") == numbers(tmp_path / "entry")


@pytest.mark.frontends
def test_ms_swift_trains_with_the_plugin(tmp_path):
    python = python_of("ms-swift")
    fill(tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "sft" / "train.jsonl").read_text().splitlines()]
    said = [[{"role": "user", "content": r["prompt"]}, {"role": "assistant", "content": r["completion"]}] for r in rows]
    (tmp_path / "messages.jsonl").write_text(lines([{"messages": messages} for messages in said]))
    args = {
        **SFT, "model": "model", "model_type": "llama", "template": "dummy", "dataset": "messages.jsonl", "tuner_type": "full",
        "torch_dtype": "float32", "gradient_accumulation_steps": 1, "save_strategy": "no", "use_cpu": "true", "output_dir": "out",
        "gradient_checkpointing": "false", "attn_impl": "eager", "add_version": "false", "external_plugins": SWIFT, "callbacks": "hre",
    }  # fmt: skip
    words = [word for key, value in args.items() for word in (f"--{key}", value)]
    trained(ended([python.with_name("swift"), "sft", *words], tmp_path, HRE_CONFIG="hre.yaml"), tmp_path / "out")


@pytest.mark.frontends
def test_axolotl_trains_with_the_plugin(tmp_path):
    python = python_of("axolotl")
    fill(tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "sft" / "train.jsonl").read_text().splitlines()]
    (tmp_path / "text.jsonl").write_text(lines([{"text": row["prompt"] + row["completion"]} for row in rows]))
    config = {
        "base_model": "model", "plugins": ["hre_callback.frontends.axolotl.HREPlugin"], "hre_questions": "questions.jsonl",
        "hre_eval_steps": 2, "datasets": [{"path": "text.jsonl", "type": "completion", "field": "text"}], "output_dir": "out",
        "dataset_prepared_path": "prepared", "sequence_len": 64, "max_steps": 4, "micro_batch_size": 2, "num_epochs": 1,
        "gradient_accumulation_steps": 1, "learning_rate": 0.01, "optimizer": "adamw_torch", "lr_scheduler": "constant",
        "logging_steps": 2, "save_strategy": "no", "bf16": False, "fp16": False, "tf32": False, "flash_attention": False,
        "attn_implementation": "eager", "use_cpu": True,
    }  # fmt: skip
    (tmp_path / "axolotl.yaml").write_text(json.dumps(config))
    job = ended([python, "-m", "axolotl.cli.train", "axolotl.yaml"], tmp_path, AXOLOTL_DO_NOT_TRACK="1")
    trained(job, tmp_path / "out")
    assert "hre_eval_step" not in job.stderr
