"""From a folder, a GGUF file or a hub id to a model that HRE can score, or one sentence that says why not.

What a checkpoint is stands in its config: the class that saved it, looked up in transformers' own Auto mappings.
Whether that is what was loaded is checked on what came back: every weight from the checkpoint, none left aside that
belongs to the model, all of them finite, a tokenizer that knows words.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import torch
import transformers
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
)
from transformers.models.auto.tokenization_auto import get_tokenizer_config
from transformers.utils.peft_utils import find_adapter_config_file

from .checkpoint import (
    ADAPTER,
    CONFIG,
    TOKENIZER,
    WEIGHTS,
    ModelError,
    check_adapter,
    check_loaded,
    check_numbers,
    hushed,
    one_sentence,
)

# Configs of vision-language models and of some encoder-decoders name a causal model too: what they are comes first.
_LANGUAGE = (AutoModelForImageTextToText, AutoModelForSeq2SeqLM, AutoModelForCausalLM)
_REWARD = AutoModelForSequenceClassification
_SCORED = "HRE scores causal language models, encoder-decoders and reward models with one label"


def load_model(
    source: str | Path,
    *,
    dtype: torch.dtype | Literal["auto"] = torch.float32,
    device: torch.device | str = "cpu",
    trust_remote_code: bool = False,
) -> tuple[Any, Any]:
    """Model in evaluation mode and its tokenizer.

    Args:
        source: a folder written by `save_pretrained` (of a model, or of a PEFT adapter whose base model is found), a
            `.gguf` file or a model id of the hub. A causal language model, an encoder-decoder, or a reward model
            (sequence classifier with one label).
        dtype: of the weights; `"auto"` is that of the checkpoint.
        device: where the model is put.
        trust_remote_code: run code that comes with the model. Never asked for on the console.

    Raises:
        ModelError: a `ValueError` in one sentence: nothing that HRE can score is there, or it is not whole.
    """
    with one_sentence(source, trust_remote_code, "a whole model"):
        path = Path(source)
        if not str(source).strip():
            raise ModelError(f"the model's name is {str(source)!r}; expected a folder, a .gguf file or a hub id")
        if path.suffix.lower() == ".gguf":
            # Quantised: there is no dtype of its own.
            model, tokenizer = _load_gguf(path, torch.float32 if dtype == "auto" else dtype)
        elif path.is_file():
            raise ModelError(f"{source} is a file; expected a model folder, a .gguf file or a hub id")
        elif (path / "config.json").is_file() and (path / "adapter_config.json").is_file():
            raise ModelError(f"{source} holds a whole model and an adapter; expected one of them")
        elif find_adapter_config_file(str(source)) is not None:
            model, tokenizer = _load_adapter(str(source), dtype, trust_remote_code)
        else:
            model = _load_whole(str(source), dtype, trust_remote_code)
            tokenizer = _load_tokenizer(str(source), trust_remote_code)
        check_numbers(source, model)
        return _placed(model, torch.device(device)).eval(), tokenizer


def _placed(model: Any, device: torch.device) -> Any:
    """The model on the device. Some quantised ones are put there by their loader and cannot be moved."""
    here = next(model.parameters()).device
    return model if here.type == device.type and device.index in (None, here.index) else model.to(device)


def _load_whole(
    source: str,
    dtype: torch.dtype | Literal["auto"],
    trust_remote_code: bool,
    *,
    reward: bool = False,
    brought: Iterable[str] = (),
) -> Any:
    """A model without its tokenizer; with `reward` as a reward model, whatever it was saved as."""
    if find_adapter_config_file(source) is not None:
        # Applied by transformers without a word, and a second time by us.
        raise ModelError(f"{source} holds an adapter; expected a whole model without one in its folder")
    labels = {"num_labels": 1} if reward else {}
    with one_sentence(source, trust_remote_code, CONFIG), hushed():
        config = AutoConfig.from_pretrained(source, trust_remote_code=trust_remote_code, **labels)
    auto = _REWARD if reward else _auto_class(source, config, trust_remote_code)
    if auto is _REWARD and config.num_labels != 1:
        raise ModelError(f"{source}: {_saved_by(config)} has {config.num_labels} labels; a reward model has one")
    with one_sentence(source, trust_remote_code, WEIGHTS), hushed():
        model, told = auto.from_pretrained(
            source,
            config=config,
            dtype=dtype,
            trust_remote_code=trust_remote_code,
            output_loading_info=True,
            # Told of in `told`, by name: refused below.
            ignore_mismatched_sizes=True,
        )
    # A reward model that was asked for takes what it needs from any model of its kind.
    check_loaded(source, model, told, brought, all_used=not reward and type(model).__name__ != _saved_by(config))
    return model


def _saved_by(config: Any) -> str | None:
    """The name of the class that wrote the checkpoint."""
    names = config.architectures or ()
    return str(names[0]) if names else None


def _auto_class(source: str, config: Any, trust_remote_code: bool) -> Any:
    """The Auto class that loads what was saved.

    Raises:
        ModelError: the class that was saved is known and none that HRE can score, or nothing says what it is.
    """
    name = _saved_by(config)
    kinds = (*_LANGUAGE, _REWARD)
    if trust_remote_code and getattr(config, "auto_map", None):
        found = [auto for auto in kinds if auto.__name__ in config.auto_map]
    else:
        found = [auto for auto in kinds if name in _class_names(auto, config)]
    if not found and (name is None or not hasattr(transformers, name)):
        # Nothing says which of the config's models it is: the first in question, if all its weights are there.
        found = [auto for auto in _LANGUAGE if type(config) in auto._model_mapping]
    if not found:
        raise ModelError(f"{source}: this is a {name or type(config).__name__}; {_SCORED}")
    return found[0]


def _class_names(auto: Any, config: Any) -> set[str]:
    classes = auto._model_mapping.get(type(config), ())
    return {one.__name__ for one in (classes if isinstance(classes, tuple) else (classes,))}


def _load_tokenizer(source: str | Path, trust_remote_code: bool, gguf: bool = False) -> Any:
    """The tokenizer; one that transformers makes up where there are no files knows nothing but special tokens."""
    place, file = (Path(source).parent, {"gguf_file": Path(source).name}) if gguf else (source, {})
    with one_sentence(source, trust_remote_code, TOKENIZER):
        tokenizer = AutoTokenizer.from_pretrained(place, trust_remote_code=trust_remote_code, **file)
        words = set(tokenizer.get_vocab()) - {*tokenizer.all_special_tokens, *tokenizer.get_added_vocab()}
        if len(words) < 2:
            raise ModelError(f"{source}: its tokenizer knows no words; expected {TOKENIZER}")
        # A setting of the wrong type shows when it is called.
        tokenizer("why?")
    return tokenizer


def _load_gguf(path: Path, dtype: torch.dtype) -> tuple[Any, Any]:
    """Dequantise; the loaded model is flagged quantised, so its weights move into one that trains and saves."""
    if not path.is_file():
        raise ModelError(f"{path}: no such GGUF file")
    if importlib.util.find_spec("gguf") is None:
        raise ModelError(f"{path}: reading GGUF needs the package gguf; pip install gguf")
    # The bar of dequantising has no switch.
    quiet = contextlib.redirect_stderr(io.StringIO())
    with one_sentence(path, True, "a whole language model"), hushed(), quiet:
        place, file = str(path.parent), {"gguf_file": path.name, "trust_remote_code": False}
        config = AutoConfig.from_pretrained(place, **file)
        auto = _auto_class(str(path), config, False)
        loaded, told = auto.from_pretrained(place, dtype=dtype, output_loading_info=True, **file)
    check_loaded(str(path), loaded, told)
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    config.dtype = dtype
    model = auto.from_config(config, dtype=dtype, trust_remote_code=False)
    model.load_state_dict(loaded.state_dict())
    return model, _load_tokenizer(path, False, gguf=True)


def _load_adapter(source: str, dtype: torch.dtype | Literal["auto"], trust_remote_code: bool) -> tuple[Any, Any]:
    """The base model that a PEFT adapter names, with the adapter on it.

    The tokenizer is the adapter's if it has one.
    """
    if importlib.util.find_spec("peft") is None:
        raise ModelError(f"{source} holds an adapter: reading it needs the package peft; pip install peft")
    from peft import PeftConfig, PeftModel
    from peft.utils.save_and_load import get_peft_model_state_dict, load_peft_weights

    with one_sentence(source, True, ADAPTER):
        config = PeftConfig.from_pretrained(source)
        given = load_peft_weights(source, device="cpu")
    base = str(config.base_model_name_or_path or "")
    if not base:
        raise ModelError(f"{source} holds an adapter that names no base model; expected base_model_name_or_path")
    with one_sentence(base, trust_remote_code, "its base model", f"{source} holds an adapter of {base}: "):
        brought = [key.removeprefix("base_model.model.") for key in given]
        below = _load_whole(base, dtype, trust_remote_code, reward=config.task_type == "SEQ_CLS", brought=brought)
    with one_sentence(source, True, ADAPTER), hushed():
        model = PeftModel.from_pretrained(below, source, torch_device="cpu")
        taken = get_peft_model_state_dict(model, save_embedding_layers=False)
        check_adapter(source, model, given, taken)
    # Trainers save the tokenizer beside the adapter, peft alone does not.
    its_own = bool(get_tokenizer_config(source))
    return model, _load_tokenizer(source if its_own else base, trust_remote_code)


def parse_dtype(name: str) -> torch.dtype:
    """`float32`, `bfloat16` or `float16` as a torch dtype.

    Raises:
        ValueError: any other name.
    """
    known = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if name not in known:
        raise ValueError(f"dtype {name!r} is not one of {', '.join(known)}")
    return known[name]


def parse_device(name: str | None = None) -> torch.device:
    """A device by its name, tried out; without a name the accelerator if there is one, else the CPU.

    Raises:
        ValueError: torch knows no such device, or cannot use it here.
    """
    if name is None:
        return _accelerator()
    try:
        device = torch.device(name)
        # Whether numbers can be put there and read again: "meta" holds none, "cuda:7" may be one too many.
        torch.ones(1, device=device).item()
    # A backend that is not there may raise anything.
    except Exception as error:
        words = str(error).strip().split("\n")[0]
        known = " or ".join(sorted({"cpu", _accelerator().type}))
        raise ValueError(f"device {name!r} cannot be used here ({words}); expected {known}") from error
    return device


def _accelerator() -> torch.device:
    # Since torch 2.6; before, HRE knows of CUDA alone.
    if hasattr(torch, "accelerator"):
        found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        return found or torch.device("cpu")
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
