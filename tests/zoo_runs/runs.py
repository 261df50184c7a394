"""The runs of the zoo by name: what each does, its seed and its settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Run:
    """One training.

    Attributes:
        kind: what it stands for.
        did: in a sentence.
        rows: a choice of `material.CHOICES`, of which the first `most` are used.
        settings: of the trainer, beside those that all runs share (`record.trainer_of`).
        reward: of GRPO.
    """

    name: str
    kind: str
    did: str
    trainer: str
    rows: str
    seed: int = 1
    steps: int = 24
    most: int | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    reward: Callable[..., list[float]] | None = None


def brevity(completions: list[str], **kwargs: Any) -> list[float]:
    """The shorter, the better."""
    return [-len(completion) / 100 for completion in completions]


def _rate(rate: float, **more: Any) -> dict[str, Any]:
    return {"learning_rate": rate, **more}


_GRPO = {"num_generations": 4, "per_device_train_batch_size": 8, "max_completion_length": 32, "beta": 0.02}

# fmt: off
_ALL = [
    Run("sft_best_1", "healthy", "SFT on people's best answers", "sft", "best", settings=_rate(1e-4)),
    Run("sft_best_2", "healthy", "the same with another seed", "sft", "best", 2, settings=_rate(1e-4)),
    Run("sft_chosen", "healthy", "SFT on the best answers to the questions of sft_worst_1", "sft", "chosen", settings=_rate(1e-4)),
    Run("dpo_right_1", "healthy", "DPO on right pairs", "dpo", "pairs", settings=_rate(1e-4, beta=0.1)),
    Run("dpo_right_2", "healthy", "the same with another seed, rate 2e-4", "dpo", "pairs", 2, steps=18, most=64, settings=_rate(2e-4, beta=0.1)),
    Run("sft_flat", "flat", "SFT at a rate of 1e-9", "sft", "best", settings=_rate(1e-9)),
    Run("dpo_coin", "noise", "DPO on pairs that a coin has ordered", "dpo", "coin", steps=18, most=64, settings=_rate(2e-4, beta=0.1)),
    Run("dpo_reversed", "reversed", "DPO on reversed pairs", "dpo", "reversed", steps=18, most=64, settings=_rate(2e-4, beta=0.1)),
    Run("dpo_reversed_slow", "reversed", "DPO on reversed pairs, rate 2e-5", "dpo", "reversed", steps=18, most=64, settings=_rate(2e-5, beta=0.1)),
    Run("dpo_reversed_hot", "reversed", "DPO on reversed pairs, rate 1e-3", "dpo", "reversed", steps=18, most=64, settings=_rate(1e-3, beta=0.05)),
    Run("sft_few_hot", "over-optimised", "SFT on 12 best answers, over and over, rate 1e-3", "sft", "best", most=12, settings=_rate(1e-3)),
    Run("dpo_few_hot", "over-optimised", "DPO on 24 right pairs, over and over, rate 1e-3", "dpo", "pairs", most=24, settings=_rate(1e-3, beta=0.05)),
    Run("dpo_hot", "over-optimised", "DPO on right pairs, rate 2e-3", "dpo", "pairs", steps=18, most=64, settings=_rate(2e-3, beta=0.05)),
    Run("sft_worst_1", "worst answers", "SFT on people's worst answers", "sft", "worst", settings=_rate(1e-4)),
    Run("sft_worst_2", "worst answers", "the same with another seed, rate 1e-3", "sft", "worst", 2, settings=_rate(1e-3)),
    Run("dpo_shorter", "length reward", "DPO on pairs ordered by a reward for brevity (in place of GRPO)", "dpo", "shorter", steps=18, most=64, settings=_rate(2e-4, beta=0.1)),
    Run("dpo_longer", "length reward", "DPO on pairs ordered by a reward for length (in place of GRPO)", "dpo", "longer", steps=18, most=64, settings=_rate(2e-4, beta=0.1)),
    Run("dpo_marked", "format reward", "DPO on pairs ordered by a reward for lists and emphases (in place of GRPO)", "dpo", "marked", steps=18, most=64, settings=_rate(2e-4, beta=0.1)),
    Run("grpo_brevity", "length reward", "GRPO on a reward for brevity", "grpo", "pairs", steps=18, settings=_rate(2e-4, **_GRPO), reward=brevity),
    Run("reward_small", "reward of too little", "a reward model trained on 12 pairs; HRE is its own", "reward", "pairs", most=12, settings=_rate(3e-4)),
    Run("dpo_small_reward", "reward of too little", "DPO on pairs ordered by that reward model (in place of GRPO)", "dpo", "small_reward", steps=18, most=64, settings=_rate(2e-4, beta=0.1)),
    Run("dpo_displaced", "displacement", "DPO on the 24 right pairs whose answers are most alike, beta 0.01", "dpo", "alike", most=24, steps=18, settings=_rate(3e-4, beta=0.01)),
    Run("sft_history", "forgetting", "SFT on another forum, about how a site is run, rate 5e-4", "sft", "history", settings=_rate(5e-4)),
    Run("sft_code", "forgetting", "SFT on Python's standard library, rate 1e-3", "sft", "code", settings=_rate(1e-3)),
]
# fmt: on
RUNS = {run.name: run for run in _ALL}
