"""Is a layout right for this model? Shown on rows of the real plan, by difference and by perturbation.

1. *By difference*: answers in their rows against the same answers alone, in the run's own precision. What arithmetic
   may change is measured on this model: the same rows once more, every module's output off by at most half a unit in
   its last place (Monte Carlo arithmetic, Parker 1997).
2. *By perturbation*, exact in any precision: other tokens in one answer must not move the logits of its question or of
   another answer at all; other tokens in the question must move them; later tokens must not move earlier ones.
   Kernels that route by content (mixtures of experts) may round differently when the routing changes: then what the
   change does to the positions before it, which cannot see it, is what it may do elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from ..config import Layout
from ..distributed import gather
from .alone import FLOAT32, LAST_BITS, TIMES, Alone, logprobs, moved_by
from .batches import lay_out
from .changed import other_answers, other_question
from .encoding import Key
from .loglikelihood import look_together
from .plan import Group, Row, Rows, Way, one_by_one

# Of float32, times the nats summed: 1e-4 in 100 nats, whatever was measured.
_LEAST = 8.0
_FIRST = 4


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the proof of a layout showed, over all ranks.

    Attributes:
        reason: why it is refused; empty when it is proven.
        difference: largest difference of an answer to itself alone, nats of a summed log-likelihood.
        answers: answers that were compared.
    """

    reason: str
    difference: float = 0.0
    answers: int = 0


def prove(alone: Alone, plan: Sequence[Rows], way: Way) -> Verdict:
    """Hold a layout's rows against single answers. Collective: every rank proves rows of its own plan.

    Args:
        plan: this rank's batches of the layout.
    """
    batches = probe(plan, way.layout)
    watched = [[_watched(row, way.layout) for row in rows] for rows in batches]
    looked = look_together(alone.model, [lay_out(rows, way) for rows in batches], alone.reading)
    verdict = _by_difference(alone, batches, watched, looked)
    if verdict.reason or way.layout in ("single", "padded"):
        return verdict
    reason = _by_perturbation(alone, batches, watched, looked, way)
    return replace(verdict, reason=reason)


def probe(plan: Sequence[Rows], layout: Layout) -> list[Rows]:
    """Rows of the plan to be looked at, each with the padding that it has in the plan.

    The largest row of all beside the next smaller and the smallest of its batch, and the two that differ most within
    one batch; of `packed`, which pads little, the smallest row of several questions (or of several answers) instead.
    """
    if not plan:
        return []

    def size(row: Row) -> int:
        return len(row[0].context) if layout == "cached" else sum(group.tokens for group in row)

    ends = [(max(rows, key=size), min(rows, key=size)) for rows in plan]
    chosen = [max(ends, key=lambda e: size(e[0])), max(ends, key=lambda e: size(e[0]) - size(e[1]))]
    found = [[large] if large is small else [large, small] for large, small in chosen]
    shared = [row for rows in plan for row in rows if len(row) > 1] or [
        row for rows in plan for row in rows if len(row[0].keys) > 1
    ]
    if layout == "packed" and shared:
        found = [found[0], [min(shared, key=size)]]
    found = [rows for i, rows in enumerate(found) if rows not in found[:i]]
    # the largest row has no padding, and the smallest may be too short to show what padding does (indexed attention)
    fullest = max(plan, key=lambda rows: max(map(size, rows)))
    padded = [row for row in fullest if size(row) < size(found[0][0]) and row is not found[0][-1]]
    if padded and layout != "packed":
        found[0].insert(1, max(padded, key=size))
    return found


def _watched(row: Row, layout: Layout) -> list[Group]:
    """Answers of a row to be held against themselves alone; the last stands last.

    Of a row of several groups the first group's last answer, which everything later could reach; of the last group
    the last answer, which stands farthest back, the longest where that is short, and the shortest where that is padded.
    """
    answers = one_by_one(row[-1:])
    last = next(a for a in answers if a.keys[0] == row[-1].keys[-1])
    found = [answers[0]] if len(last.continuations[0]) < 16 else []
    found += [answers[-1]] if layout == "cached" else []
    found = [a for i, a in enumerate(found) if a is not last and a not in found[:i]]
    if len(row) > 1:
        found += [a for a in one_by_one(row[:1]) if a.keys[0] == row[0].keys[-1]]
    return [*found, last]


def _by_difference(
    alone: Alone,
    batches: Sequence[Rows],
    watched: Sequence[list[list[Group]]],
    looked: Sequence[torch.Tensor],
) -> Verdict:
    rows = [answer for batch in watched for answers in batch for answer in answers]
    # all ranks look, also those without a row
    references = alone.look(rows)
    spread, most = alone.noise
    worst, reason = 0.0, ""
    by_key = {answer.keys[0]: seen for answer, seen in zip(rows, references, strict=True)}
    for batch, answers, seen in zip(batches, watched, looked, strict=True):
        places = _places(batch)
        for answer in (a for some in answers for a in some):
            (key,) = answer.keys
            gaps = logprobs(seen[places[key]]) - logprobs(by_key[key])
            total, n = abs(float(gaps.sum())), len(gaps)
            nats = abs(float(logprobs(by_key[key]).sum()))
            allowed = TIMES * spread * math.sqrt(n) + _LEAST * FLOAT32 * max(nats, n)
            if not (total <= allowed and float(gaps.abs().max()) <= TIMES * most + _LEAST * FLOAT32 * nats):
                reason = (
                    f"answer {key[1]} of question {key[0]!r} differs by {total:.3g} nats from itself alone "
                    f"(rounding allows {allowed:.1g})"
                )
            worst = max(worst, total)
    shares = gather((reason, worst, len(rows)))
    return Verdict(
        reason=next((why for why, _, _ in shares if why), ""),
        difference=max(gap for _, gap, _ in shares),
        answers=sum(count for _, _, count in shares),
    )


def _by_perturbation(
    alone: Alone,
    batches: Sequence[Rows],
    watched: Sequence[list[list[Group]]],
    looked: Sequence[torch.Tensor],
    way: Way,
) -> str:
    """Other answers must not move anything; another question must. On the smallest batch of the probe."""
    order = sorted(range(len(batches)), key=lambda i: sum(g.tokens for row in batches[i] for g in row))
    order = [i for i in order if any(len(g.keys) > 1 or len(row) > 1 for row in batches[i] for g in row)] or order
    at = order[:1]
    kept = [{answers[-1].keys[0] for answers in watched[i]} for i in at]
    others = [[[other_answers(g, keep) for g in row] for row in batches[i]] for i, keep in zip(at, kept, strict=True)]
    asked = [[[other_question(g) for g in row] for row in batches[i]] for i in at]
    moved = look_together(alone.model, [lay_out(rows, way) for rows in [*others, *asked]], alone.reading)
    reason = ""
    for i, rows, keep, seen in zip(at, others, kept, moved[: len(at)], strict=True):
        elsewhere, before = _moves(batches[i], rows, keep, looked[i], seen)
        if elsewhere > (max(LAST_BITS * before, alone.noise[1]) if before else 0.0):
            reason = f"other tokens in one answer move another answer's logits by {elsewhere:.3g} nats"
    answers = [answers[-1] for i in at for answers in watched[i]]
    changed = [other_question(answer) for answer in answers]
    seen_alone, changed_alone = alone.look(answers), alone.look(changed)
    for i, seen in zip(at, moved[len(at) :], strict=True):
        places = _places(batches[i])
        for answer, first, second in zip(answers, seen_alone, changed_alone, strict=True):
            place = places[answer.keys[0]][1 : 1 + _FIRST]
            here = slice(1, 1 + _FIRST)
            if moved_by(first[here], second[here]) > 0 and not moved_by(looked[i][place], seen[place]) > 0:
                reason = (
                    reason
                    or f"the answer {answer.keys[0][1]} of question {answer.keys[0][0]!r} does not see its question"
                )
    return next((found for found in gather(reason) if found), "")


def _moves(rows: Rows, changed: Rows, keep: set[Key], before: torch.Tensor, after: torch.Tensor) -> tuple[float, float]:
    """How far logits moved that must not: of other answers and of questions; and of what stands before any change."""
    places = _places(rows)
    elsewhere = control = 0.0
    for row, new_row in zip(rows, changed, strict=True):
        untouched = True
        for group, new in zip(row, new_row, strict=True):
            for key, ids, others in zip(group.keys, group.continuations, new.continuations, strict=True):
                place = places[key]
                if ids == others:
                    elsewhere = max(elsewhere, moved_by(before[place], after[place]))
                elif untouched:
                    # the change is in the last token that is fed, which only the last logits see
                    control = max(control, moved_by(before[place[:-1]], after[place[:-1]]))
                    untouched = False
    return elsewhere, control


def _places(rows: Rows) -> dict[Key, torch.Tensor]:
    """Which targets of a batch are whose: they stand in the order of its answers."""
    places, at = {}, 0
    for row in rows:
        for group in row:
            for key, ids in zip(group.keys, group.continuations, strict=True):
                places[key] = torch.arange(at, at + len(ids))
                at += len(ids)
    return places
