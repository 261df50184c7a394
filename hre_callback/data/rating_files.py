"""The files that people save from a rating page: checked, and joined into the questions' ratings.

A file is one JSON object: `kind`, `version`, `fingerprint` (of the question set), `rater`, `seed`, and `ratings`, a
list in the order in which the person met the questions. Each of its entries has the question's `id`, the keys of the
answers as they were `shown`, and either their `places` (1 is best, equal ones are tied) or `skipped`.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .blind import answer_keys
from .checks import Question, check_label, check_question, fail
from .questions import fingerprint
from .row_files import each_key_once

KIND = "hre ratings"
VERSION = 1
Ratings = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class RatingFile:
    """What one person saved.

    Attributes:
        rater: the name that the person gave.
        ratings: question id -> one rating an answer, in the question's order: how many answers it was placed above,
            those on the same place counted half. Higher is better.
        skipped: questions that the person would not judge.
    """

    path: Path
    rater: str
    ratings: Mapping[str, Ratings]
    skipped: int


def rating_paths(folder: Path) -> list[Path]:
    """Every `.json` file of a folder, by name; hidden ones, which systems leave there, are passed over.

    Raises:
        ValueError: no such folder, or no file in it.
    """
    if not folder.is_dir():
        raise ValueError(
            f"{folder}: no such folder; expected one with the files that people saved from the rating page"
        )
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() == ".json" and path.name[0] != ".")
    if not paths:
        raise ValueError(f"{folder}: found no .json file, expected those that people saved from the rating page")
    return paths


def read_rating_files(paths: Sequence[Path], questions: Sequence[Question], source: str) -> list[RatingFile]:
    """What the files at these paths hold.

    Args:
        source: what the questions are called, for the messages.

    Raises:
        ValueError: a file that is damaged or of other questions, a person who is there twice, or no ranking in any of
            them; names file and field.
    """
    known, of = {question.id: question for question in questions}, fingerprint(questions)
    found = [_parsed(path, _object(path), known, of, source) for path in paths]
    _check_once((one.rater, str(one.path)) for one in found)
    if not any(one.ratings for one in found):
        raise ValueError(f"{paths[0].parent}: found no ranking in {len(found)} file(s), expected at least one")
    return found


def join_ratings(questions: Sequence[Question], files: Sequence[RatingFile]) -> list[Question]:
    """The questions with these people's ratings beside those that they had.

    Raises:
        ValueError: a question has ratings of an annotator of that name already; names file, question and annotator.
    """
    joined = []
    for question in questions:
        old = question.ratings or {}
        new = {one.rater: one.ratings[question.id] for one in files if question.id in one.ratings}
        there = {_plain_name(who): (who, f"question {question.id!r} already") for who in old}
        _check_once(((one.rater, str(one.path)) for one in files if question.id in one.ratings), there)
        joined.append(check_question(replace(question, ratings={**old, **new} or None), f"question {question.id!r}"))
    return joined


def _object(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        raise ValueError(f"{path}: found no ordinary file, expected one that a person saved from the rating page")
    try:
        found = json.loads(path.read_bytes().decode("utf-8-sig"), object_pairs_hook=each_key_once)
    except (ValueError, RecursionError) as error:
        # JSONDecodeError and UnicodeDecodeError too.
        raise ValueError(f"{path}: expected a JSON object in UTF-8, found {error}") from error
    if not isinstance(found, Mapping):
        fail(str(path), "file", found, "the JSON object that a rating page saves")
    return found


def _parsed(path: Path, given: Mapping[str, Any], known: Mapping[str, Question], of: str, source: str) -> RatingFile:
    where = str(path)
    if given.get("kind") != KIND:
        fail(where, "kind", given.get("kind"), f"{KIND!r}, as a rating page saves it")
    version = given.get("version")
    if type(version) is not int or version != VERSION:
        fail(where, "version", version, f"{VERSION}, the one that this package reads")
    if given.get("fingerprint") != of:
        fail(where, "fingerprint", given.get("fingerprint"), f"{of!r}, that of {source}: ratings of other questions")
    rater, rows = given.get("rater"), given.get("ratings")
    if not isinstance(rater, str) or check_label(rater, where, "rater") is None:
        fail(where, "rater", rater, "a name")
    if not isinstance(rows, list):
        fail(where, "ratings", rows, "a list, one entry a question")
    ratings: dict[str, Ratings] = {}
    met: set[str] = set()
    for question, places in _entries(rows, known, where, source):
        if question.id in met:
            fail(where, "ratings", question.id, "every question once")
        met.add(question.id)
        if places is not None:
            ratings[question.id] = ranks_of(places)
    return RatingFile(path, " ".join(rater.split()), ratings, len(met) - len(ratings))


def _entries(
    rows: Sequence[object], known: Mapping[str, Question], where: str, source: str
) -> Iterator[tuple[Question, list[int] | None]]:
    """Each question with the places of its answers in its own order, None where it was skipped."""
    for index, row in enumerate(rows):
        name = f"ratings[{index}]"
        if not isinstance(row, Mapping):
            fail(where, name, row, "an object with id, shown, and places or skipped")
        asked = row.get("id")
        if not isinstance(asked, str) or asked not in known:
            fail(where, f"{name}.id", asked, f"the id of a question of {source}")
        question = known[asked]
        keys, shown = answer_keys(question), row.get("shown")
        if (
            not isinstance(shown, list)
            or any(not isinstance(key, str) for key in shown)
            or sorted(shown) != sorted(keys)
        ):
            fail(where, f"{name}.shown", shown, f"the {len(keys)} answers of question {asked!r}, each once")
        yield question, _places(row, [shown.index(key) for key in keys], where, name)


def _places(row: Mapping[str, Any], order: Sequence[int], where: str, name: str) -> list[int] | None:
    skipped, places = row.get("skipped"), row.get("places")
    if (skipped is True) == (places is not None) or skipped not in (None, False, True):
        fail(where, name, dict(row), "either places or skipped: true")
    if skipped:
        return None
    count = len(order)
    if (
        not isinstance(places, list)
        or len(places) != count
        or any(type(place) is not int or not 1 <= place <= count for place in places)
    ):
        fail(where, f"{name}.places", places, f"{count} whole numbers from 1 to {count}, one an answer shown")
    return [places[at] for at in order]


def ranks_of(places: Sequence[int]) -> Ratings:
    """Mid-ranks from below: how many answers each was placed above, those on the same place counted half.

    Places 1, 1, 3 and 1, 1, 2 say the same: what is kept is the order.
    """
    return tuple(sum((other > place) + (other == place) / 2 for other in places) - 0.5 for place in places)


def _check_once(raters: Iterable[tuple[str, str]], there: Mapping[str, tuple[str, str]] | None = None) -> None:
    """Raise where two of these (name, where it stands) are one person, however the name is spelled.

    Args:
        there: those that are known already, by their `_plain_name`.
    """
    seen = dict(there or {})
    for rater, where in raters:
        name = _plain_name(rater)
        if name in seen:
            before, at = seen[name]
            raise ValueError(
                f"{where}: rater: found {rater!r}, expected each person once ({before!r} rates in {at}); keep one "
                "of the two, or give two people two names"
            )
        seen[name] = (rater, where)


def _plain_name(rater: str) -> str:
    """A name by which "Anna", " anna " and a decomposed spelling are one person."""
    return " ".join(unicodedata.normalize("NFKC", rater).casefold().split())
