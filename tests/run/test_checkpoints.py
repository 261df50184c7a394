"""Which checkpoints lie under a folder, of which step, and whether they are whole: files alone, no torch."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path

import pytest

from hre_callback.run.checkpoints import claimed_twice, find_checkpoints, next_up, read_training


def safetensors(size=16, *, cut=0):
    header = json.dumps({"w": {"dtype": "F32", "shape": [size // 4], "data_offsets": [0, size]}}).encode()
    return (struct.pack("<Q", len(header)) + header + bytes(size))[: -cut or None]


def checkpoint(folder, name, *, weights=None, state=None, config="config.json", file="model.safetensors"):
    path = folder / name
    path.mkdir(parents=True, exist_ok=True)
    (path / config).write_text("{}")
    (path / file).write_bytes(safetensors() if weights is None else weights)
    if state is not None:
        (path / "trainer_state.json").write_text(json.dumps(state))
    return path


def steps(folder):
    return [(one.name, one.step) for one in find_checkpoints(folder)]


def lacks(folder):
    (one,) = find_checkpoints(folder)
    return one.lacks


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("checkpoint-20", 20),
        ("checkpoint-0", 0),
        ("global_step_7", 7),
        ("global_step7", 7),
        ("step-3", 3),
        ("step_0000100", 100),
        ("iter_5", 5),
        ("ckpt-9", 9),
        ("Step12", 12),
        ("500", 500),
        ("global_step_40/actor/huggingface", 40),
        ("dpo/checkpoint-2", 2),
        ("best", None),
        ("llama-3", None),
        ("checkpoint-20-merged", None),
        ("tmp-checkpoint-4", None),
    ],
)
def test_the_step_stands_in_the_name(tmp_path, name, step):
    checkpoint(tmp_path, name)
    assert steps(tmp_path) == [(name, step)]


def test_the_step_stands_in_the_trainers_state_where_the_name_has_none(tmp_path):
    checkpoint(tmp_path, "best", state={"global_step": 30, "log_history": []})
    assert steps(tmp_path) == [("best", 30)] and lacks(tmp_path) is None


def test_name_and_state_that_differ_are_told(tmp_path):
    checkpoint(tmp_path, "checkpoint-300", state={"global_step": 30})
    assert lacks(tmp_path) == "its name says step 300 and its trainer_state.json step 30"


def test_steps_rise_as_numbers_do(tmp_path):
    for name in ("checkpoint-100", "checkpoint-20", "checkpoint-3", "other"):
        checkpoint(tmp_path, name)
    assert [one.step for one in find_checkpoints(tmp_path)] == [3, 20, 100, None]


def test_an_adapter_is_a_checkpoint_and_what_is_in_one_belongs_to_it(tmp_path):
    adapter = {"config": "adapter_config.json", "file": "adapter_model.safetensors"}
    checkpoint(tmp_path, "checkpoint-4", **adapter)
    checkpoint(tmp_path, "checkpoint-4/ref", **adapter)
    (tmp_path / "checkpoint-4" / "global_step4").mkdir()
    assert steps(tmp_path) == [("checkpoint-4", 4)] and lacks(tmp_path) is None


def test_the_folder_itself_hidden_folders_and_records_are_none(tmp_path):
    checkpoint(tmp_path, ".")
    checkpoint(tmp_path, "_hre/checkpoint-1")
    checkpoint(tmp_path, ".cache/checkpoint-2")
    (tmp_path / "hre.jsonl").write_text("{}")
    (tmp_path / "runs" / "Nov26").mkdir(parents=True)
    assert steps(tmp_path) == []


def test_a_folder_that_is_not_there_has_none(tmp_path):
    assert find_checkpoints(tmp_path / "later") == []
    (tmp_path / "file").write_text("")
    assert find_checkpoints(tmp_path / "file") == []


def test_links_are_followed_once(tmp_path):
    checkpoint(tmp_path, "checkpoint-4")
    checkpoint(tmp_path, "elsewhere/away")
    (tmp_path / "a-latest").symlink_to("checkpoint-4")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "broken").symlink_to("nowhere")
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "checkpoint-9").symlink_to(tmp_path / "elsewhere" / "away")
    assert steps(tmp_path)[0] == ("checkpoint-4", 4)
    assert steps(inside) == [("checkpoint-9", 9)]


def test_half_written_checkpoints_say_what_they_lack(tmp_path):
    (tmp_path / "checkpoint-4").mkdir()
    path = tmp_path / "checkpoint-4"
    assert lacks(tmp_path) == "no config.json or adapter_config.json is in it"
    (path / "config.json").write_text("{}")
    assert lacks(tmp_path) == "no weights are in it"
    (path / "model.safetensors").write_bytes(b"")
    assert lacks(tmp_path) == "model.safetensors has no header that can be read"
    (path / "model.safetensors").write_bytes(safetensors(cut=5))
    assert lacks(tmp_path).endswith(f"has {len(safetensors()) - 5} of {len(safetensors())} bytes")
    (path / "model.safetensors").write_bytes(safetensors())
    assert lacks(tmp_path) is None
    (path / "trainer_state.json").write_text('{"global_step": 4, "log_hi')
    assert lacks(tmp_path).startswith("trainer_state.json cannot be read")


@pytest.mark.parametrize("junk", [b"\xff" * 8, b"\x02" + bytes(7) + b"[]", b"\x04" + bytes(7) + b"null", b"short"])
def test_weights_that_are_no_safetensors_are_no_error(tmp_path, junk):
    checkpoint(tmp_path, "checkpoint-4", weights=junk)
    assert lacks(tmp_path) == "model.safetensors has no header that can be read"


def test_all_shards_of_the_index_must_be_there(tmp_path):
    path = checkpoint(tmp_path, "checkpoint-4", file="model-00001-of-00003.safetensors")
    names = {f"w{i}": f"model-0000{i}-of-00003.safetensors" for i in (1, 2, 3)}
    (path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    assert lacks(tmp_path) == "model-00002-of-00003.safetensors is not there, nor 1 more"
    for name in names.values():
        (path / name).write_bytes(safetensors())
    assert lacks(tmp_path) is None
    (path / names["w3"]).write_bytes(safetensors(cut=1))
    assert lacks(tmp_path).startswith("model-00003-of-00003.safetensors has ")
    for bad in ("[]", '{"weight_map": 3}', '{"weight_map": {"w": 1}}', "{", ""):
        (path / "model.safetensors.index.json").write_text(bad)
        assert lacks(tmp_path)


def test_two_folders_of_one_step_are_named_and_neither_is_taken(tmp_path):
    for name in ("a/checkpoint-4", "b/checkpoint-4", "b/checkpoint-8"):
        checkpoint(tmp_path, name)
    found = find_checkpoints(tmp_path)
    assert claimed_twice(found) == {4: ["a/checkpoint-4", "b/checkpoint-4"]}
    assert next_up(found, found, -1).name == "b/checkpoint-8"


def test_what_is_whole_and_still_is_next_in_order_of_steps(tmp_path):
    for name in ("checkpoint-4", "checkpoint-12", "checkpoint-8"):
        checkpoint(tmp_path, name)
    found = find_checkpoints(tmp_path)
    assert [next_up(found, found, after).step for after in (-1, 4, 8)] == [4, 8, 12]
    assert next_up(found, found, 12) is None


def test_what_was_not_there_before_is_waited_for_and_holds_up_those_behind_it(tmp_path):
    checkpoint(tmp_path, "checkpoint-8")
    before = find_checkpoints(tmp_path)
    checkpoint(tmp_path, "checkpoint-4")
    now = find_checkpoints(tmp_path)
    assert next_up(now, before, -1) is None
    assert next_up(now, now, -1).step == 4


def test_an_upload_that_grows_is_waited_for_and_one_that_rests_is_passed_over(tmp_path):
    checkpoint(tmp_path, "checkpoint-4", weights=safetensors(4000, cut=3000))
    checkpoint(tmp_path, "checkpoint-8")
    before = find_checkpoints(tmp_path)
    checkpoint(tmp_path, "checkpoint-4", weights=safetensors(4000, cut=2000))
    now = find_checkpoints(tmp_path)
    assert next_up(now, before, -1) is None
    assert next_up(now, now, -1).step == 8


def test_what_was_given_up_is_tried_again_when_its_files_change(tmp_path):
    path = checkpoint(tmp_path, "checkpoint-4")
    found = find_checkpoints(tmp_path)
    given_up = {(path, found[0].files)}
    assert next_up(found, found, -1, given_up) is None
    (path / "tokenizer.json").write_text("{}")
    found = find_checkpoints(tmp_path)
    assert next_up(found, found, -1, given_up).step == 4


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read_is_passed_over(tmp_path):
    (tmp_path / "checkpoint-4").mkdir(mode=0)
    assert lacks(tmp_path)


def no_reading(monkeypatch, name):
    """Somebody else's folder, for root too."""
    real = os.scandir

    def scandir(path):
        if Path(path).name == name:
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr("os.scandir", scandir)


@pytest.mark.parametrize("name", ["private", "runs"])
def test_a_folder_that_cannot_be_read_is_told_and_its_neighbours_found(name, tmp_path, monkeypatch):
    runs = tmp_path / "runs"
    checkpoint(runs, "checkpoint-4")
    (runs / "private").mkdir()
    no_reading(monkeypatch, name)
    found = {one.name: one for one in find_checkpoints(runs)}
    assert (found[name].step, found[name].files, found[name].lacks) == (None, (), f"{name}: Permission denied")
    assert found.keys() == ({"checkpoint-4", "private"} if name == "private" else {"runs"})
    assert next_up(list(found.values()), list(found.values()), -1) is found.get("checkpoint-4")


def test_the_trainers_state_gives_signals_and_plan(tmp_path):
    rows = [{"step": 2, "loss": 3.5}, {"step": 4, "loss": float("nan"), "eval_hre": 0.1}]
    path = checkpoint(tmp_path, "a", state={"global_step": 4, "epoch": 1, "max_steps": 8, "log_history": rows})
    told = read_training(path)
    assert (told.step, told.epoch, told.last_step) == (4, 1.0, 8) and told.log_history[0] == rows[0]
    assert read_training(tmp_path).log_history == ()


@pytest.mark.parametrize(
    "state", [[], 3, None, {"log_history": {}}, {"log_history": [1]}, {"log_history": [{"step": "x"}]}]
)
def test_a_state_of_somebody_else_is_refused(tmp_path, state):
    (tmp_path / "trainer_state.json").write_text(json.dumps(state))
    with pytest.raises(ValueError, match="trainer_state.json is not one of a Trainer"):
        read_training(tmp_path)


def test_numbers_of_a_state_that_are_none_are_passed_over(tmp_path):
    state = {"global_step": "4", "epoch": None, "max_steps": -1, "log_history": []}
    (tmp_path / "trainer_state.json").write_text(json.dumps(state))
    told = read_training(tmp_path)
    assert (told.step, told.epoch, told.last_step) == (None, None, None)
