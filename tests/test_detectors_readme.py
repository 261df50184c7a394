"""The tables of the wing's README are what the recorded runs give now; its picture: `tests/test_pictures.py`."""

from __future__ import annotations

from .detectors_readme import README, block, recorded


def test_the_readme_shows_what_is_computed():
    assert block(recorded()) in README.read_text(), "write it anew: python -m tests.detectors_readme"
