import json

import numpy as np
import pytest

from hre_callback.comparison import compare_scores, pilot_figures, read_scores, sentence

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
