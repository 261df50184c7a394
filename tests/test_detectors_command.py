"""`hre detectors`: tables, numbers and files of a folder of runs."""

from __future__ import annotations

import json
import sys

import pytest

from hre_callback.run.detectors import DETECTORS

from .recorded_runs import WAYS, recorded, write, zoo
from .test_cli import hre


@pytest.fixture
def folder(tmp_path):
    return zoo(tmp_path)


def test_it_prints_what_it_found_and_what_it_left_out(folder, capsys):
    (folder / "scores.jsonl").write_text("{}\n")
    out, err = hre("detectors", folder, capsys=capsys)
    assert err == "" and "How often they are right" in out and "| worse " in out
    assert out.endswith("Left out: scores.jsonl, not in runs.json\n")
    told = json.loads(hre("detectors", folder, "--json", capsys=capsys)[0])
    assert [run["run"] for run in told["runs"]] == ["worse", "better", "still"]
    assert told["left_out"] == {"scores.jsonl": "not in runs.json"}
    assert hre("detectors", folder, "--quiet", capsys=capsys)[0] == ""


def test_a_folder_of_one_s_own_runs_needs_no_table(folder, capsys):
    (folder / "runs.json").unlink()
    write(recorded(WAYS["still"], n=8), folder / "dpo" / "hre.jsonl")
    out, _ = hre("detectors", folder, capsys=capsys)
    assert "false alarms" not in out and out.index("| better ") < out.index("| dpo ") < out.index("| still ")


def test_tables_and_chart_are_written_and_again(folder, tmp_path, capsys):
    for _ in range(2):
        out, _ = hre("detectors", folder, "--out", tmp_path / "new" / "out", capsys=capsys)
    page, chart = tmp_path / "new" / "out" / "detectors.md", tmp_path / "new" / "out" / "detectors.png"
    assert out.endswith(f"Tables: {page}\nChart:  {chart}\n")
    assert chart.read_bytes().startswith(b"\x89PNG")
    printed = [line for line in out.splitlines() if line.startswith("|")]
    text = page.read_text()
    assert all(line in text for line in printed) and DETECTORS[-1].source in text
    # In the folder itself, too: they are no runs.
    hre("detectors", folder, "--out", folder, capsys=capsys)
    assert "Left out" not in hre("detectors", folder, capsys=capsys)[0]


def test_without_matplotlib_the_tables_are_written(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib.style", None)
    out, _ = hre("detectors", folder, "--out", tmp_path / "out", capsys=capsys)
    assert "Chart:  none, the chart needs matplotlib: pip install" in out
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["detectors.md"]


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["nowhere"], "nowhere: no such folder"),
        (["runs.json"], "runs.json: no such folder"),
        (["."], "gone.jsonl"),
        ([".", "--out", "worse.jsonl"], "worse.jsonl is a file, expected a folder or a new name"),
    ],
)
def test_what_is_wrong_is_one_line(args, says, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    (folder / "better.jsonl").rename("gone")
    (folder / "runs.json").write_text(json.dumps({"runs": [{"name": "gone.jsonl", "truth": "fine"}]}))
    out, err = hre("detectors", *args, capsys=capsys, code=2)
    assert out == "" and err.startswith("hre: ") and says in err and err.count("\n") == 1
