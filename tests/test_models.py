"""Models to score: what loads, what an error says, and the two small ones that come along."""

from __future__ import annotations

import pytest
import torch

from hre_callback import models
from hre_callback.models import demo_gguf, demo_model_folder, load_model, parse_dtype, tiny_model

from .trainers import TEXTS


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("models") / "tiny"
    model, tokenizer = tiny_model(TEXTS)
    model.save_pretrained(made)
    tokenizer.save_pretrained(made)
    return made


def test_a_saved_model_loads_as_it_was(folder):
    model, tokenizer = load_model(folder, dtype=torch.bfloat16)
    assert not model.training and model.dtype == torch.bfloat16
    original, its_tokenizer = tiny_model(TEXTS)
    assert tokenizer(TEXTS[0]).input_ids == its_tokenizer(TEXTS[0]).input_ids
    saved = original.model.embed_tokens.weight.to(torch.bfloat16)
    assert torch.equal(model.model.embed_tokens.weight, saved)


def test_what_cannot_be_loaded_is_named(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ValueError, match=r"none\.gguf: no such GGUF file"):
        load_model(tmp_path / "none.gguf")
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        ValueError, match=r"empty: no causal language model can be loaded from this folder: .+"
    ):
        load_model(tmp_path / "empty")
    with pytest.raises(
        ValueError, match=r"no/such: no causal language model can be loaded from this hub id: .+"
    ):
        load_model(str(tmp_path / "no/such"))


def test_a_gguf_file_needs_its_package(tmp_path, monkeypatch):
    file = tmp_path / "a.gguf"
    file.write_bytes(b"GGUF")
    found = models.importlib.util.find_spec
    monkeypatch.setattr(
        models.importlib.util, "find_spec", lambda name: None if name == "gguf" else found(name)
    )
    with pytest.raises(ValueError, match="pip install gguf"):
        load_model(file)


def test_without_its_package_there_is_no_demo_model(tmp_path, monkeypatch):
    monkeypatch.setattr(models, "DEMO_PACKAGE", "a_package_that_nobody_has")
    assert demo_gguf() is None
    assert demo_model_folder(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_the_demo_model_is_converted_once(tmp_path, monkeypatch):
    """With a tiny model in the place of the 135M one."""
    loads = []
    monkeypatch.setattr(models, "demo_gguf", lambda: tmp_path / "small.gguf")
    monkeypatch.setattr(models, "load_model", lambda source: loads.append(source) or tiny_model(TEXTS))
    made = demo_model_folder(tmp_path / "cache", name="small")
    assert made == demo_model_folder(tmp_path / "cache", name="small") == tmp_path / "cache" / "small"
    assert loads == [tmp_path / "small.gguf"]
    assert {"config.json", "tokenizer.json"} <= {file.name for file in made.iterdir()}
    assert [path.name for path in made.parent.iterdir()] == ["small"]  # no half left behind


def test_a_tiny_model_is_the_same_every_time_and_draws_from_nobody():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, other = (tiny_model(TEXTS, seed=1)[0] for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    assert not torch.equal(one.lm_head.weight, tiny_model(TEXTS, seed=2)[0].lm_head.weight)


@pytest.mark.parametrize("name", ["float32", "bfloat16", "float16"])
def test_a_dtype_by_name(name):
    assert parse_dtype(name) is getattr(torch, name)


def test_a_dtype_that_is_none_of_them():
    with pytest.raises(ValueError, match="dtype 'int4' is not one of float32, bfloat16, float16"):
        parse_dtype("int4")
