"""Each data set's layout, on rows written by hand as its card shows them: what they become, what is left out and said."""

from __future__ import annotations

import json
import logging
import math

import pytest

from hre_callback import Answer, load_questions
from hre_callback.data.adapters.catalogue import LAYOUTS, layout_of
from hre_callback.data.questions import fingerprint


def loaded(tmp_path, rows, name="rows.jsonl", **options):
    path = tmp_path / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return load_questions(path, **options)


def pairs(question):
    return [(answer.text, answer.votes) for answer in question.answers]


def user(text):
    return {"role": "user", "content": text}


def assistant(text):
    return {"role": "assistant", "content": text}


def helpsteer3(overall, scores, **changes):
    individual = [{"score": s, "reasoning": "because", "feedback_1": "a", "feedback_2": "b"} for s in scores]
    return {
        "domain": "stem", "language": "english", "context": [user("why?"), assistant("so"), user("how?")],
        "response1": "one", "response2": "two", "overall_preference": overall, "individual_preference": individual,
    } | changes  # fmt: skip


def test_helpsteer3(tmp_path, caplog):
    rows = [helpsteer3(-3, [-3, -2, 1]), helpsteer3(0, [0]), helpsteer3(1, [1], context="as a text", domain="code")]
    rows.append(helpsteer3(2, [2], context=[user([{"type": "image"}])]))
    first, second = loaded(tmp_path, rows)
    assert first.question == (user("why?"), assistant("so"), user("how?")) and first.topic == "stem"
    assert pairs(first) == [("one", 1.5), ("two", -1.5)]
    assert first.ratings == {"rater 1": (1.5, -1.5), "rater 2": (1.0, -1.0), "rater 3": (-0.5, 0.5)}
    assert first.groups == {"language": "english"} and first.id == "helpsteer3:1"
    assert second.question == "as a text" and second.topic == "code" and pairs(second) == [("one", -0.5), ("two", 0.5)]
    assert "read as helpsteer3: 2 questions, left out: 1 ties: all votes are equal (first: " in caplog.text
    assert "line 2); 1 questions with something else than text" in caplog.text


def test_helpsteer2(tmp_path):
    def row(prompt, response, helpfulness):
        rest = {"correctness": 4, "coherence": 4, "complexity": 2, "verbosity": 1}
        return {"prompt": prompt, "response": response, "helpfulness": helpfulness, **rest}

    turns = "why?<extra_id_1>Assistant\nso\n<extra_id_1>User\nhow?"
    first, second = loaded(tmp_path, [row("p", "a", 4), row("p", "b", 1), row(turns, "c", 0), row(turns, "d", 3)])
    assert first.question == "p" and pairs(first) == [("a", 4), ("b", 1)]
    assert second.question == (user("why?"), assistant("so"), user("how?"))


def choice(who, preferred, *, prompt="what is good?", texts="wxyz", country="IT", **more):
    return {
        "conversation_id": f"c{who}", "annotator_id": who, "assigned_lang": "it", "first_turn_prompt": prompt,
        **{f"first_turn_response_{letter}": text for letter, text in zip("abcd", texts, strict=True)},
        "first_turn_preferred_response": preferred, "annotator_country": country, "annotator_age": None,
        "second_turn_prompt": None, **more,
    }  # fmt: skip


def test_community_alignment(tmp_path, caplog):
    second = {"second_turn_prompt": "more?", "second_turn_preferred_response": "response_b"}
    second |= {f"second_turn_response_{letter}": f"2{letter}" for letter in "abcd"}
    rows = [
        choice(1, "response_a", **second), choice(2, "response_a"), choice(3, "response_b", texts="xwyz", country="FR"),
        choice(4, "response_c"), choice(5, None), choice(6, "response_a", texts="aabb"),
    ]  # fmt: skip
    first, later = loaded(tmp_path, rows)
    assert first.question == "what is good?" and first.topic == "it"
    assert pairs(first) == [("w", 3), ("x", 0), ("y", 1), ("z", 0)], (
        "the same four texts in another order are one question"
    )
    assert first.ratings["3"] == (1, 0, 0, 0) and first.ratings["4"] == (0, 0, 1, 0)
    assert first.groups == {"language": "it", "country": {"1": "IT", "2": "IT", "3": "FR", "4": "IT"}}
    assert later.question == (user("what is good?"), assistant("w"), user("more?")) and later.cluster == first.cluster
    assert pairs(later) == [("2a", 0), ("2b", 1), ("2c", 0), ("2d", 0)]
    assert "1 turns without a choice" in caplog.text and "1 turns with answers of the same text" in caplog.text


def battle(winner, a, b, **changes):
    def parts(talk):
        return [{"role": r, "content": [{"type": "text", "text": t, "image": None, "mimeType": None}]} for r, t in talk]

    tags = {"math_v0.1": {"math": False}, "creative_writing_v0.1": {"creative_writing": True, "score": "yes"}}
    return {
        "id": f"id{winner}", "model_a": "m", "model_b": "n", "winner": winner, "evaluation_session_id": "s1",
        "conversation_a": parts(a), "conversation_b": parts(b), "category_tag": tags, "language": "en", "is_code": False,
        "conv_metadata": {}, "evaluation_order": 1,
    } | changes  # fmt: skip


def test_arena_140k(tmp_path, caplog):
    ask, one, other = ("user", "why?"), ("assistant", "one"), ("assistant", "other")
    longer = [ask, one, ("user", "how?")]
    rows = [
        battle("model_b", [ask, one], [ask, other]),
        battle("tie", [ask, one], [ask, other]),
        battle("both_bad", [ask, one], [ask, other]),
        battle(None, [ask, one], [ask, other]),
        battle("model_a", [*longer, one], [*longer, other], is_code=True, timestamp="2025-06-01 12:00:00.123"),
        battle("model_a", [*longer, one], [ask, other, ("user", "how?"), other], id="parted"),
        battle("model_a", [ask, one], [ask, other], conversation_a=[{"role": "user", "content": [{"type": "image"}]}]),
    ]
    first, second = loaded(tmp_path, rows)
    assert first.question == "why?" and pairs(first) == [("one", 0), ("other", 1)]
    assert (first.id, first.cluster, first.topic) == ("idmodel_b", "s1", "creative_writing")
    assert first.groups == {"language": "en"}
    assert second.question == (user("why?"), assistant("one"), user("how?")) and second.topic == "code"
    assert (first.date, second.date) == (None, "2025-06-01")
    for said in (
        "2 ties",
        "1 comparisons without a winner",
        "1 conversations that part before the last answer",
        "1 conversations with something else",
    ):
        assert said in caplog.text


def message(id_, parent, text, role="assistant", rank=None, lang="de", state="ready_for_export", **more):
    return {
        "message_id": id_, "parent_id": parent, "text": text, "role": role, "lang": lang, "rank": rank,
        "message_tree_id": "t" + lang, "tree_state": state, "deleted": False, **more,
    }  # fmt: skip


TREE = [
    message("r", None, "warum?", "prompter"),
    message("a", "r", "darum", rank=1.0, created_date="2023-02-05T14:23:50.983374+00:00"),
    message("b", "r", "deshalb", rank=0.0, created_date="2023-03-01T01:02:03+00:00"),
    message("c", "r", "x", rank=2, deleted=True),
    message("q", "b", "wieso?", "prompter"),
    message("d", "q", "so", rank=0),
    message("e", "q", "anders", rank=1),
    message("r2", None, "why?", "prompter", lang="en"),
    message("f", "r2", "so", rank=0, lang="en"),
    message("g", "r2", "thus", rank=1, lang="en"),
    message("h", "gone", "?", rank=0),
    message("i", "gone", "!", rank=1),
    message("j", "r", "?", rank=0, state="growing"),
]


def test_oasst(tmp_path, caplog):
    first, second, third = loaded(tmp_path, TREE)
    assert first.question == "warum?" and pairs(first) == [("darum", -1), ("deshalb", 0)]
    assert (first.id, first.topic, first.cluster) == ("r", "de", "tde")
    assert first.date == "2023-03-01" and second.date is None
    assert second.question == (user("warum?"), assistant("deshalb"), user("wieso?"))
    assert third.topic == "en" and third.groups == {"language": "en"}
    assert "1 questions of which a message is missing" in caplog.text and "not ready for export" in caplog.text
    assert [q.id for q in loaded(tmp_path, TREE, adapter="oasst2:en")] == ["r2"]
    with pytest.raises(ValueError, match="no such topic 'fr'; available: de, en"):
        loaded(tmp_path, TREE, adapter="oasst2:fr")
    ring = [message("a", "b", "x", "prompter"), message("b", "a", "y", "prompter"), message("c", "a", "1", rank=0)]
    with pytest.raises(ValueError, match=r"found no questions, .*1 questions of which a message is missing"):
        loaded(tmp_path, ring)


def test_prism(tmp_path, caplog):
    def said(conversation, response, score, turn=0, who="u1"):
        rest = {"within_turn_id": 0, "model_name": "m", "if_chosen": False}
        return {
            "conversation_id": conversation, "user_id": who, "turn": turn, "user_prompt": f"why {conversation}?",
            "model_response": response, "score": score, **rest,
        }  # fmt: skip

    rows = [said("c1", "a", 90), said("c1", "b", 15), said("c2", "c", 5, who="u2"), said("c1", "c", 40)]
    rows += [said("c2", "d", 7, who="u2"), said("c1", "e", 5, turn=1), said("c2", "f", None)]
    first, second = loaded(tmp_path, rows)
    assert first.question == "why c1?" and pairs(first) == [("a", 90), ("b", 15), ("c", 40)]
    assert (first.id, first.cluster, first.ratings) == ("c1", "u1", {"u1": (90, 15, 40)})
    assert (
        second.cluster == "u2"
        and "1 answers of later turns" in caplog.text
        and "1 answers without a score" in caplog.text
    )


def test_shp(tmp_path, caplog):
    def row(post, a, b, domain="askculinary_test"):
        return {
            "post_id": post, "domain": domain, "history": f"how {post}?", "labels": 1, "score_ratio": 2.0,
            "human_ref_A": f"text {a[0]}", "score_A": a[1], "c_root_id_A": a[0],
            "human_ref_B": f"text {b[0]}", "score_B": b[1], "c_root_id_B": b[0],
        }  # fmt: skip

    rows = [row("p", ("x", 9), ("y", 3)), row("q", ("x", 9), ("y", 3)), row("p", ("z", 0), ("x", 9))]
    rows += [row("r", ("k", 5), ("l", -2), "askphysics_test"), row("r", ("m", 1), ("l", -2), "askphysics_test")]
    first, second = loaded(tmp_path, rows)
    assert (first.id, first.topic, first.question) == ("p", "askculinary", "how p?")
    assert pairs(first) == [("text x", math.log1p(9)), ("text y", math.log1p(3)), ("text z", 0)]
    assert dict(pairs(second))["text l"] == pytest.approx(-math.log(3))
    assert "1 posts with fewer than 3 comments" in caplog.text
    dated = [one | {f"created_at_utc_{side}": 1600000000 + 86400 * i for side in "AB"} for i, one in enumerate(rows)]
    assert (first.date, loaded(tmp_path, dated)[0].date) == (None, "2020-09-15")
    assert [q.id for q in loaded(tmp_path, rows, adapter="shp:askphysics")] == ["r"]


def test_stack_exchange_preferences(tmp_path):
    def row(qid, site):
        return {
            "qid": qid, "question": "<p>Why <code>x_y</code>?</p>", "date": "2020/01/01",
            "metadata": [f"https://{site}/questions/{qid}", f"https://{site}"],
            "answers": [
                {"answer_id": 1, "text": "<p>Because.</p>", "pm_score": 5, "selected": True, "author": "a"},
                {"answer_id": 2, "text": "<p>No.</p>", "pm_score": -1, "selected": False, "author": "b"},
            ],
        }  # fmt: skip

    first, second, third = loaded(
        tmp_path, [row(7, "math.stackexchange.com"), row(8, "stackoverflow.com"), row(9, "superuser.com")]
    )
    assert (first.id, first.topic, first.question) == ("math:7", "math", "Why `x_y`?")
    assert (first.date, first.counted) == ("2020-01-01", False)
    assert pairs(first) == [("Because.", 5), ("No.", -1)]
    assert (second.topic, third.topic) == ("stackoverflow", "superuser.com")
    folder = LAYOUTS["stack-exchange-preferences"].folder
    assert [folder(part) for part in ("math", "stackoverflow", "superuser.com")] == [
        "data/math.stackexchange.com", "data/stackoverflow.com", "data/superuser.com"
    ]  # fmt: skip


def test_reward_bench_2(tmp_path):
    row = {
        "id": "7",
        "prompt": "why?",
        "chosen": ["right"],
        "rejected": ["w1", "w2", "w3"],
        "subset": "Math",
        "num_correct": 1,
    }
    (question,) = loaded(tmp_path, [row])
    assert pairs(question) == [("right", 1), ("w1", 0), ("w2", 0), ("w3", 0)]
    assert (question.id, question.topic, question.judge) == ("7", "Math", "verification (RewardBench 2)")


def test_mt_bench_human(tmp_path, caplog):
    def row(a, b, winner, judge="expert_1", turn=1, question=81):
        def talk(model):
            return [user("write"), assistant(f"{model} wrote"), user("again"), assistant("2")]

        return {
            "question_id": question, "model_a": a, "model_b": b, "winner": winner, "judge": judge, "turn": turn,
            "conversation_a": talk(a), "conversation_b": talk(b),
        }  # fmt: skip

    rows = [
        row("x", "y", "model_a"),
        row("y", "z", "tie"),
        row("x", "y", "model_b", "author_2"),
        row("x", "y", "model_a", turn=2),
    ]
    rows += [row("x", "y", "model_a", "gpt4_pair"), row("x", "z", "model_a", "author_2")]
    (question,) = loaded(tmp_path, rows)
    assert question.question == "write" and question.id == "81"
    assert dict(pairs(question)) == {"x wrote": pytest.approx(2 / 3), "y wrote": 0.5, "z wrote": 0.25}
    assert question.ratings == {"expert_1": (1.0, 0.25, 0.5), "author_2": (0.5, 1.0, 0.0)}
    assert "1 comparisons of the second turn" in caplog.text and "1 comparisons by a model" in caplog.text


def test_ultrafeedback_is_a_model_s_judgement(tmp_path):
    completions = [
        {"response": t, "overall_score": s, "model": "m", "annotations": {}}
        for t, s in (("a", 7.5), ("b", 3), ("c", None))
    ]
    (question,) = loaded(
        tmp_path, [{"source": "sharegpt", "instruction": "why?", "models": [], "completions": completions}]
    )
    assert pairs(question) == [("a", 7.5), ("b", 3)] and question.topic == "sharegpt"
    assert question.judge == "GPT-4 (UltraFeedback)"


def test_nectar_is_a_model_s_judgement_by_its_name_and_unnamed_ranks_are_anybody_s(tmp_path):
    row = {
        "prompt": "\n\nHuman: why?\n\nAssistant: ",
        "answers": [{"answer": "a", "rank": 1.0}, {"answer": "b", "rank": 2.0}],
    }
    (named,), (unnamed,) = loaded(tmp_path, [row], adapter="nectar"), loaded(tmp_path, [row])
    assert named.question == unnamed.question == "why?" and pairs(named) == [("a", -1), ("b", -2)]
    assert named.judge == "GPT-4 (Nectar)" and unnamed.judge is None


# Preference rows ------------------------------------------------------------------------------------------------------

TALK = [user("why?"), assistant("so"), user("how?")]
PREFERENCES = {
    "texts": ({"prompt": "why?", "chosen": " good", "rejected": "bad"}, "why?"),
    "hre build's own": ({"prompt": "Question: why\nnow?\nAnswer:", "chosen": " good", "rejected": " bad"}, "why\nnow?"),
    "messages": ({"prompt": TALK, "chosen": [assistant("good")], "rejected": [assistant("bad")]}, tuple(TALK)),
    "implicit": ({"chosen": [*TALK, assistant("good")], "rejected": [*TALK, assistant("bad")]}, tuple(TALK)),
    "one turn": ({"chosen": [user("why?"), assistant("good")], "rejected": [user("why?"), assistant("bad")]}, "why?"),
    "prompt as text": ({"prompt": "why?", "chosen": [assistant("good")], "rejected": [assistant("bad")]}, "why?"),
    "prompt twice": ({"prompt": "why?", "chosen": [user("why?"), assistant("good")], "rejected": [user("why?"), assistant("bad")], "score_chosen": 8.0}, "why?"),
    "messages, texts": ({"prompt": TALK, "chosen": "good", "rejected": "bad"}, tuple(TALK)),
    "hh": ({"chosen": "\n\nHuman: why?\n\nAssistant: so\n\nHuman: how?\n\nAssistant: good", "rejected": "\n\nHuman: why?\n\nAssistant: so\n\nHuman: how?\n\nAssistant: bad"}, tuple(TALK)),
    "sharegpt": ({"chosen": [{"from": "human", "value": "why?"}, {"from": "gpt", "value": "good"}], "rejected": [{"from": "human", "value": "why?"}, {"from": "gpt", "value": "bad"}]}, "why?"),
    "parquet's nulls": ({"chosen": [{**user("why?"), "tool_calls": None}, assistant("good")], "rejected": [user("why?"), {**assistant("bad"), "x": 1}]}, "why?"),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(PREFERENCES))
def test_preference_rows_in_every_form_of_trl(tmp_path, name):
    row, expected = PREFERENCES[name]
    (question,) = loaded(tmp_path, [{**row, "topic": "t"}])
    assert question.question == expected and pairs(question) == [("good", 1), ("bad", 0)] and question.topic == "t"


LEFT = {
    "equal": ({"prompt": "why?", "chosen": "good", "rejected": " good"}, "answers of the same text"),
    "empty": ({"prompt": "why?", "chosen": "good", "rejected": " "}, "an answer without text"),
    "null": ({"prompt": "why?", "chosen": None, "rejected": "bad"}, "pairs without both answers"),
    "no prompt": ({"prompt": " ", "chosen": "good", "rejected": "bad"}, "questions without text"),
    "null prompt": ({"prompt": None, "chosen": "good", "rejected": "bad"}, "questions without text"),
    "parted": ({"chosen": [user("a"), assistant("x")], "rejected": [user("b"), assistant("y")]}, "pairs that part before the last answer"),
    "no answer": ({"chosen": [user("a"), user("x")], "rejected": [user("a"), user("y")]}, "do not end with an answer"),
    "no question": ({"chosen": [assistant("x")], "rejected": [assistant("y")]}, "do not end with an answer to something"),
    "an image": ({"chosen": [user([{"type": "image"}]), assistant("x")], "rejected": [user("b"), assistant("y")]}, "something else than text"),
    "asked by the assistant": ({"prompt": [user("a"), assistant("b")], "chosen": "x", "rejected": "y"}, "nothing is asked last"),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(LEFT))
def test_pairs_that_say_nothing_are_counted_and_said(tmp_path, name, caplog):
    row, reason = LEFT[name]
    good = {"prompt": "why?", "chosen": "good", "rejected": "bad"}
    with caplog.at_level(logging.WARNING, "hre_callback"):
        assert len(loaded(tmp_path, [good, row])) == 1
    assert "left out: 1 " in caplog.text and reason in caplog.text and "line 2" in caplog.text


def test_pairs_of_one_prompt_are_one_cluster_and_ids_come_once(tmp_path):
    rows = [{"prompt": p, "chosen": f"good {i}", "rejected": "bad", "id": "x"} for i, p in enumerate("aab")]
    found = loaded(tmp_path, rows)
    assert [q.id for q in found] == ["x", "x#2", "x#3"]
    assert found[0].cluster == found[1].cluster != found[2].cluster


# One row, several answers; several rows, one answer each ---------------------------------------------------------------


def test_grouped_rows_with_scores_ranks_and_own_columns(tmp_path, caplog):
    row = {"prompt": "why?", "responses": ["a", "b", "c"], "scores": [0.5, None, 2]}
    (scored,) = loaded(tmp_path, [row])
    assert pairs(scored) == [("a", 0.5), ("c", 2)] and "1 answers without a score" in caplog.text
    (ranked,) = loaded(
        tmp_path, [{"instruction": "why?", "completions": [[assistant("a")], [assistant("b")]], "ranks": [2, 1]}]
    )
    assert pairs(ranked) == [("a", -2), ("b", -1)]
    own = {"q": [user("why?")], "texts": ["a", "b"], "s": [1, 2], "scores": [9, 9], "site": "beer"}
    columns = {"question": "q", "answers": "texts", "votes": "s", "topic": "site"}
    (named,) = loaded(tmp_path, [own], columns=columns)
    assert pairs(named) == [("a", 1), ("b", 2)] and named.topic == "beer" and named.question == "why?"
    (turned,) = loaded(tmp_path, [own], columns={"question": "q", "answers": "texts", "ranks": "s"})
    assert pairs(turned) == [("a", -1), ("b", -2)]


def test_rows_of_one_answer_each_come_together(tmp_path):
    rows = [
        {"prompt": p, "completion": f" {p}{i}", "label": label} for p in "xy" for i, label in enumerate([True, False])
    ]
    first, second = loaded(tmp_path, rows[::2] + rows[1::2])
    assert pairs(first) == [("x0", 1), ("x1", 0)] and second.question == "y"
    rows = [{"q": "x", "a": str(i), "points": i / 2} for i in range(3)]
    (question,) = loaded(tmp_path, rows, columns={"question": "q", "answer": "a", "votes": "points"})
    assert pairs(question) == [("0", 0), ("1", 0.5), ("2", 1)]


def test_dates_of_rows_are_kept_and_those_that_are_none_are_said(tmp_path, caplog):
    pair = {"chosen": "a", "rejected": "b"}
    rows = [{"prompt": f"p{i}", **pair, "date": day} for i, day in enumerate(["2024/05/31", 1717200000, "May", None])]
    assert [one.date for one in loaded(tmp_path, rows)] == ["2024-05-31", "2024-06-01", None, None]
    assert "1 dates that are none, of questions that are kept (first: " in caplog.text
    single = [{"prompt": "p", "response": x, "score": i, "date": f"2024-0{i}-01"} for i, x in enumerate("abc", 1)]
    assert loaded(tmp_path, single)[0].date == "2024-03-01", "that of the newest answer"
    assert loaded(tmp_path, [*single[:2], {**single[2], "date": None}])[0].date is None


def test_votes_that_are_counts_are_declared_or_told_by_their_values():
    unknown = {name for name, layout in LAYOUTS.items() if layout.counted is None}
    assert unknown == {"grouped", "single"} and not any(layout.counted for layout in LAYOUTS.values())


def test_own_rows_say_whether_their_votes_are_counts(tmp_path):
    answers = [{"text": "a", "votes": 3}, {"text": "b", "votes": 1}]
    rows = [{"question": "why?", "answers": answers, "counted": True, "date": "2024-05-31T10:00:00Z"}]
    (told,) = loaded(tmp_path, rows)
    assert (told.counted, told.date) == (True, "2024-05-31")
    for field, value in (("counted", "yes"), ("date", "May 2024")):
        with pytest.raises(ValueError, match=f"line 1: {field}: found '{value}', expected "):
            loaded(tmp_path, [{**rows[0], field: value}])
    assert fingerprint([told]) == fingerprint(
        loaded(tmp_path, [{"question": "why?", "answers": answers, "id": "all:1"}])
    )


def test_own_pairs_by_columns(tmp_path):
    (question,) = loaded(
        tmp_path,
        [{"q": "why?", "win": "a", "lose": "b"}],
        columns={"question": "q", "chosen": "win", "rejected": "lose"},
    )
    assert question.answers == (Answer("a", 1), Answer("b", 0))


# Shapes ---------------------------------------------------------------------------------------------------------------

SHAPES = {
    "none": ({"title": "a", "body": ["b"]}, r"found the columns title \(text\), body \(list of text\), expected question, answers \(a list of text and votes\), or those of another layout \(prompt, chosen, rejected; "),
    "two": ({"prompt": "p", "chosen": "a", "rejected": "b", "responses": ["a", "b"], "scores": [1, 2]}, "which fit preferences and grouped; say which with adapter="),
    "own and pairs": ({"question": "p", "answers": [{"text": "a", "votes": 1}, {"text": "b", "votes": 2}], "chosen": "a", "rejected": "b"}, "which fit questions and preferences"),
    "two names": ({"prompt": "p", "question": "q", "responses": ["a", "b"], "scores": [1, 2]}, r"found both the columns 'question' and 'prompt'.*columns="),
    "texts without votes": ({"question": "p", "answers": ["a", "b"]}, r"found the columns question \(text\), answers \(list of text\), expected"),
    "no columns": ({}, "found the columns none, expected"),
    "terminal": ({"\x1b[31m": 1}, r"found the columns \\x1b\[31m \(number\), expected"),
    "numbers": ({"prompt": 1, "chosen": 2, "rejected": 3}, r"prompt \(number\), chosen \(number\), rejected \(number\), expected"),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_a_shape_that_fits_nothing_or_two_is_one_sentence(tmp_path, name):
    row, message = SHAPES[name]
    with pytest.raises(ValueError, match=message) as raised:
        loaded(tmp_path, [row])
    assert str(raised.value).startswith(str(tmp_path / "rows.jsonl")) and "\n" not in str(raised.value)


def test_a_first_row_with_nulls_tells_no_layout_and_the_next_does(tmp_path):
    rows = [{"prompt": "p", "chosen": None, "rejected": None}, {"prompt": "p", "chosen": "a", "rejected": "b"}]
    assert len(loaded(tmp_path, rows)) == 1


def test_two_fits_are_told_apart_by_name(tmp_path):
    (question,) = loaded(tmp_path, [SHAPES["two"][0]], adapter="grouped")
    assert pairs(question) == [("a", 1), ("b", 2)]


BAD = {
    "columns as a list": ({"columns": ["prompt"]}, "columns: found .*expected a map from question, answers"),
    "an unknown name": ({"columns": {"questions": "prompt"}}, "columns: found .*expected a map from question, answers"),
    "no columns": ({"columns": {}}, "columns: found"),
    "a column that is not there": ({"columns": {"question": "q"}}, r"no column 'q' for 'question'; found the columns \['chosen'"),
    "an unknown adapter": ({"adapter": "helpsteer4"}, "adapter: found 'helpsteer4', expected one of preferences, grouped"),
    "both": ({"adapter": "grouped", "columns": {"question": "prompt"}}, "adapter and columns: found both"),
    "the wrong adapter": ({"adapter": "prism"}, r"line 1: no column 'turn'; found the columns"),
    "a split of a file": ({"split": "train"}, "a file has neither configs nor splits"),
    "a config that is none": ({"config": 7}, "config: found 7, expected a name"),
    "topics and a part": ({"adapter": "oasst2:de", "topics": ["en"]}, "topics: found .*beside the part 'de'"),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(BAD))
def test_wrong_options_are_named(tmp_path, name):
    options, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        loaded(tmp_path, [{"prompt": "p", "chosen": "a", "rejected": "b"}], **options)


FAULTS = {
    "preferences": ({"prompt": "p", "chosen": "a", "rejected": "b"}, {"prompt": "p", "chosen": "a"}, "line 2: no column 'rejected'"),
    "kinds": ({"prompt": "p", "chosen": "a", "rejected": "b"}, {"prompt": "p", "chosen": "a", "rejected": [user("b")]}, r"line 2: rejected: found \[.*the same of chosen and rejected"),
    "a row": ({"prompt": "p", "chosen": "a", "rejected": "b"}, 7, "line 2: found 7, expected an object"),
    "no context": (helpsteer3(1, [1]), {"response1": "a"}, "line 2: no column 'context'"),
    "helpsteer3": (helpsteer3(1, [1]), helpsteer3("1", [1]), "line 2: overall_preference: found '1', expected a number"),
    "grouped": ({"prompt": "p", "responses": ["a", "b"], "scores": [1, 2]}, {"prompt": "p", "responses": ["a", "b"], "scores": [1]}, r"line 2: scores: found \[1\], expected a list of 2"),
    "votes": ({"prompt": "p", "responses": ["a", "b"], "scores": [1, 2]}, {"prompt": "p", "responses": ["a", "b"], "scores": [1, "many"]}, r"line 2: answers\[1\].votes: found 'many'"),
    "roles": ({"chosen": [user("a"), assistant("x")], "rejected": [user("a"), assistant("y")]}, {"chosen": [{"content": "x"}], "rejected": [user("a")]}, "line 2: chosen: found .*role and content"),
    "an id": ({"prompt": "p", "chosen": "a", "rejected": "b"}, {"prompt": "p", "chosen": "a", "rejected": "b", "id": [1]}, r"line 2: id: found \[1\]"),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(FAULTS))
def test_a_row_that_breaks_the_layout_is_named_by_line_and_field(tmp_path, name):
    good, bad, message = FAULTS[name]
    with pytest.raises(ValueError, match=message) as raised:
        loaded(tmp_path, [good, bad])
    assert len(str(raised.value)) < 400


def test_no_two_layouts_fit_the_rows_of_one():
    rows = [helpsteer3(1, [1]), choice(1, "response_a"), TREE[1], battle("model_a", [("user", "a")], [("user", "a")])]
    rows += [row for row, _ in PREFERENCES.values()]
    assert all(layout_of(row, "rows") is not None for row in rows)
