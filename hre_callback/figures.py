"""The smaller figures of the report as inline SVG: a record or numbers in, markup out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from .panels import anchor_at, draw_marks, proxy_title, step_scale
from .story import (
    Proxy,
    ceiling_of,
    fixed,
    last_index,
    latest,
    marks,
    mismatch_values,
    proxy_values,
    short,
    start_index,
    steps,
    values,
)
from .svg import Panel, Scale, spanning, sparkline

if TYPE_CHECKING:
    from .record import Record


def thermometer(record: Record) -> str:
    """Where the run stands between chance and the human ceiling, on the unbroken scale."""
    now, start = last_index(record), start_index(record)
    if now is None:
        return ""
    score, low, high = (values(record, key)[now] for key in ("score", "ci_low", "ci_high"))
    ceiling = ceiling_of(record)
    base = values(record, "score")[start] if start is not None else math.nan
    top = ceiling if math.isfinite(ceiling) else 1.0
    finite = [v for v in (score, low, high, base, 0.0, top) if math.isfinite(v)]
    panel = Panel(Scale(min(finite), max(finite)), Scale(0, 1), 26)
    panel.rule_pixel(13, "axis")
    for value, words in (
        (0.0, "0 chance"),
        (top, f"{top:.2f} human ceiling" if top == ceiling else "1 perfect"),
    ):
        panel.rule_x(value, "axis", 8, 18)
        anchor = "end" if value == top else anchor_at(panel.x.at(value))
        panel.text(panel.percent(value), 34, words, "tick", anchor=anchor)
    if math.isfinite(low) and math.isfinite(high):
        panel.band([low, high], [0.38, 0.38], [0.62, 0.62], "range")
    if math.isfinite(base):
        panel.dot(base, 0.5, "hollow")
        if 0.25 < panel.x.at(base) < 0.6:  # room between the words at both ends
            panel.text(panel.percent(base), 34, "start", "tick", anchor="middle")
    panel.dot(score, 0.5, "now", radius=5)
    panel.text(panel.percent(score), 2, f"{fixed(score)} now", "end-now", anchor=anchor_at(panel.x.at(score)))
    words = f"{fixed(score)} on a scale from 0, chance, to {top:.2f}"
    return f'<div class="thermometer">{panel.render(words, above=18, below=20)}</div>'


def rolling_figure(record: Record, one: Proxy) -> str:
    """Rolling rank correlation of a proxy with HRE: Kendall solid, Spearman thin."""
    x = step_scale(record)
    panel = Panel(x, Scale(-1.08, 1.08), 96)
    panel.y_axis(3)
    panel.rule_y(0, "zero")
    draw_marks(panel, marks(record), label=False)
    panel.line(steps(record), mismatch_values(record, f"spearman/{one.key}"), "thin")
    kendall = mismatch_values(record, f"kendall/{one.key}")
    panel.line(steps(record), kendall, "proxy")
    if math.isfinite(latest(kendall)):
        panel.end_labels(
            [(panel.pixel(latest(kendall)), fixed(latest(kendall), signed=True, digits=2), "end-proxy")]
        )
    panel.x_axis("step", 4)
    words = (
        f"Rolling rank correlation of {one.label} with HRE, last Kendall {fixed(latest(kendall), digits=2)}"
    )
    return f'<div class="plot">{proxy_title(one)}{panel.render(words, below=30)}</div>'


def kl_figure(record: Record, key: str) -> str:
    """HRE against the square root of the KL divergence, in the order of training."""
    score = values(record, "score")
    kl = proxy_values(record, key)
    start = start_index(record)
    if start is not None and not math.isfinite(kl[start]):
        kl[start] = 0.0  # step 0 is the policy that KL is measured from
    root = [math.sqrt(v) if v >= 0 else math.nan for v in kl]
    pairs = [(a, b) for a, b in zip(root, score, strict=True) if math.isfinite(a) and math.isfinite(b)]
    if len(pairs) < 2:
        return ""
    panel = Panel(
        spanning([a for a, _ in pairs], margin=0.0), spanning([b for _, b in pairs], least=0.02), 190
    )
    panel.y_axis(4)
    panel.line([a for a, _ in pairs], [b for _, b in pairs], "score")
    for a, b in pairs[:1]:
        panel.dot(a, b, "hollow")
    panel.dot(*pairs[-1], "now")
    panel.text(panel.percent(pairs[0][0]), panel.pixel(pairs[0][1]) - 9, "start", "label", dx=6)
    panel.end_labels([(panel.pixel(pairs[-1][1]), f"{fixed(pairs[-1][1])} now", "end-now")])
    panel.x_axis("√KL")
    words = f"HRE against the square root of {key}: {len(pairs)} evaluations, √KL up to {short(max(a for a, _ in pairs))}"
    return f'<div class="plot">{panel.render(words, below=30)}</div>'


def lines_figure(
    record: Record, curves: Sequence[tuple[str, Sequence[float], str]], words: str, zero: bool
) -> str:
    """A few curves in one panel, each named at its end: `(name, values, css)`."""
    panel = Panel(step_scale(record), spanning([v for _, numbers, _ in curves for v in numbers]), 190)
    panel.y_axis(4)
    if zero and panel.y.low < 0 < panel.y.high:
        panel.rule_y(0, "zero")
    draw_marks(panel, marks(record), label=False)
    labels = []
    for name, numbers, css in curves:
        panel.line(steps(record), numbers, css)
        if math.isfinite(latest(numbers)):
            labels.append((panel.pixel(latest(numbers)), name, "label"))
    panel.end_labels(labels)
    panel.x_axis("step")
    return f'<div class="plot">{panel.render(words, below=30)}</div>'


def topic_sparkline(record: Record, topic: str) -> str:
    """A topic's curve, the size of a word."""
    numbers = values(record, f"topic/{topic}")
    return sparkline(numbers, f"{topic}: {fixed(latest(numbers))} now") if len(numbers) > 1 else ""


def change_row(delta: float, low: float, high: float, scale: Scale) -> str:
    """One row of a forest plot: a change with its interval around the line of no change."""
    panel = Panel(scale, Scale(0, 1), 22)
    panel.rule_x(0, "axis")
    if not math.isfinite(delta):
        return panel.render("change unknown", below=0, above=0)
    if math.isfinite(low):
        panel.marks.append(
            f'<line class="whisker" x1="{panel.percent(low)}" x2="{panel.percent(high)}" y1="11" y2="11"/>'
        )
    clear = "worse" if high < 0 else "better" if low > 0 else "unclear"
    panel.dot(delta, 0.5, clear)
    words = f"change {fixed(delta, signed=True)}, {fixed(low, signed=True)} to {fixed(high, signed=True)}"
    return panel.render(words, below=0, above=0)


def dumbbell(then: float, now: float) -> str:
    """One question's r then (hollow) and now (filled), from −1 to 1."""
    panel = Panel(Scale(-1, 1), Scale(0, 1), 16)
    panel.rule_pixel(8, "grid")
    panel.rule_x(0, "axis", 3, 13)
    css = "worse" if now < then else "better"
    panel.marks.append(
        f'<line class="shift-{css}" x1="{panel.percent(then)}" x2="{panel.percent(now)}" y1="8" y2="8"/>'
    )
    panel.dot(then, 0.5, "hollow")
    panel.dot(now, 0.5, css)
    return panel.render(f"r from {fixed(then)} to {fixed(now)} on a scale from −1 to 1", below=0, above=0)


def triangle(then: Sequence[float], now: Sequence[float]) -> str:
    """The triangle people, model, reward with the correlation on each edge: (people-model, people-reward, model-reward)."""
    corners = {"people": (160, 28), "model": (44, 172), "reward": (276, 172)}
    edges = (("people", "model", 62, 104), ("people", "reward", 258, 104), ("model", "reward", 160, 192))
    parts = []
    for (a, b, x, y), before, after in zip(edges, then, now, strict=True):
        (x1, y1), (x2, y2) = corners[a], corners[b]
        css = "edge-none" if not math.isfinite(after) else "edge-worse" if after < 0 else "edge"
        width = 1 + 7 * min(1.0, abs(after)) if math.isfinite(after) else 1
        parts.append(
            f'<line class="{css}" x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" style="stroke-width:{width:.1f}"/>'
        )
        anchor = "end" if x < 100 else "start" if x > 220 else "middle"
        parts.append(
            f'<text class="end-now" x="{x}" y="{y}" text-anchor="{anchor}">{fixed(after, digits=2)}</text>'
        )
        if math.isfinite(before):
            was = f"was {fixed(before, digits=2)}"
            parts.append(f'<text class="tick" x="{x}" y="{y + 15}" text-anchor="{anchor}">{was}</text>')
    for name, (x, y) in corners.items():
        parts.append(f'<circle class="node" cx="{x}" cy="{y}" r="25"/>')
        parts.append(f'<text class="node-text" x="{x}" y="{y + 4}" text-anchor="middle">{name}</text>')
    named = zip(("people and model", "people and reward", "model and reward"), now, strict=True)
    words = "Correlations: " + ", ".join(f"{name} {fixed(value, digits=2)}" for name, value in named)
    return f'<svg class="triangle" viewBox="0 0 320 216" role="img" aria-label="{escape(words)}">{"".join(parts)}</svg>'
