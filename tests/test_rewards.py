"""Explicit rewards and reward models: GRPO's signature, what a bad function does, the reward model's own HRE."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForSequenceClassification

from hre_callback import HREConfig, HumanRankEvalCallback, HumanRankEvaluator, read_record
from hre_callback.correlation import pearson
from hre_callback.rewards import score_rewards, score_sequences, total

from .test_no_trace import assert_same, fingerprint_of
from .test_trl_trainers import pairs
from .trainers import arguments, questions, sft_trainer, tokenizer

pytestmark = pytest.mark.filterwarnings(
    "ignore::FutureWarning", "ignore::UserWarning", "ignore::DeprecationWarning"
)


def length_reward(completions, **kwargs):
    return [float(len(completion)) for completion in completions]


def reward_model(tok, pad: int | None = 0, labels: int = 1):
    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=len(tok), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, pad_token_id=pad, num_labels=labels,
    )  # fmt: skip
    return LlamaForSequenceClassification(config).eval()


def test_functions_get_what_grpo_gives_them():
    seen = {}

    def spy(prompts, completions, completion_ids, **kwargs):
        seen.update(prompts=prompts, completions=completions, ids=completion_ids)
        return [None if i == 1 else 1.0 for i in range(len(prompts))]

    asked, tok = questions(2), tokenizer()
    found = score_rewards([spy, length_reward], asked, HREConfig(), tok)
    assert seen["prompts"][0] == f"Question: {asked[0].question}\nAnswer:"
    assert seen["completions"][5] == f" {asked[1].answers[1].text}" and seen["ids"][0]
    assert found["spy"] == [[1.0, None, 1.0, 1.0], [1.0] * 4]
    first = asked[0].answers[0].text
    second = asked[0].answers[1].text
    assert total(found)[0][:2] == [1.0 + len(first) + 1, len(second) + 1]  # GRPO: nansum
    assert total({"spy": found["spy"]})[0][1] is None
    tok.chat_template = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
    score_rewards([spy], asked, HREConfig(prompt="chat"), tok)
    assert seen["prompts"][0] == [{"role": "user", "content": asked[0].question}]
    assert seen["completions"][0] == [{"role": "assistant", "content": first}]


def test_what_a_function_must_not_be():
    async def later(**kwargs):
        return []

    with pytest.raises(ValueError, match="later is async"):
        score_rewards([later], questions(1), HREConfig(), tokenizer())
    with pytest.raises(ValueError, match="<lambda> gave 1 numbers for 4 answers"):
        score_rewards([lambda **kwargs: [1.0]], questions(1), HREConfig(), tokenizer())
    with pytest.raises(ValueError, match="has 3 labels"):
        score_rewards([reward_model(tokenizer(), labels=3)], questions(1), HREConfig(), tokenizer())


def test_a_reward_model_gives_each_answer_what_it_gives_it_alone():
    tok = tokenizer()
    rows = [
        tok(text)["input_ids"] for text in ("the model reads", "wood", "water and fire and stone and bread")
    ]
    model = reward_model(tok)
    with torch.no_grad():
        alone = [float(model(input_ids=torch.tensor([row])).logits[0, 0]) for row in rows]
    assert score_sequences(model, rows) == pytest.approx(alone, abs=1e-6)
    assert score_sequences(reward_model(tok, pad=None), rows) == pytest.approx(alone, abs=1e-6)


def test_a_length_reward_is_exposed(tmp_path):
    """Here people like short answers; the reward likes long ones, and the triangle says so at step 0 already."""
    asked = questions(24)
    trainer = sft_trainer(tmp_path, [HumanRankEvalCallback(asked, reward_funcs=[length_reward])], max_steps=2)
    trainer.train()
    record = read_record(tmp_path)
    first, last = (record.evaluations[i]["metrics"] for i in (0, -1))
    expected = np.mean(
        [pearson([a.votes for a in q.answers], [len(a.text) for a in q.answers]) for q in asked]
    )
    assert first["mismatch/human_reward"] == pytest.approx(expected)
    assert first["mismatch/human_reward_high"] < 0
    assert last["mismatch/human_reward"] == first["mismatch/human_reward"]
    assert last["mismatch/human_implicit"] != last["mismatch/human_reward"]
    assert np.isfinite(first["mismatch/policy_reward"])


def test_a_function_that_draws_leaves_no_trace(tmp_path):
    def draws(completions, **kwargs):
        return [random.random() + float(np.random.rand()) + float(torch.rand(())) for _ in completions]

    plain = sft_trainer(tmp_path / "plain", [], max_steps=3)
    plain.train()
    watched = sft_trainer(
        tmp_path / "watched", [HumanRankEvalCallback(questions(), reward_funcs=[draws])], max_steps=3
    )
    watched.train()
    assert_same(fingerprint_of(plain), fingerprint_of(watched))


def test_a_function_that_fails_is_told_of_and_left_out(tmp_path):
    def needs_a_column(completions, ground_truth, **kwargs):
        return [0.0 for _ in completions]

    callback = HumanRankEvalCallback(questions(), reward_funcs=[needs_a_column])
    trainer = sft_trainer(tmp_path / "a", [callback], max_steps=1)
    trainer.train()
    record = read_record(tmp_path / "a")
    (event,) = [e for e in record.events if e["kind"] == "reward_failed"]
    assert "ground_truth" in event["reason"] and len(record.evaluations) == 2
    callback = HumanRankEvalCallback(questions(), HREConfig(on_error="raise"), reward_funcs=[needs_a_column])
    with pytest.raises(TypeError, match="ground_truth"):
        sft_trainer(tmp_path / "b", [callback], max_steps=1).train()


def test_the_reward_models_own_hre():
    tok, asked = tokenizer(), questions(8)
    model = reward_model(tok)
    result = HumanRankEvaluator(asked, tok).evaluate(model)
    for question, given, r in zip(asked, result.loglikelihoods, result.per_question["pearson"], strict=True):
        alone = []
        for answer in question.answers:
            ids = tok(f"Question: {question.question}\nAnswer: {answer.text}", add_special_tokens=False)[
                "input_ids"
            ]
            with torch.no_grad():
                logits = model(input_ids=torch.tensor([[*ids, tok.eos_token_id]])).logits
            alone.append(float(logits[0, 0]))
        assert given == pytest.approx(alone, abs=1e-6)
        assert r == pytest.approx(pearson([a.votes for a in question.answers], alone), abs=1e-4)


def reward_trainer(out, callbacks):
    from trl import RewardConfig, RewardTrainer

    tok = tokenizer()
    args = arguments(out, RewardConfig, max_steps=4)
    return RewardTrainer(
        reward_model(tok), args=args, train_dataset=pairs(), processing_class=tok, callbacks=callbacks
    )


def test_reward_trainer(tmp_path):
    trainer = reward_trainer(
        tmp_path / "watched", [HumanRankEvalCallback(questions(), HREConfig(eval_steps=2))]
    )
    trainer.train()
    record = read_record(tmp_path / "watched")
    assert [line["step"] for line in record.evaluations] == [0, 2, 4]
    logged = [row for row in trainer.state.log_history if "loss" in row]
    assert set(logged[-1]) == {
        "accuracy", "margin", "max_reward", "mean_reward", "min_reward", "num_tokens", "epoch", "grad_norm",
        "learning_rate", "loss", "step",
    }  # fmt: skip
    last = record.evaluations[-1]
    assert (
        last["verdict"] == "aligned"
        and last["metrics"]["mismatch/human_reward"] == last["metrics"]["hre/score"]
    )
    assert "mismatch/displaced" not in last["metrics"]
    assert not any("loglikelihood" in key for key in record.evaluations[-1]["metrics"])
    plain = reward_trainer(tmp_path / "plain", [])
    plain.train()
    assert_same(fingerprint_of(plain), fingerprint_of(trainer))
