"""The run on all ranks: what is written when, what is skipped, what a resumed run takes up; without a Trainer."""

from __future__ import annotations

import errno
import json
import logging
import math
from dataclasses import replace

import pytest

from hre_callback import HREConfig, distributed, read_record
from hre_callback.run import about, look, monitor
from hre_callback.run.lines import Summary, object_of
from hre_callback.run.monitor import Monitor
from hre_callback.run.record_file import RecordFile
from hre_callback.run.schedule import Stopwatch

from ..looks import EVERY, asked, logs, result

RESULTS = [result(0.1 - 0.02 * t, n=40) for t in range(4)]
FULL = OSError(errno.ENOSPC, "No space left on device")


def monitored(folder, *, resume_step=0, log_history=(), questions=None, **options):
    made = Monitor(questions or asked(40), HREConfig(**options), "f", folder / "hre.jsonl", planned_looks=6)
    made.start({"model": "small"}, resume_step=resume_step, log_history=log_history)
    return made


def add(run, t, **more):
    step = EVERY * t
    more = {"epoch": t / 4, "log_history": logs(step), "watch": Stopwatch(), **more}
    return run.add(step, RESULTS[t], **more)


def lines(folder):
    """What stands on the disk, but for the clock."""
    rows = [json.loads(row) for row in (folder / "hre.jsonl").read_text().splitlines()]
    for row in rows:
        for clock in ("time", "started", "seconds"):
            row.pop(clock, None)
        for clock in ("hre/seconds", "hre/overhead"):
            row.get("metrics", {}).pop(clock, None)
    return rows


def test_the_run_line_is_on_the_disk_before_the_first_evaluation(tmp_path):
    run = monitored(tmp_path)
    (line,) = lines(tmp_path)
    assert (line["kind"], line["name"], line["fingerprint"], line["model"]) == ("run", "hre", "f", "small")
    assert line["planned_looks"] == 6 and line["config"] == HREConfig().as_dict()
    assert line["human_ceiling"] == pytest.approx(0.9, abs=0.1) and line["human_hre"] is None
    assert (line["human_hre_low"], line["human_hre_n"], line["human_hre_people"]) == (None, 0, 0)
    assert [question["id"] for question in line["questions"]] == [f"q{i}" for i in range(40)]
    assert object_of(run.run) == json.loads((tmp_path / "hre.jsonl").read_text()) and run.looks == []


def test_what_people_reach_themselves_stands_with_its_interval_and_their_number(tmp_path):
    ranks = {"a": (3.0, 2.0, 1.0, 0.0), "b": (3.0, 1.0, 2.0, 0.0)}
    few = [replace(one, ratings=ranks if at < 9 else None) for at, one in enumerate(asked(40))]
    run = monitored(tmp_path, questions=few).run
    assert run.human_hre == run.human_hre_low == run.human_hre_high == pytest.approx(0.8)
    assert (run.human_hre_n, run.human_hre_people) == (9, 2)
    (line,) = lines(tmp_path)
    assert line["human_hre_people"] == 2


def test_an_evaluation_is_written_as_it_was_judged(tmp_path):
    run = monitored(tmp_path)
    outcomes = [add(run, t) for t in range(3)]
    found = read_record(tmp_path)
    assert found == run.record and [one.step for one in run.looks] == [0, 10, 20]
    for t, (line, outcome) in enumerate(zip(found.evaluations, outcomes, strict=True)):
        known = {key: value if math.isfinite(value) else None for key, value in outcome.row.items()}
        assert line.metrics == known and line.proxies == outcome.proxies
        assert (line.epoch, line.verdict) == (t / 4, outcome.verdict and outcome.verdict.name)
        assert line.pearson == RESULTS[t].per_question["pearson"].tolist()
        assert line.loglikelihoods == [list(row) for row in RESULTS[t].loglikelihoods]
        assert outcome.line.startswith(f"HRE step {10 * t}: ") and f" {RESULTS[t].score:.3f} (95 % " in outcome.line


def test_the_clock_is_read_when_the_statistics_are_made(tmp_path, monkeypatch):
    now = [0.0]
    real = look.join

    def slow(*arguments):
        now[0] += 5
        return real(*arguments)

    monkeypatch.setattr(look, "join", slow)
    run, watch = monitored(tmp_path), Stopwatch(clock=lambda: now[0])
    now[0] += 15
    with watch.evaluation():
        outcome = add(run, 0, watch=watch)
    assert (outcome.row["hre/seconds"], outcome.row["hre/overhead"]) == (5, 0.25)
    assert run.looks[0].seconds == 5 and outcome.line.endswith("; 5.0 s")


@pytest.mark.parametrize("room, function", [(look, "join"), (look, "fields_of"), (monitor.words, "console_line")])
def test_a_failure_leaves_nothing_of_the_evaluation(tmp_path, monkeypatch, room, function):
    run = monitored(tmp_path)
    add(run, 0)
    before = lines(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(room, function, lambda *a, **k: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            add(run, 1)
    assert lines(tmp_path) == before and not run.tried(10)
    add(run, 1)
    assert [one.step for one in run.looks] == [0, 10]


def test_a_skipped_step_has_been_tried_and_has_no_score(tmp_path):
    run = monitored(tmp_path)
    assert not run.tried(0) and math.isnan(run.score_at(0))
    add(run, 0)
    run.skip(10, "out of memory")
    assert run.tried(0) and run.tried(10) and not run.tried(20)
    # Of a step that was put off the one before speaks; of one that failed nobody.
    assert run.score_at(0) == run.score_at(20) == RESULTS[0].score and math.isnan(run.score_at(10))
    assert lines(tmp_path)[-1] == {"kind": "skipped", "step": 10, "reason": "out of memory"}


def test_what_happens_is_noted_in_its_order_and_the_end_with_the_summary(tmp_path):
    run = monitored(tmp_path)
    add(run, 0)
    run.note("save", 0, reason="good")
    add(run, 1)
    found = run.summary()
    run.finish(10, found, errors=["wandb: gone"])
    end = lines(tmp_path)[-1]
    assert [line["kind"] for line in lines(tmp_path)] == [
        "run",
        "evaluation",
        "save",
        "evaluation",
        "finished",
    ]
    assert Summary(**end["summary"]) == found and end["tracker_errors"] == ["wandb: gone"]
    assert found.start == RESULTS[0].score and found.last == RESULTS[1].score
    said = run.closing_line(found)
    assert said.endswith(f"no look is higher than the start. Record: {tmp_path / 'hre.jsonl'}")


@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_resumed_run_comes_out_as_one_that_was_not(tmp_path, at):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    for folder in (whole, broken):
        folder.mkdir()
        run = monitored(folder)
        outcomes = [add(run, t) for t in range(4)]
        run.release()
    again = monitored(broken, resume_step=EVERY * at + 5)
    assert [one.step for one in again.looks] == [EVERY * t for t in range(at + 1)] and again.tried(EVERY * at)
    later = [add(again, t) for t in range(at + 1, 4)]
    kinds = [line["kind"] for line in lines(broken)]
    assert kinds == ["run", *["evaluation"] * (at + 1), "resumed", *["evaluation"] * (3 - at)]
    assert [line for line in lines(broken) if line["kind"] != "resumed"] == lines(whole)
    assert [(o.score, o.stop, o.alert) for o in later] == [(o.score, o.stop, o.alert) for o in outcomes[at + 1 :]]


def test_a_look_that_the_checkpoint_remembers_and_no_record_holds_is_told(tmp_path, caplog):
    remembered = [{"hre/score": 0.3, "step": 0}, {"hre/score": 0.2, "step": 10}, {"loss": 1.0, "step": 10}]
    run = monitored(tmp_path, resume_step=10, log_history=remembered)
    (event,) = run.record.events
    assert event.lost == [0, 10] and "no record of the steps before was found" in event.reason
    assert [r.getMessage() for r in caplog.records] == [f"HRE resumes at step 10: {event.reason}"]
    add(run, 2)
    assert "it LACKS the looks at steps 0, 10" in run.closing_line(run.summary())


def test_a_record_of_other_questions_is_not_taken_up(tmp_path):
    monitored(tmp_path).release()
    with pytest.raises(ValueError, match="cannot be continued: its scores are not comparable"):
        monitored(tmp_path, resume_step=5, normalization="tokens")


def test_a_disk_that_refuses_keeps_the_lines_waiting_and_is_said_once(tmp_path, monkeypatch, caplog):
    run = monitored(tmp_path)
    add(run, 0)
    with monkeypatch.context() as full:
        full.setattr(RecordFile, "write", lambda *a: (_ for _ in ()).throw(FULL))
        for t in (1, 2):
            add(run, t)
        said = run.closing_line(run.summary())
        assert "; 2 evaluations ARE NOT IN IT, the disk refused them: [Errno 28] No space left" in said
    assert len(run.looks) == 3 and len(lines(tmp_path)) == 2
    add(run, 3)
    assert [line.get("step") for line in lines(tmp_path)] == [None, 0, 10, 20, 30]
    first, last = (record.getMessage() for record in caplog.records)
    assert first.startswith("HRE cannot write its record") and last.startswith("HRE's record is written again")


def test_a_run_that_wants_its_errors_gets_the_disk_s(tmp_path, monkeypatch):
    run = monitored(tmp_path, on_error="raise")
    monkeypatch.setattr(RecordFile, "write", lambda *a: (_ for _ in ()).throw(FULL))
    with pytest.raises(OSError, match="No space left"):
        add(run, 0)


def test_figures_of_people_that_cannot_be_had_are_said_or_raised(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(about, "human_ceiling", lambda *a, **k: 1 / 0)
    assert monitored(tmp_path).run.human_ceiling is None
    assert "No human ceiling is shown" in caplog.text and "ZeroDivisionError" in caplog.text
    with pytest.raises(ZeroDivisionError):
        monitored(tmp_path / "strict", on_error="raise")


@pytest.fixture
def two_ranks(tmp_path, monkeypatch):
    """A monitor of rank 0 and one of rank 1, which gets what rank 0 sent before."""
    sent, rank = [], [0]

    def on_rank_0(work):
        if rank[0] == 0:
            sent.append(work())
            return sent[-1]
        return sent.pop(0)

    monkeypatch.setattr(monitor.distributed, "rank", lambda: rank[0])
    monkeypatch.setattr(monitor.distributed, "on_rank0", on_rank_0)
    made = []

    def both(work):
        sent.clear()
        values = []
        for rank[0] in (0, 1):
            values.append(work(made[rank[0]]))
        rank[0] = 0
        return values

    for rank[0], name in enumerate(("main", "other")):
        (tmp_path / name).mkdir()
        made.append(Monitor(asked(40), HREConfig(), "f", tmp_path / name / "hre.jsonl", planned_looks=6))
    rank[0] = 0
    return made, both


def test_the_other_ranks_take_over_lines_and_outcomes_and_work_nothing_out(two_ranks, tmp_path):
    (main, other), both = two_ranks
    both(lambda run: run.start({}))
    for t in range(3):
        # What rank 1 has measured is not looked at: it has nothing.
        first, second = both(
            lambda run, t=t: run.add(
                EVERY * t, RESULTS[t] if run is main else None, epoch=None, log_history=logs(EVERY * t), watch=Stopwatch()
            )
        )  # fmt: skip
        assert first is second
    both(lambda run: run.skip(30, "planted"))
    assert other.record == main.record and len(main.looks) == 3
    assert other.tried(30) and other.summary() == main.summary()
    assert list((tmp_path / "other").iterdir()) == []


def test_a_past_that_could_be_read_late_comes_before_on_all_ranks(two_ranks, tmp_path, caplog):
    (main, other), both = two_ranks
    earlier = monitored(tmp_path / "main")
    add(earlier, 0), add(earlier, 1)
    earlier.release()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RecordFile, "read", lambda *a: (_ for _ in ()).throw(FULL))
        both(lambda run: run.start({}, resume_step=15))
        both(lambda run: run.note("save", 15))
    assert main.looks == other.looks == []
    both(lambda run: run.note("save", 16))
    assert [one.step for one in main.looks] == [0, 10] and other.record == main.record


def test_a_record_s_file_may_be_renamed_while_the_run_goes_on(tmp_path):
    run = monitored(tmp_path)
    add(run, 0)
    (tmp_path / "hre.jsonl").rename(tmp_path / "_hre.jsonl")
    run.moved_to(tmp_path / "_hre.jsonl")
    add(run, 1)
    assert len(read_record(tmp_path / "_hre.jsonl").evaluations) == 2 and not (tmp_path / "hre.jsonl").exists()
    assert run.closing_line(run.summary()).endswith("_hre.jsonl")


def test_votes_that_are_no_counts_give_no_ceiling_and_that_is_said(tmp_path, caplog):
    from hre_callback import Question
    from hre_callback.data.questions import Answer

    rated = [Question(f"q{i}", "why?", (Answer("so", 0.5), Answer("or so", 1.5))) for i in range(8)]
    with caplog.at_level(logging.WARNING):
        run = monitored(tmp_path, questions=rated)
    assert run.run.human_ceiling is None and "No human ceiling: the votes are neither counts" in caplog.text


def test_a_run_of_several_processes_ends_with_a_moment_for_their_backend(tmp_path, monkeypatch):
    """Without it `recipes/own_loop.py` hung at its end in 12 of 18 launches with two processes."""
    slept, ended = [], []
    monkeypatch.setattr(distributed.time, "sleep", slept.append)
    distributed.settle()
    assert slept == [], "one process has nobody to wait for"
    with monkeypatch.context() as two:
        two.setattr(distributed, "world_size", lambda: 2)
        distributed.settle()
    assert len(slept) == 1 and 0.005 < slept[0] < 1
    run = monitored(tmp_path)
    add(run, 0)
    monkeypatch.setattr(distributed, "settle", lambda: ended.append(read_record(tmp_path).events[-1].kind))
    run.finish(0, run.summary())
    assert ended == ["finished"], "after the last collective"
