import json
import re

import numpy as np
import pytest

from hre_callback.run.comparison import compare_scores, compare_series, pilot_figures, sentence
from hre_callback.run.record import read_record
from hre_callback.run.score_files import read_scores
from hre_callback.scoring.demo_model import tiny_model
from hre_callback.stats import draws
from hre_callback.stats.stopping import decide

from .. import records
from ..simulate import history
from ..synthetic_records import flat, mismatch
from ..synthetic_records import write as write_record
from ..test_cli import hre


def write(path, values, fingerprint="f"):
    rows = [{"id": f"q{i}", "topic": "t", "pearson": v, "fingerprint": fingerprint} for i, v in enumerate(values)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def files(tmp_path):
    rng = np.random.default_rng(0)
    # Narrow, so that with what is added below every value is a correlation.
    level = rng.uniform(-0.6, 0.6, 200)
    a = write(tmp_path / "a.jsonl", [*level.tolist(), None])
    same = write(tmp_path / "same.jsonl", [*(level + 0.02 * rng.normal(size=200)).tolist(), None])
    worse = write(tmp_path / "worse.jsonl", [*(level - 0.05 + 0.1 * rng.normal(size=200)).tolist(), None])
    return a, same, worse


def test_verdicts(files):
    a, same, worse = map(read_scores, files)
    found = compare_scores(a, worse)
    assert found.verdict == "lower" and found.n == 200 and found.low < -0.05 < found.high
    assert sentence(found).startswith("lower, −0.0")
    assert compare_scores(worse, a).verdict == "higher"
    assert sentence(compare_scores(a, same)).startswith("no clear change, ")


def test_exit_code_for_ci(files, capsys):
    a, same, worse = files
    out, _ = hre("compare", a, same, worse, "--fail-if-worse", capsys=capsys, code=1)
    assert len(out.splitlines()) == 2
    hre("compare", a, worse, capsys=capsys)
    hre("compare", a, same, "--fail-if-worse", capsys=capsys)
    out, _ = hre("compare", a, worse, "--json", capsys=capsys)
    assert json.loads(out)[0]["verdict"] == "lower"


def test_errors(files, tmp_path, capsys):
    a, _, _ = files
    other = write(tmp_path / "other.jsonl", [0.1] * 201, fingerprint="g")
    _, err = hre("compare", a, other, capsys=capsys, code=2)
    assert "different questions" in err
    broken = tmp_path / "broken.jsonl"
    broken.write_text('{"id": "q0", "pearson": 0.1}\n{"id": "q1"}\n')
    _, err = hre("compare", a, broken, capsys=capsys, code=2)
    assert f"{broken}, line 2" in err
    with pytest.raises(ValueError, match="no such score file"):
        read_scores(tmp_path / "none.jsonl")


def test_power_from_figures_and_from_a_pilot(tmp_path, capsys):
    out, _ = hre("power", "--delta", "0.01", "--rho", "0.95", capsys=capsys)
    assert out.startswith("2617 questions")
    rng = np.random.default_rng(0)
    level = rng.uniform(-0.6, 0.6, 100)
    looks = [level, level + 0.1 * rng.normal(size=100)]
    lines = [{"kind": "run", "version": 1, "fingerprint": "f", "questions": [{"id": str(i)} for i in range(100)]}]
    for step, look in enumerate(looks):
        line = {"kind": "evaluation", "step": step, "pearson": look.tolist(), "loglikelihoods": [[0.0]] * 100}
        lines.append({**line, "metrics": {}, "proxies": {}})
    path = tmp_path / "hre.jsonl"
    path.write_text("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines))
    rho, sd = pilot_figures(path)
    assert rho == pytest.approx(np.corrcoef(looks)[0, 1]) and sd == pytest.approx(looks[1].std(ddof=1))
    out, _ = hre("power", "--pilot", tmp_path, capsys=capsys)
    assert f"rho {rho:.3f}" in out


def record(path, values, planned=None):
    questions = [{"id": str(i)} for i in range(values.shape[1])]
    run = {"kind": "run", "version": 1, "fingerprint": "f", "questions": questions, "planned_looks": planned}
    looks = [
        {"kind": "evaluation", "step": 10 * t, "pearson": look.tolist(), "metrics": {}, "proxies": {},
         "loglikelihoods": [[0.0]] * len(look)}
        for t, look in enumerate(values)
    ]  # fmt: skip
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in [run, *looks]))
    return path.parent


def test_a_run_against_its_start_and_what_each_rule_says(tmp_path, capsys):
    falling = record(tmp_path / "falling" / "hre.jsonl", history(0, 400, 8, fall=0.1), planned=8)
    out, _ = hre("compare", falling, capsys=capsys)
    assert "step 80: lower, −0." in out and "drop_from_start: stops at step" in out
    hre("compare", falling, "--fail-if-worse", capsys=capsys, code=1)
    still = record(tmp_path / "still" / "hre.jsonl", history(4, 400, 8), planned=8)
    found = json.loads(hre("compare", still, "--json", "--fail-if-worse", capsys=capsys)[0])
    assert found["stops"]["drop_from_start"] is None and len(found["evaluations"]) == 8
    out, _ = hre("compare", still, falling, capsys=capsys)
    assert ": lower, −0." in out
    other = record(tmp_path / "other" / "hre.jsonl", history(4, 400, 8))
    for folder, length in ((still, None), (other, 128)):
        lines = (folder / "hre.jsonl").read_text().splitlines()
        run = {**json.loads(lines[0]), "identity": {"max_length": length}}
        lines[0] = json.dumps(run, separators=(",", ":"))
        (folder / "hre.jsonl").write_text("\n".join(lines) + "\n")
    assert "not comparable" in hre("compare", still, other, capsys=capsys, code=2)[1]
    alone = record(tmp_path / "alone" / "hre.jsonl", history(0, 40, 8)[:1])
    assert "needs two evaluations" in hre("compare", alone, capsys=capsys, code=2)[1]


def test_checkpoints_are_scored_on_the_spot(tmp_path, capsys):
    model, tok = tiny_model(["a few words to learn from", "and some more of them"])
    model.save_pretrained(tmp_path / "a")
    tok.save_pretrained(tmp_path / "a")
    arguments = ["compare", tmp_path / "a", tmp_path / "a", "--questions", "bundled", "--limit", 8, "--json"]
    (row,) = json.loads(hre(*arguments, capsys=capsys)[0])
    assert row["delta"] == 0 and row["n"] == 8 and row["verdict"] == "no clear change"
    assert "pass --questions" in hre("compare", tmp_path / "a", tmp_path / "a", capsys=capsys, code=2)[1]
    assert "is not a run" in hre("compare", tmp_path / "a", capsys=capsys, code=2)[1]


def score_file(path, *lines):
    """A score file of eight good rows whose lines from 2 on are replaced by `lines`."""
    rows = [json.dumps({"id": f"q{i}", "pearson": i / 10, "fingerprint": "f"}) for i in range(8)]
    rows[1 : 1 + len(lines)] = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("\n".join(rows) + "\n", encoding="utf-8", errors="surrogateescape")
    return path


NO_SCORES = {
    "text": (
        {"id": "q1", "pearson": "0.5", "fingerprint": "f"},
        "pearson is '0.5'; expected a number from -1",
    ),
    "bool": ({"id": "q1", "pearson": True, "fingerprint": "f"}, "pearson is True"),
    "list": ({"id": "q1", "pearson": [0.5], "fingerprint": "f"}, r"pearson is \[0.5\]"),
    "5": ({"id": "q1", "pearson": 5, "fingerprint": "f"}, "pearson is 5;"),
    "-1.01": ({"id": "q1", "pearson": -1.01, "fingerprint": "f"}, "pearson is -1.01"),
    "NaN": ({"id": "q1", "pearson": float("nan"), "fingerprint": "f"}, "pearson is nan"),
    "1e999": ('{"id": "q1", "pearson": 1e999, "fingerprint": "f"}', "pearson is inf"),
    "-1e999": ('{"id": "q1", "pearson": -1e999, "fingerprint": "f"}', "pearson is -inf"),
    "400 digits": ('{"id": "q1", "fingerprint": "f", "pearson": 1' + "0" * 400 + "}", "pearson is 1000"),
    "5000 digits": ('{"id": "q1", "fingerprint": "f", "pearson": 1' + "0" * 5000 + "}", "4300 digits"),
    "id of another type": ({"id": 1, "pearson": 0.5, "fingerprint": "f"}, "id is 1; expected a text"),
    "id null": ({"id": None, "pearson": 0.5, "fingerprint": "f"}, "id is None"),
    "id missing": ({"pearson": 0.5, "fingerprint": "f"}, "with id and pearson"),
    "pearson missing": ({"id": "q1", "fingerprint": "f"}, "with id and pearson"),
    "the same id": ({"id": "q0", "pearson": 0.5, "fingerprint": "f"}, "'q0' is that of line 1 too"),
    "another fingerprint": ({"id": "q1", "pearson": 0.5, "fingerprint": "g"}, "fingerprint 'g' is not that"),
    "no fingerprint": ({"id": "q1", "pearson": 0.5}, "fingerprint None is not that"),
    "another way": (
        {"id": "q1", "pearson": 0.5, "fingerprint": "f", "scoring": {"prompt": "chat"}},
        "scoring {'prompt': 'chat'} is not that",
    ),
    "fingerprint a list": ({"id": "q1", "pearson": 0.5, "fingerprint": ["f"]}, "expected a text"),
    "scoring a text": ({"id": "q1", "pearson": 0.5, "fingerprint": "f", "scoring": "x"}, "an object of"),
    "cluster a list": ({"id": "q1", "pearson": 0.5, "fingerprint": "f", "cluster": []}, "a text or null"),
    "latin1": (b'{"id": "caf\xe9", "pearson": 0.5}'.decode("utf-8", "surrogateescape"), "'utf-8' codec"),
    "binary": (b"\x00\xc8\xff".decode("utf-8", "surrogateescape"), "'utf-8' codec"),
    "deep": ('{"id": ' + "[" * 100_000, "recursion"),
    "half": ('{"id": "q1", "pear', "Unterminated"),
    "a list": ([1, 2], "with id and pearson"),
    "null": ("null", "with id and pearson"),
    "twice the key": ('{"id": "q1", "pearson": 0.1, "pearson": 0.9}', "'pearson' stands there twice"),
}


@pytest.mark.parametrize("case", NO_SCORES)
def test_what_is_no_score_is_refused_with_file_and_line(case, tmp_path, capsys):
    line, said = NO_SCORES[case]
    good, bad = score_file(tmp_path / "good.jsonl"), score_file(tmp_path / "bad.jsonl", line)
    for sides in ((good, bad), (bad, good)):
        _, err = hre("compare", *sides, "--fail-if-worse", capsys=capsys, code=2)
        assert err.startswith(f"hre: {bad}, line 2: ") and re.search(said, err) and err.count("\n") == 1


def rows_of(n, pearson, **more):
    return [{"id": f"q{i}", "pearson": pearson(i), "fingerprint": "f", **more} for i in range(n)]


@pytest.mark.parametrize(
    "rows, said",
    [
        ([], "holds no scores"),
        (rows_of(8, lambda i: None), "0 of 8 questions can be compared"),
        (rows_of(1, lambda i: 0.5), "1 of 1 questions can be compared"),
        (rows_of(8, lambda i: 0.1 if i == 3 else None), "1 of 8 questions can be compared"),
        (rows_of(8, lambda i: i / 10, cluster="one"), "8 of 8 questions in 1 cluster can be compared"),
    ],
)
def test_a_comparison_of_too_few_questions_is_refused(rows, said, tmp_path, capsys):
    files = [tmp_path / name for name in ("a.jsonl", "b.jsonl")]
    for file in files:
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for flag in ((), ("--fail-if-worse",)):
        _, err = hre("compare", *files, *flag, capsys=capsys, code=2)
        assert said in err and str(files[0]) in err


def test_a_gate_that_could_never_close_is_refused(tmp_path, capsys):
    a, b = (write(tmp_path / name, values) for name, values in (("a", [0.5] * 5), ("b", [-0.5] * 5)))
    assert "too few questions for an interval, p = 0.06" in hre("compare", a, b, capsys=capsys)[0]
    assert "--fail-if-worse could never fail" in hre("compare", a, b, "--fail-if-worse", capsys=capsys, code=2)[1]
    a, b = (write(tmp_path / name, values) for name, values in (("a", [0.5] * 6), ("b", [-0.5] * 6)))
    hre("compare", a, b, "--fail-if-worse", capsys=capsys, code=1)
    clusters = [{"id": f"q{i}", "pearson": 0.1, "fingerprint": "f", "cluster": f"c{i % 5}"} for i in range(40)]
    for file in (a, b):
        file.write_text("".join(json.dumps(row) + "\n" for row in clusters))
    hre("compare", a, b, "--fail-if-worse", capsys=capsys, code=2)
    few = record(tmp_path / "few" / "hre.jsonl", history(0, 5, 8, fall=0.1), planned=8)
    hre("compare", few, capsys=capsys)
    hre("compare", few, "--fail-if-worse", capsys=capsys, code=2)


def test_a_run_that_cannot_be_compared_is_named(tmp_path, capsys):
    values = history(0, 40, 8)
    for n in (0, 1):
        run = record(tmp_path / str(n) / "hre.jsonl", values[:n])
        _, err = hre("compare", run, capsys=capsys, code=2)
        assert str(run) in err and f"this run has {n}" in err
    null = record(tmp_path / "null" / "hre.jsonl", np.full((3, 4), 0.5))
    file = null / "hre.jsonl"
    file.write_text(file.read_text().replace("0.5", "null"))
    _, err = hre("compare", null, capsys=capsys, code=2)
    assert str(null) in err and "step 10 against step 0" in err and "0 of 4 questions" in err
    far = record(tmp_path / "far" / "hre.jsonl", np.full((3, 4), 2e9))
    for sides in ((far,), (far, far)):
        _, err = hre("compare", *sides, capsys=capsys, code=2)
        assert str(far) in err and "expected a number from -1 to 1" in err


def test_blank_lines_and_a_last_line_without_end_do_no_harm(tmp_path):
    file = score_file(tmp_path / "a.jsonl")
    rows = read_scores(file)
    file.write_text(file.read_text().replace("\n", "\r\n\n").rstrip())
    assert read_scores(file) == rows and len(rows) == 8


def test_a_run_says_where_each_rule_would_have_stopped_it_mismatch_too(tmp_path, capsys):
    lines = mismatch(n=200)
    synthetic = write_record(lines, tmp_path / "hre.jsonl")
    out, _ = hre("compare", synthetic, capsys=capsys)
    first = next(line for line in lines if line.get("verdict") == "mismatch")
    assert f"mismatch: stops at step {first['step']}: {first['reason']}" in out.splitlines()
    for rule in ("drop_from_start", "drop_from_best", "patience"):
        assert f"\n{rule}: " in out
    out, _ = hre("compare", write_record(flat(n=200), tmp_path / "flat.jsonl"), capsys=capsys)
    assert "mismatch: does not stop" in out.splitlines()


def test_a_bar_over_the_evaluations_where_a_terminal_shows_it(tmp_path, capsys, monkeypatch):
    run = record(tmp_path / "run" / "hre.jsonl", history(0, 60, 5))
    assert hre("compare", run, capsys=capsys)[1] == ""
    # what makes stderr a terminal to the bar
    monkeypatch.setenv("FORCE_COLOR", "1")
    out, err = hre("compare", run, capsys=capsys)
    assert "Comparing the evaluations" in err and "Comparing" not in out
    assert hre("compare", run, "--quiet", capsys=capsys)[1] == ""
    assert hre("compare", run, "--json", capsys=capsys)[1] == ""


def test_a_series_is_compared_look_by_look_and_each_looks_differences_are_flipped_once(tmp_path, monkeypatch):
    flipped, told, real = [], [], draws._signed_sums
    monkeypatch.setattr(
        draws, "_signed_sums", lambda columns, *rest: flipped.append(len(columns)) or real(columns, *rest)
    )
    run = read_record(record(tmp_path / "run" / "hre.jsonl", history(991, 60, 6), planned=6))
    compare_series(run, progress=lambda done, total: told.append((done, total)))
    assert told == [(t, 6) for t in range(1, 7)]
    # one for a look's own p; one for both drop rules, which pool two looks and wait for the second
    assert flipped == [1, 1, 2] + [1, 1] * 4


def test_a_series_says_what_every_prefix_of_it_said(tmp_path):
    values = history(0, 200, 8, fall=0.1)
    # a question that one look could not score is left out from there on
    values[4, 7] = np.nan
    whole = compare_series(records.of({"questions": [{"id": f"q{i}"} for i in range(200)]}, looks_of(values)))
    for rule in ("drop_from_start", "drop_from_best", "patience"):
        said = (decide(rule, range(t + 1), values[: t + 1]) for t in range(1, 9))
        first = next(((t, look) for t, look in enumerate(said, start=1) if look.stop), None)
        assert whole.stops[rule] == (first and (first[0], first[1].reason))


def looks_of(values):
    rows = np.where(np.isnan(values), None, values).tolist()
    return [{"step": t, "pearson": row} for t, row in enumerate(rows)]
