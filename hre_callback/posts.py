"""Read a Stack Exchange `Posts.xml` as a stream, and turn a post's HTML into readable text."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.parsers import expat

from markdownify import MarkdownConverter

QUESTION, ANSWER = "1", "2"
"""Values of `PostTypeId`; the others are tag wikis, moderator nominations and the like."""

_CHUNK = 1 << 20
_TAG = re.compile(r"<[^>]*>")
_TRAILING_SPACE = re.compile(r"[ \t]+$", re.MULTILINE)
_EXPECTED = "expected an unpacked Posts.xml of a Stack Exchange dump, <posts><row .../>...</posts>"


@dataclass(frozen=True, slots=True)
class Post:
    """One `<row>` of the dump with its line number; `fields` are its attributes as they stand."""

    where: str
    fields: dict[str, str]

    def integer(self, name: str) -> int:
        """Get a whole number.

        Raises:
            ValueError: the attribute is missing or not a number; names file and line.
        """
        value = self.fields.get(name)
        if value is None or not re.fullmatch(r"-?[0-9]+", value):
            raise ValueError(f"{self.where}: {name}: found {value!r}, expected an integer")
        return int(value)

    @property
    def id(self) -> int:
        """The post's id, unique in its site."""
        return self.integer("Id")

    @property
    def html(self) -> str:
        """The body as HTML."""
        return self.fields.get("Body", "")

    @property
    def attribution(self) -> dict[str, int | str]:
        """What its licence asks to be kept: `post_id`, and `owner_id`, `owner` (a name), `license` where given."""
        given: dict[str, int | str] = {"post_id": self.id}
        if "OwnerUserId" in self.fields:
            given["owner_id"] = self.integer("OwnerUserId")
        for name, field in (("owner", "OwnerDisplayName"), ("license", "ContentLicense")):
            if self.fields.get(field):
                given[name] = self.fields[field]
        return given


def read_posts(path: Path) -> Iterator[Post]:
    """Yield the posts of a dump in the order of the file, holding no more than a chunk of it.

    Raises:
        ValueError: no such file, a truncated or broken file, or XML that is not a `Posts.xml`; names file and line.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file, {_EXPECTED}")
    parser = expat.ParserCreate()
    elements: list[tuple[int, str, dict[str, str]]] = []
    parser.StartElementHandler = lambda name, fields: elements.append(
        (parser.CurrentLineNumber, name, fields)
    )
    expected_name = "posts"  # the root first, then nothing but rows
    with path.open("rb") as file:
        while True:
            chunk = file.read(_CHUNK)
            try:
                parser.Parse(chunk, not chunk)
            except expat.ExpatError as error:
                # What was read before the damage is of no use: a dump is whole or it is not.
                raise ValueError(
                    f"{path}, line {error.lineno}: {expat.ErrorString(error.code)}; {_EXPECTED}, is it complete?"
                ) from error
            for line, name, fields in elements:
                if name != expected_name:
                    raise ValueError(f"{path}, line {line}: found <{name}>, {_EXPECTED}")
                if name == "row":
                    yield Post(f"{path}, line {line}", fields)
                expected_name = "row"
            elements.clear()
            if not chunk:
                return


def visible_length(body: str) -> int:
    """Count the characters that are left without tags: cheap enough to do for every post of a large dump."""
    return len(html.unescape(_TAG.sub("", body)).strip())


def to_text(body: str) -> str:
    """Turn a post's HTML into Markdown as its author typed it.

    Code blocks, lists, quotes, headings and emphasis stay; of a link its text stays; images go.
    """
    return _TRAILING_SPACE.sub("", _CONVERTER.convert(body)).strip()


class _Converter(MarkdownConverter):
    def convert_sup(self, el: Any, text: str, parent_tags: Any) -> str:
        """Keep `10<sup>6</sup>` apart from 106; longer small print is plain text."""
        return f"^{text}" if re.fullmatch(r"[-+−]?\w{1,3}", text) else text


_CONVERTER = _Converter(
    strip=["a", "img"], heading_style="atx", bullets="-", escape_asterisks=False, escape_underscores=False
)
