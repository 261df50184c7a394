"""The rows of one file: JSON lines, JSON, parquet or CSV, each with its place for messages."""

from __future__ import annotations

import json
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

Row = tuple[str, int, str, object]
"""Where it stands (for messages), its number, its topic if it names none, and the row itself."""


def read_file(path: Path) -> Iterator[Row]:
    """The rows of a file, read as its suffix says.

    Raises:
        ValueError: another suffix, or no such content; names file and line or row.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise ValueError(
            f"{path}: found a {path.suffix or 'nameless'} file, expected .jsonl (one question a line) or .parquet, "
            ".json, .csv"
        )
    return reader(path)


def _jsonl_rows(path: Path) -> Iterator[Row]:
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            where = f"{path}, line {number}"
            try:
                row = json.loads(line, object_pairs_hook=each_key_once)
            except (ValueError, RecursionError) as error:
                # JSONDecodeError and UnicodeDecodeError too.
                raise ValueError(f"{where}: expected a JSON object in UTF-8 on one line, found {error}") from error
            yield where, number, "all", row


def each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object of these pairs; a key that stands twice is an error, since one of its values would be lost."""
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(key for key in keys if keys.count(key) > 1)!r:.80} twice in one object")
    return found


def _parquet_rows(path: Path) -> Iterator[Row]:
    from pyarrow import ArrowException  # type: ignore[import-untyped]
    from pyarrow.parquet import ParquetFile  # type: ignore[import-untyped]

    try:
        table = ParquetFile(path).read()
        rows = table.to_pylist()
    except (ArrowException, OSError, ValueError) as error:
        # Damaged pages, text that is not UTF-8.
        raise ValueError(f"{path}: expected a parquet file, found {error}") from error
    yield from _table_rows(path, table.column_names, rows)


def _table_rows(path: Path, names: list[str], rows: list[dict[str, Any]]) -> Iterator[Row]:
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"{path}: expected every column once, found {twice[0]!r} twice")
    for number, row in enumerate(rows):
        yield f"{path}, row {number}", number, "all", row


def _json_rows(path: Path) -> Iterator[Row]:
    """A list of rows, or rows one a line, which many name .json too."""
    text = path.read_bytes().removeprefix(BOM_UTF8)
    if not text.lstrip().startswith(b"["):
        yield from _jsonl_rows(path)
        return
    try:
        rows = json.loads(text, object_pairs_hook=each_key_once)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: expected a list of JSON objects in UTF-8, found {error}") from error
    for number, row in enumerate(rows):
        yield f"{path}, row {number}", number, "all", row


def _csv_rows(path: Path) -> Iterator[Row]:
    from pyarrow import ArrowException
    from pyarrow.csv import ParseOptions, read_csv  # type: ignore[import-untyped]

    try:
        table = read_csv(path, parse_options=ParseOptions(newlines_in_values=True))
        rows = table.to_pylist()
    except (ArrowException, OSError, ValueError) as error:
        raise ValueError(f"{path}: expected a CSV file in UTF-8 with a header, found {error}") from error
    yield from _table_rows(path, table.column_names, rows)


_READERS: dict[str, Callable[[Path], Iterator[Row]]] = {
    ".jsonl": _jsonl_rows,
    ".json": _json_rows,
    ".parquet": _parquet_rows,
    ".csv": _csv_rows,
}
