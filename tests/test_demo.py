"""`hre demo` from its first line to its page, with a tiny model in place of the real one."""

from __future__ import annotations

import re
from html import unescape

import pytest

from hre_callback import demo, load_questions
from hre_callback.run.record import read_record

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::FutureWarning", "ignore:.*torch.jit.script.*")]
pytest.importorskip("wandb", reason="the demo writes W&B runs")


def test_the_demo_ends_with_one_page_of_both_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(demo, "demo_model_folder", lambda: None)
    monkeypatch.setattr(demo, "load_questions", lambda source: load_questions(source, max_questions=6))
    monkeypatch.setenv("WANDB_DIR", "")
    demo.run_demo(tmp_path / "demo", steps=3)
    said = capsys.readouterr().out
    for name in ("liked", "disliked"):
        record = read_record(tmp_path / "demo" / name)
        assert [look.step for look in record.evaluations] == [0, 1, 2, 3]
        assert record.run.planned_looks == 3 and record.run.config["stop_rule"] == "drop_from_start"
        assert re.search(rf"^{name}: loss \S+ to \S+\. \S ", said, re.MULTILINE)
    page = unescape((tmp_path / "demo" / "hre.html").read_text())
    (between,) = re.findall(r"At step 3, liked against disliked: [^.]*\.[^<\n]*", said)
    assert between in page and (tmp_path / "demo" / "hre.png").stat().st_size > 10_000
    doing = re.findall(r"^\[ *\d+ s\] (\w+)", said, re.MULTILINE)
    assert doing == ["Loading", "Run", "Run", "Drawing", "Done"]
    assert len(list((tmp_path / "demo").glob("wandb/offline-run-*"))) == 2
