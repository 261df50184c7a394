"""What to change when a verdict is more than `aligned`: two or three settings for each cause, each with its source."""

from __future__ import annotations

from collections.abc import Iterable

from ..stats.verdict import Cause

_LOWER_RATE = "a lower learning_rate or fewer steps (over-optimisation grows with the distance moved: Gao et al. 2023)"
_HIGHER_BETA = "a higher beta, which holds the policy nearer to its start (Rafailov et al. 2023, eq. 3)"
_ON_POLICY = "pairs drawn from the model as it is now (on-policy data: Tajwar et al. 2024)"
_ANSWERS = "the answers that it is trained on: are they what these people like? (Lambert & Calandra 2023)"
_KEEP_BEST = 'the checkpoint of the best look: save_best=True and stop_rule="drop_from_best" keep it and stop near it'
_END_HERE = 'an end here: stop_rule="decoupled" and save_best=True stop the run and keep its best checkpoint'
# Of a run that logs rewards (pairs, RL), and of one that does not (SFT), which has no beta and no pairs.
_OF_REWARDS: dict[Cause, tuple[str, ...]] = {
    "": (),
    "fall": (_KEEP_BEST, _LOWER_RATE, _HIGHER_BETA),
    "push": (
        "the labels: are chosen and rejected swapped, or judged by another taste? (Lambert & Calandra 2023)",
        "a loss that length does not win: ld_alpha in DPOConfig, or SimPO (Liu et al. 2024, Meng et al. 2024)",
        _ON_POLICY,
    ),
    "no gain": (_END_HERE, _ON_POLICY),
    "agreement lost": (_HIGHER_BETA, _LOWER_RATE, _ON_POLICY),
}
_OF_ANSWERS: dict[Cause, tuple[str, ...]] = {
    "": (),
    "fall": (_KEEP_BEST, _LOWER_RATE),
    "push": (_ANSWERS, _LOWER_RATE),
    "no gain": (_END_HERE, _ANSWERS),
    "agreement lost": (_ANSWERS, _LOWER_RATE),
}


def advice(cause: Cause, signals: Iterable[str]) -> str:
    """What to try, in one sentence; empty where nothing is wrong.

    Args:
        signals: the training signals that the run has logged.
    """
    rewarded = any("reward" in key for key in signals)
    found = (_OF_REWARDS if rewarded else _OF_ANSWERS)[cause]
    return f"To change: {'; '.join(found)}." if found else ""
