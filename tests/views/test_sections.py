from __future__ import annotations

import re

import pytest

from hre_callback.views import memory, sections
from hre_callback.views.figure import main_figure
from hre_callback.views.report import render

from ..synthetic_records import healthy, mismatch, reading


def names(table):
    return [column.name for column in table.columns]


def firsts(table):
    return [row[0] for row in table.rows]


def test_topics_show_n_and_change():
    made = sections.topics(reading(healthy(4, n=70)))
    assert len(made.table.rows) == 7 and made.changes
    assert made.table.rows[0][:2] == ["english", "10"]
    assert all(row[-1].count('class="whisker"') == 1 for row in made.table.rows)
    assert names(made.table)[4] == "over the run"
    assert len(names(sections.topics(reading(healthy(4, n=70)[:3])).table)) == 6, "two points are no curve"
    only_start = sections.topics(reading(healthy(4, n=70)[:2]))
    assert names(only_start.table) == ["topic", "n", "now"] and not only_start.changes


def test_one_topic_is_the_score_itself_and_no_table():
    assert sections.topics(reading(healthy(4, n=40, topics=["beer"]))) is None


def test_many_topics_are_cut_and_said_so():
    made = sections.topics(reading(healthy(3, n=120, topics=[f"t{i:02d}" for i in range(40)])))
    assert len(made.table.rows) == 30 and made.left_out == 10


def test_a_topic_without_a_defined_question_stays_visible():
    lines = healthy(3, n=21)
    for look in lines[1:4]:
        look["pearson"] = [None if i % 7 == 0 else r for i, r in enumerate(look["pearson"])]
        look["metrics"]["hre/topic/python"] = None
    made = sections.topics(reading(lines))
    assert made.table.rows[-1][:4] == ["python", "0", "–", "–"]
    assert "nan" not in "".join(cell for row in made.table.rows for cell in row).lower()


def test_questions_show_then_now_shift_votes_and_ranks():
    made = sections.questions(reading(mismatch(6, n=60)))
    assert (len(made.rose), len(made.fell), made.n) == (5, 5, "60")
    for card in made.fell:
        assert re.fullmatch(r"−?0\.\d{3}", card.then) and re.fullmatch(r"−?0\.\d{3}", card.now)
        assert re.fullmatch(r"−\d\.\d{3}", card.shift) and card.answers == 4
        assert all(1 <= rank <= 4 for rank in card.ranks)
        assert re.fullmatch(r"\d+", card.votes) and re.fullmatch(r"\d+, \d+, \d+", card.others)
        assert re.fullmatch(r"\w+", card.topic)
    assert any("<b>my</b> list & tuple" in card.question for card in made.rose + made.fell)
    assert sections.questions(reading(mismatch(6, n=60)[:2])) is None


def test_trust_names_people_their_interval_and_their_number():
    lines = healthy(3, n=40)
    lines[0] |= {
        "human_hre": 0.65,
        "human_hre_low": 0.6,
        "human_hre_high": 0.7,
        "human_hre_n": 30,
        "human_hre_people": 2,
    }
    (row,) = (row for row in sections.trust(reading(lines)).rows if row[3] == "hre/human_hre")
    assert row[:3] == ["people’s own HRE", "0.650", "0.650"] and row[4].endswith(
        "0.650 (95 % 0.600 to 0.700), 2 people on 30 questions"
    )


def test_trust_has_a_start_only_when_there_is_more():
    made = sections.trust(reading(healthy(3, n=40)))
    assert firsts(made)[:2] == ["questions", "undefined"]
    assert [row[3] for row in made.rows][:2] == ["hre/n", "hre/undefined"]
    assert names(made) == ["", "start", "now", "key", "meaning"]
    assert names(sections.trust(reading(healthy(3, n=40)[:2]))) == ["", "now", "key", "meaning"]
    assert sections.trust(reading(healthy(3, n=40)[:1])) is None


def test_events_with_reasons():
    lines = [*mismatch(4, n=40), {"kind": "skipped", "step": 7, "reason": "RuntimeError: <oom>"}]
    made = sections.events(reading(lines))
    assert [row[1] for row in made.rows] == ["stop (mismatch)", "evaluation skipped"]
    assert made.rows[1][2] == "RuntimeError: <oom>"
    assert sections.events(reading(healthy(3, n=40))) is None, "finished is no news"


def test_many_events_are_cut_and_said_so():
    lines = healthy(3, n=20) + [{"kind": "save", "step": i} for i in range(120)]
    made = sections.events(reading(lines))
    assert len(made.rows) == 100 and made.rows[-1][0] == "119"
    assert made.caption == "What happened besides training, the last 100 of 120"


def looks_of(one, others=()):
    return sections.evaluations(one, main_figure(one, others), others)


def test_the_numbers_of_the_figure_are_those_of_the_record_each_with_its_key():
    made = looks_of(reading(healthy(4, n=20)))
    keys = {one.name: one.key for one in made.series}
    assert keys == {
        "HRE (95 % interval)": "hre/score",
        "change (paired 95 %)": "hre/delta_start",
        "evaluation loss": "eval/loss",
        "training loss": "train/loss",
        "verdict": "",
    }
    assert made.names == ["0", "50", "100", "150"] and made.places == pytest.approx([0, 1 / 3, 2 / 3, 1])
    metrics = reading(healthy(4, n=20)).looks[1].metrics
    score, low, high = (f"{metrics[f'hre/{key}']:.3f}" for key in ("score", "ci_low", "ci_high"))
    assert made.series[0].words[1] == f"{score} ({low} to {high})".replace("-", "−")
    assert made.series[1].words[0] == "", "the start has not changed"
    assert made.series[-1].words == ["", *["no mismatch seen"] * 3]


def test_the_numbers_of_another_run_stand_at_its_own_steps():
    made = looks_of(reading(healthy(3, n=20)), [("its", reading(healthy(3, n=20, every=70)))])
    assert made.names == ["0", "50", "70", "100", "140"]
    its = next(one for one in made.series if one.name == "its")
    assert [bool(words) for words in its.words] == [True, False, True, False, True]
    assert [bool(words) for words in made.series[0].words] == [True, True, False, True, False]


def test_questions_are_counted_where_their_number_changes():
    lines = healthy(3, n=20)
    lines[2]["metrics"]["hre/n"] = 19
    assert looks_of(reading(lines)).series[-1].words == ["20", "19", "20"]


def test_facts_say_what_it_cost_and_with_what():
    one = reading(healthy(3, n=40))
    made = dict(sections.facts(one))
    assert made["fingerprint"] == "3f9a1c0b7e5d2846" and made["evaluations"] == "3 in 9.6 s, 0 skipped"
    assert "torch 2.13.0" in made["versions"] and made["state"] == "finished"
    assert dict(sections.settings(one))["stop_rule"] == '"mismatch"'
    assert all(made.values()), "what is unknown is left out"


def of_groups(changes):
    lines = healthy(4, n=30)
    for t, look in enumerate(line for line in lines if line["kind"] == "evaluation"):
        for name, (low, delta, high) in changes.items():
            ends = {"": delta, "_low": low, "_high": high}
            look["metrics"] |= {f"hre/group{end}/{name}": 0.2 + value for end, value in ends.items()}
            look["metrics"][f"hre/group_n/{name}"] = 12
            look["metrics"] |= {f"hre/group_change{end}/{name}": value for end, value in ends.items() if t}
    return lines


GROUPS = {"country/DE": (-0.3, -0.2, -0.1), "country/IT": (0.1, 0.2, 0.3), "country/FR": (-0.1, 0.0, 0.1)}


def test_groups_of_people_are_told_by_their_change_and_whom_training_moves_towards():
    made = sections.groups(reading(of_groups(GROUPS)))
    assert firsts(made.table) == ["country/IT", "country/FR", "country/DE"] and made.n == 3
    assert (made.towards, made.away, made.changes) == ("country/IT", "country/DE", True)
    assert made.table.rows[0] == ["country/IT", "12", "0.400", "0.300 to 0.500", "+0.200", "+0.100 to +0.300"]


def test_groups_at_the_start_have_no_change_and_without_groups_there_is_no_table():
    start = sections.groups(reading(of_groups(GROUPS)[:2]))
    assert names(start.table) == ["group", "n", "now", "95 % interval"] and not start.changes
    assert sections.groups(reading(healthy(3, n=30))) is None


def by_cutoff(sizes, difference=(-0.07, -0.1, -0.04)):
    lines = healthy(4, n=40)
    lines[0]["config"]["cutoff"] = "2024-05-31"
    for t, look in enumerate(line for line in lines if line["kind"] == "evaluation"):
        look["metrics"] |= {f"hre/cutoff_n/{side}": n for side, n in sizes.items()}
        told = {}
        for side in (side for side, n in sizes.items() if n):
            told |= {f"{side}{end}": 0.2 for end in ("", "_low", "_high")}
            told |= {f"{side}_change{end}": 0.05 for end in ("", "_low", "_high") if t}
        if t and all(sizes.values()):
            told |= dict(zip(("difference", "difference_low", "difference_high"), difference, strict=True))
        look["metrics"] |= {f"hre/cutoff/{key}": value for key, value in told.items()}
    return lines


def test_both_sides_of_the_cutoff_and_what_rises_by_memory():
    made = memory.cutoff(reading(by_cutoff({"before": 30, "after": 10})))
    assert firsts(made.table) == ["from before 2024-05-31", "from after 2024-05-31", "after less before"]
    assert made.table.rows[0][1:5] == ["30", "0.200", "0.200 to 0.200", "+0.050"]
    assert made.table.rows[2][-2:] == ["−0.070", "−0.100 to −0.040"] and made.told.endswith("may be memory.")
    assert made.told.startswith("Since the start ")
    unclear = reading(by_cutoff({"before": 30, "after": 10}, (-0.07, -0.2, 0.1)))
    assert memory.cutoff(unclear).told == ""
    assert "No clear difference between the two changes." in render(unclear.record)


def test_a_cutoff_that_tells_nothing_says_so_and_without_one_there_is_no_table():
    made = memory.cutoff(reading(by_cutoff({"before": 40, "after": 0})))
    assert made.table.rows[1][:3] == ["from after 2024-05-31", "0", "–"] and len(made.table.rows) == 2
    assert made.told.startswith("0 questions are from after the cutoff")
    start = memory.cutoff(reading(by_cutoff({"before": 20, "after": 20})[:2]))
    assert names(start.table) == ["questions", "n", "now", "95 % interval"] and not start.changes
    assert memory.cutoff(reading(healthy(3, n=30))) is None


def test_names_of_groups_are_shown_as_text():
    hostile = "</table><script>alert(1)</script>{{ 7 * 7 }}/\u202e\x1b[31m"
    page = render(reading(of_groups({hostile: (0.1, 0.2, 0.3), "x/y": (-0.1, 0.0, 0.1)})).record)
    assert "<script" not in page and "\u202e" not in page and "\x1b" not in page
    assert "Training moves towards &lt;/table&gt;&lt;script&gt;" in page
