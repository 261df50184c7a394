"""Format 2 says every field and goes by its types; a record of format 1 is read, shown, compared and resumed."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from hre_callback import read_record, write_report
from hre_callback.run.comparison import compare_series
from hre_callback.run.line_checks import said_of, types_of
from hre_callback.run.lines import Evaluation, Event, RunLine, RunQuestion, Summary, line_of, object_of
from hre_callback.run.record import RunRecord

from .. import records

# As the last version that wrote format 1 left it.
FORMAT_1 = """\
{"kind":"run","version":1,"name":"hre","fingerprint":"f","config":{"name":"hre","prompt":"paper","normalization":"characters","chat_template_kwargs":null,"max_length":null,"layout":"auto","token_budget":null,"eval_steps":null,"log_spaced":false,"eval_on_start":true,"eval_on_end":true,"max_overhead":null,"stop_rule":"never","alpha":0.05,"min_delta":0.01,"consecutive":2,"patience":3,"planned_looks":null,"save_best":false,"contamination":"warn","on_error":"skip","seed":0},"versions":{"hre-callback":"0.1.0","torch":"2.13.0"},"model":"small","trainer":"SFT","run_name":null,"overlap":null,"rewards":{},"rounding":1e-06,"proof":{"layout":"rows"},"planned_looks":3,"human_ceiling":0.9363807297853728,"human_hre":null,"directions":{},"questions":[{"id":"q0","topic":"topic0","cluster":null,"question":"why 0?","best_answer":"so so so so so so ","votes":[9,4],"lengths":[18,24]},{"id":"q1","topic":"topic1","cluster":null,"question":"why 1?","best_answer":"so so so so so so so ","votes":[9,4],"lengths":[21,27]},{"id":"q2","topic":"topic0","cluster":null,"question":"why 2?","best_answer":"so so so so so so so so ","votes":[9,4],"lengths":[24,30]}],"identity":{"prompt":"paper","normalization":"characters","max_length":null},"started":"2026-11-26T20:55:02+00:00"}
{"kind":"evaluation","step":0,"time":"2026-11-26T20:55:02+00:00","epoch":0.0,"seconds":0.0,"metrics":{"hre/score":0.7333,"hre/n":7.0,"hre/noise":null,"hre/ci_low":0.6145,"hre/ci_high":0.8624},"proxies":{},"verdict":null,"reason":null,"loglikelihoods":[[-291.52,-261.31],[-102.28,-57.82],[-100.14,-247.56]],"divisors":[[352,283],[178,93],[136,340]],"lengths":[[352,283],[178,93],[136,340]],"pearson":[0.961,0.693,0.493]}
{"kind":"evaluation","step":10,"time":"2026-11-26T20:55:02+00:00","epoch":0.25,"seconds":0.0,"metrics":{"hre/score":0.5731,"hre/n":7.0,"hre/noise":null,"hre/ci_low":0.337,"hre/ci_high":0.7598,"hre/delta_start":-0.1602,"hre/delta_start_low":-0.3441,"hre/delta_start_high":-0.0596,"mismatch/verdict":0.0},"proxies":{"train/loss":1.945},"verdict":"aligned","reason":null,"loglikelihoods":[[-307.15,-258.7],[-107.57,-59.17],[-103.29,-247.5]],"divisors":[[352,283],[178,93],[136,340]],"lengths":[[352,283],[178,93],[136,340]],"pearson":[0.935,0.626,0.295]}
{"kind":"save","step":10,"time":"2026-11-26T20:55:02+00:00","reason":"best"}
"""
LOOK = {"metrics": {"hre/score": 0.5}, "loglikelihoods": [[-1.0, -2.0]] * 3, "pearson": [0.1, 0.2, 0.3]}


@pytest.fixture
def old(tmp_path):
    (tmp_path / "hre.jsonl").write_text(FORMAT_1)
    return tmp_path / "hre.jsonl"


def resumed(path, step, **changes):
    run = json.loads(FORMAT_1.split("\n")[0]) | changes
    record = RunRecord(path)
    about = {key: value for key, value in run.items() if key not in ("kind", "version", "identity", "started")}
    record.start(about, identity=run["identity"], resume_step=step)
    return record


def written(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_every_field_of_a_record_of_format_1_is_read(old):
    record = read_record(old, described=True)
    lines = [record.run, *record.evaluations, *record.events]
    for line, told in zip(lines, written(old), strict=True):
        found = object_of(line)
        assert {key: found.get(key) for key in told if key not in ("version", "questions")} == {
            key: value for key, value in told.items() if key not in ("version", "questions")
        }
        assert not line.more
    assert [question.votes for question in record.run.questions] == [[9, 4]] * 3
    assert record.pearson_matrix()[1].tolist() == [[0.961, 0.693, 0.493], [0.935, 0.626, 0.295]]


def test_null_and_absence_mean_the_same_in_format_1(tmp_path):
    path = tmp_path / "hre.jsonl"
    run = {"kind": "run", "version": 1, "fingerprint": "f", "questions": [{"id": "a"}]}
    look = {"kind": "evaluation", "step": 0, "loglikelihoods": [[-1, -2]], "pearson": [None]}
    found = []
    for more in (
        {},
        dict.fromkeys(("name", "config", "versions", "directions", "human_ceiling", "metrics", "verdict")),
    ):
        path.write_text("".join(json.dumps(line | more) + "\n" for line in (run, look)))
        found.append(read_record(path))
    assert (found[0].run, found[0].evaluations[0].metrics) == (found[1].run, {})
    assert (found[0].run.name, found[0].run.config, found[0].run.rewards) == ("hre", {}, None)


def test_a_record_of_format_1_is_reported_and_compared(old):
    page = write_report(old).html.read_text()
    assert "small · SFT" in page and "0.573" in page
    assert compare_series(read_record(old)).comparisons[0].delta == pytest.approx((-0.026 - 0.067 - 0.198) / 3)


def test_a_run_that_began_in_format_1_goes_on_in_format_2(old):
    before = read_record(old)
    record = resumed(old, 10)
    record.append("evaluation", 20, **LOOK)
    after = read_record(old)
    assert after == record.record and after.run == before.run and after.evaluations[:2] == before.evaluations
    (saved, event) = after.events
    assert saved == before.events[0] and (event.kind, event.dropped, event.changed) == ("resumed", 0, {})
    assert [line.get("version") for line in written(old)] == [2, None, None, None, None, None]
    # And once more, from format 2, whose bytes stay.
    bytes_before = old.read_bytes()
    record.release()
    resumed(old, 20)
    assert old.read_bytes().startswith(bytes_before)


def test_questions_of_format_1_are_put_in_the_order_of_the_run_that_resumes(old):
    asked = json.loads(FORMAT_1.split("\n")[0])["questions"]
    look = resumed(old, 5, questions=asked[::-1]).record.evaluations[0]
    assert look.pearson == [0.493, 0.693, 0.961] and look.lengths == [[136, 340], [178, 93], [352, 283]]
    assert [line.step for line in read_record(old).evaluations] == [0]


def test_a_death_while_it_is_rewritten_leaves_format_1(old, monkeypatch):
    monkeypatch.setattr("os.replace", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        resumed(old, 10)
    assert old.read_text() == FORMAT_1


def test_format_2_says_every_field_and_what_lacks_one_is_refused_by_name(tmp_path):
    path = tmp_path / "hre.jsonl"
    resumed(path, 0).append("evaluation", 0, **LOOK)
    run, look = written(path)
    assert run.keys() == {"kind", *types_of(RunLine)} and look.keys() == {"kind", *types_of(Evaluation)}
    type_of = (RunLine, Evaluation)
    assert "probes" not in said_of(Evaluation), "it came later: older records do not have it"
    for at, line in enumerate((run, look)):
        for key in line.keys() - {"kind"}:
            lines = [dict(run), dict(look)]
            del lines[at][key]
            path.write_text("".join(json.dumps(one) + "\n" for one in lines))
            if key not in said_of(type_of[at]):
                read_record(path)
            elif (at, key) != (0, "version"):
                with pytest.raises(ValueError, match=rf"line {at + 1}: the {line['kind']} line lacks {key}$"):
                    read_record(path)
    del run["questions"][1]["topic"]
    path.write_text(json.dumps(run) + "\n")
    with pytest.raises(ValueError, match=r"line 1: questions\[1\]\.topic is missing"):
        read_record(path)


@pytest.mark.parametrize("kind", [RunLine, RunQuestion, Evaluation, Event, Summary])
def test_the_type_of_every_field_is_checked_by_its_name(tmp_path, kind):
    """No field is named twice: one that a dataclass gains is checked at once, or has no check and fails here."""
    path = tmp_path / "hre.jsonl"
    for field in types_of(kind):
        run, look, *_ = map(json.loads, FORMAT_1.splitlines())
        event = {"kind": "finished", "step": 10, "summary": {}}
        place = {
            RunLine: run,
            RunQuestion: run["questions"][0],
            Evaluation: look,
            Event: event,
            Summary: event["summary"],
        }
        place[kind][field] = [{"odd": 1}, 2]
        path.write_text("".join(json.dumps(line) + "\n" for line in (run, look, event)))
        with pytest.raises(ValueError, match=rf", line \d: .*{field}"):
            read_record(path)


def test_what_a_later_version_wrote_outlives_a_resume(tmp_path):
    path = tmp_path / "hre.jsonl"
    record = resumed(path, 0)
    record.append("evaluation", 0, **LOOK, colour="blue")
    record.append("eclipse", 0, moons=[1, None], sun=None)
    record.release()
    resumed(path, 0 + 5)
    assert read_record(path).evaluations[0].more == {"colour": "blue"}
    assert read_record(path).events[0].more == {"moons": [1, None], "sun": None}


def test_a_line_is_its_object_there_and_back():
    one = records.of(
        {"questions": [{"id": "a", "new": 1}]}, [{"step": 0}], [{"kind": "save", "step": 0, "more": {"a": 1}}]
    )
    for line in (one.run, one.evaluations[0], *one.events):
        assert line_of(object_of(line)) == line
    assert one.events[0].more == {"more": {"a": 1}} and one.run.questions[0].more == {"new": 1}
    end = Event("finished", 3, summary=Summary(best_step=2))
    assert line_of(json.loads(json.dumps(object_of(end)))) == end != replace(end, step=4)
