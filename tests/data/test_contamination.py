"""Held-out answers in the training data are found, however the data is written; and nothing else is."""

from datetime import datetime

import datasets
import pytest
from datasets import Dataset, Features, Image, Value

from hre_callback import Answer, HREConfig, HumanRankEvalCallback, Question, read_record
from hre_callback.data.contamination import find_overlap
from hre_callback.preflight import prompt_advice

from ..trainers import sft_trainer, tokenizer

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
LONG = "the bread was baked over a wood fire in a stone oven and people wrote about it"
OTHER = "water reads what the model ranks and a question about people has no stone in it"
QUESTIONS = [
    Question("q0", "why?", (Answer(LONG, 3), Answer("short one", 1))),
    Question("q1", "how?", (Answer(OTHER, 3), Answer("short two", 1))),
]


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "say", "completion": f"well, {LONG.upper()}."},
        {"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": LONG}]},
        {"input_ids": tokenizer()(LONG)["input_ids"]},
        {"prompt": "p", "chosen": "no", "rejected": LONG},
    ],
    ids=["text", "chat", "tokens", "pairs"],
)
def test_found_in_every_form(row):
    found = find_overlap(Dataset.from_list([row]), QUESTIONS, tokenizer())
    assert found.ids == ("q0",) and found.rows == found.of == 1
    assert "q0" in found.sentence()


def test_a_shared_phrase_is_no_contamination():
    half = " ".join(LONG.split()[:6])
    found = find_overlap(Dataset.from_list([{"text": f"{half} but not the rest of it"}]), QUESTIONS, None)
    assert found.ids == ()


def test_scripts_without_spaces():
    text = "這個麵包是在石窯裡用木柴烤出來的很多人都寫過它"
    questions = [Question("zh", "?", (Answer(text, 1), Answer("no", 0)))]
    assert find_overlap(Dataset.from_list([{"text": f"他說：{text}。"}]), questions, None).ids == ("zh",)


def test_streams_and_transforms_are_left_alone():
    touched = []
    data = Dataset.from_list([{"text": LONG}])
    data.set_transform(lambda rows: touched.append(1) or rows)
    assert find_overlap(data, QUESTIONS, None).rows == 0 and not touched
    assert find_overlap(iter([]), QUESTIONS, None).rows == 0
    assert find_overlap(None, QUESTIONS, None).rows == 0


def test_in_a_run(tmp_path, capsys):
    train = Dataset.from_list([{"prompt": "say", "completion": f" {LONG}"}] * 8)
    trainer = sft_trainer(tmp_path, [HumanRankEvalCallback(QUESTIONS)], max_steps=1)
    trainer.train()
    assert read_record(tmp_path).run.overlap["n"] == 0
    config = HREConfig(contamination="raise")
    trainer = sft_trainer(tmp_path / "b", [HumanRankEvalCallback(QUESTIONS, config)], train=train, max_steps=1)
    with pytest.raises(ValueError, match=r"1 of the held-out questions .*\(q0\)"):
        trainer.train()
    trainer = sft_trainer(tmp_path / "c", [HumanRankEvalCallback(QUESTIONS)], train=train, max_steps=1)
    trainer.train()
    assert read_record(tmp_path / "c").run.overlap["questions"] == ["q0"]


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "a", "doc_ids": ["se-12", "se-40"]},
        {"input_ids": [5, 6], "label_ids": [-100, 6]},
        {"input_ids": [5, 10**9], "labels": [-100, -100]},
        {"input_ids": [5], "span_ids": [[1, 2], []]},
        {"prompt": "a", "source_ids": "q17"},
        {
            "prompt": None,
            "input_ids": [3],
            "score_ids": [0.5, None],
            "when": datetime(2026, 1, 1),
            "n": 3,
            "ok": True,
        },
        {"messages": [{"role": "user", "content": None}], "raw": b"\xff\x00", "mask": [1, 0, 1], "e": []},
    ],
    ids=lambda row: " ".join(row),
)
def test_columns_are_read_by_their_type_whatever_their_name(row):
    found = find_overlap(Dataset.from_list([row]), QUESTIONS, tokenizer())
    assert (found.ids, found.rows, found.unchecked) == ((), 1, "")


@pytest.mark.parametrize(
    "row",
    [
        {"labels": [-100, -100, *tokenizer()(LONG)["input_ids"]]},
        {"chunks": [[1, 0, 1], tokenizer()(LONG)["input_ids"]]},
        {"words": LONG.split()},
        {"messages": [{"role": "assistant", "content": [{"type": "text", "text": LONG}]}]},
        {"conversation": {"turns": [{"value": LONG}]}},
    ],
    ids=lambda row: " ".join(row),
)
def test_found_under_any_name_and_at_any_depth(row):
    assert find_overlap(Dataset.from_list([row]), QUESTIONS, tokenizer()).ids == ("q0",)


@pytest.mark.skipif(not hasattr(datasets, "Json"), reason="this version of datasets has no such columns")
def test_json_columns_are_read_as_their_text():
    data = Dataset.from_dict({"a": [{"x": f'"{LONG[:30]}\n{LONG[30:]}"'}]}, features=Features({"a": datasets.Json()}))
    assert find_overlap(data, QUESTIONS, None).ids == ("q0",)


def with_images(n=3):
    """Rows whose images cannot be decoded: whoever tries fails."""
    image = {"bytes": b"no image", "path": None}
    parts = [{"type": "image", "text": None, "image": image}, {"type": "text", "text": LONG, "image": None}]
    rows = {
        "images": [[image]] * n,
        "messages": [[{"role": "user", "content": parts}]] * n,
        "audio": [image] * n,
    }
    part = {"type": Value("string"), "text": Value("string"), "image": Image()}
    messages = [{"role": Value("string"), "content": [part]}]
    features = Features({"images": [Image()], "messages": messages, "audio": Image()})
    return Dataset.from_dict(rows, features=features)


def test_media_are_never_decoded():
    data = with_images()
    with pytest.raises(Exception, match="cannot identify image"):
        data[0]
    found = find_overlap(data, QUESTIONS, None)
    assert (found.ids, found.rows, found.unchecked) == (("q0",), 3, "")
    chatty = tokenizer()
    chatty.chat_template = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
    assert "would measure the model as it is trained" in prompt_advice(data, chatty, HREConfig())
    found = find_overlap(data.select_columns(["images"]), QUESTIONS, None)
    assert found.rows == 0 and "none of its columns (images) holds text" in found.unchecked


def test_a_row_that_cannot_be_read_costs_that_row_and_is_said():
    class Odd:
        def __len__(self):
            return 400

        def decode(self, ids):
            if 7 in ids:
                raise KeyError(7)
            return tokenizer().decode(ids)

    rows = [{"input_ids": [7, 8]}, {"input_ids": tokenizer()(LONG)["input_ids"]}]
    found = find_overlap(Dataset.from_list(rows), QUESTIONS, Odd())
    assert (found.ids, found.rows) == (("q0",), 1)
    assert "1 of 2 training rows could not be read (row 0: KeyError: 7)" in found.unchecked


def test_when_time_is_up_that_is_said_and_what_was_read_counts():
    data = Dataset.from_list([{"text": LONG}] * 50)
    ticks = iter(range(1000))
    found = find_overlap(data, QUESTIONS, None, seconds=10, clock=lambda: next(ticks))
    assert found.ids == ("q0",) and found.rows == 10 and found.of == 50
    assert "the time for it was up after 10 of 50 training rows" in found.unchecked


@pytest.mark.parametrize("data", [None, iter([]), [{"text": LONG}], 7])
def test_what_cannot_be_read_is_said(data):
    found = find_overlap(data, QUESTIONS, None)
    assert found.rows == 0 and "only a map-style datasets.Dataset is read" in found.unchecked


@pytest.mark.parametrize("contamination", ["warn", "raise"])
def test_advice_that_fails_ends_no_run(tmp_path, monkeypatch, caplog, contamination):
    def fail(*args, **kwargs):
        raise OSError("planted")

    monkeypatch.setattr("hre_callback.data.training_data.TrainingRows.__getitem__", fail)
    config = HREConfig(contamination=contamination)
    trainer = sft_trainer(tmp_path, [HumanRankEvalCallback(QUESTIONS, config)], max_steps=1)
    trainer.processing_class.chat_template = "{{ messages }}"
    trainer.train()
    said = " ".join(record.getMessage() for record in caplog.records)
    assert "24 of 24 training rows could not be read (row" in said
    assert "could not see whether the training data is conversational: OSError: planted" in said
    assert "could not be read" in read_record(tmp_path).run.overlap["unchecked"]
