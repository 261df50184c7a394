import json
import tracemalloc
from datetime import date
from pathlib import Path
from xml.sax.saxutils import quoteattr

import pytest

from hre_callback.data import stackexchange
from hre_callback.data.questions import Question, load_questions
from hre_callback.data.stackexchange import build_pairs, build_questions, write_pairs, write_questions
from hre_callback.files import write_whole

SHARED = Path(__file__).parents[3] / "shared" / "data"
needs_dumps = pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/data, the real dumps")


def question(id_, title=None, body="<p>I wonder.</p>", day="2015-06-01", **more):
    title = title or f"Question {id_}?"
    return dict(Id=id_, PostTypeId=1, Title=title, Body=body, Score=1, CreationDate=f"{day}T10:00:00.000", **more)


def answer(id_, parent, votes, body=None, **more):
    body = body or f"<p>Answer {id_}, long enough to be taken into account.</p>"
    return dict(Id=id_, PostTypeId=2, ParentId=parent, Score=votes, Body=body, **more)


def thread(id_, *votes, **more):
    return [question(id_, **more), *(answer(id_ + 1 + i, id_, v) for i, v in enumerate(votes))]


def dump(tmp_path, posts):
    lines = ("  <row " + " ".join(f"{k}={quoteattr(str(v))}" for k, v in post.items()) + " />\n" for post in posts)
    path = tmp_path / "Posts.xml"
    path.write_text("\ufeff<posts>\n" + "".join(lines) + "</posts>\n", encoding="utf-8")
    return path


def votes_of(result):
    return [[a.votes for a in q.answers] for q in result.questions]


def test_a_question_becomes_title_and_body_with_answers_in_the_order_of_their_ids(tmp_path):
    posts = [
        question(100, "Why a_b?", "<p>Because <code>x_y</code>.</p>"),
        {"Id": 5, "PostTypeId": 5, "Body": "wiki"},
    ]
    posts += [answer(i, 100, v) for i, v in ((104, 9), (101, 2), (103, -4), (102, 5))]
    result = build_questions(dump(tmp_path, posts), topic="beer")
    (q,) = result.questions
    assert (q.id, q.topic) == ("beer.stackexchange:100", "beer")
    assert q.question == "Why a_b?\n\nBecause `x_y`."
    assert [(a.votes, a.text) for a in q.answers] == [
        (v, f"Answer {i}, long enough to be taken into account.") for i, v in ((101, 2), (102, 5), (103, -4), (104, 9))
    ]
    assert (
        build_questions(tmp_path / "Posts.xml", topic="b", site="stackoverflow").questions[0].id == "stackoverflow:100"
    )


def test_best_worst_and_between_at_even_ranks(tmp_path):
    assert votes_of(build_questions(dump(tmp_path, thread(10, *range(10))), topic="t")) == [[0, 3, 6, 9]]
    assert votes_of(build_questions(tmp_path / "Posts.xml", topic="t", answers=2)) == [[0, 9]]
    assert votes_of(build_questions(tmp_path / "Posts.xml", topic="t", answers=3)) == [[0, 4, 9]]


@pytest.mark.parametrize("number", range(2, 9))
def test_even_ranks_never_repeat_and_keep_both_ends(number):
    for size in range(number, 40):
        ranked = [(-i, i) for i in range(size)]
        ranks = [answer_id for _, answer_id in stackexchange._even_ranks(ranked, number)]
        assert ranks[0] == 0 and ranks[-1] == size - 1
        steps = [b - a for a, b in zip(ranks, ranks[1:], strict=False)]
        assert min(steps) >= 1 and max(steps) - min(steps) <= 1


def test_of_equal_votes_the_oldest_answer_is_taken(tmp_path):
    posts = [question(1), *(answer(i, 1, v) for i, v in ((9, 5), (3, 5), (4, 2), (5, 1), (6, 0)))]
    (row,) = build_questions(dump(tmp_path, posts), topic="t").rows
    assert [a["post_id"] for a in row["attribution"]["answers"]] == [3, 4, 5, 6]


def test_the_date_is_that_of_the_newest_of_question_and_answers(tmp_path):
    def answered(id_, *days):
        return [
            answer(id_ + 1 + i, id_, 9 - 3 * i, **({"CreationDate": day} if day else {})) for i, day in enumerate(days)
        ]

    posts = [question(100), *answered(100, *["2015-06-02T10:00:00.000", "2019-01-31T00:00:00.000"] * 2)]
    posts += [question(200), *answered(200, "2015-06-02T10:00:00.000", None, "2016-01-01", "2017-01-01")]
    posts += [question(300, day="2020-01-01"), *answered(300, *["2019-12-31T10:00:00.000"] * 4)]
    result = build_questions(dump(tmp_path, posts), topic="t")
    assert [one.date for one in result.questions] == ["2019-01-31", None, "2020-01-01"]
    assert [row.get("date") for row in result.rows] == ["2019-01-31", None, "2020-01-01"] and "date" not in result.rows[
        1
    ]
    assert all(one.counted for one in result.questions)


def test_every_question_left_out_is_counted_by_reason(tmp_path):
    short, long = "<p>No.</p>", f"<p>{'word ' * 700}</p>"
    posts = thread(100, 9, 5, 2, 0)
    posts += thread(200, 9, 5, 2)
    posts += [*thread(300, 9, 5, 2), answer(304, 300, 0, short), answer(305, 300, 7, long)]
    posts += thread(400, 9, 5, 5, 5)
    posts += thread(500, 3, 2, 1, 0)
    posts += thread(600, 9, 5, 2, 0, body=long)
    posts += thread(700, 9, 5, 2, 0, day="2013-12-31")
    posts += thread(800, 9, 5, 2, 0, day="2014-01-01")
    result = build_questions(dump(tmp_path, posts), topic="t", min_spread=4, after=date(2014, 1, 1))
    assert [q.id for q in result.questions] == ["t.stackexchange:100", "t.stackexchange:800"]
    assert result.rejected == {
        "fewer than 4 answers of the right length": 2,
        "fewer than 4 distinct votes, or a spread under 4": 2,
        "longer than 3000 characters": 1,
        "asked before 2014-01-01": 1,
    }
    assert result.seen == 8 == len(result.questions) + sum(result.rejected.values())


def test_an_answer_may_stand_before_its_question(tmp_path):
    posts = thread(10, 9, 5, 2, 0)
    assert len(build_questions(dump(tmp_path, posts[::-1]), topic="t").questions) == 1


def test_max_questions_is_a_seeded_draw_that_grows(tmp_path):
    path = dump(tmp_path, [post for i in range(30) for post in thread(10 + 10 * i, 9, 5, 2, 0)])

    def ids(number, seed=0):
        result = build_questions(path, topic="t", max_questions=number, seed=seed)
        assert result.rejected.get("over max_questions", 0) == 30 - min(number, 30)
        return [q.id for q in result.questions]

    assert len(ids(8)) == 8 and len(ids(99)) == 30
    assert ids(8) == ids(8) != ids(8, seed=1)
    assert set(ids(8)) <= set(ids(20))
    assert ids(8) == sorted(ids(8), key=lambda id_: int(id_.split(":")[1]))


def test_written_questions_load_back_with_attribution_beside_them(tmp_path):
    owned = {"OwnerUserId": 7, "ContentLicense": "CC BY-SA 3.0"}
    posts = [
        question(1, OwnerDisplayName="Zoë"),
        *(answer(i + 2, 1, v, **owned) for i, v in enumerate((8, 4, 2, 1))),
    ]
    result = build_questions(dump(tmp_path, posts), topic="t")
    path = write_questions(tmp_path / "new" / "folder" / "q.jsonl", result)
    assert load_questions(path) == list(result.questions)
    (row,) = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    assert row["attribution"]["question"] == {"post_id": 1, "owner": "Zoë"}
    assert row["attribution"]["answers"][0] == {"post_id": 2, "owner_id": 7, "license": "CC BY-SA 3.0"}
    assert "Zoë" in path.read_text(encoding="utf-8")


def test_a_failed_write_leaves_the_old_file(tmp_path):
    def rows():
        yield {"new": 1}
        raise RuntimeError("disk full")

    path = tmp_path / "q.jsonl"
    path.write_text("old")
    with pytest.raises(RuntimeError, match="disk full"):
        write_whole(path, stackexchange._lines(rows()))
    assert [file.name for file in tmp_path.iterdir()] == ["q.jsonl"]
    assert path.read_text() == "old"


def test_only_jsonl_is_written(tmp_path):
    result = build_questions(dump(tmp_path, thread(10, 9, 5, 2, 0)), topic="t")
    with pytest.raises(ValueError, match=r"q\.json: found the suffix '\.json', expected \.jsonl"):
        write_questions(tmp_path / "q.json", result)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"answers": 1}, "answers: found 1, expected at least 2"),
        ({"min_length": 0}, "min_length: found 0, expected at least 1"),
        ({"max_questions": 0}, "max_questions: found 0, expected at least 1"),
        (
            {"answers": 5},
            r"none of its 1 questions qualifies: \{'fewer than 5 answers of the right length': 1\}",
        ),
    ],
)
def test_bad_arguments_and_no_question_at_all(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        build_questions(dump(tmp_path, thread(10, 9, 5, 2, 0)), topic="t", **arguments)


@pytest.mark.parametrize("missing", ["Score", "ParentId", "PostTypeId", "Id"])
def test_a_row_without_what_is_needed_is_named(tmp_path, missing):
    posts = thread(10, 9, 5, 2, 0)
    del posts[2][missing]
    with pytest.raises(ValueError, match=rf"Posts\.xml, line 4: {missing}: found .*expected"):
        build_questions(dump(tmp_path, posts), topic="t")


def test_one_odd_post_ends_no_build(tmp_path):
    posts = thread(10, 9, 5, 2, 0) + thread(20, 9, 5, 2, 0)
    whole = build_questions(dump(tmp_path, posts), topic="t")
    odd = [
        answer(90, 10, "9" * 400),
        answer(91, 10, "many"),
        answer(92, "", 3),
        answer(10, 20, 100),
        answer(93, 10, 50, OwnerUserId=-2),
        question(94, OwnerUserId=-1),
        answer(1_000_000_010, 20, 50, "<p>The moon is made of malt, as everybody knows.</p>"),
        {"Id": 95, "Body": "neither question nor answer"},
        answer(96, 10, 3, "<div>" * 50_000 + "No."),
        answer(97, 10, 3, "<" * 200_000),
    ]
    result = build_questions(dump(tmp_path, posts[:5] + odd + posts[5:]), topic="t")
    assert result.rows == whole.rows and result.seen == 2
    assert result.notes.left_out == {
        "Score is no integer": 2,
        "ParentId is no integer": 1,
        "an id that was there before": 1,
        "not written by a person": 2,
        "planted in the dump": 1,
        "PostTypeId is no integer": 1,
    }
    assert build_pairs(tmp_path / "Posts.xml", whole.questions, topic="t").notes == result.notes


def test_of_two_posts_of_one_id_both_readings_take_the_first(tmp_path):
    posts = [
        *thread(10, 9, 5, 2, 0),
        answer(12, 10, 5, "<p>Another text under the id of the second answer.</p>"),
    ]
    (q,) = build_questions(dump(tmp_path, posts), topic="t").questions
    assert [a.text for a in q.answers][1] == "Answer 12, long enough to be taken into account."


def test_planted_and_community_posts_reach_no_training_row(tmp_path):
    posts = thread(100, 9, 1) + [question(1_000_000_001), answer(1_000_000_010, 1_000_000_001, 9)]
    posts += [answer(103, 100, 99, OwnerUserId=-1), question(200, OwnerUserId=-1), answer(201, 200, 5)]
    rows = build_pairs(dump(tmp_path, posts), [], topic="t")
    assert [row["attribution"] for row in rows.pairs + rows.completions] == [
        "post 100 by user unknown; post 101 by user unknown; post 102 by user unknown",
        "post 100 by user unknown; post 101 by user unknown",
    ]


@pytest.mark.parametrize("day", ["garbage", "", "2015-13-01", "20", "9999999", None])
def test_a_question_without_a_date_is_not_taken_for_a_young_one(tmp_path, day):
    posts = thread(100, 9, 5, 2, 0) + thread(200, 9, 5, 2, 0)
    posts[0]["CreationDate"] = day
    if day is None:
        del posts[0]["CreationDate"]
    path = dump(tmp_path, posts)
    result = build_questions(path, topic="t", after=date(2014, 1, 1))
    assert [q.id for q in result.questions] == ["t.stackexchange:200"]
    assert result.rejected == {"CreationDate is no date": 1}
    assert len(build_questions(path, topic="t").questions) == 2


def test_a_control_character_ends_no_build(tmp_path):
    """It stands in a real dump."""
    path = dump(tmp_path, thread(10, 9, 5, 2, 0))
    path.write_text(path.read_text().replace("Answer 12", "Answer &#x0E;12").replace("wonder", "won\x00der"))
    result = build_questions(path, topic="t")
    assert result.questions[0].answers[1].text == "Answer \ufffd12, long enough to be taken into account."
    assert result.notes.replaced == 2 and "2 characters that XML forbids" in result.notes.lines()[0]
    assert load_questions(write_questions(tmp_path / "q.jsonl", result)) == list(result.questions)


def test_what_only_seems_to_have_a_text_is_left_out(tmp_path):
    hidden = f"<!-- > {'only a comment ' * 9} -->"
    posts = [
        *thread(10, 9, 5, 2, 0),
        *thread(20, 9, 5, 2),
        answer(24, 20, 0, hidden),
        *thread(30, 9, 1, body=" "),
    ]
    posts[-3]["Title"] = " "
    path = dump(tmp_path, posts)
    result = build_questions(path, topic="t")
    assert [q.id for q in result.questions] == ["t.stackexchange:10"]
    assert result.rejected["a post without text"] == 1
    rows = build_pairs(path, [], topic="t")
    assert [row["id"] for row in rows.completions] == ["t.stackexchange:10"]
    assert rows.rejected["a post without text"] == 2


# Training rows -----------------------------------------------------------------------------------------------------


def test_pairs_are_best_against_worst_of_questions_not_held_out(tmp_path):
    posts = thread(100, 9, 5, 2, 0) + thread(200, 1, 7, 4) + thread(300, 3, 1) + thread(400, 2) + thread(500, 0, -9)
    posts += thread(600, 8, 1, body=f"<p>{'word ' * 700}</p>")
    path = dump(tmp_path, posts)
    held_out = build_questions(path, topic="t").questions
    rows = build_pairs(path, held_out, topic="t")
    text = "Answer {}, long enough to be taken into account.".format
    assert rows.pairs == (
        {
            "prompt": "Question: Question 200?\n\nI wonder.\nAnswer:",
            "chosen": " " + text(202),
            "rejected": " " + text(201),
            "id": "t.stackexchange:200",
            "attribution": "post 200 by user unknown; post 202 by user unknown; post 201 by user unknown",
        },
    )
    assert [(row["id"], row["completion"]) for row in rows.completions] == [
        (f"t.stackexchange:{i}", " " + text(j)) for i, j in ((200, 202), (300, 301), (400, 401))
    ]
    assert rows.rejected == {
        "held out": 1,
        "no answer of the right length with a vote": 1,
        "longer than 3000 characters": 1,
    }
    assert len(build_pairs(path, held_out, topic="t", min_gap=2).pairs) == 2
    assert len(build_pairs(path, held_out, topic="t", max_questions=2).completions) == 2
    with pytest.raises(ValueError, match="min_gap: found 0, expected at least 1"):
        build_pairs(path, held_out, topic="t", min_gap=0)


def test_cross_posted_texts_never_reach_training(tmp_path):
    copy = "<p><b>ANSWER 101</b> -- long  enough\nto be taken into account!</p>"
    posts = thread(100, 9, 5, 2, 0)
    posts += [question(200), answer(201, 200, 9, copy), answer(202, 200, 1)]
    posts += [question(300), answer(301, 300, 9), answer(302, 300, 1, copy)]
    posts += thread(400, 9, 1, title="question 100")
    posts += thread(500, 9, 1)
    path = dump(tmp_path, posts)
    rows = build_pairs(path, build_questions(path, topic="t").questions, topic="t")
    assert [row["id"] for row in rows.pairs] == [row["id"] for row in rows.completions] == ["t.stackexchange:500"]
    assert rows.rejected == {"held out": 1, "text of a held-out post": 3}


def test_pairs_file_and_completions_file(tmp_path):
    path = dump(tmp_path, thread(200, 7, 1) + thread(300, 3))
    written = write_pairs(tmp_path / "train.jsonl", build_pairs(path, [], topic="t"))
    assert [file.name for file in written] == ["train.jsonl", "train.sft.jsonl"]
    fields = [[list(json.loads(line)) for line in file.read_text().splitlines()] for file in written]
    assert fields[0] == [["prompt", "chosen", "rejected", "id", "attribution"]]
    assert fields[1] == [["prompt", "completion", "id", "attribution"]] * 2


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_trl_trains_on_both_files(tmp_path):
    from datasets import load_dataset
    from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

    from ..trainers import arguments, dropout_model, tokenizer

    path = dump(tmp_path, [post for i in range(8) for post in thread(10 + 10 * i, 9, 1)])
    pairs, completions = write_pairs(tmp_path / "train.jsonl", build_pairs(path, [], topic="t"))
    tok = tokenizer()
    ref_model = {"ref_model": dropout_model(tok)}  # a model made in memory cannot be loaded a second time
    for file, trainer_class, config, more in (
        (pairs, DPOTrainer, DPOConfig, ref_model),
        (completions, SFTTrainer, SFTConfig, {}),
    ):
        data = load_dataset("json", data_files=str(file), split="train", cache_dir=str(tmp_path / "cache"))
        args = arguments(tmp_path / "out", config, max_steps=1)
        model = dropout_model(tok)
        trainer = trainer_class(model=model, processing_class=tok, train_dataset=data, args=args, **more)
        assert trainer.train().training_loss > 0


# Large and real dumps ----------------------------------------------------------------------------------------------


def test_texts_are_not_held(tmp_path):
    body = f"<p>{'hops malt ' * 200}</p>"
    threads = (
        post
        for i in range(2500)
        for post in (
            question(10 * i, body=body),
            *(answer(10 * i + k, 10 * i, k * k, body) for k in range(1, 5)),
        )
    )
    path = dump(tmp_path, threads)
    tracemalloc.start()
    result = build_questions(path, topic="t", max_questions=50)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (result.seen, len(result.questions)) == (2500, 50)
    assert path.stat().st_size > 26e6
    assert peak < 12e6  # ids and votes, the chosen texts, a chunk; measured: 8.5e6


@needs_dumps
def test_the_beer_dump_gives_the_questions_that_others_made_of_it():
    result = build_questions(SHARED / "stackexchange" / "beer" / "Posts.xml", topic="beer")
    theirs = load_questions(SHARED / "hre_beer.jsonl")
    assert {q.id: sorted(a.votes for a in q.answers) for q in result.questions} == {
        q.id: sorted(a.votes for a in q.answers) for q in theirs
    }
    assert (len(result.questions), result.seen) == (71, 663)


@needs_dumps
@pytest.mark.parametrize(
    ("site", "questions", "pairs", "completions"), [("beer", 40, 234, 587), ("history_meta", 40, 120, 417)]
)
def test_real_dumps_leave_enough_to_train_on_and_share_nothing(site, questions, pairs, completions):
    path = SHARED / "stackexchange" / site / "Posts.xml"
    held_out = build_questions(path, topic=site, max_questions=40).questions
    rows = build_pairs(path, held_out, topic=site)
    assert (len(held_out), len(rows.pairs), len(rows.completions)) == (questions, pairs, completions)
    texts = [row[name] for row in (*rows.pairs, *rows.completions) for name in row if name not in ("id", "attribution")]
    texts += [" " + text for q in held_out for text in texts_of(q)]
    for text in texts:
        typed = text.replace(r"¯\_(ツ)_/¯", "")  # the one backslash that is its author's
        escapes = ("<p>", "&lt;", "&amp;", "&#", "](http", "![", r"\_", r"\*", "\r")
        assert not any(escape in typed for escape in escapes)
        assert text == text.rstrip() and (text.startswith("Question: ") or text[0] == " " != text[1])
    trained_on = {text.strip() for text in texts[: -sum(len(texts_of(q)) for q in held_out)]}
    assert trained_on.isdisjoint(text.strip() for q in held_out for text in texts_of(q))
    assert {row["id"] for row in rows.completions}.isdisjoint(q.id for q in held_out)


def texts_of(q: Question) -> list[str]:
    return [q.question, *(a.text for a in q.answers)]
