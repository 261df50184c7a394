"""The rules of the style probes: each by hand, and on the texts that break rules."""

from __future__ import annotations

import unicodedata

import pytest

from hre_callback import load_questions
from hre_callback.data.probes import HEDGE, OPENER, PADDING, REFUSAL, RULES, rewrites
from hre_callback.data.style import style_marks

CODE = "Use a set:\n\n```python\n# 1. no header\nx = {1}  # **not bold**\n```\n\nIt is `hashed`.\n"
LIST = "# Title\n\n1. **First** thing\n   goes on\n2. Second `thing` here\n\n---\n"


def test_prose_becomes_items_with_a_bold_word_and_code_stays():
    assert RULES["markdown_added"]("Take one.\nThen another.\n\nDone.") == (
        "- **Take** one.\n- **Then** another.\n\n- **Done.**"
    )
    assert RULES["markdown_added"](CODE) == (
        "- **Use** a set:\n\n```python\n# 1. no header\nx = {1}  # **not bold**\n```\n\n- **It** is `hashed`.\n"
    )
    assert RULES["markdown_added"]("`x` is it.") == "- `x` is it."
    assert RULES["markdown_added"]("So:\n\n    x = 1\n\n    y = 2\n") == "- **So:**\n\n    x = 1\n\n    y = 2\n"
    assert RULES["markdown_added"](LIST) == LIST


def test_marks_go_and_what_they_marked_stays():
    assert RULES["markdown_stripped"](LIST) == "Title\n\nFirst thing\n   goes on\nSecond thing here\n\n---\n"
    assert RULES["markdown_stripped"](CODE) == (
        "Use a set:\n\n# 1. no header\nx = {1}  # **not bold**\n\nIt is hashed.\n"
    )
    assert (
        RULES["markdown_stripped"]("2 * 3 * 4, a__b__c, ``ab`` and __all__ of") == "2 * 3 * 4, a__b__c, ab and all of"
    )
    assert RULES["markdown_stripped"]("`**kwargs` is **all**") == "**kwargs is all"


def test_half_is_cut_off_at_a_space_and_never_inside_a_letter():
    assert RULES["cut"]("One two three four five.") == "One two"
    assert RULES["cut"]("abcdef") == "abc" and RULES["cut"]("猫が好きです") == "猫が好"
    # A letter and its accent, a family of four, a heart with its colour.
    assert RULES["cut"]("ae\u0301b") == "a" and RULES["cut"]("e\u0301") == ""
    family = "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466"
    assert RULES["cut"](family) == "" and RULES["cut"]("\u2764\ufe0f\u2764\ufe0f") == "\u2764\ufe0f"


def test_words_before_and_behind_leave_blocks_whole():
    assert RULES["flattering"]("Yes.") == f"{OPENER} Yes." and RULES["hedged"]("Yes.") == f"{HEDGE} Yes."
    for block in ("```\nx\n```", "    x = 1\n", "- one\n- two", "1. one", "# Title", "> said", "| a | b |"):
        assert RULES["flattering"](block) == f"{OPENER}\n\n{block}"
    assert RULES["padded"]("```\nx\n```\n") == f"```\nx\n```\n\n{PADDING}"
    assert RULES["refusal"]("Anything") == REFUSAL


def test_a_rewrite_that_is_the_answer_itself_is_none():
    assert rewrites("") == rewrites(" \n\t") == {}
    plain = rewrites("Yes, two words.")
    assert "markdown_stripped" not in plain and plain.keys() | {"markdown_stripped"} == RULES.keys()
    assert "markdown_added" not in rewrites(LIST) and "refusal" not in rewrites(REFUSAL + "\n")
    assert rewrites("7").keys() == {"markdown_added", "padded", "hedged", "flattering", "refusal"}
    # Nothing but a fence: nothing is left of it.
    assert "markdown_stripped" not in rewrites("```\n```")


@pytest.mark.parametrize(
    "text",
    [CODE, LIST, "Ü", "𝔘𝔫𝔦", "\u202eright to left", "a\x00b", "~~~~\nopen for ever", "```a\n```b\n", "**", "* * *", "\r\nx\r\ny",
     "a\u2028b\u2029c", "`" * 50, "_" * 60 + "a", "**a" * 300, "#" * 400, "\ud800 lone", "word " * 2000],
)  # fmt: skip
def test_any_text_has_the_same_rewrites_every_time_and_never_itself(text):
    found = rewrites(text)
    assert found == rewrites(text) and found.keys() <= RULES.keys()
    assert all(new.strip() and new.strip() != text.strip() for new in found.values())
    for kind in ("padded", "hedged", "flattering"):
        assert text.strip() in found[kind]


def test_of_real_answers_each_kind_does_what_its_name_says():
    answers = [answer.text for question in load_questions("bundled") for answer in question.answers]
    for text in answers:
        found = rewrites(text)
        assert "markdown_added" not in found or style_marks(found["markdown_added"]) > style_marks(text)
        # What stood in a code span may look like bold without it.
        assert style_marks(found.get("markdown_stripped", "")) <= style_marks(text)
        if "cut" in found:
            assert text.startswith(found["cut"]) and 2 * len(found["cut"]) <= len(text)
            assert not unicodedata.combining(text[len(found["cut"])])
