"""How the questions of a command are read where they are not in this package's own layout."""

from __future__ import annotations

from typing import Annotated, Any

import typer

Columns = Annotated[
    str | None,
    typer.Option(help="The data's columns under our names: question=prompt,answers=responses,votes=scores"),
]
Adapter = Annotated[str | None, typer.Option(help="The layout of the data, where its shape does not tell: helpsteer3.")]
DataConfig = Annotated[str | None, typer.Option("--config", help="Config of a folder or hub dataset.")]
Split = Annotated[str | None, typer.Option(help="Split of a folder or hub dataset.")]


def reading(columns: str | None, adapter: str | None, config: str | None, split: str | None) -> dict[str, Any]:
    """The arguments of `load_questions` that these options stand for.

    Raises:
        ValueError: `--columns` is no list of `name=column`.
    """
    return {"columns": _columns(columns), "adapter": adapter, "config": config, "split": split}


def _columns(given: str | None) -> dict[str, str] | None:
    if given is None:
        return None
    found: dict[str, str] = {}
    for pair in given.split(","):
        name, equals, column = (part.strip() for part in pair.partition("="))
        if not (name and equals and column) or name in found:
            raise ValueError(
                f"--columns: found {pair!r}, expected name=column once for each name, separated by commas, such as "
                "question=prompt,answers=responses,votes=scores"
            )
        found[name] = column
    return found
