"""What can be seen of a model without calling it. Nothing here decides alone: what a call returns does, see `proof`."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from transformers import PreTrainedModel

from .. import distributed


def innermost(model: torch.nn.Module) -> torch.nn.Module:
    """The model behind its wrappers (PEFT, FSDP, DDP, torch.compile), to look at.

    Never to be called: the hooks of sharded parameters live on the outermost module.
    """
    inner: Any = model
    while True:
        if hasattr(inner, "get_base_model"):
            inner = inner.get_base_model()
        elif isinstance(getattr(inner, "_orig_mod", None), torch.nn.Module):
            inner = inner._orig_mod
        elif isinstance(getattr(inner, "module", None), torch.nn.Module):
            inner = inner.module
        else:
            return inner  # type: ignore[no-any-return]


def text_config(model: torch.nn.Module) -> Any:
    """The config of the part that reads text: of the decoder where there are several; `None` without a config."""
    config: Any = getattr(model, "config", None)
    return config.get_text_config(decoder=True) if hasattr(config, "get_text_config") else config


def forward_parameters(model: torch.nn.Module) -> set[str]:
    """Names that the model's forward accepts, seen through wrappers."""
    inner = innermost(model)
    parameters = inspect.signature(type(inner).forward).parameters
    narrower = _narrower(inner)
    if narrower is not None:
        return narrower
    names = {name for name, p in parameters.items() if p.kind is not inspect.Parameter.VAR_KEYWORD}
    if isinstance(inner, PreTrainedModel):
        # some of transformers' own (LLaVA) hand these down unnamed
        names |= {"use_cache"}
        if len(names) < len(parameters):
            names |= {"attention_mask"}
    return names


def _narrower(inner: torch.nn.Module) -> set[str] | None:
    """What a forward accepts that somebody put on the object itself; `None` without one, or if it hands all on."""
    try:
        parameters = inspect.signature(vars(inner)["forward"]).parameters
    except (KeyError, TypeError, ValueError):
        return None
    kinds = {p.kind for p in parameters.values()}
    return None if inspect.Parameter.VAR_KEYWORD in kinds else set(parameters)


def decoder_start(model: torch.nn.Module) -> int | None:
    """The token by which an encoder-decoder's answers begin: as the model itself shifts labels, else as it is named."""
    inner = innermost(model)
    shift = getattr(inner, "prepare_decoder_input_ids_from_labels", None)
    # some (MBart) take the label's last token instead, which is a language there
    begins = {_first_of(shift, label) for label in (3, 4)}
    configs = [getattr(inner, name, None) for name in ("config", "generation_config")]
    named = [getattr(config, "decoder_start_token_id", None) for config in configs]
    found = [*(begins if len(begins) == 1 else ()), *named, getattr(configs[0], "pad_token_id", None)]
    return next((token for token in found if isinstance(token, int)), None)


def _first_of(shift: Any, label: int) -> int | None:
    try:
        return int(shift(torch.tensor([[label, label]]))[0, 0])
    # it may want a config that is complete, other labels, or not be there
    except Exception:
        return None


def cache_parameter(accepts: set[str]) -> str | None:
    """What the forward calls its key-value cache: `cache` from transformers 5.24 on, `past_key_values` before."""
    return next((name for name in ("past_key_values", "cache") if name in accepts), None)


def input_device(model: torch.nn.Module) -> torch.device:
    """Where inputs go: the first weights that are anywhere, else where accelerate's hooks run an offloaded model."""
    for parameter in model.parameters():
        if parameter.device.type != "meta":
            return parameter.device
    place = getattr(getattr(model, "_hf_hook", None), "execution_device", None)
    return torch.device("cpu" if place is None else place)


def float_dtype(model: torch.nn.Module) -> torch.dtype:
    """Dtype of the first floating-point weight; float32 for a model without one."""
    return next((p.dtype for p in model.parameters() if p.dtype.is_floating_point), torch.float32)


def output_rows(model: torch.nn.Module) -> int | None:
    """Rows of the output embedding, so numbers that logits must have; `None` where the model shows none."""
    return _rows(innermost(model), "get_output_embeddings", "out_features")


def input_rows(model: torch.nn.Module) -> int | None:
    """Rows of the input embedding: ids must be smaller; `None` where the model shows none."""
    return _rows(innermost(model), "get_input_embeddings", "num_embeddings")


def _rows(inner: Any, getter: str, attribute: str) -> int | None:
    try:
        embedding = getattr(inner, getter)()
    except (AttributeError, NotImplementedError, TypeError):
        return None
    # the number first: the weight itself may be a shard (ZeRO-3) or packed (4 bit)
    rows = getattr(embedding, attribute, None)
    if not isinstance(rows, int):
        weight = getattr(embedding, "weight", None)
        rows = weight.shape[0] if isinstance(weight, torch.Tensor) and weight.dim() == 2 else None
    return rows if rows else None


def declared_virtual_tokens(model: torch.nn.Module) -> int:
    """Virtual tokens that PEFT's active prompt-learning adapter puts in front; 0 without one."""
    configs, active = getattr(model, "peft_config", None), getattr(model, "active_adapter", None)
    if not isinstance(configs, dict):
        inner = getattr(model, "module", None)
        return declared_virtual_tokens(inner) if isinstance(inner, torch.nn.Module) else 0
    config = configs.get(active) if isinstance(active, str) else None
    tokens = getattr(config, "num_virtual_tokens", None)
    return tokens if isinstance(tokens, int) and getattr(config, "is_prompt_learning", False) else 0


def meets_in_forward(model: torch.nn.Module) -> bool:
    """Whether ranks wait for each other inside a forward: FSDP, ZeRO-3, tensor parallelism, a DDP wrapper."""
    if distributed.world_size() == 1:
        return False
    from torch.distributed.fsdp import FullyShardedDataParallel
    from torch.nn.parallel import DistributedDataParallel

    wrappers = (FullyShardedDataParallel, DistributedDataParallel)
    return any(isinstance(module, wrappers) for module in model.modules()) or any(
        # A DTensor; a parameter of ZeRO-3.
        hasattr(parameter, "device_mesh") or hasattr(parameter, "ds_id")
        for parameter in model.parameters()
    )
