"""LoRA: scored with the adapters on, the start as reference, and every flag of the adapters left as it was."""

from __future__ import annotations

import pytest
import torch
from peft import LoraConfig, get_peft_model
from trl import DPOConfig, DPOTrainer, SFTTrainer

from hre_callback import HREConfig, HumanRankEvalCallback, HumanRankEvaluator, read_record

from ..test_trl_trainers import pairs
from ..trainers import arguments, dropout_model, questions, sft_dataset, tokenizer
from .test_no_trace import assert_same, fingerprint_of

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning", "ignore::DeprecationWarning")


def lora():
    return LoraConfig(
        r=4, lora_dropout=0.1, target_modules=["c_attn", "c_proj"], fan_in_fan_out=True, task_type="CAUSAL_LM"
    )


def sft(out, callbacks):
    tok = tokenizer()
    return SFTTrainer(
        dropout_model(tok), args=arguments(out, max_steps=4), train_dataset=sft_dataset(), processing_class=tok,
        peft_config=lora(), callbacks=callbacks,
    )  # fmt: skip


def test_lora_is_scored_with_adapters_on_and_left_as_it_was(tmp_path):
    plain = sft(tmp_path / "plain", [])
    plain.train()
    callback = HumanRankEvalCallback(questions(), HREConfig(eval_steps=1))
    watched = sft(tmp_path / "watched", [callback])
    flags = {name: p.requires_grad for name, p in watched.model.named_parameters()}
    watched.train()
    assert_same(fingerprint_of(plain), fingerprint_of(watched))
    assert {name: p.requires_grad for name, p in watched.model.named_parameters()} == flags
    looks = read_record(tmp_path / "watched").evaluations
    tok = tokenizer()
    base = HumanRankEvaluator(questions(), tok).evaluate(dropout_model(tok))  # the reference: a fresh adapter adds 0
    assert looks[0].loglikelihoods == [pytest.approx(row, abs=1e-4) for row in base.loglikelihoods]
    assert looks[-1].loglikelihoods != looks[0].loglikelihoods
    assert "mismatch/human_implicit" in looks[-1].metrics
    watched.model.merge_adapter()
    merged = HumanRankEvaluator(questions(), tok).evaluate(watched.model)
    assert looks[-1].loglikelihoods == [pytest.approx(row, abs=1e-3) for row in merged.loglikelihoods]


def test_a_frozen_second_adapter_stays_frozen_and_the_active_one_active(tmp_path):
    """TRL's DPO on a PEFT model adds a frozen adapter `ref`; peft's own disable_adapter() would unfreeze it."""
    tok = tokenizer()
    torch.manual_seed(0)
    model = get_peft_model(dropout_model(tok), lora())
    trainer = DPOTrainer(
        model, args=arguments(tmp_path, DPOConfig, max_steps=3), train_dataset=pairs(), processing_class=tok,
        callbacks=[HumanRankEvalCallback(questions(), HREConfig(eval_steps=1))],
    )  # fmt: skip
    assert "ref" in model.peft_config
    flags = {name: p.requires_grad for name, p in model.named_parameters()}
    active = model.active_adapters
    trainer.train()
    assert {name: p.requires_grad for name, p in model.named_parameters()} == flags
    assert model.active_adapters == active
    assert [look.step for look in read_record(tmp_path).evaluations] == [0, 1, 2, 3]
