"""Preference pairs held out: nothing of them is left for training, whatever form the rows have, and nothing is lost unsaid."""

from __future__ import annotations

import datetime
import json
import random
import time
import unicodedata
from collections import Counter

import datasets
import pytest

from hre_callback import load_questions, split_preferences
from hre_callback.data.contamination import find_overlap
from hre_callback.data.messages import texts_of
from hre_callback.data.sameness import grams, normal
from hre_callback.data.training_data import texts

from ..test_cli import hre
from .test_adapters import assistant, user

WORDS = [f"w{i}" for i in range(2000)]


def text(rng, words=30):
    return " ".join(rng.choices(WORDS, k=words))


def pair(rng, **more):
    return {"prompt": text(rng) + "?", "chosen": text(rng), "rejected": text(rng), **more}


def pairs(n, seed=0, **more):
    rng = random.Random(seed)
    return [pair(rng, **more) for _ in range(n)]


def all_texts(question):
    return [*texts_of(question.question), *(answer.text for answer in question.answers)]


def leaks(found):
    """Held-out texts that a training row holds, or half of whose 8-grams it holds."""
    held = [one for question in found.held_out for one in all_texts(question)]
    trained = [one for row in found.train for one in texts(dict(row), None)]
    names, known = {normal(one) for one in trained}, [set(grams(one)) for one in trained]
    exact = [one for one in held if normal(one) in names]
    near = [
        one
        for one in held
        if any((g := set(grams(one))) and len(g & k) >= 0.5 * min(len(g), len(k)) for k in known if k)
    ]
    return exact + near


def test_rows_are_held_out_or_trained_on_or_counted():
    rows = pairs(200)
    found = split_preferences(rows, hold_out=40)
    assert len(found.held_out) == 40 and len(found.train) == 160 and found.shared == found.common == 0
    assert [rows[number] for number in found.numbers] == list(found.train), "as they were given, in their order"
    prompts = {question.question for question in found.held_out}
    assert prompts.isdisjoint({row["prompt"] for row in found.train}) and not leaks(found)
    by_prompt = {row["prompt"]: row for row in rows}
    for question in found.held_out:
        assert {answer.text: answer.votes for answer in question.answers} == {
            by_prompt[question.question]["chosen"]: 1, by_prompt[question.question]["rejected"]: 0,
        }  # fmt: skip
    assert datasets.Dataset.from_list(rows).select(found.numbers).to_list() == list(found.train)


def test_what_shares_a_prompt_an_answer_or_half_of_one_is_in_neither():
    rng, rows = random.Random(1), pairs(100)
    for row in pairs(100, seed=2):
        other = rng.choice(rows[:100])
        kind = rng.randrange(5)
        words = other["chosen"].split()
        changed = [
            {"prompt": other["prompt"].upper() + "!!", **{k: row[k] for k in ("chosen", "rejected")}},
            {**row, "rejected": other["chosen"]},
            {**row, "chosen": " ".join(words[:20] + row["chosen"].split())},
            {**row, "prompt": other["rejected"]},
            row,
        ]
        rows.append(changed[kind])
    found = split_preferences(rows, hold_out=50)
    assert not leaks(found) and found.shared > 10
    assert len(found.held_out) + len(found.train) + found.shared == 200
    trained = datasets.Dataset.from_list([dict(row) for row in found.train])
    assert find_overlap(trained, found.held_out, None).ids == (), "what the guard of a run would say"


def test_the_draw_is_seeded_and_hangs_on_the_prompts_alone():
    rows = pairs(120)
    first = {q.question for q in split_preferences(rows, hold_out=30, seed=3).held_out}
    assert first == {q.question for q in split_preferences(rows[::-1], hold_out=30, seed=3).held_out}
    assert first != {q.question for q in split_preferences(rows, hold_out=30, seed=4).held_out}
    assert first <= {q.question for q in split_preferences(rows, hold_out=60, seed=3).held_out}


def test_topics_are_held_out_in_proportion():
    rows = [*pairs(60, 1, topic="beer"), *pairs(30, 2, topic="wine"), *pairs(10, 3)]
    found = split_preferences(rows, hold_out=20)
    assert Counter(question.topic for question in found.held_out) == {"beer": 12, "wine": 6, "all": 2}
    by_source = [{**{k: v for k, v in row.items() if k != "topic"}, "source": row.get("topic", "x")} for row in rows]
    found = split_preferences(by_source, hold_out=20, columns={"topic": "source"})
    assert Counter(question.topic for question in found.held_out) == {"beer": 12, "wine": 6, "x": 2}


def test_all_pairs_of_a_prompt_stay_on_one_side_and_are_one_cluster():
    rng = random.Random(0)
    rows = [{**pair(rng), "prompt": f"prompt {i // 4} {'x ' * 9}{i // 4}"} for i in range(120)]
    found = split_preferences(rows, hold_out=22)
    assert len(found.held_out) == 20 and len(found.train) == 100 and found.shared == 0
    assert set(Counter(question.cluster for question in found.held_out).values()) == {4}


def test_templates_and_answers_that_stand_everywhere_are_nobody_s():
    rng = random.Random(0)
    template = (
        "You are a careful judge of many things. Read what follows and say what you think of it in one sentence: "
    )
    rows = [
        {"prompt": template + text(rng), "chosen": rng.choice(["Yes.", "No."]), "rejected": text(rng)}
        for _ in range(200)
    ]
    found = split_preferences(rows, hold_out=40)
    assert len(found.train) == 160 and found.shared == 0 and found.common == 2


def test_conversations_are_split_and_system_messages_are_not_shared_texts():
    rng = random.Random(0)
    system = {"role": "system", "content": "You are a helpful assistant that answers briefly and to the point, always."}
    rows = []
    for i in range(60):
        before = [system, user(text(rng)), assistant(text(rng)), user(text(rng))]
        chosen, rejected = assistant(text(rng)), assistant(text(rng))
        rows.append(
            {"prompt": before, "chosen": [chosen], "rejected": [rejected]}
            if i % 2
            else {"prompt": None, "chosen": [*before, chosen], "rejected": [*before, rejected]}
        )
        # The next turn of the same talk: its prompt holds the first one's answer.
        rows.append(
            {
                "prompt": [*before, chosen, user(text(rng))],
                "chosen": [assistant(text(rng))],
                "rejected": [assistant(text(rng))],
            }
        )
    found = split_preferences(rows, hold_out=20)
    assert len(found.held_out) == 20 and found.shared >= 10
    trained = {
        normal(m["content"])
        for row in found.train
        for side in ("prompt", "chosen")
        for m in row[side] or []
        if m["role"] != "system"
    }
    held = {normal(t) for q in found.held_out for t in all_texts(q)} - {normal(system["content"])}
    assert trained.isdisjoint(held)


def test_rows_without_a_question_are_counted_and_train_if_they_share_nothing():
    rows = pairs(30)
    rows += [
        {**rows[i], "prompt": f"other {i} {text(random.Random(i))}", "rejected": rows[i]["chosen"]} for i in range(3)
    ]
    rows += [{"prompt": text(random.Random(99)), "chosen": "same", "rejected": "same"}]
    found = split_preferences(rows, hold_out=10)
    assert found.no_question.counts == {"questions with answers of the same text": 4}
    assert rows[-1] in found.train and not leaks(found)


WRONG = {
    "none": (pairs(3), {"hold_out": 0}, "hold_out: found 0, expected an integer >= 1"),
    "a word": (pairs(3), {"hold_out": "1"}, "hold_out: found '1'"),
    "a bool": (pairs(3), {"hold_out": True}, "hold_out: found True"),
    "a seed": (pairs(3), {"hold_out": 1, "seed": 0.5}, "seed: found 0.5, expected an integer"),
    "too many": (pairs(3), {"hold_out": 3}, "found 3 of 3 pairs that could be held out, expected fewer"),
    "a file's name": ("p.jsonl", {"hold_out": 1}, "rows: found 'p.jsonl', expected preference rows, such as a datasets.Dataset"),
    "None": (None, {"hold_out": 1}, "rows: found None"),
    "empty": ([], {"hold_out": 3}, "found 3 of 0 pairs"),
    "no pairs": ([{"text": "a"}], {"hold_out": 1}, "row 0: found the columns text, expected prompt, chosen and rejected"),
    "no row": ([7], {"hold_out": 1}, "row 0: found 7, expected an object"),
    "a row without": ([*pairs(3), {"prompt": "a"}], {"hold_out": 1}, "row 3: no column 'chosen'"),
    "columns": (pairs(3), {"hold_out": 1, "columns": {"win": "chosen"}}, "columns: found"),
    "one prompt": ([{**p, "prompt": "one prompt"} for p in pairs(9)], {"hold_out": 3}, "every prompt with its pairs is too much for that .*the fewest of a prompt are 9"),
    "nothing left": ([{**p, "chosen": "an answer"} for p in pairs(9)], {"hold_out": 3}, "nothing is left to train on: of 9 rows 3 are held out and all others share a text"),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(WRONG))
def test_what_cannot_be_split_is_said_in_one_sentence(name):
    rows, options, message = WRONG[name]
    with pytest.raises(ValueError, match=message) as raised:
        split_preferences(rows, **options)
    assert "\n" not in str(raised.value)


def test_fast():
    rows = pairs(5000)
    start = time.process_time()
    found = split_preferences(rows, hold_out=500)
    assert len(found.held_out) == 500
    # Of this process alone, whatever else the machine does; measured: 1 s.
    assert time.process_time() - start < 15


# The command ----------------------------------------------------------------------------------------------------------


def lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_the_command_writes_both_files_and_says_the_counts(tmp_path, capsys):
    rows = pairs(50)
    rows.append({**rows[0], "chosen": rows[0]["chosen"] + " indeed", "rejected": "no"})
    file = lines(tmp_path / "p.jsonl", rows)
    common = ("split", file, "--hold-out", 20, "--out", tmp_path / "held.jsonl", "--train")
    out, _ = hre(*common, tmp_path / "train.jsonl", capsys=capsys)
    held = load_questions(tmp_path / "held.jsonl")
    trained = [json.loads(line) for line in (tmp_path / "train.jsonl").read_text().splitlines()]
    assert f"{len(held)} of 20 pairs held out" in out and f"{len(trained)} rows to train on" in out
    assert set(split_preferences(rows, hold_out=20).held_out) == set(held)
    assert {row["prompt"] for row in trained}.isdisjoint({question.question for question in held})
    out, _ = hre(*common, tmp_path / "train.parquet", "--json", capsys=capsys)
    told = json.loads(out)
    assert told["held_out"] + told["train"] + told["shared"] == 51
    assert (
        datasets.Dataset.from_parquet(str(tmp_path / "train.parquet"), cache_dir=str(tmp_path / "cache")).to_list()
        == trained
    )


def test_parquet_and_own_columns_in(tmp_path, capsys):
    rows = [
        {"q": row["prompt"], "win": [assistant(row["chosen"])], "lose": [assistant(row["rejected"])]}
        for row in pairs(20)
    ]
    datasets.Dataset.from_list(rows).to_parquet(tmp_path / "p.parquet")
    hre(
        "split", tmp_path / "p.parquet", "--hold-out", 5, "--columns", "question=q,chosen=win,rejected=lose",
        "--out", tmp_path / "held.jsonl", "--train", tmp_path / "train.jsonl", "-q", capsys=capsys,
    )  # fmt: skip
    assert len(load_questions(tmp_path / "held.jsonl")) == 5
    assert set(json.loads((tmp_path / "train.jsonl").read_text().splitlines()[0])) == {"q", "win", "lose"}


REFUSED = {
    "the input": (("--out", "p.jsonl", "--train", "t.jsonl"), "which this command reads"),
    "the input again": (("--out", "h.jsonl", "--train", "p.jsonl"), "which this command reads"),
    "one file": (("--out", "h.jsonl", "--train", "h.jsonl"), "are one file"),
    "a suffix": (("--out", "h.parquet", "--train", "t.jsonl"), "expected .jsonl for the held-out questions"),
    "another": (("--out", "h.jsonl", "--train", "t.csv"), "expected .jsonl or .parquet"),
    "too many": (("--out", "h.jsonl", "--train", "t.jsonl", "--hold-out", "50"), "pairs that could be held out"),
    "no such column": (("--out", "h.jsonl", "--train", "t.jsonl", "--columns", "question=q"), "prompt"),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_a_command_that_fails_leaves_nothing(name, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    args, message = REFUSED[name]
    before = lines(tmp_path / "p.jsonl", pairs(20)).read_bytes()
    _, err = hre("split", "p.jsonl", "--hold-out", "5", *args, capsys=capsys, code=2)
    assert message in err and err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["p.jsonl"] and (tmp_path / "p.jsonl").read_bytes() == before


def test_what_json_cannot_hold_is_said_and_parquet_can(tmp_path, capsys):
    rows = [{**row, "made": datetime.datetime(2026, 1, 1)} for row in pairs(10)]
    datasets.Dataset.from_list(rows).to_parquet(tmp_path / "p.parquet")
    common = ("split", tmp_path / "p.parquet", "--hold-out", 2, "--out", tmp_path / "h.jsonl", "--train")
    _, err = hre(*common, tmp_path / "t.jsonl", capsys=capsys, code=2)
    assert "JSON cannot hold the rows" in err and not (tmp_path / "h.jsonl").exists()
    hre(*common, tmp_path / "t.parquet", capsys=capsys)
    assert (tmp_path / "t.parquet").exists()


ENCODED = {
    "decomposed": lambda text: unicodedata.normalize("NFD", text),
    "of full width": lambda text: "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text),
    "with soft hyphens": lambda text: text.replace("a", "a\u00ad"),
    "with joiners and marks": lambda text: "\ufeff" + text.replace("e", "e\u200b\u200d"),
    "in capitals": str.upper,
}


@pytest.mark.parametrize("how", ENCODED)
def test_the_same_letters_in_another_encoding_are_the_same_text(how):
    """A copy from a page or a PDF: once a held-out answer was trained on, spelled with other code points."""
    rows = [
        {**row, "chosen": f"Crème brûlée à la carte, naïve Straße {i}: {row['chosen']}"}
        for i, row in enumerate(pairs(20))
    ]
    again = [{**pair(random.Random(i + 99)), "chosen": ENCODED[how](row["chosen"])} for i, row in enumerate(rows)]
    for row, other in zip(rows, again, strict=True):
        assert row["chosen"] != other["chosen"] and normal(row["chosen"]) == normal(other["chosen"])
        assert list(grams(row["chosen"])) == list(grams(other["chosen"]))
    copies = [{**other, "chosen": row["chosen"]} for row, other in zip(rows, again, strict=True)]
    found, exact = (split_preferences([*rows, *more], hold_out=10) for more in (again, copies))
    # Four that are held out are two and their copies.
    assert found.shared == exact.shared == 6 and len(found.train) == len(exact.train) == 24
