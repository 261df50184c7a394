"""Votes and log-likelihoods -> one result: how well the model ranks human answers, question by question."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

FloatArray = NDArray[np.float64]
Numbers = Sequence[float] | NDArray[Any]
METRICS = ("pearson", "spearman", "kendall", "pair_accuracy", "top1")
_TIE = 1e-12  # spread below which scores count as constant: beyond it correlations are rounding noise


def pearson(votes: Numbers, scores: Numbers) -> float:
    """Pearson's r of one question's votes and scores, both of shape (answers,).

    Returns NaN when the votes are constant (nothing to rank) and 0 when only the scores are (the model does
    not rank). The official implementation gives NaN for both, which then swallows its topic and its total.
    """
    v, s = np.asarray(votes, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    if np.ptp(v) == 0:
        return float("nan")
    if _constant(s):
        return 0.0
    v, s = v - v.mean(), s - s.mean()
    return float(np.clip(v @ s / np.sqrt((v @ v) * (s @ s)), -1.0, 1.0))


def question_metrics(votes: Numbers, scores: Numbers) -> dict[str, float]:
    """All of `METRICS` for one question; every one NaN for constant votes, see `pearson`.

    `spearman` uses mid-ranks, `kendall` is tau-b; `pair_accuracy` is the share of answer pairs with different
    votes that the scores order as the votes do (a tie in scores counts one half); `top1` says whether the
    best-scored answer is a most-voted one (shared fairly among tied best scores).
    """
    v, s = np.asarray(votes, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    if np.ptp(v) == 0:
        return dict.fromkeys(METRICS, float("nan"))
    ordered = np.sign(v[:, None] - v[None, :])
    agreement = ordered * np.sign(s[:, None] - s[None, :])
    pairs = ordered != 0
    best = s == s.max()
    constant = _constant(s)
    return {
        "pearson": pearson(v, s),
        "spearman": 0.0 if constant else pearson(stats.rankdata(v), stats.rankdata(s)),
        "kendall": 0.0 if constant else float(stats.kendalltau(v, s).statistic),
        "pair_accuracy": float((agreement[pairs] + 1).mean() / 2),
        "top1": float((v[best] == v.max()).mean()),
    }


def partial_correlation(votes: Numbers, scores: Numbers, lengths: Numbers) -> float:
    """Pearson's r of votes and scores with answer length held fixed; NaN when it is not defined.

    First-order partial correlation (Yule 1907): (r_vs - r_vl r_sl) / sqrt((1 - r_vl^2)(1 - r_sl^2)).
    """
    if np.ptp(np.asarray(lengths)) == 0:
        return pearson(votes, scores)
    vs, vl, sl = pearson(votes, scores), pearson(votes, lengths), pearson(lengths, scores)
    rest = (1 - vl**2) * (1 - sl**2)
    return float("nan") if not rest > _TIE else float(np.clip((vs - vl * sl) / np.sqrt(rest), -1.0, 1.0))


def pearson_variance(votes: Numbers, scores: Numbers, errors: Numbers) -> float:
    """Variance of `pearson` when each score is off by a small independent error; NaN or 0 where r does not move.

    First order: dr/ds_i = (v_i - r s_i) / |s| with v and s centred and v, s in the numerator of unit length.

    Args:
        errors: (answers,) standard deviations of the scores.
    """
    r = pearson(votes, scores)
    v, s = np.asarray(votes, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    if np.isnan(r) or _constant(s):
        return r
    v, s = v - v.mean(), s - s.mean()
    slope = (v / np.linalg.norm(v) - r * s / np.linalg.norm(s)) / np.linalg.norm(s)
    return float(np.sum((slope * np.asarray(errors)) ** 2))


@dataclass(frozen=True, eq=False)
class HREResult:
    """One evaluation, per question and per answer; the order is that of the evaluator's questions.

    Attributes:
        fingerprint: of the question set; results of different fingerprints are never compared.
        ids, topics: one per question.
        votes: human votes, one tuple per question, one number per answer.
        loglikelihoods: nats, summed over each continuation's tokens at temperature 1, in answer order.
        scores: log-likelihood divided by the answer's length in the configured normalisation.
        lengths: characters of each answer (after truncation), for the length diagnostics.
        per_question: arrays of shape (questions,) under the names in `METRICS`; NaN where undefined.
        truncated: answers that lost their tail to `max_length`.
        left_out: questions that were not scored because the question alone leaves no room for an answer.
        noise: standard deviation of `score` from rounding alone; NaN when it was not measured.
    """

    fingerprint: str
    ids: tuple[str, ...]
    topics: tuple[str, ...]
    votes: tuple[tuple[int, ...], ...]
    loglikelihoods: tuple[tuple[float, ...], ...]
    scores: tuple[tuple[float, ...], ...]
    lengths: tuple[tuple[int, ...], ...]
    per_question: Mapping[str, FloatArray]
    truncated: int = 0
    left_out: int = 0
    noise: float = float("nan")

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
        """Questions without a defined correlation, because all their votes are equal or they were left out."""
        return len(self.ids) - self.n

    @property
    def constant_scores(self) -> int:
        """Questions whose answers all got the same score; they count as r = 0."""
        return sum(_constant(np.asarray(s)) for s in self.scores)

    def mean(self, metric: str) -> float:
        """Mean of a per-question metric over the defined questions; NaN when there is none."""
        return _nanmean(self.per_question[metric])

    def by_topic(self, metric: str = "pearson") -> dict[str, tuple[float, int]]:
        """Mean and number of defined questions of every topic, topics sorted by name."""
        values, topics = self.per_question[metric], np.asarray(self.topics)
        selected = {topic: values[topics == topic] for topic in sorted(set(self.topics))}
        return {topic: (_nanmean(v), int(np.isfinite(v).sum())) for topic, v in selected.items()}

    def length_bias(self) -> dict[str, float]:
        """Mean per-question correlations with answer length: does the score, do the votes, follow length?

        `length_bias` is corr(score, length), `votes_length` corr(votes, length), `length_partialled` the HRE
        with length held fixed.
        """
        rows = list(zip(self.votes, self.scores, self.lengths, strict=True))
        return {
            "length_bias": _nanmean([pearson(n, s) for _, s, n in rows]),
            "votes_length": _nanmean([pearson(v, n) for v, _, n in rows]),
            "length_partialled": _nanmean([partial_correlation(v, s, n) for v, s, n in rows]),
        }

    def displacement(self) -> dict[str, float]:
        """Mean log-likelihood per character (nats) of the top- and the bottom-voted answers.

        When both fall while their order stays, HRE does not move although the model unlearns good answers
        (likelihood displacement, Razin et al. 2024); this is where it shows.
        """
        top, bottom = [], []
        for votes, lls, lengths in zip(self.votes, self.loglikelihoods, self.lengths, strict=True):
            per_char = np.asarray(lls) / np.maximum(np.asarray(lengths, dtype=np.float64), 1)
            top.append(float(per_char[int(np.argmax(votes))]))
            bottom.append(float(per_char[int(np.argmin(votes))]))
        return {"loglikelihood_top": _nanmean(top), "loglikelihood_bottom": _nanmean(bottom)}


def correlate(
    *,
    fingerprint: str,
    ids: Sequence[str],
    topics: Sequence[str],
    votes: Sequence[Sequence[int]],
    loglikelihoods: Sequence[Sequence[float]],
    divisors: Sequence[Sequence[float]],
    lengths: Sequence[Sequence[int]],
    truncated: int = 0,
    left_out: int = 0,
    rounding: Sequence[Sequence[float]] | None = None,
) -> HREResult:
    """Per-question correlations of votes and normalised log-likelihoods; inputs are aligned by position.

    A question with a NaN log-likelihood was left out: all its metrics are NaN.

    Args:
        rounding: nats that each log-likelihood may be off by arithmetic alone; `None` when not known.
    """
    scores = tuple(
        tuple(ll / max(d, 1) for ll, d in zip(lls, ds, strict=True))
        for lls, ds in zip(loglikelihoods, divisors, strict=True)
    )
    nothing = dict.fromkeys(METRICS, float("nan"))
    rows = [
        question_metrics(v, s) if np.isfinite(s).all() else nothing
        for v, s in zip(votes, scores, strict=True)
    ]
    return HREResult(
        fingerprint=fingerprint,
        ids=tuple(ids),
        topics=tuple(topics),
        votes=tuple(tuple(v) for v in votes),
        loglikelihoods=tuple(tuple(lls) for lls in loglikelihoods),
        scores=scores,
        lengths=tuple(tuple(n) for n in lengths),
        per_question={name: np.asarray([row[name] for row in rows], dtype=np.float64) for name in METRICS},
        truncated=truncated,
        left_out=left_out,
        noise=_noise(votes, scores, rounding, divisors) if rounding is not None else float("nan"),
    )


def _noise(
    votes: Sequence[Sequence[int]],
    scores: Sequence[Sequence[float]],
    rounding: Sequence[Sequence[float]],
    divisors: Sequence[Sequence[float]],
) -> float:
    variances = [
        pearson_variance(v, s, np.asarray(e) / np.maximum(d, 1)) if np.isfinite(s).all() else float("nan")
        for v, s, e, d in zip(votes, scores, rounding, divisors, strict=True)
    ]
    n = int(np.isfinite(variances).sum())
    return float(np.sqrt(np.nansum(variances)) / n) if n else float("nan")


def _constant(scores: FloatArray) -> bool:
    return bool(np.ptp(scores) <= _TIE * max(1.0, float(np.abs(scores).max())))


def _nanmean(values: Numbers) -> float:
    with warnings.catch_warnings():  # an empty mean is NaN by design, not a warning
        warnings.simplefilter("ignore", RuntimeWarning)
        return float(np.nanmean(np.asarray(values, dtype=np.float64))) if len(values) else float("nan")
