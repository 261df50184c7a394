"""The README's table of families is what the tests pin."""

from __future__ import annotations

from ..zoo import CONFIGS
from . import families
from .test_proof import FAMILIES


def test_every_family_that_is_tried_is_pinned():
    assert families.ZOO.keys() == CONFIGS.keys()
    assert families.PROOF.keys() == FAMILIES.keys()


def test_the_readme_shows_what_the_tests_pin():
    assert families.shown() == families.table(), "python -m tests.scoring.families writes it anew"
