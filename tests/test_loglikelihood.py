"""Log-likelihoods against the plainest possible loop, for every layout and many architectures."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from hre_callback import layout as layouts
from hre_callback import loglikelihood
from hre_callback.batches import Targets, group_by_context
from hre_callback.encoding import EncodedAnswer
from hre_callback.layout import choose_layout, plan
from hre_callback.loglikelihood import forward_parameters, score_batches

from .zoo import CONFIGS, VOCABULARY, build

WINDOWED = {name for name, (_, settings) in CONFIGS.items() if "sliding_window" in settings}
WINDOWED.add("gemma3_vision")
RECURRENT = {"mamba", "mamba2", "jamba", "bamba", "zamba2", "rwkv"}
ENCODER_DECODER = {"t5", "bart"}  # cached: the question goes through the encoder once
ALIBI = {"bloom_alibi", "mpt_alibi"}
# What `auto` takes for rows longer than every window; shown in the README. Anything not named here: packed.
EXPECTED = dict.fromkeys(WINDOWED | ALIBI | ENCODER_DECODER, "cached") | dict.fromkeys(RECURRENT, "padded")

pytestmark = [
    pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning", "ignore::DeprecationWarning")
]


def answers(context_length=24, seed=0):
    """Questions longer than every window, answers of 1 to 20 tokens, a boundary merge and a lone answer."""
    generator = torch.Generator().manual_seed(seed)

    def ids(n):
        return tuple(torch.randint(3, VOCABULARY, (n,), generator=generator).tolist())

    made = []
    for q, lengths in enumerate([(20, 7, 1, 12), (5, 5), (9,), (1, 1, 1)]):
        context = ids(context_length + 3 * q)
        made += [EncodedAnswer((f"q{q}", a), context, ids(n), n, 1.0, False) for a, n in enumerate(lengths)]
    return [*made, EncodedAnswer(("q1", 2), ids(context_length), ids(6), 6, 1.0, False)]


@torch.no_grad()
def naive(model, encoded):
    """One unpadded row at a time, full logits, float32 log-softmax: what the official harness computes."""
    found = {}
    for a in encoded:
        if model.config.is_encoder_decoder:
            start = model.config.decoder_start_token_id
            inputs = {"input_ids": a.context, "decoder_input_ids": (start, *a.continuation[:-1])}
        else:
            inputs = {"input_ids": (a.context + a.continuation)[:-1]}
        logits = model(**{name: torch.tensor([ids]) for name, ids in inputs.items()}).logits[0]
        logprobs = torch.log_softmax(logits.float(), dim=-1)[-len(a.continuation) :]
        found[a.key] = sum(float(logprobs[i, token]) for i, token in enumerate(a.continuation))
    return found


EAGER_ONLY = {"bloom_alibi", "gemma2_mixed", "gpt_oss", "gptj", "mamba", "mamba2", "mpt_alibi", "rwkv"}


def attention_of(name):
    return ["eager"] if name in EAGER_ONLY else ["eager", "sdpa"]


@pytest.mark.parametrize(
    ("name", "attention"), [(name, attention) for name in sorted(CONFIGS) for attention in attention_of(name)]
)
def test_every_trusted_layout_equals_the_naive_loop(name, attention):
    model = build(name, attention)
    encoded = answers()
    reference = naive(model, encoded)
    groups = group_by_context(encoded)
    choice = choose_layout(model, groups, "auto", 256)
    assert choice.layout == EXPECTED.get(name, "packed"), choice.refused
    for chosen in {"padded", choice.layout}:
        for budget in (60, 4096):
            found = score_batches(model, plan(groups, chosen, budget))
            assert found.keys() == reference.keys()
            worst = max(abs(found[key] - reference[key]) for key in reference)
            assert worst < 1e-4 * max(1.0, max(map(abs, reference.values())) / 100), (chosen, budget, worst)


@pytest.mark.parametrize("name", sorted(WINDOWED))
def test_short_rows_may_be_packed_under_a_window(name):
    """Within the window a packed row is exact; which is why a short probe alone would not have shown the fault."""
    model = build(name, "eager")
    encoded = [a for a in answers(context_length=4) if len(a.context) + len(a.continuation) <= 14]
    reference = naive(model, encoded)
    choice = choose_layout(model, group_by_context(encoded), "auto", 256)
    assert choice.layout == "packed", choice.refused
    found = score_batches(model, plan(group_by_context(encoded), "packed", 256))
    assert max(abs(found[key] - reference[key]) for key in reference) < 1e-4


def test_a_config_that_lies_is_caught(monkeypatch):
    """The window is taken out of the config that we read, but the layers keep it."""
    model = build("mistral_window", "sdpa")
    groups = group_by_context(answers())
    assert choose_layout(model, groups, "auto", 256).layout == "cached"
    monkeypatch.setattr(layouts, "text_config", lambda model: SimpleNamespace(_attn_implementation="sdpa"))
    choice = choose_layout(model, groups, "auto", 256)
    assert choice.layout == "cached"
    assert choice.refused[0].startswith("packed: differs from padded")


def test_a_layout_asked_for_by_name_is_refused_when_wrong():
    with pytest.raises(ValueError, match="layout 'packed' does not fit this model"):
        choose_layout(build("mpt_alibi", "eager"), group_by_context(answers()), "packed", 256)


def test_same_weights_twice_same_bits():
    model, groups = build("llama"), group_by_context(answers())
    for layout in ("padded", "packed", "cached"):
        batches = plan(groups, layout, 128)
        assert score_batches(model, batches) == score_batches(model, batches)


def test_chunks_do_not_change_the_sum(monkeypatch):
    model, batches = build("llama"), plan(group_by_context(answers()), "packed", 512)
    whole = score_batches(model, batches)
    monkeypatch.setattr(loglikelihood, "_CHUNK", VOCABULARY)  # one row at a time
    assert score_batches(model, batches) == pytest.approx(whole, abs=1e-6)


def test_a_large_vocabulary_costs_no_precision():
    """A sum over many tokens, against float64; torch's own log_softmax is off by a hundred times as much."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(60, 50_000, generator=generator) * 3
    ids = torch.randint(0, 50_000, (60,), generator=generator)
    targets = Targets(torch.arange(60), ids, torch.zeros(60, dtype=torch.long))
    exact = float(logits.double().log_softmax(-1)[torch.arange(60), ids].sum())
    assert float(loglikelihood._sum_by_answer((logits,), targets, 1)) == pytest.approx(exact, abs=2e-5)


@pytest.mark.parametrize("layout", ["padded", "packed", "cached"])
def test_a_forward_without_logits_to_keep_is_scored_all_the_same(layout):
    class Plain(torch.nn.Module):
        """An older or a custom model: no `logits_to_keep`."""

        def __init__(self, model):
            super().__init__()
            self.inner, self.config = model, model.config

        def forward(
            self, input_ids, attention_mask=None, position_ids=None, past_key_values=None, use_cache=None
        ):
            return self.inner(
                input_ids=input_ids, attention_mask=attention_mask, position_ids=position_ids,
                past_key_values=past_key_values, use_cache=use_cache,
            )  # fmt: skip

    model, groups = build("llama"), group_by_context(answers())
    assert "logits_to_keep" not in forward_parameters(Plain(model))
    expected = score_batches(model, plan(groups, layout, 128))
    assert score_batches(Plain(model), plan(groups, layout, 128)) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("layout", ["padded", "packed", "cached"])
def test_older_transformers_without_masks_of_logits(monkeypatch, layout):
    model, groups = build("llama"), group_by_context(answers())
    expected = score_batches(model, plan(groups, layout, 256))
    monkeypatch.setattr(loglikelihood, "_TAKES_MASKS", False)
    assert score_batches(model, plan(groups, layout, 256)) == pytest.approx(expected, abs=1e-5)


def test_gradient_checkpointing_and_use_cache_off_change_nothing():
    model, groups = build("llama"), group_by_context(answers())
    expected = score_batches(model, plan(groups, "cached", 256))
    model.gradient_checkpointing_enable()
    model.config.use_cache = False
    model.train()
    assert score_batches(model, plan(groups, "cached", 256)) == expected
    assert model.training and model.config.use_cache is False


@pytest.mark.parametrize("layout", ["padded", "packed", "cached"])
def test_bfloat16_autocast_as_the_trainer_uses_it(layout):
    model, groups = build("llama", scale=1.0), group_by_context(answers())
    exact = score_batches(model, plan(groups, "padded", 256))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = score_batches(model, plan(groups, layout, 256))
    assert max(abs(found[key] - exact[key]) for key in exact) < 0.5
    assert choose_layout(model.to(torch.bfloat16), groups, "auto", 256).layout == "packed"
