"""A question that is a conversation: what is accepted, what becomes plain, how the paper's prompt spells it."""

from __future__ import annotations

import json
import logging
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hre_callback import Answer, HREConfig, Question, fingerprint, load_questions, read_record
from hre_callback.callback import HumanRankEvalCallback
from hre_callback.data.checks import check_questions
from hre_callback.data.contamination import find_overlap
from hre_callback.data.messages import excerpt, paper_context, texts_of
from hre_callback.data.questions import stratified_subset
from hre_callback.run.about import describe_questions

from ..trainers import questions, sft_trainer

PAIR = (Answer("because", 3), Answer("no idea", 0.25))
SYSTEM = {"role": "system", "content": "Be brief."}
FIRST = {"role": "user", "content": "Why is beer bitter?"}
REPLY = {"role": "assistant", "content": "Hops."}
SECOND = {"role": "user", "content": "Which ones?"}
TALK = [SYSTEM, FIRST, REPLY, SECOND]
CALL = {
    "role": "assistant",
    "content": None,
    "tool_calls": [{"type": "function", "function": {"name": "f", "arguments": {"b": 1, "a": "x"}}}],
}
TOOL = {"role": "tool", "content": "42", "name": "f"}


def asked(question, **changes):
    return replace(Question("q", question, PAIR, "t"), **changes)


def checked(question):
    return check_questions([asked(question)])[0]


def test_the_paper_s_prompt_of_one_text_is_the_published_one():
    assert paper_context("why?") == "Question: why?\nAnswer:"


def test_a_conversation_is_spelled_after_the_paper_s_prompt():
    assert paper_context(checked(TALK).question) == (
        "System: Be brief.\n\nQuestion: Why is beer bitter?\nAnswer: Hops.\n\nQuestion: Which ones?\nAnswer:"
    )


def test_tools_and_their_calls_are_spelled_too():
    spelled = paper_context(checked([FIRST, CALL, TOOL]).question)
    call = '[{"function": {"arguments": {"a": "x", "b": 1}, "name": "f"}, "type": "function"}]'
    assert spelled == f"Question: Why is beer bitter?\nAnswer: {call}\n\nTool: 42\nAnswer:"


def test_one_message_of_a_user_is_its_text():
    for given in ([FIRST], (FIRST,), [{"content": [{"type": "text", "text": FIRST["content"]}], "role": "user"}]):
        assert checked(given) == checked(FIRST["content"])
        assert fingerprint([asked(given)]) == fingerprint([asked(FIRST["content"])])
    assert isinstance(checked([{**FIRST, "name": "ann"}]).question, tuple), "more than a text stays a message"


def test_messages_become_plain_and_keep_what_they_carry():
    given = [
        SYSTEM,
        FIRST,
        {**CALL, "audio": None},
        {"name": np.str_("f"), "content": "42", "role": "tool", "n": np.int64(2)},
    ]
    found = checked(given)
    assert [message["role"] for message in found.question] == ["system", "user", "assistant", "tool"]
    assert found.question[2]["content"] == "" and "audio" not in found.question[2]
    assert list(found.question[3].items()) == [("role", "tool"), ("content", "42"), ("n", 2), ("name", "f")]
    json.dumps(found.question)
    assert hash(found) and check_questions([found])[0] == found


BAD = {
    "nothing": ([], r"question: found \[\], expected messages of which the last one is not the assistant's"),
    "the assistant's word last": ([FIRST, REPLY], "expected messages of which the last one is not the assistant's"),
    "a text in a list": (["why?"], r"question\[0\]: found 'why\?', expected a message: an object with"),
    "no role": ([{"content": "why?"}], r"question\[0\]\.role: found None, expected a text"),
    "no content": ([{"role": "user"}], r"question\[0\]\.content: found None, expected a text, or a list of parts"),
    "an image": ([{"role": "user", "content": [{"type": "image"}]}], r"question\[0\]\.content: found .*parts \{type: text"),
    "only empty texts": ([{"role": "system", "content": ""}, {"role": "user", "content": ""}], "messages of which one has a text"),
    "half a surrogate": ([FIRST, REPLY, {"role": "user", "content": "a \ud800"}], r"question\[2\]\.content: .*valid Unicode"),
    "an object inside": ([{**FIRST, "extra": object()}], r"question\[0\]: found .*expected a message of texts, numbers"),
    "NaN inside": ([{**FIRST, "extra": float("nan")}], "expected a message of texts, numbers"),
    "a key that is no text": ([{**FIRST, "extra": {1: 2}}], "expected a message of texts, numbers"),
    "a mapping": (FIRST, r"question: found \{'role'.* expected a text that is not empty, or a list of messages"),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(BAD))
def test_what_is_no_conversation_is_refused_by_its_place(name):
    given, message = BAD[name]
    with pytest.raises(ValueError, match=message) as raised:
        checked(given)
    assert str(raised.value).startswith("questions[0]: ") and len(str(raised.value)) < 300


def test_files_hold_conversations(tmp_path):
    row = {"question": TALK, "answers": [{"text": "a", "votes": 1.5}, {"text": "b", "votes": -2}], "id": "x"}
    (tmp_path / "q.jsonl").write_text(json.dumps(row) + "\n")
    other = {**row, "question": [FIRST, {**CALL, "content": ""}, TOOL], "id": "y"}
    pq.write_table(pa.Table.from_pylist([row, other]), tmp_path / "q.parquet")
    (from_lines,), (first, second) = load_questions(tmp_path / "q.jsonl"), load_questions(tmp_path / "q.parquet")
    assert first == from_lines and fingerprint([first]) == fingerprint([from_lines])
    assert second.question == checked([FIRST, CALL, TOOL]).question


def test_every_turn_counts_in_the_fingerprint_and_in_subsets():
    prints = {fingerprint([asked(talk)]) for talk in (TALK, TALK[1:], [TALK[0], *TALK[2:]], [SYSTEM, SECOND], [SECOND])}
    assert len(prints) == 5
    many = [asked([FIRST, REPLY, {"role": "user", "content": str(i)}], id=str(i)) for i in range(20)]
    assert len(stratified_subset(many, 5, seed=1)) == 5 != stratified_subset(many, 5, seed=2)


def test_groups_and_judges_change_no_fingerprint_and_are_checked():
    base = asked("why?")
    grouped = replace(base, groups={"language": "de", "country": {"ann": "IT", "bob": None}, "none": {}}, judge="GPT-4")
    assert fingerprint([grouped]) == fingerprint([base])
    (found,) = check_questions([grouped])
    assert found.groups == {"country": {"ann": "IT"}, "language": "de"} and found.judge == "GPT-4" and hash(found)
    for bad, message in (
        (["de"], r"groups: found \['de'\], expected an object such as"),
        ({"language": ["de"]}, r"groups\['language'\]: found \['de'\], expected a text"),
        ({"country": {1: "IT"}}, r"groups\['country'\]: found .* annotators that are named by a text"),
        ({"country": {"ann": 1.5}}, r"groups\['country'\]\['ann'\]: found 1.5"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            check_questions([replace(base, groups=bad)])


def test_a_report_shows_what_is_asked_last():
    (shown,) = describe_questions([checked(TALK)])
    assert shown["question"] == "… Which ones?" and shown["votes"] == [3, 0.25]
    assert excerpt("why?" * 200, 300) == ("why?" * 200)[:300]
    assert texts_of(checked([FIRST, CALL, TOOL]).question) == ["Why is beer bitter?", "42"]


def test_training_conversations_are_looked_through_for_answers():
    import datasets

    told = "one two three four five six seven eight nine ten"
    question = replace(checked(TALK), answers=(Answer(told, 1), Answer("b", 0)))
    rows = datasets.Dataset.from_list([{"messages": [FIRST, {"role": "assistant", "content": f"well: {told}"}]}])
    assert find_overlap(rows, [question], None).ids == ("q",)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_run_scores_conversations(tmp_path):
    talks = [replace(q, question=(SYSTEM, FIRST, REPLY, {"role": "user", "content": q.question})) for q in questions()]
    sft_trainer(tmp_path, [HumanRankEvalCallback(talks, HREConfig())], max_steps=1).train()
    record = read_record(tmp_path)
    assert record.evaluations[-1].metrics["hre/n"] == len(talks)
    assert record.run.questions[0].question.startswith("… ")


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_run_on_a_model_s_judgement_says_so_and_draws_no_ceiling(tmp_path, caplog):
    judged = [replace(q, judge="GPT-4") for q in questions()]
    with caplog.at_level(logging.WARNING, "hre_callback"):
        sft_trainer(tmp_path, [HumanRankEvalCallback(judged, HREConfig())], max_steps=1).train()
    record = read_record(tmp_path)
    assert {question.judge for question in record.run.questions} == {"GPT-4"}
    assert record.run.human_ceiling is None and record.run.human_hre is None
    assert "The votes were given by GPT-4, not by people" in caplog.text
