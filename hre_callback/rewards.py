"""Explicit rewards of the held-out answers: from the functions and reward models that GRPO is given."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch

from .config import HREConfig
from .loglikelihood import no_trace, random_state_kept
from .questions import Question

RewardFunc = Callable[..., Sequence[float | None]]
Rewards = list[list[float | None]]  # (questions, answers)
_ROWS = 8  # texts to a forward of a reward model


def score_rewards(
    reward_funcs: Sequence[RewardFunc | torch.nn.Module | str],
    questions: Sequence[Question],
    config: HREConfig,
    tokenizer: Any,
) -> dict[str, Rewards]:
    """Reward function's name -> reward of every answer; scored once, since neither answers nor functions change.

    Args:
        reward_funcs: as for `GRPOTrainer`: functions called with `prompts`, `completions` and `completion_ids`
            (in chat form when `config.prompt` is `"chat"`), reward models with one label, or the folder or hub id of one.
        tokenizer: of the policy, for `completion_ids`; also of a reward model that is given as a module.

    Raises:
        ValueError: a function is async or does not return one number (or `None`) per answer; names the function.
    """
    prompts, completions, texts, ids = _in_trl_form(questions, config, tokenizer)
    sizes = [len(question.answers) for question in questions]
    found: dict[str, Rewards] = {}
    numbers: Sequence[float | None]
    for func in reward_funcs:
        if isinstance(func, (str, torch.nn.Module)):
            name = _model_name(func)
            with random_state_kept():  # a head that is missing from the checkpoint is drawn
                numbers = _of_model(func, texts, tokenizer)
        else:
            name = getattr(func, "__name__", type(func).__name__)
            if inspect.iscoroutinefunction(func):
                raise ValueError(f"reward function {name} is async; HRE calls sync functions only")
            with random_state_kept():
                numbers = func(prompts=prompts, completions=completions, completion_ids=ids)
        found[name] = _by_question(name, numbers, sizes)
    return found


def is_reward_model(model: torch.nn.Module) -> bool:
    """Whether a model gives sequences a number (`RewardTrainer`) and not tokens a likelihood; seen through wrappers."""
    return any("ForSequenceClassification" in type(module).__name__ for module in model.modules())


def total(rewards: dict[str, Rewards]) -> Rewards:
    """The sum over functions, as GRPO adds them up with equal weights: over those that say something of an answer."""
    return [
        [_sum(answer) for answer in zip(*question, strict=True)]
        for question in zip(*rewards.values(), strict=True)
    ]


def _sum(numbers: Sequence[float | None]) -> float | None:
    said = [number for number in numbers if number is not None]
    return sum(said) if said else None


def _in_trl_form(
    questions: Sequence[Question], config: HREConfig, tokenizer: Any
) -> tuple[list[Any], list[Any], list[str], list[list[int]]]:
    """One prompt and one completion per answer as TRL hands them to a reward, whole texts, completion ids."""
    prompts: list[Any] = []
    completions: list[Any] = []
    texts: list[str] = []
    for question in questions:
        for answer in question.answers:
            if config.prompt == "chat":
                prompts.append([{"role": "user", "content": question.question}])
                completions.append([{"role": "assistant", "content": answer.text}])
                texts.append(tokenizer.apply_chat_template([*prompts[-1], *completions[-1]], tokenize=False))
            else:
                prompts.append(f"Question: {question.question}\nAnswer:")
                completions.append(f" {answer.text}")
                texts.append(prompts[-1] + completions[-1])
    answers = [a.text for q in questions for a in q.answers]
    ids = tokenizer(answers, add_special_tokens=False, verbose=False)["input_ids"]
    return prompts, completions, texts, [list(row) for row in ids]


def _model_name(model: str | torch.nn.Module) -> str:
    """TRL's name for a reward model in its logs: the last part of where it came from."""
    path = model if isinstance(model, str) else str(getattr(model.config, "_name_or_path", ""))
    return path.rstrip("/").split("/")[-1] or type(model).__name__


def _of_model(model: str | torch.nn.Module, texts: Sequence[str], tokenizer: Any) -> list[float]:
    if isinstance(model, str):
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(model)
        net: torch.nn.Module = AutoModelForSequenceClassification.from_pretrained(model, num_labels=1)
    else:
        net = model
    encoded = tokenizer(list(texts), add_special_tokens=False, verbose=False, truncation=True)["input_ids"]
    return score_sequences(net, [list(ids) for ids in encoded])


def score_sequences(
    model: torch.nn.Module, sequences: Sequence[Sequence[int]], rows: int = _ROWS
) -> list[float]:
    """The reward model's number for every sequence of ids, in their order; leaves no trace on the model.

    Sequences are padded on the right with the pad token by which the model finds each one's last token; a model
    without one takes them one at a time.

    Raises:
        ValueError: the model has more than one label.
    """
    pad = getattr(model.config, "pad_token_id", None)
    order = sorted(range(len(sequences)), key=lambda i: -len(sequences[i]))
    step = rows if pad is not None else 1
    device = next(model.parameters()).device
    numbers = [0.0] * len(sequences)
    with no_trace(model):
        for start in range(0, len(order), step):
            batch = [torch.tensor(sequences[i]) for i in order[start : start + step]]
            ids = torch.nn.utils.rnn.pad_sequence(batch, batch_first=True, padding_value=pad or 0)
            lengths = torch.tensor([len(row) for row in batch])
            mask = (torch.arange(ids.shape[1]) < lengths[:, None]).long()
            logits = model(input_ids=ids.to(device), attention_mask=mask.to(device)).logits
            if logits.shape[-1] != 1:
                raise ValueError(
                    f"{type(model).__name__} has {logits.shape[-1]} labels; a reward model has one (num_labels=1)"
                )
            for i, number in zip(order[start : start + step], logits[:, 0].float().tolist(), strict=True):
                numbers[i] = number
    return numbers


def _by_question(name: str, numbers: Any, sizes: Sequence[int]) -> Rewards:
    flat = numbers.tolist() if hasattr(numbers, "tolist") else list(numbers)
    if len(flat) != sum(sizes):
        raise ValueError(
            f"reward function {name} gave {len(flat)} numbers for {sum(sizes)} answers; one each is expected"
        )
    values = iter([None if number is None else float(number) for number in flat])
    return [[next(values) for _ in range(size)] for size in sizes]
