"""A data set by its name is a repository of the hub, read by the same code as a copy on the disk: files, folders, configs, splits."""

from __future__ import annotations

import csv
import json

import datasets
import pytest

from hre_callback import load_questions
from hre_callback.data import sources
from hre_callback.scoring.demo_model import tiny_model

from ..test_cli import hre
from .test_adapters import TREE, assistant, helpsteer3, pairs, user


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))


ROWS = [{"prompt": f"why {i}?", "chosen": f"good {i}", "rejected": f"bad {i}"} for i in range(4)]


def lines(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def in_csv(path, rows):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_one_question_set_from_every_kind_of_file_and_folder(tmp_path):
    expected = load_questions(lines(tmp_path / "a.jsonl", ROWS))
    (tmp_path / "a.json").write_text(json.dumps(ROWS, indent=1))
    lines(tmp_path / "lines.json", ROWS)
    table = datasets.Dataset.from_list(ROWS)
    table.to_parquet(tmp_path / "a.parquet")
    table.save_to_disk(tmp_path / "saved")
    datasets.DatasetDict(train=table).save_to_disk(tmp_path / "dict")
    lines(tmp_path / "folder" / "train.jsonl", ROWS)
    in_csv(tmp_path / "a.csv", [{**row, "chosen": row["chosen"] + "\nline two, with a comma"} for row in ROWS])
    for name in ("a.json", "lines.json", "a.parquet", "saved", "dict", "folder"):
        found = load_questions(tmp_path / name)
        assert [(q.question, q.answers) for q in found] == [(q.question, q.answers) for q in expected], name
    assert load_questions(tmp_path / "a.csv")[0].answers[0].text == "good 0\nline two, with a comma"


def test_a_byte_order_mark_and_a_suffix_in_capitals_are_nothing(tmp_path):
    (tmp_path / "a.JSON").write_bytes(b"\xef\xbb\xbf" + json.dumps(ROWS).encode())
    (tmp_path / "a.csv").write_bytes(b"\xef\xbb\xbfprompt,chosen,rejected\nwhy?,a,b\n")
    assert len(load_questions(tmp_path / "a.JSON")) == 4 and load_questions(tmp_path / "a.csv")[0].question == "why?"


def test_numbers_of_a_csv_are_votes(tmp_path):
    path = in_csv(tmp_path / "a.csv", [{"prompt": "why?", "response": f"r{i}", "score": i / 2} for i in range(3)])
    assert pairs(load_questions(path)[0]) == [("r0", 0), ("r1", 0.5), ("r2", 1)]


def test_messages_of_mixed_kinds_come_back_from_a_folder(tmp_path):
    call = {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}]}
    other = {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "g", "arguments": {"b": "x"}}}]}
    talks = [[user("why?"), one, {"role": "tool", "content": "42"}] for one in (call, other)]
    rows = [{"prompt": talk, "chosen": [assistant("good")], "rejected": [assistant("bad")]} for talk in talks]
    lines(tmp_path / "folder" / "train.jsonl", rows)
    from_folder, from_file = load_questions(tmp_path / "folder"), load_questions(lines(tmp_path / "a.jsonl", rows))
    assert [q.question for q in from_folder] == [q.question for q in from_file]
    assert from_file[0].question[1]["tool_calls"] == [{"function": {"arguments": {"a": 1}, "name": "f"}}]


def helpsteer_copy(folder):
    lines(folder / "preference" / "train.jsonl", [helpsteer3(1, [1], context=f"train {i}?") for i in range(3)])
    lines(folder / "preference" / "validation.jsonl", [helpsteer3(1, [1], context=f"held out {i}?") for i in range(2)])
    lines(folder / "edit" / "train.jsonl", [{"something": "else"}])
    (folder / "README.md").write_text(
        "---\nconfigs:\n- config_name: preference\n  data_files:\n  - split: train\n    path: preference/train.jsonl\n"
        "  - split: validation\n    path: preference/validation.jsonl\n- config_name: edit\n  data_files:\n"
        "  - split: train\n    path: edit/train.jsonl\n---\n"
    )
    return folder


def test_a_copy_is_read_as_the_hub_is_config_and_split_known_by_the_name(tmp_path, monkeypatch):
    folder = helpsteer_copy(tmp_path / "copy")
    assert [q.question for q in load_questions(folder, adapter="helpsteer3")] == ["held out 0?", "held out 1?"]
    assert len(load_questions(folder, adapter="helpsteer3", split="train")) == 3
    with pytest.raises(ValueError, match="no such split 'test'; available: train, validation"):
        load_questions(folder, adapter="helpsteer3", split="test")
    with pytest.raises(ValueError, match="preference.*edit|edit.*preference"):
        load_questions(folder)
    assert len(load_questions(folder, config="preference")) == 5, "by shape, all splits"
    with pytest.raises(ValueError, match=r"found the columns something \(text\), expected"):
        load_questions(folder, config="edit")
    real, asked = datasets.load_dataset_builder, []

    def hub(source, name=None, data_dir=None, **options):
        asked.append((source, name, data_dir))
        return real(str(folder), name, data_dir=data_dir, **options)

    monkeypatch.setattr(datasets, "load_dataset_builder", hub)
    assert [q.question for q in load_questions("helpsteer3")] == ["held out 0?", "held out 1?"]
    assert [q.question for q in load_questions("nvidia/helpsteer3")] == ["held out 0?", "held out 1?"]
    assert asked == [("nvidia/HelpSteer3", "preference", None)] * 2


@pytest.mark.parametrize(
    ("name", "repo", "config", "folder"),
    [
        ("oasst2:de", "OpenAssistant/oasst2", None, None),
        ("shp:askculinary", "stanfordnlp/SHP", None, "askculinary"),
        (
            "stack-exchange-preferences:math",
            "HuggingFaceH4/stack-exchange-preferences",
            None,
            "data/math.stackexchange.com",
        ),
        ("prism", "HannahRoseKirk/prism-alignment", "utterances", None),
        ("reward-bench-2", "allenai/reward-bench-2", None, None),
    ],
)
def test_a_name_asks_the_hub_for_its_data_set_and_part(name, repo, config, folder, monkeypatch):
    asked = []

    def hub(source, name=None, data_dir=None, **options):
        asked.append((source, name, data_dir))
        raise ConnectionError("no network here")

    monkeypatch.setattr(datasets, "load_dataset_builder", hub)
    with pytest.raises(ValueError, match=f"^{repo}: expected a folder or hub dataset .*no network here"):
        load_questions(name)
    assert asked == [(repo, config, folder)]


def test_a_part_lies_in_its_folder_of_a_copy(tmp_path):
    def rows(forum):
        return [
            {
                "post_id": "p", "domain": f"{forum}_test", "history": f"{forum}?", "labels": 1,
                "human_ref_A": f"a{i}", "score_A": i, "c_root_id_A": f"a{i}", "human_ref_B": "b", "score_B": 9, "c_root_id_B": "b",
            }
            for i in range(3)
        ]  # fmt: skip

    for forum in ("askculinary", "askphysics"):
        lines(tmp_path / "SHP" / forum / "test.jsonl", rows(forum))
        lines(tmp_path / "SHP" / forum / "train.jsonl", rows(forum)[:1])
    (question,) = load_questions(tmp_path / "SHP", adapter="shp:askculinary")
    assert question.question == "askculinary?" and len(question.answers) == 4


def test_a_folder_of_the_name_comes_before_the_hub(tmp_path, monkeypatch):
    lines(tmp_path / "oasst2" / "train.jsonl", TREE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(datasets, "load_dataset_builder", lambda *_, **__: pytest.fail("asked the hub"))
    monkeypatch.setattr(
        sources,
        "_from_files",
        lambda *_: pytest.fail("asked for it") if False else {"train": datasets.Dataset.from_list(TREE)},
    )
    assert [q.topic for q in load_questions("oasst2")] == ["de", "de", "en"]


def test_a_name_that_is_mistyped_is_told_the_names():
    with pytest.raises(
        ValueError,
        match="helpsteer: no such file or folder; expected .*'bundled', or one of the data sets helpsteer3, helpsteer2",
    ):
        load_questions("helpsteer")


def test_the_name_of_a_layout_is_no_data_set():
    with pytest.raises(
        ValueError, match="preferences: the name of a layout, not of a data set; expected a file or folder"
    ):
        load_questions("preferences")


def test_hre_score_takes_columns_and_adapters(tmp_path, capsys):
    for one in tiny_model(["why good bad"]):
        one.save_pretrained(tmp_path / "m")
    file = lines(
        tmp_path / "own.jsonl", [{"q": f"why {i}?", "r": ["good", "bad idea"], "s": [1.5, 0]} for i in range(3)]
    )
    out, _ = hre("score", tmp_path / "m", file, "--columns", "question=q, answers=r,votes=s", "--json", capsys=capsys)
    assert json.loads(out)["n"] == 3
    judged = lines(
        tmp_path / "judged.jsonl",
        [
            {
                "instruction": f"why {i}?",
                "completions": [{"response": "good", "overall_score": 9}, {"response": "bad", "overall_score": 2}],
            }
            for i in range(2)
        ],
    )
    out, _ = hre("score", tmp_path / "m", judged, capsys=capsys)
    assert "The votes are by GPT-4 (UltraFeedback), not by people." in out
    out, _ = hre("score", tmp_path / "m", judged, "--json", capsys=capsys)
    assert json.loads(out)["judge"] == "GPT-4 (UltraFeedback)"
    for wrong, said in (
        (("--columns", "question:q"), "--columns: found 'question:q', expected name=column"),
        (("--columns", "question=q,question=r"), "--columns: found 'question=r', expected name=column once"),
        (("--adapter", "prism"), "no column 'turn'"),
        (("--config", "c"), "a file has neither configs nor splits"),
    ):  # fmt: skip
        _, err = hre("score", tmp_path / "m", file, *wrong, capsys=capsys, code=2)
        assert said in err
