"""Any source's rows in this package's own layout: by the name of a data set, or by the shape of its first row."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any

from ..row_files import Row
from ..sources import Place, read_rows, source_path
from .catalogue import LAYOUTS, OWN_LAYOUT, Layout, layout_named, layout_of, named
from .columns import check_columns, renamed
from .fields import LeftOut, Placed
from .finishing import finished

# Rows that may tell the layout.
_LOOKED_AT = 100
_BARE_NAME = re.compile(r"[\w-]+(:.*)?")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be read, and how; see `questions.load_questions` for its fields."""

    source: str | Path
    topics: Sequence[str] | None = None
    columns: Mapping[str, str] | None = None
    adapter: str | None = None
    config: str | None = None
    split: str | None = None


@dataclass(slots=True)
class Found:
    """Rows in this package's layout.

    Attributes:
        rows: read once.
        topics: those to keep, of `oasst2:de` the part that it names.
        layout: the name of the layout that they had.
        left_out: what no question was made of; complete when all rows have been read.
    """

    rows: Iterator[Row]
    topics: Sequence[str] | None
    layout: str = OWN_LAYOUT
    left_out: LeftOut = field(default_factory=LeftOut)


def read_in_own_layout(wanted: Wanted) -> Found:
    """Read the first row, tell its layout, and turn all rows into this package's own.

    Raises:
        ValueError: no such adapter or column, a shape that fits none or two, or what `read_rows` raises.
    """
    check_columns(wanted.columns)
    if wanted.adapter is not None and wanted.columns is not None:
        raise ValueError("adapter and columns: found both, expected one of them: an adapter knows its columns")
    for name, value in (("config", wanted.config), ("split", wanted.split)):
        if value is not None and not (isinstance(value, str) and value.strip()):
            raise ValueError(f"{name}: found {value!r:.60}, expected a name")
    source, known, topics = _resolved(wanted)
    rows = read_rows(source, topics, _place(wanted, known))
    first = list(islice(rows, _LOOKED_AT))
    rows = chain(first, rows)
    fields = [row for _, _, _, row in first if isinstance(row, Mapping)]
    if not fields:
        return Found(rows, topics)
    if wanted.columns is not None:
        _check_there(wanted.columns, fields[0], source)
        rows = (_renamed(row, wanted.columns) for row in rows)
        fields = [renamed(row, wanted.columns) for row in fields]
    layout = known[:2] if known is not None else _layout(fields, str(source))
    return Found(rows, topics) if layout is None else _adapted(rows, topics, *layout)


def _layout(rows: Sequence[Mapping[str, Any]], source: str) -> tuple[str, Layout] | None:
    """The layout of the first row that has one; a row with nulls may tell none. The error is that of the first row."""
    for row in rows:
        with suppress(ValueError):
            return layout_of(row, source)
    return layout_of(rows[0], source)


def _resolved(wanted: Wanted) -> tuple[str | Path, tuple[str, Layout, str | None] | None, Sequence[str] | None]:
    """(where the rows lie, the layout if it is named, the topics to keep)."""
    source = wanted.source
    known = layout_named(wanted.adapter) if wanted.adapter is not None else None
    # What lies on the disk under this name comes first; its layout is told by its shape.
    if isinstance(source, str) and not source_path(source).exists() and (of_hub := named(source)) is not None:
        if not of_hub[1].repo:
            raise ValueError(
                f"{source}: the name of a layout, not of a data set; expected a file or folder with adapter="
            )
        known = known or of_hub
        source = of_hub[1].repo
    elif isinstance(source, str) and _BARE_NAME.fullmatch(source) and not source_path(source).exists():
        names = ", ".join(name for name, layout in LAYOUTS.items() if layout.repo)
        raise ValueError(
            f"{source}: no such file or folder; expected a .jsonl or .parquet file, a folder, a hub dataset "
            f"'owner/name' or 'bundled', or one of the data sets {names}"
        )
    part = known[2] if known is not None else None
    if part is not None and wanted.topics is not None:
        raise ValueError(f"topics: found {wanted.topics!r:.60} beside the part {part!r}; expected one of them")
    return source, known, [part] if part is not None else wanted.topics


def _place(wanted: Wanted, known: tuple[str, Layout, str | None] | None) -> Place:
    if known is None:
        return Place(wanted.config, wanted.split)
    _, layout, part = known
    folder = layout.folder(part) if layout.folder is not None and part is not None else None
    return Place(wanted.config, wanted.split, layout.config, layout.splits, folder)


def _check_there(columns: Mapping[str, str], row: Mapping[str, object], source: object) -> None:
    for name, column in columns.items():
        if column not in row:
            raise ValueError(
                f"{source}: columns: no column {column!r} for {name!r}; found the columns {sorted(map(str, row))}"
            )


def _renamed(row: Row, columns: Mapping[str, str]) -> Row:
    where, number, topic, fields = row
    return where, number, topic, renamed(fields, columns) if isinstance(fields, Mapping) else fields


def _adapted(rows: Iterator[Row], topics: Sequence[str] | None, name: str, layout: Layout) -> Found:
    left_out = LeftOut()
    read = finished(layout.read(_placed(rows), left_out), name, left_out)
    declared = {"judge": layout.judge, "counted": layout.counted}
    own = ((one.where, one.number, "all", {**declared, **one.row}) for one in read)
    return Found(own, topics, name, left_out)


def _placed(rows: Iterator[Row]) -> Iterator[Placed]:
    for where, number, _, row in rows:
        if not isinstance(row, Mapping):
            raise ValueError(f"{where}: found {row!r:.60}, expected an object")
        yield Placed(where, number, row)
