"""What trackers show of a run: eight curves with the score first, or all of it; the record has every number either way."""

from __future__ import annotations

from pathlib import Path

import pytest

from hre_callback import HREConfig, HumanRankEvalCallback
from hre_callback.run.keys import CHART, CORE, MOVED, constants, is_look, mismatch_prefix, shown
from hre_callback.run.record import Record, read_record
from hre_callback.settings_file import read_settings

from ..trainers import questions, sft_trainer
from ..wandb_offline import OfflineRun, read_run, seal
from .test_fanout import scalars

# TRL sets a name that transformers renames; transformers' TensorBoard path reaches torch.jit
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore:.*torch.jit.script.*")

CURVES = [
    "score", "score_low", "score_high", "since_start", "since_start_low", "since_start_high", "training_push",
    "verdict_level",
]  # fmt: skip
SAME = {"n", "undefined", "left_out", "truncated", "human_ceiling", "votes_length"}


def of(name: str) -> set[str]:
    return {f"{name}/{curve}" for curve in CURVES}


# ---- one row ------------------------------------------------------------------------------------------------


def test_core_curves_are_an_api() -> None:
    assert list(CORE.values()) == CURVES


@pytest.mark.parametrize("name", ["hre", "hre_code"])
def test_the_score_comes_first_and_its_picture_next(name: str) -> None:
    """Where a tracker sorts by name: its sections by their first part, then what is in them."""
    numbers = {f"{name}/score": 0.1, f"{name}/ci_low": 0.0, f"{name}/a": 0.0, f"{mismatch_prefix(name)}push": 0.1}
    cards = [*shown(numbers, name, "all"), *(f"{name}/{key}" for key in (*CORE.values(), CHART, MOVED))]
    assert sorted(set(cards), key=lambda key: key.split("/"))[:2] == [f"{name}/score", f"{name}/{CHART}"]


@pytest.mark.parametrize("name", ["hre", "hre_code", "mismatch"])
def test_new_numbers_are_the_rest_and_none_is_lost(name: str) -> None:
    mismatch = mismatch_prefix(name)
    numbers = {
        f"{name}/score": 0.1, f"{name}/of_tomorrow": 0.2, f"{mismatch}p_tomorrow": 0.3, f"{mismatch}push": 0.4,
        f"{name}/n": 60.0, f"{name}/group_n/lang/de": 12.0, f"{mismatch}human_policy": 0.1, f"{name}/proxy/train/loss": 2,
    }  # fmt: skip
    assert shown(numbers, name, "core") == {f"{name}/score": 0.1, f"{name}/training_push": 0.4}
    assert shown(numbers, name, "all") == {
        f"{name}/score": 0.1, f"{name}/training_push": 0.4, f"{name}_more/of_tomorrow": 0.2,
        f"{name}_more/mismatch/p_tomorrow": 0.3, f"{name}_more/proxy/train/loss": 2,
    }  # fmt: skip
    assert constants(numbers, name) == {"n": 60, "group_n/lang/de": 12}


def test_a_reward_models_agreement_with_people_is_its_score() -> None:
    numbers = {"hre/score": 0.1, "mismatch/human_reward": 0.1}
    assert shown(numbers, "hre", "all") == {"hre/score": 0.1}
    beside = {**numbers, "mismatch/human_reward": 0.3, "mismatch/policy_reward": 0.2}
    assert shown(beside, "hre", "all").keys() == {
        "hre/score",
        "hre_more/mismatch/human_reward",
        "hre_more/mismatch/policy_reward",
    }


def test_what_is_not_known_is_no_constant() -> None:
    assert constants({"hre/human_ceiling": float("nan"), "hre/n": None}, "hre") == {}


@pytest.mark.parametrize(
    ("row", "ours"),
    [
        ({"eval_hre": 0.1, "hre/score": 0.1, "step": 0}, True),
        ({"eval_hre_code": 0.1, "hre_code/score": 0.1}, True),
        # of a version before, and one look that could not be measured
        ({"eval_hre": 0.1, "hre/ci_low": 0.0, "mismatch/push": 0.1}, True),
        ({"eval_hre": float("nan"), "hre_more/seconds": 3.0}, True),
        ({"loss": 2.0, "rewards/margins": 0.1, "objective/scores": 0.2}, False),
        ({"eval_loss": 2.0, "eval_rewards/margins": 0.1, "epoch": 1}, False),
        ({}, False),
    ],
)
def test_a_row_of_the_history_is_told_by_its_keys(row: dict[str, float], ours: bool) -> None:
    assert is_look(row) is ours


def test_both_flags_are_settings_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "hre.yaml"
    file.write_text("questions: bundled\nlog: all\nworkspace: true\n")
    config = read_settings(file).config
    assert (config.log, config.workspace) == ("all", True)
    file.write_text("questions: bundled\nlog: off\n")
    with pytest.raises(ValueError, match="log is False; allowed: core, all"):
        read_settings(file)


# ---- a run --------------------------------------------------------------------------------------------------


@pytest.fixture
def sealed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import wandb

    wandb.teardown()  # settings are read once per service
    seal(monkeypatch, tmp_path)
    monkeypatch.delenv("TENSORBOARD_LOGGING_DIR", raising=False)
    yield tmp_path
    wandb.teardown()


def train(folder: Path, *configs: HREConfig) -> tuple[list[dict], OfflineRun, Record]:
    import wandb

    callbacks = [HumanRankEvalCallback(questions(8), config) for config in configs]
    trainer = sft_trainer(folder / "out", callbacks, max_steps=4, report_to=["wandb", "tensorboard"])
    trainer.train()
    wandb.finish()
    record = read_record(folder / "out" / f"{configs[0].name}.jsonl")
    assert record.events[-1].tracker_errors == []
    return trainer.state.log_history, read_run(folder), record


def ours(keys) -> set[str]:
    return {key for key in keys if not key.startswith(("train/", "eval/", "_"))}


def numbers(read: OfflineRun) -> set[str]:
    return {key for row in read.history for key, value in row.items() if isinstance(value, (int, float))}


def test_a_run_has_eight_curves_its_constants_and_its_picture(sealed: Path) -> None:
    history, read, record = train(sealed, HREConfig(eval_steps=2))
    assert ours(numbers(read)) == of("hre")
    everything = {key for row in read.history for key in row}
    assert ours(everything) == of("hre") | {"hre/score_chart", "hre/what_moved"}
    assert [step for step, _ in read.curve("hre/score_chart")] == [0, 2, 4]
    assert "visualize" not in read.config.get("_wandb", {})

    last = record.evaluations[-1].metrics
    for part, curve in CORE.items():
        key = part if part.startswith("mismatch/") else f"hre/{part}"
        assert [value for _, value in read.curve(f"hre/{curve}")][-1] == last[key]
    assert {read.summary[f"hre/{part}"] for part in ("n", "undefined")} == {8, 0}
    assert {key.removeprefix("hre/") for key in read.summary} >= SAME
    assert read.config["hre"]["human_ceiling"] == read.summary["hre/human_ceiling"] == last["hre/human_ceiling"]
    assert (read.config["hre"]["log"], read.config["hre"]["n_questions"]) == ("core", 8)
    # The record always has everything.
    assert {"hre/mde", "hre/spearman", "hre/n", "hre/topic/wood", "mismatch/distance"} <= last.keys()

    looks = [row for row in history if "eval_hre" in row]
    assert [row["step"] for row in looks] == [0, 2, 4] and all(map(is_look, looks))
    assert looks[-1].keys() == of("hre") | {"eval_hre", "epoch", "step"}
    (folder,) = (sealed / "out").glob("runs/*/hre")
    assert scalars(folder).keys() == of("hre")


def test_all_of_two_callbacks_has_no_constants_and_nothing_twice(sealed: Path) -> None:
    _, read, record = train(sealed, HREConfig(eval_steps=2, log="all"), HREConfig(name="hre_code", eval_steps=4))
    curves = ours(numbers(read))
    assert {key for key in curves if key.startswith("hre_code")} == of("hre_code")
    assert {key for key in curves if key.startswith("hre/")} == of("hre")
    assert {key.split("/")[0] for key in curves} == {"hre", "hre_more", "hre_code"}
    assert {"hre_more/mde", "hre_more/topic/wood", "hre_more/proxy/train/loss", "hre_more/mismatch/distance"} <= curves
    # Every number of the record is somewhere, once.
    names = [key for key, value in record.evaluations[-1].metrics.items() if value is not None]
    rest = {key.removeprefix("hre/") for key in names} - CORE.keys() - SAME - {"mismatch/human_policy"}
    assert {f"hre_more/{part}" for part in rest} <= curves
    assert not {f"hre_more/{part}" for part in (*SAME, *CORE, "mismatch/human_policy")} & curves
