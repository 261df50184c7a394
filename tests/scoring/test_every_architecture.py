"""Every causal language model that transformers knows, tiny and random: scored as a naive loop does, or refused by name."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers as tf

from hre_callback import HumanRankEvaluator

from .test_proof import TOKENIZER, V, asked, made, naive

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),
]
QUESTIONS = asked([(6, [12, 9, 15, 8]), (5, [10, 14, 7]), (30, [40] * 3), (3, [30, 28]), (1, [1, 1, 2])])
# What configs call their sizes; one that does not know a name goes without.
SMALL: dict[str, int] = {
    **dict.fromkeys(["hidden_size", "n_embd", "d_model", "embedding_size", "attention_hidden_size", "lru_width"], 32),
    **dict.fromkeys(["num_hidden_layers", "num_layers", "n_layer", "n_layers", "decoder_layers", "encoder_layers"], 2),
    **dict.fromkeys(["num_attention_heads", "n_head", "n_heads", "num_heads", "decoder_attention_heads"], 4),
    **dict.fromkeys(["intermediate_size", "ffn_dim", "d_ff", "d_inner", "decoder_ffn_dim", "ffn_hidden_size"], 48),
    **dict.fromkeys(["max_position_embeddings", "n_positions", "max_seq_len", "context_length"], 512),
    **dict.fromkeys(["num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts"], 4),
    **dict.fromkeys(["head_dim", "v_head_dim", "qk_rope_head_dim", "qk_nope_head_dim", "state_size"], 8),
    **dict.fromkeys(["mamba_d_state", "mamba_d_head", "mamba_n_heads", "index_head_dim", "global_head_dim"], 8),
    **dict.fromkeys(["q_lora_rank", "kv_lora_rank", "sliding_window", "attention_window_size", "chunk_size"], 16),
    **dict.fromkeys(["num_experts_per_tok", "moe_topk", "num_kv_heads", "index_n_heads", "linear_num_key_heads"], 2),
    **dict.fromkeys(["n_shared_experts", "n_group", "topk_group", "mamba_n_groups", "n_groups"], 1),
    **dict.fromkeys(["moe_intermediate_size", "shared_expert_intermediate_size", "shared_intermediate_size"], 24),
    "vocab_size": V, "vocab_size_per_layer_input": V, "hidden_size_per_layer_input": 8, "word_embed_proj_dim": 32,
    "linear_num_value_heads": 4, "linear_key_head_dim": 8, "linear_value_head_dim": 8, "rotary_dim": 4,
    "index_topk": 64, "mamba_chunk_size": 16, "mamba_num_heads": 8, "mamba_head_dim": 8, "ssm_state_size": 8,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
# Near ties that the row's length decides, and a part exchanged for good by a short row: the loop contradicts itself.
TIES = {"HYV4Config", "BigBirdConfig"}


def small(config: Any, key_value_heads: int, layers: int) -> Any:
    own = config.to_dict()
    sizes = {**SMALL, "num_key_value_heads": key_value_heads, "num_hidden_layers": layers}
    known = {name: size for name, size in sizes.items() if isinstance(own.get(name), int)}
    known |= {name: sizes[name] for name in ("pad_token_id", "bos_token_id", "eos_token_id") if name in own}
    for name in getattr(type(config), "sub_configs", {}):
        if hasattr(part := getattr(config, name, None), "to_dict"):
            known[name] = small(part, key_value_heads, layers).to_dict()
    return type(config)(**known)


def built(kind: Any) -> Any:
    """A model of at most a few million weights that reads text, the first of the sizes that its config allows."""
    for key_value_heads, layers in ((2, 2), (4, 2), (2, 4)):
        try:
            config = small(kind(), key_value_heads, layers)
            with torch.device("meta"):
                weights = sum(p.numel() for p in tf.AutoModelForCausalLM.from_config(config).parameters())
            if weights > 5_000_000:
                continue
            model = made(lambda config=config: tf.AutoModelForCausalLM.from_config(config))
            with torch.no_grad():
                model(input_ids=torch.arange(3, 20)[None], use_cache=False)
            return model
        # a config that wants other sizes
        except Exception:  # noqa: S112
            continue
    pytest.skip("no small config of this kind was found")


@pytest.mark.parametrize("kind", list(tf.AutoModelForCausalLM._model_mapping), ids=lambda kind: kind.__name__)
def test_it_is_scored_as_the_naive_loop_does_or_refused(kind):
    model = built(kind)
    weights = [p.detach().clone() for p in model.parameters()]
    modules = list(model.modules())
    evaluator = HumanRankEvaluator(QUESTIONS, TOKENIZER)
    try:
        found = evaluator.evaluate(model)
    except ValueError as error:
        assert "cannot be scored" in str(error)
        return
    assert all(torch.equal(a, b) for a, b in zip(weights, model.parameters(), strict=True))
    assert all(a is b for a, b in zip(modules, model.modules(), strict=True))
    for part in model.modules():
        if hasattr(getattr(part, "config", None), "use_cache"):
            part.config.use_cache = False
    exact = naive(model, QUESTIONS)
    for question, row in zip(QUESTIONS, found.loglikelihoods, strict=True):
        for i, value in enumerate(row):
            nats = abs(exact[question.id, i])
            close = 1e-6 * max(nats, 10)
            assert kind.__name__ in TIES or abs(value - exact[question.id, i]) <= close, evaluator.layout
