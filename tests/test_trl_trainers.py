"""Every TRL trainer really trained for a few steps with the callback attached; the keys that each logs are pinned."""

from __future__ import annotations

import pytest
from datasets import Dataset

from hre_callback import HREConfig, HumanRankEvalCallback, read_record
from hre_callback.proxies import directions

from .test_no_trace import assert_same, fingerprint_of
from .trainers import TEXTS, arguments, dropout_model, questions, sft_dataset, tokenizer

pytestmark = pytest.mark.filterwarnings(
    "ignore::FutureWarning", "ignore::UserWarning", "ignore::DeprecationWarning", "ignore:.*experimental.*"
)
ALWAYS = {"epoch", "grad_norm", "learning_rate", "loss", "step"}
PREFERENCE = {"logits/chosen", "logits/rejected", "logps/chosen", "logps/rejected"}
REWARDS = {"rewards/chosen", "rewards/rejected", "rewards/accuracies", "rewards/margins"}
LENGTHS = {f"completions/{s}_{t}" for s in ("mean", "min", "max") for t in ("length", "terminated_length")}
ONLINE = (
    LENGTHS
    | {
        "completions/clipped_ratio",
        "entropy",
        "frac_reward_zero_std",
        "kl",
        "num_tokens",
        "reward",
        "reward_std",
    }
    | {"rewards/length_reward/mean", "rewards/length_reward/std", "step_time"}
    | {f"clip_ratio/{s}" for s in ("high_max", "high_mean", "low_mean", "low_min", "region_mean")}
)


def pairs(n=24):
    return Dataset.from_list(
        [
            {
                "prompt": f"say {TEXTS[i % 24]}",
                "chosen": " " + TEXTS[(i + 5) % 24],
                "rejected": " " + TEXTS[(i + 9) % 24],
            }
            for i in range(n)
        ]
    )


def length_reward(completions, **kwargs):
    return [float(len(completion)) for completion in completions]


def labelled(n=24):
    rows = [
        {"prompt": row["prompt"], "completion": row["chosen"], "label": bool(i % 2)}
        for i, row in enumerate(pairs(n))
    ]
    return Dataset.from_list(rows)


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory):
    """On disk, because several trainers load their reference model from where the model came from."""
    folder = tmp_path_factory.mktemp("model")
    tok = tokenizer()
    dropout_model(tok).save_pretrained(folder)
    tok.save_pretrained(folder)
    return str(folder)


def build(name, folder, out, callbacks, **overrides):
    """A trainer of TRL by its short name, ready to train four steps."""
    import trl
    from trl.experimental import cpo, online_dpo, orpo

    tok = tokenizer()
    common = {"processing_class": tok, "callbacks": callbacks}
    short = {"max_steps": 4, **overrides}
    online = {
        "per_device_train_batch_size": 4,
        "num_generations": 4,
        "max_completion_length": 8,
        "temperature": 0.7,
    }
    prompts = pairs().select_columns(["prompt"])
    if name == "sft":
        return trl.SFTTrainer(
            folder, args=arguments(out, trl.SFTConfig, **short), train_dataset=sft_dataset(), **common
        )
    if name == "dpo":
        return trl.DPOTrainer(
            folder, args=arguments(out, trl.DPOConfig, **short), train_dataset=pairs(), **common
        )
    if name == "kto":
        return trl.KTOTrainer(
            folder, args=arguments(out, trl.KTOConfig, **short), train_dataset=labelled(), **common
        )
    if name == "grpo":
        args = arguments(out, trl.GRPOConfig, beta=0.1, **online, **short)
        return trl.GRPOTrainer(folder, length_reward, args=args, train_dataset=prompts, **common)
    if name == "rloo":
        args = arguments(out, trl.RLOOConfig, **online, **short)
        return trl.RLOOTrainer(folder, length_reward, args=args, train_dataset=prompts, **common)
    if name == "distillation":
        args = arguments(out, trl.DistillationConfig, max_completion_length=8, **short)
        return trl.DistillationTrainer(folder, folder, args=args, train_dataset=prompts, **common)
    if name == "orpo":
        args = arguments(out, orpo.ORPOConfig, max_length=64, **short)
        return orpo.ORPOTrainer(dropout_model(tok), args=args, train_dataset=pairs(), **common)
    if name == "cpo":
        args = arguments(out, cpo.CPOConfig, max_length=64, **short)
        return cpo.CPOTrainer(dropout_model(tok), args=args, train_dataset=pairs(), **common)
    if name == "online_dpo":
        args = arguments(out, online_dpo.OnlineDPOConfig, max_new_tokens=8, **short)
        return online_dpo.OnlineDPOTrainer(
            dropout_model(tok), reward_funcs=length_reward, args=args, train_dataset=prompts, **common
        )
    raise ValueError(name)


KEYS = {
    "sft": {"entropy", "mean_token_accuracy", "num_tokens"},
    "dpo": PREFERENCE | REWARDS | {"entropy", "mean_token_accuracy", "num_tokens"},
    "kto": PREFERENCE | (REWARDS - {"rewards/accuracies"}) | {"entropy", "kl", "num_tokens"},
    "grpo": ONLINE,
    "rloo": ONLINE,
    "distillation": LENGTHS | {"completions/clipped_ratio", "entropy", "num_tokens", "step_time"},
    "orpo": PREFERENCE | REWARDS | {"log_odds_chosen", "log_odds_ratio", "nll_loss"},
    "cpo": PREFERENCE | REWARDS | {"nll_loss"},
    "online_dpo": REWARDS
    | {"logps/chosen", "logps/rejected", "beta", "val/contain_eos_token"}
    | {
        f"objective/{s}"
        for s in ("entropy", "kl", "non_score_reward", "rlhf_reward", "scores", "scores_margin")
    },
}


# What each optimises, with the direction that counts as progress.
OBJECTIVES = {
    "sft": {"loss": "down", "mean_token_accuracy": "up"},
    "dpo": {"loss": "down", "rewards/margins": "up", "rewards/accuracies": "up"},
    "kto": {"loss": "down", "rewards/margins": "up"},
    "grpo": {"reward": "up", "rewards/length_reward/mean": "up"},
    "rloo": {"reward": "up", "rewards/length_reward/mean": "up"},
    "distillation": {"loss": "down"},
    "orpo": {"loss": "down", "nll_loss": "down", "log_odds_chosen": "up"},
    "cpo": {"loss": "down", "nll_loss": "down", "rewards/margins": "up"},
    "online_dpo": {"objective/rlhf_reward": "up", "objective/scores": "up"},
}


@pytest.mark.parametrize("name", sorted(KEYS))
def test_trains_with_the_callback(name, model_folder, tmp_path):
    trainer = build(
        name, model_folder, tmp_path, [HumanRankEvalCallback(questions(), HREConfig(eval_steps=2))]
    )
    trainer.train()
    record = read_record(tmp_path)
    assert [line["step"] for line in record.evaluations] == [0, 2, 4]
    assert not [event for event in record.events if event["kind"] == "skipped"]
    logged = [row for row in trainer.state.log_history if "loss" in row]
    assert set(logged[-1]) == KEYS[name] | ALWAYS
    proxies = record.evaluations[-1]["proxies"]
    assert "train/loss" in proxies
    known = {key.removeprefix("train/"): way for key, way in directions(proxies).items()}
    assert OBJECTIVES[name].items() <= known.items()
    assert not {"kl", "entropy", "logits/chosen", "reward_std", "objective/kl"} & known.keys()
    assert ("loss" in known) == (name not in ("grpo", "rloo", "online_dpo"))
    assert record.evaluations[-1]["verdict"] == "aligned"
    assert "mismatch/human_implicit" in record.evaluations[-1]["metrics"]


@pytest.mark.parametrize("name", ["dpo", "grpo"])
def test_is_bit_identical_with_and_without(name, model_folder, tmp_path):
    plain = build(name, model_folder, tmp_path / "plain", [])
    plain.train()
    callback = HumanRankEvalCallback(
        questions(), HREConfig(eval_steps=1), reward_funcs=[length_reward] if name == "grpo" else ()
    )
    watched = build(name, model_folder, tmp_path / "watched", [callback])
    watched.train()
    assert_same(fingerprint_of(plain), fingerprint_of(watched))


def test_sampling_temperature_does_not_reach_the_score(model_folder, tmp_path):
    """GRPO samples at 0.7 here; HRE of the untrained model equals that of SFT on the same model."""
    scores = []
    for name in ("grpo", "sft"):
        trainer = build(
            name, model_folder, tmp_path / name, [HumanRankEvalCallback(questions())], max_steps=1
        )
        trainer.train()
        scores.append(read_record(tmp_path / name).evaluations[0]["loglikelihoods"])
    assert scores[0] == scores[1]
