"""HuggingFaceH4/stack-exchange-preferences: questions of Stack Exchange, their answers with a score of the votes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from .fields import Fields, LeftOut, Placed, answers, inner_number, label, newest, objects, text

_SITE = re.compile(r"https?://([^/]+)/")


def fits(row: Fields) -> bool:
    """Whether this is a row of it."""
    given = row.get("answers")
    first = given[0] if isinstance(given, list) and given else None
    return {"qid", "question", "answers"} <= row.keys() and isinstance(first, Mapping) and "pm_score" in first


def questions(rows: Iterable[Placed], left_out: LeftOut) -> Iterator[Placed]:
    """HTML as `hre build` reads it; votes are `pm_score`, which is round(log2(1 + votes)), +1 if accepted, -1 below 0.

    Topic: the site. Date: the question's, the only one that there is.
    """
    # Only here: it takes an HTML parser along.
    from ..post_html import to_text

    for placed in rows:
        found = objects(placed, "answers")
        votes = [inner_number(answer, "pm_score", placed, "answers") for answer in found]
        texts = [to_text(text(placed._replace(row=answer), "text")) for answer in found]
        site = _site(placed.row)
        yield placed._replace(
            row={
                "id": f"{site}:{label(placed, 'qid')}" if site and label(placed, "qid") else None,
                "question": to_text(text(placed, "question")),
                "answers": answers(texts, votes),
                "topic": site or None,
                "date": newest([placed.row.get("date")]),
            }
        )


def _site(row: Fields) -> str:
    """`math` of math.stackexchange.com, `stackoverflow`, else the whole host; from the addresses of the post."""
    addresses = row.get("metadata")
    first = next((a for a in addresses if isinstance(a, str)), "") if isinstance(addresses, list) else ""
    found = _SITE.match(first)
    host = found[1].removeprefix("www.") if found else ""
    return "stackoverflow" if host == "stackoverflow.com" else host.removesuffix(".stackexchange.com")
