"""Where the rows of questions come from.

A file (see `row_files`), a folder or hub dataset of splits, the bundled sample.

A row is not looked into here; `questions.parse_question` does that.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any

from ..plain_text import one_line, plain_text
from .row_files import Row, read_file
from .training_data import value_of

SAMPLE_QUESTIONS = Path(__file__).parent / "sample_questions.jsonl"
"""The bundled questions, loaded by ``load_questions("bundled")``."""
SAMPLE_TRAIN = Path(__file__).parent / "sample_train.jsonl"
"""The bundled prompt/completion rows for SFT; they share no question and no answer with `SAMPLE_QUESTIONS`."""
SAMPLE_DISLIKED = Path(__file__).parent / "sample_disliked.jsonl"
"""The first of these prompts, with completions of the kind that people vote down: for the demo alone."""

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
# A missing file, not a hub name.
_FILE_SUFFIXES = {".jsonl", ".parquet", ".json", ".csv", ".txt", ".xml"}
# Characters of somebody else's message that are passed on.
_LONGEST = 300


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a data set the rows lie.

    Attributes:
        config, split: as somebody asked for them; a split that is not there is an error.
        usual_config, usual_splits, usual_folder: where they lie in the data set on the hub; in a copy only if there.
    """

    config: str | None = None
    split: str | None = None
    usual_config: str | None = None
    usual_splits: tuple[str, ...] = ()
    usual_folder: str | None = None


ANYWHERE = Place()


def read_rows(source: str | Path, topics: Sequence[str] | None, place: Place = ANYWHERE) -> Iterator[Row]:
    """Read the rows of `source` (see `questions.load_questions`); `topics` only spares what need not be loaded."""
    path = source_path(source)
    if path.is_file():
        if place.config or place.split:
            raise ValueError(f"{path}: a file has neither configs nor splits; expected none to be asked for")
        return read_file(path)
    if path.is_dir():
        return _split_rows(str(path), topics, place)
    if isinstance(source, str) and _HUB_ID.fullmatch(source) and path.suffix.lower() not in _FILE_SUFFIXES:
        return _split_rows(source, topics, place)
    raise ValueError(
        f"{source}: no such file or folder; expected a .jsonl or .parquet file, a folder, a hub dataset 'owner/name' "
        "or 'bundled'"
    )


def source_path(source: str | Path) -> Path:
    """Where `source` lies if it is on the disk; the name of a hub dataset leads nowhere."""
    return SAMPLE_QUESTIONS if source == "bundled" else Path(source)


def _split_rows(source: str, topics: Sequence[str] | None, place: Place) -> Iterator[Row]:
    for split, dataset in _load_splits(source, topics, place).items():
        topic = TOPIC_OF_SPLIT.get(split, split)
        try:
            rows = _plain_rows(dataset)
        except ValueError as error:
            # Text that is not UTF-8.
            raise ValueError(f"{source}, split {split}: expected text in UTF-8, found {error}") from error
        for number, row in enumerate(rows):
            yield f"{source}, split {split}, row {number}", number, topic, row


def _plain_rows(dataset: Any) -> list[dict[str, Any]]:
    """As the rows lie on the disk, images and the like left out, nothing of them decoded."""
    features = dataset.features
    batches = dataset.with_format("arrow").iter(batch_size=1000)
    rows = (row for batch in batches for row in batch.to_pylist())
    return [{name: value_of(value, features[name]) for name, value in row.items()} for row in rows]


def _load_splits(source: str, topics: Sequence[str] | None, place: Place = ANYWHERE) -> Mapping[str, Any]:
    """Load the splits that were asked for or that hold `topics`; the other splits' files are not even downloaded."""
    told = _Told()
    try:
        with told:
            if _is_saved(Path(source)):
                return _chosen(source, _from_disk(source), place)
            return _from_files(source, topics, place)
    except _NotThereError:
        raise
    # `datasets` may raise anything for what it cannot read or tell apart
    except Exception as error:
        cause = told.last or (_words(error.__cause__) if error.__cause__ else "")
        raise ValueError(
            f"{source}: expected a folder or hub dataset that datasets.load_dataset can load (without network: a "
            f"folder with a copy of it), found {_words(error)}" + (f" ({cause})" if cause else "")
        ) from error


def _from_files(source: str, topics: Sequence[str] | None, place: Place) -> Mapping[str, Any]:
    from datasets import load_dataset, load_dataset_builder

    # Code of a dataset is never run, and nobody is asked. Since datasets 4 there is none.
    known = signature(load_dataset_builder).parameters
    where: dict[str, Any] = {"trust_remote_code": False} if "trust_remote_code" in known else {}
    chosen = {"name": _config(source, place), "data_dir": _folder(source, place)}
    named = {key: value for key, value in chosen.items() if value is not None}
    builder = load_dataset_builder(source, **named, **where)
    # Without network `datasets` offers what it cached, which has no files to choose from.
    files = builder.config.data_files
    if files is None:
        return _chosen(source, load_dataset(source, **named, **where), place)
    wanted = _chosen(source, files, place)
    if topics is not None:
        wanted = _splits_of(source, topics, wanted)
    if len(wanted) == len(files):
        return load_dataset(source, **named, **where)  # type: ignore[no-any-return]
    return load_dataset(builder.name, data_files=dict(wanted), **where)  # type: ignore[no-any-return]


def _config(source: str, place: Place) -> str | None:
    """The config to load; the usual one of a copy on the disk only where the copy has it."""
    from datasets import get_dataset_config_names

    if place.config is not None or place.usual_config is None or not Path(source).is_dir():
        return place.config or place.usual_config
    return place.usual_config if place.usual_config in get_dataset_config_names(source) else None


def _folder(source: str, place: Place) -> str | None:
    inside = place.usual_folder
    return None if inside is None or (Path(source).is_dir() and not Path(source, inside).is_dir()) else inside


def _chosen(source: str, splits: Mapping[str, Any], place: Place) -> Mapping[str, Any]:
    """The split that was asked for; else the usual ones that are there; else all."""
    names = list(splits)
    if place.split is not None and place.split not in names:
        raise _NotThereError(f"{source}: no such split {place.split!r}; available: {', '.join(map(plain_text, names))}")
    wanted = [place.split] if place.split else [name for name in names if name in place.usual_splits]
    return {name: splits[name] for name in wanted or names}


def _is_saved(path: Path) -> bool:
    """Whether `save_to_disk` of a dataset has written this folder."""
    return (path / "dataset_dict.json").is_file() or (path / "state.json").is_file()


def _from_disk(source: str) -> Mapping[str, Any]:
    from datasets import Dataset, load_from_disk

    found = load_from_disk(source)
    return {"all": found} if isinstance(found, Dataset) else found


def _words(error: BaseException) -> str:
    """An error's type and first words: some list all that could have been."""
    words = one_line(f"{type(error).__name__}: {error}")
    return words if len(words) <= _LONGEST else f"{words[:_LONGEST]}…"


class _Told(logging.Handler):
    """While it is entered: no bars of `datasets`, and its log comes here. Which file was at fault it only logs."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.last = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.last = one_line(record.getMessage())[:_LONGEST]

    def __enter__(self) -> None:
        from datasets import are_progress_bars_disabled, disable_progress_bars

        self._bars = not are_progress_bars_disabled()
        self._log = logging.getLogger("datasets")
        self._before = self._log.handlers, self._log.propagate
        disable_progress_bars()
        self._log.handlers, self._log.propagate = [self], False

    def __exit__(self, *_: object) -> None:
        from datasets import enable_progress_bars

        self._log.handlers, self._log.propagate = self._before
        if self._bars:
            enable_progress_bars()


def _splits_of(source: str, topics: Sequence[str], files: Mapping[str, Any]) -> dict[str, Any]:
    """The splits that hold `topics` by name; all of them where the rows may name their topics themselves."""
    wanted = {split: names for split, names in files.items() if TOPIC_OF_SPLIT.get(split, split) in topics}
    if len(wanted) == len(set(topics)):
        return wanted
    if set(files) <= set(TOPIC_OF_SPLIT):
        check_topics(source, topics, {TOPIC_OF_SPLIT[split] for split in files})
    return dict(files)


class _NotThereError(ValueError):
    """A topic or split that is not there, told from what `datasets` raises."""


def check_topics(source: str | Path, topics: Iterable[str], available: set[str]) -> None:
    """Raise a ValueError that lists the `available` topics if one of `topics` is not among them."""
    for topic in topics:
        if topic not in available:
            known = ", ".join(plain_text(name) for name in sorted(available))
            raise _NotThereError(f"{source}: no such topic {topic!r}; available: {known}")
