"""Held-out answers in the training data are found, however the data is written; and nothing else is."""

import pytest
from datasets import Dataset

from hre_callback import Answer, HREConfig, HumanRankEvalCallback, Question, read_record
from hre_callback.contamination import find_overlap

from .trainers import sft_trainer, tokenizer

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
    assert read_record(tmp_path).run["contamination"]["n"] == 0
    config = HREConfig(contamination="raise")
    trainer = sft_trainer(
        tmp_path / "b", [HumanRankEvalCallback(QUESTIONS, config)], train=train, max_steps=1
    )
    with pytest.raises(ValueError, match=r"1 of the held-out questions .*\(q0\)"):
        trainer.train()
    trainer = sft_trainer(tmp_path / "c", [HumanRankEvalCallback(QUESTIONS)], train=train, max_steps=1)
    trainer.train()
    assert read_record(tmp_path / "c").run["contamination"]["questions"] == ["q0"]
