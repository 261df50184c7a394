"""The two small models that come along."""

from __future__ import annotations

import torch

from hre_callback.scoring import demo_model
from hre_callback.scoring.demo_model import demo_gguf, demo_model_folder, tiny_model

from ..trainers import TEXTS


def test_without_its_package_there_is_no_demo_model(tmp_path, monkeypatch):
    monkeypatch.setattr(demo_model, "DEMO_PACKAGE", "a_package_that_nobody_has")
    assert demo_gguf() is None
    assert demo_model_folder(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_the_demo_model_is_converted_once(tmp_path, monkeypatch):
    """With a tiny model in the place of the 135M one."""
    loads = []
    monkeypatch.setattr(demo_model, "demo_gguf", lambda: tmp_path / "small.gguf")
    monkeypatch.setattr(demo_model, "load_model", lambda source: loads.append(source) or tiny_model(TEXTS))
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
