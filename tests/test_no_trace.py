"""The callback leaves no trace: the same weights, optimizer state and logs, bit for bit, with it and without."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from hre_callback import HREConfig, HumanRankEvalCallback

from .trainers import questions, sft_trainer

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore:.*torch.jit.script.*")
TIMES = ("runtime", "per_second", "step_time")


def ours(key: str) -> bool:
    return key.startswith(("hre", "eval_hre", "mismatch"))


def logs(trainer):
    """The Trainer's history without our keys and without clock times."""
    rows = [
        {k: v for k, v in row.items() if not ours(k) and not any(t in k for t in TIMES)}
        for row in trainer.state.log_history
    ]
    return [row for row in rows if row.keys() - {"step", "epoch"}]


def fingerprint_of(trainer):
    weights = {name: p.detach().clone() for name, p in trainer.model.named_parameters()}
    optimizer = [
        {k: v.clone() if torch.is_tensor(v) else v for k, v in state.items()}
        for state in trainer.optimizer.state_dict()["state"].values()
    ]
    return weights, optimizer, logs(trainer)


def assert_same(a, b):
    (weights_a, optimizer_a, logs_a), (weights_b, optimizer_b, logs_b) = a, b
    assert all(torch.equal(weights_a[name], weights_b[name]) for name in weights_a)
    assert len(optimizer_a) == len(optimizer_b) > 0
    for state_a, state_b in zip(optimizer_a, optimizer_b, strict=True):
        assert all(torch.equal(torch.as_tensor(state_a[k]), torch.as_tensor(state_b[k])) for k in state_a)
    assert logs_a == logs_b


@pytest.mark.parametrize("layout", ["packed", "padded"])
def test_sft_is_bit_identical_with_and_without(tmp_path, layout):
    settings = {"eval_strategy": "steps", "eval_steps": 3, "num_train_epochs": 2, "max_steps": 14}
    plain = sft_trainer(tmp_path / "plain", [], **settings)
    plain.train()
    callback = HumanRankEvalCallback(questions(), HREConfig(eval_steps=2, layout=layout))
    watched = sft_trainer(tmp_path / "watched", [callback], **settings)
    watched.train()
    assert sum("eval_hre" in row for row in watched.state.log_history) >= 9
    assert_same(fingerprint_of(plain), fingerprint_of(watched))


def test_the_check_can_fail(tmp_path):
    """A callback that draws one random number is seen by the comparison above."""

    class Draws(HumanRankEvalCallback):
        def on_step_end(self, *args, **kwargs):
            torch.rand(1)

    plain = sft_trainer(tmp_path / "plain", [])
    plain.train()
    drawn = sft_trainer(tmp_path / "drawn", [Draws(questions())])
    drawn.train()
    with pytest.raises(AssertionError):
        assert_same(fingerprint_of(plain), fingerprint_of(drawn))


class Fails(torch.nn.Module):
    """Breaks the model's forward at a chosen call, and leaves flags and random states worth restoring."""

    def __init__(self, model, at):
        super().__init__()
        self.model, self.at, self.calls = model, at, 0
        self.config = model.config

    def forward(self, input_ids=None, **kwargs):
        self.calls += 1
        torch.rand(3), random.random(), np.random.rand()  # what a careless model might do
        if self.calls == self.at:
            raise RuntimeError("planted failure")
        return self.model(input_ids=input_ids, **kwargs)


@pytest.mark.parametrize("fails_at", [1, 3, 10**9])
def test_flags_and_random_states_are_restored(fails_at):
    from hre_callback.evaluator import EvaluationError, HumanRankEvaluator

    from .trainers import dropout_model, tokenizer

    tok = tokenizer()
    model = Fails(dropout_model(tok), fails_at)
    model.train()
    model.model.transformer.h[0].eval()  # a part that the user froze
    flags = [m.training for m in model.modules()]
    evaluator = HumanRankEvaluator(questions(), tok, HREConfig(layout="padded", token_budget=64))
    states = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()
    before = tok.padding_side, tok.pad_token, model.config.to_dict()
    if fails_at < 10**9:
        with pytest.raises(EvaluationError, match="planted failure"):
            evaluator.evaluate(model)
    else:
        evaluator.evaluate(model)
    assert [m.training for m in model.modules()] == flags
    assert random.getstate() == states[0]
    assert (np.random.get_state()[1] == states[1]).all()
    assert torch.equal(torch.get_rng_state(), states[2])
    assert (tok.padding_side, tok.pad_token, model.config.to_dict()) == before
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert torch.is_grad_enabled()
