"""The one place where every option of an evaluation is named, explained and checked."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, make_dataclass
from numbers import Integral, Real
from types import UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from .dates import day_of

Prompt = Literal["paper", "chat"]
Normalization = Literal["characters", "bytes", "tokens", "none"]
Layout = Literal["auto", "packed", "cached", "padded", "single"]
StopRuleName = Literal["never", "drop_from_start", "drop_from_best", "mismatch", "decoupled", "target", "patience"]
Contamination = Literal["warn", "raise", "off"]
OnError = Literal["skip", "raise"]
Log = Literal["core", "all"]

_AT_LEAST: dict[str, float] = {
    "max_length": 32,
    "token_budget": 1,
    "eval_steps": 1,
    "consecutive": 1,
    "patience": 1,
    "planned_looks": 1,
    "min_delta": 0.0,
    "seed": 0,
}
# A float still tells neighbouring integers apart below it.
_MOST = 2**53
_OPEN_UNIT: tuple[str, ...] = ("alpha", "max_overhead")
# What a score depends on. Two evaluations are comparable only when these, and the questions, are equal.
_IDENTITY: tuple[str, ...] = ("prompt", "normalization", "max_length")


# What `apply_chat_template` gives back is decided here and not by the user.
_OF_RENDERING: tuple[str, ...] = (
    "conversation",
    "tokenize",
    "add_generation_prompt",
    "continue_final_message",
    "return_dict",
    "return_tensors",
    "return_assistant_tokens_mask",
)


def _option(default: Any, help: str, **settings: Any) -> Any:
    return field(default=default, metadata={"help": help}, **settings)


@dataclass(frozen=True, kw_only=True)
class HREConfig:
    """How HumanRankEval is scored, when it runs and what it may do to the run.

    For `trl.TrlParser` and `transformers.HfArgumentParser` use `HREArguments`: four of these names also exist in
    `TrainingArguments`, which would make argparse refuse the pair.

    Raises:
        ValueError: a value is outside what its field allows; the message names the field, the value and
            what is allowed.
    """

    name: str = _option("hre", "Prefix of every key and name of the record file; two callbacks need two names.")
    prompt: Prompt = _option(
        "paper", "'paper': 'Question: ...\\nAnswer:' (the published protocol); 'chat': the chat template."
    )
    normalization: Normalization = _option(
        "characters", "What a log-likelihood is divided by: characters (paper), bytes, tokens or none."
    )
    chat_template_kwargs: dict[str, Any] | str | None = _option(
        None,
        "Arguments of the chat template, e.g. {'enable_thinking': False}; on a command line a JSON object. Default: "
        "the Trainer's own, where it has them.",
        hash=False,
    )
    max_length: int | None = _option(
        None,
        "Longest question + answer in tokens; longer answers lose their tail. Default: the model's context.",
    )
    layout: Layout = _option(
        "auto",
        "How answers share their question: auto (fastest proven for the model), packed, cached, padded, single.",
    )
    token_budget: int | None = _option(None, "Tokens per forward pass. Default: found from the free memory.")
    eval_steps: int | None = _option(
        None, "Evaluate every so many optimizer steps. Default: whenever the Trainer evaluates."
    )
    log_spaced: bool = _option(False, "Also evaluate at steps 1, 2, 4, 8, ... before the first scheduled evaluation.")
    eval_on_start: bool = _option(True, "Take the step-0 baseline before training. Every difference refers to it.")
    eval_on_end: bool = _option(True, "Evaluate after the last step when the schedule did not.")
    max_overhead: float | None = _option(
        None,
        "Largest share of wall time for HRE, e.g. 0.05; the schedule stretches to keep it. Default: no cap.",
    )
    stop_rule: StopRuleName = _option(
        "never",
        "never, drop_from_start, drop_from_best, mismatch, decoupled (a signal improves and buys nothing for people), "
        "target (each with false stops <= alpha), or patience (uncontrolled: stops healthy runs by noise).",
    )
    target: float | None = _option(None, "HRE that is enough: the rule 'target' stops once it has surely passed it.")
    alpha: float = _option(0.05, "False-alarm rate of the whole run, over all its evaluations.")
    min_delta: float = _option(0.01, "Smallest fall of HRE worth stopping for.")
    consecutive: int = _option(2, "Evaluations in a row that must agree before a rule stops the run.")
    patience: int = _option(3, "Evaluations without a new best before the rule 'patience' stops the run.")
    planned_looks: int | None = _option(
        None, "Number of evaluations planned. Default: worked out from the schedule where it can be."
    )
    save_best: bool = _option(
        False,
        "Ask the Trainer for a checkpoint whenever HRE is the best so far, and keep the best.",
    )
    log: Log = _option(
        "core",
        "What trackers show: core (score, change since the start, push, verdict) or all. The record always has all.",
    )
    workspace: bool = _option(
        False,
        "Save a W&B workspace for the run's project, once: the score and its chart beside what the run logs "
        "(extra 'workspace').",
    )
    probes: bool = _option(False, "Also score rewrites of each answer (style probes), at about seven times the tokens.")
    cutoff: str | None = _option(
        None, "The model's knowledge cutoff, 2024-05-31: HRE is also told of questions from before and after that day."
    )
    contamination: Contamination = _option(
        "warn",
        "Held-out answers found in the training data: warn, raise (refuse to train) or off (do not look).",
    )
    on_error: OnError = _option(
        "skip", "A failed evaluation is recorded and skipped on all ranks ('skip') or ends the run ('raise')."
    )
    seed: int = _option(0, "Seed of every resampling. Never touches the global random state.")

    def __post_init__(self) -> None:
        for name in _HINTS:
            object.__setattr__(self, name, check_option(name, getattr(self, name), f"HREConfig.{name}"))
        object.__setattr__(self, "chat_template_kwargs", _plain_object(self.chat_template_kwargs))
        if (self.stop_rule == "target") != (self.target is not None):
            raise ValueError(
                f"HREConfig.target is {self.target!r} and HREConfig.stop_rule {self.stop_rule!r}; "
                "a target and the rule 'target' need each other"
            )
        if self.stop_rule not in ("never", "patience", "target") and not self.eval_on_start:
            raise ValueError(f"HREConfig.stop_rule {self.stop_rule!r} compares with step 0: it needs eval_on_start")

    @property
    def template_kwargs(self) -> dict[str, Any]:
        """`chat_template_kwargs` as the chat template takes them."""
        given = self.chat_template_kwargs
        return given if isinstance(given, dict) else {}

    def as_dict(self) -> dict[str, Any]:
        """All fields, JSON-plain."""
        return asdict(self)

    def identity(self, rendering: str | None = None) -> dict[str, Any]:
        """What scores depend on; evaluations that differ in it must not be joined.

        Args:
            rendering: hash of the contexts that a chat template made (`HREResult.rendering`); the arguments of the
                template count through it.
        """
        fields = {name: getattr(self, name) for name in _IDENTITY}
        return fields if rendering is None else {**fields, "rendering": rendering}


def check_config(config: object) -> HREConfig:
    """The config given, the default for `None`.

    Raises:
        ValueError: it is something else.
    """
    if config is None:
        return HREConfig()
    if not isinstance(config, HREConfig):
        hint = ": call its .to_config()" if hasattr(config, "to_config") else ""
        raise ValueError(f"config: found {config!r:.80}, expected an HREConfig or None{hint}")
    return config


def check_option(name: str, value: Any, where: str) -> Any:
    """The value of the option `name` in plain Python types (NumPy numbers become int and float).

    Args:
        where: how the error calls it.

    Raises:
        ValueError: it is of another type than the option's annotation says, or outside what the option allows.
    """
    hint = _HINTS[name]
    parts = get_args(hint) if get_origin(hint) is UnionType else (hint,)
    if value is None and type(None) in parts:
        return None
    if get_origin(hint) is Literal and not (isinstance(value, str) and value in get_args(hint)):
        raise ValueError(f"{where} is {value!r:.80}; allowed: {', '.join(get_args(hint))}")
    # It becomes part of keys and of file names.
    if name == "name" and not _is_name(value):
        raise ValueError(f"{where} is {value!r:.80}; letters, digits, '_' and '-' only")
    if name == "cutoff":
        # YAML reads a date as one.
        if (day := day_of(value)) is None:
            raise ValueError(f"{where} is {value!r:.80}; it must be a day such as 2024-05-31 or None")
        return day
    kind = next((kind for kind in _KINDS if kind in parts), None)
    return value if kind is None else _check_number(name, value, where, kind, optional=type(None) in parts)


def _check_number(name: str, value: Any, where: str, kind: type, *, optional: bool) -> Any:
    fits, plain, words = _KINDS[kind]
    if not fits(value):
        raise ValueError(f"{where} is {value!r:.80}; it must be {words}{' or None' if optional else ''}")
    if name in _AT_LEAST and value < _AT_LEAST[name]:
        raise ValueError(f"{where} is {value!r}; it must be at least {_AT_LEAST[name]:g}")
    if name in _OPEN_UNIT and not 0 < value < 1:
        raise ValueError(f"{where} is {value!r}; it must lie between 0 and 1")
    return plain(value)


def _is_name(value: object) -> bool:
    return isinstance(value, str) and value.replace("_", "").replace("-", "").isalnum()


def _is_whole(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and abs(int(value)) <= _MOST


def _is_finite(value: object) -> bool:
    if not isinstance(value, Real) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        # A whole number too large for a float.
        return False


def _plain_real(value: Any) -> Any:
    return value if type(value) in (int, float) else float(value)


# Type in an annotation -> what fits, how it becomes plain, what to call it.
_KINDS: dict[type, tuple[Callable[[Any], bool], Callable[[Any], Any], str]] = {
    bool: (lambda value: isinstance(value, bool), bool, "True or False"),
    int: (_is_whole, int, "a whole number up to 2**53"),
    float: (_is_finite, _plain_real, "a finite number"),
}
_HINTS = get_type_hints(HREConfig)
# The options that are numbers or switches.
NUMERIC_OPTIONS = tuple(name for name, hint in _HINTS.items() if set(_KINDS) & {hint, *get_args(hint)})


def other_rendering(one: object, other: object) -> str:
    """A sentence on two identities that differ in what the chat template wrote; empty where they do not."""
    prints = [side.get("rendering") if isinstance(side, Mapping) else None for side in (one, other)]
    if prints[0] == prints[1]:
        return ""
    return (
        " The chat template wrote other contexts: another template, other arguments, or another day's date in it "
        "(chat_template_kwargs can hold a date still where the template reads one)."
    )


def _plain_object(given: object) -> dict[str, Any] | None:
    """`chat_template_kwargs` as a JSON object of its own."""
    try:
        spelled = given if isinstance(given, str) else json.dumps(_as_dict(given), allow_nan=False)
        plain = json.loads(spelled)
    except (TypeError, ValueError, RecursionError):
        plain = ()
    if not (plain is None or isinstance(plain, dict)):
        raise ValueError(
            f"HREConfig.chat_template_kwargs is {given!r:.200}; it must be a JSON object such as "
            '{"enable_thinking": false}'
        )
    if taken := sorted(set(plain or ()) & set(_OF_RENDERING)):
        raise ValueError(
            f"HREConfig.chat_template_kwargs has {taken[0]!r}, which HRE sets itself; allowed: what the template reads"
        )
    return plain


def _as_dict(given: object) -> object:
    return dict(given) if isinstance(given, Mapping) else given


def _to_config(arguments: Any) -> HREConfig:
    """The `HREConfig` that these command-line or YAML arguments spell."""
    return HREConfig(**{f.name.removeprefix("hre_"): getattr(arguments, f.name) for f in fields(arguments)})


# The fields of HREConfig under the prefix `hre_` (`--hre_eval_steps 50`, `hre_stop_rule: drop_from_start`), so that
# it stands beside TRL's configs in one parser: TrlParser((ScriptArguments, SFTConfig, ModelConfig, HREArguments)).
HREArguments = make_dataclass(
    "HREArguments",
    [
        (
            f"hre_{f.name}",
            get_type_hints(HREConfig)[f.name],
            field(default=f.default, metadata=dict(f.metadata)),
        )
        for f in fields(HREConfig)
    ],
    namespace={"to_config": _to_config, "__doc__": HREConfig.__doc__},
)
HREArguments.__module__ = __name__
