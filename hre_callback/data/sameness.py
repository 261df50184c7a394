"""When two texts are the same, or nearly: by their words alone, whatever their case, punctuation and encoding."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

N = 8
"""Words to an n-gram: PaLM's analysis (Chowdhery et al. 2022, section 8) uses 8-grams too."""
SHARE = 0.5
"""Of a text's n-grams, so many must be in another for the two to be nearly the same."""
# A run of word characters, or one character of a script that writes without spaces.
_WORD = re.compile(r"[぀-ヿ㐀-鿿가-힯]|[^\W぀-ヿ㐀-鿿가-힯]+")
# Soft hyphens, joiners, marks of direction: nobody sees them.
_UNSEEN = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]")


def grams(text: str) -> Iterator[int]:
    """Hashes of all runs of `N` words; none of a text that has fewer."""
    words = _WORD.findall(_spelled(text))
    return (hash(tuple(words[i : i + N])) for i in range(len(words) - N + 1))


def normal(text: str) -> str:
    """The words of a text; of one without any word the text itself."""
    return " ".join(re.findall(r"\w+", _spelled(text))) or text.strip()


def _spelled(text: str) -> str:
    """One spelling for all encodings of the same letters: composed or not, of full width, with unseen characters."""
    return unicodedata.normalize("NFKC", _UNSEEN.sub("", text)).casefold()
