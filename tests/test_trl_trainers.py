"""Every TRL trainer really trained for a few steps with the callback attached; the keys that each logs are pinned."""

from __future__ import annotations

import pytest
from datasets import Dataset

from hre_callback import HREConfig, HumanRankEvalCallback, read_record
from hre_callback.run.proxies import directions

from .scoring.test_no_trace import assert_same, fingerprint_of
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
        {"prompt": row["prompt"], "completion": row["chosen"], "label": bool(i % 2)} for i, row in enumerate(pairs(n))
    ]
    return Dataset.from_list(rows)


CHAT = (
    "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)


def conversations(n=12):
    return Dataset.from_list(
        [
            {
                "messages": [
                    {"role": "user", "content": TEXTS[i]},
                    {"role": "assistant", "content": TEXTS[i + 5]},
                ]
            }
            for i in range(n)
        ]
    )


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory):
    """On disk, because several trainers load their reference model from where the model came from."""
    folder = tmp_path_factory.mktemp("model")
    tok = tokenizer()
    tok.chat_template = CHAT
    dropout_model(tok).save_pretrained(folder)
    tok.save_pretrained(folder)
    return str(folder)


def build(name, folder, out, callbacks, **overrides):
    """A trainer of TRL by its short name, ready to train four steps."""
    import trl
    from trl.experimental import a2po, cpo, gkd, gmpo, gold, iw_opd, online_dpo, orpo, sdpo, tpo

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
        return trl.DPOTrainer(folder, args=arguments(out, trl.DPOConfig, **short), train_dataset=pairs(), **common)
    if name == "kto":
        return trl.KTOTrainer(folder, args=arguments(out, trl.KTOConfig, **short), train_dataset=labelled(), **common)
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
    if name == "sdpo":
        args = arguments(out, sdpo.SDPOConfig, **{**online, "temperature": 1.0}, **short)
        return sdpo.SDPOTrainer(folder, length_reward, args=args, train_dataset=prompts, **common)
    if name == "gmpo":
        args = arguments(out, gmpo.GMPOConfig, **online, **short)
        return gmpo.GMPOTrainer(folder, length_reward, args=args, train_dataset=prompts, **common)
    if name == "a2po":
        args = arguments(out, a2po.A2POConfig, max_completion_length=8, **short)
        return a2po.A2POTrainer(folder, length_reward, args=args, train_dataset=prompts, **common)
    if name == "tpo":
        references = pairs().add_column("reference", pairs()["chosen"])
        args = arguments(out, tpo.TPOConfig, **short)
        return tpo.TPOTrainer(folder, args=args, train_dataset=references, **common)
    tok.chat_template = CHAT
    if name == "gold":
        args = arguments(out, gold.GOLDConfig, max_completion_length=8, max_length=64, lmbda=0.5, **short)
        return gold.GOLDTrainer(folder, folder, args=args, train_dataset=conversations(), **common)
    if name == "gkd":
        args = arguments(out, gkd.GKDConfig, max_new_tokens=8, **short)
        return gkd.GKDTrainer(folder, folder, args=args, train_dataset=conversations(), **common)
    if name == "iw_opd":
        args = arguments(out, iw_opd.IWOPDConfig, max_completion_length=8, **short)
        return iw_opd.IWOPDTrainer(folder, folder, args=args, train_dataset=conversations(), **common)
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
    | {f"objective/{s}" for s in ("entropy", "kl", "non_score_reward", "rlhf_reward", "scores", "scores_margin")},
    "sdpo": LENGTHS
    | {"completions/clipped_ratio", "sdpo/distillation_loss"}
    | {
        f"self_distillation/{s}"
        for s in (
            "distillation_loss",
            "feedback_available_fraction",
            "feedback_used_fraction",
            "flat_group_fraction",
            "group_reward_std_mean",
            "reprompt_sample_fraction",
            "reward_max",
            "reward_mean",
            "reward_min",
            "reward_std",
            "rewards/length_reward",
            "success_group_fraction",
            "success_sample_fraction",
        )
    },
    "gmpo": ONLINE - {"kl"},
    "a2po": {"advantage", "implicit_reward", "reward", "v_star"},
    "tpo": PREFERENCE | REWARDS | {"entropy", "mean_token_accuracy", "num_tokens"},
    "gkd": set(),
    "iw_opd": {f"completions/on_policy_{s}_length" for s in ("mean", "min", "max")}
    | {f"iw_opd/{s}" for s in ("max_weight", "mean_abs_advantage", "mean_advantage", "mean_weight", "min_weight")}
    | {"completions/truncated_fraction", "on_policy_loss"},
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
    "sdpo": {
        "self_distillation/reward_mean": "up",
        "self_distillation/rewards/length_reward": "up",
        "self_distillation/distillation_loss": "down",
    },
    "gmpo": {"reward": "up", "rewards/length_reward/mean": "up"},
    "a2po": {"reward": "up", "loss": "down"},
    "tpo": {"loss": "down", "rewards/margins": "up"},
    "gkd": {"loss": "down"},
    "iw_opd": {"iw_opd/mean_advantage": "up"},
}
POLICY_GRADIENT = ("grpo", "rloo", "online_dpo", "sdpo", "gmpo", "iw_opd")


@pytest.mark.parametrize("name", sorted(KEYS))
def test_trains_with_the_callback(name, model_folder, tmp_path):
    trainer = build(name, model_folder, tmp_path, [HumanRankEvalCallback(questions(), HREConfig(eval_steps=2))])
    trainer.train()
    record = read_record(tmp_path)
    assert [line.step for line in record.evaluations] == [0, 2, 4]
    assert not [event for event in record.events if event.kind == "skipped"]
    logged = [row for row in trainer.state.log_history if "loss" in row]
    assert set(logged[-1]) == KEYS[name] | ALWAYS
    proxies = record.evaluations[-1].proxies
    assert "train/loss" in proxies
    known = {key.removeprefix("train/"): way for key, way in directions(proxies).items()}
    assert OBJECTIVES[name].items() <= known.items()
    assert not {"kl", "entropy", "logits/chosen", "reward_std", "objective/kl"} & known.keys()
    assert ("loss" in known) == (name not in POLICY_GRADIENT)
    assert record.evaluations[-1].verdict == "aligned"
    assert "mismatch/human_implicit" in record.evaluations[-1].metrics


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
        trainer = build(name, model_folder, tmp_path / name, [HumanRankEvalCallback(questions())], max_steps=1)
        trainer.train()
        scores.append(read_record(tmp_path / name).evaluations[0].loglikelihoods)
    assert scores[0] == scores[1]
