"""`hre soup` as a person types it, on whole models and adapters, and whatever stands in its way."""

from __future__ import annotations

import json
import shutil
from types import SimpleNamespace

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from hre_callback import HumanRankEvaluator, load_questions
from hre_callback.commands import mixing
from hre_callback.scoring.loading import load_model

from .synthetic_records import healthy, write
from .test_cli import hre
from .trainers import dropout_model, questions, tokenizer

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A start and three models a little way from it."""
    folder, tok = tmp_path_factory.mktemp("models"), tokenizer()
    start = dropout_model(tok).state_dict()
    for seed in range(4):
        model = dropout_model(tok)
        torch.manual_seed(seed)
        moved = {key: weight + 0.02 * bool(seed) * torch.randn_like(weight) for key, weight in start.items()}
        moved["lm_head.weight"] = moved["transformer.wte.weight"]
        model.load_state_dict(moved)
        model.save_pretrained(folder / str(seed))
        tok.save_pretrained(folder / str(seed))
    return folder


@pytest.fixture
def run(tmp_path, models):
    for seed in (1, 2, 3):
        shutil.copytree(models / str(seed), tmp_path / "run" / f"checkpoint-{10 * seed}")
    return tmp_path / "run"


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    file = tmp_path_factory.mktemp("asked") / "q.jsonl"
    rows = [
        {"id": one.id, "question": one.question, "topic": one.topic,
         "answers": [{"text": answer.text, "votes": answer.votes} for answer in one.answers]}
        for one in questions(10)
    ]  # fmt: skip
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


@pytest.fixture(autouse=True)
def nothing_is_left(tmp_path, monkeypatch):
    """Whatever happens, no half of a folder stays."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    yield
    assert list(tmp_path.rglob("*.partial")) == []


def refused(*args, capsys, parts=()):
    out, err = hre("soup", *args, "--quiet", capsys=capsys, code=2)
    assert out == "" and err.startswith("hre: ") and err.count("\n") == 1, err
    assert [part for part in parts if str(part) not in err] == [], err


def test_it_says_the_cost_tries_them_all_and_saves_nothing_that_is_not_better(run, models, asked, tmp_path, capsys):
    args = [run, "--questions", asked, "--start", models / "0", "--out", tmp_path / "new" / "soup"]
    out, err = hre("soup", *args, capsys=capsys, code=1)
    assert "9 models to be scored on 10 questions each" in err
    for name in ("checkpoint-10", "all 3", "last 2", "all 3, 0.25 of the way", "the start"):
        assert name in out
    assert "No average is shown to be better" in out and out.rstrip().endswith("saves the best average all the same.")
    assert not (tmp_path / "new").exists()


def test_what_is_saved_is_what_was_scored(run, models, asked, tmp_path, capsys):
    out = tmp_path / "soup"
    args = [run, "--questions", asked, "--start", models / "0", "--out", out, "--save-anyway", "--json"]
    found = json.loads(hre("soup", *args, capsys=capsys)[0])
    assert found["saved"] == str(out) and found["halves"] == 40
    made_of = json.loads((out / "soup.json").read_text())["made_of"]
    (told,) = [row for row in found["tried"] if row["name"] == found["average"]]
    assert sum(made_of.values()) == pytest.approx(1)
    assert [made_of.get(f"checkpoint-{10 * i}", 0) for i in (1, 2, 3)] == told["weights"]
    model, tok = load_model(out)
    assert HumanRankEvaluator(load_questions(asked), tok).evaluate(model).score == pytest.approx(told["score"])
    states = {path.name: load_file(path / "model.safetensors") for path in run.iterdir()}
    states["start"] = load_file(models / "0" / "model.safetensors")
    for key, weight in load_file(out / "model.safetensors").items():
        mean = sum(share * states[name][key].double() for name, share in made_of.items())
        torch.testing.assert_close(weight.double(), mean, rtol=0, atol=1e-6)
    assert AutoModelForCausalLM.from_pretrained(out).dtype == torch.float32
    chosen = sum(row["chosen"] for row in found["tried"])
    assert chosen == 80, "an average and a checkpoint by each half"


def test_without_a_start_only_averages_are_tried(run, asked, capsys):
    out, err = hre("soup", run, "--questions", asked, capsys=capsys)
    assert "Where training began is not known (--start)" in err and "5 models" in err
    assert "of the way" not in out and "Against the start" not in out


def test_a_start_that_lies_in_pickles_is_read_by_the_loader(run, models, asked, tmp_path, capsys):
    start = shutil.copytree(models / "0", tmp_path / "start")
    weights = load_file(start / "model.safetensors")
    torch.save({**weights, "lm_head.weight": weights["transformer.wte.weight"]}, start / "pytorch_model.bin")
    (start / "model.safetensors").unlink()
    args = ["--questions", asked, "--json"]
    there = json.loads(hre("soup", run, "--start", models / "0", *args, capsys=capsys)[0])
    here = json.loads(hre("soup", run, "--start", start, *args, capsys=capsys)[0])
    assert [row["score"] for row in here["tried"]] == [row["score"] for row in there["tried"]]


def test_the_start_of_a_record_is_taken_where_this_machine_has_it(run, models, asked, monkeypatch, tmp_path, capsys):
    write(healthy(3, n=10), run / "hre.jsonl")
    told = (run / "hre.jsonl").read_text()
    (run / "hre.jsonl").write_text(told.replace('"model":"SmolLM2-135M-Instruct"', '"model":"them/base"'))
    args = ["soup", run, "--questions", asked, "--json"]
    assert json.loads(hre(*args, capsys=capsys)[0])["start"] is None
    monkeypatch.setattr(mixing, "try_to_load_from_cache", lambda name, file: str(models / "0" / file))
    monkeypatch.setattr("hre_callback.scoring.loading.load_model", lambda source, **options: load_model(
        models / "0" if source == "them/base" else source, **options))  # fmt: skip
    found = json.loads(hre(*args, capsys=capsys)[0])
    assert found["start"] == "them/base" and found["against_start"] is not None


@pytest.fixture
def adapters(tmp_path, models):
    for seed in (1, 2):
        torch.manual_seed(seed)
        config = LoraConfig(r=2, target_modules=["c_attn"], fan_in_fan_out=True, task_type="CAUSAL_LM")
        model = get_peft_model(AutoModelForCausalLM.from_pretrained(models / "0"), config)
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(weight, std=0.3)
        folder = tmp_path / "lora" / f"checkpoint-{seed}"
        model.save_pretrained(folder)
        (folder / "optimizer.pt").write_bytes(b"1")
    return tmp_path / "lora"


def test_adapters_are_averaged_as_what_they_add_and_start_at_nothing(adapters, models, asked, tmp_path, capsys):
    args = [adapters, "--questions", asked, "--out", tmp_path / "soup", "--save-anyway", "--json"]
    found = json.loads(hre("soup", *args, capsys=capsys)[0])
    assert found["start"] == str(models / "0")
    base, tok = load_model(models / "0")
    score = HumanRankEvaluator(load_questions(asked), tok).evaluate(base).score
    assert found["tried"][-1]["name"] == "the start" and found["tried"][-1]["score"] == pytest.approx(score, abs=1e-6)
    model, tok = load_model(tmp_path / "soup")
    (told,) = [row for row in found["tried"] if row["name"] == found["average"]]
    score = HumanRankEvaluator(load_questions(asked), tok).evaluate(model).score
    assert type(model).__name__.startswith("Peft") and score == pytest.approx(told["score"], abs=1e-6)
    refused(adapters, "--questions", asked, "--start", models / "0", capsys=capsys, parts=["are adapters"])


# ---- whatever stands in its way -----------------------------------------------------------------------------------------


def empty(run):
    shutil.rmtree(run)
    run.mkdir()


def alone(run):
    for step in (10, 20):
        shutil.rmtree(run / f"checkpoint-{step}")


def optimizer_only(run):
    empty(run / "checkpoint-20")
    (run / "checkpoint-20" / "optimizer.pt").write_bytes(b"1")


def half_written(run):
    file = run / "checkpoint-20" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


def fsdp(run):
    empty(run / "checkpoint-20")
    (run / "checkpoint-20" / "pytorch_model_fsdp_0").mkdir()
    (run / "checkpoint-20" / "pytorch_model_fsdp_0" / "__0_0.distcp").write_bytes(b"1")


def deepspeed(run):
    (run / "checkpoint-20" / "model.safetensors").unlink()
    (run / "checkpoint-20" / "global_step20").mkdir()
    (run / "checkpoint-20" / "global_step20" / "mp_rank_00_model_states.pt").write_bytes(b"1")
    (run / "checkpoint-20" / "zero_to_fp32.py").write_text("")


def deepspeed_without_a_config(run):
    deepspeed(run)
    (run / "checkpoint-20" / "config.json").unlink()


def twice(run):
    shutil.copytree(run / "checkpoint-20", run / "step_20")


def another_kind(run):
    file = run / "checkpoint-20" / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "n_head": 4}))


def not_numbers(run):
    weights = load_file(run / "checkpoint-20" / "model.safetensors")
    weights["transformer.ln_f.bias"].fill_(float("nan"))
    save_file(weights, run / "checkpoint-20" / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (shutil.rmtree, ["is not there", "two or more checkpoint-N folders"]),
        (empty, ["holds no checkpoint", "two or more checkpoint-N folders"]),
        (alone, ["holds one checkpoint alone, checkpoint-30"]),
        (optimizer_only, ["checkpoint-20 is not whole: no config.json"]),
        (half_written, ["checkpoint-20 is not whole: model.safetensors has "]),
        (fsdp, ["checkpoint-20 is not whole: its weights are FSDP's shards", "accelerate merge-weights"]),
        (deepspeed, ["checkpoint-20 is not whole: its weights are DeepSpeed's shards", "zero_to_fp32.py"]),
        (deepspeed_without_a_config, ["its weights are DeepSpeed's shards"]),
        (twice, ["step 20 is claimed by checkpoint-20 and step_20"]),
        (another_kind, ["checkpoint-10 and checkpoint-20 are not states of one model: n_head is 2 and 4"]),
        (not_numbers, ["checkpoint-20", "NaN or infinity"]),
    ],
)
def test_what_is_wrong_with_a_run_is_one_line(change, parts, run, asked, capsys):
    change(run)
    refused(run, "--questions", asked, capsys=capsys, parts=parts)


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (["--interpolate", "half"], ["--interpolate 'half'"]),
        (["--interpolate", "2"], ["--interpolate has 2"]),
        (["--last", "4"], ["--last is 4; expected 2 to 3"]),
        (["--start", "nowhere"], ["nowhere"]),
        (["--dtype", "int4"], ["dtype 'int4'"]),
        (["--prompt", "loud"], ["prompt"]),
        (["--out", "run"], ["run is there already"]),
        (["--out", "link"], ["link is there already"]),
        (["--out", "q.jsonl/soup"], ["q.jsonl/soup"]),
        (["--out", "x" * 300], ["File name too long"]),
        (["--limit", "4"], ["independent questions have a correlation"]),
    ],
)
def test_what_is_wrong_with_an_option_is_one_line(options, parts, run, asked, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to("nowhere")
    shutil.copy(asked, tmp_path / "q.jsonl")
    refused("run", "--questions", "q.jsonl", *options, capsys=capsys, parts=parts)


def test_questions_are_needed(run, capsys):
    assert "--questions" in hre("soup", run, capsys=capsys, code=2)[1]


def test_a_place_without_room_is_refused_before_anything_is_scored(run, asked, monkeypatch, capsys):
    monkeypatch.setattr("shutil.disk_usage", lambda place: SimpleNamespace(free=9))
    monkeypatch.setattr(mixing.Mixes, "_score", None)
    refused(run, "--questions", asked, capsys=capsys, parts=["has 0.0 GB free, and an average takes 0.1 GB"])


def test_a_disk_that_is_full_on_the_way_is_named_and_left_clean(run, asked, tmp_path, monkeypatch, capsys):
    def full(parts, like, out):
        (out / "model.safetensors").write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(mixing, "write_mean", full)
    parts = ["No space left on device", "all 3"]
    refused(run, "--questions", asked, "--out", tmp_path / "soup", capsys=capsys, parts=parts)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "tmp"]


def test_a_checkpoint_that_goes_meanwhile_is_named(run, asked, monkeypatch, capsys):
    score = mixing.Mixes._result

    def going(mixes, folder, name):
        shutil.rmtree(run / "checkpoint-10", ignore_errors=True)
        return score(mixes, run / "checkpoint-30", name)

    monkeypatch.setattr(mixing.Mixes, "_result", going)
    refused(run, "--questions", asked, capsys=capsys, parts=["checkpoint-10"])


def test_a_folder_that_comes_meanwhile_is_not_replaced(run, asked, tmp_path, monkeypatch, capsys):
    save = mixing.Mixes.save

    def coming(mixes, mix, out, about):
        out.mkdir()
        save(mixes, mix, out, about)

    monkeypatch.setattr(mixing.Mixes, "save", coming)
    args = [run, "--questions", asked, "--out", tmp_path / "soup", "--save-anyway"]
    refused(*args, capsys=capsys, parts=["soup has come meanwhile, and is not replaced"])
    assert list((tmp_path / "soup").iterdir()) == []
