from __future__ import annotations

import re

from hre_callback import sections
from hre_callback.record import Record

from .synthetic_records import flat, healthy, mismatch


def record(lines):
    looks = [line for line in lines if line["kind"] == "evaluation"]
    return Record(lines[0], looks, [line for line in lines[1:] if line["kind"] != "evaluation"])


def rows(markup):
    body = re.search(r"<tbody>(.*?)</tbody>", markup, re.DOTALL)[1]
    return [re.sub(r"<svg.*?</svg>", "", row, flags=re.DOTALL) for row in body.strip().split("\n")]


def cells(row):
    return [re.sub(r"<[^>]+>", "", cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row)]


def test_comparison_lists_every_run_and_says_which_are_not_comparable():
    elsewhere = flat(4, n=40)
    elsewhere[0]["fingerprint"] = "0" * 16
    made = sections.comparison(
        record(healthy(4, n=40)), "mine", [("its", record(flat(4, n=40))), ("far", record(elsewhere))]
    )
    assert [cells(row)[0] for row in rows(made)] == ["mine", "its", "far"]
    assert "Not drawn: far." in made
    assert cells(rows(made)[0])[-1] == "Better for people than at the start"
    assert sections.comparison(record(healthy(4, n=40)), "mine", []) == ""


def test_topics_show_n_and_change():
    made = sections.topics(record(healthy(4, n=70)))
    assert len(rows(made)) == 7
    assert cells(rows(made)[0])[:2] == ["english", "10"]
    assert made.count('class="whisker"') == 7
    only_start = sections.topics(record(healthy(4, n=70)[:2]))
    assert "change" not in only_start and len(cells(rows(only_start)[0])) == 3


def test_many_topics_are_cut_and_said_so():
    made = sections.topics(record(healthy(3, n=120, topics=[f"t{i:02d}" for i in range(40)])))
    assert len(rows(made)) == 30 and "The 10 smallest topics are left out." in made


def test_a_topic_without_a_defined_question_stays_visible():
    lines = healthy(3, n=21)
    for look in lines[1:4]:
        look["pearson"] = [None if i % 7 == 0 else r for i, r in enumerate(look["pearson"])]
        look["metrics"]["hre/topic/python"] = None
    made = sections.topics(record(lines))
    assert cells(rows(made)[-1])[:4] == ["python", "0", "–", "–"]
    assert "nan" not in made.lower()


def test_questions_show_then_now_shift_votes_and_ranks():
    made = sections.questions(record(mismatch(6, n=60)))
    assert made.count("<article>") == 10
    assert re.search(r"r −?0\.\d{3} → −?0\.\d{3} \(−\d\.\d{3}\)\. People’s favourite: ranked \d of 4", made)
    assert re.search(r"\d+ votes; the others \d+, \d+, \d+\. Topic: \w+\.", made)
    assert "&lt;b&gt;my&lt;/b&gt; list &amp; tuple" in made and "<b>my" not in made
    assert sections.questions(record(mismatch(6, n=60)[:2])) == ""


def test_trust_has_a_start_only_when_there_is_more():
    assert [cells(row)[0] for row in rows(sections.trust(record(healthy(3, n=40))))][:2] == [
        "questions",
        "undefined",
    ]
    assert ">start</th>" in sections.trust(record(healthy(3, n=40)))
    assert ">start</th>" not in sections.trust(record(healthy(3, n=40)[:2]))


def test_events_with_reasons():
    lines = [*mismatch(4, n=40), {"kind": "skipped", "step": 7, "reason": "RuntimeError: <oom>"}]
    made = sections.events_list(record(lines))
    assert [cells(row)[1] for row in rows(made)] == ["stop (mismatch)", "evaluation skipped"]
    assert "RuntimeError: &lt;oom&gt;" in made
    assert sections.events_list(record(healthy(3, n=40))) == "", "finished is no news"


def test_all_evaluations_are_thinned_but_keep_the_last():
    made = sections.evaluations(record(healthy(4, n=20)))
    assert len(rows(made)) == 4 and "4 evaluations</summary>" in made
    many = record(healthy(3, n=10))
    looks = [{**many.evaluations[1], "step": i} for i in range(701)]
    made = sections.evaluations(Record(many.run, looks))
    assert (
        len(rows(made)) == 235
        and cells(rows(made)[-1])[0] == "700"
        and "701 evaluations, one in 3 shown" in made
    )


def test_facts_say_what_it_cost_and_with_what():
    made = sections.facts_list(record(healthy(3, n=40)))
    assert "<dd>3f9a1c0b7e5d2846</dd>" in made and "3 in 9.6 s, 0 skipped" in made
    assert "torch 2.13.0" in made and "<dt>stop_rule</dt><dd>&quot;mismatch&quot;</dd>" in made
    assert "<dd>finished</dd>" in made
