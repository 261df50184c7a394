"""Errors name the field, the value and what is allowed; on a command line the fields stand beside TRL's."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields

import pytest
import yaml
from trl import ModelConfig, SFTConfig, TrlParser

from hre_callback import HREArguments, HREConfig

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
