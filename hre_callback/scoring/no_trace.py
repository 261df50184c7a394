"""The package's main promise: after an evaluation the model is as it was found, also after an exception."""

from __future__ import annotations

import copy
import random
import sys
import warnings
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from .architecture import meets_in_forward

# Wrappers of parallel training keep the state of their own machinery on themselves, set up by the first forward.
_MACHINERY = ("torch.distributed", "torch.nn.parallel", "deepspeed", "accelerate", "torch._dynamo")
_PLAIN = (bool, int, float, complex, str, bytes, type(None), torch.dtype, torch.device, torch.Size)
_CONTAINERS = (list, tuple, dict, set, deque, OrderedDict, defaultdict, Counter)
# numbers; a larger buffer is kept by reference only, a copy would cost memory that training needs
_LARGE = 1 << 24
# Containers in containers.
_DEEP = 3
_PARTS = ("_parameters", "_modules", "_buffers", "training")
_ABSENT = object()


@contextmanager
def no_trace(model: torch.nn.Module) -> Iterator[State]:
    """Evaluation mode without gradients; afterwards everything is as it was found, also after an exception.

    Restored: the training flag of every submodule one by one (frozen parts may differ from the rest), the random
    state of Python, NumPy, torch and the current accelerator, buffers and plain attributes of modules and configs
    that a forward may change (dynamic RoPE keeps the longest length it has seen), parts that it exchanges or makes
    (BigBird its attention, CPT the numbers of a weight, others a buffer when it is first needed), and the parameters
    that FSDP2 leaves gathered after a forward without gradients.

    Yields:
        the `State` found, whose `restore` may also be called between two forwards.
    """
    flags = [(module, module.training) for module in model.modules()]
    state = State(model)
    try:
        with random_state_kept(), torch.no_grad(), as_written():
            model.eval()
            yield state
    finally:
        state.restore()
        for module, flag in flags:
            module.training = flag
            if reshard := getattr(module, "reshard", None):
                reshard()


@contextmanager
def as_written() -> Iterator[None]:
    """What `torch.compile` has compiled runs as it is written, by the original modules.

    So no graph is made for our shapes (a run that meets too many recompiles no more, for training too), and attention
    can be exchanged. From torch 2.6 on; before, compiled modules are called compiled.
    """
    # Without it nothing is compiled; to import it takes seconds.
    compiler = torch.compiler if "torch._dynamo" in sys.modules else None
    if compiler is None or not hasattr(compiler, "set_stance"):
        yield
        return
    with compiler.set_stance("force_eager"), warnings.catch_warnings():
        # the wrapper's own call meets our hooks as well, which pass over what is no tensor
        warnings.filterwarnings("ignore", message=r"Using `torch\.compile\(module\)` when there are global hooks")
        yield


@contextmanager
def random_state_kept() -> Iterator[None]:
    """Whatever is drawn inside, the random state of Python, NumPy, torch and the accelerator is as before."""
    python_state, numpy_state = random.getstate(), np.random.get_state()
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() and torch.cuda.is_initialized() else []
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)


class State:
    """What a forward may change of a model, as it was at a moment: all but what optimizers write into the weights."""

    def __init__(self, model: torch.nn.Module) -> None:
        modules = [m for m in model.modules() if not type(m).__module__.startswith(_MACHINERY)]
        # Spread over ranks, weights are gathered, exchanged and dropped by their own machinery.
        spread = meets_in_forward(model)
        kinds = ("_modules", "_buffers") if spread else ("_modules", "_buffers", "_parameters")
        parts = [part for m in modules for kind in kinds if isinstance(part := getattr(m, kind), dict)]
        self._parts = [(part, dict(part)) for part in parts]
        self._buffers = [(buffer, _copy(buffer)) for m in modules for buffer in m._buffers.values()]
        self._weights = [] if spread else [(p, p.data) for p in model.parameters() if _is_whole(p)]
        configs = {
            id(c): c
            for m in modules
            for name in ("config", "generation_config")
            if hasattr(c := getattr(m, name, None), "__dict__")
        }
        self._attributes = [(owner, _seen(owner)) for owner in [*modules, *configs.values()]]

    def restore(self) -> bool:
        """Put back what differs; whether anything did."""
        changed = [_refill_container(*found) for found in self._parts]
        changed += [_refill(*found) for found in self._buffers]
        changed += [_put_weight_back(*found) for found in self._weights]
        changed += [_put_attributes_back(owner, seen) for owner, seen in self._attributes]
        return any(changed)


@dataclass(frozen=True, slots=True)
class _Held:
    """What a container held, and what those of its things held that hold something themselves."""

    things: Any
    inner: list[tuple[Any, Any]]


def _is_whole(parameter: torch.nn.Parameter) -> bool:
    return type(parameter) is torch.nn.Parameter and parameter.device.type != "meta"


def _copy(value: Any, deep: int = _DEEP) -> Any:
    """What a tensor, an array or a container holds now; of anything else nothing."""
    if isinstance(value, torch.Tensor):
        # a parameter's shard is its wrapper's business
        whole = type(value) is torch.Tensor and value.device.type != "meta" and value.numel() <= _LARGE
        return value.detach().clone() if whole else None
    if type(value) is np.ndarray:
        return value.copy() if value.size <= _LARGE else None
    if type(value) not in _CONTAINERS:
        return None
    things = (value.values() if isinstance(value, dict) else value) if deep else ()
    inner = [(thing, held) for thing in things if (held := _copy(thing, deep - 1)) is not None]
    return _Held(copy.copy(value), inner)


def _put_weight_back(parameter: torch.nn.Parameter, data: torch.Tensor) -> bool:
    """Other numbers in the place of a weight's own; those that were written into it are the optimizer's business."""
    changed = parameter.data_ptr() != data.data_ptr() and parameter.device.type != "meta"
    if changed:
        parameter.data = data
    return changed


def _refill(value: Any, held: Any) -> bool:
    """Put what it held into the very thing that held it; others may hold it too. Whether it was something else."""
    if value is None or held is None:
        return False
    if isinstance(held, _Held):
        # all of them, so no short cut
        changed = [_refill(thing, was) for thing, was in held.inner]
        return any([*changed, not isinstance(value, tuple) and _refill_container(value, held.things)])
    if isinstance(held, np.ndarray):
        if value.tobytes() == held.tobytes():
            return False
        value[...] = held
        return True
    if torch.equal(value, held):
        return False
    value.data.copy_(held)
    return True


def _refill_container(value: Any, things: Any) -> bool:
    if _same(value, things):
        return False
    value.clear()
    (value.extend if isinstance(value, (list, deque)) else value.update)(things)
    return True


def _seen(owner: Any) -> dict[str, tuple[Any, Any]]:
    """Attributes that may be state, each with a copy of what it holds."""
    return {name: (value, _copy(value)) for name, value in vars(owner).items() if _is_state(name, value)}


def _is_state(name: str, value: Any) -> bool:
    kinds = (*_PLAIN, *_CONTAINERS, torch.Tensor, np.ndarray)
    ours = name not in _PARTS and "hooks" not in name and not name.startswith("ds_")
    return ours and type(value) in kinds


def _put_attributes_back(owner: Any, seen: dict[str, tuple[Any, Any]]) -> bool:
    now, changed = vars(owner), False
    for name in [name for name, value in now.items() if name not in seen and _is_state(name, value)]:
        del now[name]
        changed = True
    for name, (value, held) in seen.items():
        if now.get(name, _ABSENT) is not value:
            now[name] = value
            changed = True
        changed |= _refill(value, held)
    return changed


def _same(now: Any, before: Any) -> bool:
    """Whether a container holds the very same things; `==` would compare tensors number by number."""
    if len(now) != len(before):
        return False
    if isinstance(now, dict):
        return all(key in now and now[key] is value for key, value in before.items())
    if isinstance(now, set):
        return bool(now == before)
    return all(a is b for a, b in zip(now, before, strict=True))
