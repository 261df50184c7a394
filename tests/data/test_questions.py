import json
import math
import random
import time
from collections import Counter
from pathlib import Path

import pytest

from hre_callback.data.questions import (
    SAMPLE_QUESTIONS,
    SAMPLE_TRAIN,
    Answer,
    Question,
    fingerprint,
    load_questions,
    stratified_subset,
)
from hre_callback.data.sources import SAMPLE_DISLIKED
from hre_callback.stats.ceiling import human_ceiling

from .sample_votes import drawn


def row(**changes):
    return {
        "question": "Why?",
        "answers": [{"text": "Because.", "votes": 3}, {"text": "No idea.", "votes": -1}],
    } | changes


def write(path: Path, rows) -> Path:
    path.write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
    return path


def questions_of(sizes: dict[str, int]) -> list[Question]:
    answers = (Answer("a", 1), Answer("b", 0))
    return [Question(f"{topic}:{i}", f"{topic} {i}?", answers, topic) for topic, n in sizes.items() for i in range(n)]


def test_jsonl_with_all_fields(tmp_path):
    full = row(
        id="x:1",
        topic="beer",
        cluster="thread 7",
        ratings={"ann": [5, None], "bob": [4.5, 1]},
        attribution={"by": 1},
    )
    (question,) = load_questions(write(tmp_path / "q.jsonl", [full]))
    assert question == Question(
        id="x:1",
        question="Why?",
        answers=(Answer("Because.", 3), Answer("No idea.", -1)),
        topic="beer",
        cluster="thread 7",
        ratings={"ann": (5.0, None), "bob": (4.5, 1.0)},
    )
    assert hash(question)  # usable as a key in spite of the mapping inside


def test_defaults_use_the_line_number_and_keep_text_as_is(tmp_path):
    path = tmp_path / "q.jsonl"
    lines = [row(question="  a\n"), row(topic="beer"), row(id=9, cluster=4)]
    path.write_text("\ufeff" + "\n\n".join(map(json.dumps, lines)), encoding="utf-8")
    found = load_questions(path)
    assert [q.id for q in found] == ["all:1", "beer:3", "9"]
    assert [q.topic for q in found] == ["all", "beer", "all"]
    assert found[0].question == "  a\n"
    assert found[2].cluster == "4"


@pytest.mark.parametrize(
    ("votes", "expected"),
    [(4, 4), (-2, -2), ("17", 17), ("-3", -3), (" 5 ", 5), ("+5", 5), (12.0, 12), (1.5, 1.5), (-0.0, 0)],
)
def test_votes_accepted(tmp_path, votes, expected):
    (question,) = load_questions(
        write(tmp_path / "q.jsonl", [row(answers=[{"text": "a", "votes": votes}, {"text": "b", "votes": 1}])])
    )
    assert question.answers[0].votes == expected
    assert type(question.answers[0].votes) is type(expected)


@pytest.mark.parametrize("votes", [True, math.nan, math.inf, "many", "1.0", "1_000", "", None, [1], "٣"])
def test_votes_refused(tmp_path, votes):
    path = write(tmp_path / "q.jsonl", [row(), row(answers=[{"text": "a", "votes": 1}, {"text": "b", "votes": votes}])])
    with pytest.raises(ValueError, match=r"q\.jsonl, line 2: answers\[1\]\.votes: found .*, expected a finite number"):
        load_questions(path)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"answers": []}, r"line 1: no field 'question'; found the fields \['answers'\]"),
        ({"question": "Why?"}, r"line 1: no field 'answers'; found the fields \['question'\]"),
        (
            row(answers=[{"text": "a", "votes": 1}]),
            r"line 1: answers: found .*, expected a list of 2 or more",
        ),
        (row(answers="none"), r"line 1: answers: found 'none', expected a list of 2 or more"),
        (
            row(answers=[{"text": "a", "votes": 1}, {"text": "b"}]),
            r"line 1: answers\[1\]: found .*text and votes",
        ),
        (
            row(answers=[{"text": " \n", "votes": 1}, {"text": "b", "votes": 1}]),
            r"answers\[0\]\.text: found ' \\n'",
        ),
        (row(question=""), r"line 1: question: found '', expected a text that is not empty"),
        (row(question=7), r"line 1: question: found 7, expected a text"),
        (row(question="a \ud800"), r"line 1: question: found .*, expected valid Unicode"),
        (row(topic=["beer"]), r"line 1: topic: found \['beer'\], expected a text"),
        (row(id=""), r"line 1: id: found ''"),
        ([row()], r"line 1: row: found \[.*, expected an object with the fields question and answers"),
        (row(ratings=[1, 2]), r"line 1: ratings: found \[1, 2\], expected an object \{annotator"),
        (row(ratings={"ann": [1]}), r"line 1: ratings\['ann'\]: found \[1\], expected a list of 2"),
        (
            row(ratings={"ann": [1, "good"]}),
            r"line 1: ratings\['ann'\]: found 'good', expected a finite number",
        ),
        (row(ratings={"ann": [1, math.nan]}), r"line 1: ratings\['ann'\]: found nan"),
    ],
)
def test_one_clear_message_for_a_bad_row(tmp_path, bad, message):
    with pytest.raises(ValueError, match=message) as raised:
        load_questions(write(tmp_path / "q.jsonl", [bad]))
    assert str(raised.value).startswith(str(tmp_path / "q.jsonl"))
    assert len(str(raised.value)) < 400


def test_duplicate_id_names_both_lines(tmp_path):
    path = write(tmp_path / "q.jsonl", [row(id="a"), row(id="b"), row(id="a")])
    with pytest.raises(ValueError, match=r"line 3: id: found 'a', expected a unique id .*line 1\)"):
        load_questions(path)


def test_an_empty_file_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="found no questions"):
        load_questions(write(tmp_path / "q.jsonl", []))


def test_ratings_on_answers_fold_to_the_question(tmp_path):
    answers = [
        {"text": "a", "votes": 1, "ratings": {"bob": 2, "ann": 5}},
        {"text": "b", "votes": 0, "ratings": {"ann": 1}},
        {"text": "c", "votes": 0},
    ]
    (question,) = load_questions(write(tmp_path / "q.jsonl", [row(answers=answers)]))
    assert question.ratings == {"ann": (5.0, 1.0, None), "bob": (2.0, None, None)}

    both = row(answers=answers, ratings={"ann": [1, 2, 3]})
    with pytest.raises(ValueError, match="ratings either on the question or on its answers, not both"):
        load_questions(write(tmp_path / "both.jsonl", [both]))
    answers[0]["ratings"] = 5
    with pytest.raises(ValueError, match=r"answers\[0\]\.ratings: found 5, expected an object"):
        load_questions(write(tmp_path / "number.jsonl", [row(answers=answers)]))


def test_annotators_without_a_rating_are_dropped(tmp_path):
    rows = [row(ratings={"ann": [None, None], "bob": None})]
    assert load_questions(write(tmp_path / "q.jsonl", rows))[0].ratings is None


def test_topics_filter_and_unknown_topic(tmp_path):
    path = write(tmp_path / "q.jsonl", [row(topic="beer"), row(topic="wine"), row(topic="beer")])
    assert [q.id for q in load_questions(path, topics=["beer"])] == ["beer:1", "beer:3"]
    with pytest.raises(ValueError, match="no such topic 'whisky'; available: beer, wine"):
        load_questions(path, topics=["beer", "whisky"])


@pytest.mark.parametrize("topics", ["beer", []])
def test_topics_must_be_a_list_of_names(topics):
    with pytest.raises(ValueError, match="topics: found .*, expected a list of topic names"):
        load_questions("bundled", topics=topics)


@pytest.mark.parametrize("number", [0, -1, 2.0, True])
def test_max_questions_must_be_positive(number):
    with pytest.raises(ValueError, match="max_questions: found .*, expected an integer >= 1"):
        load_questions("bundled", max_questions=number)


def test_subset_is_proportional_by_largest_remainder():
    questions = questions_of({"a": 50, "b": 30, "c": 20, "d": 3})
    # shares of 10/103: 4.85, 2.91, 1.94, 0.29 -> 4+1, 2+1, 1+1, 0
    assert Counter(q.topic for q in stratified_subset(questions, 10)) == {"a": 5, "b": 3, "c": 2}
    for size in range(1, 104):
        assert len(stratified_subset(questions, size)) == size
    assert stratified_subset(questions, 500) == questions


def test_subset_is_seeded_ordered_and_independent_of_file_order():
    questions = questions_of({"a": 40, "b": 20})
    subset = stratified_subset(questions, 15, seed=3)
    assert subset == sorted(subset, key=questions.index)
    assert subset == stratified_subset(questions, 15, seed=3)
    assert subset != stratified_subset(questions, 15, seed=4)
    shuffled = random.Random(0).sample(questions, len(questions))
    assert set(stratified_subset(shuffled, 15, seed=3)) == set(subset)
    assert set(subset) <= set(stratified_subset(questions, 30, seed=3))


def test_subset_through_load(tmp_path):
    path = write(tmp_path / "q.jsonl", [row(question=f"{i}?", topic="ab"[i % 2]) for i in range(40)])
    subset = load_questions(path, max_questions=10, seed=1)
    assert subset == stratified_subset(load_questions(path), 10, seed=1)
    assert Counter(q.topic for q in subset) == {"a": 5, "b": 5}


def test_fingerprint_ignores_order_and_nothing_a_score_depends_on():
    questions = questions_of({"a": 3})
    base = fingerprint(questions)
    assert len(base) == 16 and int(base, 16) >= 0
    assert fingerprint(questions[::-1]) == base
    q = questions[0]
    changed = [
        Question("other", q.question, q.answers, q.topic),
        Question(q.id, "other", q.answers, q.topic),
        Question(q.id, q.question, q.answers, "other"),
        Question(q.id, q.question, (Answer("a", 2), q.answers[1]), q.topic),
        Question(q.id, q.question, (Answer("A", 1), q.answers[1]), q.topic),
        Question(q.id, q.question, q.answers[::-1], q.topic),
    ]
    prints = {fingerprint([other, *questions[1:]]) for other in changed} | {base, fingerprint(questions[1:])}
    assert len(prints) == 8
    rated = Question(q.id, q.question, q.answers, q.topic, cluster="c", ratings={"ann": (1.0, 2.0)})
    assert fingerprint([rated, *questions[1:]]) == base


def test_fingerprint_is_stable_across_versions():
    assert fingerprint(questions_of({"a": 2, "b": 1})) == "e61ddfd95fbb7f68"
    assert fingerprint(load_questions("bundled")) == "2ba96c65e1fb1fd2"


def test_fast(tmp_path):
    answers = [{"text": "word " * 150, "votes": str(v)} for v in range(5)]
    path = write(
        tmp_path / "q.jsonl",
        (row(question=f"{i} " * 50, answers=answers, topic=f"t{i % 14}") for i in range(7000)),
    )
    start = time.process_time()
    questions = load_questions(path, max_questions=512)
    fingerprint(questions)
    assert len(questions) == 512
    assert time.process_time() - start < 3  # measured: 0.4 s; the margin is for a busy machine


# The bundled sample ------------------------------------------------------------------------------------------------


def test_bundled_questions_are_a_fair_sample():
    questions = load_questions("bundled")
    assert len(questions) >= 36
    assert len({q.topic for q in questions}) >= 4
    assert all(len(q.answers) == 4 and q.id.startswith(f"sample:{q.topic}:") for q in questions)
    texts = [a.text for q in questions for a in q.answers]
    assert len(set(texts)) == len(texts)
    assert all(25 <= len(text) <= 500 for text in texts)
    assert all(len({a.votes for a in q.answers}) > 1 for q in questions)


def test_bundled_votes_are_drawn_around_the_grades_as_their_page_says():
    rows = [json.loads(line) for line in SAMPLE_QUESTIONS.read_text(encoding="utf-8").splitlines()]
    for row in rows:
        grades = [answer["grade"] for answer in row["answers"]]
        assert sorted(grades) == [0, 1, 2, 3]
        assert [answer["votes"] for answer in row["answers"]] == drawn(row["id"], grades)
    votes = [[answer["votes"] for answer in row["answers"]] for row in rows]
    grades = [[answer["grade"] for answer in row["answers"]] for row in rows]
    assert 0.7 < sum(map(pearson, votes, grades)) / len(rows) < 0.9, "people agree with us mostly, not always"
    assert human_ceiling(votes).value < 0.95


def test_bundled_votes_are_carried_by_neither_position_nor_length():
    questions = load_questions("bundled")
    best = Counter(max(range(4), key=lambda i: q.answers[i].votes) for q in questions)
    assert all(count >= len(questions) / 8 for count in (best[i] for i in range(4)))
    correlations = [pearson([a.votes for a in q.answers], [len(a.text) for a in q.answers]) for q in questions]
    # As on real sites, longer answers get somewhat more.
    assert 0 < sum(correlations) / len(correlations) < 0.35
    assert sum(r < 0 for r in correlations) >= len(correlations) / 4


def pearson(x, y):
    dx, dy = ([v - sum(values) / len(values) for v in values] for values in (x, y))
    return sum(a * b for a, b in zip(dx, dy, strict=True)) / math.sqrt(sum(a * a for a in dx) * sum(b * b for b in dy))


def test_bundled_training_rows_share_nothing_with_the_questions():
    rows = [json.loads(line) for line in SAMPLE_TRAIN.read_text(encoding="utf-8").splitlines()]
    assert len(rows) >= 64
    questions = load_questions(SAMPLE_QUESTIONS)
    held_out = {normal(a.text) for q in questions for a in q.answers} | {normal(q.question) for q in questions}
    for r in rows:
        assert set(r) == {"prompt", "completion"}
        assert r["prompt"].startswith("Question: ") and r["prompt"].endswith("\nAnswer:")
        assert r["completion"].startswith(" ") and r["completion"].strip() == r["completion"][1:]
        asked = r["prompt"].removeprefix("Question: ").removesuffix("\nAnswer:")
        assert held_out.isdisjoint({normal(asked), normal(r["completion"])})
    assert len({r["prompt"] for r in rows}) == len({r["completion"] for r in rows}) == len(rows)
    disliked = [json.loads(line) for line in SAMPLE_DISLIKED.read_text(encoding="utf-8").splitlines()]
    assert [r["prompt"] for r in disliked] == [r["prompt"] for r in rows[: len(disliked)]]
    for r in disliked:
        assert set(r) == {"prompt", "completion"} and r["completion"].startswith(" ")
        assert not any(text in normal(r["completion"]) for text in held_out)


def normal(text):
    return " ".join(text.casefold().split())
