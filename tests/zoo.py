"""Tiny models of many architectures, random weights scaled up so that a leak or a wrong position shows."""

from __future__ import annotations

from typing import Any

import torch
import transformers as tf

VOCABULARY = 96
_SMALL: dict[str, Any] = {
    "vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256, "head_dim": 8,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip


def _small(*names: str, **extra: Any) -> dict[str, Any]:
    return {**{name: _SMALL[name] for name in names or _SMALL}, **extra}


_CORE = ("vocab_size", "hidden_size", "pad_token_id", "bos_token_id", "eos_token_id")
_NO_KV = [name for name in _SMALL if name not in ("num_key_value_heads", "head_dim")]
_GPT2 = {"vocab_size": VOCABULARY, "n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 256,
         "bos_token_id": 1, "eos_token_id": 2}  # fmt: skip
WINDOW = 16
_VISION = {"model_type": "clip_vision_model", "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1,
           "num_attention_heads": 2, "image_size": 8, "patch_size": 4}  # fmt: skip

# name -> (config class, its settings); every model class is found from the config
CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("LlamaConfig", _small()),
    "mistral_window": ("MistralConfig", _small(sliding_window=WINDOW)),
    "qwen2": ("Qwen2Config", _small(*[n for n in _SMALL if n != "head_dim"])),
    "qwen2_window": (
        "Qwen2Config",
        _small(*[n for n in _SMALL if n != "head_dim"], use_sliding_window=True, sliding_window=WINDOW, max_window_layers=1),
    ),
    "qwen3": ("Qwen3Config", _small()),
    "gemma2_mixed": ("Gemma2Config", _small(sliding_window=WINDOW, final_logit_softcapping=5.0, query_pre_attn_scalar=8)),
    "gemma3_mixed": ("Gemma3TextConfig", _small(sliding_window=WINDOW, query_pre_attn_scalar=8)),
    "phi3": ("Phi3Config", _small(*[n for n in _SMALL if n != "head_dim"])),
    "gpt2": ("GPT2Config", _GPT2),
    "gpt_neox": ("GPTNeoXConfig", _small(*_NO_KV)),
    "gptj": ("GPTJConfig", {**_GPT2, "rotary_dim": 4}),
    "opt": (
        "OPTConfig",
        _small(*_CORE, "num_hidden_layers", "num_attention_heads", "max_position_embeddings", ffn_dim=48, word_embed_proj_dim=32),
    ),
    "bloom_alibi": ("BloomConfig", _small(*_CORE, n_layer=3, n_head=4)),
    "mpt_alibi": ("MptConfig", {"vocab_size": VOCABULARY, "d_model": 32, "n_layers": 3, "n_heads": 4, "max_seq_len": 256}),
    "falcon": (
        "FalconConfig",
        _small(*_CORE, "num_hidden_layers", "num_attention_heads", new_decoder_architecture=True, num_kv_heads=2),
    ),
    "olmo2": ("Olmo2Config", _small(*[n for n in _SMALL if n != "head_dim"])),
    "granite": ("GraniteConfig", _small(*[n for n in _SMALL if n != "head_dim"], logits_scaling=3.0, attention_multiplier=0.3)),
    "cohere2_mixed": ("Cohere2Config", _small(sliding_window=WINDOW, logit_scale=0.5)),
    "olmo3_mixed": (
        "Olmo3Config",
        _small(
            *[n for n in _SMALL if n != "head_dim"], sliding_window=WINDOW,
            layer_types=["sliding_attention", "full_attention", "sliding_attention"],
        ),
    ),
    "gpt_oss": ("GptOssConfig", _small(sliding_window=WINDOW, num_local_experts=4, num_experts_per_tok=2)),
    "mixtral": ("MixtralConfig", _small(num_local_experts=4, num_experts_per_tok=2, output_router_logits=True)),
    "mamba": ("MambaConfig", _small(*_CORE, num_hidden_layers=2, state_size=8)),
    "mamba2": (
        "Mamba2Config",
        _small(*_CORE, num_hidden_layers=2, state_size=8, num_heads=8, head_dim=8, n_groups=1, chunk_size=8, expand=2),
    ),
    "jamba": (
        "JambaConfig",
        _small(
            *[n for n in _SMALL if n not in ("head_dim", "num_hidden_layers")], num_hidden_layers=4, use_mamba_kernels=False,
            attn_layer_period=2, attn_layer_offset=1, expert_layer_period=4, expert_layer_offset=1, num_experts=2,
            num_experts_per_tok=1, mamba_d_state=8,
        ),
    ),
    "bamba": (
        "BambaConfig",
        _small(
            *[n for n in _SMALL if n != "head_dim"], attn_layer_indices=[1], mamba_n_heads=8, mamba_d_head=8,
            mamba_d_state=8, mamba_n_groups=1, mamba_chunk_size=8,
        ),
    ),
    "zamba2": (
        "Zamba2Config",
        _small(
            *[n for n in _SMALL if n not in ("head_dim", "num_hidden_layers")], num_hidden_layers=3, mamba_d_state=8,
            mamba_ngroups=1, n_mamba_heads=8, mamba_headdim=8, chunk_size=8, layers_block_type=["mamba", "hybrid", "mamba"],
            use_mamba_kernels=False,
        ),
    ),
    "qwen3_moe": ("Qwen3MoeConfig", _small(num_experts=4, num_experts_per_tok=2, moe_intermediate_size=24)),
    "t5": ("T5Config", {"vocab_size": VOCABULARY, "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4,
                        "decoder_start_token_id": 0}),
    "bart": (
        "BartConfig",
        {"vocab_size": VOCABULARY, "d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4,
         "decoder_attention_heads": 4, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48, "max_position_embeddings": 256,
         "forced_eos_token_id": None},
    ),
    "llava": ("LlavaConfig", {"vision_config": _VISION, "text_config": {"model_type": "llama", **_small()}, "image_token_index": 95}),
    "gemma3_vision": (
        "Gemma3Config",
        {"vision_config": {"model_type": "siglip_vision_model", **_VISION}, "mm_tokens_per_image": 4,
         "text_config": _small(sliding_window=WINDOW, query_pre_attn_scalar=8)},
    ),
    "qwen2_vl": (
        "Qwen2VLConfig",
        {"vision_config": {"depth": 1, "embed_dim": 32, "hidden_size": 32, "num_heads": 2, "mlp_ratio": 2, "patch_size": 4},
         "text_config": _small(
             *[n for n in _SMALL if n != "head_dim"],
             rope_parameters={"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [1, 1, 2]})},
    ),
    "rwkv": ("RwkvConfig", _small(*_CORE, num_hidden_layers=2, attention_hidden_size=32, context_length=256)),
}  # fmt: skip


# vision-language configs name a causal model too: what they are comes first
_AUTO = (tf.AutoModelForImageTextToText, tf.AutoModelForSeq2SeqLM, tf.AutoModelForCausalLM)


def build(name: str, attention: str = "sdpa", scale: float = 3.0) -> Any:
    """The model in evaluation mode; raises what transformers raises when it lacks the attention implementation."""
    config_class, settings = CONFIGS[name]
    config = getattr(tf, config_class)(**settings)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        kind = next(auto for auto in _AUTO if type(config) in auto._model_mapping)
        model = kind.from_config(config, attn_implementation=attention)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(scale)
    return model.eval()
