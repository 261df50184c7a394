"""Read a Stack Exchange `Posts.xml` as a stream: what people wrote, whatever else stands in it."""

from __future__ import annotations

import codecs
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers import expat

from .post_html import FORBIDDEN, REPLACEMENT
from .post_html import to_text as to_text
from .post_html import visible_length as visible_length

QUESTION, ANSWER = 1, 2
"""Values of `PostTypeId`; the others are tag wikis, moderator nominations and the like."""

_CHUNK = 1 << 20
_EXPECTED = "expected an unpacked Posts.xml of a Stack Exchange dump, <posts><row .../>...</posts>"
# 15 digits: every such number is exact as a float, and no site has counted nearly as far.
_INTEGER = re.compile(r"-?[0-9]{1,15}")
_ENCODING = re.compile(rb"""^(?:\xef\xbb\xbf)?<\?xml[^>]*\sencoding\s*=\s*["']([^"']*)["']""")
# The line ends that a dump is full of are allowed, and are passed over at once.
_REFERENCE = re.compile(r"&#(?!x[AD9];)(?:x([0-9a-fA-F]+)|([0-9]+));")
_CONTROLS = bytes({*range(32)} - {9, 10, 13})
_CUT_REFERENCE = re.compile(r"(?:&#x?[0-9a-fA-F]{1,1000};)?(?:&(?:#(?:x?[0-9a-fA-F]{0,1000})?)?)?\Z")
_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")
# Recent dumps hold a question 1000000001 and an answer 1000000010, both invented, meta.stackexchange.com/q/412018.
# The largest site has not reached a tenth of that.
_FIRST_PLANTED_ID = 1_000_000_000


class OddRow(ValueError):
    """A row that is left out: `reason` in a few words, the same for all of its kind; file and line in the message."""

    def __init__(self, where: str, reason: str, details: str) -> None:
        super().__init__(f"{where}: {details}")
        self.reason = reason


@dataclass
class Notes:
    """What a reading met on its way.

    Attributes:
        replaced: number of characters that XML forbids, or bytes that are no text, now U+FFFD.
        left_out: reason -> number of posts.
        first: reason -> the first of them, with file and line.
    """

    replaced: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)

    def leave_out(self, odd: OddRow) -> None:
        """Count a row that is not used."""
        self.left_out[odd.reason] += 1
        self.first.setdefault(odd.reason, str(odd))

    def lines(self) -> list[str]:
        """What there is to say about it, a line a reason."""
        said = [
            f"  {n:>6} {'post' if n == 1 else 'posts'} left out: {reason} ({self.first[reason]})"
            for reason, n in self.left_out.items()
        ]
        if self.replaced:
            said.append(f"  {self.replaced:>6} characters that XML forbids, or bytes that are no text, became U+FFFD")
        return said


@dataclass(frozen=True, slots=True)
class Post:
    """One `<row>` of the dump with its line number; `fields` are its attributes as they stand."""

    where: str
    fields: dict[str, str]

    def integer(self, name: str) -> int:
        """Get a whole number.

        Raises:
            OddRow: the attribute is missing or no number of at most 15 digits; names file and line.
        """
        value = self.fields.get(name)
        if value is None or not _INTEGER.fullmatch(value):
            shown = repr(value) if value is None or len(value) <= 40 else f"{value[:40]!r}..."
            raise OddRow(self.where, f"{name} is no integer", f"{name}: found {shown}, expected an integer")
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
        for name, field_name in (("owner", "OwnerDisplayName"), ("license", "ContentLicense")):
            if self.fields.get(field_name):
                given[name] = self.fields[field_name]
        return given


def read_threads(path: Path, notes: Notes) -> Iterator[Post]:
    """Yield the questions and answers that people wrote, each id once, all their numbers checked.

    What else there is of them goes into `notes`: rows without what is needed, an id for the second time, and what Stack
    Exchange's own accounts wrote (they are below zero: -1 is Community) or planted.

    Raises:
        ValueError: as `read_posts`.
    """
    # 256 ids to a number: a site's ids are dense, and a large one has a hundred million.
    seen: defaultdict[int, int] = defaultdict(int)
    for post in read_posts(path, notes):
        try:
            kind = post.integer("PostTypeId")
            if kind not in (QUESTION, ANSWER):
                continue
            id_ = _checked(post, kind)
            page, bit = id_ >> 8, 1 << (id_ & 255)
            if seen[page] & bit:
                raise OddRow(post.where, "an id that was there before", f"Id: found {id_} for the second time")
        except OddRow as odd:
            notes.leave_out(odd)
            continue
        seen[page] |= bit
        yield post


def _checked(post: Post, kind: int) -> int:
    """The id of a question or answer of which all numbers are numbers, and that a person wrote."""
    id_ = post.id
    for name in ("Score", "ParentId") if kind == ANSWER else ():
        post.integer(name)
    owner = post.integer("OwnerUserId") if "OwnerUserId" in post.fields else 0
    if owner < 0:
        details = f"OwnerUserId: found {owner}, an account of Stack Exchange's own"
        raise OddRow(post.where, "not written by a person", details)
    if id_ >= _FIRST_PLANTED_ID:
        raise OddRow(post.where, "planted in the dump", f"Id: found {id_}, which no site has reached")
    return id_


def read_posts(path: Path, notes: Notes | None = None) -> Iterator[Post]:
    """Yield the posts of a dump in the order of the file, holding no more than a chunk of it.

    Characters that XML forbids (`&#x0E;` stands in a real dump), and bytes that are no text, become U+FFFD.

    Raises:
        ValueError: no such file, a truncated or broken file, or XML that is not a `Posts.xml`; names file and line.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file, {_EXPECTED}")
    parser = expat.ParserCreate()
    elements: list[tuple[int, str, dict[str, str]]] = []
    parser.StartElementHandler = lambda name, fields: elements.append((parser.CurrentLineNumber, name, fields))
    parser.EntityDeclHandler = lambda *_: _refuse_entity(f"{path}, line {parser.CurrentLineNumber}")
    # The root first, then nothing but rows.
    expected_name = "posts"
    for chunk in _characters(path, notes or Notes()):
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


def _refuse_entity(where: str) -> None:
    # A few of them, one in terms of the other, make gigabytes of a line.
    raise ValueError(f"{where}: found an entity of its own, {_EXPECTED}")


def _characters(path: Path, notes: Notes) -> Iterator[str]:
    """The file as text that XML allows, piece by piece; the last one is empty."""
    with path.open("rb") as file:
        head = file.read(1000)
        decoder = _decoder(head, path)
        chunk, rest = head, ""
        while True:
            try:
                text = rest + decoder.decode(chunk, final=not chunk)
            except UnicodeError as error:
                raise ValueError(f"{path}: {error}; {_EXPECTED}") from error
            text, rest = _hold_back(text) if chunk else (text, "")
            text = _allowed(text, notes)
            if text:
                yield text
            if not chunk:
                break
            chunk = file.read(_CHUNK)
    yield ""


def _decoder(head: bytes, path: Path) -> codecs.IncrementalDecoder:
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return codecs.getincrementaldecoder("utf-16")("surrogatepass")
    declared = _ENCODING.match(head)
    name = declared[1].decode("ascii", "replace") if declared else "utf-8"
    try:
        # LookupError also for codecs that are no encodings of text.
        "".encode(name)
        return codecs.getincrementaldecoder(name)("surrogateescape")
    except (LookupError, ValueError) as error:
        raise ValueError(f"{path}, line 1: unknown encoding {name!r}, expected utf-8") from error


def _hold_back(text: str) -> tuple[str, str]:
    """Cut off what may be half of a character: the beginning of a reference, or one that another one belongs to."""
    cut = _CUT_REFERENCE.search(text, max(0, len(text) - 2010))
    return (text[: cut.start()], text[cut.start() :]) if cut else (text, "")


def _allowed(text: str, notes: Notes) -> str:
    text = _REFERENCE.sub(_referred, text)
    if _is_allowed(text):
        return text
    text, count = FORBIDDEN.subn(REPLACEMENT, _PAIR.sub(_joined, text))
    notes.replaced += count
    return text


def _is_allowed(text: str) -> bool:
    """What `FORBIDDEN.search` would say, ten times as fast: nearly every chunk is as it should be."""
    try:
        data = text.encode()
    except UnicodeEncodeError:
        return False
    return len(data.translate(None, _CONTROLS)) == len(data) and "\ufffe" not in text and "\uffff" not in text


def _referred(found: re.Match[str]) -> str:
    """Forbidden characters themselves, to be counted with those that stand there; other references unchanged."""
    digits = (found[1] or found[2]).lstrip("0") or "0"
    number = int(digits, 16 if found[1] else 10) if len(digits) < 8 else 0
    if number > 0x10FFFF:
        return "\0"
    return chr(number) if FORBIDDEN.match(chr(number)) else found[0]


def _joined(pair: re.Match[str]) -> str:
    """Two halves of one character, each written as a reference of its own."""
    return pair[0].encode("utf-16", "surrogatepass").decode("utf-16")
