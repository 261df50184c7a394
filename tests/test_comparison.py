import json

import numpy as np
import pytest

from hre_callback.comparison import compare_scores, pilot_figures, read_scores, sentence
from hre_callback.models import tiny_model

from .simulate import history
from .test_cli import hre


def write(path, values, fingerprint="f"):
    rows = [
        {"id": f"q{i}", "topic": "t", "pearson": v, "fingerprint": fingerprint} for i, v in enumerate(values)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def files(tmp_path):
    rng = np.random.default_rng(0)
    level = rng.uniform(-1, 1, 200)
    a = write(tmp_path / "a.jsonl", [*level.tolist(), None])
    same = write(tmp_path / "same.jsonl", [*(level + 0.02 * rng.normal(size=200)).tolist(), None])
    worse = write(tmp_path / "worse.jsonl", [*(level - 0.05 + 0.1 * rng.normal(size=200)).tolist(), None])
    return a, same, worse


def test_verdicts(files):
    a, same, worse = map(read_scores, files)
    found = compare_scores(a, worse)
    assert found.verdict == "worse" and found.n == 200 and found.low < -0.05 < found.high
    assert sentence(found).startswith("worse for people: -0.0")
    assert compare_scores(worse, a).verdict == "better"
    assert sentence(compare_scores(a, same)).startswith("no difference seen")


def test_exit_code_for_ci(files, capsys):
    a, same, worse = files
    out, _ = hre("compare", a, same, worse, "--fail-if-worse", capsys=capsys, code=1)
    assert len(out.splitlines()) == 2
    hre("compare", a, worse, capsys=capsys)
    hre("compare", a, same, "--fail-if-worse", capsys=capsys)
    out, _ = hre("compare", a, worse, "--json", capsys=capsys)
    assert json.loads(out)[0]["verdict"] == "worse"


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
    assert out.startswith("1963 questions")
    rng = np.random.default_rng(0)
    level = rng.uniform(-1, 1, 100)
    looks = [level, level + 0.1 * rng.normal(size=100)]
    lines = [
        {"kind": "run", "version": 1, "fingerprint": "f", "questions": [{"id": str(i)} for i in range(100)]}
    ]
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
    assert "step 80: worse for people: -0." in out and "drop_from_start: stops at step" in out
    hre("compare", falling, "--fail-if-worse", capsys=capsys, code=1)
    still = record(tmp_path / "still" / "hre.jsonl", history(4, 400, 8), planned=8)
    found = json.loads(hre("compare", still, "--json", "--fail-if-worse", capsys=capsys)[0])
    assert found["stops"]["drop_from_start"] is None and len(found["evaluations"]) == 8
    out, _ = hre("compare", still, falling, capsys=capsys)
    assert "worse for people" in out
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
    assert row["delta"] == 0 and row["n"] == 8 and row["verdict"] == "no difference seen"
    assert "pass --questions" in hre("compare", tmp_path / "a", tmp_path / "a", capsys=capsys, code=2)[1]
    assert "is not a run" in hre("compare", tmp_path / "a", capsys=capsys, code=2)[1]
