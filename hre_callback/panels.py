"""The run's main figure as inline SVG: HRE above its proxies, one panel each, all on one x axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from .story import (
    Mark,
    Proxy,
    best_index,
    ceiling_of,
    count,
    events,
    fixed,
    human_of,
    last_index,
    latest,
    main_proxies,
    marks,
    paired_band,
    proxy_values,
    short,
    start_index,
    steps,
    values,
)
from .svg import Panel, Scale, spanning

if TYPE_CHECKING:
    from .record import Record

Others = Sequence[tuple[str, "Record"]]

_PEOPLE_HEIGHT = 270
_PROXY_HEIGHT = 84
_BREAK = 36  # pixels above an axis break, where the human ceiling is drawn
_ROW = 15  # pixels per row of labels above a panel


def step_scale(record: Record, others: Others = ()) -> Scale:
    """The shared x axis: from the first step to the last of all runs drawn."""
    seen = [step for one in (record, *(other for _, other in others)) for step in steps(one)]
    seen += [mark.step for mark in marks(record)]
    low, high = min(seen, default=0), max(seen, default=0)
    return Scale(low, high) if high > low else Scale(low, low + 1)


def run_figure(record: Record, others: Others = ()) -> str:
    """HRE above its proxies, one panel each, on one x axis."""
    x = step_scale(record, others)
    found = main_proxies(record)
    parts = [_people(record, others, x, last=not found)]
    parts += [_proxy(record, one, x, last=one is found[-1]) for one in found]
    return f'<div class="plot">{"".join(parts)}</div>'


def _reaches(record: Record) -> list[float]:
    """Every value that the HRE panel must hold: intervals, the score, and the start plus the paired interval."""
    low, high = paired_band(record)
    return [*values(record, "score"), *values(record, "ci_low"), *values(record, "ci_high"), *low, *high]


def _people(record: Record, others: Others, x: Scale, *, last: bool) -> str:
    inside = spanning(
        _reaches(record) + [v for _, other in others for v in values(other, "score")], least=0.02
    )
    ceiling, human = ceiling_of(record), human_of(record)
    if -0.6 <= inside.at(human) <= 1.6:
        inside = spanning([inside.low, inside.high, human], margin=0.02)
    broken = math.isfinite(ceiling) and not inside.at(ceiling) <= 1.6
    if broken:  # the curve keeps its size; the ceiling stands above a marked break in the axis
        whole = Scale(inside.low, inside.low + (inside.high - inside.low) / (1 - _BREAK / _PEOPLE_HEIGHT))
    else:
        whole = (
            spanning([inside.low, inside.high, ceiling], margin=0.02) if math.isfinite(ceiling) else inside
        )
    panel = Panel(x, whole, _PEOPLE_HEIGHT)
    panel.y_axis(5, inside if broken else None)
    if whole.low < 0 < whole.high:
        panel.rule_y(0, "zero")
    labels = _draw_ceiling(panel, ceiling, broken=broken)
    if whole.low < human < inside.high:
        panel.rule_y(human, "human")
        labels.append((panel.pixel(human), "a human", "label"))
    labels += _draw_score(panel, record)
    labels += [_draw_other(panel, i, name, other) for i, (name, other) in enumerate(others)]
    rows = draw_marks(panel, marks(record), label=True)
    for skipped in events(record, "skipped"):
        panel.text(panel.percent(skipped["step"]), panel.height - 4, "×", "skip", anchor="middle")
    panel.end_labels(labels)
    if last:
        panel.x_axis("step")
    heading = '<p class="panel-title"><b>HumanRankEval</b> <span>agreement with people’s votes</span></p>'
    return heading + panel.render(describe(record), above=6 + _ROW * rows, below=30 if last else 14)


def _draw_ceiling(panel: Panel, ceiling: float, *, broken: bool) -> list[tuple[float, str, str]]:
    if not math.isfinite(ceiling):
        return []
    pixel = 8.0 if broken else panel.pixel(ceiling)
    panel.rule_pixel(pixel, "ceiling")
    if broken:
        panel.rule_pixel(_BREAK - 8, "break")
        panel.text("0%", _BREAK - 12, "axis broken", "tick", dx=2)
        panel.text("0%", pixel + 4, fixed(ceiling, digits=2), "tick", anchor="end", dx=-8)
    return [(pixel, "ceiling", "end-ceiling")]


def _draw_score(panel: Panel, record: Record) -> list[tuple[float, str, str]]:
    at, score = steps(record), values(record, "score")
    now, start, best = last_index(record), start_index(record), best_index(record)
    panel.band(at, values(record, "ci_low"), values(record, "ci_high"), "band")
    labels = []
    if start is not None:
        base = score[start]
        if len(at) > 1:
            panel.band(at, *paired_band(record), "paired")
        panel.rule_y(base, "baseline")
        panel.dot(at[start], base, "hollow")
        labels.append((panel.pixel(base), "start" if now != start else f"{fixed(base)} start", "end-start"))
    panel.line(at, score, "score")
    if best is not None and best not in (now, start):
        panel.dot(at[best], score[best], "hollow")
        anchor = anchor_at(panel.x.at(at[best]))
        words = f"highest {fixed(score[best])}"
        panel.text(panel.percent(at[best]), panel.pixel(score[best]) - 9, words, "label", anchor=anchor)
    if now is not None and now != start:
        panel.dot(at[now], score[now], "now")
        labels.append((panel.pixel(score[now]), f"{fixed(score[now])} now", "end-now"))
    return labels


def _draw_other(panel: Panel, i: int, name: str, other: Record) -> tuple[float, str, str]:
    css = f"other other-{i % 4}"
    panel.line(steps(other), values(other, "score"), css)
    words = name if len(name) <= 10 else name[:9] + "…"
    return panel.pixel(latest(values(other, "score"))), words, f"end-other end-{i % 4}"


def anchor_at(share: float) -> str:
    """Which end of a label to pin, so that it stays inside the panel."""
    return "start" if share < 0.2 else "end" if share > 0.8 else "middle"


def draw_marks(panel: Panel, found: Sequence[Mark], *, label: bool) -> int:
    """Vertical lines; with `label`, their words above the panel in a row each. Returns the number of rows."""
    for row, mark in enumerate(found):
        top = -_ROW * (row + 0.6) if label else -8
        panel.rule_x(mark.step, f"mark {mark.tone}", top)
        if label:
            right = panel.x.at(mark.step) > 0.5
            anchor, dx = ("end", -5) if right else ("start", 5)
            words = f"{mark.text}, step {mark.step:,}"
            panel.text(panel.percent(mark.step), top + 9, words, f"label {mark.tone}", anchor=anchor, dx=dx)
    return len(found) if label else 0


def describe(record: Record) -> str:
    """The HRE curve in words, for those who cannot see it."""
    now, start, best = last_index(record), start_index(record), best_index(record)
    if now is None or best is None:
        return "HumanRankEval: no score yet."
    at, score = steps(record), values(record, "score")
    begun = f"from {fixed(score[start])} at the start " if start is not None else ""
    words = f"HumanRankEval {begun}to {fixed(score[now])} at step {at[now]}, highest {fixed(score[best])} at step {at[best]}"
    ceiling = ceiling_of(record)
    return words + (f"; human ceiling {fixed(ceiling, digits=2)}." if math.isfinite(ceiling) else ".")


def _proxy(record: Record, one: Proxy, x: Scale, *, last: bool) -> str:
    at, numbers = steps(record), proxy_values(record, one.key)
    panel = Panel(x, spanning(numbers), _PROXY_HEIGHT)
    panel.y_axis(3)
    draw_marks(panel, marks(record), label=False)
    panel.line(at, numbers, "proxy")
    index = max((i for i, v in enumerate(numbers) if math.isfinite(v)), default=None)
    if index is not None:
        panel.dot(at[index], numbers[index], "proxy-dot", radius=3)
        panel.end_labels([(panel.pixel(numbers[index]), short(numbers[index]), "end-proxy")])
    if last:
        panel.x_axis("step")
    finite = [v for v in numbers if math.isfinite(v)]
    words = f"{one.label} ({one.key}) from {short(finite[0])} to {short(finite[-1])}, {count(len(finite), 'evaluation')}"
    return proxy_title(one) + panel.render(words, below=30 if last else 14)


def proxy_title(one: Proxy) -> str:
    """The heading of a proxy's panel: plain name, key, and the direction in which it is optimised."""
    aim = f", {one.better} is the goal" if one.better else ""
    key = f"{escape(one.key)}{aim}" if one.key != one.label else aim.removeprefix(", ")
    return f'<p class="panel-title"><b>{escape(one.label)}</b> <span>{key}</span></p>'
