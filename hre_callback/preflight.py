"""Before the first step: usable arguments, data asked as it is trained, no held-out answers trained on.

What cannot be used is refused by name, when the callback is made. The rest is advice, and advice never ends a run by an
error of its own; what it could not check, it says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch

from . import distributed
from .binding import trainers_loop
from .config import HREConfig, check_config
from .data.contamination import Overlap, find_overlap
from .data.questions import Question
from .data.training_data import TrainingRows
from .plain_text import plain_logger
from .scoring.chat import trained_on_chat
from .scoring.evaluator import HumanRankEvaluator
from .scoring.rewards import RewardFunc, Rewards, score_rewards

logger = plain_logger(__name__)


def check_arguments(config: object, reward_funcs: object, proxies: object) -> None:
    """Refuse what a callback cannot use.

    Raises:
        ValueError: names the argument, what was found and what was expected.
    """
    check_config(config)
    if isinstance(reward_funcs, (str, bytes, Mapping)) or not isinstance(reward_funcs, Iterable):
        raise ValueError(f"reward_funcs: found {reward_funcs!r:.80}, expected a list such as the trainer's, [reward]")
    for place, one in enumerate(reward_funcs):
        # A module is callable too.
        if not (isinstance(one, str) or callable(one)):
            raise ValueError(
                f"reward_funcs[{place}]: found {one!r:.80}, expected a function, a reward model, its folder or hub id"
            )
    if proxies is not None and not isinstance(proxies, Mapping):
        raise ValueError(f'proxies: found {proxies!r:.80}, expected a mapping such as {{"my_metric": "up"}}')
    for key in proxies or ():
        if not isinstance(key, str):
            raise ValueError(f"proxies: found the key {key!r:.80}, expected the name of a training signal")


def prompt_advice(dataset: Any, processor: Any, config: HREConfig) -> str | None:
    """What to say when the questions are asked in another form than the training data; None when all is well."""
    try:
        rows = TrainingRows(dataset)
    except ValueError:
        # A stream, a transform, media alone: no row can be looked at; find_overlap says so too.
        return None
    chat = trained_on_chat(rows, processor, config.template_kwargs)
    if chat is None or chat == (config.prompt == "chat"):
        return None
    data, wanted = ("conversational", "chat") if chat else ("not conversational", "paper")
    return (
        f"The training data is {data} and HRE asks with prompt={config.prompt!r}: "
        f"HREConfig(prompt={wanted!r}) would measure the model as it is trained."
    )


def check_contamination(
    dataset: Any, questions: Sequence[Question], tokenizer: Any, config: HREConfig
) -> Overlap | None:
    """What the training data shares with the held-out answers; None when nobody wants to know. Collective.

    Raises:
        ValueError: it shares something, and `contamination="raise"`.
    """
    if config.contamination == "off":
        return None
    overlap = distributed.on_rank0(lambda: find_overlap(dataset, questions, tokenizer, seed=config.seed))
    if overlap.ids and config.contamination == "raise":
        raise ValueError(overlap.sentence())
    return overlap


def advise(evaluator: HumanRankEvaluator, dataset: Any) -> dict[str, Any] | None:
    """Say what the training data tells about the questions, or refuse to train on held-out answers. Collective.

    Returns:
        what the record keeps of the overlap; `None` when nobody wants to know.
    """
    overlap = check_contamination(dataset, evaluator.questions, evaluator.tokenizer, evaluator.config)
    if distributed.rank() == 0:
        if advice := prompt_advice(dataset, evaluator.processor, evaluator.config):
            logger.warning(advice)
        if overlap is not None and overlap.ids:
            logger.warning(overlap.sentence())
        if overlap is not None and overlap.unchecked:
            logger.warning(f"HRE: {overlap.unchecked}")
    if overlap is None:
        return None
    return {
        "questions": overlap.ids,
        "n": len(overlap.ids),
        "rows": overlap.rows,
        "of": overlap.of,
        "unchecked": overlap.unchecked,
    }


def explicit_rewards(
    evaluator: HumanRankEvaluator, reward_funcs: Sequence[RewardFunc | torch.nn.Module | str]
) -> tuple[dict[str, Rewards], str | None]:
    """The explicit rewards of the answers, and why there are none: a function that cannot score them is left out."""
    config, processor, questions = evaluator.config, evaluator.processor, evaluator.questions
    try:
        return distributed.on_rank0(
            lambda: score_rewards(reward_funcs, questions, config, processor, trainers_loop())
        ), None
    except Exception as error:
        # A user's function may raise anything; recorded by our caller.
        if config.on_error == "raise":
            raise
        reason = f"{type(error).__name__}: {error}"
        logger.warning(f"HRE goes on without the explicit reward, which cannot score its answers: {reason}")
        return {}, reason
