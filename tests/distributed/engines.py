"""The same tiny training under every engine, on CPU processes: what differs between DDP, FSDP and ZeRO is here."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import torch
from accelerate.state import PartialState
from accelerate.utils import DistributedType
from trl import SFTTrainer

from tests.trainers import arguments, dropout_model, sft_dataset, tokenizer

# Accelerate turns FSDP on for accelerators only. `as_if_on_accelerators` claims one, for these tests alone.
FSDP = {
    "ACCELERATE_USE_FSDP": "true",
    "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
    "FSDP_TRANSFORMER_CLS_TO_WRAP": "GPT2Block",
    "FSDP_STATE_DICT_TYPE": "SHARDED_STATE_DICT",
    "FSDP_CPU_RAM_EFFICIENT_LOADING": "false",
    "FSDP_USE_ORIG_PARAMS": "true",
    "FSDP_OFFLOAD_PARAMS": "false",
    "FSDP_SYNC_MODULE_STATES": "false",
}
ENVIRONMENT = {
    "fsdp1": {**FSDP, "FSDP_VERSION": "1", "FSDP_RESHARD_AFTER_FORWARD": "FULL_SHARD"},
    "fsdp2": {**FSDP, "FSDP_VERSION": "2", "FSDP_RESHARD_AFTER_FORWARD": "true"},
}


def zero(stage: int) -> dict[str, Any]:
    """A DeepSpeed config under which also a tiny model is sharded: by default its parameters stay gathered."""
    sharded = {
        "stage3_param_persistence_threshold": 0,
        "stage3_max_live_parameters": 0,
        "stage3_max_reuse_distance": 0,
        "stage3_prefetch_bucket_size": 0,
    }
    return {
        "train_micro_batch_size_per_gpu": "auto",
        "gradient_accumulation_steps": "auto",
        "gradient_clipping": "auto",
        "zero_force_ds_cpu_optimizer": False,
        "zero_allow_untested_optimizer": True,
        "zero_optimization": {"stage": stage, **(sharded if stage == 3 else {})},
    }


def engine_arguments(engine: str, out: Path, *args: Any, **overrides: Any) -> Any:
    os.environ.update(ENVIRONMENT.get(engine, {}))
    if engine.startswith("zero"):
        overrides["deepspeed"] = zero(int(engine[-1]))
    made = arguments(out, *args, **overrides)
    if engine.startswith("fsdp"):
        as_if_on_accelerators()
    return made


def as_if_on_accelerators() -> None:
    PartialState._shared_state["distributed_type"] = DistributedType.MULTI_GPU
    PartialState._shared_state["device"] = torch.device("cpu")


def trainer_of(engine: str, out: Path, callbacks: list[Any], **overrides: Any) -> SFTTrainer:
    tok = tokenizer()
    return SFTTrainer(
        model=dropout_model(tok),
        processing_class=tok,
        train_dataset=sft_dataset(),
        args=engine_arguments(engine, out, **overrides),
        callbacks=callbacks,
    )


def local(tensor: torch.Tensor) -> torch.Tensor:
    """This rank's part of a parameter."""
    tensor = getattr(tensor, "ds_tensor", tensor)
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor


def local_size(model: Any) -> int:
    """Parameters that this rank holds in memory now (under ZeRO-3 a part beside each parameter, which is empty)."""
    return sum(local(p).numel() + (p.numel() if hasattr(p, "ds_id") else 0) for p in model.parameters())


def full_weights(engine: str, model: Any) -> dict[str, torch.Tensor]:
    """The gathered weights under the names of the plain model. Collective."""
    if engine == "fsdp1":
        from torch.distributed.fsdp import FullyShardedDataParallel

        with FullyShardedDataParallel.summon_full_params(model, writeback=False):
            return {clean(name): p.detach().clone() for name, p in model.named_parameters()}
    if engine == "zero3":
        import deepspeed

        with deepspeed.zero.GatheredParameters(list(model.parameters())):
            return {name: p.detach().clone() for name, p in model.named_parameters()}
    whole = {name: p.full_tensor() if hasattr(p, "full_tensor") else p for name, p in model.named_parameters()}
    return {name: p.detach().clone() for name, p in whole.items()}


def clean(name: str) -> str:
    return name.replace("_fsdp_wrapped_module.", "").replace("_checkpoint_wrapped_module.", "")


def digest(engine: str, trainer: Any) -> str:
    """Of the gathered weights and of this rank's optimizer state, every bit. Collective."""
    hashed = hashlib.sha256()
    for tensor in full_weights(engine, trainer.model).values():
        hashed.update(tensor.contiguous().numpy().tobytes())
    # DeepSpeed pads its partitions with whatever was in memory, so for ZeRO the weights must do
    for state in [] if engine.startswith("zero") else optimizer_states(trainer):
        for _, value in sorted(state.items()):
            hashed.update(local(torch.as_tensor(value)).detach().contiguous().numpy().tobytes())
    return hashed.hexdigest()


def optimizer_states(trainer: Any) -> list[dict[str, Any]]:
    optimizer = trainer.optimizer
    while not optimizer.state and hasattr(optimizer, "optimizer"):
        optimizer = optimizer.optimizer
    assert optimizer.state, "no optimizer state to compare"
    return list(optimizer.state.values())
