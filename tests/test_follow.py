"""Checkpoints scored beside their training: the numbers of the callback, and whatever a folder may hold meanwhile."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

from hre_callback import HREConfig, HumanRankEvalCallback, read_record, write_report
from hre_callback.cli import main
from hre_callback.follow import Follower
from hre_callback.run.record import BESIDE
from hre_callback.scoring.loading import load_model
from hre_callback.trackers.fanout import Trackers

from .run.test_checkpoints import no_reading
from .trainers import dropout_model, questions, sft_trainer, tokenizer

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning", "ignore::DeprecationWarning")


def load(source):
    return load_model(source, dtype="auto")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Three small models that differ, as folders."""
    folder = tmp_path_factory.mktemp("models")
    tok = tokenizer()
    for seed in range(3):
        dropout_model(tok, seed).save_pretrained(folder / str(seed))
        tok.save_pretrained(folder / str(seed))
    return folder


@pytest.fixture
def run(tmp_path, models):
    """A run's folder, and what puts a checkpoint into it."""
    folder = tmp_path / "run"
    folder.mkdir()

    def put(step, seed=0, *, loss=None, last=100, name=None):
        path = folder / (name or f"checkpoint-{step}")
        shutil.copytree(models / str(seed), path)
        if loss is not None:
            rows = [{"step": at, "loss": value, "epoch": at / last} for at, value in loss]
            state = {"global_step": step, "max_steps": last, "epoch": step / last, "log_history": rows}
            (path / "trainer_state.json").write_text(json.dumps(state))
        return path

    folder_and = type("Run", (), {"folder": folder, "put": staticmethod(put), "models": models})
    return folder_and


def follower(run, config=None, **options):
    said = []
    config = config or HREConfig()
    made = Follower(
        run.folder, questions(), config, run.folder / BESIDE / "hre.jsonl", options.pop("load", load),
        tell=said.append, quiet=True, **options,
    )  # fmt: skip
    return made, said


def once(run, config=None, **options):
    made, said = follower(run, config, **options)
    return made.follow(Trackers([]), once=True), made, said


def written(path):
    """The questions as a file."""
    rows = [
        {"id": one.id, "question": one.question, "topic": one.topic,
         "answers": [{"text": answer.text, "votes": answer.votes} for answer in one.answers]}
        for one in questions()
    ]  # fmt: skip
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def command(*arguments):
    return [sys.executable, "-m", "hre_callback", "follow", *map(str, arguments)]


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr("hre_callback.follow._GLANCE", 0.05)


def test_beside_a_live_run_it_gives_the_numbers_that_the_callback_gave(tmp_path):
    """Another process follows while the trainer trains, evaluates, logs and writes its checkpoints."""
    folder, start = tmp_path / "run", tmp_path / "start"
    config = HREConfig(planned_looks=4, eval_steps=2)
    trainer = sft_trainer(
        folder, [HumanRankEvalCallback(questions(), config)],
        eval_strategy="steps", eval_steps=2, logging_steps=1, save_strategy="steps", save_steps=2,
    )  # fmt: skip
    trainer.model.save_pretrained(start)
    trainer.processing_class.save_pretrained(start)
    settings = {"questions": str(written(tmp_path / "q.jsonl")), "planned_looks": 4, "eval_steps": 2}
    (tmp_path / "hre.yaml").write_text(json.dumps(settings))
    options = ["--config", tmp_path / "hre.yaml", "--start", start, "--every", 0.2, "--device", "cpu"]
    with subprocess.Popen(
        command(folder, *options), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as beside:
        assert "HRE step 0" in beside.stdout.readline()
        trainer.train()
        said, _ = beside.communicate(timeout=120)
    assert beside.returncode == 0 and "The run has reached its last step, 8" in said

    ours, theirs = read_record(folder / BESIDE), read_record(folder / "hre.jsonl")
    assert [look.step for look in ours.evaluations] == [look.step for look in theirs.evaluations] == [0, 2, 4, 6, 8]
    assert ours.run.fingerprint == theirs.run.fingerprint and ours.run.identity == theirs.run.identity
    for mine, callbacks in zip(ours.evaluations, theirs.evaluations, strict=True):
        np.testing.assert_allclose(mine.pearson, callbacks.pearson, atol=1e-6)
        for one, other in zip(mine.loglikelihoods, callbacks.loglikelihoods, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-6)
        assert mine.proxies == callbacks.proxies and mine.epoch == callbacks.epoch
        assert mine.verdict == callbacks.verdict
        timed = {"hre/seconds", "hre/overhead"}
        assert set(mine.metrics) | timed == set(callbacks.metrics) | timed
        for key in mine.metrics.keys() - timed:
            assert mine.metrics[key] == pytest.approx(callbacks.metrics[key], abs=1e-5, nan_ok=True), key
    assert ours.evaluations[-1].proxies["train/loss"] > 0 and "eval/loss" in ours.evaluations[-1].proxies
    assert write_report(folder / BESIDE).html.exists()


def test_once_scores_what_is_there_and_a_second_time_nothing(run):
    for step, seed in ((10, 1), (2, 2)):
        run.put(step, seed, loss=[(1, 3.0), (step, 2.0)])
    stopped, made, said = once(run, start=str(run.models / "0"))
    assert not stopped and [look.step for look in made.record.evaluations] == [0, 2, 10]
    assert made.record.evaluations[1].proxies == {"train/loss": 2.5}
    before = (run.folder / BESIDE / "hre.jsonl").read_bytes()
    _, made, said = once(run, start=str(run.models / "0"), load=None)
    assert (run.folder / BESIDE / "hre.jsonl").read_bytes() == before and said == []
    assert [look.step for look in made.record.evaluations] == [0, 2, 10]


def test_started_again_it_goes_on_where_it_was(run):
    for step in (2, 4, 6):
        run.put(step, step // 2 - 1)
    whole = once(run)[1].record
    shutil.rmtree(run.folder / BESIDE)
    away = run.folder.parent / "away"
    away.mkdir()
    for step in (4, 6):
        (run.folder / f"checkpoint-{step}").rename(away / f"checkpoint-{step}")
    once(run)
    for step in (4, 6):
        (away / f"checkpoint-{step}").rename(run.folder / f"checkpoint-{step}")
        once(run)
    again = read_record(run.folder / BESIDE)
    assert [look.pearson for look in again.evaluations] == [look.pearson for look in whole.evaluations]
    assert [look.metrics["hre/score"] for look in again.evaluations] == [
        look.metrics["hre/score"] for look in whole.evaluations
    ]
    assert not list((run.folder / BESIDE).glob("hre.*.jsonl")), "nothing was moved aside"


def test_a_start_alone_is_not_scored_again(run):
    once(run, start=str(run.models / "0"))
    run.put(4, 1)
    _, made, _ = once(run, start=str(run.models / "0"))
    assert [look.step for look in made.record.evaluations] == [0, 4]
    assert len([event for event in made.record.events if event.kind == "finished"]) == 2


def test_half_written_and_deleted_checkpoints_are_told_and_the_others_scored(run):
    cut = run.put(2) / "model.safetensors"
    whole = cut.read_bytes()
    cut.write_bytes(whole[:-100])
    run.put(4, 1)
    _, made, said = once(run)
    assert [look.step for look in made.record.evaluations] == [4]
    assert any(line.startswith("checkpoint-2 is not whole yet: model.safetensors has ") for line in said)
    assert any("all changes are counted from step 4" in line for line in said)
    cut.write_bytes(whole)
    _, made, said = once(run)
    assert [look.step for look in made.record.evaluations] == [4]
    assert said == ["checkpoint-2 comes after step 4 was scored: too late for the record"]


def test_what_is_deleted_while_it_is_read_is_recorded_and_costs_nothing_else(run):
    run.put(2)
    gone = run.put(4, 1)
    run.put(6, 2)

    def deleting(source):
        if source == gone:
            shutil.rmtree(gone)
        return load(source)

    _, made, _ = once(run, load=deleting)
    assert [look.step for look in made.record.evaluations] == [2, 6]
    (skipped,) = [event for event in made.record.events if event.kind == "skipped"]
    assert skipped.step == 4 and skipped.reason == "checkpoint-4 was deleted while it was read"


def test_what_cannot_be_loaded_is_recorded_once_and_tried_again_when_it_changes(run):
    run.put(2)
    path = run.put(4, 1)
    (path / "tokenizer.json").rename(path.parent / "later")
    (path / "tokenizer_config.json").unlink()
    _, made, _ = once(run)
    assert [event.step for event in made.record.events if event.kind == "skipped"] == [4]
    assert "checkpoint-4" in made.unscored()[0]
    shutil.copy(path.parent / "checkpoint-2" / "tokenizer_config.json", path)
    (path.parent / "later").rename(path / "tokenizer.json")
    assert [look.step for look in once(run)[1].record.evaluations] == [2, 4]


def test_a_failure_before_the_first_score_stands_in_the_record_too(run):
    broken = run.put(2)
    (broken / "config.json").write_text("{}")
    run.put(4, 1)
    _, made, _ = once(run)
    assert [event.step for event in made.record.events if event.kind == "skipped"] == [2]


def test_two_folders_of_one_step_are_named_and_neither_is_scored(run):
    run.put(2)
    run.put(2, 1, name="copy/checkpoint-2")
    run.put(4)
    _, made, said = once(run)
    assert [look.step for look in made.record.evaluations] == [4]
    assert "Step 2 is claimed by checkpoint-2 and copy/checkpoint-2: none of them is scored" in said


def test_a_folder_that_cannot_be_read_is_told_once(tmp_path, monkeypatch):
    folder, said = tmp_path / "runs", []
    (folder / "private").mkdir(parents=True)
    no_reading(monkeypatch, "private")
    made = Follower(folder, questions(), HREConfig(), tmp_path / "hre.jsonl", pytest.fail, tell=said.append, quiet=True)
    for _ in range(2):
        made.follow(Trackers([]), once=True)
    assert said == ["private cannot be read, what is in it is passed over (private: Permission denied)"]


def test_a_rule_that_says_stop_writes_the_file_whole_and_is_told_again(run, tmp_path):
    config = HREConfig(stop_rule="patience", patience=1)
    for step, seed in ((2, 0), (4, 1), (6, 2)):
        run.put(step, seed)
    stop = tmp_path / "deep" / "STOP"
    for seed in range(3):
        # The first pair of models of which the second is no better.
        shutil.rmtree(run.folder / "checkpoint-4")
        run.put(4, seed)
        stopped, made, said = once(run, config, stop_file=stop)
        if stopped:
            break
        shutil.rmtree(run.folder / BESIDE)
    told = json.loads(stop.read_text())
    assert stopped and told["rule"] == "patience" and told["step"] == made.last and told["reason"]
    assert any("stops the run" in line for line in said)
    stop.unlink()
    for path in run.folder.glob("checkpoint-*"):
        if path.name != f"checkpoint-{made.last}":
            shutil.rmtree(path)
    stopped, _, _ = once(run, config, stop_file=stop)
    assert stopped and json.loads(stop.read_text()) == told, "a file that was lost is written again"
    stopped, _, _ = once(run, config, stop_file=stop)
    assert stopped


def test_a_stop_file_of_an_earlier_run_is_refused(run, tmp_path):
    (tmp_path / "STOP").write_text("old")
    with pytest.raises(ValueError, match="STOP is there already"):
        follower(run, stop_file=tmp_path / "STOP")


def test_the_record_of_another_run_is_refused(run, tmp_path):
    trainer = sft_trainer(run.folder / BESIDE, [HumanRankEvalCallback(questions())], max_steps=1)
    trainer.train()
    with pytest.raises(ValueError, match="is the record of SFT, run .*: --out"):
        follower(run)


def test_other_questions_or_settings_are_refused_and_no_checkpoint_is_blamed(run):
    run.put(2)
    once(run)
    run.put(4)
    with pytest.raises(ValueError, match="scores are not comparable"):
        once(run, HREConfig(normalization="tokens"))
    assert [event.kind for event in read_record(run.folder / BESIDE).events] == ["finished"]


def test_a_start_that_cannot_be_scored_ends_it(run):
    with pytest.raises(ValueError, match="nowhere"):
        once(run, start=str(run.folder / "nowhere"))
    assert not (run.folder / BESIDE).exists()


def test_an_adapter_is_scored_with_its_base(run):
    peft = pytest.importorskip("peft")
    base = str(run.models / "0")
    model, tok = load(base)
    tuned = peft.get_peft_model(
        model, peft.LoraConfig(task_type="CAUSAL_LM", target_modules=["c_attn"], init_lora_weights=False)
    )
    tuned.save_pretrained(run.folder / "checkpoint-2")
    tok.save_pretrained(run.folder / "checkpoint-2")
    _, made, _ = once(run, start=base)
    start, after = made.record.evaluations
    assert after.step == 2 and after.loglikelihoods != start.loglikelihoods


def test_ctrl_c_closes_the_record_and_leaves_nothing_half_done(run):
    run.put(2)

    made, said = follower(run)
    waits = iter([None, None])

    def press(found, *more):
        if next(waits, "pressed"):
            raise KeyboardInterrupt
        return original(found, *more)

    original = made._look
    made._look = press
    with pytest.raises(KeyboardInterrupt):
        made.follow(Trackers([]), every=0.05)
    record = read_record(run.folder / BESIDE)
    assert [look.step for look in record.evaluations] == [2] and record.events[-1].kind == "finished"
    assert any("Record:" in line for line in said)


def called(monkeypatch, *arguments):
    """The exit code of the command, in this process."""
    monkeypatch.setattr(sys, "argv", ["hre", "follow", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code


def test_the_command_scores_shows_and_tells(run, tmp_path, monkeypatch, capsys):
    run.put(2, loss=[(2, 3.0)])
    written(tmp_path / "q.jsonl")
    (tmp_path / "hre.yaml").write_text(f"questions: {tmp_path / 'q.jsonl'}\nplanned_looks: 3\n")
    options = ["--config", tmp_path / "hre.yaml", "--once", "--device", "cpu", "--trackers", "tensorboard"]
    assert called(monkeypatch, run.folder, *options) == 0
    said = capsys.readouterr().out
    assert "HRE step 2" in said and str(run.folder / BESIDE / "hre.jsonl") in said
    assert read_record(run.folder / BESIDE).run.planned_looks == 3
    assert list(run.folder.glob("runs/*/hre/events*"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere", "--questions", "bundled", "--once"], "nowhere: no such folder"),
        (["empty", "--questions", "bundled", "--once"], "empty: nothing was scored, no checkpoint is in it"),
        (["file", "--questions", "bundled"], "file is a file; expected the folder"),
        (["empty"], "no questions are named; give --questions"),
        (["empty", "--questions", "bundled", "--wandb", "a/b"], "--wandb is 'a/b'; expected ENTITY/PROJECT/RUN"),
        (["empty", "--questions", "bundled", "--trackers", "mlflow"], "--trackers has 'mlflow'; expected tensorboard"),
        (["empty", "--questions", "bundled", "--trackers", "trackio:a"], "--trackers has 'trackio:a'"),
        (["empty", "--questions", "bundled", "--dtype", "int8"], "dtype 'int8' is not one of"),
        (["empty", "--questions", "bundled", "--every", "0"], "--every"),
        (["empty", "--config", "file"], "expected settings such as"),
        (["empty", "--questions", "bundled", "--stop-file", "empty"], "empty is a folder"),
    ],
)  # fmt: skip
def test_what_the_command_cannot_do_is_one_sentence(tmp_path, monkeypatch, capsys, arguments, words):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("words")
    monkeypatch.chdir(tmp_path)
    code, said = called(monkeypatch, *arguments), capsys.readouterr()
    assert code == 2 and words in said.err and said.err.count("\n") == 1, said.err
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["empty", "file"]


@pytest.mark.parametrize("every", ["nan", "inf", "1e12", "0", "-1"])
def test_a_wait_that_no_clock_can_keep_is_refused(every, tmp_path, monkeypatch, capsys):
    """Not a number passes every bound, and would look at the folder without a pause."""
    monkeypatch.setattr(sys, "argv", ["hre", "follow", str(tmp_path), "--questions", "bundled", "--every", every])
    with pytest.raises(SystemExit) as left:
        main()
    said = capsys.readouterr().err
    assert left.value.code == 2 and said.startswith("hre: --every is ") and said.count("\n") == 1
