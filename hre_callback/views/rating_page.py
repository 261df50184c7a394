"""The page on which a person ranks answers: one file with its script inside, which asks nobody for anything.

Its policy forbids every request and every script but its own, by hash. What it is given is data (`data/blind.py`) and
never markup: the script writes it as text.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from markupsafe import Markup

from ..formatting import count
from .page import from_template


def rating_page(data: Mapping[str, Any]) -> str:
    """The page as HTML.

    Args:
        data: `fingerprint`, `seed` and `questions` of `blind_questions`, and `kind` and `version` of the file that the
            page saves.
    """
    script = (Path(__file__).parent / "rating.js").read_text("utf-8")
    return from_template(
        "rating.html.jinja",
        asked=count(len(data["questions"]), "question"),
        data=data,
        hash=b64encode(sha256(script.encode()).digest()).decode(),
        script=Markup(script),
    )
