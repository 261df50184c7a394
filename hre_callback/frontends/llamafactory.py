"""LLaMA-Factory: `python -m hre_callback.frontends.llamafactory train.yaml`, with `hre_` keys beside its own.

Instead of `llamafactory-cli train train.yaml`, whose file may hold no keys but its own: `hre run` serves that one.
"""

from __future__ import annotations

from typing import Any

from ..callback import HumanRankEvalCallback
from .settings import from_keys, is_ours


def run_exp(args: dict[str, Any] | None = None) -> None:
    """LLaMA-Factory's `run_exp` with the callback.

    Args:
        args: its arguments and, behind `hre_`, questions and fields of `HREConfig`; by default those of the YAML or
            JSON file, and of the `key=value` words behind it, on the command line.

    Raises:
        ValueError: no questions, or an unknown key behind `hre_`.
    """
    from llamafactory.hparams.parser import read_args
    from llamafactory.train.tuner import run_exp as train

    given = read_args(args)
    if not isinstance(given, dict):
        raise ValueError("expected a YAML or JSON file of LLaMA-Factory's arguments, with hre_questions among them")
    settings = from_keys(given, "LLaMA-Factory's arguments")
    rest = {key: value for key, value in given.items() if not is_ours(key)}
    train(rest, callbacks=[HumanRankEvalCallback(settings.load(), settings.config)])


if __name__ == "__main__":
    run_exp()
