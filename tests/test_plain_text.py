"""Text from outside is shown as it is written and acted on by nobody."""

from __future__ import annotations

import logging
import re
import sys
import unicodedata
from pathlib import Path

import pytest

from hre_callback.plain_text import as_html, as_markdown, one_line, plain_lines, plain_logger, plain_text


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("\x1b[31mred", r"\x1b[31mred"),
        ("\x9b31mred", r"\x9b31mred"),
        ("\x1b]8;;http://x\x07link", r"\x1b]8;;http://x\x07link"),
        ("one\nforged: line\r", r"one\nforged: line\r"),
        ("a\tb\x00c\x7f", r"a\tb\x00c\x7f"),
        ("a\u2028b\u2029c\x85d", r"a\u2028b\u2029c\x85d"),
        ("\u202eabc\u202c \u2066x\u2069", r"\u202eabc\u202c \u2066x\u2069"),
        ("half \ud800 of", r"half \ud800 of"),
        ("file \udcff", r"file \udcff"),
    ],
)
def test_what_a_terminal_would_act_on_is_shown_as_its_escape(hostile, shown):
    assert plain_text(hostile) == shown


@pytest.mark.parametrize(
    "honest",
    [
        "café, naïve",
        "物理",
        "العربية",
        "हिन्दी",
        "👩\u200d🔬",
        "[red]x[/] $\\frac{$ <b>&amp;",
        r"C:\new\table",
        "a\u00a0b",
    ],
)
def test_everything_else_stays(honest):
    assert plain_text(honest) == honest


def test_of_all_characters_none_that_controls_is_left():
    everything = plain_text("".join(map(chr, range(sys.maxunicode + 1))))
    everything.encode()
    left = {unicodedata.category(character) for character in everything}
    assert not left & {"Cc", "Cs", "Zl", "Zp"}
    assert len(everything.splitlines()) == 1


def test_anything_is_turned_into_text_first(tmp_path):
    assert plain_text(tmp_path) == str(tmp_path)
    assert plain_text(None) == "None" and plain_text(3.5) == "3.5"


def test_lines_where_they_have_a_place_and_where_they_have_none():
    assert plain_lines("a\r\n\x1bb\n\nc") == "a\n\\x1bb\n\nc"
    assert one_line(" a\r\n\x1bb\n\n c") == "a \\x1bb c"
    assert as_html("<a>\n\"'&\x00") == "&lt;a&gt;\\n&quot;&#x27;&amp;\\x00"
    assert as_markdown("a|b ![i](x) <b> *c* `d`_") == r"a\|b \!\[i\](x) &lt;b&gt; \*c\* \`d\`\_"


def test_a_logger_begins_no_line_that_is_not_its_own(caplog):
    for _ in range(2):
        logger = plain_logger("hre_callback.some")
    with caplog.at_level(logging.WARNING):
        logger.warning("of %s: %d %%", "\x1b[31m\nERROR:root: forged", 3)
        logger.warning("no arguments, 100 %\n")
    assert caplog.messages == ["of \\x1b[31m\\nERROR:root: forged: 3 %", "no arguments, 100 %\\n"]
    assert len(logger.filters) == 1


def test_each_module_logs_and_escapes_by_this_one():
    """A door that a module opens for itself is one that this file does not guard."""
    # To listen to the log of datasets is no door.
    doors = r"getLogger\((?!.datasets)|get_logger\(|warnings\.warn\(|from html import escape|sys\.std(out|err)\.write|markup=True"
    home = Path(plain_text.__code__.co_filename).parent
    found = {path.name for path in home.rglob("*.py") if re.search(doors, path.read_text())}
    assert found == {"plain_text.py"}
