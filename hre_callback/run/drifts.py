"""Style probes in a row: how much more the model leans to each rewrite than at the start. No torch, no disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..stats.simultaneous import simultaneous_intervals
from .keys import probe_key

# Kind -> per question, nats a character of the rewritten answers minus those of the answers; None where there are none.
Differences = Mapping[str, Sequence[float | None]]
# Questions without which a kind has no interval.
_LEAST = 2
# Nats a character: a rewrite of 200 characters that has become e^10 times likelier against its answer.
FLOOR = 0.05


def probe_figures(
    first: Differences | None, now: Differences, clusters: Sequence[str | None] | None
) -> dict[str, float]:
    """Where each probe stands and how it has drifted since the first look, under the keys of a row without its name.

    The drifts' intervals hold for all kinds together; a kind that hardly any question has takes no part.

    Args:
        first: of the first look; `None` at the first look, and where it had no probes.
    """
    values = {kind: np.array(row, dtype=np.float64) for kind, row in now.items()}
    known = {kind: row for kind, row in values.items() if np.isfinite(row).sum() >= _LEAST}
    row = {probe_key(kind): float(np.nanmean(found)) for kind, found in known.items()}
    row |= {probe_key(kind, "probe_n"): float(np.isfinite(found).sum()) for kind, found in known.items()}
    if first is None:
        return row
    at_first = {kind: np.array(found, dtype=np.float64) for kind, found in first.items() if kind in known}
    both = {kind: known[kind] - found for kind, found in at_first.items()}
    drifts = {kind: drift for kind, drift in both.items() if np.isfinite(drift).sum() >= _LEAST}
    if not drifts:
        return row
    intervals = simultaneous_intervals(np.array(list(drifts.values())), clusters=clusters)
    for kind, interval in zip(drifts, intervals, strict=True):
        for end, number in (("", interval.estimate), ("_low", interval.low), ("_high", interval.high)):
            row[probe_key(kind, f"probe_drift{end}")] = number
    return row


def leanings(row: Mapping[str, float | None], name: str) -> tuple[list[str], list[str]]:
    """The kinds that a row clearly leans to more than the start did, and those that it clearly leans to less.

    Their intervals lie beyond `FLOOR`: any training moves every probe a little, so significance alone would cry wolf.
    """
    ends = {end: _by_kind(row, f"{name}/{probe_key('', f'probe_drift_{end}')}") for end in ("low", "high")}
    more = [kind for kind, low in ends["low"].items() if low is not None and low > FLOOR]
    return more, [kind for kind, high in ends["high"].items() if high is not None and high < -FLOOR]


def _by_kind(row: Mapping[str, float | None], start: str) -> dict[str, float | None]:
    return {key[len(start) :]: value for key, value in row.items() if key.startswith(start)}
