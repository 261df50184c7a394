"""`save_best` keeps the best checkpoint, whatever `save_total_limit` takes away, or is refused before the first step."""

from __future__ import annotations

import pytest
from transformers import EarlyStoppingCallback, TrainerCallback

from hre_callback import HREConfig, HumanRankEvalCallback
from hre_callback.run.record import read_record

from .run.test_record_file import last_word
from .trainers import questions, sft_trainer

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore:.*torch.jit.script.*")
# The start, then steps 1 to 8: the best is the third.
SCORES = (0.1, 0.2, 0.15, 0.4, 0.3, 0.2, 0.35, 0.1, 0.2)
OURS = {"metric_for_best_model": "eval_hre", "eval_strategy": "steps"}


def slow(*values):
    """A case more of the same kind."""
    return pytest.param(*values, marks=pytest.mark.slow)


def make(folder, *others, name="hre", **overrides):
    callback = HumanRankEvalCallback(questions(), HREConfig(name=name, eval_steps=1, save_best=True))
    settings = {"save_strategy": "steps", "save_steps": 2, "max_steps": 8, **overrides}
    return sft_trainer(folder, [callback, *others], **settings)


def left(folder):
    return sorted(int(path.name.split("-")[1]) for path in folder.glob("checkpoint-*"))


@pytest.mark.parametrize(
    ("limit", "overrides", "expected"),
    [
        (1, {}, [3, 8]),
        (2, {}, [3, 8]),
        slow(3, {}, [3, 6, 8]),
        slow(0, {}, [1, 2, 3, 4, 6, 8]),
        (None, {}, [1, 2, 3, 4, 6, 8]),
        (1, {"save_strategy": "no"}, [3]),
        slow(2, {"save_strategy": "no"}, [1, 3]),
        slow(1, {"save_strategy": "epoch"}, [3, 8]),
        slow(2, {"save_steps": 100}, [3, 8]),
        slow(2, {"logging_steps": 1}, [3, 8]),
        # Selected by HRE: at the very end the Trainer leaves the best alone.
        (1, {**OURS, "eval_steps": 2}, [3]),
        slow(2, {**OURS, "eval_steps": 2}, [3, 8]),
        slow(2, {**OURS, "eval_steps": 1, "metric_for_best_model": "hre"}, [3, 8]),
        (2, {**OURS, "eval_steps": 2, "load_best_model_at_end": True}, [3, 8]),
        slow(1, {**OURS, "eval_steps": 4, "save_steps": 4, "load_best_model_at_end": True}, [3]),
        (1, {**OURS, "eval_steps": 2, "save_strategy": "best", "load_best_model_at_end": True}, [3]),
    ],
)
def test_the_best_checkpoint_outlives_the_limit(tmp_path, planted, capsys, limit, overrides, expected):
    planted(*SCORES)
    trainer = make(tmp_path, save_total_limit=limit, **overrides)
    trainer.train()
    assert left(tmp_path) == expected
    assert read_record(tmp_path).events[-1].summary.best_step == 3
    assert "highest 0.400 at step 3" in (word := last_word(capsys)) and "kept in checkpoint-3" in word
    if overrides.get("save_strategy") != "no":
        assert trainer.state.best_model_checkpoint == str(tmp_path / "checkpoint-3")


class Die(TrainerCallback):
    def __init__(self, step):
        self.step = step

    def on_step_begin(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("limit", "overrides", "moved"),
    [
        (1, {}, True),
        (2, {**OURS, "eval_steps": 2}, False),
        slow(1, {}, False),
        slow(2, {}, True),
        slow(1, {**OURS, "eval_steps": 2}, True),
        slow(2, {**OURS, "eval_steps": 2}, True),
    ],
)
def test_it_outlives_a_resume_too(tmp_path, planted, capsys, limit, overrides, moved):
    planted(*SCORES[:7])
    folder = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        make(folder, Die(6), save_total_limit=limit, **overrides).train()
    assert left(folder) == [3, 6]
    if moved:
        folder = folder.rename(tmp_path / "moved")
    planted(*SCORES[7:])
    make(folder, save_total_limit=limit, **overrides).train(resume_from_checkpoint=True)
    assert left(folder) == ([3] if overrides and limit == 1 else [3, 8])
    assert "kept in checkpoint-3" in last_word(capsys)


def test_a_better_one_after_the_resume_takes_its_place(tmp_path, planted, capsys):
    planted(*SCORES[:7])
    with pytest.raises(KeyboardInterrupt):
        make(tmp_path, Die(6), save_total_limit=1).train()
    planted(0.9, 0.2)
    make(tmp_path, save_total_limit=1).train(resume_from_checkpoint=True)
    assert left(tmp_path) == [7, 8] and "kept in checkpoint-7" in last_word(capsys)


def test_resumed_at_the_best_itself(tmp_path, planted):
    planted(*SCORES[:7])
    with pytest.raises(KeyboardInterrupt):
        make(tmp_path, Die(6), save_total_limit=2).train()
    planted(*SCORES[4:])
    make(tmp_path, save_total_limit=2).train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))
    assert left(tmp_path) == [3, 8]


def test_a_best_one_without_a_checkpoint_is_said(tmp_path, planted, capsys):
    import shutil

    class Delete(TrainerCallback):
        def on_save(self, args, state, control, **kwargs):
            shutil.rmtree(tmp_path / f"checkpoint-{state.global_step}")

    planted(*SCORES)
    make(tmp_path, Delete()).train()
    assert "at step 3" in (word := last_word(capsys)) and "NO CHECKPOINT of it is kept" in word


def test_the_model_that_is_loaded_at_the_end_is_the_best_by_all_looks(tmp_path, planted):
    """Its look is one of ours, between those of the Trainer."""
    planted(*SCORES)
    trainer = make(tmp_path, save_total_limit=1, load_best_model_at_end=True, **OURS, eval_steps=2)
    trainer.train()
    assert trainer.state.best_global_step == 3 and trainer.state.best_metric == pytest.approx(0.4)


def test_patience_counts_evaluations_without_a_new_best(tmp_path, planted):
    planted(*SCORES)
    stopper = EarlyStoppingCallback(3)
    trainer = make(tmp_path, stopper, save_total_limit=1, load_best_model_at_end=True, **OURS, eval_steps=1)
    trainer.train()
    assert trainer.state.global_step == 6


@pytest.mark.parametrize(
    ("overrides", "works"),
    [
        (
            {"save_total_limit": 2, "metric_for_best_model": "eval_loss", "eval_strategy": "steps"},
            "set metric_for_best_model='eval_hre' and greater_is_better=True, or save_total_limit=None",
        ),
        (
            {
                "save_total_limit": 1,
                "load_best_model_at_end": True,
                "eval_strategy": "steps",
                "eval_steps": 2,
            },
            "the Trainer spares only the best by metric_for_best_model='loss'; set metric_for_best_model='eval_hre'",
        ),
        (
            {"save_strategy": "best", "metric_for_best_model": "eval_loss", "eval_strategy": "steps"},
            'or save_strategy="steps"',
        ),
        ({**OURS, "greater_is_better": False}, "set greater_is_better=True"),
    ],
)
@pytest.mark.parametrize("late", [False, True])
def test_what_cannot_be_kept_is_refused_with_what_works(tmp_path, overrides, works, late):
    settings = {"save_strategy": "steps", "save_steps": 2, "eval_steps": 2, **overrides}
    callback = HumanRankEvalCallback(questions(), HREConfig(save_best=True))
    with pytest.raises(ValueError, match="save_best") as caught:
        trainer = sft_trainer(tmp_path, [] if late else [callback], **settings)
        trainer.add_callback(callback)
        trainer.train()
    assert works in str(caught.value) and not left(tmp_path)


def test_two_that_want_to_keep_one_each_are_refused(tmp_path, planted):
    planted(0.1, 0.2)
    other = HumanRankEvalCallback(questions(), HREConfig(name="hre_code", save_best=True))
    with pytest.raises(ValueError, match="'hre' and 'hre_code' cannot both keep a checkpoint"):
        make(tmp_path, other, save_total_limit=2)
    make(tmp_path, other)
