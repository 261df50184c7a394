"""What a proof holds layouts against: single answers, one unpadded row at a time; what rounding does to them.

A model whose logits depend on later tokens, or that gives the same row other numbers each time, is refused here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import torch
from torch.nn.modules.module import register_module_forward_hook

from ..distributed import gather
from .batches import lay_out
from .changed import another
from .errors import EvaluationError, NotScorable
from .loglikelihood import look_together
from .outputs import Reading
from .plan import Group, Way, one_by_one

FLOAT32 = torch.finfo(torch.float32).eps
# Times the rounding that was measured: sums are random walks, and the kernels of two layouts differ by more than one
# step.
TIMES = 4.0
LAST_BITS = 4.0
_BESIDE = 3
_CAUSAL_TOKENS = 96
_SINGLE = Way("single")


class Alone:
    """The reference: single answers, one unpadded row at a time, each looked at once. All methods are collective.

    Raises:
        EvaluationError: the model gives NaN or infinite numbers.
    """

    def __init__(self, model: torch.nn.Module, reading: Reading) -> None:
        self.model, self.reading = model, reading
        self._seen: dict[Group, torch.Tensor] = {}
        # nats a token: root mean square, and the largest
        self.noise = (math.nan, math.nan)

    def begin(self, groups: Sequence[Group]) -> None:
        """Measure the rounding and refuse a model that sees the future, on the shortest rows there are.

        Raises:
            NotScorable: see `check_causal`.
        """
        rows = [row for row in one_by_one(groups) if row.tokens > len(row.context)] or one_by_one(groups)
        shortest = rows[-2:]
        self.look(shortest)
        self._measure_rounding(shortest)
        check_causal(self, groups)

    def look(self, rows: Sequence[Group]) -> list[torch.Tensor]:
        """(tokens, 3) of every row, see `Scorer.look`."""
        new = [row for row in dict.fromkeys(rows) if row not in self._seen]
        found = look_together(self.model, [lay_out([[row]], _SINGLE) for row in new], self.reading)
        bad = [row.keys[0] for row, seen in zip(new, found, strict=True) if not seen.isfinite().all()]
        if bad := [key for share in gather(bad) for key in share]:
            question, index = bad[0]
            raise EvaluationError(
                f"the model gives NaN or infinite log-likelihoods, e.g. for question {question!r} answer {index}"
            )
        self._seen.update(zip(new, found, strict=True))
        return [self._seen[row] for row in rows]

    def _measure_rounding(self, rows: Sequence[Group]) -> None:
        """How far rounding alone moves a token's log-probability, on rows that have been looked at."""
        with rounded_otherwise() as epsilons:
            batches = [lay_out([[row]], _SINGLE) for row in rows]
            found = look_together(self.model, batches, self.reading)
        moves = [logprobs(a) - logprobs(b) for a, b in zip(found, self.look(rows), strict=True)]
        squares = torch.cat([*moves, torch.zeros(0, dtype=torch.float64)]) ** 2
        shares = gather((float(squares.sum()), len(squares), float(squares.max()) if len(squares) else 0.0))
        n = sum(count for _, count, _ in shares)
        mean = math.sqrt(sum(total for total, _, _ in shares) / n) if n else 0.0
        # where hooks see nothing (a compiled model) the arithmetic itself is the least that must be allowed
        least = max(gather(max(epsilons, default=FLOAT32)))
        self.noise = (max(mean, least / 8), max([*(math.sqrt(most) for _, _, most in shares), least]))


def check_causal(alone: Alone, groups: Sequence[Group]) -> None:
    """Refuse a model whose logits depend on later tokens. Collective.

    Raises:
        NotScorable: the logits before a change moved, and by more than those of rows that cannot see it; or the same
            row twice gives two numbers.
    """
    rows = [row for row in (_split_row(groups),) if row is not None]
    moved, routed, unsteady = _by_the_future(alone, rows, beside=0)
    if moved > alone.noise[1]:
        with suppress(EvaluationError):
            # a model that takes one row at a time only has no row that cannot see the change
            moved, routed, unsteady = _by_the_future(alone, rows, beside=_BESIDE)
    if unsteady > TIMES * alone.noise[1]:
        raise NotScorable(
            f"{type(alone.model).__name__} cannot be scored: it gives the same row other numbers each time, by "
            f"{unsteady:.2g} nats a token (rounding: {alone.noise[1]:.1g}); something in it draws at random, or mixes "
            "the rows of a batch, in evaluation mode too"
        )
    if moved > max(LAST_BITS * routed, alone.noise[1]):
        raise NotScorable(
            f"{type(alone.model).__name__} cannot be scored: it sees the future. Logits before a token move by "
            f"{moved:.2g} nats when only later tokens change (rounding: {max(routed, alone.noise[1]):.1g}), so they "
            "give no likelihood of a text; a causal language model is needed"
        )


def _by_the_future(alone: Alone, rows: Sequence[Group], beside: int) -> tuple[float, float, float]:
    """How far logits move when only later tokens change; and those of the same row `beside` it in the batch.

    And by how much the same rows of one batch differ.
    """
    changed = [replace(row, continuations=(_shuffled_tail(row),)) for row in rows]
    batches = [lay_out([[row]] * (beside + 1), _SINGLE) for row in rows]
    batches += [lay_out([*[[row]] * beside, [new]], _SINGLE) for row, new in zip(rows, changed, strict=True)]
    found = look_together(alone.model, batches, alone.reading)
    moved = routed = unsteady = 0.0
    for row, new, before, after in zip(rows, changed, found[: len(rows)], found[len(rows) :], strict=True):
        ids, tail = row.continuations[0], new.continuations[0]
        # the logits that predict token i have seen the tokens before i
        same = next(i for i, (a, b) in enumerate(zip(ids, tail, strict=True)) if a != b) + 1
        last = beside * len(ids)
        moved = max(moved, moved_by(before[last : last + same], after[last : last + same]))
        routed = max(routed, moved_by(before[:last], after[:last]))
        twins = logprobs(before).reshape(beside + 1, -1)
        unsteady = max(unsteady, float((twins - twins[0]).abs().max()))
    moved, routed, unsteady = (max(share) for share in zip(*gather((moved, routed, unsteady)), strict=True))
    return moved, routed, unsteady


def _split_row(groups: Sequence[Group]) -> Group | None:
    """A short row in which both halves are scored; `None` where there are fewer than four tokens."""
    rows = sorted(one_by_one(groups), key=lambda g: (len(g.continuations[0]) < 8, g.tokens, g.keys))
    for row in rows[:1]:
        ids = (*row.context, *row.continuations[0])[:_CAUSAL_TOKENS]
        half = max(1, min(len(row.context), len(ids) // 2))
        if len(ids) - half >= 3:
            return Group(row.keys, ids[:half], (ids[half:],))
    return None


def _shuffled_tail(row: Group) -> tuple[int, ...]:
    """The continuation with other tokens in its second half."""
    (ids,) = row.continuations
    half = len(ids) // 2
    return ids[:half] + tuple(another(token, row) for token in ids[half:])


def logprobs(seen: torch.Tensor) -> torch.Tensor:
    """(targets,) of what `Scorer.look` gives."""
    return seen[:, 0] - seen[:, 1]


def moved_by(before: torch.Tensor, after: torch.Tensor) -> float:
    """Largest change of what is known of the logits, whatever the target: 0 only when every bit is the same."""
    if not len(before):
        return 0.0
    return float((before[:, 1:] - after[:, 1:]).abs().max())


@contextmanager
def rounded_otherwise() -> Iterator[set[float]]:
    """Every module's output is off by at most half a unit in the last place; collects the machine epsilons seen.

    The weights' dtype does not tell: under autocast, which the Trainer folds into the model's forward, they are
    float32 and the products are not. Draws from a generator of its own.
    """
    epsilons: set[float] = set()
    generators: dict[torch.device, torch.Generator] = {}

    def disturb(module: torch.nn.Module, inputs: Any, output: Any) -> Any:
        if type(output) is not torch.Tensor or not output.is_floating_point():
            return None
        epsilon = torch.finfo(output.dtype).eps
        epsilons.add(epsilon)
        generator = generators.setdefault(output.device, torch.Generator(output.device).manual_seed(0))
        noise = torch.rand(output.shape, generator=generator, device=output.device).sub_(0.5).mul_(epsilon)
        return (output.float() * (1 + noise)).to(output.dtype)

    handle = register_module_forward_hook(disturb)
    try:
        yield epsilons
    finally:
        handle.remove()
