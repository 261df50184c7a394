"""How much markdown an answer wears: what readers like, and models learn, beside what is said."""

from __future__ import annotations

import re

_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
INLINE_CODE = re.compile(r"(`+)[^`]+\1(?!`)")
_HEADER = re.compile(r" {0,3}#{1,6}\s+\S")
_LIST_ITEM = re.compile(r"\s*(?:[-*+]|\d{1,9}[.)])\s+\S")
_BOLD = re.compile(r"\*\*[^\s*](?:[^*]*[^\s*])?\*\*|(?<![\w.])__[^\s_](?:[^_]*[^\s_])?__(?!\w)")


def style_marks(text: str) -> int:
    """Headers, list items, bold spans, code blocks and code spans of a text in markdown, together.

    What stands in code is code: `#` is a comment there and no header.
    """
    marks, fence = 0, ""
    for line in text.splitlines():
        before, fence = fence, fence_after(line, fence)
        if not before:
            marks += 1 if fence else _of_line(line)
    return marks


def fence_after(line: str, fence: str) -> str:
    """The fence of the block of code that is open behind a line, given that before it; empty where none is."""
    found = _FENCE.match(line)
    if not fence:
        return found[1] if found else ""
    return "" if found and line.strip() == found[1] and found[1].startswith(fence) else fence


def _of_line(line: str) -> int:
    """The marks of a line outside of code blocks; a rule (`* * *`, `---`) is none."""
    if not line.strip("-*_ \t"):
        return 0
    rest, code = INLINE_CODE.subn("x", line)
    return code + len(_BOLD.findall(rest)) + bool(_HEADER.match(rest) or _LIST_ITEM.match(rest))
