"""What `load_model` takes, and what it refuses in one sentence: folders are made here, whole or damaged."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import struct
import sys

import peft
import pytest
import torch
import transformers as tf
from safetensors.torch import load_file, save_file

from hre_callback.scoring import loading
from hre_callback.scoring.checkpoint import check_loaded, check_numbers
from hre_callback.scoring.demo_model import demo_gguf, tiny_model
from hre_callback.scoring.loading import ModelError, load_model, parse_device, parse_dtype

from ..trainers import TEXTS

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning:transformers")
TOKENIZER = tiny_model(TEXTS)[1]
VOCABULARY = len(TOKENIZER)
SMALL = {
    "vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
    "num_attention_heads": 2, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
GPT2 = {
    "vocab_size": VOCABULARY,
    "n_embd": 32,
    "n_layer": 2,
    "n_head": 2,
    "n_positions": 64,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
T5 = {
    "vocab_size": VOCABULARY,
    "d_model": 32,
    "d_kv": 8,
    "d_ff": 48,
    "num_layers": 1,
    "num_heads": 2,
    "decoder_start_token_id": 0,
}
BART = {
    "vocab_size": VOCABULARY, "d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2,
    "decoder_attention_heads": 2, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48,
}  # fmt: skip
VISION = {
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 8,
    "patch_size": 4,
}
LLAVA = {"vision_config": {"model_type": "clip_vision_model", **VISION}, "text_config": {"model_type": "llama", **SMALL},
         "image_token_index": VOCABULARY - 1}  # fmt: skip
WHISPER = {
    **BART, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1, "suppress_tokens": [],
    "begin_suppress_tokens": [],
}  # fmt: skip
SCORED = {
    "LlamaForCausalLM": ("LlamaConfig", SMALL),
    "GPT2LMHeadModel": ("GPT2Config", GPT2),
    "LlamaForSequenceClassification": ("LlamaConfig", {**SMALL, "num_labels": 1}),
    "BertForSequenceClassification": ("BertConfig", {**SMALL, "num_labels": 1}),
    "T5ForConditionalGeneration": ("T5Config", T5),
    "BartForConditionalGeneration": ("BartConfig", BART),
    "BartForCausalLM": ("BartConfig", BART),
    "BertLMHeadModel": ("BertConfig", {**SMALL, "is_decoder": True}),
    "LlavaForConditionalGeneration": ("LlavaConfig", LLAVA),
    "MambaForCausalLM": ("MambaConfig", {"vocab_size": VOCABULARY, "hidden_size": 32, "num_hidden_layers": 1, "state_size": 8}),
    "MixtralForCausalLM": ("MixtralConfig", {**SMALL, "num_key_value_heads": 2, "num_local_experts": 4}),
}  # fmt: skip
REFUSED = {
    "BertForMaskedLM": ("BertConfig", SMALL),
    "RobertaForMaskedLM": ("RobertaConfig", SMALL),
    "LlamaForTokenClassification": ("LlamaConfig", SMALL),
    "GPT2ForTokenClassification": ("GPT2Config", GPT2),
    "LlamaForQuestionAnswering": ("LlamaConfig", SMALL),
    "LlamaModel": ("LlamaConfig", SMALL),
    "GPT2Model": ("GPT2Config", GPT2),
    "GPT2DoubleHeadsModel": ("GPT2Config", GPT2),
    "T5EncoderModel": ("T5Config", T5),
    "ViTForImageClassification": ("ViTConfig", VISION),
    "WhisperForConditionalGeneration": ("WhisperConfig", WHISPER),
}


def save(folder, name, config, tokenizer=TOKENIZER, **more):
    torch.manual_seed(0)
    model = getattr(tf, name)(getattr(tf, config[0])(**{**config[1], **more}))
    model.save_pretrained(folder)
    if tokenizer is not None:
        tokenizer.save_pretrained(folder)
    return model.eval()


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "llama"
    save(folder, "LlamaForCausalLM", SCORED["LlamaForCausalLM"])
    return folder


@pytest.fixture
def copy(llama, tmp_path):
    return shutil.copytree(llama, tmp_path / "copy")


def refused(source, *parts, **options):
    """The one sentence with which `source` is refused; it names the source."""
    with pytest.raises(ModelError) as caught:
        load_model(source, **options)
    sentence = str(caught.value)
    assert str(source) in sentence and "\n" not in sentence
    assert [part for part in parts if part not in sentence] == [], sentence
    return sentence


def edit(file, **fields):
    file.write_text(json.dumps({**json.loads(file.read_text()), **fields}))


def reweigh(file, change):
    weights = load_file(file)
    change(weights)
    save_file(weights, file, metadata={"format": "pt"})


@pytest.mark.parametrize("name", SCORED)
def test_what_was_saved_is_what_is_loaded(name, tmp_path):
    saved = save(tmp_path, name, SCORED[name])
    model, tokenizer = load_model(tmp_path)
    assert type(model).__name__ == name and not model.training
    assert tokenizer(TEXTS[0]).input_ids == TOKENIZER(TEXTS[0]).input_ids
    own = model.state_dict()
    assert all(torch.equal(weight, own[key]) for key, weight in saved.state_dict().items())


@pytest.mark.parametrize("name", REFUSED)
def test_what_hre_cannot_score_is_refused_by_name(name, tmp_path):
    save(tmp_path, name, REFUSED[name])
    refused(tmp_path, f"this is a {name}", "causal language models, encoder-decoders and reward models")


def test_a_classifier_of_three_labels_is_no_reward_model(tmp_path):
    save(tmp_path, "LlamaForSequenceClassification", ("LlamaConfig", SMALL), num_labels=3)
    refused(tmp_path, "LlamaForSequenceClassification has 3 labels; a reward model has one")


def test_a_saved_model_loads_in_the_dtype_asked_for(llama):
    assert load_model(llama, dtype=torch.bfloat16)[0].dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("key", "change"),
    [
        ("model.layers.1.mlp.up_proj.weight", None),
        ("lm_head.weight", None),
        ("model.layers.2.input_layernorm.weight", {"num_hidden_layers": 3}),
    ],
)
def test_a_weight_that_is_missing_is_named(copy, key, change):
    """Drawn at random by transformers, with a table in the log."""
    if change:
        edit(copy / "config.json", **change)
    else:
        reweigh(copy / "model.safetensors", lambda weights: weights.pop(key))
    refused(copy, "LlamaForCausalLM lacks", key, "drawn at random")


def test_tied_weights_are_not_missing(tmp_path):
    save(tmp_path, "LlamaForCausalLM", ("LlamaConfig", SMALL), tie_word_embeddings=True)
    assert "lm_head.weight" not in load_file(tmp_path / "model.safetensors")
    model, _ = load_model(tmp_path)
    assert model.lm_head.weight is model.model.embed_tokens.weight
    reweigh(tmp_path / "model.safetensors", lambda weights: weights.pop("model.embed_tokens.weight"))
    refused(tmp_path, "lacks", "model.embed_tokens.weight")


def test_a_config_with_fewer_layers_than_the_weights_is_refused(copy):
    edit(copy / "config.json", num_hidden_layers=1)
    refused(copy, "no place for 9 weights (model.layers.1.input_layernorm.weight")


def test_a_bias_that_the_config_switches_off_is_refused(copy):
    key = "model.layers.0.self_attn.q_proj.bias"
    reweigh(copy / "model.safetensors", lambda weights: weights.update({key: torch.ones(32)}))
    refused(copy, f"no place for 1 weight ({key})")


def test_weights_of_another_shape_are_named_with_both(copy):
    edit(copy / "config.json", hidden_size=64)
    refused(copy, "lm_head.weight [", ", 32] for [", ", 64]")


def test_weights_of_another_shape_are_named_where_transformers_4_tells_no_shapes():
    told = {"mismatched_keys": ["lm_head.weight"]}
    with pytest.raises(ModelError, match=r"has no room for 1 weight \(lm_head.weight\)"):
        check_loaded("here", torch.nn.Linear(1, 1), told)


@pytest.mark.parametrize("architectures", [None, ["LlamaForRewardModel"], []])
def test_where_the_config_names_no_known_class_all_weights_have_to_be_of_use(tmp_path, architectures):
    """A reward model with a class of its own and tied embeddings would pass for a language model."""
    save(tmp_path, "LlamaForCausalLM", ("LlamaConfig", SMALL), tie_word_embeddings=True)
    edit(tmp_path / "config.json", architectures=architectures)
    assert type(load_model(tmp_path)[0]).__name__ == "LlamaForCausalLM"
    reweigh(tmp_path / "model.safetensors", lambda w: w.update({"score.weight": torch.ones(1, 32)}))
    refused(tmp_path, "no place for 1 weight (score.weight)")


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_named(copy, number):
    reweigh(copy / "model.safetensors", lambda weights: weights["model.norm.weight"].fill_(number))
    refused(copy, "NaN or infinity in 1 weight (model.norm.weight)", "finite numbers")


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2, torch.int8, torch.bfloat16])
def test_numbers_of_every_kind_are_looked_at(dtype):
    model = torch.nn.Linear(2, 2)
    model.weight = torch.nn.Parameter(torch.ones(2, 2).to(dtype), requires_grad=False)
    check_numbers("model", model)
    if dtype.is_floating_point:
        model.weight = torch.nn.Parameter(torch.full((2, 2), float("nan")).to(dtype), requires_grad=False)
        model.dtype = dtype
        with pytest.raises(ModelError, match=r"model: NaN or infinity in 1 weight \(weight\)"):
            check_numbers("model", model)


def test_a_model_that_is_in_its_place_is_not_moved(llama, monkeypatch):
    """Quantised models may not be: their loader puts them where they belong."""
    monkeypatch.setattr(tf.LlamaForCausalLM, "to", lambda self, *args, **options: pytest.fail("moved"))
    load_model(llama, device="cpu")


def test_weights_too_large_for_the_dtype_are_named(copy):
    reweigh(copy / "model.safetensors", lambda weights: weights["model.norm.weight"].fill_(1e6))
    load_model(copy)
    refused(copy, "model.norm.weight", "float16", dtype=torch.float16)


BROKEN = {
    "config.json": [b"", b"[]", b"null", b"\xff\xfe\x00", b"[" * 100_000, b"{}", b'{"model_type": "no_such"}', None],
    "model.safetensors": [b"", b"\x00" * 5, os.urandom(5000), b"version https://git-lfs.github.com/spec/v1\n", None],
    "tokenizer.json": [b"", b"{}", b"null", b"[]", b"garbage"],
    "tokenizer_config.json": [b"[", b"3"],
}  # fmt: skip


@pytest.mark.parametrize(
    ("file", "content"), [(file, content) for file, contents in BROKEN.items() for content in contents]
)
def test_a_file_that_is_not_what_it_should_be(copy, file, content):
    """Empty, garbage, other JSON, a pointer, gone: whatever the loader raises is one sentence."""
    (copy / file).unlink()
    if content is not None:
        (copy / file).write_bytes(content)
    refused(copy, "expected")


@pytest.mark.parametrize("share", [0.01, 0.5, 0.999])
def test_half_a_file_of_weights(copy, share):
    file = copy / "model.safetensors"
    file.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])
    refused(copy, "expected whole weights", "SafetensorError")


def test_a_shard_that_is_missing_is_named(llama, tmp_path):
    load_model(llama)[0].save_pretrained(tmp_path, max_shard_size="30KB")
    TOKENIZER.save_pretrained(tmp_path)
    load_model(tmp_path)
    shard = min(tmp_path.glob("model-*.safetensors"))
    shard.unlink()
    refused(tmp_path, shard.name)


def test_a_config_field_of_the_wrong_type_is_named(copy):
    edit(copy / "config.json", hidden_size="big")
    refused(copy, "expected", "TypeError", "size")


@pytest.mark.parametrize(
    "name", ["LlamaForCausalLM", "GPT2LMHeadModel", "T5ForConditionalGeneration", "BartForCausalLM"]
)
def test_a_folder_without_a_tokenizer(tmp_path, name):
    """transformers makes up a tokenizer that knows nothing but special tokens for some of them."""
    save(tmp_path, name, SCORED[name], tokenizer=None)
    refused(tmp_path, "tokenizer")


class Evil:
    """Pickled, it makes the folder that it was given the name of."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (self.folder,)


@pytest.mark.parametrize("raw", [False, True])
def test_a_pickle_that_is_more_than_weights_is_not_run(copy, tmp_path, raw):
    (copy / "model.safetensors").unlink()
    evil = Evil(str(tmp_path / "ran"))
    if raw:
        (copy / "pytorch_model.bin").write_bytes(pickle.dumps(evil, protocol=2))
    else:
        torch.save({"weight": evil}, copy / "pytorch_model.bin")
    refused(copy, "pickle", "not run", "safetensors")
    assert not (tmp_path / "ran").exists()


def test_a_pickle_of_weights_alone_is_read(copy):
    weights = load_file(copy / "model.safetensors")
    (copy / "model.safetensors").unlink()
    torch.save(weights, copy / "pytorch_model.bin")
    assert torch.equal(load_model(copy)[0].lm_head.weight, weights["lm_head.weight"])


@pytest.mark.parametrize(
    "source", ["", "no/such-model", "/no/such", "a\0b", "x" * 5000, "../../..", "/dev/null", "a b"]
)
def test_a_name_of_nothing(source, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    refused(source, "expected")


def test_a_file_is_no_model_folder(llama):
    refused(llama / "model.safetensors", "is a file; expected a model folder, a .gguf file or a hub id")


def own_code(folder, *, native=False, ran="ran"):
    """The folder comes with a model class of its own, which makes a folder when it is imported."""
    code = (
        f"import os\nos.mkdir({ran!r})\nprint('noise')\nfrom transformers import LlamaConfig, LlamaForCausalLM\n"
        "class OwnConfig(LlamaConfig):\n    model_type = 'own'\n"
        "class OwnModel(LlamaForCausalLM):\n    config_class = OwnConfig\n"
    )
    (folder / "own.py").write_text(code)
    fields = {} if native else {"model_type": "own", "architectures": ["OwnModel"]}
    edit(
        folder / "config.json",
        auto_map={"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.OwnModel"},
        **fields,
    )


@pytest.fixture
def own_modules(monkeypatch, tmp_path):
    """Where transformers keeps the code of others, and Python what it has imported, put back afterwards."""
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "modules")])
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith("transformers_modules"):
            del sys.modules[name]


def test_code_of_the_folder_runs_only_when_asked_for(copy, tmp_path, monkeypatch, own_modules):
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked"))
    own_code(copy, ran=str(tmp_path / "ran"))
    refused(copy, "code of its own", "--trust-remote-code")
    assert not (tmp_path / "ran").exists()
    model, _ = load_model(copy, trust_remote_code=True)
    assert type(model).__name__ == "OwnModel" and (tmp_path / "ran").exists()


def test_a_known_model_with_code_of_its_own_is_loaded_without_it(copy, tmp_path, own_modules):
    own_code(copy, native=True, ran=str(tmp_path / "ran"))
    assert type(load_model(copy)[0]).__name__ == "LlamaForCausalLM"
    assert not (tmp_path / "ran").exists()


def test_a_tokenizer_with_code_of_its_own_is_not_run(copy, tmp_path):
    (copy / "own.py").write_text(f"import os\nos.mkdir({str(tmp_path / 'ran')!r})\n")
    edit(copy / "tokenizer_config.json", tokenizer_class="Own", auto_map={"AutoTokenizer": [None, "own.Own"]})
    refused(copy, "code of its own", "--trust-remote-code")
    assert not (tmp_path / "ran").exists()


def test_code_that_calls_exit_ends_nothing(copy, own_modules):
    own_code(copy)
    (copy / "own.py").write_text("raise SystemExit(0)")
    refused(copy, "SystemExit", trust_remote_code=True)


def gguf_head(tensors, fields):
    return b"GGUF" + struct.pack("<IQQ", 3, tensors, fields)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"GGUF",
        os.urandom(3000),
        gguf_head(2**60, 2**60) + os.urandom(1000),
        gguf_head(0, 2**62) + bytes(1000),
        gguf_head(0, 0),
        b"GGUF" + struct.pack("<IQQ", 99, 0, 0),
    ],
    ids=["empty", "magic", "garbage", "counts", "fields", "nothing", "version"],
)
def test_a_gguf_file_that_is_none(tmp_path, content):
    (tmp_path / "a.gguf").write_bytes(content)
    refused(tmp_path / "a.gguf", "expected a whole language model in this GGUF file")


@pytest.mark.skipif(demo_gguf() is None, reason="needs the demo's model")
@pytest.mark.parametrize("share", [0.00005, 0.01, 0.5])
def test_half_a_gguf_file(tmp_path, share):
    with demo_gguf().open("rb") as real:
        (tmp_path / "a.gguf").write_bytes(real.read(int(share * demo_gguf().stat().st_size)))
    refused(tmp_path / "a.gguf", "expected a whole language model in this GGUF file")


def test_no_gguf_file(tmp_path):
    refused(tmp_path / "none.gguf", "no such GGUF file")
    (tmp_path / "folder.gguf").mkdir()
    refused(tmp_path / "folder.gguf", "no such GGUF file")


def without(monkeypatch, package):
    found = loading.importlib.util.find_spec
    monkeypatch.setattr(loading.importlib.util, "find_spec", lambda name: None if name == package else found(name))


def test_a_gguf_file_needs_its_package(tmp_path, monkeypatch):
    (tmp_path / "a.gguf").write_bytes(b"GGUF")
    without(monkeypatch, "gguf")
    refused(tmp_path / "a.gguf", "pip install gguf")


# name -> (settings of the adapter, class of the base model)
ADAPTERS = {
    "lora": (lambda: peft.LoraConfig(task_type="CAUSAL_LM", target_modules=["q_proj"]), "LlamaForCausalLM"),
    "no_task": (lambda: peft.LoraConfig(target_modules=["q_proj"]), "LlamaForCausalLM"),
    "prompt": (lambda: peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4), "LlamaForCausalLM"),
    "prefix": (lambda: peft.PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4), "LlamaForCausalLM"),
    "whole_modules": (
        lambda: peft.LoraConfig(task_type="CAUSAL_LM", target_modules=["q_proj"], modules_to_save=["embed_tokens", "lm_head"]),
        "LlamaForCausalLM",
    ),
    "reward": (lambda: peft.LoraConfig(task_type="SEQ_CLS", target_modules=["q_proj"]), "LlamaForSequenceClassification"),
}  # fmt: skip


def adapter(folder, base, name="lora"):
    """An adapter as it is after training: every weight of it moved."""
    make, kind = ADAPTERS[name]
    labels = {} if kind.endswith("CausalLM") else {"num_labels": 1}
    model = peft.get_peft_model(getattr(tf, kind).from_pretrained(base, **labels), make())
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) / 5)
    model.save_pretrained(folder)
    return model.eval()


@pytest.mark.parametrize("name", ADAPTERS)
def test_an_adapter_is_loaded_onto_the_model_that_it_names(llama, tmp_path, name):
    trained = adapter(tmp_path, llama, name)
    model, tokenizer = load_model(tmp_path)
    ids = torch.tensor([TOKENIZER(TEXTS[0]).input_ids])
    with torch.no_grad():
        assert torch.equal(model(input_ids=ids).logits, trained(input_ids=ids).logits)
    assert tokenizer.get_vocab() == TOKENIZER.get_vocab()


def test_the_tokenizer_beside_an_adapter_is_its_own(llama, tmp_path):
    adapter(tmp_path, llama)
    other = tiny_model(["other words"])[1]
    other.save_pretrained(tmp_path)
    assert load_model(tmp_path)[1].get_vocab() == other.get_vocab()


@pytest.mark.parametrize("base", ["/no/such", "org/none", None, 7])
def test_an_adapter_whose_base_model_is_not_there(llama, tmp_path, base, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    adapter(tmp_path, llama)
    edit(tmp_path / "adapter_config.json", base_model_name_or_path=base)
    refused(tmp_path, "holds an adapter", "base" if base is None else f"of {base}", "expected")


def test_an_adapter_on_an_adapter_or_beside_a_model_is_refused(llama, copy, tmp_path):
    """transformers would apply the one beside the model by itself, and we a second time."""
    adapter(tmp_path / "one", llama)
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    edit(tmp_path / "two" / "adapter_config.json", base_model_name_or_path=str(tmp_path / "one"))
    refused(tmp_path / "two", "expected a whole model without one")
    shutil.copytree(tmp_path / "one", copy, dirs_exist_ok=True)
    refused(copy, "holds a whole model and an adapter")


@pytest.mark.filterwarnings("ignore:Found missing adapter keys")
@pytest.mark.parametrize(
    ("name", "change", "told"),
    [
        ("lora", lambda w: w.pop(min(w)), "lacks 1 weight"),
        ("lora", lambda w: w.update({key.replace("layers.1", "layers.7"): w[key].clone() for key in list(w)}), "no place for 2 weights"),
        ("lora", lambda w: w[min(w)].fill_(float("nan")), "NaN or infinity"),
        ("reward", lambda w: w.pop("base_model.model.score.weight"), "lacks 1 weight (score.weight)"),
    ],
    ids=["missing", "more", "nan", "no_head"],
)  # fmt: skip
def test_half_an_adapter_is_refused(llama, tmp_path, name, change, told):
    adapter(tmp_path, llama, name)
    reweigh(tmp_path / "adapter_model.safetensors", change)
    refused(tmp_path, told)


@pytest.mark.parametrize("content", [b"", b"garbage", None])
@pytest.mark.parametrize("file", ["adapter_config.json", "adapter_model.safetensors"])
def test_files_of_an_adapter_that_are_not_what_they_should_be(llama, tmp_path, monkeypatch, file, content):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    adapter(tmp_path, llama)
    (tmp_path / file).unlink()
    if content is not None:
        (tmp_path / file).write_bytes(content)
    refused(tmp_path, "expected")


def test_an_adapter_needs_its_package(llama, tmp_path, monkeypatch):
    adapter(tmp_path, llama)
    without(monkeypatch, "peft")
    refused(tmp_path, "pip install peft")


@pytest.mark.parametrize("name", ["float32", "bfloat16", "float16"])
def test_a_dtype_by_name(name):
    assert parse_dtype(name) is getattr(torch, name)


def test_a_dtype_that_is_none_of_them():
    with pytest.raises(ValueError, match="dtype 'int4' is not one of float32, bfloat16, float16"):
        parse_dtype("int4")


def test_a_device_by_name_and_by_default(monkeypatch):
    assert parse_device("cpu") == torch.device("cpu")
    monkeypatch.setattr(loading, "_accelerator", lambda: torch.device("cuda"))
    assert parse_device() == torch.device("cuda")
    assert parse_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["", "gpu", "meta", "cuda:99", "cuda:-1", "hpu", "0", "auto", "cpu "])
def test_a_device_that_cannot_be_used_is_named(name):
    with pytest.raises(ValueError, match=rf"^device {name!r} cannot be used here \(.+\); expected .*cpu"):
        parse_device(name)
