"""A post's HTML -> text as its author typed it, in time linear in its length, whatever the HTML is.

markdownify does the work; it recurses and searches, so it gets no more than a person would have written: tags that
close, few levels deep, and no `<` or `&` in the text.
"""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from markdownify import MarkdownConverter

FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
"""What XML 1.0 allows in no text: control characters but tab and line ends, surrogates, two that are no characters."""
REPLACEMENT = "\ufffd"

# The `<` and `&` of the text, while it is HTML: two characters that are in no text, as FORBIDDEN has been there before.
_HIDDEN = {ord("<"): "\x01", ord("&"): "\x02"}
_SHOWN = {1: "<", 2: "&"}
_MARKUP = re.compile(r"<(?=/?[a-zA-Z]|[!?])")
# A tag never reaches over a `<`, except in quotes. No part can match in two ways, so nothing is tried twice.
_TOKEN = re.compile(
    r"""<(?P<end>/?)(?P<name>[a-zA-Z][^\s<>/"']*)(?P<attributes>(?:[^<>"']|"[^"]*"|'[^']*')*)(?P<closed>>?)"""
)
_DROPPED = re.compile(r"<[^<>]*>")
_WHITE = re.compile(r"[\t \r\n]{2,}|[\t\r]")
_LONG_REFERENCE = re.compile(r"&#(?:[0-9]{8,}|[xX][0-9a-fA-F]{8,});?")
_NAME = re.compile(r"[a-z]{1,12}|h[1-6]")
_START = re.compile(r"""\sstart\s*=\s*["']?([0-9]{1,9})(?![0-9])""")
_VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
# What a browser reads as other than HTML inside: of these the tag goes, the text stays.
_RAW = {
    "iframe",
    "noembed",
    "noframes",
    "noscript",
    "plaintext",
    "script",
    "style",
    "textarea",
    "title",
    "xmp",
}
# More than any person writes. Deeper, later or further tags go, their text stays.
_DEEPEST, _MOST_TAGS, _MOST_CHILDREN = 50, 10_000, {"ol": 1000, "thead": 20}


def visible_length(body: str) -> int:
    """Count the characters that are left without tags: cheap enough to do for every post of a large dump."""
    return len(_unescape(_DROPPED.sub("", body)).strip())


def to_text(body: str) -> str:
    """Turn a post's HTML into Markdown as its author typed it.

    Code blocks, lists, quotes, headings and emphasis stay; of a link its text stays; images go. Characters that XML
    forbids become U+FFFD.
    """
    text = str(_CONVERTER.convert(_Tidy().tidy(body))).translate(_SHOWN)
    return "\n".join(line.rstrip(" \t") for line in text.split("\n")).strip()


@dataclass(slots=True)
class _Open:
    """An open element: whether its tags are kept, and how many elements were opened directly in it."""

    name: str
    kept: bool
    children: int = 0


class _Tidy:
    """HTML written anew: each tag closed, none too deep, no attribute but `start`, all else text."""

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self.open: list[_Open] = []
        self.names: Counter[str] = Counter()
        self.depth = 0
        self.tags = 0
        self.no_more: set[str] = set()

    def tidy(self, body: str) -> str:
        at = begun = 0
        while (found := _MARKUP.search(body, at)) is not None:
            if self.tags == _MOST_TAGS:
                self._text(body[begun : found.start()] + _DROPPED.sub("", body[found.start() :]))
                begun = len(body)
                break
            end, element = self._read(body, found.start())
            if element is not None:
                self._text(body[begun : found.start()])
                element()
                begun = end
            at = end
        self._text(body[begun:])
        while self.open:
            self._close(self.open[-1].name)
        # One element around all: bs4 warns of a text without any that looks like an address.
        return f"<body>{''.join(self.pieces)}</body>"

    def _read(self, body: str, at: int) -> tuple[int, Callable[[], None] | None]:
        """Where the markup that begins at `at` ends, and what it does; nothing where it turns out to be text."""
        for begin, end in (("<!--", "-->"), ("<!", ">"), ("<?", ">")):
            # Searched for in vain once is enough, else many of them would take quadratic time.
            if body.startswith(begin, at) and end not in self.no_more:
                found = body.find(end, at + len(begin))
                if found >= 0:
                    return found + len(end), lambda: None
                self.no_more.add(end)
        token = _TOKEN.match(body, at)
        if token is None:
            return at + 1, None
        if not token["closed"]:
            return token.end(), None
        self.tags += 1
        name, attributes = token["name"].lower(), token["attributes"]
        return token.end(), lambda: self._close(name) if token["end"] else self._begin(name, attributes)

    def _text(self, text: str) -> None:
        if not text:
            return
        text = FORBIDDEN.sub(REPLACEMENT, _unescape(text))
        if not self.names["pre"]:
            # As markdownify does it; its own expression takes quadratic time on a long run of blanks.
            text = _WHITE.sub(lambda white: "\n" if white[0].strip(" \t") else " ", text)
        self.pieces.append(text.translate(_HIDDEN))

    def _begin(self, name: str, attributes: str) -> None:
        parent = self.open[-1] if self.open else _Open("body", kept=True)
        parent.children += 1
        kept = (
            self.depth < _DEEPEST
            and parent.children <= _MOST_CHILDREN.get(parent.name, _MOST_TAGS)
            and name not in _RAW
            and _NAME.fullmatch(name) is not None
        )
        if kept:
            start = _START.search(attributes) if name == "ol" else None
            self.pieces.append(f'<{name} start="{start[1]}">' if start else f"<{name}>")
        if name in _VOID:
            return
        self.open.append(_Open(name, kept))
        self.names[name] += 1
        self.depth += kept
        if attributes.endswith("/"):
            self._close(name)

    def _close(self, name: str) -> None:
        """Close the innermost element of this name with all that is open in it; an end alone is nothing."""
        while self.names[name]:
            last = self.open.pop()
            self.names[last.name] -= 1
            self.depth -= last.kept
            if last.kept:
                self.pieces.append(f"</{last.name}>")
            if last.name == name:
                return


class _Converter(MarkdownConverter):
    def convert_sup(self, el: Any, text: str, parent_tags: Any) -> str:
        """Keep `10<sup>6</sup>` apart from 106; longer small print is plain text."""
        return f"^{text}" if re.fullmatch(r"[-+−]?\w{1,3}", text) else text

    def convert_pre(self, el: Any, text: str, parent_tags: Any) -> str:
        """Strip empty lines at both ends: markdownify's expression takes quadratic time on many blanks."""
        blank = text[: len(text) - len(text.lstrip(" \n"))]
        text = text[blank.rfind("\n") + 1 :].rstrip(" \n")
        return f"\n\n```\n{text}\n```\n\n" if text else ""


def _unescape(text: str) -> str:
    # int() refuses thousands of digits, and no character has so many.
    return html.unescape(_LONG_REFERENCE.sub(REPLACEMENT, text))


_CONVERTER = _Converter(
    strip=["a", "img"],
    heading_style="atx",
    bullets="-",
    escape_asterisks=False,
    escape_underscores=False,
)
