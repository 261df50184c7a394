"""The attention function: exact on every family that asks it, refused wherever it is not asked, and gone afterwards."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import transformers as tf
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from hre_callback.scoring import attention, kernels, layouts, spans
from hre_callback.scoring.attention import NAME, SharedQuestion, Unfit, shared_question_attention
from hre_callback.scoring.batches import Span, Spans, plan
from hre_callback.scoring.kernels import Asked, Work
from hre_callback.scoring.loglikelihood import score_together
from hre_callback.scoring.plan import Way, group_by_context

from ..scored import choose_layout, look_at
from ..zoo import build
from . import families
from .test_loglikelihood import EAGER_ONLY, answers, naive

pytestmark = [pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning", "ignore::DeprecationWarning")]
FUNCTION = Way("packed", "function")
FAMILIES = sorted(name for name, (_, taken) in families.ZOO.items() if taken == families.FUNCTION)


def model_of(name):
    return build(name, "eager" if name in EAGER_ONLY else "sdpa")


def worst(found, exact):
    """Nats, over each hundred of the largest sum."""
    assert found.keys() == exact.keys()
    return max(abs(found[key] - exact[key]) for key in exact) / max(1.0, max(map(abs, exact.values())) / 100)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_is_exact_and_wrong_spans_are_not(name):
    model, encoded = model_of(name), answers()
    groups, exact = group_by_context(encoded), naive(model, encoded)
    reading = look_at(model, groups)
    batches = plan(groups, FUNCTION, 256)
    assert worst(score_together(model, batches, reading), exact) < 1e-4
    for wrong in (sees_every_answer, without_the_question):
        found = score_together(model, [replace(b, spans=wrong(b.spans)) for b in batches], reading)
        assert worst(found, exact) > 5e-3, wrong.__name__


def sees_every_answer(right):
    return Spans(right.shape, tuple(s if s.first == s.last else s._replace(last=s.start) for s in right.spans))


def without_the_question(right):
    return Spans(right.shape, tuple(s._replace(first=s.start, last=s.start) for s in right.spans))


@pytest.mark.parametrize("wrong", [sees_every_answer, without_the_question])
@pytest.mark.parametrize("name", ["llama", "gemma3_mixed", "gpt_oss"])
def test_the_proof_catches_wrong_spans_in_any_precision(monkeypatch, wrong, name):
    serving = SharedQuestion.serving
    monkeypatch.setattr(SharedQuestion, "serving", lambda self, right: serving(self, wrong(right)))
    groups = group_by_context(answers())
    for dtype in (torch.float32, torch.bfloat16):
        choice = choose_layout(model_of(name).to(dtype), groups, "auto", 256)
        assert choice.way != FUNCTION and choice.refused[0].startswith("packed (function): ")


def test_a_window_that_the_function_does_not_know_is_caught(monkeypatch):
    original = kernels.attend
    monkeypatch.setattr(
        kernels, "attend", lambda work, q, k, v, asked: original(work, q, k, v, asked._replace(window=0))
    )
    choice = choose_layout(model_of("mistral_window"), group_by_context(answers()), "auto", 256)
    assert choice.layout == "cached" and "differs by" in choice.refused[0]


class Attention(torch.nn.Module):
    is_causal = True


def tensors(heads=4, shared=2, length=10, size=8):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(1, n, length, size, generator=generator) for n in (heads, shared, shared)]


SPANS = Spans((1, 10), (Span(0, 0, 0, 0, 4), Span(0, 0, 4, 4, 9), Span(0, 0, 4, 9, 10)))


def test_without_an_evaluation_the_function_raises():
    with pytest.raises(Unfit, match="for HumanRankEval's own forwards"):
        shared_question_attention(Attention(), *tensors())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m, q, k, v: shared_question_attention(m, q[:, :, 1:], k, v), r"queries and keys of \(1, 9\) and \(1, 10\)"),
        (lambda m, q, k, v: shared_question_attention(m, q, *(torch.cat([t, t], 2) for t in (k, v))), r"\(1, 20\) tokens"),
        (lambda m, q, k, v: shared_question_attention(m, q, k, v, torch.zeros(1, 1, 10, 10)), "its attention attention_mask"),
        (lambda m, q, k, v: shared_question_attention(m, q, k, v, position_bias=torch.zeros(1)), "its attention position_bias"),
        (lambda m, q, k, v: shared_question_attention(m, q, k, v, is_causal=False), "attends to later tokens"),
    ],
)  # fmt: skip
def test_what_does_not_fit_the_row_is_never_guessed(change, message):
    layer = Attention()
    with pytest.raises(Unfit, match=f"Attention .*{message}"), SharedQuestion(layer).serving(SPANS):
        change(layer, *tensors())


def test_a_model_whose_layers_do_not_all_ask_is_refused():
    model = model_of("llama")
    ids = torch.ones(1, 10, dtype=torch.long)
    own = model.model.layers[1].self_attn

    def instead(hidden_states, position_embeddings, **kwargs):
        return hidden_states, None

    own.forward = instead
    with pytest.raises(Unfit, match="1 of its 3 layers"), SharedQuestion(model).serving(SPANS):
        model(input_ids=ids, use_cache=False)
    with pytest.raises(Unfit, match="not exchangeable"), SharedQuestion(model).serving(SPANS):
        pass


@pytest.mark.parametrize("name", ["llama", "gemma3_vision", "llava", "gpt_oss"])
@pytest.mark.parametrize("fails", [False, True])
def test_no_config_keeps_the_function_whatever_happens(name, fails):
    model = model_of(name)
    configs = attention._configs(list(model.modules()))
    before = [config._attn_implementation for config in configs]
    assert NAME not in before and len(configs) >= (2 if name in ("gemma3_vision", "llava") else 1)
    try:
        with SharedQuestion(model).serving(SPANS):
            assert {config._attn_implementation for config in configs} == {NAME}
            if fails:
                raise KeyboardInterrupt
    except (Unfit, KeyboardInterrupt):
        pass
    assert [config._attn_implementation for config in configs] == before
    with pytest.raises(Unfit, match="own forwards"):
        shared_question_attention(Attention(), *tensors())


def test_a_run_under_another_kernel_keeps_it_for_all_but_packed_rows(monkeypatch):
    """Stands in for flash attention: a kernel of its own that takes no mask of four dimensions."""
    calls = []

    def kernel(*args, **kwargs):
        calls.append(1)
        return ALL_ATTENTION_FUNCTIONS["sdpa"](*args, **kwargs)

    tf.AttentionInterface.register("theirs", kernel)
    try:
        model, groups = model_of("llama"), group_by_context(answers())
        model.set_attn_implementation("theirs")
        choice = choose_layout(model, groups, "auto", 256)
        assert choice.way == FUNCTION and model.config._attn_implementation == "theirs" and calls
        reading = look_at(model, groups)
        calls.clear()
        score_together(model, plan(groups, FUNCTION, 256), reading)
        assert not calls
        score_together(model, plan(groups, Way("cached"), 256), reading)
        assert calls
    finally:
        del ALL_ATTENTION_FUNCTIONS._global_mapping["theirs"]


def test_the_function_gets_no_mask_and_no_name_for_one():
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS

    assert NAME not in ALL_MASK_ATTENTION_FUNCTIONS


ASKED = {
    "plain": Asked(0.3),
    "window": Asked(0.3, window=3),
    "capped": Asked(0.3, softcap=1.5),
    "sinks": Asked(0.3, sinks=torch.linspace(-1, 2, 4)),
    "all": Asked(0.3, window=3, softcap=1.5, sinks=torch.linspace(-1, 2, 4)),
}


@pytest.mark.parametrize("name", sorted(ASKED))
def test_the_kernel_equals_the_formula(name):
    asked, (query, key, value) = ASKED[name], tensors()
    found = kernels.attend(Work(SPANS), query, key, value, asked)
    assert torch.allclose(found, formula(query, key, value, asked), atol=1e-6)


def formula(query, key, value, asked):
    """Token by token, in float64."""
    out = torch.zeros(1, 10, 4, 8)
    for _, first, last, start, end in SPANS.spans:
        for at in range(start, end):
            seen = [*range(first, last), *range(start, at + 1)]
            seen = seen[-asked.window :] if asked.window else seen
            for head in range(4):
                products = key[0, head // 2, seen].double() @ query[0, head, at].double() * asked.scale
                if asked.softcap:
                    products = asked.softcap * torch.tanh(products / asked.softcap)
                if asked.sinks is not None:
                    products = torch.cat([products, asked.sinks[head].double()[None]])
                weights = products.softmax(0)[: len(seen)]
                out[0, at, head] = (weights @ value[0, head // 2, seen].double()).float()
    return out


def plain_varlen(q, k, v, query_borders, key_borders, most_q, most_k, scale, window):
    """What a kernel for unequal lengths computes, one after another; and the logarithms of its sums."""
    outs, sums = [], []
    for i in range(len(query_borders) - 1):
        a, b = query_borders[i : i + 2].tolist()
        c, d = key_borders[i : i + 2].tolist()
        assert b - a <= most_q and d - c <= most_k
        groups = q.shape[1] // k.shape[1]
        keys, values = (t[c:d].repeat_interleave(groups, 1).float() for t in (k, v))
        products = torch.einsum("qhd,khd->hqk", q[a:b].float(), keys) * scale
        seen = torch.ones(b - a, d - c).tril(d - c - (b - a))
        seen = seen.triu(d - c - (b - a) - window[0]) if window[0] >= 0 else seen
        products = products.masked_fill(seen == 0, float("-inf"))
        outs.append(torch.einsum("hqk,khd->qhd", products.softmax(-1), values).to(q.dtype))
        sums.append(products.logsumexp(-1))
    return torch.cat(outs), torch.cat(sums, dim=1)


@pytest.fixture
def stand_in(monkeypatch):
    """torch's kernel for unequal lengths, which needs an accelerator, as its documentation describes it."""
    varlen = pytest.importorskip("torch.nn.attention.varlen")
    calls = []

    def varlen_attn(q, k, v, *borders, return_aux, scale, window_size, enable_gqa, num_splits):
        assert return_aux.lse and num_splits == 1 and enable_gqa == (q.shape[1] != k.shape[1])
        calls.append(len(q))
        return plain_varlen(q, k, v, *borders, scale, window_size)

    monkeypatch.setattr(varlen, "varlen_attn", varlen_attn)
    kernels.together_is_right.cache_clear()
    yield calls
    kernels.together_is_right.cache_clear()


@pytest.mark.parametrize("name", ["plain", "window", "sinks"])
@pytest.mark.parametrize("copies", [1, 4])
def test_one_call_for_all_spans_equals_one_by_one(stand_in, monkeypatch, name, copies):
    monkeypatch.setattr(spans, "_COPIES", copies)
    rows = Spans((2, 12), (*SPANS.spans, Span(1, 0, 0, 0, 3), Span(1, 0, 3, 3, 6), Span(1, 6, 6, 6, 12)))
    query, key, value = (torch.cat([t, t.flip(2)]) for t in tensors(length=12))
    one = kernels.one_by_one(Work(rows), query, key, value, ASKED[name])
    found = kernels.together(Work(rows), query, key, value, ASKED[name])
    assert torch.allclose(found, one, atol=1e-6) and not found[0, 10:].any()
    assert len(stand_in) == (1 if copies == 4 else 2) and sum(stand_in) == 22


SIZES = (4, 2, 8, 8)


@pytest.mark.parametrize("windowed", [False, True])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_kernel_is_tried_before_it_is_believed(stand_in, monkeypatch, windowed, dtype):
    cpu = torch.device("cpu")
    assert kernels.together_is_right(cpu, dtype, SIZES, windowed, False, False)
    assert kernels.together_is_right(cpu, dtype, SIZES, windowed, False, True)
    # aligned at the beginning of the keys, as older kernels have it
    kernels.together_is_right.cache_clear()
    from torch.nn.attention import varlen

    def misaligned(q, k, v, borders, key_borders, *rest, return_aux, scale, window_size, **_):
        found, sums = plain_varlen(q, k, v, borders, key_borders, *rest, scale, window_size)
        return found.roll(1, 0), sums

    monkeypatch.setattr(varlen, "varlen_attn", misaligned)
    assert not kernels.together_is_right(cpu, dtype, SIZES, windowed, False, False)


def test_where_there_is_no_kernel_spans_are_computed_one_by_one():
    kernels.together_is_right.cache_clear()
    # torch's kernel has no CPU form, and no flash_attn is installed here
    cpu = torch.device("cpu")
    assert not kernels.together_is_right(cpu, torch.bfloat16, SIZES, False, False, False)
    assert not kernels.together_is_right(cpu, torch.bfloat16, SIZES, False, True, False)


def test_a_sharded_model_is_tried_only_where_it_declares_that_it_can(monkeypatch):
    """An error inside its forward would end the run; one that is not sharded is simply tried."""
    groups = group_by_context(answers())
    monkeypatch.setattr(layouts, "meets_in_forward", lambda model: True)
    assert choose_layout(model_of("llama"), groups, "auto", 256).way == FUNCTION
    for lacks in ("_supports_attention_backend", "_supports_flash_attn"):
        model = model_of("llama")
        for part in model.modules():
            if hasattr(part, lacks):
                monkeypatch.setattr(part, lacks, False)
        assert "declares no exchangeable attention" in choose_layout(model, groups, "auto", 256).refused[0]
