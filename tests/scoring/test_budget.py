"""The token budget follows the memory that is free, and never the state of a CPU machine."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from hre_callback.scoring import budget
from hre_callback.scoring.budget import default_budget

from ..zoo import build

GIB = 1 << 30


class Parameter(SimpleNamespace):
    """A weight on an accelerator that this machine need not have."""

    device, requires_grad, grad = torch.device("cuda"), True, None

    def numel(self):
        return 1_000_000_000

    def element_size(self):
        return 2


class Model(SimpleNamespace):
    config = SimpleNamespace(vocab_size=128_000, hidden_size=2048, intermediate_size=8192, num_hidden_layers=16)

    def parameters(self):
        return iter([Parameter(requires_grad=self.trained)])


@pytest.fixture
def free(monkeypatch):
    def give(gib, reserved=0.0, allocated=0.0):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (int(gib * GIB), 80 * GIB))
        monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: int(reserved * GIB))
        monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: int(allocated * GIB))

    return give


def test_more_memory_gives_more_tokens_in_powers_of_two_within_bounds(free):
    found = []
    for gib in (0.1, 4, 8, 16, 32, 64, 1000):
        free(gib)
        found.append(default_budget(Model(trained=False)))
    assert found == sorted(found) and len(set(found)) > 3
    assert all(tokens & (tokens - 1) == 0 for tokens in found)
    assert found[0] == budget._LEAST and found[-1] == budget._MOST


def test_small_changes_of_free_memory_change_no_plan(free):
    free(40)
    expected = default_budget(Model(trained=False))
    free(40.1)
    assert default_budget(Model(trained=False)) == expected


def test_gradients_and_moments_that_training_will_make_are_left_free(free):
    free(16)
    assert default_budget(Model(trained=True)) < default_budget(Model(trained=False))


def test_memory_that_torch_holds_unused_counts_as_free(free):
    free(30)
    expected = default_budget(Model(trained=False))
    free(10, reserved=25, allocated=5)
    assert default_budget(Model(trained=False)) == expected


def test_on_the_cpu_the_vocabulary_alone_decides():
    model = build("llama")
    assert default_budget(model) == 2048
    model.config.vocab_size = 150_000
    assert default_budget(model) == 894
