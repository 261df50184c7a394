"""The direction of training: which of people's answers it moves probability towards, visible before HRE itself moves.

HRE's change grows with the distance travelled; its direction is there at once. `push` is, question by question, the
correlation of the votes with the change of each answer's log-likelihood since the start, by its divisor (characters in
the published protocol). It needs no forward: the log-likelihoods of both evaluations are known.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .correlation import PerAnswer, by_size, normalised, over_questions, partial_correlation, pearson
from .kept import Kept, content
from .significance import LooksTest, drop_from_start

FloatArray = NDArray[np.float64]
# Answers that leave a degree of freedom when one other thing is held fixed.
_LEAST_FOR_A_PART = 4
# A look's row and verdict ask for those of all looks, the next look for the same and one more.
_pushes: Kept[FloatArray] = Kept(512)


class Push(NamedTuple):
    """Push of every question; NaN where undefined.

    Attributes:
        whole: (looks - 1, questions) Pearson's r of the votes and the change of the score since the first look; 0
            where nothing changed.
        per_answer: the same for the log-likelihoods themselves, which longer answers change most: the implicit reward.
        start_free: (questions,) of the last look, `whole` with the scores of the first look held fixed: sharpening
            what was likely already is none.
        length_free: the same with the answers' lengths held fixed.
    """

    whole: FloatArray
    per_answer: FloatArray
    start_free: FloatArray
    length_free: FloatArray


def push(
    votes: PerAnswer,
    looks: Sequence[PerAnswer],
    divisors: Sequence[Sequence[float]],
    lengths: Sequence[Sequence[int]],
) -> Push:
    """The push of every look since the first; see `Push`.

    Args:
        votes, divisors, lengths: per question, one number per answer.
        looks: nats per answer of every look, two or more, the first being the start.
    """
    rows, parts = np.full((2, len(looks) - 1, len(votes)), np.nan), np.full((2, len(votes)), np.nan)
    for at, (v, d, size, start, *later) in by_size(votes, divisors, lengths, *looks):
        same = (v.shape, content(v), content(d), content(start))
        keys = [(*same, content(now)) for now in later]
        found = _pushes.fill(keys, partial(_of_looks, v, d, start, later))
        rows[:, :, at] = np.stack(found, axis=1)
        # Of fewer answers a partial correlation could only be -1 or 1.
        if v.shape[-1] >= _LEAST_FOR_A_PART:
            change = normalised(later[-1] - start, d)
            parts[:, at] = [partial_correlation(v, change, held) for held in (normalised(start, d), size)]
    return Push(*rows, *parts)


def _of_looks(
    v: FloatArray, d: FloatArray, start: FloatArray, later: Sequence[FloatArray], which: Sequence[int]
) -> Iterator[FloatArray]:
    """(2, questions) `whole` and `per_answer` of the looks `which`; all arrays (questions, answers)."""
    for at in which:
        nats = later[at] - start
        yield np.stack([pearson(v, normalised(nats, d)), pearson(v, nats)])


def below_zero(
    pushes: FloatArray,
    *,
    alpha: float = 0.025,
    planned_looks: int | None = None,
    clusters: Sequence[object] | None = None,
    seed: int = 0,
) -> LooksTest:
    """Does training push against people? One-sided sign-flip max-T over all looks so far, with alpha spending.

    Where training has nothing to do with the votes, a question's trajectory of pushes is as likely as its mirror image:
    the test is that of `drop_from_start`, against zero. The push is a change since the start already and is not pooled.

    Args:
        pushes: (looks, questions), without the start.
    """
    against = np.concatenate([np.zeros((1, pushes.shape[1])), pushes])
    return drop_from_start(against, alpha=alpha, planned_looks=planned_looks, pooled=1, clusters=clusters, seed=seed)


def distance(start: PerAnswer, now: PerAnswer, divisors: Sequence[Sequence[float]]) -> FloatArray:
    """(questions,) mean |log pi_t - log pi_0| of an answer by its divisor, nats: how far the model has moved.

    Rankings mean less the farther a model has moved (Chen et al. 2024, "Preference Learning Algorithms Do Not Learn
    Preference Rankings").
    """
    return over_questions(lambda a, b, d: np.abs(normalised(b - a, d)).mean(-1), start, now, divisors)


def concordance(start: PerAnswer, now: PerAnswer, divisors: Sequence[Sequence[float]]) -> FloatArray:
    """(questions,) share of answer pairs that the implicit reward and the score order alike; NaN without such a pair.

    About one half under DPO (Meng et al. 2024, SimPO, section 4.3): what is rewarded is not what is generated.
    """
    return over_questions(_concordance, start, now, divisors)


def margin(votes: PerAnswer, scores: PerAnswer) -> FloatArray:
    """(questions,) covariance of the scores with the standardised votes, in the scores' unit; NaN for constant votes.

    The continuous twin of r: r times the spread of the scores. It goes on rising where r has no room left.
    """
    return over_questions(_margin, votes, scores)


def _concordance(start: FloatArray, now: FloatArray, divisors: FloatArray) -> FloatArray:
    first, second = np.triu_indices(start.shape[-1], k=1)
    reward, score = now - start, normalised(now, divisors)
    alike = np.sign(reward[:, first] - reward[:, second]) * np.sign(score[:, first] - score[:, second])
    ordered = np.abs(alike).sum(-1)
    with np.errstate(invalid="ignore"):
        return np.where(ordered > 0, (alike.sum(-1) / ordered + 1) / 2, np.nan)


def _margin(votes: FloatArray, scores: FloatArray) -> FloatArray:
    spread = votes.std(-1)
    with np.errstate(all="ignore"):
        standard = (votes - votes.mean(-1, keepdims=True)) / spread[:, None]
        return np.where(spread > 0, (standard * scores).mean(-1), np.nan)
