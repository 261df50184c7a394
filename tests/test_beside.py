"""Beside the programs that people train with: pip, asked for both, takes a front-end of today.

pip does not fail where two packages want different releases of a third: it goes back to a front-end of years ago that
wanted nothing, and says nothing. So what it would take is looked at.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# What stood in the registry in November 2026; without floors as low as ours pip took 0.8.3 and 1.4.0 of the first two.
FRONT_ENDS = {"llamafactory": (0, 9, 5), "ms-swift": (4, 6), "axolotl": (0, 19)}
OURS = ["accelerate", "datasets", "torch", "transformers", "trl", "wandb"]


def torch_here() -> str:
    """Another build of torch could not be installed everywhere, and is not what is asked."""
    return next(
        line.split(";")[0] for line in (ROOT / "constraints.txt").read_text().splitlines() if line.startswith("torch==")
    )


def numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version)))


@pytest.mark.registry
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", FRONT_ENDS)
def test_pip_takes_a_front_end_of_today(name, tmp_path):
    told = tmp_path / "told.json"
    pip = [sys.executable, "-m", "pip", "install", "-q", "--dry-run", "--ignore-installed", "--report", str(told)]
    done = subprocess.run([*pip, torch_here(), name, str(ROOT)], capture_output=True, text=True, timeout=880)
    if done.returncode:
        words = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or [done.stderr.strip()[-300:]]
        reached = "ResolutionImpossible" in done.stderr or "conflicting" in done.stderr
        assert not reached, done.stderr
        pytest.skip(f"the registry could not be asked for {name}: {words[0]}")
    taken = {
        re.sub(r"[_.]", "-", one["metadata"]["name"].lower()): one["metadata"]["version"]
        for one in json.loads(told.read_text())["install"]
    }
    print(f"\n{name} {taken[name]} beside", ", ".join(f"{one} {taken[one]}" for one in OURS))
    assert numbers(taken[name]) >= FRONT_ENDS[name]
