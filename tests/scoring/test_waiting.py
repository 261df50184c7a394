"""An evaluation never waits for the device batch by batch: no value is read before all are, tensors are moved once.

Without an accelerator: fake tensors, whose values nobody can read, stand for those of a device; and every operation by
which a program waits for one is counted.
"""

from __future__ import annotations

import traceback
from collections import Counter

import pytest
import torch
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from hre_callback.scoring import loglikelihood, tensors
from hre_callback.scoring.batches import plan
from hre_callback.scoring.loglikelihood import look_together, score_together
from hre_callback.scoring.no_trace import no_trace
from hre_callback.scoring.plan import Way, group_by_context, ways
from hre_callback.scoring.scorer import Scorer

from ..scored import look_at
from ..zoo import build
from .test_loglikelihood import answers

pytestmark = [pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning", "ignore::DeprecationWarning")]
FUNCTION = Way("packed", "function")
# What a program waits for: one value, or how many there are.
WAITS = ("_local_scalar_dense", "nonzero", "equal", "is_nonzero", "masked_select", "unique", "_unique2", "bincount")


class Waits(TorchDispatchMode):
    """Counts operations for which a device is waited; on demand not those that the model's own code asks for."""

    def __init__(self, theirs=True):
        super().__init__()
        self.found, self.theirs = Counter(), theirs

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        by_mask = name in ("index", "index_put", "index_put_") and any(
            t is not None and t.dtype in (torch.bool, torch.uint8) for t in args[1]
        )
        if name in WAITS or by_mask or (name == "repeat_interleave" and isinstance(args[-1], torch.Tensor)):
            self.found[name] += self.theirs or not called_by_transformers()
        return func(*args, **(kwargs or {}))


def called_by_transformers():
    files = [frame.filename for frame in traceback.extract_stack()]
    return next(
        ("transformers" in file for file in reversed(files) if "transformers" in file or "hre_callback" in file), False
    )


def waits_of(model, batches, reading, theirs=True):
    score_together(model, batches, reading)
    with Waits(theirs) as waits:
        score_together(model, batches, reading)
    return waits.found


@pytest.mark.parametrize("name", ["llama", "gpt2", "qwen3", "mistral_window", "gemma3_mixed", "olmo2", "opt"])
def test_no_value_is_read_while_batches_are_scored(name):
    """The whole forward, attention and log-probabilities, with values that cannot be read."""
    model, groups = build(name), group_by_context(answers())
    reading, batches = look_at(model, groups), plan(groups, FUNCTION, 100)
    assert len(batches) > 2 and reading.keeps_of_one == "columns"
    score_together(model, batches, reading)
    with no_trace(model), FakeTensorMode(allow_non_fake_inputs=True):
        scorer = Scorer(model, reading)
        for batch in batches:
            assert scorer.score(batch).shape == batch.targets.ids.shape
            assert scorer.look(batch).shape == (*batch.targets.ids.shape, 3)
        with pytest.raises(DataDependentOutputException):
            scorer.score(batches[0]).sum().item()
        with pytest.raises(DynamicOutputShapeException):
            scorer.score(batches[0]).nonzero()


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_what_an_evaluation_waits_for_does_not_grow_with_its_batches(name):
    model, groups = build(name), group_by_context(answers())
    reading = look_at(model, groups)
    few, many = (plan(groups, FUNCTION, budget) for budget in (100, 40))
    assert 2 <= len(few) < len(many)
    assert waits_of(model, few, reading) == waits_of(model, many, reading)


@pytest.mark.parametrize("way", [way for way in ways("auto") if way != FUNCTION], ids=str)
def test_other_layouts_wait_at_most_where_transformers_reads_a_mask_of_rows(way, monkeypatch):
    """Rows of which unequal numbers of logits are read: `logits_to_keep` as a mask is counted in the model's forward."""
    model, groups = build("llama", "eager"), group_by_context(answers())
    reading = look_at(model, groups)
    few, many = (plan(groups, way, budget) for budget in (100, 60))
    few = few[: len(many) - 1] if len(few) == len(many) else few
    masks = [sum(len(batch.keep) > 1 and batch.kept.count > 0 for batch in batches) for batches in (few, many)]
    found = [sum(waits_of(model, batches, reading).values()) for batches in (few, many)]
    assert len(few) < len(many) and found[1] - found[0] == masks[1] - masks[0]


@pytest.mark.parametrize("layout", ["padded", "cached"])
def test_encoder_decoders_wait_only_where_their_own_code_does(layout):
    """transformers asks whether a mask of padding is full."""
    model, groups = build("t5"), group_by_context(answers())
    reading = look_at(model, groups)
    few, many = (plan(groups, Way(layout), budget) for budget in (120, 40))
    assert len(few) < len(many)
    assert waits_of(model, few, reading, theirs=False) == waits_of(model, many, reading, theirs=False)


@pytest.fixture
def sent(monkeypatch):
    """Names no device but another one, and counts what is moved there."""
    moved = []

    def send(tensor, device):
        moved.append(tensor.numel())
        return tensor.to(device)

    monkeypatch.setattr(tensors, "send", send)
    return moved


@pytest.mark.parametrize("way", ways("auto"), ids=str)
def test_tensors_are_moved_once_in_the_life_of_a_plan(way, sent):
    elsewhere = torch.device("meta")
    for batch in plan(group_by_context(answers()), way, 100):
        names = ["input_ids", "keep"] if hasattr(batch, "input_ids") else ["context_ids", "group_of"]
        for _ in range(3):
            for owner, name in [*((batch, n) for n in names), (batch.targets, "ids"), (batch.kept, "columns")]:
                assert owner.on(name, elsewhere).device == elsewhere
                assert owner.on(name, torch.device("cpu")) is getattr(owner, name)
        assert len(sent) == 4
        batch.on(names[0], elsewhere, stays=False)
        assert len(sent) == 4, "what is there already is taken"
        sent.clear()


def test_what_does_not_stay_is_moved_anew_and_not_held(sent):
    (batch, *_) = plan(group_by_context(answers()), FUNCTION, 100)
    for _ in range(2):
        batch.on("input_ids", torch.device("meta"), stays=False)
    assert len(sent) == 2 and not batch._moved


@pytest.mark.parametrize(("most", "stays"), [(1 << 20, True), (10, False)])
def test_a_plan_too_large_to_stay_on_the_device_does_not(monkeypatch, most, stays):
    seen = []
    monkeypatch.setattr(loglikelihood, "_STAY", most)
    monkeypatch.setattr(
        Scorer, "_on", lambda self, owner, name, device=None: (seen.append(self._stays), getattr(owner, name))[1]
    )
    model, groups = build("llama"), group_by_context(answers())
    score_together(model, plan(groups, FUNCTION, 100), look_at(model, groups))
    assert set(seen) == {stays}


def test_scores_are_fetched_together(monkeypatch):
    fetched = []
    whole = loglikelihood._fetch
    monkeypatch.setattr(loglikelihood, "_fetch", lambda found: (fetched.append(len(found)), whole(found))[1])
    model, groups = build("llama"), group_by_context(answers())
    reading, batches = look_at(model, groups), plan(groups, FUNCTION, 60)
    fetched.clear()
    score_together(model, batches, reading)
    assert [len(part) for part in look_together(model, batches, reading)] == [len(b.targets.ids) for b in batches]
    assert fetched == [len(batches)] * 2
    assert look_together(model, [], reading) == [] and score_together(model, [], reading) == {}
