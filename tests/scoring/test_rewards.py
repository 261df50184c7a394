"""Explicit rewards and reward models: GRPO's signature, what a bad function does, the reward model's own HRE."""

from __future__ import annotations

import asyncio
import functools
import math
import random

import numpy as np
import pytest
import torch
from datasets import Dataset
from transformers import LlamaConfig, LlamaForSequenceClassification
from trl import GRPOConfig, GRPOTrainer

from hre_callback import HREConfig, HumanRankEvalCallback, HumanRankEvaluator, read_record
from hre_callback.scoring.demo_model import tiny_model
from hre_callback.scoring.encoding import encode
from hre_callback.scoring.rewards import score_rewards, total
from hre_callback.scoring.sequences import score_sequences
from hre_callback.stats.correlation import pearson
from hre_callback.views.report import render

from ..test_trl_trainers import pairs
from ..trainers import TEXTS, arguments, dropout_model, questions, sft_trainer, tokenizer
from .test_no_trace import assert_same, fingerprint_of

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning", "ignore::DeprecationWarning")


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
    for wrong in ("0.5", [1.0], {}):
        with pytest.raises(ValueError, match="<lambda> gave .*; expected a number or None for each answer"):
            score_rewards([lambda found=wrong, **kwargs: [found] * 4], questions(1), HREConfig(), tokenizer())
    with pytest.raises(ValueError, match="<lambda> gave 1 numbers for 4 answers"):
        score_rewards([lambda **kwargs: [1.0]], questions(1), HREConfig(), tokenizer())
    with pytest.raises(ValueError, match="has 3 labels"):
        score_rewards([reward_model(tokenizer(), labels=3)], questions(1), HREConfig(), tokenizer())


def test_a_reward_model_by_its_folder(tmp_path):
    tok, asked = tokenizer(), questions(3)
    reward_model(tok).save_pretrained(tmp_path / "rm")
    tok.save_pretrained(tmp_path / "rm")
    by_folder = score_rewards([str(tmp_path / "rm")], asked, HREConfig(), tok)["rm"]
    assert by_folder == list(score_rewards([reward_model(tok)], asked, HREConfig(), tok).values())[0]


def test_a_folder_that_holds_no_reward_model_is_named(tmp_path):
    """transformers would draw the head of a reward model at random for it, and GRPO train on that."""
    model, tok = tiny_model(TEXTS)
    model.save_pretrained(tmp_path / "lm")
    tok.save_pretrained(tmp_path / "lm")
    with pytest.raises(ValueError, match="lm: LlamaForCausalLM is no reward model: numbers of shape"):
        score_rewards([str(tmp_path / "lm")], questions(2), HREConfig(), tok)
    with pytest.raises(ValueError, match="nowhere: expected"):
        score_rewards([str(tmp_path / "nowhere")], questions(2), HREConfig(), tok)


def test_a_reward_model_gives_each_answer_what_it_gives_it_alone():
    tok = tokenizer()
    rows = [tok(text)["input_ids"] for text in ("the model reads", "wood", "water and fire and stone and bread")]
    model = reward_model(tok)
    with torch.no_grad():
        alone = [float(model(input_ids=torch.tensor([row])).logits[0, 0]) for row in rows]
    assert score_sequences(model, rows, 8) == pytest.approx(alone, abs=1e-6)
    assert score_sequences(reward_model(tok, pad=None), rows) == pytest.approx(alone, abs=1e-6)


class PaddingMatters(torch.nn.Module):
    """A reward model whose numbers depend on how long the row is made, as FNet's and Mamba's do."""

    def __init__(self, net, tells):
        super().__init__()
        self.net, self.config, self.tells = net, net.config, tells

    def forward(self, input_ids, attention_mask):
        logits = self.net(input_ids=input_ids, attention_mask=attention_mask).logits
        return {"logits": logits * (1 + 0.1 * self.tells * input_ids.shape[1])}


@pytest.mark.parametrize(
    ("tells", "layout", "dtype"),
    [(0, "padded", torch.float32), (0, "padded", torch.bfloat16), (1, "single", torch.float32)],
)
def test_a_reward_model_whose_numbers_change_with_padding_gets_one_row_at_a_time(tells, layout, dtype):
    tok, asked = tokenizer(), questions(6)
    model = PaddingMatters(reward_model(tok).to(dtype), tells)
    evaluator = HumanRankEvaluator(asked, tok)
    found = evaluator.evaluate(model)
    assert evaluator.layout.layout == layout == evaluator.proof["layout"]
    encoded = encode(asked, tok, normalization="none", whole=True).answers
    exact = {}
    for a in encoded:
        row = torch.tensor([a.context + a.continuation])
        with torch.no_grad():
            exact[a.key] = float(model(input_ids=row, attention_mask=torch.ones_like(row))["logits"][0, 0])
    close = 1e-6 if dtype == torch.float32 else 1e-2
    for question, row in zip(asked, found.loglikelihoods, strict=True):
        assert list(row) == pytest.approx([exact[question.id, i] for i in range(len(row))], abs=close)
    given = score_rewards([model], asked, HREConfig(), tok)["PaddingMatters"]
    assert len(given) == len(asked)


def test_what_a_reward_model_is_shows_in_what_it_returns_and_not_in_its_name():
    tok, asked = tokenizer(), questions(2)
    named_otherwise = type("Judge", (type(reward_model(tok)),), {})
    judge = reward_model(tok)
    expected = list(score_rewards([judge], asked, HREConfig(), tok).values())[0]
    judge.__class__ = named_otherwise
    assert list(score_rewards([judge], asked, HREConfig(), tok).values())[0] == expected
    model, _ = tiny_model(TEXTS)
    model.__class__ = type("LlamaForSequenceClassification", (type(model),), {})
    with pytest.raises(ValueError, match="is no reward model: numbers of shape"):
        score_rewards([model], asked, HREConfig(), tok)


def test_a_length_reward_is_exposed(tmp_path):
    """Here people like short answers; the reward likes long ones, and the triangle says so at step 0 already."""
    asked = questions(24)
    trainer = sft_trainer(tmp_path, [HumanRankEvalCallback(asked, reward_funcs=[length_reward])], max_steps=2)
    trainer.train()
    record = read_record(tmp_path)
    first, last = (record.evaluations[i].metrics for i in (0, -1))
    expected = np.mean([pearson([a.votes for a in q.answers], [len(a.text) for a in q.answers]) for q in asked])
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
    watched = sft_trainer(tmp_path / "watched", [HumanRankEvalCallback(questions(), reward_funcs=[draws])], max_steps=3)
    watched.train()
    assert_same(fingerprint_of(plain), fingerprint_of(watched))


def test_a_function_that_fails_is_told_of_and_left_out(tmp_path):
    def needs_a_column(completions, ground_truth, **kwargs):
        return [0.0 for _ in completions]

    callback = HumanRankEvalCallback(questions(), reward_funcs=[needs_a_column])
    trainer = sft_trainer(tmp_path / "a", [callback], max_steps=1)
    trainer.train()
    record = read_record(tmp_path / "a")
    (event,) = [e for e in record.events if e.kind == "reward_failed"]
    assert "ground_truth" in event.reason and len(record.evaluations) == 2
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
            ids = tok(f"Question: {question.question}\nAnswer: {answer.text}", add_special_tokens=False)["input_ids"]
            with torch.no_grad():
                logits = model(input_ids=torch.tensor([[*ids, tok.eos_token_id]])).logits
            alone.append(float(logits[0, 0]))
        assert given == pytest.approx(alone, abs=1e-6)
        assert r == pytest.approx(pearson([a.votes for a in question.answers], alone), abs=1e-4)


@pytest.mark.parametrize(
    "template",
    [
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}",
        "{% for m in messages %}{{ m.role }}: {{ m.content }}.\n{% endfor %}",
    ],
)
def test_the_reward_models_own_hre_reads_the_chat_that_its_trainer_reads(template):
    """`RewardTrainer` renders a conversation with its closing tokens and adds no end of sequence to it."""
    tok, asked = tokenizer(), questions(4)
    tok.chat_template = template
    model = reward_model(tok)
    result = HumanRankEvaluator(asked, tok, HREConfig(prompt="chat")).evaluate(model)
    for question, given in zip(asked, result.loglikelihoods, strict=True):
        for answer, number in zip(question.answers, given, strict=True):
            messages = [
                {"role": "user", "content": question.question},
                {"role": "assistant", "content": answer.text},
            ]
            ids = tok.apply_chat_template(messages, return_dict=False)
            with torch.no_grad():
                assert number == pytest.approx(float(model(torch.tensor([ids])).logits[0, 0]), abs=1e-6)
    assert result.lengths == tuple(tuple(len(a.text) for a in q.answers) for q in asked)
    explicit = score_rewards([model], asked, HREConfig(prompt="chat"), tok)
    for one, other in zip(result.loglikelihoods, next(iter(explicit.values())), strict=True):
        assert one == pytest.approx(other, abs=1e-6)


def reward_trainer(out, callbacks):
    from trl import RewardConfig, RewardTrainer

    tok = tokenizer()
    args = arguments(out, RewardConfig, max_steps=4)
    return RewardTrainer(reward_model(tok), args=args, train_dataset=pairs(), processing_class=tok, callbacks=callbacks)


def test_reward_trainer(tmp_path):
    trainer = reward_trainer(tmp_path / "watched", [HumanRankEvalCallback(questions(), HREConfig(eval_steps=2))])
    trainer.train()
    record = read_record(tmp_path / "watched")
    assert [line.step for line in record.evaluations] == [0, 2, 4]
    logged = [row for row in trainer.state.log_history if "loss" in row]
    assert set(logged[-1]) == {
        "accuracy", "margin", "max_reward", "mean_reward", "min_reward", "num_tokens", "epoch", "grad_norm",
        "learning_rate", "loss", "step",
    }  # fmt: skip
    last = record.evaluations[-1]
    assert last.verdict == "aligned" and last.metrics["mismatch/human_reward"] == last.metrics["hre/score"]
    assert "mismatch/displaced" not in last.metrics
    assert not any("loglikelihood" in key for key in record.evaluations[-1].metrics)
    plain = reward_trainer(tmp_path / "plain", [])
    plain.train()
    assert_same(fingerprint_of(plain), fingerprint_of(trainer))


async def judge(completions, **kwargs):
    await asyncio.sleep(0.001)
    return [float(len(completion)) for completion in completions]


class Judge:
    async def __call__(self, completions, **kwargs):
        return await judge(completions)


def waits(completions, **kwargs):
    """A plain function that gives something to be awaited."""
    return judge(completions)


@pytest.mark.parametrize("func", [judge, Judge(), functools.partial(judge, scale=1), waits])
def test_an_async_reward_is_awaited_also_where_a_loop_is_running_already(func):
    asked, tok = questions(2), tokenizer()
    (expected,) = score_rewards([length_reward], asked, HREConfig(), tok).values()
    assert list(score_rewards([func], asked, HREConfig(), tok).values()) == [expected]

    async def notebook():
        return score_rewards([func], asked, HREConfig(), tok)

    assert list(asyncio.run(notebook()).values()) == [expected]


def test_an_async_reward_that_fails_is_told_of(tmp_path):
    async def breaks(**kwargs):
        raise ConnectionError("the judge does not answer")

    sft_trainer(tmp_path, [HumanRankEvalCallback(questions(), reward_funcs=[breaks])], max_steps=1).train()
    record = read_record(tmp_path)
    (event,) = [e for e in record.events if e.kind == "reward_failed"]
    assert event.reason == "ConnectionError: the judge does not answer"
    for look in record.evaluations:
        assert not [key for key in look.metrics if "_reward" in key], "no reward, no key of that name"
    assert np.isfinite(record.evaluations[-1].metrics["mismatch/human_implicit"])


def test_the_rewards_are_weighted_as_grpo_weights_them(tmp_path):
    def short(completions, **kwargs):
        return [-float(len(completion)) for completion in completions]

    asked = questions()
    funcs = [length_reward, short]
    callback = HumanRankEvalCallback(asked, HREConfig(), reward_funcs=funcs)
    args = arguments(
        tmp_path,
        GRPOConfig,
        max_steps=1,
        num_generations=2,
        max_completion_length=4,
        reward_weights=[1.0, 3.0],
    )
    prompts = Dataset.from_list([{"prompt": "the model"}] * 4)
    GRPOTrainer(
        dropout_model(tokenizer()), funcs, args=args, train_dataset=prompts, processing_class=tokenizer(),
        callbacks=[callback],
    ).train()  # fmt: skip
    shorter = np.mean([pearson([a.votes for a in q.answers], [-len(a.text) for a in q.answers]) for q in asked])
    first = read_record(tmp_path).evaluations[0].metrics
    assert first["mismatch/human_reward"] == pytest.approx(shorter), "brevity weighs three times as much"


@pytest.mark.parametrize("asynchronous", [True, False])
def test_grpo_and_hre_call_the_same_function_in_the_same_loop(asynchronous, tmp_path):
    """A judge's client belongs to the loop that it was first used in: another one would break it for training."""
    loops = []

    async def reward(completions, **kwargs):
        loops.append(asyncio.get_running_loop())
        return [float(len(completion)) for completion in completions]

    func = reward if asynchronous else length_reward
    asked, tok = questions(), tokenizer()
    callback = HumanRankEvalCallback(asked, HREConfig(eval_steps=1), reward_funcs=[func])
    args = arguments(tmp_path, GRPOConfig, max_steps=1, num_generations=2, max_completion_length=4)
    prompts = Dataset.from_list([{"prompt": "the model"}] * 4)
    GRPOTrainer(
        dropout_model(tok), func, args=args, train_dataset=prompts, processing_class=tok, callbacks=[callback]
    ).train()
    record = read_record(tmp_path)
    first = record.evaluations[0].metrics
    lengths = [[len(a.text) for a in q.answers] for q in asked]
    expected = np.mean([pearson([a.votes for a in q.answers], n) for q, n in zip(asked, lengths, strict=True)])
    assert first["mismatch/human_reward"] == pytest.approx(expected)
    assert len(set(loops)) == (1 if asynchronous else 0) and len(loops) == (2 if asynchronous else 0)
    assert "People, model, reward" in render(record)


def test_two_functions_of_one_name_are_two_rewards():
    asked, tok = questions(1), tokenizer()
    found = score_rewards([lambda **k: [1.0] * 4, lambda **k: [2.0] * 4], asked, HREConfig(), tok)
    assert total(found, [10.0, 0.5]) == [[11.0] * 4] and total(found, [10.0]) == [[3.0] * 4]
    assert found == {"<lambda>": [[1.0] * 4], "<lambda>#2": [[2.0] * 4]} and total(found) == [[3.0] * 4]


def test_nan_says_as_little_as_none():
    asked, tok = questions(1), tokenizer()
    found = score_rewards([lambda **k: [math.nan, None, torch.tensor(1.0), np.float32(2)]], asked, HREConfig(), tok)
    assert found == {"<lambda>": [[None, None, 1.0, 2.0]]}


def test_the_report_of_a_run_without_a_reward_shows_the_implicit_one(tmp_path):
    sft_trainer(tmp_path, [HumanRankEvalCallback(questions(), HREConfig(eval_steps=1))], max_steps=2).train()
    record = read_record(tmp_path)
    assert not [key for look in record.evaluations for key in look.metrics if "_reward" in key]
    assert 'class="triangle"' in render(record) and "This run has no reward of its own" in render(record)
    for look in record.evaluations[1:]:
        implicit = {key: value for key, value in look.metrics.items() if key.endswith("_implicit")}
        look.metrics.update({key.replace("_implicit", "_reward"): value for key, value in implicit.items()})
    assert "This run has no reward of its own" in render(record), "an older record has it under both names"
