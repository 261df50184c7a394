"""`hre split`: preference rows of any source read, and the two files written, both or none."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..files import Chunks, check_output, write_together
from .preference_split import PreferenceSplit, Row, split_preferences
from .questions import question_lines
from .sources import Place, read_rows, source_path

_SUFFIXES = ".jsonl", ".parquet"


def check_split_outputs(source: str | Path, out: str | Path, train: str | Path) -> None:
    """Find out, before the work begins, whether the held-out questions can go to `out` and the other rows to `train`.

    Raises:
        ValueError: a suffix that is not written, the same file twice, what is read, or nothing can be written there.
    """
    if Path(out).suffix != ".jsonl":
        raise ValueError(f"{out}: found the suffix {Path(out).suffix!r}, expected .jsonl for the held-out questions")
    if Path(train).suffix not in _SUFFIXES:
        raise ValueError(f"{train}: found the suffix {Path(train).suffix!r}, expected {' or '.join(_SUFFIXES)}")
    check_output(out, inputs=[source_path(source)])
    check_output(train, inputs=[source_path(source)], outputs=[out])


def split_source(
    source: str | Path,
    *,
    hold_out: int,
    seed: int = 0,
    columns: Mapping[str, str] | None = None,
    config: str | None = None,
    split: str | None = None,
) -> PreferenceSplit:
    """`split_preferences` of a file, folder or hub dataset, read as `load_questions` reads it.

    Raises:
        ValueError: as `split_preferences`; names the source, and file and line or row.
    """
    rows: list[Any] = []
    places: list[str] = []
    for where, _, _, row in read_rows(source, None, Place(config, split)):
        rows.append(row)
        places.append(where)
    if not rows:
        raise ValueError(f"{source}: found no rows, expected preference rows: prompt, chosen, rejected")
    return split_preferences(rows, hold_out=hold_out, seed=seed, columns=columns, where=places.__getitem__)


def write_split(found: PreferenceSplit, out: str | Path, train: str | Path) -> None:
    """Write the questions as `load_questions` reads them, and the training rows as they were: both files or none.

    Raises:
        ValueError: the rows hold what the file cannot; names it.
    """
    rows = _parquet(train, found.train) if Path(train).suffix == ".parquet" else _json_lines(train, found.train)
    write_together([(Path(out), question_lines(found.held_out)), (Path(train), rows)])


def _json_lines(path: str | Path, rows: Iterable[Row]) -> Chunks:
    for row in rows:
        try:
            line = json.dumps(dict(row), ensure_ascii=False)
        except TypeError as error:
            raise ValueError(
                f"{path}: JSON cannot hold the rows ({error}); expected a name that ends in .parquet"
            ) from error
        try:
            yield line.encode() + b"\n"
        except UnicodeEncodeError:
            # Half of a surrogate pair, as it was read.
            yield json.dumps(dict(row)).encode() + b"\n"


def _parquet(path: str | Path, rows: Sequence[Row]) -> Chunks:
    import pyarrow  # type: ignore[import-untyped]
    from pyarrow.parquet import write_table  # type: ignore[import-untyped]

    sink = pyarrow.BufferOutputStream()
    try:
        write_table(pyarrow.Table.from_pylist([dict(row) for row in rows]), sink)
    except (pyarrow.ArrowException, UnicodeError) as error:
        raise ValueError(
            f"{path}: parquet cannot hold the rows ({error}); expected a name that ends in .jsonl"
        ) from error
    return [sink.getvalue().to_pybytes()]
