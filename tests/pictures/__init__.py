"""Every picture of the repository, drawn from small recorded runs: `make pictures`.

A picture is a line below. `tests/test_pictures.py` fails when the code that draws one has changed since it was drawn.
"""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from hre_callback import load_questions
from hre_callback.data.blind import blind_questions
from hre_callback.data.rating_files import KIND, VERSION
from hre_callback.data.sources import SAMPLE_QUESTIONS
from hre_callback.run.record import Record, read_record
from hre_callback.stats.human_hre import human_hre
from hre_callback.views.detector_chart import detectors_png
from hre_callback.views.figure import main_figure
from hre_callback.views.png import chart_png
from hre_callback.views.rating_page import rating_page
from hre_callback.views.reading import Reading
from hre_callback.views.report import render

from ..browser import Browser
from ..detectors_readme import recorded as zoo

ROOT, HERE = Path(__file__).parents[2], Path(__file__).parent
# What each page was when its picture was taken.
TAKEN = HERE / "taken.json"


def recorded(name: str) -> Record:
    """A recorded run; `keep` makes one."""
    return read_record(HERE / f"{name}.jsonl")


def chart(name: str, *others: str) -> Callable[[], bytes]:
    """The PNG that `hre report` makes of a run, other runs beside it."""
    return lambda: chart_png(main_figure(Reading(recorded(name)), [(one, Reading(recorded(one))) for one in others]))


@dataclass(frozen=True)
class Shot:
    """A page as Chromium shows it: what is done to it first, and the window, in CSS pixels."""

    html: Callable[[], str]
    width: int
    height: int
    then: Callable[[Browser], None] = lambda page: None
    phone: bool = False
    dark: bool = False

    def taken(self, page: Browser) -> bytes:
        with TemporaryDirectory() as folder:
            path = Path(folder) / "page.html"
            path.write_text(self.html(), "utf-8")
            page.call("Emulation.setScrollbarsHidden", hidden=True)
            page.look(self.width, height=self.height, phone=self.phone, dark=self.dark)
            page.open(path)
            self.then(page)
            return b64decode(page.call("Page.captureScreenshot", format="png")["data"])

    def digest(self) -> str:
        return sha256(self.html().encode()).hexdigest()


def demo_page() -> str:
    """The page that `hre demo` ends with."""
    return render(recorded("disliked"), name="disliked", others=[("liked", recorded("liked"))])


def with_people() -> bytes:
    """The demo's better run, as if three people had rated the sample's answers: by its grades, and luck."""
    rows = [json.loads(line) for line in SAMPLE_QUESTIONS.read_text("utf-8").splitlines()]
    luck = np.random.default_rng(0).normal(size=(len(rows), 3, 4))
    rated = [
        {f"person {who}": [answer["grade"] + noise for answer, noise in zip(row["answers"], drawn, strict=True)]
         for who, drawn in enumerate(of_question)}
        for row, of_question in zip(rows, luck, strict=True)
    ]  # fmt: skip
    found, liked = human_hre(rated), recorded("liked")
    people = {"human_hre": found.estimate, "human_hre_low": found.low, "human_hre_high": found.high}
    run = replace(liked.run, **people, human_hre_n=found.n, human_hre_people=found.people)
    return chart_png(main_figure(Reading(replace(liked, run=run))))


def rating() -> str:
    """The page of `hre rate` on three questions of the sample."""
    return rating_page(
        {"kind": KIND, "version": VERSION, **blind_questions(load_questions("bundled", max_questions=3))}
    )


def rank(page: Browser) -> None:
    """Somebody who is called Anna has ranked the four answers of her first question."""
    page.js("document.getElementById('rater').focus()")
    page.type("Anna")
    page.press("Enter", "1", "3", "2", "4")
    page.js("document.querySelector('.bar').scrollIntoView(false)")
    page.until("document.getAnimations().length === 0")


CHARTS: dict[str, Callable[[], bytes]] = {
    "recipes/images/demo.png": chart("disliked", "liked"),
    "recipes/images/people.png": with_people,
    "recipes/images/detectors.png": lambda: detectors_png(zoo()),
    # `recipes/configs/sft_few_cpu.yaml`.
    "recipes/images/few.png": chart("few"),
}
PAGES: dict[str, Shot] = {
    "recipes/images/page.png": Shot(demo_page, 1000, 1240),
    "recipes/images/rate.png": Shot(rating, 390, 800, rank, phone=True),
}
