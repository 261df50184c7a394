"""The pictures of the repository are what its code draws: `make pictures` draws them again."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import numpy as np
import pytest

from hre_callback import load_questions

from .pictures import CHARTS, HERE, PAGES, ROOT, TAKEN

STALE = "what draws it has changed since: run `make pictures`, look at it, and commit it"
# Pages of the documentation, without what lies in environments and runs.
DOCUMENTS = [ROOT / "README.md", *(ROOT / "recipes").glob("*.md"), *(ROOT / "hre_callback").rglob("*.md")]

pytestmark = pytest.mark.skipif(not (ROOT / "recipes" / "images").is_dir(), reason="no pictures beside the package")


def pinned(package: str) -> str:
    return re.search(rf"^{package}==([^;\s]+)", (ROOT / "constraints.txt").read_text(), re.MULTILINE)[1]


def pixels(png: bytes) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), dtype=int)


def same(one: bytes, other: bytes) -> bool:
    """Whether two pictures look the same: of one size, and hardly a pixel of another colour."""
    a, b = pixels(one), pixels(other)
    return a.shape == b.shape and float((abs(a - b).max(-1) > 32).mean()) < 1e-4


@pytest.fixture
def pinned_matplotlib():
    matplotlib = pytest.importorskip("matplotlib", reason="the chart is an optional extra")
    if matplotlib.__version__ != pinned("matplotlib"):
        pytest.skip(
            f"matplotlib {matplotlib.__version__} may draw otherwise than {pinned('matplotlib')}, which is pinned"
        )


@pytest.mark.parametrize("name", CHARTS)
def test_a_chart_is_what_the_code_draws(name, pinned_matplotlib):
    assert same(CHARTS[name](), (ROOT / name).read_bytes()), STALE


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_what_its_picture_was_taken_of(name):
    assert json.loads(TAKEN.read_text())[name] == PAGES[name].digest(), STALE
    assert pixels((ROOT / name).read_bytes()).shape == (PAGES[name].height, PAGES[name].width, 3)


def test_a_changed_chart_would_be_seen(pinned_matplotlib, monkeypatch):
    """A single word of it is enough."""
    name = "recipes/images/demo.png"
    monkeypatch.setattr("hre_callback.views.figure._KEY", "Bright band: another word.")
    assert not same(CHARTS[name](), (ROOT / name).read_bytes())


def test_every_picture_is_drawn_and_shown():
    there = {str(path.relative_to(ROOT)) for path in (ROOT / "recipes").rglob("*.png")}
    there |= {str(path.relative_to(ROOT)) for path in (ROOT / "hre_callback").rglob("*.png")}
    assert there == {*CHARTS, *PAGES}
    shown = set()
    for document in DOCUMENTS:
        for link in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", document.read_text()):
            shown.add(str((document.parent / link).resolve().relative_to(ROOT)))
    assert shown == {*CHARTS, *PAGES}


@pytest.mark.parametrize("path", sorted(HERE.glob("*.jsonl")), ids=lambda path: path.stem)
def test_a_recorded_run_holds_nobodys_texts(path: Path):
    """But those of the sample, which are ours."""
    ours = {question.question for question in load_questions("bundled")}
    run = json.loads(path.read_text().partition("\n")[0])
    assert {question["question"] for question in run["questions"]} <= {"", *ours}
    assert path.stat().st_size < 200_000 and not re.search(r"/(home|root|tmp|work)/", path.read_text())
