"""What to take from a curve with gaps. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence


def earliest(numbers: Sequence[float]) -> float:
    """The first finite number, NaN if there is none."""
    return next((value for value in numbers if math.isfinite(value)), math.nan)


def latest(numbers: Sequence[float]) -> float:
    """The last finite number, NaN if there is none."""
    return earliest(numbers[::-1])


def finite(numbers: Sequence[float]) -> list[float]:
    """The finite ones, in their order."""
    return [value for value in numbers if math.isfinite(value)]
