"""Days, as people and files spell them."""

from __future__ import annotations

import re
from datetime import date

# The day, and whatever time stands behind it.
_ISO_DAY = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})(?:[T ][0-9:.,]+ ?(?:Z|UTC|[+-][0-9:]+)?)?")


def day_of(value: object) -> str | None:
    """The day, `YYYY-MM-DD`, of a date, a time, or either in ISO 8601; `None` of anything else."""
    if isinstance(value, str):
        found = _ISO_DAY.fullmatch(value.strip())
        try:
            value = date.fromisoformat(found[1]) if found else None
        except ValueError:
            return None
    # A time that is none (pandas' NaT) is not equal to itself.
    return f"{value:%Y-%m-%d}" if isinstance(value, date) and value == value else None
