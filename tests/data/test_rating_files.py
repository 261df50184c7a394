"""What people saved: checked by file and field, and joined into the questions so that nothing is lost."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import pytest

from hre_callback import Answer, Question, load_questions
from hre_callback.data.questions import question_lines
from hre_callback.data.rating_files import join_ratings, ranks_of, rating_paths, read_rating_files

from ..rated import save, saved

ASKED = load_questions("bundled", max_questions=3)
IDS = [question.id for question in ASKED]
PLACES = {IDS[0]: [1, 2, 3, 4], IDS[1]: [2, 1, 1, 4], IDS[2]: None}


def read(folder):
    return read_rating_files(rating_paths(folder), ASKED, "q.jsonl")


def test_ratings_count_the_answers_below_and_half_of_the_tied():
    assert ranks_of([1, 2, 3, 4]) == (3, 2, 1, 0)
    assert ranks_of([1, 1, 3]) == ranks_of([2, 2, 3]) == ranks_of([1, 1, 2]) == (1.5, 1.5, 0)
    assert ranks_of([2, 2]) == (0.5, 0.5)


def test_places_come_back_in_the_order_of_the_answers(tmp_path):
    save(tmp_path, "b.json", saved(ASKED, "  Bo  Li ", PLACES))
    save(tmp_path, "notes.txt", b"not read")
    save(tmp_path, "._b.json", b"what a Mac leaves")
    (one,) = read(tmp_path)
    assert one.rater == "Bo Li" and one.skipped == 1
    assert one.ratings == {IDS[0]: (3, 2, 1, 0), IDS[1]: (1, 2.5, 2.5, 0)}


def test_joined_ratings_stand_beside_those_that_were_there(tmp_path):
    had = [replace(ASKED[0], ratings={"old": (5.0, None, 1.0, 2.0)}), *ASKED[1:]]
    save(tmp_path, "a.json", saved(had, "Anna", PLACES))
    save(tmp_path, "b.json", saved(had, "Bo", {IDS[1]: [1, 2, 3, 4]}))
    joined = join_ratings(had, read_rating_files(rating_paths(tmp_path), had, "q.jsonl"))
    assert joined[0].ratings == {"Anna": (3, 2, 1, 0), "old": (5.0, None, 1.0, 2.0)}
    assert joined[1].ratings == {"Anna": (1, 2.5, 2.5, 0), "Bo": (3, 2, 1, 0)}
    assert joined[2] == ASKED[2]


def test_what_is_written_is_read_back_as_it_was(tmp_path):
    talk = ({"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi\n\t\u2028"})
    answers = (Answer("a", 0.1), Answer("b", -3))
    odd = Question(
        "q", talk, answers, "t", "c", {"é": (1.0, None)}, {"country": {"é": "IT"}, "language": "de"}, "GPT-4"
    )
    (tmp_path / "r.jsonl").write_bytes(b"".join(question_lines([odd, *ASKED])))
    assert load_questions(tmp_path / "r.jsonl") == [odd, *ASKED]


def test_a_rater_of_a_name_that_the_questions_know_is_a_conflict(tmp_path):
    had = [replace(ASKED[0], ratings={"anna": (1.0, 2.0, 3.0, 4.0)}), *ASKED[1:]]
    save(tmp_path, "a.json", saved(had, "Anna", PLACES))
    with pytest.raises(
        ValueError, match=rf"a.json: rater: found 'Anna', .*'anna' rates in question '{IDS[0]}' already"
    ):
        join_ratings(had, read_rating_files(rating_paths(tmp_path), had, "q.jsonl"))


@pytest.mark.parametrize("again", ["Anna", " anna", "ＡＮＮＡ"])
def test_a_person_is_there_once_however_the_name_is_spelled(again, tmp_path):
    save(tmp_path, "a.json", saved(ASKED, "Anna", PLACES))
    save(tmp_path, "b.json", saved(ASKED, again, {IDS[2]: [1, 2, 3, 4]}))
    with pytest.raises(
        ValueError, match=r"b.json: rater: found .*, expected each person once \('Anna' rates in .*a.json\)"
    ):
        read(tmp_path)


def change(*path, to):
    """A change of a saved file at a path of keys."""

    def changed():
        file = saved(ASKED, "Anna", PLACES)
        at = file
        for key in path[:-1]:
            at = at[key]
        at[path[-1]] = to
        return file

    return changed


DAMAGED = {
    "empty": (b"", "expected a JSON object in UTF-8"),
    "cut short": (json.dumps(saved(ASKED, "Anna", PLACES)).encode()[:-40], "expected a JSON object in UTF-8"),
    "latin-1": ('{"kind": "é"}'.encode("latin-1"), "expected a JSON object in UTF-8"),
    "deep": (b"[" * 100_000, "expected a JSON object in UTF-8"),
    "key twice": (b'{"kind": 1, "kind": 2}', "'kind' twice"),
    "a list": (b"[]", "file: found [], expected the JSON object"),
    "somebody else's": (b"{}", "kind: found None, expected 'hre ratings'"),
    "later version": (change("version", to=2), "version: found 2, expected 1"),
    "version true": (change("version", to=True), "version: found True"),
    "other questions": (change("fingerprint", to="0" * 16), "fingerprint: found '0000000000000000', expected"),
    "no name": (change("rater", to=" \u00a0"), "rater: found"),
    "number for name": (change("rater", to=5), "rater: found 5, expected a name"),
    "half a surrogate": (b'{"rater": "\\ud800"', "expected a JSON object"),
    "surrogate name": (change("rater", to="\ud800"), "rater: found '\\ud800', expected valid Unicode"),
    "ratings null": (change("ratings", to=None), "ratings: found None, expected a list"),
    "entry text": (change("ratings", 1, to="x"), "ratings[1]: found 'x', expected an object"),
    "unknown id": (change("ratings", 1, "id", to="no"), "ratings[1].id: found 'no', expected the id of a question of q.jsonl"),
    "id list": (change("ratings", 1, "id", to=[]), "ratings[1].id: found []"),
    "id twice": (change("ratings", 1, to=saved(ASKED, "A", PLACES)["ratings"][0]), f"ratings: found '{IDS[0]}', expected every question once"),
    "shown null": (change("ratings", 0, "shown", to=None), "ratings[0].shown: found None"),
    "shown other": (change("ratings", 0, "shown", to=["x"] * 4), "ratings[0].shown: found"),
    "shown numbers": (change("ratings", 0, "shown", to=[1, 2, 3, 4]), "ratings[0].shown: found"),
    "too few places": (change("ratings", 0, "places", to=[1, 2]), "ratings[0].places: found [1, 2], expected 4 whole numbers"),
    "place 0": (change("ratings", 0, "places", to=[0, 1, 2, 3]), "ratings[0].places: found"),
    "place 5": (change("ratings", 0, "places", to=[5, 1, 2, 3]), "ratings[0].places: found"),
    "place 1.5": (change("ratings", 0, "places", to=[1.5, 1, 2, 3]), "ratings[0].places: found"),
    "place true": (change("ratings", 0, "places", to=[True, 1, 2, 3]), "ratings[0].places: found"),
    "places text": (change("ratings", 0, "places", to="1234"), "ratings[0].places: found '1234'"),
    "places object": (change("ratings", 0, "places", to={}), "ratings[0].places: found {}"),
    "both": (change("ratings", 0, "skipped", to=True), "ratings[0]: found"),
    "skipped yes": (change("ratings", 0, "skipped", to="yes"), "ratings[0]: found"),
    "neither": (change("ratings", 2, "skipped", to=False), "ratings[2]: found"),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_file_is_named_with_its_field(name, tmp_path):
    content, says = DAMAGED[name]
    save(tmp_path, "good.json", saved(ASKED, "Bo", PLACES))
    save(tmp_path, "x.json", content() if callable(content) else content)
    with pytest.raises(ValueError) as error:
        read(tmp_path)
    assert str(error.value).startswith(f"{tmp_path / 'x.json'}: ") and says in str(error.value), error.value
    assert len(str(error.value)) < 600


def test_a_byte_order_mark_is_no_damage(tmp_path):
    save(tmp_path, "a.json", b"\xef\xbb\xbf" + json.dumps(saved(ASKED, "Anna", PLACES)).encode())
    assert read(tmp_path)[0].rater == "Anna"


def test_a_folder_without_rankings_is_said(tmp_path):
    with pytest.raises(ValueError, match="no such folder"):
        read(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="found no .json file"):
        read(tmp_path)
    save(tmp_path, "a.json", saved(ASKED, "Anna", dict.fromkeys(IDS)))
    with pytest.raises(ValueError, match=r"found no ranking in 1 file"):
        read(tmp_path)


def test_what_is_no_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.json")
    with pytest.raises(ValueError, match=r"a.json: found no ordinary file"):
        read(tmp_path)
