"""Averages of checkpoints: the mean of the tensors, in a folder that loads and answers as the mean in memory does."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from hre_callback.scoring.checkpoint import ModelError
from hre_callback.scoring.loading import load_model
from hre_callback.scoring.soup import check_alike, check_start, find_weights, write_mean
from hre_callback.scoring.soup_adapters import check_adapter_kind, only_lora, write_adapter_mean

from ..trainers import TEXTS, dropout_model, tokenizer
from .test_loading import SMALL, edit, reweigh

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
TOKENIZER = tokenizer()


def llama(folder, seed, *, dtype=torch.float32, shards=None, **more):
    torch.manual_seed(seed)
    model = LlamaForCausalLM(LlamaConfig(**{**SMALL, **more})).to(dtype)
    model.save_pretrained(folder, **({} if shards is None else {"max_shard_size": shards}))
    TOKENIZER.save_pretrained(folder)
    return folder


def three(tmp_path, **options):
    return [llama(tmp_path / str(seed), seed, **options) for seed in range(3)]


def mixed(folders, weights, out):
    out.mkdir()
    parts = [find_weights(folder, folder.name) for folder in folders]
    for one in parts:
        check_alike(parts[0], one)
    write_mean(list(zip(parts, weights, strict=True)), parts[-1], out)
    return out


def logits(model):
    ids = torch.tensor([TOKENIZER(TEXTS[0]).input_ids])
    with torch.no_grad():
        return model.eval()(input_ids=ids).logits.float()


def in_memory(folders, weights):
    """The same, by adding up state dicts."""
    models = [AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32) for folder in folders]
    states = [model.state_dict() for model in models]
    mean = {key: sum(w * state[key] for w, state in zip(weights, states, strict=True)) for key in states[0]}
    models[0].load_state_dict(mean)
    return models[0]


@pytest.mark.parametrize("weights", [(1 / 3, 1 / 3, 1 / 3), (0.5, 0.2, 0.3), (0.0, 1.0, 0.0)])
def test_the_average_is_the_mean_of_the_tensors_and_answers_as_it_does(weights, tmp_path):
    folders = three(tmp_path)
    out = mixed(folders, weights, tmp_path / "out")
    states = [load_file(folder / "model.safetensors") for folder in folders]
    for key, tensor in load_file(out / "model.safetensors").items():
        mean = sum(w * state[key].double() for w, state in zip(weights, states, strict=True))
        torch.testing.assert_close(tensor.double(), mean, rtol=0, atol=1e-7)
    model, tok = load_model(out)
    torch.testing.assert_close(logits(model), logits(in_memory(folders, weights)), rtol=1e-5, atol=1e-6)
    assert tok(TEXTS[0]).input_ids == TOKENIZER(TEXTS[0]).input_ids
    assert AutoModelForCausalLM.from_pretrained(out).generation_config is not None
    assert AutoTokenizer.from_pretrained(out).eos_token == TOKENIZER.eos_token


def test_in_shards_it_is_the_same(tmp_path):
    whole, parts = (three(tmp_path / name, shards=size) for name, size in (("whole", None), ("parts", "60KB")))
    assert len(list(parts[0].glob("*.safetensors"))) > 2
    out = mixed(parts, [1 / 3] * 3, tmp_path / "out")
    assert sorted(file.name for file in out.glob("model*")) == sorted(file.name for file in parts[0].glob("model*"))
    one = mixed(whole, [1 / 3] * 3, tmp_path / "one")
    assert torch.equal(logits(load_model(out)[0]), logits(load_model(one)[0]))


def test_in_bfloat16_the_mean_is_taken_in_float32_and_rounded_once(tmp_path):
    folders = three(tmp_path, dtype=torch.bfloat16)
    out = mixed(folders, [1 / 3] * 3, tmp_path / "out")
    states = [load_file(folder / "model.safetensors") for folder in folders]
    for key, tensor in load_file(out / "model.safetensors").items():
        assert tensor.dtype == torch.bfloat16
        mean = sum(state[key].double() for state in states) / 3
        # Half a unit in the last place of bfloat16, and not what adding up in bfloat16 loses.
        assert ((tensor.double() - mean).abs() <= mean.abs() * 2**-8 + 1e-7).all(), key
    naive = [sum(state[key] for state in states) / 3 for key in states[0]]
    means = [sum(state[key].double() for state in states) / 3 for key in states[0]]
    assert any((a.double() - b).abs().gt(b.abs() * 2**-8 + 1e-7).any() for a, b in zip(naive, means, strict=True))


def test_of_equal_weights_the_mean_is_the_same_to_the_bit_and_whole_numbers_are_taken(tmp_path):
    folders = [llama(tmp_path / str(i), 0) for i in range(3)]
    for i, folder in enumerate(folders):
        reweigh(folder / "model.safetensors", lambda w, i=i: w.update(steps=torch.tensor(i), empty=torch.zeros(0, 2)))
    out = load_file(mixed(folders, [0.3, 0.3, 0.4], tmp_path / "out") / "model.safetensors")
    last = load_file(folders[-1] / "model.safetensors")
    assert out.keys() == last.keys() and all(torch.equal(out[key], last[key]) for key in last)
    assert out["steps"] == 2


def test_tied_weights_stay_tied(tmp_path):
    out = mixed(three(tmp_path, tie_word_embeddings=True), [1 / 3] * 3, tmp_path / "out")
    assert "lm_head.weight" not in load_file(out / "model.safetensors")
    model, _ = load_model(out)
    assert model.lm_head.weight is model.model.embed_tokens.weight


def test_no_more_than_a_tensor_of_each_is_held(tmp_path, monkeypatch):
    """What is read is let go of before the next tensor is."""
    held = []
    true_mean = torch.Tensor.numpy

    def counting(tensor):
        held.append(tensor.numel())
        return true_mean(tensor)

    monkeypatch.setattr(torch.Tensor, "numpy", counting)
    folders = three(tmp_path)
    mixed(folders, [1 / 3] * 3, tmp_path / "out")
    size = (folders[0] / "model.safetensors").stat().st_size
    assert len(held) == len(load_file(folders[0] / "model.safetensors")) and max(held) < size / 2


def test_what_the_trainer_keeps_for_itself_is_not_taken_along(tmp_path):
    folders = three(tmp_path)
    for name in ("optimizer.pt", "rng_state.pth", "trainer_state.json", "training_args.bin", "zero_to_fp32.py"):
        (folders[-1] / name).write_text("{}")
    (folders[-1] / "chat_template.jinja").write_text("{{ messages }}")
    (folders[-1] / "additional_chat_templates").mkdir()
    (folders[-1] / "additional_chat_templates" / "tool.jinja").write_text("x")
    out = mixed(folders, [1 / 3] * 3, tmp_path / "out")
    assert {str(file.relative_to(out)) for file in out.rglob("*") if file.is_file()} == {
        "config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
        "chat_template.jinja", "additional_chat_templates/tool.jinja",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda f: edit(f / "config.json", architectures=["GPT2LMHeadModel"]), "architectures is ['LlamaForCausalLM']"),
        (lambda f: edit(f / "config.json", rope_theta=1.0), "rope_theta is None and 1.0"),
        (lambda f: reweigh(f / "model.safetensors", lambda w: w.pop("lm_head.weight")), "only one has lm_head.weight"),
        (
            lambda f: reweigh(f / "model.safetensors", lambda w: w.update({"lm_head.weight": torch.ones(2, 3)})),
            "and [2, 3]",
        ),
        (
            lambda f: reweigh(
                f / "model.safetensors", lambda w: w.update({"model.norm.weight": torch.ones(32).half()})
            ),
            "model.norm.weight is F32 and F16",
        ),
    ],
)
def test_what_differs_is_named(change, words, tmp_path):
    first, other = (llama(tmp_path / str(i), i) for i in range(2))
    change(other)
    with pytest.raises(ModelError) as caught:
        check_alike(find_weights(first, "one"), find_weights(other, "two"))
    assert words in str(caught.value) and str(caught.value).startswith("one and two are not states of one model: ")


def test_what_may_differ_may(tmp_path):
    first, other = (llama(tmp_path / str(i), i) for i in range(2))
    edit(other / "config.json", use_cache=False, transformers_version="9")
    check_alike(find_weights(first, "one"), find_weights(other, "two"))


def quantised(folder):
    edit(folder / "config.json", quantization_config={"quant_method": "bitsandbytes"})


def in_eight_bits(folder):
    reweigh(
        folder / "model.safetensors",
        lambda w: w.update({"lm_head.weight": w["lm_head.weight"].to(torch.float8_e4m3fn)}),
    )


def pickled(folder):
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def elsewhere(folder):
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "../../x.safetensors"}}))


def cut(folder):
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:100])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (quantised, "it is quantised (bitsandbytes)"),
        (in_eight_bits, "it is quantised: lm_head.weight is F8_E4M3"),
        (pickled, "its weights are pickles (.bin)"),
        (elsewhere, "names files outside its folder"),
        (cut, "expected whole weights"),
        (lambda folder: (folder / "config.json").write_text("[]"), "config.json holds []"),
        (lambda folder: (folder / "config.json").unlink(), "FileNotFoundError"),
    ],
)
def test_what_has_no_mean_is_refused(change, words, tmp_path):
    folder = llama(tmp_path / "it", 0)
    change(folder)
    with pytest.raises(ModelError) as caught:
        find_weights(folder, "it")
    assert words in str(caught.value).replace("it: it", "it") and "\n" not in str(caught.value)


def test_a_start_of_another_precision_and_with_more_weights_is_one(tmp_path):
    start, end = llama(tmp_path / "start", 0, dtype=torch.bfloat16), llama(tmp_path / "end", 1)
    reweigh(start / "model.safetensors", lambda w: w.update(more=torch.ones(2)))
    weights = [find_weights(folder, folder.name) for folder in (end, start)]
    check_start(*weights)
    (tmp_path / "out").mkdir()
    write_mean([(weights[0], 0.25), (weights[1], 0.75)], weights[0], tmp_path / "out")
    got, a, b = (load_file(folder / "model.safetensors") for folder in (tmp_path / "out", end, start))
    assert got.keys() == a.keys()
    for key in got:
        torch.testing.assert_close(got[key], 0.25 * a[key] + 0.75 * b[key].float())


def test_another_model_is_no_start(tmp_path):
    one, other = llama(tmp_path / "a", 0), llama(tmp_path / "b", 0, num_hidden_layers=3)
    with pytest.raises(ModelError, match="b was not trained from a: only one has model.layers.2"):
        check_start(find_weights(other, "b"), find_weights(one, "a"))


# ---- adapters ----------------------------------------------------------------------------------------------------------


def lora(**more):
    return LoraConfig(**{
        "r": 4, "lora_alpha": 6, "target_modules": ["c_attn", "c_proj"], "fan_in_fan_out": True,
        "task_type": "CAUSAL_LM", **more,
    })  # fmt: skip


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    dropout_model(TOKENIZER).save_pretrained(folder)
    TOKENIZER.save_pretrained(folder)
    return folder


def adapter(base, folder, seed, config):
    torch.manual_seed(seed)
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(base), config)
    for name, weight in model.named_parameters():
        if weight.requires_grad:
            torch.nn.init.normal_(weight, std=0.2, generator=torch.Generator().manual_seed(seed + len(name)))
    model.save_pretrained(folder)
    return folder


def merged(base, folder):
    return PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), folder).merge_and_unload()


def mean_of_merged(base, folders, weights):
    """What a mean of adapters is to be: the base and the mean of what they add to it."""
    model = AutoModelForCausalLM.from_pretrained(base)
    own, others = model.state_dict(), [merged(base, folder).state_dict() for folder in folders]
    with torch.no_grad():
        model.load_state_dict({
            key: own[key] + sum(w * (other[key] - own[key]) for w, other in zip(weights, others, strict=True))
            for key in own
        })  # fmt: skip
    return model


KINDS = {
    "plain": {},
    "rslora": {"use_rslora": True},
    "ranks": {"rank_pattern": {"c_proj": 2}, "alpha_pattern": {"c_proj": 8}},
    "embeddings": {"target_modules": ["q_proj", "embed_tokens"], "fan_in_fan_out": False},
}


@pytest.mark.parametrize("weights", [(0.5, 0.5), (0.1, 0.4)])
@pytest.mark.parametrize("kind", KINDS)
def test_a_mean_of_lora_adapters_adds_the_mean_of_what_they_add(kind, weights, base, tmp_path):
    if kind == "embeddings":
        # Not tied: merged into tied ones the adapter would change the head too.
        base = llama(tmp_path / "llama", 0)
    folders = [adapter(base, tmp_path / str(seed), seed, lora(**KINDS[kind])) for seed in range(2)]
    parts = [(find_weights(folder, folder.name), weight) for folder, weight in zip(folders, weights, strict=True)]
    check_alike(parts[0][0], parts[1][0])
    for one, _ in parts:
        check_adapter_kind(one)
        # With an adapted embedding peft saves the frozen one too.
        assert only_lora(one) == (kind != "embeddings")
    (tmp_path / "out").mkdir()
    write_adapter_mean(parts, tmp_path / "out")
    found = logits(load_model(tmp_path / "out")[0])
    expected = logits(mean_of_merged(base, folders, weights))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert json.loads((tmp_path / "out" / "adapter_config.json").read_text())["r"] == 8
    # The test can tell: the mean of the As times the mean of the Bs is another model.
    wrong = shutil.copytree(folders[0], tmp_path / "wrong")
    other = load_file(folders[1] / "adapter_model.safetensors")
    reweigh(
        wrong / "adapter_model.safetensors",
        lambda w: w.update({key: weights[0] * w[key] + weights[1] * other[key] for key in w}),
    )
    assert (logits(load_model(wrong)[0]) - expected).abs().max() > 0.01


def test_an_adapter_of_no_weight_is_the_base_model(base, tmp_path):
    one = find_weights(adapter(base, tmp_path / "a", 0, lora()), "a")
    (tmp_path / "out").mkdir()
    write_adapter_mean([(one, 0.0)], tmp_path / "out")
    torch.testing.assert_close(logits(load_model(tmp_path / "out")[0]), logits(load_model(base)[0]))


def test_what_an_adapter_brings_whole_is_averaged_as_it_is(base, tmp_path):
    folders = [adapter(base, tmp_path / str(i), i, lora(bias="lora_only", modules_to_save=["ln_f"])) for i in range(2)]
    parts = [(find_weights(folder, folder.name), 0.5) for folder in folders]
    assert not only_lora(parts[0][0])
    (tmp_path / "out").mkdir()
    write_adapter_mean(parts, tmp_path / "out")
    found = logits(load_model(tmp_path / "out")[0])
    torch.testing.assert_close(found, logits(mean_of_merged(base, folders, (0.5, 0.5))), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("field", "value"),
    [("use_dora", True), ("lora_bias", True), ("peft_type", "IA3"), ("init_lora_weights", "pissa_niter_4")],
)
def test_an_adapter_without_an_exact_mean_is_refused_by_name(field, value, base, tmp_path):
    folder = adapter(base, tmp_path / "a", 0, lora())
    edit(folder / "adapter_config.json", **{field: value})
    with pytest.raises(ModelError, match=f"a: an adapter with {field} {value!r} has no exact mean"):
        check_adapter_kind(find_weights(folder, "a"))
