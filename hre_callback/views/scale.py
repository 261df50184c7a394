"""From values to places: scales, ticks, labels that keep apart, curves broken at gaps. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

# Numbers that are larger lie outside every scale: their differences are no numbers any more.
_MOST = 1e150


@dataclass(frozen=True, slots=True)
class Scale:
    """A range of values, mapped to 0 … 1."""

    low: float
    high: float

    def at(self, value: float) -> float:
        """Where `value` lies: 0 at `low`, 1 at `high`."""
        return (value - self.low) / (self.high - self.low)

    def ticks(self, most: int = 5, *, whole: bool = False) -> list[float]:
        """Round numbers inside the range, at most `most`; only `whole` ones where fractions mean nothing."""
        span = self.high - self.low
        size = 10 ** math.floor(math.log10(span / most))
        size = max(size, 1) if whole else size
        for factor in (1, 2, 5, 10, 20):
            step = factor * size
            first = math.ceil(self.low / step - 1e-9)
            last = math.floor(self.high / step + 1e-9)
            if last - first < most:
                return [i * step for i in range(first, last + 1)]
        return [self.low, self.high]


def spanning(numbers: Iterable[float], *, margin: float = 0.08, least: float = 1e-9) -> Scale:
    """A scale that holds every finite number with some air; never narrower than `least`."""
    finite = [max(-_MOST, min(value, _MOST)) for value in numbers if math.isfinite(value)] or [0.0, 1.0]
    low, high = min(finite), max(finite)
    least = max(least, 1e-6 * max(abs(low), abs(high)))
    if high - low < least:
        middle = (low + high) / 2
        low, high = middle - least / 2, middle + least / 2
    air = (high - low) * margin
    return Scale(low - air, high + air)


def tick_text(value: float, ticks: Sequence[float]) -> str:
    """A tick's label, with the decimals that its neighbours need and no more."""
    gap = min((b - a for a, b in zip(ticks, ticks[1:], strict=False)), default=abs(value) or 1.0)
    decimals = max(0, -math.floor(math.log10(gap) + 1e-9))
    if decimals > 5:
        return f"{value:.1e}".replace("-", "−")
    text = f"{value:,.{decimals}f}"
    return (text.lstrip("-") if float(text.replace(",", "")) == 0 else text).replace("-", "−")


def spread(wanted: Sequence[float], gap: float) -> list[float]:
    """The positions nearest to the wanted ones (least squares) in the same order and at least `gap` apart.

    Labels that collide share their place around their mean; all others stay where they are. Pool adjacent
    violators on `wanted - rank * gap`, which must not decrease.
    """
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    # Mean and size of every block of pooled labels.
    blocks: list[tuple[float, int]] = []
    for rank, i in enumerate(order):
        mean, size = wanted[i] - rank * gap, 1
        while blocks and blocks[-1][0] > mean:
            before, count = blocks.pop()
            mean, size = (before * count + mean * size) / (count + size), count + size
        blocks.append((mean, size))
    means = [mean for mean, size in blocks for _ in range(size)]
    placed = [0.0] * len(wanted)
    for rank, i in enumerate(order):
        placed[i] = means[rank] + rank * gap
    return placed


def segments(*columns: Sequence[float]) -> list[list[tuple[float, ...]]]:
    """Runs of rows in which every column is finite: a curve is broken, never bridged, where a value is missing."""
    runs: list[list[tuple[float, ...]]] = [[]]
    for row in zip(*columns, strict=True):
        if all(math.isfinite(value) for value in row):
            runs[-1].append(row)
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]
