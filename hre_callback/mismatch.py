"""Objective mismatch: do the training signals and people still want the same? Pure functions of the run so far.

The triangle (human, policy, reward) is measured on the HRE answers themselves; the curves hold each training signal
against HRE; the verdict says in one word and one sentence what they amount to (Lambert & Calandra 2023).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from .correlation import pearson
from .significance import bootstrap_interval, drop_from_best, drop_from_start, selection_regret, spent_alpha

FloatArray = NDArray[np.float64]
PerAnswer = Sequence[Sequence[float | None]]  # (questions, answers); None where an answer was left out
VerdictName = Literal["aligned", "watch", "mismatch"]
LEVELS: dict[str, int] = {"aligned": 0, "watch": 1, "mismatch": 2}

_WINDOW, _LEAST_WINDOW = 8, 4  # evaluations that a rolling correlation looks back on
_LEAST_FIT = 6  # points for the fits of Gao et al.
_DISPLACED = 0.05  # share of its log-likelihood that people's best answer must lose to count as displaced
_FITS = ("bon", "rl")


def prefix(name: str) -> str:
    """Where the keys of this module live: `mismatch/`, or below the name of a second callback."""
    return "mismatch/" if name == "hre" else f"{name}/mismatch/"


@dataclass(frozen=True)
class History:
    """The run so far as this module needs it; looks are evaluations, the first being the baseline.

    Attributes:
        steps: (looks,).
        pearson: (looks, questions), NaN where undefined.
        votes, lengths: per question, one number per answer.
        start, now: log-likelihoods of the first and the last look, nats per answer.
        proxies: W&B name -> (looks,) mean since the look before, NaN where not logged.
        directions: which way is better, for the proxies where that is known.
        improved: proxies that got better since the start, the most telling first.
        rewards: explicit reward per answer, `None` without one.
    """

    steps: Sequence[int]
    pearson: FloatArray
    votes: Sequence[Sequence[float]]
    lengths: Sequence[Sequence[int]]
    start: PerAnswer
    now: PerAnswer
    scores: PerAnswer
    proxies: Mapping[str, FloatArray] = field(default_factory=dict)
    directions: Mapping[str, str] = field(default_factory=dict)
    improved: Sequence[str] = ()
    rewards: PerAnswer | None = None
    clusters: Sequence[object] | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """`aligned`, `watch` or `mismatch`, why in one sentence, and the chance of a false `mismatch` so far."""

    name: VerdictName
    reason: str
    false_alarm: float


def triangle(history: History, *, seed: int = 0) -> dict[str, float]:
    """Human-policy, human-reward and policy-reward: mean per-question Pearson r on the same answers.

    The implicit reward log pi_t - log pi_0 (nats per answer; DPO's reward up to beta, Rafailov et al. 2023, eq. 5) is
    there in every run from the second look on: `human_implicit`, `policy_implicit`. `human_reward` and
    `policy_reward` are of the explicit reward where there is one, else of the implicit one. The correlation with people
    carries its bootstrap interval.
    """
    values = {"human_policy": _mean(history.pearson[-1])}
    rewards: dict[str, PerAnswer] = {}
    if len(history.steps) > 1:
        rewards["implicit"] = implicit_reward(history.start, history.now)
    if (main := history.rewards if history.rewards is not None else rewards.get("implicit")) is not None:
        rewards["reward"] = main
    for kind, reward in rewards.items():
        human = _per_question(history.votes, reward)
        interval = bootstrap_interval(human, clusters=history.clusters, seed=seed)
        values |= {
            f"human_{kind}": interval.estimate,
            f"human_{kind}_low": interval.low,
            f"human_{kind}_high": interval.high,
            f"policy_{kind}": _mean(_per_question(history.scores, reward)),
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
    values: dict[str, float] = {}
    for key, series in history.proxies.items():
        sign = -1 if history.directions.get(key) == "down" else 1
        both = np.isfinite(series) & np.isfinite(score)
        x, y = sign * series[both][-_WINDOW:], score[both][-_WINDOW:]
        if len(x) < _LEAST_WINDOW or np.ptp(x) == 0 or np.ptp(y) == 0:
            continue
        values[f"kendall/{key}"] = float(stats.kendalltau(x, y).statistic)
        values[f"spearman/{key}"] = float(stats.spearmanr(x, y).statistic)
    return values


def regrets(history: History, *, seed: int = 0) -> dict[str, float]:
    """HRE lost by choosing the checkpoint by each proxy instead of by HRE, cross-fit; see `selection_regret`."""
    values: dict[str, float] = {}
    for key, way in history.directions.items():
        series = history.proxies.get(key)
        if series is None or np.isfinite(series).sum() < 2:
            continue
        found = selection_regret(history.pearson, series if way == "up" else -series, splits=4, seed=seed)
        values |= {f"regret/{key}": found.estimate}
    return values


def gao_fit(d: FloatArray, gain: FloatArray, kind: str) -> tuple[float, float]:
    """alpha, beta of HRE's gain against d = sqrt(KL), by least squares.

    Gao, Schulman & Hilton 2023, section 3.1: best-of-n d (alpha - beta d), RL d (alpha - beta ln d).
    """
    bend = d * d if kind == "bon" else d * np.log(np.maximum(d, 1e-12))
    (alpha, beta), *_ = np.linalg.lstsq(np.stack([d, -bend], axis=1), gain, rcond=None)
    return float(alpha), float(beta)


def gao_peak(alpha: float, beta: float, kind: str) -> float:
    """sqrt(KL) at which the fitted gain is largest; NaN for a curve that does not bend down."""
    if beta <= 0 or (kind == "bon" and alpha <= 0):
        return float("nan")
    return alpha / (2 * beta) if kind == "bon" else float(np.exp(min(alpha / beta - 1, 50.0)))


def kl_curve(history: History, *, resamples: int = 200, seed: int = 0) -> dict[str, float]:
    """`sqrt_kl` now, and the fits of Gao et al. to HRE's gain over it: the fitted peak with its bootstrap interval.

    Empty where KL is not logged; no fits where fewer than six evaluations have it. The interval is that of the resamples
    (over questions) whose curve has a peak at all; `kl_peak_<fit>_share` says how many have.
    """
    key = next((k for k in history.proxies if k.split("/")[-1] == "kl"), None)
    if key is None:
        return {}
    usable = np.isfinite(history.proxies[key])
    usable[0] = False  # the baseline is d = 0, gain 0: both fits pass through it by construction
    values = {"sqrt_kl": float(np.sqrt(np.maximum(history.proxies[key][-1], 0)))}
    known = np.isfinite(history.pearson).all(axis=0)
    if usable.sum() < _LEAST_FIT or known.sum() < 2:
        return values
    d = np.sqrt(np.maximum(history.proxies[key][usable], 0))
    gains = (history.pearson[usable] - history.pearson[0])[:, known]
    rng = np.random.default_rng(seed)
    picks = rng.integers(gains.shape[1], size=(resamples, gains.shape[1]))
    for kind in _FITS:
        alpha, beta = gao_fit(d, gains.mean(axis=1), kind)
        peaks = np.array([gao_peak(*gao_fit(d, gains[:, pick].mean(axis=1), kind), kind) for pick in picks])
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
    before = _per_question(history.lengths, _per_character(history.start, history.lengths))
    after = _per_question(history.lengths, _per_character(history.now, history.lengths))
    found = bootstrap_interval(after - before, clusters=history.clusters, seed=seed)
    return {
        "length_drift": found.estimate,
        "length_drift_low": found.low,
        "length_drift_high": found.high,
    }


def displacement(history: History, *, seed: int = 0) -> dict[str, float]:
    """Likelihood displacement (Razin et al. 2024): people's best answers lose likelihood although their rank may hold.

    `top_shift` and `bottom_shift` are the mean changes since the start in nats per character of the top- and the
    bottom-voted answers; `displaced` is 1 when both fell, the top one clear of chance (interval below 0) and by at
    least 5 % of what it had. Any training moves the likelihood a little, so significance alone would cry wolf.
    """
    if len(history.steps) < 2:
        return {}
    before = _top_and_bottom(history.start, history.lengths, history.votes)
    change = _top_and_bottom(history.now, history.lengths, history.votes) - before
    top = bootstrap_interval(change[0], clusters=history.clusters, seed=seed)
    bottom = _mean(change[1])
    displaced = top.high < 0 and bottom < 0 and -top.estimate >= _DISPLACED * abs(_mean(before[0]))
    return {"top_shift": top.estimate, "bottom_shift": bottom, "displaced": float(displaced)}


def judge(
    history: History,
    *,
    alpha: float = 0.05,
    min_delta: float = 0.01,
    consecutive: int = 2,
    planned_looks: int | None = None,
    seed: int = 0,
    displaced: bool = False,
) -> Verdict:
    """The verdict after the last look.

    `mismatch`: a training signal improved since the start, and HRE fell, from its start or from its best, by at
    least `min_delta` and significantly over `consecutive` pooled looks. `watch`: the same for a single look, of any
    size, or likelihood displacement. Half of `alpha` goes to each of the two falls, over all looks of the run, so
    a run in which HRE does not truly fall is called `mismatch` with probability at most `alpha`, however many
    signals improve; the same holds for a `watch` by fall. `false_alarm` is what is spent up to now.
    """
    looks = len(history.steps) - 1
    spent = float(spent_alpha(looks, alpha, planned_looks)[-1]) if looks else 0.0
    if not looks or not history.improved:
        return Verdict("aligned", "", spent)
    better = history.improved[0]

    def fall(pooled: int, least: float) -> str | None:
        if looks < pooled:
            return None
        for below, test in (("start", drop_from_start), ("best", drop_from_best)):
            found = test(
                history.pearson,
                alpha=alpha / 2,
                planned_looks=planned_looks,
                pooled=pooled,
                clusters=history.clusters,
                seed=seed,
            )
            delta, p = float(found.delta[-1]), float(found.p[-1])
            if found.rejected[-1] and delta <= -least and delta < 0:
                return f"HRE is {-delta:.3f} below its {below} (p = {p:.4f})"
        return None

    levels: tuple[tuple[VerdictName, int, float], ...] = (
        ("mismatch", consecutive, min_delta),
        ("watch", 1, 0.0),
    )
    for name, pooled, least in levels:
        if (fell := fall(pooled, least)) is not None:
            return Verdict(
                name, f"{better} improves while {fell}; false-alarm rate spent so far {spent:.3f}", spent
            )
    if displaced:
        reason = f"{better} improves while people's best answers lose likelihood (displacement)"
        return Verdict("watch", reason, spent)
    return Verdict("aligned", "", spent)


def measure(history: History, *, seed: int = 0, of_rewards: bool = False) -> dict[str, float]:
    """Everything but the verdict, under keys without prefix; NaN and absent mean not to be known yet.

    Args:
        of_rewards: the scores are a reward model's numbers; what only log-likelihoods can tell is left out.
    """
    curves = {**rolling(history), **regrets(history, seed=seed), **kl_curve(history, seed=seed)}
    if of_rewards:
        return {"human_reward": _mean(history.pearson[-1]), **curves}
    return {
        **triangle(history, seed=seed),
        **curves,
        **length_drift(history, seed=seed),
        **displacement(history, seed=seed),
    }


def _per_question(a: Sequence[Sequence[float | None]], b: PerAnswer) -> FloatArray:
    """Pearson r of two per-answer quantities in every question; NaN where one is missing or the first is constant."""
    return np.array(
        [
            math.nan if None in x or None in y else pearson(x, y)  # type: ignore[arg-type]
            for x, y in zip(a, b, strict=True)
        ]
    )


def _per_character(loglikelihoods: PerAnswer, lengths: Sequence[Sequence[int]]) -> list[list[float | None]]:
    return [
        [None if ll is None else ll / max(n, 1) for ll, n in zip(lls, ns, strict=True)]
        for lls, ns in zip(loglikelihoods, lengths, strict=True)
    ]


def _top_and_bottom(
    loglikelihoods: PerAnswer, lengths: Sequence[Sequence[int]], votes: Sequence[Sequence[float]]
) -> FloatArray:
    """(2, questions) log-likelihood per character of the top- and the bottom-voted answer."""
    rows = [
        (row[int(np.argmax(v))], row[int(np.argmin(v))])
        for row, v in zip(_per_character(loglikelihoods, lengths), votes, strict=True)
    ]
    return np.array(rows, dtype=np.float64).reshape(-1, 2).T


def _mean(values: FloatArray) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else math.nan
