"""Ways to score the same answers: two harnesses as they are used, every layout of ours, and the most one could hope for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from hre_callback import HumanRankEvaluator, Question, load_questions
from hre_callback.batches import Group, group_by_context
from hre_callback.budget import default_budget
from hre_callback.encoding import EncodedAnswer, Key, encode
from hre_callback.layout import context_length, plan
from hre_callback.loglikelihood import score_batches
from hre_callback.stackexchange import build_questions

DATA = Path(__file__).parents[3] / "shared" / "data"
BATCH = 4  # rows a batch of the harnesses: about as many tokens as a batch of ours on the CPU
Scores = dict[Key, float]
Way = Callable[[], Scores]


def beer_questions(count: int) -> list[Question]:
    """Real questions whose answers are longer than they are; none when the file is not on this machine."""
    path = DATA / "hre_beer.jsonl"
    return list(load_questions(path, max_questions=count)) if path.exists() else []


def long_questions(count: int) -> list[Question]:
    """The longest questions of a real dump, each answer cut to its first sentence; none without the dump."""
    path = DATA / "stackexchange" / "history_meta" / "Posts.xml"
    if not path.exists():
        return []
    built = build_questions(path, topic="history_meta", min_spread=1).questions
    longest = sorted(built, key=lambda q: -len(q.question))[:count]
    return [
        replace(q, answers=tuple(replace(a, text=a.text.split(". ")[0]) for a in q.answers)) for q in longest
    ]


def encoded(questions: Sequence[Question], model: Any, tokenizer: Any) -> tuple[EncodedAnswer, ...]:
    return encode(questions, tokenizer, max_length=context_length(model, tokenizer)).answers


def official(model: Any, answers: Sequence[EncodedAnswer]) -> Way:
    """(a) What the official harness does: right-padded pairs, longest first, full logits, log-softmax of all."""
    rows = sorted(answers, key=lambda a: -len(a.context) - len(a.continuation))

    @torch.no_grad()
    def score() -> Scores:
        found = {}
        for start in range(0, len(rows), BATCH):
            batch = rows[start : start + BATCH]
            ids = torch.nn.utils.rnn.pad_sequence(
                [torch.tensor(a.context + a.continuation)[:-1] for a in batch], batch_first=True
            )
            logprobs = torch.log_softmax(model(input_ids=ids).logits, dim=-1)
            for row, a in zip(logprobs, batch, strict=True):
                at = len(a.context) - 1
                picked = row[at : at + len(a.continuation)].gather(-1, torch.tensor(a.continuation)[:, None])
                found[a.key] = float(picked.double().sum())
        return found

    return score


def harness(model: Any, tokenizer: Any, questions: Sequence[Question]) -> Way:
    """(b) `HFLM.loglikelihood` of lm-evaluation-harness, the package itself."""
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    lm = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=BATCH, device="cpu")
    keys = [(q.id, index) for q in questions for index in range(len(q.answers))]
    requests = [
        Instance("loglikelihood", {}, (f"Question: {q.question}\nAnswer:", f" {a.text}"), 0)
        for q in questions
        for a in q.answers
    ]
    return lambda: dict(
        zip(keys, (value for value, _ in lm.loglikelihood(requests, disable_tqdm=True)), strict=True)
    )


def layout(model: Any, answers: Sequence[EncodedAnswer], name: Any) -> Way:
    """(c) One of our layouts by itself."""
    batches = plan(group_by_context(answers), name, default_budget(model))
    return lambda: score_batches(model, batches)


def automatic(model: Any, tokenizer: Any, questions: Sequence[Question]) -> Way:
    """(c) What a user gets: one whole evaluation with the default settings, prepared before."""
    evaluator = HumanRankEvaluator(questions, tokenizer)
    evaluator.prepare(model)

    def score() -> Scores:
        rows = zip(questions, evaluator.evaluate(model).loglikelihoods, strict=True)
        return {(q.id, index): value for q, values in rows for index, value in enumerate(values)}

    return score


def dense_limit(model: Any, groups: Sequence[Group]) -> Way:
    """(d) As many tokens as all questions and answers have, in full rectangles; logits of as many as are scored.

    No mask, no padding, no softmax: rows are as long as a question with its answers is on average.
    """
    unique = sum(group.tokens for group in groups)
    wanted = sum(len(c) for group in groups for c in group.continuations)
    ids = torch.cat([torch.tensor(g.context + sum((c[:-1] for c in g.continuations), ())) for g in groups])
    keep = (torch.arange(1, unique + 1) * wanted // unique).diff(prepend=torch.tensor([0])) > 0
    length = unique // len(groups)
    rows = max(1, default_budget(model) // length)

    @torch.no_grad()
    def score() -> Scores:
        start = 0
        while start < unique:
            count = min(rows, max(1, (unique - start) // length))
            part = slice(start, min(start + count * length, unique))
            shape = (count, -1)
            model(input_ids=ids[part].view(shape), use_cache=False, logits_to_keep=keep[part].view(shape))
            start = part.stop
        return {}

    return score
