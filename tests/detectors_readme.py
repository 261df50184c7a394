"""What `hre detectors` measures on the recorded runs, as it stands in the wing's README.

`python -m tests.detectors_readme` writes it anew when runs were added or a detector changed; `make pictures` the picture.
"""

from __future__ import annotations

from pathlib import Path

import hre_callback
from hre_callback.run.detectors import Replayed, replayed
from hre_callback.run.replay import read_runs
from hre_callback.views.detector_tables import as_markdown_page, sorted_runs, tables

ROOT = Path(hre_callback.__file__).parents[1]
README = ROOT / "hre_callback" / "stats" / "README.md"
BEGIN, END = "<!-- by python -m tests.detectors_readme -->", "<!-- to here -->"


def recorded() -> list[Replayed]:
    """All detectors on all recorded runs."""
    return sorted_runs([replayed(run) for run in read_runs(Path(__file__).parent / "zoo_runs").replays])


def block(runs: list[Replayed]) -> str:
    """The part of the README, between its marks; who alarms when is in the picture."""
    shown = [table for table in tables(runs, rules=True) if table.title != "Who alarms when"]
    page = as_markdown_page(shown).replace("\n## ", "\n### ")
    return f"{BEGIN}\n\n{page[page.index('### ') :].strip()}\n\n{END}"


def main() -> None:
    start, _, rest = README.read_text().partition(BEGIN)
    README.write_text(f"{start}{block(recorded())}{rest.partition(END)[2]}")


if __name__ == "__main__":
    main()
