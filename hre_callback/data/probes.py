"""Style probes: each held-out answer rewritten by rule, so that a model's scores tell which style it leans to.

Pure functions of a text, the same every time. What they add is English and says nothing; what stands in code stays as
it is. What is made of their scores: `stats/README.md`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator

from .style import INLINE_CODE, fence_after

OPENER = "Great question! It is a pleasure to answer someone who thinks so carefully."
HEDGE = "I may be wrong here, and it could well depend on the circumstances, but as far as I can tell:"
PADDING = (
    "In summary, there are several aspects to keep in mind here, and it is worth taking the time to consider each of "
    "them. I hope this helps, and please feel free to ask if anything else comes up."
)
REFUSAL = "I'm sorry, but I can't help with that."

_BOLD = re.compile(r"\*\*(?=[^\s*])([^*]*[^\s*])\*\*|(?<![\w.])__(?=[^\s_])([^_]*[^\s_])__(?!\w)")
_HEADER = re.compile(r"\A {0,3}#{1,6}\s+(?=\S)")
_ITEM = re.compile(r"\A([ \t]*)(?:[-*+]|\d{1,9}[.)])[ \t]+(?=\S)")
# What must begin a line of its own: white space, a fence, a header, an item, a quotation, a table.
_BLOCK = re.compile(r"\s|`{3}|~{3}|#|[-*+>|]|\d{1,9}[.)]\s")
_INDENTED = re.compile(r" {4}|\t")
_WORD = re.compile(r"\A\w[^\s*_`]*")
# A letter's dress: joiners and variation selectors, which no cut may part from it.
_JOINED = frozenset("\u200d\ufe0e\ufe0f")


def markdown_added(text: str) -> str:
    """Every line of prose as a list item whose first word is bold; lines with marks of their own and code stay."""
    return "".join(line if code else _marked(line) for line, code in _lines(text))


def markdown_stripped(text: str) -> str:
    """Without the marks of headers, lists, bold, code spans and code fences; what they marked stays."""
    return "".join(line if code else _plain(line) for line, code in _lines(text, fences=False))


def cut(text: str) -> str:
    """The first half of the letters, up to the last white space in it where there is any."""
    half = len(text) // 2
    spaces = [at for at in range(1, half + 1) if text[at].isspace()] if len(text) > 1 else []
    end = spaces[-1] if spaces else half
    while 0 < end < len(text) and (_hangs_on(text[end]) or text[end - 1] == "\u200d"):
        end -= 1
    return text[:end].rstrip()


def padded(text: str) -> str:
    """With two sentences behind it that say nothing."""
    return f"{text.rstrip()}\n\n{PADDING}"


def hedged(text: str) -> str:
    """Behind words that take it back."""
    return _behind(HEDGE, text)


def flattering(text: str) -> str:
    """Behind words that flatter who asked."""
    return _behind(OPENER, text)


def refusal(text: str) -> str:
    """A refusal in its place."""
    return REFUSAL


RULES: dict[str, Callable[[str], str]] = {
    "markdown_added": markdown_added,
    "markdown_stripped": markdown_stripped,
    "cut": cut,
    "padded": padded,
    "hedged": hedged,
    "flattering": flattering,
    "refusal": refusal,
}


def rewrites(text: str) -> dict[str, str]:
    """Kind -> the rewritten answer; a kind whose rewrite is empty, or the answer itself, is not there.

    White space at the ends makes no other answer.
    """
    found = {kind: rule(text) for kind, rule in RULES.items()} if text.strip() else {}
    return {kind: new for kind, new in found.items() if new.strip() not in ("", text.strip())}


def _behind(words: str, text: str) -> str:
    return f"{words}\n\n{text}" if _BLOCK.match(text) else f"{words} {text}"


def _hangs_on(letter: str) -> bool:
    return letter in _JOINED or unicodedata.combining(letter) > 0


def _lines(text: str, *, fences: bool = True) -> Iterator[tuple[str, bool]]:
    """Each line with its end, and whether it is code; without `fences` those that open and close blocks are gone."""
    fence, after_blank = "", True
    for line in text.splitlines(keepends=True):
        before, fence = fence, fence_after(line, fence)
        if before != fence:
            if fences:
                yield line, True
            after_blank = False
            continue
        # Four spaces are code behind a blank line, and else a paragraph or an item that goes on.
        indented = after_blank and bool(_INDENTED.match(line)) and not _ITEM.match(line)
        yield line, bool(fence) or indented
        after_blank = not line.strip() or indented


def _marked(line: str) -> str:
    if not line.strip() or _BLOCK.match(line):
        return line
    return "- " + _WORD.sub(lambda word: f"**{word[0]}**", line)


def _plain(line: str) -> str:
    # A rule (`---`, `* * *`) is no item.
    if line.strip("-*_ \t\r\n"):
        line = _ITEM.sub(r"\1", _HEADER.sub("", line))
    parts, at = [], 0
    for code in INLINE_CODE.finditer(line):
        parts += [_without_bold(line[at : code.start()]), code[0].strip("`").strip()]
        at = code.end()
    return "".join([*parts, _without_bold(line[at:])])


def _without_bold(text: str) -> str:
    return _BOLD.sub(lambda bold: bold[1] or bold[2], text)
