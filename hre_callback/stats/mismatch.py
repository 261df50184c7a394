"""Objective mismatch: do the training signals and people still want the same? Pure functions of the run so far.

The triangle (human, policy, reward) is measured on the HRE answers themselves; the curves hold each training signal
against HRE (Lambert & Calandra 2023). What they amount to, in one word and one sentence, says `verdict`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from .correlation import (
    PerAnswer,
    by_size,
    normalised,
    over_questions,
    pearson,
    question_metrics,
    top_and_bottom,
)
from .push import Push, concordance, distance, margin, push
from .significance import (
    bootstrap_interval,
    resampled_means,
    selection_losses,
)

FloatArray = NDArray[np.float64]

# Evaluations that a rolling correlation looks back on.
_WINDOW, _LEAST_WINDOW = 8, 4
# Points for the fits of Gao et al.
_LEAST_FIT = 6
# Share of its log-likelihood that people's best answer must lose to count as displaced.
_DISPLACED = 0.05
_FITS = ("bon", "rl")


@dataclass(frozen=True)
class History:
    """The run so far as this module needs it; looks are evaluations, the first being the baseline.

    Attributes:
        steps: (looks,).
        pearson: (looks, questions), NaN where undefined.
        votes, lengths: per question, one number per answer; of the lengths, characters that were scored.
        looks: log-likelihoods of every look, nats per answer.
        scores: of the last look.
        proxies: W&B name -> (looks,) mean since the look before, NaN where not logged.
        directions: which way is better, for the proxies where that is known.
        improved: proxies that got better since the start, the most telling first.
        rewards: explicit reward per answer, `None` without one.
        divisors: what a log-likelihood is divided by to give a score; `None` for the lengths.
    """

    steps: Sequence[int]
    pearson: FloatArray
    votes: Sequence[Sequence[float]]
    lengths: Sequence[Sequence[int]]
    looks: Sequence[PerAnswer]
    scores: PerAnswer
    proxies: Mapping[str, FloatArray] = field(default_factory=dict)
    directions: Mapping[str, str] = field(default_factory=dict)
    improved: Sequence[str] = ()
    rewards: PerAnswer | None = None
    clusters: Sequence[object] | None = None
    divisors: Sequence[Sequence[float]] | None = None

    @property
    def start(self) -> PerAnswer:
        """Log-likelihoods of the first look, nats per answer."""
        return self.looks[0]

    @property
    def now(self) -> PerAnswer:
        """Those of the last look."""
        return self.looks[-1]

    @property
    def divided_by(self) -> Sequence[Sequence[float]]:
        """What a log-likelihood is divided by to give a score."""
        return self.lengths if self.divisors is None else self.divisors

    @cached_property
    def pushes(self) -> Push:
        """Which way training pushes, at every look after the first."""
        return push(self.votes, self.looks, self.divided_by, self.lengths)


def triangle(history: History, *, seed: int = 0) -> dict[str, float]:
    """Human-policy, human-reward and policy-reward: mean per-question Pearson r on the same answers.

    The implicit reward log pi_t - log pi_0 (nats per answer; DPO's reward up to beta, Rafailov et al. 2023, eq. 5) is
    there in every run from the second look on: `human_implicit`, `policy_implicit`. `human_reward` and
    `policy_reward` are of the explicit reward, where there is one. The correlation with people carries its bootstrap
    interval.
    """
    values = {"human_policy": _mean(history.pearson[-1])}
    rewards: dict[str, PerAnswer] = {}
    if len(history.steps) > 1:
        rewards["implicit"] = implicit_reward(history.start, history.now)
    if history.rewards is not None:
        rewards["reward"] = history.rewards
    for kind, reward in rewards.items():
        human = over_questions(pearson, history.votes, reward)
        interval = bootstrap_interval(human, clusters=history.clusters, seed=seed)
        values |= {
            f"human_{kind}": interval.estimate,
            f"human_{kind}_low": interval.low,
            f"human_{kind}_high": interval.high,
            f"policy_{kind}": _mean(over_questions(pearson, history.scores, reward)),
        }
    return values


def implicit_reward(start: PerAnswer, now: PerAnswer) -> list[list[float | None]]:
    """Log pi_t - log pi_0 of every answer, nats."""
    return [
        [None if a is None or b is None else b - a for a, b in zip(before, after, strict=True)]
        for before, after in zip(start, now, strict=True)
    ]


def rolling(history: History) -> dict[str, float]:
    """Kendall and Spearman of every proxy and HRE over the last evaluations, positive when they improve together.

    The sign is turned for proxies where less is better; those without a known direction keep theirs. NaN with
    fewer than four evaluations that have both.
    """
    score = np.array([_mean(look) for look in history.pearson])
    windows: dict[str, tuple[list[float], list[float]]] = {}
    for key, series in history.proxies.items():
        sign = -1 if history.directions.get(key) == "down" else 1
        both = np.isfinite(series) & np.isfinite(score)
        x, y = sign * series[both][-_WINDOW:], score[both][-_WINDOW:]
        if len(x) >= _LEAST_WINDOW and np.ptp(x) > 0 and np.ptp(y) > 0:
            windows[key] = x.tolist(), y.tolist()
    values: dict[str, float] = {}
    for at, rows in by_size([x for x, _ in windows.values()], [y for _, y in windows.values()]):
        found, keys = question_metrics(*rows), [list(windows)[i] for i in at]
        for kind in ("kendall", "spearman"):
            values |= {f"{kind}/{key}": float(r) for key, r in zip(keys, found[kind], strict=True)}
    return values


def regrets(history: History, *, seed: int = 0) -> dict[str, float]:
    """HRE lost by choosing the checkpoint by each proxy instead of by HRE, cross-fit; see `selection_regret`."""
    values: dict[str, float] = {}
    for key, way in history.directions.items():
        series = history.proxies.get(key)
        if series is None or np.isfinite(series).sum() < 2:
            continue
        signal = series if way == "up" else -series
        lost = selection_losses(history.pearson, signal, clusters=history.clusters, splits=4, seed=seed)
        values |= {f"regret/{key}": _mean(lost)}
    return values


def gao_fit(d: FloatArray, gain: FloatArray, kind: str) -> tuple[float, float]:
    """alpha, beta of HRE's gain against d = sqrt(KL), by least squares.

    Gao, Schulman & Hilton 2023, section 3.1: best-of-n d (alpha - beta d), RL d (alpha - beta ln d).
    """
    ((alpha, beta),) = gao_fits(d, gain[None], kind)
    return float(alpha), float(beta)


def gao_fits(d: FloatArray, gains: FloatArray, kind: str) -> FloatArray:
    """(curves, 2) `gao_fit` of every row of `gains`, (curves, looks)."""
    bend = d * d if kind == "bon" else d * np.log(np.maximum(d, 1e-12))
    return np.asarray(np.linalg.lstsq(np.stack([d, -bend], axis=1), gains.T, rcond=None)[0].T)


def gao_peak(alpha: float, beta: float, kind: str) -> float:
    """sqrt(KL) at which the fitted gain is largest; NaN for a curve that does not bend down."""
    if beta <= 0 or (kind == "bon" and alpha <= 0):
        return float("nan")
    return alpha / (2 * beta) if kind == "bon" else float(np.exp(min(alpha / beta - 1, 50.0)))


def kl_curve(history: History, *, resamples: int = 200, seed: int = 0) -> dict[str, float]:
    """`sqrt_kl` now, and the fits of Gao et al. to HRE's gain over it: the fitted peak with its bootstrap interval.

    Empty where KL is not logged; no fits where fewer than six evaluations have it. The interval is that of the
    resamples (over questions) whose curve has a peak at all; `kl_peak_<fit>_share` says how many have.
    """
    key = next((k for k in history.proxies if k.split("/")[-1] == "kl"), None)
    if key is None:
        return {}
    usable = np.isfinite(history.proxies[key])
    # The baseline is d = 0, gain 0: both fits pass through it by construction.
    usable[0] = False
    values = {"sqrt_kl": float(np.sqrt(np.maximum(history.proxies[key][-1], 0)))}
    known = np.asarray(np.isfinite(history.pearson).all(axis=0))
    if usable.sum() < _LEAST_FIT or known.sum() < 2:
        return values
    d = np.sqrt(np.maximum(history.proxies[key][usable], 0))
    gains = (history.pearson[usable] - history.pearson[0])[:, known]
    groups = None if history.clusters is None else [c for c, k in zip(history.clusters, known, strict=True) if k]
    drawn = resampled_means(gains, clusters=groups, resamples=resamples, seed=seed)
    for kind in _FITS:
        alpha, beta = gao_fit(d, gains.mean(axis=1), kind)
        peaks = np.array([gao_peak(a, b, kind) for a, b in gao_fits(d, drawn, kind).tolist()])
        there = peaks[np.isfinite(peaks)]
        low, high = np.quantile(there, [0.025, 0.975]) if len(there) else (math.nan, math.nan)
        values |= {
            f"kl_alpha_{kind}": alpha,
            f"kl_beta_{kind}": beta,
            f"kl_peak_{kind}": gao_peak(alpha, beta, kind),
            f"kl_peak_{kind}_low": float(low),
            f"kl_peak_{kind}_high": float(high),
            f"kl_peak_{kind}_share": len(there) / resamples,
        }
    return values


def length_drift(history: History, *, seed: int = 0) -> dict[str, float]:
    """Change since the start of the mean per-question correlation of the score with answer length, with interval."""
    if len(history.steps) < 2:
        return {}
    before, after = (
        over_questions(_length_bias, history.lengths, look, history.divided_by) for look in (history.start, history.now)
    )
    found = bootstrap_interval(after - before, clusters=history.clusters, seed=seed)
    return {
        "length_drift": found.estimate,
        "length_drift_low": found.low,
        "length_drift_high": found.high,
    }


def displacement(history: History, *, seed: int = 0) -> dict[str, float]:
    """Likelihood displacement (Razin et al. 2024): people's best answers lose likelihood although their rank may hold.

    `top_shift` and `bottom_shift` are the mean changes since the start in nats per scored character of the top-
    and the bottom-voted answers; `displaced` is 1 when both fell, the top one clear of chance (interval below 0) and by
    at least 5 % of what it had. Any training moves the likelihood a little, so significance alone would cry wolf.
    """
    if len(history.steps) < 2:
        return {}
    before = top_and_bottom(history.votes, history.start, history.lengths)
    change = top_and_bottom(history.votes, history.now, history.lengths) - before
    top = bootstrap_interval(change[0], clusters=history.clusters, seed=seed)
    bottom = _mean(change[1])
    displaced = top.high < 0 and bottom < 0 and -top.estimate >= _DISPLACED * abs(_mean(before[0]))
    return {"top_shift": top.estimate, "bottom_shift": bottom, "displaced": float(displaced)}


def direction(history: History, *, seed: int = 0) -> dict[str, float]:
    """Where training moves probability: `push` and its parts with their intervals, and how far; see `push`."""
    if len(history.steps) < 2:
        return {}
    pushes = history.pushes
    named = {"push": pushes.whole[-1], "push_start_free": pushes.start_free, "push_length_free": pushes.length_free}
    values: dict[str, float] = {}
    for key, row in named.items():
        found = bootstrap_interval(row, clusters=history.clusters, seed=seed)
        values |= {key: found.estimate, f"{key}_low": found.low, f"{key}_high": found.high}
    return values | {
        "distance": _mean(distance(history.start, history.now, history.divided_by)),
        "concordance": _mean(concordance(history.start, history.now, history.divided_by)),
        "margin": _mean(margin(history.votes, history.scores)),
    }


def measure(history: History, *, seed: int = 0, scores_are_rewards: bool = False) -> dict[str, float]:
    """Everything but the verdict, under keys without prefix; NaN and absent mean not to be known yet.

    Args:
        scores_are_rewards: the scores are a reward model's numbers; what only log-likelihoods can tell is left out.
    """
    curves = {**rolling(history), **regrets(history, seed=seed), **kl_curve(history, seed=seed)}
    if scores_are_rewards:
        return {"human_reward": _mean(history.pearson[-1]), **curves}
    return {
        **triangle(history, seed=seed),
        **direction(history, seed=seed),
        **curves,
        **length_drift(history, seed=seed),
        **displacement(history, seed=seed),
    }


def _length_bias(lengths: FloatArray, loglikelihoods: FloatArray, divisors: FloatArray) -> FloatArray:
    """(questions,) correlation of answer length with the score; all of them (questions, answers)."""
    return pearson(lengths, normalised(loglikelihoods, divisors))


def _mean(values: FloatArray) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else math.nan
