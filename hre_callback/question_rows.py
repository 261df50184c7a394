"""Where the rows of questions come from: a JSONL or parquet file, a folder or hub dataset of splits, the bundled sample.

A row is not looked into here; `questions.parse_question` does that.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

SAMPLE_QUESTIONS = Path(__file__).parent / "data" / "sample_questions.jsonl"
"""The bundled questions, loaded by ``load_questions("bundled")``."""
SAMPLE_TRAIN = Path(__file__).parent / "data" / "sample_train.jsonl"
"""The bundled prompt/completion rows for SFT; they share no question and no answer with `SAMPLE_QUESTIONS`."""

TOPIC_OF_SPLIT: Mapping[str, str] = {
    "HumanRankEvalPython": "python",
    "HumanRankEvalJava": "java",
    "HumanRankEvalUnix": "unix",
    "HumanRankEvalCPP": "cpp",
    "HumanRankEvalHTML": "html",
    "HumanRankEvalEnglish": "english",
    "HumanRankEvalPhysics": "physics",
    "HumanRankEvalLaTeX": "latex",
    "HumanRankEvalSoftEng": "soft_eng",
    "HumanRankEvalStats": "stats",
    "HumanRankEvalCSDB": "cs_db",
    "HumanRankEvalLanguagesSciences": "languages_sciences",
    "HumanRankEvalAppleAndroid": "apple_android",
    "HumanRankEvalMath": "math",
}
"""Split names of ``huawei-noah/human_rank_eval`` and the official topic names. Another split is its own topic."""

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_FILE_SUFFIXES = {".jsonl", ".parquet", ".json", ".csv", ".txt", ".xml"}  # a missing file, not a hub name


Row = tuple[str, int, str, object]
"""Where it stands (for messages), its number, its topic if it names none, and the row itself."""


def read_rows(source: str | Path, topics: Sequence[str] | None) -> Iterator[Row]:
    """Read the rows of `source` (see `questions.load_questions`); `topics` only spares what need not be loaded."""
    path = SAMPLE_QUESTIONS if source == "bundled" else Path(source)
    if path.is_dir():
        return _split_rows(str(path), topics)
    if path.suffix == ".jsonl" and path.is_file():
        return _jsonl_rows(path)
    if path.suffix == ".parquet" and path.is_file():
        return _parquet_rows(path)
    if path.is_file():
        raise ValueError(
            f"{path}: found a {path.suffix or 'nameless'} file, expected .jsonl (one question a line) or .parquet"
        )
    if isinstance(source, str) and _HUB_ID.fullmatch(source) and path.suffix not in _FILE_SUFFIXES:
        return _split_rows(source, topics)
    raise ValueError(
        f"{source}: no such file or folder; expected a .jsonl or .parquet file, a folder, a hub dataset 'owner/name' "
        "or 'bundled'"
    )


def _jsonl_rows(path: Path) -> Iterator[Row]:
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            where = f"{path}, line {number}"
            try:
                row = json.loads(line)
            except ValueError as error:  # JSONDecodeError and UnicodeDecodeError
                raise ValueError(
                    f"{where}: expected a JSON object in UTF-8 on one line, found {error}"
                ) from error
            yield where, number, "all", row


def _parquet_rows(path: Path) -> Iterator[Row]:
    from pyarrow import ArrowException  # type: ignore[import-untyped]
    from pyarrow.parquet import ParquetFile  # type: ignore[import-untyped]

    try:
        rows = ParquetFile(path).read().to_pylist()
    except ArrowException as error:
        raise ValueError(f"{path}: expected a parquet file, found {error}") from error
    for number, row in enumerate(rows):
        yield f"{path}, row {number}", number, "all", row


def _split_rows(source: str, topics: Sequence[str] | None) -> Iterator[Row]:
    for split, dataset in _load_splits(source, topics).items():
        topic = TOPIC_OF_SPLIT.get(split, split)
        for number, row in enumerate(dataset.to_list()):
            yield f"{source}, split {split}, row {number}", number, topic, row


def _load_splits(source: str, topics: Sequence[str] | None) -> Mapping[str, Any]:
    """Load the splits that hold `topics`; the other splits' files are not even downloaded."""
    from datasets import load_dataset, load_dataset_builder
    from datasets.exceptions import DatasetsError

    try:
        builder = load_dataset_builder(source)
        # Without network `datasets` offers what it cached, which has no files to choose from.
        files = builder.config.data_files
        if topics is None or files is None:
            return load_dataset(source)  # type: ignore[no-any-return]
        wanted = {
            split: names for split, names in files.items() if TOPIC_OF_SPLIT.get(split, split) in topics
        }
        if len(wanted) < len(set(topics)):
            if set(files) <= set(TOPIC_OF_SPLIT):
                check_topics(source, topics, {TOPIC_OF_SPLIT[split] for split in files})
            wanted = dict(files)  # the rows may name their topics themselves
        return load_dataset(builder.name, data_files=wanted)  # type: ignore[no-any-return]
    except (DatasetsError, OSError) as error:
        raise ValueError(
            f"{source}: expected a folder or hub dataset that datasets.load_dataset can load (without network: a folder "
            f"with a copy of it), found {type(error).__name__}: {error}"
        ) from error


def check_topics(source: str | Path, topics: Iterable[str], available: set[str]) -> None:
    """Raise a ValueError that lists the `available` topics if one of `topics` is not among them."""
    for topic in topics:
        if topic not in available:
            raise ValueError(f"{source}: no such topic {topic!r}; available: {', '.join(sorted(available))}")
