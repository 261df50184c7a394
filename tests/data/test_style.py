from __future__ import annotations

import time

import pytest

from hre_callback.data.style import style_marks


@pytest.mark.parametrize(
    "text, marks",
    [
        ("Plain words, 2 * 3 * 4 and snake_case and 1. no list", 0),
        ("# Title\n\n## Part\n#hashtag\n####### seven", 2),
        ("- one\n* two\n+ three\n1. four\n2) five\n   - nested\n-no", 6),
        ("This is **bold** and __so__, not ** this ** nor *that* nor **", 2),
        ("**Steps:** **a** b", 2),
        ("* * *\n---\n***\n___", 0),
        ("```python\n# comment\n- x\n**y**\n```\n# Title", 2),
        ("~~~\n```\n# a\n~~~\nend", 1),
        ("```\nnever closed\n# a", 1),
        ("use `ls -l` or ``two``, not ` alone", 2),
        ("- `x`: **y**", 3),
        ("object.__init__ and a__b__c", 0),
        ("", 0),
        ("- **é** \u202e\r\n- ü", 3),
    ],
)
def test_marks_by_hand(text, marks):
    assert style_marks(text) == marks


@pytest.mark.parametrize(
    "text", ["**a " * 50_000, "`" * 100_000, "__a " * 50_000, "- " * 50_000, "`a" * 50_000, " " * 100_000]
)
def test_a_long_text_without_sense_takes_no_time(text):
    began = time.process_time()
    style_marks(text)
    assert time.process_time() - began < 2
