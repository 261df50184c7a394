"""Ways to score the same answers: two harnesses as they are used, every layout of ours, and the most one could hope for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from hre_callback import HumanRankEvaluator, Question, load_questions
from hre_callback.data.stackexchange import build_questions
from hre_callback.scoring import kernels
from hre_callback.scoring.batches import plan
from hre_callback.scoring.budget import default_budget
from hre_callback.scoring.encoding import EncodedAnswer, Key, encode
from hre_callback.scoring.loglikelihood import learn_together, score_together
from hre_callback.scoring.plan import Group, Way, group_by_context

DATA = Path(__file__).parents[3] / "shared" / "data"
BATCH = 4  # rows a batch of the harnesses: about as many tokens as a batch of ours on the CPU
Scores = dict[Key, float]
Contestant = Callable[[], Scores]


def beer_questions(count: int) -> list[Question]:
    """Real questions whose answers are longer than they are; none when the file is not on this machine."""
    path = DATA / "hre_beer.jsonl"
    return list(load_questions(path, max_questions=count)) if path.exists() else []


def long_questions(count: int) -> list[Question]:
    """The longest questions of a real dump, each answer cut to its first sentence; none without the dump."""
    longest = sorted(_history(), key=lambda q: -len(q.question))[:count]
    return [replace(q, answers=tuple(replace(a, text=a.text.split(". ")[0]) for a in q.answers)) for q in longest]


def history_questions(count: int) -> list[Question]:
    """Questions of the same dump as they are, spread over all lengths."""
    return _spread(_history(), count)


def mixed_questions(count: int) -> list[Question]:
    """Half from each, spread over all lengths."""
    beer = beer_questions(10_000)
    return _spread(beer, (count + 1) // 2) + _spread(_history(), count // 2) if beer else []


def _history() -> list[Question]:
    path = DATA / "stackexchange" / "history_meta" / "Posts.xml"
    return list(build_questions(path, topic="history_meta", min_spread=1).questions) if path.exists() else []


def _spread(questions: Sequence[Question], count: int) -> list[Question]:
    """So many, evenly from the shortest to the longest, both left out."""
    ordered = sorted(questions, key=lambda q: len(q.question) + sum(len(a.text) for a in q.answers))
    return [ordered[(2 * i + 1) * len(ordered) // (2 * count)] for i in range(count)] if ordered else []


def encoded(questions: Sequence[Question], model: Any, tokenizer: Any) -> tuple[EncodedAnswer, ...]:
    return encode(questions, tokenizer, max_length=model.config.max_position_embeddings).answers


def official(model: Any, answers: Sequence[EncodedAnswer]) -> Contestant:
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


def harness(model: Any, tokenizer: Any, questions: Sequence[Question]) -> Contestant:
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
    return lambda: dict(zip(keys, (value for value, _ in lm.loglikelihood(requests, disable_tqdm=True)), strict=True))


def layout(model: Any, answers: Sequence[EncodedAnswer], way: Way) -> Contestant:
    """(c) One of our layouts by itself."""
    batches = plan(group_by_context(answers), way, default_budget(model))
    reading, _ = learn_together(model, answers[0].context[:16])
    return lambda: score_together(model, batches, reading)


def automatic(model: Any, tokenizer: Any, questions: Sequence[Question]) -> Contestant:
    """(c) What a user gets: one whole evaluation with the default settings, prepared before.

    As an evaluation between two proofs: of a few questions a proof is nearly all, of 512 at most a fiftieth.
    """
    evaluator = HumanRankEvaluator(questions, tokenizer)
    evaluator.prepare(model)

    def score() -> Scores:
        evaluator._evaluations = 0
        rows = zip(questions, evaluator.evaluate(model).loglikelihoods, strict=True)
        return {(q.id, index): value for q, values in rows for index, value in enumerate(values)}

    return score


def floor(model: Any, answers: Sequence[EncodedAnswer]) -> Contestant:
    """(d) The same batches as `packed`, with attention left out: every token's output is its own value."""
    score = layout(model, answers, Way("packed", "function"))

    def values(work: Any, query: Any, key: Any, value: Any, asked: Any) -> Any:
        return value.repeat_interleave(query.shape[1] // value.shape[1], dim=1).transpose(1, 2)

    def without() -> Scores:
        with patch.object(kernels, "attend", values):
            score()
        return {}

    return without


def dense_limit(model: Any, groups: Sequence[Group]) -> Contestant:
    """(e) As many tokens as all questions and answers have, in full rectangles; logits of as many as are scored.

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
