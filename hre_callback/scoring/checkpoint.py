"""What stands against a checkpoint, in one sentence: whatever a loader raises, and what came back from it otherwise."""

from __future__ import annotations

import contextlib
import json
import logging
import pickle
import re
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from transformers.utils import logging as hf_logging
from transformers.utils.hub import cached_file

_OWN_CODE = "it brings code of its own, which runs only with --trust-remote-code (trust_remote_code=True)"
CONFIG = "the config.json of a model that transformers knows"
WEIGHTS = "whole weights (.safetensors) that fit the config"
ADAPTER = "a whole adapter that fits its base model"
TOKENIZER = "the files that tokenizer.save_pretrained writes"
# Characters of somebody else's message that are passed on.
_LONGEST = 240


class ModelError(ValueError):
    """Nothing that HRE can score was loaded; the message names the source and what was expected."""


@contextlib.contextmanager
def one_sentence(source: str | Path, trust_remote_code: bool, expected: str, lead: str = "") -> Iterator[None]:
    """Whatever a loader raises, as one sentence with source, what was expected, the error's type and first words."""
    try:
        yield
    except ModelError as error:
        raise ModelError(f"{lead}{error}") from error
    except (KeyboardInterrupt, GeneratorExit):
        raise
    # A panic in Rust (tokenizers, safetensors) is no Exception, nor is a model's own code that calls exit.
    except BaseException as error:
        raise ModelError(
            f"{lead}{source}: expected {expected} in this {_kind(source)}; {_first_words(error)}"
            + ("" if trust_remote_code or not _brings_code(str(source)) else f"; {_OWN_CODE}")
        ) from error


@contextlib.contextmanager
def hushed() -> Iterator[None]:
    """No bars, tables and warnings while weights are read.

    What matters of them is checked, and told in one sentence.
    """
    level, bars = hf_logging.get_verbosity(), hf_logging.is_progress_bar_enabled()
    hf_logging.set_verbosity(logging.CRITICAL)
    hf_logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        hf_logging.set_verbosity(level)
        if bars:
            hf_logging.enable_progress_bar()


def _first_words(error: BaseException) -> str:
    if any(isinstance(one, pickle.UnpicklingError) for one in _with_what_led_to_it(error)):
        # Its own words recommend to run it.
        return "its pickle holds something else than weights and was not run"
    words = " ".join(str(error).split())
    words = words if len(words) <= _LONGEST else f"{words[:_LONGEST]}…"
    return f"{type(error).__name__}: {words}" if words else type(error).__name__


def _with_what_led_to_it(error: BaseException) -> Iterator[BaseException]:
    """The error, and those that it was raised after: transformers 4 hides a refused pickle behind an OSError."""
    seen: set[int] = set()
    following: BaseException | None = error
    while following is not None and id(following) not in seen:
        seen.add(id(following))
        yield following
        following = following.__cause__ or following.__context__


def _kind(source: str | Path) -> str:
    # What is no name of a file at all (a null byte, thousands of letters) is no folder either.
    with contextlib.suppress(OSError, ValueError):
        if Path(source).suffix.lower() == ".gguf":
            return "GGUF file"
        if Path(source).is_dir():
            return "folder"
    return "hub id (there is no such folder here)"


def _brings_code(source: str) -> bool:
    """Whether config or tokenizer name Python files of their own; only asked to explain a failure."""
    for name in ("config.json", "tokenizer_config.json"):
        # A file that cannot be read is what the failure itself tells of.
        with contextlib.suppress(Exception):
            file = cached_file(source, name, _raise_exceptions_for_missing_entries=False)
            if file is not None and json.loads(Path(file).read_text(encoding="utf-8")).get("auto_map"):
                return True
    return False


def check_loaded(source: str, model: Any, told: Any, brought: Iterable[str] = (), *, all_used: bool = False) -> None:
    """Every weight comes from the checkpoint, and the checkpoint has none that this model should have taken.

    Args:
        told: what `from_pretrained(output_loading_info=True)` gives.
        brought: names of weights that an adapter brings.
        all_used: where the checkpoint does not say that this very class wrote it, all of it has to be of use.
    """
    name = type(model).__name__
    # transformers 4 tells the names without the shapes
    other = [
        one if isinstance(one, str) else f"{one[0]} {list(one[1])} for {list(one[2])}"
        for one in sorted(told["mismatched_keys"])
    ]
    if other:
        raise ModelError(f"{source}: {name} with this config has no room for {_few(other)}; expected {WEIGHTS}")
    missing = sorted(set(told["missing_keys"]) - set(brought))
    if missing:
        raise ModelError(
            f"{source}: the checkpoint of this {name} lacks {_few(missing)}, which would be drawn at random; "
            f"expected {WEIGHTS}"
        )
    unused = sorted(told["unexpected_keys"])
    unused = unused if all_used else _belonging(model, unused)
    if unused or told["error_msgs"]:
        raise ModelError(
            f"{source}: {name} with this config has no place for {_few(unused or told['error_msgs'])} of the "
            f"checkpoint; expected {WEIGHTS}"
        )


def _belonging(model: Any, keys: Iterable[str]) -> list[str]:
    """Of these weights those that the model has in other layers, and those that its config switches off (a bias)."""
    own = {re.sub(r"\d+", "#", key) for key, _ in model.named_parameters()}
    modules = dict(model.named_modules())
    # A config of no layers at all leaves their list, with nothing in it.
    empty = tuple(f"{name}." for name, one in modules.items() if isinstance(one, torch.nn.ModuleList) and not len(one))

    def belongs(key: str) -> bool:
        parent, _, leaf = key.rpartition(".")
        switched_off = parent in modules and modules[parent]._parameters.get(leaf, ()) is None
        return switched_off or key.startswith(empty) or re.sub(r"\d+", "#", key) in own

    return [key for key in keys if belongs(key)]


def _few(names: list[str]) -> str:
    more = ", …" if len(names) > 3 else ""
    return f"{len(names)} weight{'s' if len(names) > 1 else ''} ({', '.join(names[:3])}{more})"


def check_numbers(source: str | Path, model: Any) -> None:
    """Every weight is finite in the dtype that it was read as."""
    bad = [name for name, weight in model.named_parameters() if not _finite(weight)]
    if bad:
        raise ModelError(f"{source}: NaN or infinity in {_few(bad)} read as {model.dtype}; expected finite numbers")


def _finite(weight: torch.Tensor) -> bool:
    # Of what is quantised or elsewhere nothing can be said.
    if not weight.is_floating_point() or weight.is_meta:
        return True
    # A float of eight bits cannot be asked.
    return bool(torch.isfinite(weight.float() if weight.element_size() == 1 else weight).all())


def check_adapter(source: str, model: Any, given: dict[str, Any], taken: dict[str, Any]) -> None:
    """The adapter is whole, and all of it found its place."""
    if missing := sorted(taken.keys() - given.keys()):
        raise ModelError(f"{source}: the adapter's file lacks {_few(missing)}; expected {ADAPTER}")
    if unused := sorted(given.keys() - taken.keys() - model.state_dict().keys()):
        name = type(model.get_base_model()).__name__
        raise ModelError(f"{source}: {name} has no place for {_few(unused)} of it; expected {ADAPTER}")
