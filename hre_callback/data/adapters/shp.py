"""stanfordnlp/SHP and SHP-2: two comments on a post with their karma; a post recurs."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator

from .fields import Fields, LeftOut, Placed, answers, label, newest, number, text

_LEAST = 3


def fits(row: Fields) -> bool:
    """Whether this is a row of it."""
    return {"post_id", "history", "human_ref_A", "human_ref_B", "score_A", "score_B"} <= row.keys()


def questions(rows: Iterable[Placed], left_out: LeftOut) -> Iterator[Placed]:
    """Posts with at least three comments: votes are log(1 + score), of a score below 0 minus that of its size.

    Topic: the forum. Date: the newest comment's.
    """
    posts: dict[str, tuple[Placed, dict[str, tuple[str, float, object]]]] = {}
    for placed in rows:
        _, comments = posts.setdefault(label(placed, "post_id"), (placed, {}))
        for side in "AB":
            said = text(placed, f"human_ref_{side}")
            told = said, number(placed, f"score_{side}"), placed.row.get(f"created_at_utc_{side}")
            comments.setdefault(label(placed, f"c_root_id_{side}") or said, told)
    for post, (first, comments) in posts.items():
        if len(comments) < _LEAST:
            left_out.add(first, f"posts with fewer than {_LEAST} comments")
            continue
        texts, scores, days = zip(*comments.values(), strict=True)
        yield first._replace(
            row={
                "id": post or None,
                "question": text(first, "history"),
                "answers": answers(texts, (math.copysign(math.log1p(abs(score)), score) for score in scores)),
                # The split stands behind the forum's name.
                "topic": re.sub(r"_(train|validation|test)$", "", label(first, "domain")) or None,
                "date": newest(days),
            }
        )
