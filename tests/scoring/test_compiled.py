"""A model that training has compiled is scored as it is written: by the function, and no graph is made for our rows."""

from __future__ import annotations

import pytest
import torch

from hre_callback.scoring.plan import Way, group_by_context

from ..scored import choose_layout, score_groups
from ..zoo import build
from .test_loglikelihood import answers, naive

pytestmark = [pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning", "ignore::DeprecationWarning")]
if not hasattr(torch.compiler, "set_stance"):
    pytest.skip("this torch cannot call a compiled module uncompiled", allow_module_level=True)


@pytest.fixture
def graphs():
    """Graphs that were compiled, one entry each."""
    torch._dynamo.reset()
    made = []

    def backend(module, inputs):
        made.append(len(inputs))
        return module.forward

    yield made, backend
    torch._dynamo.reset()


def wrapped(model, backend):
    return torch.compile(model, backend=backend)


def in_place(model, backend):
    model.compile(backend=backend)
    return model


def layer_by_layer(model, backend):
    """As accelerate's regional compilation does it."""
    for layer in model.model.layers:
        layer.compile(backend=backend)
    return model


@pytest.mark.parametrize("compiled", [wrapped, in_place, layer_by_layer])
def test_a_compiled_model_is_scored_by_the_function_and_compiles_nothing(graphs, compiled):
    made, backend = graphs
    model, encoded = build("llama"), answers()
    exact, groups = naive(model, encoded), group_by_context(encoded)
    model = compiled(model, backend)
    choice = choose_layout(model, groups, "auto", 100)
    assert choice.way == Way("packed", "function"), choice.refused
    for way in (choice.way, Way("packed", "mask"), Way("cached"), Way("padded")):
        found = score_groups(model, groups, way, 100)
        assert max(abs(found[key] - exact[key]) for key in exact) < 1e-4
    assert not made


@pytest.mark.parametrize("compiled", [wrapped, in_place, layer_by_layer])
def test_training_goes_on_with_its_own_graphs(graphs, compiled):
    """The graphs made before an evaluation serve after it, and none is made anew, whatever rows were scored."""
    made, backend = graphs
    model = compiled(build("llama"), backend)
    groups, ids = group_by_context(answers()), torch.ones(2, 16, dtype=torch.long)

    def step():
        loss = model(input_ids=ids, labels=ids, use_cache=False).loss
        loss.backward()
        return float(loss)

    model.train()
    before = step()
    count = len(made)
    assert count
    score_groups(model, groups, Way("packed", "function"), 60)
    assert step() == before and len(made) == count
    assert model.training
