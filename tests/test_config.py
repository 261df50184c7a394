"""Errors name the field, the value and what is allowed; on a command line the fields stand beside TRL's."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, fields
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from trl import ModelConfig, SFTConfig, TrlParser

from hre_callback import HREArguments, HREConfig, HumanRankEvalCallback, load_questions
from hre_callback.trackers.fanout import Trackers

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")  # TRL sets a name that transformers renames


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prompt": "official"}, "HREConfig.prompt is 'official'; allowed: paper, chat"),
        ({"layout": "folded"}, "HREConfig.layout is 'folded'; allowed: auto, packed, cached, padded"),
        ({"normalization": "words"}, "HREConfig.normalization is 'words'; allowed: characters, bytes"),
        ({"stop_rule": "always"}, "HREConfig.stop_rule is 'always'; allowed: never, drop_from_start"),
        ({"on_error": "ignore"}, "HREConfig.on_error is 'ignore'; allowed: skip, raise"),
        ({"eval_steps": 0}, "HREConfig.eval_steps is 0; it must be at least 1"),
        ({"max_length": 8}, "HREConfig.max_length is 8; it must be at least 32"),
        ({"min_delta": -0.01}, "HREConfig.min_delta is -0.01; it must be at least 0"),
        ({"alpha": 1}, "HREConfig.alpha is 1; it must lie between 0 and 1"),
        ({"max_overhead": 0.0}, "HREConfig.max_overhead is 0.0; it must lie between 0 and 1"),
        ({"cutoff": "May 2024"}, "HREConfig.cutoff is 'May 2024'; it must be a day such as 2024-05-31 or None"),
        ({"cutoff": "2024-02-30"}, "HREConfig.cutoff is '2024-02-30'; it must be a day"),
        ({"cutoff": 2024}, "HREConfig.cutoff is 2024; it must be a day"),
        ({"name": "my hre"}, "HREConfig.name is 'my hre'; letters, digits, '_' and '-' only"),
        ({"name": ""}, "HREConfig.name is ''; letters, digits"),
        ({"stop_rule": "drop_from_start", "eval_on_start": False}, "it needs eval_on_start"),
    ],
)
def test_a_bad_value_is_named(options, message):
    with pytest.raises(ValueError) as error:
        HREConfig(**options)
    assert message in str(error.value)


def test_every_option_says_what_it_is_for():
    assert all(option.metadata["help"].strip() for option in fields(HREConfig))


def test_a_config_does_not_change():
    with pytest.raises(FrozenInstanceError):
        HREConfig().alpha = 0.1  # type: ignore[misc]


def test_a_cutoff_may_come_from_yaml_as_a_date():
    assert HREConfig(**yaml.safe_load("cutoff: 2024-05-31")).cutoff == "2024-05-31"
    assert HREConfig(cutoff="2024-05-31T12:00:00Z").cutoff == "2024-05-31"


def test_identity_is_what_scores_depend_on():
    assert HREConfig(alpha=0.1, eval_steps=5, seed=7).identity() == HREConfig().identity()
    for options in ({"prompt": "chat"}, {"normalization": "bytes"}, {"max_length": 64}):
        assert HREConfig(**options).identity() != HREConfig().identity()


def test_arguments_beside_trls_in_one_parser(tmp_path):
    parser = TrlParser((SFTConfig, ModelConfig, HREArguments))
    command = ["--output_dir", str(tmp_path), "--use_cpu", "true", "--eval_steps", "7", "--seed", "3"]
    command += ["--hre_eval_steps", "50", "--hre_log_spaced", "true", "--hre_max_overhead", "0.05"]
    sft, _, hre = parser.parse_args_and_config([*command, "--hre_stop_rule", "drop_from_best"])
    assert (sft.eval_steps, sft.seed) == (7, 3)  # TRL's own, untouched by ours
    expected = HREConfig(eval_steps=50, log_spaced=True, max_overhead=0.05, stop_rule="drop_from_best")
    assert hre.to_config() == expected


def test_arguments_from_yaml(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump({"output_dir": str(tmp_path), "use_cpu": True, "hre_prompt": "chat"}))
    _, hre = TrlParser((SFTConfig, HREArguments)).parse_args_and_config(["--config", str(path)])
    assert hre.to_config() == HREConfig(prompt="chat")


def test_arguments_are_the_config_field_by_field():
    ours = {f.name: (f.default, f.metadata["help"]) for f in fields(HREArguments)}
    assert ours == {f"hre_{f.name}": (f.default, f.metadata["help"]) for f in fields(HREConfig)}
    assert HREArguments().to_config() == HREConfig()


def test_a_bad_argument_is_named_when_the_config_is_made():
    with pytest.raises(ValueError, match="HREConfig.alpha is 2"):
        HREArguments(hre_alpha=2).to_config()


WRONG = {
    "whole": [1.5, 2.0, float("nan"), float("inf"), True, "5", [1], 10**400, np.array([1]), b"1", 1j],
    "finite": [float("nan"), float("inf"), "0.05", True, None, [0.1], 10**400, np.float32("nan"), 1j],
    "True or False": ["no", "yes", 0, 1, 1.0, None, []],
    "allowed: ": [None, 1, ["auto"], "", b"auto", np.array(["auto", "b"])],
    "a day": [3, ["2024-05-31"], b"2024-05-31", "2024", "", True, float("nan"), "2024-05-31\n2024-06-01"],
    "letters, digits": [None, 3, ["hre"], b"hre", "../x", "a b", "a/b", "a\n"],
}
WORDS = {"int": "whole", "float": "finite", "bool": "True or False", "str": "letters, digits"}
OWN_WORDS = {"cutoff": "a day"}
OPTIONAL = [f.name for f in fields(HREConfig) if "None" in str(f.type)]
TYPED = [
    (f.name, OWN_WORDS.get(f.name) or WORDS.get(str(f.type).removesuffix(" | None"), "allowed: "))
    for f in fields(HREConfig)
    if f.name != "chat_template_kwargs"
]


@pytest.mark.parametrize(("name", "words"), TYPED)
def test_a_value_of_another_type_is_refused_whatever_the_field(name, words):
    for value in WRONG[words]:
        if value is None and name in OPTIONAL:
            continue
        with pytest.raises(ValueError) as error:
            HREConfig(**{name: value})
        assert str(error.value).startswith(f"HREConfig.{name} is ") and words in str(error.value)


def test_numbers_of_numpy_become_plain():
    config = HREConfig(eval_steps=np.int32(3), alpha=np.float32(0.5), min_delta=1, seed=np.uint8(2))
    assert [type(x) for x in (config.eval_steps, config.alpha, config.min_delta, config.seed)] == [
        int,
        float,
        int,
        int,
    ]
    json.dumps(config.as_dict())


def test_a_seed_that_no_generator_takes_is_refused():
    with pytest.raises(ValueError, match="HREConfig.seed is -1; it must be at least 0"):
        HREConfig(seed=-1)


QUESTIONS = load_questions("bundled", max_questions=4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"config": {"eval_steps": 5}}, "config: found {'eval_steps': 5}, expected an HREConfig"),
        ({"config": HREArguments()}, "expected an HREConfig or None: call its .to_config()"),
        ({"config": 50}, "config: found 50"),
        ({"config": False}, "config: found False"),
        ({"reward_funcs": "my-reward"}, "reward_funcs: found 'my-reward', expected a list"),
        ({"reward_funcs": len}, "reward_funcs: found <built-in function len>, expected a list"),
        ({"reward_funcs": None}, "reward_funcs: found None"),
        ({"reward_funcs": {"a": len}}, "reward_funcs: found {'a'"),
        ({"reward_funcs": [len, 3]}, "reward_funcs[1]: found 3, expected a function"),
        ({"proxies": ["loss"]}, "proxies: found ['loss'], expected a mapping"),
        ({"proxies": "loss"}, "proxies: found 'loss'"),
        ({"proxies": {3: "up"}}, "proxies: found the key 3"),
        ({"proxies": {"loss": 1}}, "proxies['loss'] is 1"),
        ({"questions": "beer.jsonl"}, "beer.jsonl: no such file or folder"),
        ({"questions": 5}, "questions"),
    ],
)
def test_arguments_of_the_callback_are_refused_by_name(arguments, message):
    with pytest.raises(ValueError) as error:
        HumanRankEvalCallback(**{"questions": QUESTIONS, **arguments})
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"topics": 5}, "topics: found 5, expected a list"),
        ({"topics": [1]}, "topics: found [1]"),
        ({"topics": {"math": 1}}, "topics: found {'math': 1}"),
        ({"topics": []}, "topics: found []"),
        ({"seed": "a"}, "seed: found 'a', expected an integer"),
        ({"seed": None}, "seed: found None"),
        ({"seed": True}, "seed: found True"),
        ({"max_questions": 2.0}, "max_questions: found 2.0"),
    ],
)
def test_arguments_of_load_questions_are_refused_by_name(options, message):
    with pytest.raises(ValueError) as error:
        load_questions("bundled", **options)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("report_to", "named"),
    [
        (["mlflow", "wandb", "swanlab"], "not to mlflow, swanlab"),
        ("comet_ml", "not to comet_ml"),
        ([], None),
        ("none", None),
        (None, None),
        (["tensorboard"], None),
    ],
)
def test_places_that_get_nothing_are_named_once(tmp_path, caplog, report_to, named):
    args = SimpleNamespace(report_to=report_to, output_dir=str(tmp_path))
    Trackers.for_run(args, "hre", is_main=True)
    Trackers.for_run(args, "hre", is_main=False)
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == (named is not None) and all(named in text and "its record" in text for text in said)
