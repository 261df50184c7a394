"""The report's section on objective mismatch: do the training signals and people want the same?"""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING

from .figures import kl_figure, lines_figure, rolling_figure, triangle
from .page import paragraph, section, table
from .story import (
    fixed,
    keys_under,
    latest,
    main_proxies,
    mismatch_prefix,
    mismatch_values,
    n_questions,
    proxy,
    proxy_values,
    short,
    values,
)

if TYPE_CHECKING:
    from .record import Record


def signals(record: Record) -> str:
    """Objective mismatch: the triangle, rolling correlations, HRE against √KL, displacement, regret."""
    parts = [_triangle(record), _rolling(record), _kl(record), _displacement(record), _regret(record)]
    return section("mismatch", "Do training and people want the same?", *parts)


def _triangle(record: Record) -> str:
    edges = {key: mismatch_values(record, key) for key in ("human_policy", "human_reward", "policy_reward")}
    if not any(math.isfinite(v) for key in ("human_reward", "policy_reward") for v in edges[key]):
        return ""
    first = [next((v for v in numbers if math.isfinite(v)), math.nan) for numbers in edges.values()]
    drawn = triangle(first, [latest(numbers) for numbers in edges.values()])
    curves = [
        ("people–model", edges["human_policy"], "score"),
        ("people–reward", edges["human_reward"], "proxy"),
        ("model–reward", edges["policy_reward"], "thin"),
    ]
    lines = lines_figure(record, curves, "The three correlations of the triangle over the run", zero=True)
    words = (
        f"Mean correlations over the same answers, n = {n_questions(record):,} questions. Trouble looks like this: "
        "the model takes up the reward (bottom edge) while the reward does not follow people (right edge)."
    )
    return _figure("People, model, reward", f'<div class="pair">{drawn}{lines}</div>', words)


def _figure(title: str, body: str, words: str) -> str:
    return f"<h3>{escape(title)}</h3>\n<figure>{body}\n<figcaption>{paragraph(words)}</figcaption></figure>"


def _rolling(record: Record) -> str:
    kept = set(keys_under(record, f"{mismatch_prefix(record)}kendall/"))
    shown = [one for one in main_proxies(record) if one.key in kept] or [
        proxy(key) for key in sorted(kept)[:4]
    ]
    drawn = [one for one in shown if math.isfinite(latest(mismatch_values(record, f"kendall/{one.key}")))]
    if not drawn:
        return ""
    body = "".join(rolling_figure(record, one) for one in drawn)
    words = (
        "Rank correlation of each signal with HRE over a rolling window of evaluations, turned so that above 0 they "
        "improve together: Kendall solid, Spearman thin and dashed. A window holds few evaluations, so only a value that stays away from 0 means anything."
    )
    return _figure("Does the signal follow HRE?", f'<div class="pair">{body}</div>', words)


def _kl(record: Record) -> str:
    key = next((one.key for one in main_proxies(record, 99) if one.key.split("/")[-1] == "kl"), None)
    body = kl_figure(record, key) if key else ""
    words = (
        "HRE against the square root of the KL divergence from the start, in training order. A curve that bends "
        f"down buys reward at people’s expense. n = {n_questions(record):,} questions at every point."
    )
    peak, low, high, share = (
        latest(mismatch_values(record, f"kl_peak_rl{end}")) for end in ("", "_low", "_high", "_share")
    )
    if math.isfinite(peak):
        words += (
            f" The fit d(α − β ln d) of Gao et al. peaks at {short(peak)} (95 % interval {short(low)} to {short(high)}; "
            f"{share:.0%} of the resamples have a peak)."
        )
    return _figure("What moving away from the start costs", body, words) if body else ""


def _displacement(record: Record) -> str:
    top, bottom = values(record, "loglikelihood_top"), values(record, "loglikelihood_bottom")
    if sum(map(math.isfinite, top)) < 2:
        return ""
    curves = [("best", top, "score"), ("worst", bottom, "proxy")]
    words = (
        "Mean log-likelihood per character (nats) of people’s best and worst answer. If both sink while a margin "
        f"grows, training pushes probability away from good answers too. n = {n_questions(record):,} questions."
    )
    body = lines_figure(record, curves, "Log-likelihood of the best and worst voted answers", zero=False)
    return _figure("Likelihood of people’s best and worst answers", body, words)


def _regret(record: Record) -> str:
    rows = []
    for key in keys_under(record, f"{mismatch_prefix(record)}regret/"):
        regret = latest(mismatch_values(record, f"regret/{key}"))
        if math.isfinite(regret):
            n = sum(map(math.isfinite, proxy_values(record, key)))
            rows.append([escape(key), fixed(regret, signed=True), f"{n:,}"])
    if not rows:
        return ""
    caption = "HRE at its own best checkpoint minus HRE at the checkpoint that the signal would choose"
    columns = [("signal", ""), ("HRE lost", "num"), ("evaluations", "num")]
    return f"<h3>The price of trusting the signal</h3>\n{table(columns, rows, caption)}"
