"""`make gpu` on a machine without an accelerator: it says so, and its parts run on the CPU."""

from __future__ import annotations

import pytest
import torch

from . import gpu
from .zoo import VOCABULARY, build

CPU = torch.device("cpu")
pytestmark = [pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")]


def test_without_an_accelerator_it_says_that_nothing_was_tried(capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu.main([]) == 2
    assert "No accelerator here" in capsys.readouterr().out


def test_it_proves_the_function_and_reports_what_fails(monkeypatch):
    monkeypatch.setattr(gpu, "FAMILIES", {"llama": "sdpa", "gptj": "eager"})
    monkeypatch.setattr(gpu, "DTYPES", (torch.float32, torch.bfloat16))
    found = {what: (right, figures) for what, right, figures in gpu.prove(CPU, [])}
    assert [right for right, _ in found.values()] == [True, True, False, False]
    assert "packed (mask)" in found["gptj, float32, eager"][1]


def test_it_measures_every_way_and_a_failure_ends_no_table(monkeypatch):
    model, asked = build("llama"), gpu.groups(VOCABULARY, 3, 8, 2, 5)
    lines = gpu.measure(model, asked, repeats=1)
    assert len(lines) == 1 + 2 + 4 and "times as many in pairs" in lines[0]
    # floats of a thousandth of a nat; the floor is no likelihood
    assert all(float(line.split("off by ")[1]) < 1e-2 for line in lines[1:-1])

    def broken(*_):
        def score():
            raise RuntimeError("planted")

        return score

    monkeypatch.setattr(gpu, "floor", broken)
    assert "RuntimeError: planted" in gpu.measure(model, asked, repeats=1)[-1]


def test_what_no_card_offers_goes_one_by_one():
    assert all(line.endswith("one by one") for line in gpu.one_call(CPU))


def test_the_official_way_is_the_plain_loop():
    model, asked = build("llama"), gpu.groups(VOCABULARY, 2, 6, 3, 5)
    with torch.no_grad():
        for group in asked:
            for key, ids in zip(group.keys, group.continuations, strict=True):
                logits = model(input_ids=torch.tensor([[*group.context, *ids]])).logits[0].log_softmax(-1)
                exact = sum(float(logits[len(group.context) - 1 + i, t]) for i, t in enumerate(ids))
                assert gpu.official(model, asked)()[key] == pytest.approx(exact, abs=1e-3)
