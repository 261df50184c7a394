"""Proof instead of belief: families on which a layout is silently wrong, in float32 and in bfloat16."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import peft
import pytest
import torch
import transformers as tf
from accelerate import cpu_offload

from hre_callback import Answer, EvaluationError, HREConfig, HumanRankEvaluator, Question
from hre_callback.scoring.demo_model import tiny_model
from hre_callback.scoring.encoding import encode

from ..trainers import WORDS
from . import families

pytestmark = [
    pytest.mark.filterwarnings(
        "ignore::FutureWarning", "ignore::UserWarning", "ignore::DeprecationWarning", "ignore:.*torch.jit.*"
    )
]


def words(i: int, n: int) -> str:
    return " ".join(WORDS[(i * 7 + j * j + j * i) % len(WORDS)] for j in range(n))


TOKENIZER = tiny_model([words(i, 12) for i in range(40)])[1]
V = len(TOKENIZER)
BASE: dict[str, Any] = {
    "vocab_size": V, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "max_position_embeddings": 1024,
}  # fmt: skip


def asked(sizes: list[tuple[int, list[int]]]) -> list[Question]:
    """(words of the question, [words of each answer]) each."""
    return [
        Question(
            f"q{i}",
            words(i, c),
            tuple(Answer(words(i + 3 * k + 1, n) + "!" * k, 9 - 2 * k) for k, n in enumerate(a)),
        )
        for i, (c, a) in enumerate(sizes)
    ]


MANY = asked([(6, [12, 9, 15, 8]), (5, [10, 14, 7, 11]), (9, [9, 13, 12, 10])])
LONG = asked([(30, [80] * 8), (25, [75] * 8)])
UNEVEN = asked([(3, [60, 58]), (44, [8, 6]), (27, [7, 5]), (36, [6, 4])])
SHORT = asked([(3, [30, 25, 20]), (1, [1, 1]), (1, [1, 2]), (2, [2, 1]), (1, [1, 1]), (1, [2, 1])])


def made(model: Callable[[], Any], scale: float = 2.5) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        built = model()
    with torch.no_grad():
        for parameter in built.parameters():
            if parameter.dim() > 1:
                parameter.mul_(scale)
    return built.eval()


@torch.no_grad()
def naive(model: Any, questions: list[Question]) -> dict[tuple[str, int], float]:
    """One unpadded row at a time, full logits; positions in front of the row's own are virtual tokens."""
    found = {}
    for a in encode(questions, TOKENIZER).answers:
        row = torch.tensor([a.context + a.continuation])
        logits = model(input_ids=row, attention_mask=torch.ones_like(row)).logits[0].double().log_softmax(-1)
        at = len(logits) - row.shape[1] + len(a.context) - 1
        found[a.key] = sum(float(logits[at + i, token]) for i, token in enumerate(a.continuation))
    return found


def off_by(model: Any, evaluator: HumanRankEvaluator) -> float:
    found = evaluator.evaluate(model)
    exact = naive(model, list(evaluator.questions))
    return max(
        abs(value - exact[q.id, i])
        for q, values in zip(evaluator.questions, found.loglikelihoods, strict=True)
        for i, value in enumerate(values)
    )


def llama(**more: Any) -> Any:
    return tf.LlamaForCausalLM(tf.LlamaConfig(**{**BASE, **more}))


def llama4() -> Any:
    return tf.Llama4ForCausalLM(
        tf.Llama4TextConfig(
            **{**BASE, "head_dim": 8},
            intermediate_size_mlp=48,
            interleave_moe_layer_step=2,
            num_local_experts=2,
            no_rope_layers=[1, 0],
            floor_scale=64,
            attn_scale=0.5,
        )  # fmt: skip
    )


def llama4_chunks() -> Any:
    return tf.Llama4ForCausalLM(
        tf.Llama4TextConfig(
            **{**BASE, "head_dim": 8},
            intermediate_size_mlp=48,
            interleave_moe_layer_step=2,
            num_local_experts=2,
            attention_chunk_size=32,
        )  # fmt: skip
    )


def gpt_neo() -> Any:
    layers = [[["global", "local"], 1]]
    return tf.GPTNeoForCausalLM(
        tf.GPTNeoConfig(vocab_size=V, hidden_size=64, num_layers=2, num_heads=4, attention_types=layers)
    )


def phi3_longrope() -> Any:
    rope = {
        "rope_type": "longrope", "rope_theta": 1e4, "short_factor": [1.0] * 4, "long_factor": [4.0] * 4,
        "original_max_position_embeddings": 64, "factor": 8.0,
    }  # fmt: skip
    config = tf.Phi3Config(
        **{**BASE, "max_position_embeddings": 512}, original_max_position_embeddings=64, rope_parameters=rope
    )
    return tf.Phi3ForCausalLM(config)


def lfm2() -> Any:
    kinds = ["conv", "conv", "full_attention"] * 2
    return tf.Lfm2ForCausalLM(tf.Lfm2Config(**{**BASE, "num_hidden_layers": 6}, layer_types=kinds))


def minimax_m3() -> Any:
    name = "minimax_m3_vl_text"
    if name not in tf.CONFIG_MAPPING:
        pytest.skip(f"this transformers has no {name}")
    config = tf.CONFIG_MAPPING[name](
        **BASE, head_dim=8, rotary_dim=8, num_local_experts=4, num_experts_per_tok=2, index_block_size=8,
        index_topk_blocks=4, index_head_dim=16, index_n_heads=2, layer_types=["minimax_m3_sparse"] * 2,
    )  # fmt: skip
    return tf.AutoModelForCausalLM.from_config(config)


def cpmant() -> Any:
    return tf.CpmAntForCausalLM(
        tf.CpmAntConfig(
            vocab_size=V,
            hidden_size=32,
            num_attention_heads=4,
            dim_head=8,
            dim_ff=48,
            num_hidden_layers=2,
            prompt_length=4,
            position_bias_num_buckets=32,
            position_bias_max_distance=128,
        )  # fmt: skip
    )


def indexed_attention() -> Any:
    """The keys that a token may see are chosen among all of the row's: its numbers depend on how long the row is."""
    if "deepseek_v32" not in tf.CONFIG_MAPPING:
        pytest.skip("this transformers has no deepseek_v32")
    config = tf.CONFIG_MAPPING["deepseek_v32"](
        **{**BASE, "num_key_value_heads": 4}, q_lora_rank=16, kv_lora_rank=16, qk_rope_head_dim=8, qk_nope_head_dim=8,
        v_head_dim=8, index_head_dim=8, index_n_heads=2, index_topk=64, n_routed_experts=4, num_experts_per_tok=2,
        moe_intermediate_size=24, n_group=1, topk_group=1, first_k_dense_replace=1, n_shared_experts=1,
    )  # fmt: skip
    return tf.AutoModelForCausalLM.from_config(config)


def prophetnet() -> Any:
    return tf.ProphetNetForCausalLM(
        tf.ProphetNetConfig(
            vocab_size=V,
            hidden_size=32,
            decoder_ffn_dim=48,
            num_decoder_layers=2,
            num_decoder_attention_heads=4,
            is_decoder=True,
            is_encoder_decoder=False,
            add_cross_attention=False,
            pad_token_id=0,
        )  # fmt: skip
    )


def trained(config: Any) -> Callable[[], Any]:
    """A Llama with an adapter that has been trained, as far as random numbers go."""

    def build() -> Any:
        model = peft.get_peft_model(llama(), config)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter.add_(torch.randn_like(parameter) * 0.3)
        return model

    return build


CAUSAL = "CAUSAL_LM"
ADAPTERS: dict[str, Any] = {
    "prefix_tuning": peft.PrefixTuningConfig(num_virtual_tokens=20, task_type=CAUSAL),
    "prompt_tuning": peft.PromptTuningConfig(num_virtual_tokens=5, task_type=CAUSAL),
    "p_tuning": peft.PromptEncoderConfig(num_virtual_tokens=5, encoder_hidden_size=32, task_type=CAUSAL),
    "cpt": peft.CPTConfig(cpt_token_ids=[3, 4, 5], cpt_mask=[1, 1, 1], cpt_tokens_type_mask=[1, 1, 1], task_type=CAUSAL),
}  # fmt: skip
# name -> (model, questions that showed the fault)
FAMILIES: dict[str, tuple[Callable[[], Any], list[Question]]] = {
    "gpt_neo": (gpt_neo, LONG),
    "llama4_temperature": (llama4, asked([(3, [7] * 8), (4, [6] * 8)])),
    "llama4_chunks": (llama4_chunks, MANY),
    "phi3_longrope": (phi3_longrope, asked([(10, [60, 40]), (6, [10, 8, 12]), (5, [12, 6])])),
    "lfm2": (lfm2, MANY),
    "minimax_m3": (minimax_m3, UNEVEN),
    "indexed_attention": (indexed_attention, asked([(30, [40] * 4), (3, [30, 28]), (1, [1, 1, 2])])),
    "prophetnet": (prophetnet, MANY),
    **{name: (trained(config), MANY) for name, config in ADAPTERS.items()},
}


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_families_that_went_wrong_equal_the_naive_loop(name):
    build, questions = FAMILIES[name]
    model = made(build)
    evaluator = HumanRankEvaluator(questions, TOKENIZER)
    assert off_by(model, evaluator) < 1e-4
    assert str(evaluator.layout.way) in {families.PROOF[name][1], families.NEWER.get(name)}, evaluator.layout.refused
    assert off_by(model, HumanRankEvaluator(questions, TOKENIZER, HREConfig(layout="single"))) < 1e-4


# what these do wrong in bfloat16 is less than bfloat16 does by itself
BELOW_ROUNDING = {"llama4_temperature", "phi3_longrope", "indexed_attention", "prophetnet"}


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_bfloat16_lets_no_layout_through_that_float32_refuses(name):
    build, questions = FAMILIES[name]
    model = made(build)
    order = ["packed", "cached", "padded", "single"]
    exact = HumanRankEvaluator(questions, TOKENIZER)
    exact.prepare(model)
    coarse = HumanRankEvaluator(questions, TOKENIZER)
    found = coarse.evaluate(model.to(torch.bfloat16))
    assert name in BELOW_ROUNDING or order.index(coarse.layout.layout) >= order.index(exact.layout.layout)
    alone = HumanRankEvaluator(questions, TOKENIZER, HREConfig(layout="single")).evaluate(model)
    assert found.score == pytest.approx(alone.score, abs=2e-3)


@pytest.mark.parametrize("scale", [1.0, 4.0])
@pytest.mark.parametrize("name", ["lfm2", "prefix_tuning", "llama4_chunks"])
def test_however_small_the_weights_bfloat16_hides_no_leak(name, scale):
    build, questions = FAMILIES[name]
    evaluator = HumanRankEvaluator(questions, TOKENIZER)
    evaluator.prepare(made(build, scale).to(torch.bfloat16))
    expected = "cached" if name == "llama4_chunks" else "padded"
    assert evaluator.layout.layout in {expected, families.NEWER.get(name)}


def test_a_model_whose_numbers_change_with_padding_gets_one_row_at_a_time():
    build, questions = FAMILIES["phi3_longrope"]
    evaluator = HumanRankEvaluator(questions, TOKENIZER)
    evaluator.prepare(made(build))
    assert evaluator.layout.layout == "single"
    assert any(reason.startswith("padded: answer") for reason in evaluator.layout.refused)
    with pytest.raises(ValueError, match="layout 'padded' does not fit this model"):
        HumanRankEvaluator(questions, TOKENIZER, HREConfig(layout="padded")).prepare(made(build))


BERT = {"vocab_size": V, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48,
        "max_position_embeddings": 300}  # fmt: skip


def paligemma() -> Any:
    vision = {"model_type": "siglip_vision_model", "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1,
              "num_attention_heads": 2, "image_size": 8, "patch_size": 4, "projection_dim": 32}  # fmt: skip
    text = {"model_type": "gemma", **BASE, "head_dim": 8}
    config = tf.PaliGemmaConfig(vision_config=vision, text_config=text, image_token_index=V - 1, projection_dim=32)
    return tf.PaliGemmaForConditionalGeneration(config)


SEES_THE_FUTURE: dict[str, Callable[[], Any]] = {
    "bert": lambda: tf.BertForMaskedLM(tf.BertConfig(**BERT)),
    "bert_lm": lambda: tf.BertLMHeadModel(tf.BertConfig(**BERT)),
    "roberta": lambda: tf.RobertaForCausalLM(tf.RobertaConfig(**BERT)),
    "electra": lambda: tf.ElectraForMaskedLM(tf.ElectraConfig(**BERT, embedding_size=32)),
    "xlnet": lambda: tf.XLNetLMHeadModel(tf.XLNetConfig(vocab_size=V, d_model=32, n_layer=2, n_head=4, d_inner=48)),
    "paligemma": paligemma,
    "cpmant": cpmant,
}  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", sorted(SEES_THE_FUTURE))
def test_models_that_see_the_future_are_refused_at_the_start(name, dtype):
    with pytest.raises(ValueError, match="cannot be scored: it sees the future"):
        HumanRankEvaluator(MANY, TOKENIZER).prepare(made(SEES_THE_FUTURE[name]).to(dtype))


class LastBits(tf.LlamaForCausalLM):
    """Rounds by what is called together, as kernels of experts do; or, which is a leak, by what follows in the row."""

    together = True

    def forward(self, input_ids=None, **kwargs):
        out = super().forward(input_ids=input_ids, **kwargs)
        told = input_ids.sum() if self.together else input_ids.sum(1)[:, None, None]
        out.logits = out.logits * (1 + 4e-8 * (told % 101))
        return out


@pytest.mark.parametrize("together", [True, False])
def test_what_a_row_beside_it_does_too_is_rounding_and_no_view_of_the_future(together, monkeypatch):
    monkeypatch.setattr(LastBits, "together", together)
    evaluator = HumanRankEvaluator(MANY, TOKENIZER)
    model = made(lambda: LastBits(tf.LlamaConfig(**BASE)))
    if together:
        assert off_by(model, evaluator) < 1e-3
    else:
        with pytest.raises(ValueError, match="cannot be scored: it sees the future"):
            evaluator.prepare(model)


@pytest.mark.parametrize("name", ["gpt_oss", "minimax_m2", "mixtral"])
@pytest.mark.parametrize("scale", [1.0, 2.5, 4.0])
def test_no_mixture_of_experts_is_refused_for_a_last_bit(name, scale):
    experts = {**BASE, "head_dim": 8, "num_local_experts": 4, "num_experts_per_tok": 2}
    questions = asked([(6, [12, 9, 15, 8]), (5, [10, 14, 7, 11]), (14, [1, 5]), (1, [1, 1, 2])])
    for vocabulary in (V, 20_000):
        config = tf.CONFIG_MAPPING[name](**{**experts, "vocab_size": vocabulary})
        HumanRankEvaluator(questions, TOKENIZER).prepare(
            made(lambda config=config: tf.AutoModelForCausalLM.from_config(config), scale)
        )


class Draws(tf.LlamaForCausalLM):
    """Draws at random in evaluation mode too."""

    def forward(self, input_ids=None, **kwargs):
        out = super().forward(input_ids=input_ids, **kwargs)
        out.logits = out.logits + 0.05 * torch.randn_like(out.logits)
        return out


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_model_that_draws_at_random_is_refused(dtype):
    model = made(lambda: Draws(tf.LlamaConfig(**BASE))).to(dtype)
    with pytest.raises(ValueError, match="gives the same row other numbers each time"):
        HumanRankEvaluator(MANY, TOKENIZER).prepare(model)


def blip() -> Any:
    vision = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2,
              "image_size": 8, "patch_size": 4}  # fmt: skip
    text = {
        "vocab_size": V,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    return tf.BlipForConditionalGeneration(tf.BlipConfig(vision_config=vision, text_config=text))


def multitask() -> Any:
    config = peft.MultitaskPromptTuningConfig(num_virtual_tokens=4, num_tasks=2, task_type=CAUSAL)
    return peft.get_peft_model(llama(), config)


@pytest.mark.parametrize(("model", "wants"), [(blip, "pixel_values"), (multitask, "task_ids")])
def test_models_that_want_more_than_text_are_refused_at_the_start(model, wants):
    with pytest.raises(ValueError, match=f"cannot be scored: its forward fails on text alone .*{wants}"):
        HumanRankEvaluator(MANY, TOKENIZER).prepare(made(model))


def test_a_forward_that_somebody_put_on_the_object_is_called_with_what_it_takes():
    expected = HumanRankEvaluator(MANY, TOKENIZER).evaluate(made(llama)).loglikelihoods
    model = made(llama)
    own = model.forward

    def forward(input_ids, attention_mask=None):
        return own(input_ids=input_ids, attention_mask=attention_mask)

    model.forward = forward
    found = HumanRankEvaluator(MANY, TOKENIZER).evaluate(model).loglikelihoods
    assert [pytest.approx(row, abs=1e-4) for row in expected] == list(found)


@torch.no_grad()
def naive_with_encoder(model: Any, questions: list[Question], start: int) -> dict[tuple[str, int], float]:
    found = {}
    for a in encode(questions, TOKENIZER).answers:
        decoder = torch.tensor([(start, *a.continuation[:-1])])
        logits = (
            model(input_ids=torch.tensor([a.context]), decoder_input_ids=decoder).logits[0].double().log_softmax(-1)
        )
        found[a.key] = sum(float(logits[i, token]) for i, token in enumerate(a.continuation))
    return found


T5 = {
    "vocab_size": V,
    "d_model": 32,
    "d_kv": 8,
    "d_ff": 48,
    "num_layers": 2,
    "num_heads": 4,
    "pad_token_id": 0,
}


def t5gemma() -> Any:
    part = {**BASE, "head_dim": 8, "sliding_window": 16, "query_pre_attn_scalar": 8}
    return tf.T5GemmaForConditionalGeneration(
        tf.T5GemmaConfig(encoder=part, decoder={**part, "bos_token_id": 5}, vocab_size=V)
    )


@pytest.mark.parametrize(
    ("model", "start"),
    [
        (lambda: tf.T5ForConditionalGeneration(tf.T5Config(**T5, decoder_start_token_id=3)), 3),
        (lambda: tf.T5ForConditionalGeneration(tf.T5Config(**T5)), 0),
        (t5gemma, 5),
    ],
)  # fmt: skip
def test_an_answer_begins_with_the_token_by_which_the_model_itself_begins(model, start):
    built = made(model, scale=1.0)
    exact = naive_with_encoder(built, MANY, start)
    found = HumanRankEvaluator(MANY, TOKENIZER).evaluate(built)
    for question, row in zip(MANY, found.loglikelihoods, strict=True):
        assert list(row) == pytest.approx([exact[question.id, i] for i in range(len(row))], abs=1e-4)


def test_a_decoder_whose_beginning_nobody_knows_is_refused():
    config = tf.MBartConfig(
        vocab_size=V, d_model=32, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2,
        encoder_ffn_dim=48, decoder_ffn_dim=48, pad_token_id=None, decoder_start_token_id=None,
    )  # fmt: skip
    with pytest.raises(ValueError, match="nothing says by which token its decoder begins"):
        HumanRankEvaluator(MANY, TOKENIZER).prepare(made(lambda: tf.MBartForConditionalGeneration(config)))


def test_the_same_encoders_made_decoders_are_scored():
    model = made(lambda: tf.RobertaForCausalLM(tf.RobertaConfig(**BERT, is_decoder=True, pad_token_id=0)))
    assert off_by(model, HumanRankEvaluator(MANY, TOKENIZER)) < 1e-4


GPT2 = {
    "vocab_size": V,
    "n_embd": 32,
    "n_layer": 2,
    "n_head": 2,
    "n_positions": 256,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (tf.GPT2ForTokenClassification, "gives 2 numbers a token, which is no vocabulary"),
        (tf.GPT2Model, "returned no logits but a .* with last_hidden_state"),
    ],
)
def test_models_without_a_language_model_head_are_refused_at_the_start(model, message):
    with pytest.raises(ValueError, match=message):
        HumanRankEvaluator(MANY, TOKENIZER).prepare(made(lambda: model(tf.GPT2Config(**GPT2, num_labels=2))))


def test_a_classifier_of_many_labels_is_refused_and_a_reward_model_is_not():
    config = tf.GPT2Config(**GPT2, num_labels=3, pad_token_id=0)
    with pytest.raises(ValueError, match="3 labels; a reward model gives one"):
        HumanRankEvaluator(MANY, TOKENIZER).prepare(made(lambda: tf.GPT2ForSequenceClassification(config)))
    config.num_labels = 1
    evaluator = HumanRankEvaluator(MANY, TOKENIZER)
    evaluator.evaluate(made(lambda: tf.GPT2ForSequenceClassification(config)))
    assert evaluator.scores_are_rewards


@pytest.mark.parametrize(("dtype", "close"), [(torch.float32, 1e-4), (torch.bfloat16, 0.2)])
def test_a_layout_is_proven_again_when_weights_have_moved(dtype, close):
    """aLoRA: a fresh adapter adds nothing, whatever the layout; then what it adds depends on the row."""
    tokens = TOKENIZER("\nAnswer:", add_special_tokens=False)["input_ids"]
    config = peft.LoraConfig(
        target_modules=["q_proj", "k_proj", "v_proj"], task_type=CAUSAL, alora_invocation_tokens=tokens
    )
    model = made(lambda: peft.get_peft_model(llama(), config)).to(dtype)
    evaluator = HumanRankEvaluator(SHORT, TOKENIZER)
    assert off_by(model, evaluator) < close
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.3)
    assert off_by(model, evaluator) < close
    assert "packed" in evaluator.layout.refused[0]


class FailsLater(tf.LlamaForCausalLM):
    """Cannot do what `broken` names once it is told so; a module's plain attributes would be put back."""

    broken: set[str] = set()

    def forward(
        self, input_ids=None, attention_mask=None, position_ids=None, past_key_values=None, use_cache=None,
        logits_to_keep=0, **kwargs,
    ):  # fmt: skip
        if "mask" in self.broken and attention_mask is not None and attention_mask.dim() == 4:
            raise RuntimeError("planted: no masks any more")
        if "function" in self.broken and attention_mask is None:
            raise RuntimeError("planted: no rows without a mask any more")
        return super().forward(
            input_ids=input_ids, attention_mask=attention_mask, position_ids=position_ids,
            past_key_values=past_key_values, use_cache=use_cache, logits_to_keep=logits_to_keep, **kwargs,
        )  # fmt: skip


def test_a_layout_that_fails_later_is_replaced_by_the_next():
    model = made(lambda: FailsLater(tf.LlamaConfig(**BASE)))
    evaluator = HumanRankEvaluator(MANY, TOKENIZER)
    evaluator.prepare(model)
    assert str(evaluator.layout.way) == "packed (function)"
    try:
        for broken, next_way in (({"function"}, "packed (mask)"), ({"function", "mask"}, "cached")):
            FailsLater.broken = broken
            assert off_by(model, evaluator) < 1e-4
            assert str(evaluator.layout.way) == next_way and "planted" in evaluator.layout.refused[-1]
    finally:
        FailsLater.broken = set()
    assert [reason.split(":")[0] for reason in evaluator.layout.refused] == [
        "packed (function)",
        "packed (mask)",
    ]


def test_packed_asked_for_by_name_goes_on_with_its_mask_but_with_nothing_slower():
    model = made(lambda: FailsLater(tf.LlamaConfig(**BASE)))
    evaluator = HumanRankEvaluator(MANY, TOKENIZER, HREConfig(layout="packed"))
    try:
        FailsLater.broken = {"function"}
        assert off_by(model, evaluator) < 1e-4
        assert evaluator.proof["layout"] == "packed" and evaluator.proof["attention"] == "mask"
        FailsLater.broken = {"function", "mask"}
        with pytest.raises(EvaluationError, match="planted"):
            evaluator.evaluate(model)
    finally:
        FailsLater.broken = set()


class Wrapped(torch.nn.Module):
    """What Trainer accepts: an own module that returns a dict or a tuple, with or without a loss in front."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.lm, self.form = made(llama), form

    def forward(self, input_ids=None, attention_mask=None, labels=None):
        logits = self.lm(input_ids=input_ids, attention_mask=attention_mask).logits
        loss, value = logits.mean(), logits[..., 0]
        return {
            "dict": {"logits": logits},
            "tuple": (logits, value),
            "loss": (loss, value, logits),
            "bare": logits,
        }[self.form]


@pytest.mark.parametrize("form", ["dict", "tuple", "loss", "bare"])
def test_logits_are_found_in_whatever_a_call_returns(form):
    expected = HumanRankEvaluator(MANY, TOKENIZER).evaluate(made(llama)).loglikelihoods
    found = HumanRankEvaluator(MANY, TOKENIZER).evaluate(Wrapped(form)).loglikelihoods
    assert [pytest.approx(row, abs=1e-4) for row in expected] == list(found)


class KeepsWrongly(tf.LlamaForCausalLM):
    """`logits_to_keep` is in its signature, and means something else: what Unsloth's forward does, and worse."""

    way = "int"

    def forward(self, input_ids=None, attention_mask=None, position_ids=None, past_key_values=None, use_cache=None,
                logits_to_keep=0, **kwargs):  # fmt: skip
        out = self.model(
            input_ids=input_ids, attention_mask=attention_mask, position_ids=position_ids,
            past_key_values=past_key_values, use_cache=use_cache,
        )  # fmt: skip
        hidden = out.last_hidden_state
        if isinstance(logits_to_keep, int) and logits_to_keep:
            hidden = hidden[:, -logits_to_keep:] if self.way == "int" else hidden[:, :logits_to_keep]
        return tf.modeling_outputs.CausalLMOutputWithPast(
            logits=self.lm_head(hidden), past_key_values=out.past_key_values
        )


@pytest.mark.parametrize(("way", "keeps"), [("int", "suffix"), ("first", "all")])
def test_what_logits_to_keep_means_is_seen_and_not_believed(way, keeps, monkeypatch):
    monkeypatch.setattr(KeepsWrongly, "way", way)
    model = made(lambda: KeepsWrongly(tf.LlamaConfig(**BASE)))
    evaluator = HumanRankEvaluator(MANY, TOKENIZER)
    assert off_by(model, evaluator) < 1e-4
    assert evaluator.proof["logits"] == keeps


def test_an_offloaded_model_is_scored():
    expected = HumanRankEvaluator(MANY, TOKENIZER).evaluate(made(llama)).loglikelihoods
    found = HumanRankEvaluator(MANY, TOKENIZER).evaluate(cpu_offload(made(llama), execution_device="cpu"))
    assert [pytest.approx(row, abs=1e-4) for row in expected] == list(found.loglikelihoods)


@pytest.mark.parametrize(
    ("model", "room"),
    [
        (lambda: tf.GPT2LMHeadModel(tf.GPT2Config(**{**GPT2, "n_positions": 64})), 64),
        (lambda: tf.RobertaForCausalLM(
            tf.RobertaConfig(**{**BERT, "max_position_embeddings": 64}, is_decoder=True, pad_token_id=1)), 62),
        (lambda: tf.OPTForCausalLM(
            tf.OPTConfig(vocab_size=V, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, ffn_dim=48,
                         word_embed_proj_dim=32, max_position_embeddings=64)), 64),
        (lambda: tf.MptForCausalLM(tf.MptConfig(vocab_size=V, d_model=32, n_layers=2, n_heads=2, max_seq_len=64)), 64),
        (lambda: peft.get_peft_model(
            tf.GPT2LMHeadModel(tf.GPT2Config(**{**GPT2, "n_positions": 64})), ADAPTERS["prompt_tuning"]), 59),
        (lambda: peft.get_peft_model(
            tf.GPT2LMHeadModel(tf.GPT2Config(**{**GPT2, "n_positions": 64})),
            peft.PrefixTuningConfig(num_virtual_tokens=8, task_type=CAUSAL)), 56),
    ],
)  # fmt: skip
def test_no_row_is_longer_than_the_positions_whatever_max_length_says(model, room):
    questions = [
        *asked([(3, [5, 6])]),
        Question("long", "why does it fall?", (Answer("wind " * 90, 3), Answer("no", 1))),
    ]
    for config in (HREConfig(), HREConfig(max_length=128)):
        evaluator = HumanRankEvaluator(questions, TOKENIZER, config)
        found = evaluator.evaluate(made(model))
        assert evaluator.max_tokens == room
        assert found.truncated == 1 and found.n == 2


def test_ids_without_a_row_are_left_out_counted_and_named():
    questions = asked([(4, [5, 6]), (3, [6, 4]), (2, [3, 2])])
    largest = {
        q.id: max(i for a in encode([q], TOKENIZER).answers for i in (*a.context, *a.continuation)) for q in questions
    }
    rows = max(largest.values())
    odd = {name for name, token in largest.items() if token >= rows}
    assert 0 < len(odd) < len(questions)
    model = made(lambda: llama(vocab_size=rows))
    evaluator = HumanRankEvaluator(questions, TOKENIZER)
    found = evaluator.evaluate(model)
    assert found.left_out == len(odd) and found.n == len(questions) - len(odd)
    assert evaluator.left_out.keys() == odd == evaluator.proof["left_out"].keys()
    assert all("no row among the model's" in reason for reason in evaluator.left_out.values())
    with pytest.raises(ValueError, match="no question can be scored: .*no row among the model's"):
        HumanRankEvaluator([q for q in questions if q.id in odd], TOKENIZER).prepare(model)


class Card(tf.LlamaForCausalLM):
    """A card that holds rows of 500 tokens beside training."""

    def forward(self, input_ids=None, attention_mask=None, position_ids=None, past_key_values=None, use_cache=None,
                logits_to_keep=0, **kwargs):  # fmt: skip
        if input_ids.shape[1] > 500:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().forward(
            input_ids=input_ids, attention_mask=attention_mask, position_ids=position_ids,
            past_key_values=past_key_values, use_cache=use_cache, logits_to_keep=logits_to_keep,
        )  # fmt: skip


def test_one_question_that_fits_no_memory_is_left_out_and_the_others_are_scored():
    answers = (Answer("the wind", 3), Answer("no rope", 1), Answer("water", 0))
    questions = [Question(f"q{i}", f"why does it fall {i}?", answers) for i in range(9)]
    questions.append(Question("log", "see: " + "line wind " * 300, answers))
    evaluator = HumanRankEvaluator(questions, TOKENIZER)
    found = evaluator.evaluate(made(lambda: Card(tf.LlamaConfig(**{**BASE, "max_position_embeddings": 4096}))))
    assert found.left_out == 1 and found.n == 9 and math.isfinite(found.score)
    assert "does not fit memory; set max_length" in evaluator.left_out["log"]


def test_a_model_that_fits_no_question_at_all_says_so():
    questions = asked([(600, [20, 15]), (580, [19, 16])])
    with pytest.raises(EvaluationError, match="out of memory with single answers of"):
        HumanRankEvaluator(questions, TOKENIZER).evaluate(
            made(lambda: Card(tf.LlamaConfig(**{**BASE, "max_position_embeddings": 4096})))
        )


def test_an_evaluator_given_another_model_looks_at_it_anew():
    evaluator = HumanRankEvaluator(MANY, TOKENIZER)
    assert off_by(made(llama), evaluator) < 1e-4
    assert off_by(made(lfm2), evaluator) < 1e-4
    assert evaluator.layout.layout == "padded"
