"""One check for questions of files and of code: what is refused, by which name, and what becomes plain Python."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hre_callback import (
    Answer,
    HREConfig,
    HumanRankEvalCallback,
    HumanRankEvaluator,
    Question,
    fingerprint,
    load_questions,
    read_record,
)
from hre_callback.data.checks import check_questions
from hre_callback.views.changes import most_moved

from ..trainers import questions, sft_trainer, tokenizer

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")  # TRL sets a name that transformers renames

PAIR = (Answer("because", 3), Answer("no idea", 0))
HUGE = 10**5000  # more digits than Python shows


def asked(**changes):
    return replace(Question("q", "why?", PAIR, "t"), **changes)


def voted(*votes):
    return asked(answers=tuple(Answer(f"answer {i}", vote) for i, vote in enumerate(votes)))


BAD = {
    "equal ids": ([asked(), asked()], r"questions\[1\]: id: found 'q', expected a unique id .*questions\[0\]"),
    "ids equal as text": ([asked(id="8"), asked(id=8)], r"questions\[1\]: id: found '8', expected a unique"),
    "NaN votes": ([voted(1, float("nan"))], r"questions\[0\]: answers\[1\]\.votes: found nan, expected a finite"),
    "infinite votes": ([voted(1, -np.inf)], r"answers\[1\]\.votes: found -inf"),
    "bool votes": ([voted(1, True)], r"answers\[1\]\.votes: found True"),
    "NumPy bool votes": ([voted(1, np.bool_(True))], r"answers\[1\]\.votes: found "),
    "complex votes": ([voted(1, 1j)], r"answers\[1\]\.votes: found 1j"),
    "no votes": ([voted(None, 1)], r"answers\[0\]\.votes: found None"),
    "text votes": ([voted("1.0", 1)], r"answers\[0\]\.votes: found '1.0'"),
    "votes beyond a float's integers": ([voted(2**63, 1)], r"found 9223372036854775808, expected .* 2\*\*53"),
    "votes whose squares overflow": ([voted(1e300, 1)], r"found 1e\+300, expected .* 2\*\*53"),
    "votes whose squares vanish": ([voted(1e-300, 1)], r"found 1e-300, expected .* 1e-100"),
    "votes that no float holds": ([voted(10**400, 1)], r"answers\[0\]\.votes: found 1000"),
    "votes that nobody can print": ([voted(HUGE, 1)], r"found a int too large to show"),
    "a fraction that no float holds": ([voted(Fraction(HUGE), 1)], r"answers\[0\]\.votes"),
    "a signalling NaN": ([voted(Decimal("sNaN"), 1)], r"answers\[0\]\.votes: found Decimal\('sNaN'\)"),
    "an array of votes": ([voted(np.array([1, 2]), 1)], r"answers\[0\]\.votes: found array"),
    "empty question": ([asked(question=" \n")], r"question: found ' \\n', expected a text that is not empty"),
    "empty answer": ([asked(answers=(*PAIR, Answer("", 1)))], r"answers\[2\]\.text: found '', expected a text"),
    "bytes": ([asked(question=b"why?")], r"question: found b'why\?', expected a text"),
    "half a surrogate": ([asked(question="a \ud800")], r"question: found .* expected valid Unicode"),
    "half a surrogate in an id": ([asked(id="\udfff")], r"id: found .* expected valid Unicode"),
    "one answer": ([asked(answers=PAIR[:1])], r"answers: found .*, expected a list of 2 or more"),
    "answers as a text": ([asked(answers="ab")], r"answers: found 'ab', expected a list of 2 or more"),
    "answers as objects": ([asked(answers=({"text": "a", "votes": 1},) * 2)], r"answers\[0\]: found \{"),
    "no id": ([asked(id=None)], r"id: found None, expected a text"),
    "empty id": ([asked(id="")], r"id: found ''"),
    "a list as topic": ([asked(topic=["t"])], r"topic: found \['t'\], expected a text"),
    "a number as cluster": ([asked(cluster=1.5)], r"cluster: found 1.5, expected a text"),
    "ratings as a list": ([asked(ratings=[1, 2])], r"ratings: found \[1, 2\], expected an object"),
    "too few ratings": ([asked(ratings={"ann": (1,)})], r"ratings\['ann'\]: found \(1,\), expected a list of 2"),
    "NaN ratings": ([asked(ratings={"ann": (1, np.nan)})], r"ratings\['ann'\]: found nan, expected a finite"),
    "huge ratings": ([asked(ratings={"ann": (1, 10**400)})], r"ratings\['ann'\]: found 1000"),
    "a nameless annotator": ([asked(ratings={7: (1, 2)})], r"ratings: found 7, expected annotators"),
    "a row": ([{"question": "why?"}], r"questions\[0\]: question: found \{'question'.*expected a Question"),
    "a file's name": ("beer.jsonl", r"beer.jsonl.* expected a "),
    "a path": (Path("beer.jsonl"), r"beer.jsonl.* expected a "),
    "splits": ({"python": [asked()]}, r"expected a list of Question, as load_questions"),
    "one question": (asked(), r"expected a list of Question, as load_questions"),
    "None": (None, r"found None, expected a list of Question, as load_questions"),
    "nothing": ([], "no questions"),
    "equal votes everywhere": ([voted(2, 2.0), asked(id="r", answers=(Answer("a", 1),) * 2)], "nothing to rank"),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(BAD))
@pytest.mark.parametrize("user", [check_questions, HumanRankEvalCallback, lambda q: HumanRankEvaluator(q, tokenizer())])
def test_questions_of_code_are_refused_where_they_are_handed_in(name, user):
    given, message = BAD[name]
    with pytest.raises(ValueError, match=message) as raised:
        user(given)
    assert len(str(raised.value)) < 300 and "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "vote", [np.int64(3), np.float32(3), np.uint8(3), 3.0, "3", " +3 ", Decimal("3.0"), Fraction(6, 2)]
)
def test_three_is_three_in_any_type(vote):
    (found,) = check_questions([voted(vote, np.float64(0.5))])
    assert found == voted(3, 0.5)
    assert [type(answer.votes) for answer in found.answers] == [int, float]
    assert fingerprint([voted(vote, np.float32(0.5))]) == fingerprint([voted(3, 0.5)])
    json.dumps([answer.votes for answer in found.answers])


def test_what_people_build_in_code_becomes_plain():
    given = asked(
        id=np.int64(7), question=np.str_("why?"), answers=list(PAIR), topic=None, cluster=4,
        ratings={"bob": [np.float32(2), None], "ann": (None, None)},
    )  # fmt: skip
    (found,) = check_questions(question for question in [given])
    assert found == Question("7", "why?", PAIR, "all", "4", {"bob": (2.0, None)})
    assert type(found.id) is type(found.question) is str and hash(found)


def test_file_and_code_give_the_same_questions(tmp_path):
    row = {
        "id": "a",
        "question": "why?",
        "topic": "t",
        "answers": [{"text": "x", "votes": "4"}, {"text": "y", "votes": 0.25}],
    }
    (tmp_path / "q.jsonl").write_text(json.dumps(row))
    (loaded,) = load_questions(tmp_path / "q.jsonl")
    (built,) = check_questions([Question("a", "why?", (Answer("x", "4"), Answer("y", np.float64(0.25))), "t")])
    assert loaded == built and fingerprint([loaded]) == fingerprint([built])


def test_the_fingerprint_of_what_is_no_question_is_refused():
    for bad in (BAD["equal ids"], BAD["NaN votes"], BAD["a row"]):
        with pytest.raises(ValueError, match=bad[1]):
            fingerprint(bad[0])


def test_equal_ids_are_never_scored_as_each_other():
    other = asked(question="what is heavy?", answers=(Answer("a stone", 0), Answer("sand", 7)))
    with pytest.raises(ValueError, match="unique id"):
        HumanRankEvaluator([asked(), other], tokenizer())


def test_a_run_on_mean_ratings_says_that_it_has_no_ceiling(tmp_path, caplog):
    rated = [replace(q, answers=tuple(replace(a, votes=a.votes / 3) for a in q.answers)) for q in questions()]
    with caplog.at_level(logging.WARNING, "hre_callback"):
        sft_trainer(tmp_path, [HumanRankEvalCallback(rated, HREConfig())], max_steps=1).train()
    record = read_record(tmp_path)
    assert record.run.human_ceiling is None and "No human ceiling" in caplog.text
    assert record.run.questions[0].votes == [answer.votes for answer in rated[0].answers]
    assert record.evaluations[-1].metrics["hre/score"] is not None
    columns, rows = most_moved(record)
    votes = rows[0][columns.index("votes")].split(", ")
    assert len(votes) == 4 and max(map(len, votes)) <= 7


# Files ---------------------------------------------------------------------------------------------------------------

ROW = '{"question": "why?", "answers": [{"text": "a", "votes": %s}, {"text": "b", "votes": 0}]}'
LINES = {
    "1e300": (ROW % "1e300", r"line 2: answers\[0\]\.votes: found 1e\+300"),
    "400 digits": (ROW % ("9" * 400), r"line 2: answers\[0\]\.votes: found 9999"),
    "5000 digits": (ROW % ("9" * 5000), "line 2: expected a JSON object"),
    "2**63": (ROW % 2**63, r"line 2: answers\[0\]\.votes: found 9223372036854775808"),
    "1e400": (ROW % "1e400", r"line 2: answers\[0\]\.votes: found inf"),
    "a key twice": (ROW % '1, "votes": 2', "line 2: .*found the key 'votes' twice"),
    "a key twice at the top": (ROW[:-1] % 1 + ', "question": "how?"}', "line 2: .*found the key 'question' twice"),
    "a deep array": ("[" * 100_000, "line 2: expected a JSON object"),
    "a deep array in a row": ('{"question": ' + "[" * 100_000, "line 2: expected a JSON object"),
    "deep and whole": ('{"question": ' + "[" * 900 + "]" * 900 + ', "answers": []}', "line 2: "),
    "huge ratings": ((ROW[:-1] + ', "ratings": {"ann": [%s, 1]}}') % (1, "9" * 400), r"line 2: ratings\['ann'\]"),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(LINES))
def test_a_bad_line_is_named_by_file_and_number(tmp_path, name):
    line, message = LINES[name]
    (tmp_path / "q.jsonl").write_text(f"{ROW % 3}\n{line}\n")
    with pytest.raises(ValueError, match=message) as raised:
        load_questions(tmp_path / "q.jsonl")
    assert str(raised.value).startswith(str(tmp_path / "q.jsonl")) and len(str(raised.value)) < 400


def test_a_file_without_anything_to_rank_is_refused(tmp_path):
    (tmp_path / "q.jsonl").write_text(f"{ROW % 0}\n{ROW % 0.0}\n")
    with pytest.raises(ValueError, match=r"q\.jsonl: all votes are equal .*nothing to rank"):
        load_questions(tmp_path / "q.jsonl")


@pytest.mark.parametrize("source", ["", "  ", None, 7, ["q.jsonl"]])
def test_a_source_that_is_none_is_named(source):
    with pytest.raises(ValueError, match=r"source: found .*expected a \.jsonl or \.parquet file"):
        load_questions(source)


def parquet(path, **columns):
    pq.write_table(pa.table(columns), path, compression="none", use_dictionary=False)


ANSWERS = [[{"text": "a", "votes": 1}, {"text": "b", "votes": 0}]]


def test_damaged_parquet_pages_are_named_by_file(tmp_path):
    path = tmp_path / "q.parquet"
    parquet(path, question=["why?" * 50] * 50, answers=ANSWERS * 50)
    data = bytearray(path.read_bytes())
    data[4:60] = b"\xff" * 56
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"q\.parquet: expected a parquet file, found "):
        load_questions(path)


def test_parquet_text_that_is_not_utf8_is_named_by_file(tmp_path):
    path = tmp_path / "q.parquet"
    parquet(path, question=["caf\u00e9 why?"], answers=ANSWERS)
    path.write_bytes(path.read_bytes().replace("\u00e9".encode(), b"\xff\xff"))
    with pytest.raises(ValueError, match=r"q\.parquet: expected a parquet file, found .*utf-8"):
        load_questions(path)


def test_a_parquet_column_that_stands_twice_is_named(tmp_path):
    table = pa.Table.from_arrays(
        [pa.array(["why?"]), pa.array(["how?"]), pa.array(ANSWERS)], names=["question", "question", "answers"]
    )
    pq.write_table(table, tmp_path / "q.parquet")
    with pytest.raises(ValueError, match=r"q\.parquet: expected every column once, found 'question' twice"):
        load_questions(tmp_path / "q.parquet")


def test_a_folder_whose_text_is_not_utf8_is_named(tmp_path):
    parquet(tmp_path / "train.parquet", question=["caf\u00e9 why?"], answers=ANSWERS)
    file = tmp_path / "train.parquet"
    file.write_bytes(file.read_bytes().replace("\u00e9".encode(), b"\xff\xff"))
    with pytest.raises(ValueError, match=f"^{tmp_path}.*expected .*found"):
        load_questions(tmp_path)
