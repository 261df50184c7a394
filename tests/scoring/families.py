"""What `auto` takes for every family that is tried: pinned by tests, shown in `hre_callback/scoring/README.md`.

`python -m tests.scoring.families` writes the README's table anew; `test_families.py` fails while it differs.
"""

from __future__ import annotations

from pathlib import Path

README = Path(__file__).parents[2] / "hre_callback" / "scoring" / "README.md"
HEAD = "| models | `auto` takes |\n|---|---|\n"
FUNCTION = "packed (function)"
WAYS = {
    FUNCTION: "`packed`, by the attention function",
    "packed (mask)": "`packed`, by a mask",
    "cached": "`cached`",
    "padded": "`padded`",
    "single": "`single`",
}
REFUSED = (
    "| refused by name at the start: what sees later tokens (BERT, RoBERTa, XLNet, CPM-Ant, PaliGemma on text), token "
    "classifiers, models without a head | |\n"
)

# Of `tests/zoo.py`, on rows longer than every window: name -> (name in the README, what `auto` takes).
ZOO = {
    **{name: (shown, FUNCTION) for name, shown in {
        "llama": "Llama", "qwen2": "Qwen 2", "qwen3": "Qwen 3", "phi3": "Phi-3", "gpt2": "GPT-2", "gpt_neox": "GPT-NeoX",
        "opt": "OPT", "olmo2": "OLMo 2", "granite": "Granite", "mixtral": "Mixtral", "qwen3_moe": "Qwen 3 MoE",
        "mistral_window": "with sliding windows Mistral", "qwen2_window": "Qwen 2", "gemma2_mixed": "Gemma 2",
        "gemma3_mixed": "Gemma 3", "cohere2_mixed": "Cohere 2", "olmo3_mixed": "OLMo 3", "gpt_oss": "GPT-OSS",
        "llava": "with text only LLaVA", "qwen2_vl": "Qwen2-VL", "gemma3_vision": "Gemma 3's vision model",
    }.items()},
    "gptj": ("GPT-J", "packed (mask)"),
    "falcon": ("Falcon", "packed (mask)"),
    "bloom_alibi": ("alibi: Bloom", "cached"),
    "mpt_alibi": ("MPT", "cached"),
    "t5": ("encoder-decoders: T5", "cached"),
    "bart": ("BART", "cached"),
    "mamba": ("state-space and hybrid: Mamba", "padded"),
    "mamba2": ("Mamba-2", "padded"),
    "jamba": ("Jamba", "padded"),
    "bamba": ("Bamba", "padded"),
    "zamba2": ("Zamba 2", "padded"),
    "rwkv": ("RWKV", "padded"),
}  # fmt: skip
# What a newer release gives instead: GPT-J asks for its attention function from transformers 5.24 on.
NEWER = {"gptj": FUNCTION, "prefix_tuning": "cached"}
# Of `FAMILIES` in `test_proof.py`, each on questions that showed a fault.
PROOF = {
    "gpt_neo": ("GPT-Neo", "cached"),
    "llama4_temperature": ("Llama 4 with a temperature by position", "cached"),
    "llama4_chunks": ("Llama 4 with chunks", "cached"),
    "lfm2": ("LFM2", "padded"),
    "minimax_m3": ("MiniMax-M3", "padded"),
    "prefix_tuning": ("prefix tuning", "padded"),
    "prompt_tuning": ("prompt tuning", "padded"),
    "p_tuning": ("P-tuning", "padded"),
    "cpt": ("CPT", "padded"),
    "phi3_longrope": ("whose numbers change with padding: Phi-3 with longrope", "single"),
    "indexed_attention": ("DeepSeek-V3.2", "single"),
    "prophetnet": ("ProphetNet", "single"),
}


def table() -> str:
    """The README's table, one row for what `auto` takes."""
    rows = []
    for way, shown in WAYS.items():
        names = [name for name, taken in [*ZOO.values(), *PROOF.values()] if taken == way]
        rows.append(f"| {', '.join(names)} | {shown} |\n")
    return HEAD + "".join(rows) + REFUSED


def shown() -> str:
    """The table that stands in the README."""
    text = README.read_text()
    start = text.index(HEAD)
    return text[start : text.index("\n\n", start) + 1]


if __name__ == "__main__":
    README.write_text(README.read_text().replace(shown(), table()))
