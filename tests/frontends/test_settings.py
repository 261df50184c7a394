"""Settings on their way: through the environment, out of a front-end's own keys; and what they load."""

from __future__ import annotations

import pytest

from hre_callback import HREConfig, load_questions
from hre_callback.frontends.settings import as_json, from_json, from_keys, from_variable, wherever
from hre_callback.settings_file import SETTINGS, make_settings, read_settings


def test_they_travel_whole_to_another_process():
    settings = make_settings(
        {"questions": "bundled", "topics": ["é"], "max_questions": 3, "alpha": 0.01, "seed": 4, "prompt": "chat", "chat_template_kwargs": {"day": "é", "deep": {"a": [1]}}}
    )  # fmt: skip
    assert from_json(as_json(settings)) == settings


def test_a_relative_path_means_the_folder_of_the_command_and_outlives_a_change_of_it(tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "q.jsonl").write_text("")
    (tmp_path / "elsewhere" / "hre.yaml").write_text("questions: q.jsonl\n")
    monkeypatch.chdir(tmp_path)
    assert wherever(read_settings("elsewhere/hre.yaml")).questions == str(tmp_path / "q.jsonl")
    for name in ("owner/dataset", "bundled", "helpsteer3", "no.jsonl", "a\0b", "x" * 5000):
        assert wherever(make_settings({"questions": name})).questions == name


def test_a_subset_is_drawn_with_the_configs_seed():
    settings = make_settings({"questions": "bundled", "max_questions": 3, "seed": 7})
    assert settings.load() == load_questions("bundled", max_questions=3, seed=7)


def test_keys_of_a_front_end_are_ours_behind_the_prefix():
    given = {"hre_questions": "bundled", "hre_eval_steps": 5, "learning_rate": 1.0, 7: 1}
    settings = from_keys(given, "x")
    assert settings.config == HREConfig(eval_steps=5) and settings.questions == "bundled"
    assert set(SETTINGS) > {"questions", "eval_steps"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "x: hre_questions is missing"),
        ({"hre_questions": None}, "x: hre_questions is missing"),
        ({"hre_questions": "bundled", "hre_eval_step": 5}, r"x, behind hre_: 'eval_step' is no .*mean eval_steps\?"),
        ({"hre_questions": "bundled", "hre_eval_steps": "often"}, "x, behind hre_: eval_steps is 'often'"),
    ],
)
def test_what_is_wrong_with_them_is_named(given, message):
    with pytest.raises(ValueError, match=message):
        from_keys(given, "x")


def test_what_yaml_1_1_reads_otherwise_is_meant():
    """`off` is a truth value there, `2e-2` text: front-ends read their files so."""
    config = from_keys({"hre_questions": "bundled", "hre_contamination": False, "hre_min_delta": "2e-2"}, "x").config
    assert (config.contamination, config.min_delta) == ("off", 0.02)
    with pytest.raises(ValueError, match="contamination is True"):
        from_keys({"hre_questions": "bundled", "hre_contamination": True}, "x")


def test_the_variable_names_a_file(tmp_path, monkeypatch):
    monkeypatch.delenv("HRE_CONFIG", raising=False)
    with pytest.raises(ValueError, match="HRE_CONFIG is not set"):
        from_variable()
    (tmp_path / "hre.yaml").write_text("questions: bundled\ncontamination: off\n")
    monkeypatch.setenv("HRE_CONFIG", str(tmp_path / "hre.yaml"))
    assert from_variable().config.contamination == "off"
