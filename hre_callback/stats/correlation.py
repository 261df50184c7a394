"""Votes and log-likelihoods -> one result: how well the model ranks human answers, question by question."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from .significance import known_clusters

FloatArray = NDArray[np.float64]
Numbers = Sequence[float] | NDArray[Any]
# (questions, answers); None where an answer was left out
PerAnswer = Sequence[Sequence[float | None]]
METRICS = ("pearson", "spearman", "kendall", "pair_accuracy", "top1")
# Pairs of answers that are looked at together.
_PAIRS = 1 << 20
# Spread below which scores count as constant: beyond it correlations are rounding noise.
_TIE = 1e-12


def normalised(loglikelihoods: Numbers | Sequence[float | None], divisors: Numbers) -> FloatArray:
    """Log-likelihoods by what they are divided by: the answers' characters, bytes or tokens as far as scored, or 1.

    Both of one shape; None becomes NaN.
    """
    return np.asarray(loglikelihoods, dtype=np.float64) / np.maximum(np.asarray(divisors, dtype=np.float64), 1)


def pearson(votes: Numbers, scores: Numbers) -> FloatArray:
    """Pearson's r of votes and scores over the last axis: of one question (answers,), or of many alike (..., answers).

    NaN where the votes are constant (nothing to rank) and 0 where only the scores are (the model does not rank).
    The official implementation gives NaN for both, which then swallows its topic and its total.
    """
    v, s = np.asarray(votes, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    # Invalid: 0 / 0 where something is constant, replaced below; NaN where a number is missing, which stays.
    with np.errstate(all="ignore"):
        a, b = _centred(v), _centred(s)
        products = (a * b).sum(-1) / np.sqrt((a * a).sum(-1) * (b * b).sum(-1))
        r = np.where(_constant(s), 0.0, np.clip(products, -1.0, 1.0))
    return np.where(np.ptp(v, axis=-1) > 0, r, np.nan)[()]


def question_metrics(votes: Numbers, scores: Numbers) -> dict[str, FloatArray]:
    """All of `METRICS`, of one question (answers,) or of many alike (questions, answers).

    NaN for constant votes, see `pearson`, and where a score is not finite. `spearman` uses mid-ranks, `kendall` is
    tau-b; `pair_accuracy` is the share of answer pairs with different votes that the scores order as the votes do
    (a tie in scores counts one half); `top1` says whether the best-scored answer is a most-voted one (shared
    fairly among tied best scores).
    """
    v, s = np.asarray(votes, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    defined = (np.ptp(v, axis=-1) > 0) & np.isfinite(s).all(-1)
    # Invalid: 0 / 0 where votes or scores are constant, NaN - NaN where one is missing; both are replaced.
    with np.errstate(all="ignore"):
        constant = _constant(s)
        ordered = np.sign(v[..., :, None] - v[..., None, :])
        agreement = ordered * np.sign(s[..., :, None] - s[..., None, :])
        different = np.abs(ordered).sum((-2, -1))
        apart = np.abs(np.sign(s[..., :, None] - s[..., None, :])).sum((-2, -1))
        tau = agreement.sum((-2, -1)) / np.sqrt(different) / np.sqrt(apart)
        best = s == s.max(-1, keepdims=True)
        top = best & (v == v.max(-1, keepdims=True))
        found = {
            "pearson": pearson(v, s),
            "spearman": np.where(constant, 0.0, pearson(stats.rankdata(v, axis=-1), stats.rankdata(s, axis=-1))),
            "kendall": np.where(constant, 0.0, np.clip(tau, -1.0, 1.0)),
            "pair_accuracy": (agreement.sum((-2, -1)) / different + 1) / 2,
            "top1": top.sum(-1) / best.sum(-1),
        }
    return {name: np.where(defined, values, np.nan)[()] for name, values in found.items()}


def partial_correlation(votes: Numbers, scores: Numbers, lengths: Numbers) -> FloatArray:
    """Pearson's r of votes and scores with length (or style) held fixed, over the last axis; NaN where not defined.

    First-order partial correlation (Yule 1907): (r_vs - r_vl r_sl) / sqrt((1 - r_vl^2)(1 - r_sl^2)).
    """
    vs, vl, sl = pearson(votes, scores), pearson(votes, lengths), pearson(lengths, scores)
    rest = (1 - vl**2) * (1 - sl**2)
    with np.errstate(all="ignore"):
        held = np.where(rest > _TIE, np.clip((vs - vl * sl) / np.sqrt(rest), -1.0, 1.0), np.nan)
    return np.where(np.ptp(np.asarray(lengths), axis=-1) == 0, vs, held)[()]


def pearson_variance(votes: Numbers, scores: Numbers, errors: Numbers) -> FloatArray:
    """Variance of `pearson` when each score is off by a small independent error; NaN or 0 where r does not move.

    First order: dr/ds_i = (v_i - r s_i) / |s| with v and s centred and v, s in the numerator of unit length.

    Args:
        errors: (..., answers) standard deviations of the scores.
    """
    r = pearson(votes, scores)
    v, s = np.asarray(votes, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    with np.errstate(all="ignore"):
        a, b = _centred(v), _centred(s)
        size = np.sqrt((b * b).sum(-1, keepdims=True))
        slope = (a / np.sqrt((a * a).sum(-1, keepdims=True)) - np.asarray(r)[..., None] * b / size) / size
        variance = ((slope * np.asarray(errors)) ** 2).sum(-1)
    return np.where(np.isnan(r) | _constant(s), r, variance)[()]


def by_size(*columns: PerAnswer) -> Iterator[tuple[NDArray[np.intp], list[FloatArray]]]:
    """Questions with equally many answers together, so that arithmetic runs over whole arrays.

    Args:
        columns: each one row per question with one number per answer; `None` becomes NaN.

    Yields:
        the questions' indices, and of each column an array (questions, answers). Large groups come in parts, so
        that an array of pairs of answers stays small.
    """
    sizes = np.array([len(row) for row in columns[0]], dtype=np.intp)
    for size in np.unique(sizes):
        of_size = np.flatnonzero(sizes == size)
        step = max(1, _PAIRS // max(1, int(size)) ** 2)
        for start in range(0, len(of_size), step):
            at = of_size[start : start + step]
            # Answers outermost in memory: a sum over a question's few answers runs over all questions at once.
            yield at, [np.array([column[i] for i in at], dtype=np.float64, order="F") for column in columns]


def over_questions(measure: Callable[..., FloatArray], *columns: PerAnswer) -> FloatArray:
    """(questions,) what `measure` makes of each question's rows; see `by_size`."""
    values = np.full(len(columns[0]), np.nan)
    for at, rows in by_size(*columns):
        values[at] = measure(*rows)
    return values


def top_and_bottom(votes: PerAnswer, loglikelihoods: PerAnswer, lengths: PerAnswer) -> FloatArray:
    """(2, questions) log-likelihood per character of the top- and the bottom-voted answer."""
    values = np.full((2, len(votes)), np.nan)
    for at, (v, nats, n) in by_size(votes, loglikelihoods, lengths):
        ends = np.stack([v.argmax(axis=-1), v.argmin(axis=-1)], axis=-1)
        values[:, at] = np.take_along_axis(normalised(nats, n), ends, axis=-1).T
    return values


@dataclass(frozen=True, eq=False)
class HREResult:
    """One evaluation, per question and per answer; the order is that of the evaluator's questions.

    Attributes:
        fingerprint: of the question set; results of different fingerprints are never compared.
        ids, topics: one per question.
        votes: human votes, one tuple per question, one number per answer.
        loglikelihoods: nats, summed over each continuation's tokens at temperature 1, in answer order.
        scores: log-likelihood by its divisor, see `normalised`.
        lengths: characters of each answer (after truncation), for the length diagnostics.
        per_question: arrays of shape (questions,) under the names in `METRICS`; NaN where undefined.
        truncated: answers that lost their tail to `max_length`.
        left_out: questions that were not scored because the question alone leaves no room for an answer.
        noise: standard deviation of `score` from rounding alone; NaN when it was not measured.
        rendering: hash of the contexts that a chat template made; `None` for the paper's prompt.
        clusters: one label per question (None: independent of all others), for every interval over questions; `None`
            when no question has one.
        divisors: what each log-likelihood is divided by (after truncation); `None` when not known.
        styles: marks of markdown of each whole answer; `None` when not known.
        probes: kind of rewrite -> (questions,) nats a character of the rewritten answers minus those of the answers;
            `None` where none was scored.
    """

    fingerprint: str
    ids: tuple[str, ...]
    topics: tuple[str, ...]
    votes: tuple[tuple[float, ...], ...]
    loglikelihoods: tuple[tuple[float, ...], ...]
    scores: tuple[tuple[float, ...], ...]
    lengths: tuple[tuple[int, ...], ...]
    per_question: Mapping[str, FloatArray]
    truncated: int = 0
    left_out: int = 0
    noise: float = float("nan")
    clusters: tuple[str | None, ...] | None = None
    rendering: str | None = None
    divisors: tuple[tuple[float, ...], ...] | None = None
    styles: tuple[tuple[int, ...], ...] | None = None
    probes: Mapping[str, tuple[float, ...]] | None = None

    @property
    def score(self) -> float:
        """HumanRankEval: the mean of the per-question Pearson r (micro-average; paper section 3)."""
        return self.mean("pearson")

    @property
    def n(self) -> int:
        """Questions that count: those with a defined correlation."""
        return int(np.isfinite(self.per_question["pearson"]).sum())

    @property
    def undefined(self) -> int:
        """Questions that were scored and have no defined correlation, because all their votes are equal."""
        values = zip(self.per_question["pearson"], self.scores, strict=True)
        return sum(bool(np.isnan(r) and np.isfinite(scores).all()) for r, scores in values)

    @property
    def constant_scores(self) -> int:
        """Questions whose answers all got the same score; they count as r = 0."""
        return sum(int(_constant(scores).sum()) for _, (scores,) in by_size(self.scores))

    def mean(self, metric: str) -> float:
        """Mean of a per-question metric over the defined questions; NaN when there is none."""
        return _nanmean(self.per_question[metric])

    def by_topic(self, metric: str = "pearson") -> dict[str, tuple[float, int]]:
        """Mean and number of defined questions of every topic, topics sorted by name."""
        numbers = {topic: i for i, topic in enumerate(sorted(set(self.topics)))}
        values, known = self.per_question[metric], np.isfinite(self.per_question[metric])
        of_topic = np.array([numbers[topic] for topic in self.topics])[known]
        counts = np.bincount(of_topic, minlength=len(numbers))
        sums = np.bincount(of_topic, weights=values[known], minlength=len(numbers))
        return {
            topic: (float(sums[i] / counts[i]) if counts[i] else float("nan"), int(counts[i]))
            for topic, i in numbers.items()
        }

    def length_bias(self) -> dict[str, float]:
        """Mean per-question correlations with answer length: does the score, do the votes, follow length?

        `length_bias` is corr(score, length), `votes_length` corr(votes, length), `length_partialled` the HRE
        with length held fixed.
        """
        return {
            "length_bias": _nanmean(over_questions(pearson, self.lengths, self.scores)),
            "votes_length": _nanmean(over_questions(pearson, self.votes, self.lengths)),
            "length_partialled": _nanmean(over_questions(partial_correlation, self.votes, self.scores, self.lengths)),
        }

    def style_partialled(self) -> float:
        """HRE with the answers' marks of markdown held fixed; NaN where these are not known.

        Of two answers with different marks nothing is left; where a question's answers have equally many, it is r.
        """
        if self.styles is None:
            return float("nan")
        return _nanmean(over_questions(partial_correlation, self.votes, self.scores, self.styles))

    def displacement(self) -> dict[str, float]:
        """Mean log-likelihood per scored character (nats) of the top- and the bottom-voted answers.

        When both fall while their order stays, HRE does not move although the model unlearns good answers
        (likelihood displacement, Razin et al. 2024); this is where it shows.
        """
        top, bottom = top_and_bottom(self.votes, self.loglikelihoods, self.lengths)
        return {"loglikelihood_top": _nanmean(top), "loglikelihood_bottom": _nanmean(bottom)}


def correlate(
    *,
    fingerprint: str,
    ids: Sequence[str],
    topics: Sequence[str],
    votes: Sequence[Sequence[float]],
    loglikelihoods: Sequence[Sequence[float]],
    divisors: Sequence[Sequence[float]],
    lengths: Sequence[Sequence[int]],
    truncated: int = 0,
    left_out: int = 0,
    rounding: Sequence[Sequence[float]] | None = None,
    clusters: Sequence[str | None] | None = None,
    rendering: str | None = None,
    styles: Sequence[Sequence[int]] | None = None,
    probes: Mapping[str, tuple[float, ...]] | None = None,
) -> HREResult:
    """Per-question correlations of votes and normalised log-likelihoods; inputs are aligned by position.

    A question with a NaN log-likelihood was left out: all its metrics are NaN.

    Args:
        rounding: nats that each log-likelihood may be off by arithmetic alone; `None` when not known.
        clusters: one label per question, see `HREResult`.
        rendering, styles, probes: see `HREResult`.
    """
    scores = tuple(tuple(normalised(lls, ds).tolist()) for lls, ds in zip(loglikelihoods, divisors, strict=True))
    per_question = {name: np.full(len(scores), np.nan) for name in METRICS}
    for at, rows in by_size(votes, scores):
        for name, values in question_metrics(*rows).items():
            per_question[name][at] = values
    return HREResult(
        fingerprint=fingerprint,
        ids=tuple(ids),
        topics=tuple(topics),
        votes=tuple(tuple(v) for v in votes),
        loglikelihoods=tuple(tuple(lls) for lls in loglikelihoods),
        scores=scores,
        lengths=tuple(tuple(n) for n in lengths),
        per_question=per_question,
        truncated=truncated,
        left_out=left_out,
        noise=_noise(votes, scores, rounding, divisors) if rounding is not None else float("nan"),
        clusters=known_clusters(clusters or ()),
        rendering=rendering,
        divisors=tuple(tuple(ds) for ds in divisors),
        styles=None if styles is None else tuple(tuple(marks) for marks in styles),
        probes=probes,
    )


def _noise(
    votes: Sequence[Sequence[float]],
    scores: Sequence[Sequence[float]],
    rounding: Sequence[Sequence[float]],
    divisors: Sequence[Sequence[float]],
) -> float:
    errors = [normalised(e, d).tolist() for e, d in zip(rounding, divisors, strict=True)]
    variances = over_questions(pearson_variance, votes, scores, errors)
    n = int(np.isfinite(variances).sum())
    return float(np.sqrt(np.nansum(variances)) / n) if n else float("nan")


def _centred(values: FloatArray) -> FloatArray:
    centred: FloatArray = values - values.mean(-1, keepdims=True)
    return centred


def _constant(scores: FloatArray) -> NDArray[np.bool_]:
    return np.asarray(np.ptp(scores, axis=-1) <= _TIE * np.maximum(1.0, np.abs(scores).max(-1)))


def _nanmean(values: Numbers) -> float:
    with warnings.catch_warnings():
        # An empty mean is NaN by design, not a warning.
        warnings.simplefilter("ignore", RuntimeWarning)
        return float(np.nanmean(np.asarray(values, dtype=np.float64))) if len(values) else float("nan")
