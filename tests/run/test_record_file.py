"""A record's file while the run goes on: removed, emptied, replaced, on a full disk, it is whole after the next write."""

from __future__ import annotations

import errno
import itertools
import os
import shutil
import socket
from pathlib import Path

import pytest
from transformers import TrainerCallback

from hre_callback import HREConfig, HumanRankEvalCallback
from hre_callback.run import record_file
from hre_callback.run.record import RunRecord, read_record

from ..trainers import questions, sft_trainer
from .test_record import IDENTITY, RUN, begin, evaluate, timeless

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore:.*torch.jit.script.*")


def steps(path):
    return [line.step for line in read_record(path).evaluations]


def run_of(path, looks=2):
    record = begin(path)
    for step in range(0, 10 * looks, 10):
        evaluate(record, step)
    return record


def whole(record, path):
    """The file holds all that the run knows, each line once."""
    assert timeless(read_record(path).evaluations) == timeless(record.record.evaluations)
    assert read_record(path) == record.record


def removed(path):
    path.unlink()


def emptied(path):
    path.write_bytes(b"")


def truncated_in_place(path):
    os.truncate(path, 0)


def cut_in_a_line(path):
    os.truncate(path, path.stat().st_size - 9)


def cut_in_the_head(path):
    os.truncate(path, 20)


def cut_after_a_line(path):
    data = path.read_bytes()
    os.truncate(path, data[:-1].rindex(b"\n") + 1)


def cut_and_copied_back(path):
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data[: len(data) // 2])


def folder_removed(path):
    shutil.rmtree(path.parent)


NOTHING_ELSE = (
    removed,
    emptied,
    truncated_in_place,
    cut_in_a_line,
    cut_in_the_head,
    cut_after_a_line,
    cut_and_copied_back,
    folder_removed,
)


@pytest.mark.parametrize("befall", NOTHING_ELSE)
def test_what_is_missing_is_written_again_and_said_once(tmp_path, caplog, befall):
    path = tmp_path / "run" / "hre.jsonl"
    record = run_of(path)
    befall(path)
    evaluate(record, 20)
    whole(record, path)
    befall(path)
    evaluate(record, 30)
    whole(record, path)
    assert steps(path) == [0, 10, 20, 30] and os.listdir(path.parent) == ["hre.jsonl"]
    mended = [event for event in read_record(path).events if event.kind == "mended"]
    assert [event.step for event in mended] == [20, 30] and all(event.reason for event in mended)
    assert [entry.message for entry in caplog.records] == [
        f"HRE's record {path} {mended[0].reason.removeprefix('the file ')}; all of it has been written again "
        "(said once)."
    ]
    resumed = begin(path, resume_step=20)
    assert [line.step for line in resumed.record.evaluations] == [0, 10, 20]


def other_text(path):
    path.write_text("notes of mine\n")


def other_record(path):
    other = path.with_name("other.jsonl")
    evaluate(begin(other, model="another"), 5)
    os.replace(other, path)


def line_added(path):
    with path.open("a") as file:
        file.write('{"kind":"note","step":3}\n')


def line_changed(path):
    path.write_bytes(path.read_bytes().replace(b"0.31", b"0.99"))


def folder(path):
    path.unlink()
    path.mkdir()
    (path / "kept.txt").write_text("kept")


def pipe(path):
    path.unlink()
    os.mkfifo(path)


def door(path):
    path.unlink()
    place = os.getcwd()
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
    finally:
        os.chdir(place)


def device(path):
    path.unlink()
    path.symlink_to("/dev/null")


def endless_link(path):
    path.unlink()
    path.symlink_to(path.name)


SOMETHING_ELSE = (
    other_text,
    other_record,
    line_added,
    line_changed,
    folder,
    pipe,
    door,
    device,
    endless_link,
)


@pytest.mark.parametrize("befall", SOMETHING_ELSE)
def test_what_somebody_put_in_its_place_is_kept_beside_it(tmp_path, befall):
    path = tmp_path / "hre.jsonl"
    record = run_of(path)
    befall(path)
    mode, data = os.lstat(path).st_mode, path.read_bytes() if path.is_file() else None
    evaluate(record, 20)
    whole(record, path)
    aside = tmp_path / "hre.1.jsonl"
    assert os.lstat(aside).st_mode == mode and (data is None or aside.read_bytes() == data)
    (event,) = read_record(path).events
    assert event.reason == "the file had something else in its place, which is hre.1.jsonl now"


@pytest.mark.parametrize(
    ("befall", "resume_step"),
    # Text where a record is to be resumed is damage, which is named.
    [(other_text, 0), *itertools.product((folder, pipe, door, device, endless_link), (0, 10))],
)
def test_what_lies_there_before_the_run_is_no_obstacle(tmp_path, befall, resume_step):
    path = tmp_path / "hre.jsonl"
    path.write_text("")
    befall(path)
    mode = os.lstat(path).st_mode
    record = begin(path, resume_step)
    evaluate(record, 10)
    whole(record, path)
    assert os.lstat(tmp_path / "hre.1.jsonl").st_mode == mode


def test_a_file_that_was_only_touched_or_copied_is_as_we_left_it(tmp_path):
    path = tmp_path / "hre.jsonl"
    record = run_of(path)
    os.utime(path, (1, 1))
    evaluate(record, 20)
    shutil.copy(path, tmp_path / "copy")
    os.replace(tmp_path / "copy", path)
    evaluate(record, 30)
    whole(record, path)
    assert steps(path) == [0, 10, 20, 30] and not read_record(path).events


@pytest.mark.parametrize("there", [True, False])
def test_a_link_is_followed_and_stays_a_link(tmp_path, there):
    path, target = tmp_path / "run" / "hre.jsonl", tmp_path / "store" / "runs" / "a.jsonl"
    path.parent.mkdir()
    path.symlink_to(target)
    if there:
        run_of(target).release()
    for resume_step, first in ((0, 0), (10, 20)):
        record = begin(path, resume_step)
        evaluate(record, first)
        evaluate(record, first + 10)
        target.unlink()
        evaluate(record, first + 15)
        whole(record, path)
        assert path.is_symlink() and not target.is_symlink() and read_record(target) == record.record
        record.release()
    assert steps(path) == [0, 10, 20, 30, 35]
    assert os.listdir(path.parent) == ["hre.jsonl"]
    assert sorted(os.listdir(target.parent)) == (["a.1.jsonl", "a.jsonl"] if there else ["a.jsonl"])


REFUSALS = (errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT, errno.EIO)


@pytest.fixture
def disk(monkeypatch):
    """A disk that can be told to refuse every change of what is on it."""

    class Disk:
        code = None

        def guard(self, owner, name, changes=lambda *a, **k: True):
            real = getattr(owner, name)

            def guarded(*args, **kwargs):
                if self.code and changes(*args, **kwargs):
                    raise OSError(self.code, os.strerror(self.code))
                return real(*args, **kwargs)

            monkeypatch.setattr(owner, name, guarded)

    made = Disk()
    monkeypatch.setattr(record_file, "open", open, raising=False)
    made.guard(record_file, "open", lambda path, *a, **k: str(path).endswith(".jsonl"))
    made.guard(record_file, "write_whole")
    made.guard(Path, "rename", lambda path, to: path.suffix == ".jsonl")
    return made


@pytest.mark.parametrize("code", REFUSALS, ids=errno.errorcode.get)
@pytest.mark.parametrize("left", ["nothing", "an old record", "a record to resume"])
def test_a_disk_that_refuses_at_the_start_loses_nothing(tmp_path, disk, code, left):
    path = tmp_path / "hre.jsonl"
    resume_step = 10 if left == "a record to resume" else 0
    if left != "nothing":
        run_of(path, looks=3).release()
    old = path.read_bytes() if path.exists() else None
    record = RunRecord(path)
    disk.code = code
    with pytest.raises(OSError):
        record.start(RUN, identity=IDENTITY, resume_step=resume_step)
    for step in (20, 30):
        with pytest.raises(OSError):
            evaluate(record, step)
    assert (path.read_bytes() if path.exists() else None) == old and record.unwritten >= 2
    disk.code = None
    evaluate(record, 40)
    whole(record, path)
    assert steps(path) == ([0, 10] if resume_step else []) + [20, 30, 40] and record.unwritten == 0
    assert (tmp_path / "hre.1.jsonl").exists() == (left == "an old record")


@pytest.mark.parametrize("code", REFUSALS, ids=errno.errorcode.get)
@pytest.mark.parametrize("befall", [None, *NOTHING_ELSE, *SOMETHING_ELSE])
def test_a_disk_that_refuses_in_between_loses_nothing_whatever_else_happens(tmp_path, disk, befall, code):
    path = tmp_path / "run" / "hre.jsonl"
    record = run_of(path)
    if befall is not None:
        befall(path)
    disk.code = code
    for step in (20, 30):
        with pytest.raises(OSError):
            evaluate(record, step)
    disk.code = None
    evaluate(record, 40)
    whole(record, path)
    assert steps(path) == [0, 10, 20, 30, 40]
    assert [event.kind for event in read_record(path).events] == (["mended"] if befall else [])


@pytest.mark.parametrize("taken", [0, 1, 50])
def test_a_write_that_the_disk_cuts_short_leaves_no_half_line(tmp_path, monkeypatch, taken):
    """Also where the half can't be taken back: it is known for ours, and completed."""
    path = tmp_path / "hre.jsonl"
    record = run_of(path)

    def put(file, data, path):
        file.write(data[:taken])
        raise OSError(errno.EIO, "no truncate either")

    with monkeypatch.context() as patch, pytest.raises(OSError):
        patch.setattr(record_file, "_put", put)
        evaluate(record, 20)
    assert steps(path) == [0, 10]
    evaluate(record, 30)
    whole(record, path)
    assert steps(path) == [0, 10, 20, 30] and os.listdir(tmp_path) == ["hre.jsonl"]


def test_a_record_that_could_not_be_read_at_the_resume_is_taken_up_later(tmp_path, monkeypatch):
    path = tmp_path / "hre.jsonl"
    run_of(path, looks=3).release()
    record = RunRecord(path)

    def refuse(*_, **__):
        raise OSError(errno.EIO, "not now")

    with monkeypatch.context() as patch:
        patch.setattr(record_file, "read_lines", refuse)
        with pytest.raises(OSError, match="not now"):
            record.start(RUN, identity=IDENTITY, resume_step=10)
        with pytest.raises(OSError, match="not now"):
            evaluate(record, 10)
    evaluate(record, 20)
    whole(record, path)
    assert steps(path) == [0, 10, 20] and os.listdir(tmp_path) == ["hre.jsonl"]


def test_a_record_that_turns_out_to_be_another_one_later_ends_no_run(tmp_path, disk):
    path = tmp_path / "hre.jsonl"
    run_of(path).release()
    record = RunRecord(path)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(OSError):
        patch.setattr(record_file, "read_lines", lambda path: (_ for _ in ()).throw(OSError(5, "not now")))
        record.start({**RUN, "fingerprint": "other"}, identity=IDENTITY, resume_step=10)
    evaluate(record, 20)
    whole(record, path)
    assert steps(path) == [20] and steps(tmp_path / "hre.1.jsonl") == [0, 10]
    assert "cannot be continued" in read_record(path).events[0].reason


def test_a_resume_that_drops_nothing_needs_one_line_more_of_disk(tmp_path, monkeypatch):
    """No room for a second copy, or a folder in which nothing can be renamed."""
    path = tmp_path / "hre.jsonl"
    run_of(path).release()
    before = path.read_bytes()

    def refuse(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(record_file, "write_whole", refuse)
    record = begin(path, resume_step=10)
    evaluate(record, 20)
    whole(record, path)
    assert path.read_bytes().startswith(before) and steps(path) == [0, 10, 20]


def test_a_file_that_may_not_be_read_is_in_nobodys_way(tmp_path, monkeypatch):
    run_of(tmp_path / "hre.jsonl")
    (tmp_path / "secret.jsonl").write_text("{}")

    def guarded(path, *args, **kwargs):
        if Path(path).name == "secret.jsonl":
            raise PermissionError(errno.EACCES, "Permission denied")
        return open(path, *args, **kwargs)

    monkeypatch.setattr("hre_callback.run.record.open", guarded, raising=False)
    assert steps(tmp_path) == [0, 10]


class At(TrainerCallback):
    """Does things at steps of the training."""

    def __init__(self, **things):
        self.things = {int(step.removeprefix("step")): thing for step, thing in things.items()}

    def on_step_begin(self, args, state, control, **kwargs):
        if thing := self.things.get(state.global_step):
            thing()


def train(folder, *others, **overrides):
    callback = HumanRankEvalCallback(questions(), HREConfig(eval_steps=2))
    trainer = sft_trainer(folder, [callback, *others], **overrides)
    trainer.train()
    return trainer


def last_word(capsys):
    return [line for line in capsys.readouterr().out.splitlines() if line.startswith("HRE:")][-1]


@pytest.mark.parametrize("code", REFUSALS[:3], ids=errno.errorcode.get)
def test_a_run_on_a_full_disk_ends_well_and_says_what_is_unwritten(tmp_path, planted, disk, capsys, code, caplog):
    planted(0.1, 0.2, 0.3)
    disk.code = code
    trainer = train(tmp_path)
    assert trainer.state.global_step == 8 and not (tmp_path / "hre.jsonl").exists()
    word = last_word(capsys)
    assert "; 5 evaluations ARE NOT IN IT, the disk refused them: " in word and os.strerror(code) in word
    said = [entry.message for entry in caplog.records if "cannot write its record" in entry.message]
    assert len(said) == 1 and os.strerror(code) in said[0]


def test_a_disk_that_is_full_in_the_middle_leaves_no_gap(tmp_path, planted, disk, capsys, caplog):
    planted(0.1, 0.2, 0.3)
    at = At(step1=lambda: setattr(disk, "code", errno.ENOSPC), step7=lambda: setattr(disk, "code", None))
    train(tmp_path, at)
    assert steps(tmp_path) == [0, 2, 4, 6, 8]
    assert last_word(capsys).endswith("hre.jsonl")
    assert [entry.message for entry in caplog.records if "is written again" in entry.message]


def test_a_disk_that_is_full_from_the_middle_on_is_told_with_the_number(tmp_path, planted, disk, capsys):
    planted(0.1, 0.2, 0.3)
    train(tmp_path, At(step3=lambda: setattr(disk, "code", errno.ENOSPC)))
    assert steps(tmp_path) == [0, 2]
    assert "; 3 evaluations ARE NOT IN IT" in last_word(capsys)


@pytest.mark.parametrize("befall", [removed, emptied, folder_removed, folder, pipe, other_text])
def test_a_run_whose_record_is_taken_away_ends_with_the_whole_of_it(tmp_path, planted, befall):
    planted(0.1, 0.2, 0.3)
    run = tmp_path / "run"
    train(run, At(step5=lambda: befall(run / "hre.jsonl")))
    assert steps(run / "hre.jsonl") == [0, 2, 4, 6, 8]


def test_a_foreign_folder_of_a_reports_name_is_in_nobodys_way(tmp_path, planted):
    planted(0.1, 0.2, 0.3)
    for name in ("hre.png", "hre.html", "hre.1.jsonl", "hre_jsonl", "hre.jsonl"):
        (tmp_path / name).mkdir()
    train(tmp_path)
    assert steps(tmp_path / "hre.jsonl") == [0, 2, 4, 6, 8] and (tmp_path / "hre.2.jsonl").is_dir()
