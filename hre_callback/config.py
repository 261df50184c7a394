"""The one place where every option of an evaluation is named, explained and checked."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields, make_dataclass
from typing import Any, Literal, get_args, get_type_hints

Prompt = Literal["paper", "chat"]
Normalization = Literal["characters", "bytes", "tokens", "none"]
Layout = Literal["auto", "packed", "cached", "padded"]
StopRuleName = Literal["never", "drop_from_start", "drop_from_best", "mismatch", "patience"]
Contamination = Literal["warn", "raise", "off"]
OnError = Literal["skip", "raise"]

_CHOICES: dict[str, tuple[str, ...]] = {
    "prompt": get_args(Prompt),
    "normalization": get_args(Normalization),
    "layout": get_args(Layout),
    "stop_rule": get_args(StopRuleName),
    "contamination": get_args(Contamination),
    "on_error": get_args(OnError),
}
_AT_LEAST: dict[str, float] = {
    "max_length": 32,
    "token_budget": 1,
    "eval_steps": 1,
    "consecutive": 1,
    "patience": 1,
    "planned_looks": 1,
    "min_delta": 0.0,
}
_OPEN_UNIT: tuple[str, ...] = ("alpha", "max_overhead")
# What a score depends on. Two evaluations are comparable only when these, and the questions, are equal.
_IDENTITY: tuple[str, ...] = ("prompt", "normalization", "max_length")


def _option(default: Any, help: str) -> Any:
    return field(default=default, metadata={"help": help})


@dataclass(frozen=True, kw_only=True)
class HREConfig:
    """How HumanRankEval is scored, when it runs and what it may do to the run.

    For `trl.TrlParser` and `transformers.HfArgumentParser` use `HREArguments`: four of these names also exist in
    `TrainingArguments`, which would make argparse refuse the pair.

    Raises:
        ValueError: a value is outside what its field allows; the message names the field, the value and
            what is allowed.
    """

    name: str = _option(
        "hre", "Prefix of every key and name of the record file; two callbacks need two names."
    )
    prompt: Prompt = _option(
        "paper", "'paper': 'Question: ...\\nAnswer:' (the published protocol); 'chat': the chat template."
    )
    normalization: Normalization = _option(
        "characters", "What a log-likelihood is divided by: characters (paper), bytes, tokens or none."
    )
    max_length: int | None = _option(
        None,
        "Longest question + answer in tokens; longer answers lose their tail. Default: the model's context.",
    )
    layout: Layout = _option(
        "auto",
        "How answers share their question: auto (fastest that is exact for the model), packed, cached, padded.",
    )
    token_budget: int | None = _option(None, "Tokens per forward pass. Default: found from the free memory.")
    eval_steps: int | None = _option(
        None, "Evaluate every so many optimizer steps. Default: whenever the Trainer evaluates."
    )
    log_spaced: bool = _option(
        False, "Also evaluate at steps 1, 2, 4, 8, ... before the first scheduled evaluation."
    )
    eval_on_start: bool = _option(
        True, "Take the step-0 baseline before training. Every difference refers to it."
    )
    eval_on_end: bool = _option(True, "Evaluate after the last step when the schedule did not.")
    max_overhead: float | None = _option(
        None,
        "Largest share of wall time for HRE, e.g. 0.05; the schedule stretches to keep it. Default: no cap.",
    )
    stop_rule: StopRuleName = _option(
        "never",
        "never, drop_from_start, drop_from_best, mismatch (each with false stops <= alpha), or patience "
        "(uncontrolled: stops healthy runs by noise).",
    )
    alpha: float = _option(0.05, "False-alarm rate of the whole run, over all its evaluations.")
    min_delta: float = _option(0.01, "Smallest fall of HRE worth stopping for.")
    consecutive: int = _option(2, "Evaluations in a row that must agree before a rule stops the run.")
    patience: int = _option(3, "Evaluations without a new best before the rule 'patience' stops the run.")
    planned_looks: int | None = _option(
        None, "Number of evaluations planned. Default: worked out from the schedule where it can be."
    )
    save_best: bool = _option(False, "Ask the Trainer for a checkpoint whenever HRE is the best so far.")
    contamination: Contamination = _option(
        "warn",
        "Held-out answers found in the training data: warn, raise (refuse to train) or off (do not look).",
    )
    on_error: OnError = _option(
        "skip", "A failed evaluation is recorded and skipped on all ranks ('skip') or ends the run ('raise')."
    )
    seed: int = _option(0, "Seed of every resampling. Never touches the global random state.")

    def __post_init__(self) -> None:
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                raise ValueError(
                    f"HREConfig.{name} is {getattr(self, name)!r}; allowed: {', '.join(allowed)}"
                )
        for name, least in _AT_LEAST.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"HREConfig.{name} is {value!r}; it must be at least {least:g}")
        for name in _OPEN_UNIT:
            value = getattr(self, name)
            if value is not None and not 0 < value < 1:
                raise ValueError(f"HREConfig.{name} is {value!r}; it must lie between 0 and 1")
        if not self.name or not self.name.replace("_", "").replace("-", "").isalnum():
            raise ValueError(f"HREConfig.name is {self.name!r}; letters, digits, '_' and '-' only")
        if self.stop_rule != "never" and self.stop_rule != "patience" and not self.eval_on_start:
            raise ValueError(
                f"HREConfig.stop_rule {self.stop_rule!r} compares with step 0: it needs eval_on_start"
            )

    def as_dict(self) -> dict[str, Any]:
        """All fields, JSON-plain."""
        return asdict(self)

    def identity(self) -> dict[str, Any]:
        """The fields that scores depend on; evaluations that differ in them must not be joined."""
        return {name: getattr(self, name) for name in _IDENTITY}


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
