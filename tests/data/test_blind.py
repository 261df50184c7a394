"""What the page of a rater holds: everything to judge by, and nothing that tells the votes."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from hre_callback import Answer, Question, fingerprint, load_questions
from hre_callback.data.blind import answer_keys, blind_questions

ASKED = load_questions("bundled")


def question(*texts, votes=(5, 3, 1, 0), **fields):
    answers = tuple(Answer(text, vote) for text, vote in zip(texts, votes, strict=False))
    return Question("q", "why?", answers, **fields)


def test_the_page_holds_every_text_and_no_vote():
    data = blind_questions(ASKED)
    assert data["fingerprint"] == fingerprint(ASKED) and len(data["questions"]) == len(ASKED)
    for shown, asked in zip(data["questions"], ASKED, strict=True):
        assert set(shown) == {"id", "topic", "turns", "answers"}
        assert {answer["text"] for answer in shown["answers"]} == {answer.text for answer in asked.answers}
        assert all(set(answer) == {"key", "text"} for answer in shown["answers"])


def test_other_votes_and_ratings_make_the_same_page_but_for_the_fingerprint():
    """Nothing that is on the page, its order included, depends on what people thought."""
    others = [
        replace(
            one,
            answers=tuple(replace(answer, votes=-3 * answer.votes + at) for at, answer in enumerate(one.answers)),
            ratings={"a": tuple(float(at) for at, _ in enumerate(one.answers))},
        )
        for one in ASKED
    ]
    ones, twos = blind_questions(ASKED), blind_questions(others)
    assert json.dumps(ones["questions"]) == json.dumps(twos["questions"])


def test_the_best_answer_has_no_place_of_its_own():
    """Where files list the best answer first, it is first on the page no more often than chance has it."""
    first = 0
    for number in range(400):
        asked = question(*(f"answer {at} to {number}" for at in range(4)))
        (shown,) = blind_questions([asked])["questions"]
        first += shown["answers"][0]["text"] == asked.answers[0].text
    assert 400 / 4 - 4 * 9 < first < 400 / 4 + 4 * 9


def test_the_same_text_twice_has_two_keys():
    keys = answer_keys(question("a", "b", "a"))
    assert len(set(keys)) == 3 and keys[0][:-1] == keys[2][:-1]


def test_a_subset_is_stratified_and_bears_the_fingerprint_of_all():
    data = blind_questions(ASKED, max_questions=8, seed=3)
    assert len(data["questions"]) == 8 and data["seed"] == 3
    assert data["fingerprint"] == fingerprint(ASKED)
    topics = {one.topic for one in ASKED}
    assert len({one["topic"] for one in data["questions"]}) == min(8, len(topics))
    assert data == blind_questions(ASKED, max_questions=8, seed=3)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\tx = 1\n\n\ty\n", "    x = 1\n\n    y"),
        ("a\u202eb", "a\\u202eb"),
        ("a\x1b[31m", "a\\x1b[31m"),
        ("  two  ", "  two  "),
        ("עברית 😀", "עברית 😀"),
    ],
)
def test_a_text_keeps_its_lines_and_turns_nothing_around(text, shown):
    (page,) = blind_questions([question(text, "b", topic="t")])["questions"]
    assert shown in {answer["text"] for answer in page["answers"]}


def test_a_conversation_is_shown_turn_by_turn_with_its_tool_calls():
    calls = [{"function": {"name": "find", "arguments": {"q": "é"}}}]
    asked = ({"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi\u202e"}, {"role": "assistant", "content": "", "tool_calls": calls}, {"role": "tool", "content": "none"})  # fmt: skip
    (page,) = blind_questions([replace(question("a", "b"), question=asked)])["questions"]
    assert [turn["role"] for turn in page["turns"]] == ["system", "user", "assistant", "tool"]
    assert page["turns"][1]["text"] == "Hi\\u202e" and '"q": "é"' in page["turns"][2]["text"]
    (page,) = blind_questions([question("a", "b")])["questions"]
    assert page["turns"] == [{"role": "", "text": "why?"}]
