"""Log-likelihoods against the plainest possible loop, for every layout and many architectures."""

from __future__ import annotations

import functools

import pytest
import torch
import transformers as tf

from hre_callback.scoring import logprobs
from hre_callback.scoring.architecture import forward_parameters
from hre_callback.scoring.encoding import EncodedAnswer
from hre_callback.scoring.plan import Way, group_by_context, ways

from ..scored import choose_layout, score_groups
from ..zoo import CONFIGS, VOCABULARY, build
from . import families

MASK = Way("packed", "mask")
WINDOWED = {name for name, (_, settings) in CONFIGS.items() if "sliding_window" in settings}
WINDOWED.add("gemma3_vision")


pytestmark = [pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning", "ignore::DeprecationWarning")]


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
    assert str(choice.way) in {families.ZOO[name][1], families.NEWER.get(name)}, choice.refused
    for chosen in {Way("padded"), choice.way}:
        for budget in (60, 4096):
            found = score_groups(model, groups, chosen, budget)
            assert found.keys() == reference.keys()
            worst = max(abs(found[key] - reference[key]) for key in reference)
            assert worst < 1e-4 * max(1.0, max(map(abs, reference.values())) / 100), (chosen, budget, worst)


@pytest.mark.parametrize("name", sorted(WINDOWED))
def test_short_rows_may_be_masked_under_a_window(name):
    """Within the window a masked row is exact; which is why a short probe alone would not have shown the fault."""
    model = build(name, "eager")
    encoded = [a for a in answers(context_length=4) if len(a.context) + len(a.continuation) <= 14]
    reference = naive(model, encoded)
    choice = choose_layout(model, group_by_context(encoded), [MASK], 256)
    found = score_groups(model, group_by_context(encoded), choice.way, 256)
    assert max(abs(found[key] - reference[key]) for key in reference) < 1e-4


def test_a_layout_asked_for_by_name_is_refused_when_wrong():
    with pytest.raises(ValueError, match="layout 'packed' does not fit this model"):
        choose_layout(build("mpt_alibi", "eager"), group_by_context(answers()), "packed", 256)


def test_same_weights_twice_same_bits():
    model, groups = build("llama"), group_by_context(answers())
    for way in ways("auto"):
        assert score_groups(model, groups, way, 128) == score_groups(model, groups, way, 128)


def test_chunks_do_not_change_the_sum(monkeypatch):
    model, groups = build("llama"), group_by_context(answers())
    whole = score_groups(model, groups, "packed", 512)
    monkeypatch.setattr(logprobs, "_CHUNK", VOCABULARY)  # one row at a time
    assert score_groups(model, groups, "packed", 512) == pytest.approx(whole, abs=1e-6)


def test_a_large_vocabulary_costs_no_precision():
    """A sum over many tokens, against float64; torch's own log_softmax is off by a hundred times as much."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(60, 50_000, generator=generator) * 3
    ids = torch.randint(0, 50_000, (60,), generator=generator)
    exact = float(logits.double().log_softmax(-1)[torch.arange(60), ids].sum())
    assert float(logprobs.logprobs_at((logits,), torch.arange(60), ids).double().sum()) == pytest.approx(
        exact, abs=2e-5
    )


@pytest.mark.parametrize("layout", ["padded", "packed", MASK, "cached"], ids=str)
@pytest.mark.parametrize(("config", "names"), [("GPT2Config", "n_positions"), ("OPTConfig", "max_position_embeddings")])
def test_no_position_is_beyond_the_table_where_a_short_question_has_long_answers(config, names, layout):
    """In `cached` the answers of a short question stand in one batch with those that stand behind a long one."""
    lengths = {"long": (90, (6, 4)), "short": (6, (70, 60)), "tiny": (3, (5, 3))}
    made = [
        EncodedAnswer((name, a), tuple(range(3, 3 + context)), tuple(range(20, 20 + n)), n, 1.0, False)
        for name, (context, answers) in lengths.items()
        for a, n in enumerate(answers)
    ]
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 120, names: 97}
    more = {"ffn_dim": 48, "word_embed_proj_dim": 32} if config == "OPTConfig" else {}
    torch.manual_seed(0)
    model = tf.AutoModelForCausalLM.from_config(getattr(tf, config)(**sizes, **more)).eval()
    found = score_groups(model, group_by_context(made), layout, 4096)
    assert found == pytest.approx(naive(model, made), abs=1e-4)


@pytest.mark.parametrize("layout", ["padded", "packed", MASK, "cached"], ids=str)
def test_a_forward_without_logits_to_keep_is_scored_all_the_same(layout):
    class Plain(torch.nn.Module):
        """An older or a custom model: no `logits_to_keep`."""

        def __init__(self, model):
            super().__init__()
            self.inner, self.config = model, model.config

        def forward(self, input_ids, attention_mask=None, position_ids=None, past_key_values=None, use_cache=None):
            return self.inner(
                input_ids=input_ids, attention_mask=attention_mask, position_ids=position_ids,
                past_key_values=past_key_values, use_cache=use_cache,
            )  # fmt: skip

    model, groups = build("llama"), group_by_context(answers())
    assert "logits_to_keep" not in forward_parameters(Plain(model))
    expected = score_groups(model, groups, layout, 128)
    assert score_groups(Plain(model), groups, layout, 128) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("layout", ["padded", "packed", MASK, "cached"], ids=str)
def test_older_transformers_without_masks_of_logits(monkeypatch, layout):
    model, groups = build("llama"), group_by_context(answers())
    expected = score_groups(model, groups, layout, 256)
    forward = type(model).forward

    @functools.wraps(forward)
    def older(self, *args, logits_to_keep=0, **kwargs):
        if isinstance(logits_to_keep, torch.Tensor) and logits_to_keep.dtype == torch.bool:
            raise IndexError("too many indices for tensor of dimension 3")
        return forward(self, *args, logits_to_keep=logits_to_keep, **kwargs)

    monkeypatch.setattr(type(model), "forward", older)
    assert score_groups(model, groups, layout, 256) == pytest.approx(expected, abs=1e-5)


def test_gradient_checkpointing_and_use_cache_off_change_nothing():
    model, groups = build("llama"), group_by_context(answers())
    expected = score_groups(model, groups, "cached", 256)
    model.gradient_checkpointing_enable()
    model.config.use_cache = False
    model.train()
    assert score_groups(model, groups, "cached", 256) == expected
    assert model.training and model.config.use_cache is False


@pytest.mark.parametrize("layout", ["padded", "packed", MASK, "cached"], ids=str)
def test_bfloat16_autocast_as_the_trainer_uses_it(layout):
    model, groups = build("llama", scale=1.0), group_by_context(answers())
    exact = score_groups(model, groups, "padded", 256)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = score_groups(model, groups, layout, 256)
    assert max(abs(found[key] - exact[key]) for key in exact) < 0.5
    assert choose_layout(model.to(torch.bfloat16), groups, "auto", 256).way == Way("packed", "function")
