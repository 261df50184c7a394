"""Text from outside (topics, ids, paths, names of models, records, logs) made safe to show to a person."""

from __future__ import annotations

import codecs
import logging
import re
import unicodedata
from html import escape

# Explicit embeddings, overrides and isolates: they show what follows in another order than it is written.
_REORDERING = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
# Control characters (C0, DEL, C1), lone surrogates, line and paragraph separators.
_UNSHOWABLE = {"Cc", "Cs", "Zl", "Zp"}
# How a console that does not know a character gets it: the minus sign as the hyphen, all else by its escape.
SPELLED = "hre_callback.spelled"
_SUSPECT = re.compile("[^ -~\u00a0-\u05ff]")
_MARKDOWN = re.compile(r"([\\`*_\[\]!|])")


def plain_text(value: object) -> str:
    r"""`str(value)` with everything that a terminal, a log or a font would act on replaced by its escape.

    `\x1b`, `\n`, `\u202e` or `\ud800` are then seen as these letters: nothing moves the cursor, begins a line, turns
    the direction of reading or fails to be encoded. All other characters stay; markup of rich, HTML or mathtext is
    not touched: give the result to `rich.text.Text`, and to a page by `as_html`.
    """
    return _SUSPECT.sub(_shown, str(value))


def as_html(value: object) -> str:
    """`plain_text` as a part of an HTML or SVG text or attribute."""
    return escape(plain_text(value))


def as_markdown(value: object) -> str:
    """`plain_text` in which no Markdown or HTML is read (an image would be fetched), in a cell of a table too."""
    return _MARKDOWN.sub(r"\\\1", escape(plain_text(value), quote=False))


def plain_lines(text: str) -> str:
    """`plain_text` of each line: for what has lines of its own and a place for them, as a question in a table has."""
    return "\n".join(map(plain_text, text.splitlines()))


def one_line(text: object) -> str:
    """`plain_text` with line ends and other white space as blanks, where there is room for one line only."""
    return plain_text(" ".join(str(text).split()))


def plain_logger(name: str) -> logging.Logger:
    """The logger of a module; what it is given goes on as `plain_text`: one line, and nobody else's."""
    logger = logging.getLogger(name)
    if _as_plain_text not in logger.filters:
        logger.addFilter(_as_plain_text)
    return logger


def _as_plain_text(record: logging.LogRecord) -> bool:
    record.msg, record.args = plain_text(record.getMessage()), ()
    return True


def _shown(found: re.Match[str]) -> str:
    character = found.group()
    if unicodedata.category(character) in _UNSHOWABLE or unicodedata.bidirectional(character) in _REORDERING:
        return repr(character)[1:-1]
    return character


def _spell(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    unknown = error.object[error.start : error.end]
    spelled = ("-" if one in "−–" else one.encode("ascii", "backslashreplace").decode() for one in unknown)
    return "".join(spelled), error.end


codecs.register_error(SPELLED, _spell)
