"""Explicit rewards of the held-out answers: from the functions and reward models that GRPO is given."""

from __future__ import annotations

import asyncio
import functools
import inspect
import math
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch

from ..config import HREConfig
from ..data.messages import as_messages, paper_context, texts_of
from ..data.questions import Question
from .chat import ChatTemplate
from .errors import NotScorable
from .loading import load_model
from .no_trace import random_state_kept
from .sequences import rows_at_once, score_sequences

Numbers = Sequence[float | None]
RewardFunc = Callable[..., Numbers | Awaitable[Numbers]]
# (questions, answers).
Rewards = list[list[float | None]]


def score_rewards(
    reward_funcs: Sequence[RewardFunc | torch.nn.Module | str],
    questions: Sequence[Question],
    config: HREConfig,
    tokenizer: Any,
    loop: asyncio.AbstractEventLoop | None = None,
) -> dict[str, Rewards]:
    """Reward function's name -> reward of every answer; scored once, since neither answers nor functions change.

    Args:
        reward_funcs: as for `GRPOTrainer`: functions, plain or async, called with `prompts`, `completions` and
            `completion_ids` (in chat form when `config.prompt` is `"chat"`), reward models with one label, or the
            folder or hub id of one.
        tokenizer: of the policy, or a processor that holds it, for `completion_ids` and whole texts; also of a
            reward model that is given as a module. One that is given by name brings its own tokenizer and chat
            template.

        loop: the running event loop in which async functions are awaited; `None` for one of our own. The clients that
            such functions keep belong to a loop, so it should be the one that training awaits them in.

    Raises:
        ValueError: a function does not return one number (or `None`) per answer; names the function. Or a folder or
            hub id holds no whole reward model: GRPO would draw the head at random.
    """
    processor, tokenizer = tokenizer, getattr(tokenizer, "tokenizer", tokenizer)
    prompts, completions, ids = _in_trl_form(questions, config, tokenizer)
    sizes = [len(question.answers) for question in questions]
    found: dict[str, Rewards] = {}
    for func in reward_funcs:
        if isinstance(func, (str, torch.nn.Module)):
            name = _model_name(func)
            with random_state_kept():
                numbers: Any = _of_model(func, questions, config, processor)
        else:
            name = _function_name(func)
            with random_state_kept():
                numbers = func(prompts=prompts, completions=completions, completion_ids=ids)
                numbers = _awaited(numbers, loop) if inspect.isawaitable(numbers) else numbers
        found[_unused(name, found)] = _by_question(name, numbers, sizes)
    return found


def _awaited(numbers: Awaitable[Numbers], loop: asyncio.AbstractEventLoop | None) -> Numbers:
    """What an async function gives. In another thread: this one may have a loop that runs already (a notebook)."""

    async def wait() -> Numbers:
        return await numbers

    if loop is not None:
        return asyncio.run_coroutine_threadsafe(wait(), loop).result()
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: asyncio.run(wait())).result()


def _function_name(func: Any) -> str:
    while isinstance(func, functools.partial):
        func = func.func
    return getattr(func, "__name__", type(func).__name__)


def _unused(name: str, taken: dict[str, Rewards]) -> str:
    """The name itself, or with a number when another function has it: two lambdas are two rewards."""
    number = 1 + sum(other == name or other.startswith(f"{name}#") for other in taken)
    return name if number == 1 else f"{name}#{number}"


def total(rewards: dict[str, Rewards], weights: Sequence[float] | None = None) -> Rewards:
    """The weighted sum over functions, as GRPO adds them up: over those that say something of an answer.

    Args:
        weights: one per function; `None`, or another number of them, for equal weights.
    """
    if weights is None or len(weights) != len(rewards):
        weights = [1.0] * len(rewards)
    return [
        [_sum(answer, weights) for answer in zip(*question, strict=True)]
        for question in zip(*rewards.values(), strict=True)
    ]


def _sum(numbers: Sequence[float | None], weights: Sequence[float]) -> float | None:
    said = [weight * number for weight, number in zip(weights, numbers, strict=True) if number is not None]
    return sum(said) if said else None


def _in_trl_form(
    questions: Sequence[Question], config: HREConfig, tokenizer: Any
) -> tuple[list[Any], list[Any], list[list[int]]]:
    """One prompt and one completion per answer as TRL hands them to a reward function, and completion ids."""
    prompts: list[Any] = []
    completions: list[Any] = []
    for question in questions:
        for answer in question.answers:
            if config.prompt == "chat":
                prompts.append(as_messages(question.question))
                completions.append([{"role": "assistant", "content": answer.text}])
            else:
                prompts.append(paper_context(question.question))
                completions.append(f" {answer.text}")
    answers = [a.text for q in questions for a in q.answers]
    ids = tokenizer(answers, add_special_tokens=False, verbose=False)["input_ids"]
    return prompts, completions, [list(row) for row in ids]


def _whole_texts(questions: Sequence[Question], config: HREConfig, processor: Any) -> list[str]:
    """Every question with each of its answers as one text, the way a reward model is trained on it."""
    pairs = [(question.question, answer.text) for question in questions for answer in question.answers]
    if config.prompt != "chat":
        return [f"{paper_context(question)} {answer}" for question, answer in pairs]
    written = [text for question, answer in pairs for text in (*texts_of(question), answer)]
    template = ChatTemplate(processor, config.template_kwargs, written)
    return [template.render(*pair) for pair in pairs]


def _model_name(model: str | torch.nn.Module) -> str:
    """TRL's name for a reward model in its logs: the last part of where it came from."""
    config = getattr(model, "config", None)
    path = model if isinstance(model, str) else str(getattr(config, "_name_or_path", ""))
    return path.rstrip("/").split("/")[-1] or type(model).__name__


def _of_model(
    model: str | torch.nn.Module, questions: Sequence[Question], config: HREConfig, processor: Any
) -> list[float]:
    tokenizer = writer = processor
    if isinstance(model, str):
        net, tokenizer = load_model(model, dtype="auto")
        # as GRPO does, where it can
        writer = tokenizer if tokenizer.chat_template else processor
    else:
        net = model
    tokenizer = getattr(tokenizer, "tokenizer", tokenizer)
    texts = _whole_texts(questions, config, writer)
    encoded = tokenizer(texts, add_special_tokens=False, verbose=False, truncation=True)["input_ids"]
    sequences = [list(ids) for ids in encoded]
    try:
        return score_sequences(net, sequences, rows_at_once(net, sequences))
    except NotScorable as error:
        raise ValueError(f"{_model_name(model)}: {error}") from error


def _by_question(name: str, numbers: Any, sizes: Sequence[int]) -> Rewards:
    flat = numbers.tolist() if hasattr(numbers, "tolist") else list(numbers)
    if len(flat) != sum(sizes):
        raise ValueError(
            f"reward function {name} gave {len(flat)} numbers for {sum(sizes)} answers; one each is expected"
        )
    values = iter([_number(name, number) for number in flat])
    return [[next(values) for _ in range(size)] for size in sizes]


def _number(name: str, value: Any) -> float | None:
    """A reward as a float; NaN says nothing of the answer, as None does (GRPO reads them alike)."""
    try:
        number = float(value) if value is not None and not isinstance(value, str) else value
    except (TypeError, ValueError, OverflowError):
        number = str(value)
    if isinstance(number, str):
        raise ValueError(f"reward function {name} gave {value!r:.60}; expected a number or None for each answer")
    return None if number is None or math.isnan(number) else number
