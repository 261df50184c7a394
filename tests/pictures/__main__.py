"""Draw every picture (`python -m tests.pictures`), or keep a run for one: `python -m tests.pictures RUN NAME`."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from hre_callback.run.record import find_record

from ..browser import CHROMIUM, NO_CHROMIUM, browser
from . import CHARTS, HERE, PAGES, ROOT, TAKEN


def draw() -> None:
    for name, chart in CHARTS.items():
        (ROOT / name).write_bytes(chart())
        print(name)
    if CHROMIUM is None:
        sys.exit(f"{NO_CHROMIUM}: left as they are: {', '.join(PAGES)}")
    with tempfile.TemporaryDirectory() as folder, browser(Path(folder)) as page:
        for name, shot in PAGES.items():
            (ROOT / name).write_bytes(shot.taken(page))
            print(name)
    TAKEN.write_text(json.dumps({name: shot.digest() for name, shot in PAGES.items()}, indent=1) + "\n")


def keep(run: Path, name: str) -> None:
    """A run's record without anybody's texts: they are not ours to publish, and a chart shows none."""
    lines = [json.loads(line) for line in find_record(run).read_text().splitlines()]
    for question in lines[0]["questions"]:
        question |= {"question": "", "best_answer": ""}
    (HERE / f"{name}.jsonl").write_text("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines))


if __name__ == "__main__":
    keep(Path(sys.argv[1]), sys.argv[2]) if len(sys.argv) == 3 else draw()
