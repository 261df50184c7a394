"""`hre rate` from questions to questions with ratings, and what it says of them."""

from __future__ import annotations

import json

import pytest

from hre_callback import fingerprint, load_questions
from hre_callback.data.questions import question_lines

from .rated import save, saved
from .test_cli import hre

ASKED = load_questions("bundled", max_questions=12)
UP, DOWN = [1, 2, 3, 4], [4, 3, 2, 1]


@pytest.fixture
def questions(tmp_path):
    (tmp_path / "q.jsonl").write_bytes(b"".join(question_lines(ASKED)))
    return tmp_path / "q.jsonl"


def test_a_page_of_a_subset(questions, tmp_path, capsys):
    page = tmp_path / "new" / "page.html"
    out, _ = hre("rate", questions, "--out", page, "--max-questions", 5, "--seed", 3, "--json", capsys=capsys)
    assert json.loads(out) == {"page": str(page), "questions": 5, "fingerprint": fingerprint(ASKED)}
    assert "Rank answers · 5 questions" in page.read_text()
    before = page.read_bytes()
    hre("rate", questions, "--out", page, "--max-questions", 5, "--seed", 3, capsys=capsys)
    assert page.read_bytes() == before


def test_two_people_become_ratings_and_a_human_hre(questions, tmp_path, capsys):
    for name in ("Anna", "Bo"):
        save(
            tmp_path / "saved",
            f"{name}.json",
            saved(ASKED, name, {one.id: UP for one in ASKED[:8]} | {ASKED[8].id: None}),
        )
    rated = tmp_path / "rated.jsonl"
    words = ["rate", "--collect", tmp_path / "saved", "--questions", questions, "--out", rated]
    out, _ = hre(*words, capsys=capsys)
    assert (
        "Anna: 8 ranked, 1 skipped" in out
        and "each of 2 people against the others: 1.000 (95 % 1.000 to 1.000), 8 questions" in out
    )
    joined = load_questions(rated)
    assert fingerprint(joined) == fingerprint(ASKED)
    assert [one.ratings for one in joined[:8]] == [{"Anna": (3, 2, 1, 0), "Bo": (3, 2, 1, 0)}] * 8
    assert all(one.ratings is None for one in joined[8:])
    out, _ = hre(*words, "--json", capsys=capsys)
    assert json.loads(out)["human_hre"] == {"estimate": 1.0, "low": 1.0, "high": 1.0, "n": 8, "people": 2}


def test_columns_of_ones_own_are_read_as_hre_score_reads_them(tmp_path, capsys):
    rows = [{"prompt": f"why {at}?", "responses": ["a", "b"], "scores": [1, 0.5]} for at in range(3)]
    (tmp_path / "own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    options = ["--columns", "question=prompt,answers=responses,votes=scores"]
    hre("rate", tmp_path / "own.jsonl", *options, "--out", tmp_path / "p.html", capsys=capsys)
    own = load_questions(
        tmp_path / "own.jsonl", columns={"question": "prompt", "answers": "responses", "votes": "scores"}
    )
    save(tmp_path / "saved", "a.json", saved(own, "Anna", {own[0].id: [2, 1]}))
    words = ["rate", tmp_path / "own.jsonl", *options, "--collect", tmp_path / "saved", "--out", tmp_path / "r.jsonl"]
    hre(*words, capsys=capsys)
    assert load_questions(tmp_path / "r.jsonl")[0].ratings == {"Anna": (0, 1)}
    assert fingerprint(load_questions(tmp_path / "r.jsonl")) == fingerprint(own)


def test_a_later_person_joins_what_is_there(questions, tmp_path, capsys):
    save(tmp_path / "first", "a.json", saved(ASKED, "Anna", {ASKED[0].id: UP}))
    save(tmp_path / "second", "b.json", saved(ASKED, "Bo", {ASKED[0].id: DOWN}))
    out, _ = hre("rate", questions, "--collect", tmp_path / "first", "--out", tmp_path / "r1.jsonl", capsys=capsys)
    assert "No question was ranked apart by two people" in out
    words = ["rate", tmp_path / "r1.jsonl", "--collect", tmp_path / "second", "--out", tmp_path / "r2.jsonl", "--json"]
    out, _ = hre(*words, capsys=capsys)
    assert json.loads(out)["human_hre"] == {"estimate": -1.0, "low": None, "high": None, "n": 1, "people": 2}
    assert set(load_questions(tmp_path / "r2.jsonl")[0].ratings) == {"Anna", "Bo"}
    _, err = hre(*words[:3], tmp_path / "first", *words[4:], capsys=capsys, code=2)
    assert "'Anna' rates in question" in err
