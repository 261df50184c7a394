"""How a command's questions are read and asked: the options that several commands share."""

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
Limit = Annotated[
    int | None, typer.Option("--max-questions", "--limit", help="Score a subset of this size, stratified by topic.")
]
Prompt = Annotated[str, typer.Option(help="paper or chat.")]
ChatTemplateKwargs = Annotated[str | None, typer.Option(help="Arguments of the chat template, a JSON object.")]
Normalization = Annotated[str, typer.Option(help="characters, bytes, tokens or none.")]
MaxLength = Annotated[int | None, typer.Option(help="Longest question + answer in tokens.")]


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
