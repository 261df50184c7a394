"""Numbers as people read them: a real minus sign, few digits, nothing for nothing."""

from __future__ import annotations

import math


def fixed(value: float, *, signed: bool = False, digits: int = 3) -> str:
    """`0.254`, or `+0.022` when `signed`; a real minus sign; an en dash for NaN."""
    if not math.isfinite(value):
        return "–"
    text = f"{value:+.{digits}f}" if signed else f"{value:.{digits}f}"
    if float(text) == 0:
        text = text.replace("-", "+") if signed else text.lstrip("-")
    return text.replace("-", "−")


def span(low: float, high: float, *, signed: bool = False, digits: int = 3) -> str:
    """`0.210 to 0.300`, the two ends of an interval."""
    return f"{fixed(low, signed=signed, digits=digits)} to {fixed(high, signed=signed, digits=digits)}"


def short(value: float) -> str:
    """A number of any size in four significant digits: `1.234`, `0.00412`, `5.6e−07`."""
    return f"{value:.4g}".replace("-", "−") if math.isfinite(value) else "–"


def count(n: int, noun: str) -> str:
    """`1 topic`, `2,000 topics`."""
    return f"{n:,} {noun}{'s' * (n != 1)}"
