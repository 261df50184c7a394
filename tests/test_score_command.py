"""`hre score` and `hre compare --questions` on models of all kinds, as a person types them."""

from __future__ import annotations

import io
import json
import logging
import sys
import warnings

import pytest
import torch
from transformers.utils import logging as hf_logging

from hre_callback import HREConfig, HumanRankEvaluator, load_questions
from hre_callback.scoring.demo_model import demo_gguf
from hre_callback.scoring.loading import load_model

from .scoring.test_loading import (
    REFUSED,
    SCORED,
    SMALL,
    copy,
    edit,
    llama,
    own_code,
    own_modules,
    reweigh,
    save,
)
from .test_cli import hre, question_file

__all__ = ["copy", "llama", "own_modules"]


@pytest.fixture
def questions(tmp_path):
    return question_file(tmp_path / "q.jsonl", ["beer", "wind"])


def rows_of(file):
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_a_reward_model_is_scored_by_its_own_number(tmp_path, questions, capsys):
    """Once a head drawn at random was scored: another number every time, with exit code 0."""
    save(tmp_path / "rm", "LlamaForSequenceClassification", SCORED["LlamaForSequenceClassification"])
    told = [hre("score", tmp_path / "rm", questions, "--json", capsys=capsys)[0] for _ in range(2)]
    model, tokenizer = load_model(tmp_path / "rm")
    evaluator = HumanRankEvaluator(load_questions(questions), tokenizer, HREConfig())
    result = evaluator.evaluate(model)
    assert evaluator.scores_are_rewards
    assert told[0] == told[1] and json.loads(told[0])["score"] == pytest.approx(result.score, abs=1e-6)


@pytest.mark.parametrize("name", ["T5ForConditionalGeneration", "LlamaForCausalLM"])
def test_language_models_with_and_without_an_encoder_are_scored(name, tmp_path, questions, capsys):
    save(tmp_path / "model", name, SCORED[name])
    out, _ = hre("score", tmp_path / "model", questions, "--json", capsys=capsys)
    assert json.loads(out)["n"] == 2


@pytest.mark.parametrize("name", ["BertForMaskedLM", "GPT2Model", "LlamaForTokenClassification"])
@pytest.mark.parametrize("command", ["score", "compare"])
def test_what_cannot_be_scored_is_refused_by_name(name, command, tmp_path, questions, llama, capsys):
    save(tmp_path / "model", name, REFUSED[name])
    args = ["score", tmp_path / "model", questions]
    if command == "compare":
        args = ["compare", llama, tmp_path / "model", "--questions", questions]
    out, err = hre(*args, capsys=capsys, code=2)
    assert out == "" and f"{tmp_path / 'model'}: this is a {name}" in err and "Traceback" not in err


def test_a_checkpoint_without_one_weight_is_refused(copy, questions, tmp_path, capsys):
    reweigh(copy / "model.safetensors", lambda weights: weights.pop("lm_head.weight"))
    out, err = hre("score", copy, questions, "--out", tmp_path / "s.jsonl", "--quiet", capsys=capsys, code=2)
    assert out == "" and err.startswith(f"hre: {copy}: ") and err.count("\n") == 1
    assert not (tmp_path / "s.jsonl").exists()


@pytest.mark.skipif(demo_gguf() is None, reason="needs the demo's model")
def test_half_a_gguf_file_is_one_line_without_any_bar(questions, tmp_path, capfd):
    with demo_gguf().open("rb") as real:
        (tmp_path / "half.gguf").write_bytes(real.read(demo_gguf().stat().st_size // 2))
    out, err = hre("score", tmp_path / "half.gguf", questions, capsys=capfd, code=2)
    assert out == "" and err.startswith(f"hre: {tmp_path / 'half.gguf'}: ") and err.count("\n") == 1


def test_the_sentence_is_all_that_is_said(copy, questions, capfd):
    """No bar and no table of transformers before it, and its own settings are as they were afterwards."""
    before = hf_logging.get_verbosity(), hf_logging.is_progress_bar_enabled()
    edit(copy / "config.json", hidden_size=64)
    _, err = hre("score", copy, questions, capsys=capfd, code=2)
    assert err.startswith(f"hre: {copy}: ") and err.count("\n") == 1
    assert (hf_logging.get_verbosity(), hf_logging.is_progress_bar_enabled()) == before


def test_what_fails_in_the_forward_names_the_model(tmp_path, questions, capsys):
    save(tmp_path / "model", "LlamaForCausalLM", ("LlamaConfig", SMALL), vocab_size=20)
    _, err = hre("score", tmp_path / "model", questions, "--quiet", capsys=capsys, code=2)
    assert err.startswith(f"hre: {tmp_path / 'model'}: ") and err.count("\n") == 1


@pytest.mark.parametrize("device", ["gpu", "meta", "cuda:99", ""])
def test_a_device_that_cannot_be_used_is_refused_before_anything_is_read(device, capsys):
    _, err = hre("score", "no/model", "no_questions", "--device", device, capsys=capsys, code=2)
    assert err.startswith(f"hre: device {device!r} cannot be used here") and err.count("\n") == 1


def test_the_device_is_the_accelerator_unless_one_is_named(llama, questions, monkeypatch, capsys):
    places = []

    def load(source, **options):
        places.append(options["device"])
        return load_model(source, **{**options, "device": "cpu"})

    monkeypatch.setattr("hre_callback.scoring.loading.load_model", load)
    monkeypatch.setattr("hre_callback.scoring.loading._accelerator", lambda: torch.device("cuda"))
    hre("score", llama, questions, "--json", capsys=capsys)
    hre("score", llama, questions, "--json", "--device", "cpu", capsys=capsys)
    hre("compare", llama, llama, "--questions", questions, "--device", "cpu", capsys=capsys)
    assert [place.type for place in places] == ["cuda", "cpu", "cpu", "cpu"]


@pytest.mark.parametrize("options", [[], ["--json"], ["--quiet"], ["--quiet", "--json"]])
def test_nobody_is_asked_whether_code_may_run(copy, questions, tmp_path, monkeypatch, capsys, options):
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n" * 9))
    own_code(copy, ran=str(tmp_path / "ran"))
    out, err = hre("score", copy, questions, *options, capsys=capsys, code=2)
    assert out == "" and "--trust-remote-code" in err and err.splitlines()[-1].startswith("hre: ")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("option", ["--json", "--quiet"])
def test_code_that_was_asked_for_prints_nothing_into_the_result(copy, questions, tmp_path, own_modules, capsys, option):
    own_code(copy, ran=str(tmp_path / "ran"))
    out, err = hre("score", copy, questions, "--trust-remote-code", option, capsys=capsys)
    assert (tmp_path / "ran").exists() and err == ""
    assert json.loads(out)["n"] == 2 if option == "--json" else out == ""


def test_quiet_is_quiet(llama, questions, monkeypatch, capsys):
    """Whatever loaders and trainers print, warn or log; and all is as before afterwards."""

    def noisy(*args, **options):
        print("out")
        print("err", file=sys.stderr)
        warnings.warn("a warning", stacklevel=1)
        logging.getLogger("transformers").critical("a log line")
        return load_model(*args, **options)

    monkeypatch.setattr("hre_callback.scoring.loading.load_model", noisy)
    assert hre("score", llama, questions, "--quiet", capsys=capsys) == ("", "")
    out, err = hre("score", llama, questions, "--json", capsys=capsys)
    assert json.loads(out)["n"] == 2 and err == ""
    assert logging.root.manager.disable == logging.NOTSET
    with pytest.warns(UserWarning, match="a warning"):
        out, err = hre("score", llama, questions, capsys=capsys)
    assert "out\n" not in out and "out\n" in err


def equal_votes(path, topics):
    """The questions of these topics have answers with one and the same number of votes."""
    rows = rows_of(path)
    for row in rows:
        if row["topic"] in topics:
            row["answers"] = [{**answer, "votes": 3} for answer in row["answers"]]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("options", [[], ["--json"]])
@pytest.mark.parametrize(("equal", "reason"), [(["beer", "wind"], "all votes are equal"), (["wind"], "none of the 2")])
def test_without_any_defined_question_there_is_no_score(llama, questions, tmp_path, capsys, equal, reason, options):
    """The votes of the one are equal, the other is too long to be read: together they leave nothing."""
    rows = rows_of(equal_votes(questions, equal))
    rows[0]["question"] = "wind " * 200
    questions.write_text("".join(json.dumps(row) + "\n" for row in rows))
    args = [llama, questions, "--max-length", "60", "--out", tmp_path / "s.jsonl", *options]
    out, err = hre("score", *args, capsys=capsys, code=2)
    assert out == "" and not (tmp_path / "s.jsonl").exists()
    assert err.splitlines()[-1].startswith(f"hre: {questions}: {reason}")


def test_a_topic_without_a_defined_question_shows_no_number(llama, questions, capsys):
    equal_votes(questions, ["wind"])
    out, _ = hre("score", llama, questions, capsys=capsys)
    assert "nan" not in out and "wind" in out
    out, _ = hre("score", llama, questions, "--json", capsys=capsys)
    assert json.loads(out)["topics"]["wind"]["score"] is None and "NaN" not in out


def test_the_dtype_is_checked_before_anything_is_read(capsys):
    assert "dtype 'int4'" in hre("score", "no/model", "none", "--dtype", "int4", capsys=capsys, code=2)[1]
