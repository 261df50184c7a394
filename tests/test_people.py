"""A run on questions that tell people and dates apart, from a file to its record and report."""

from __future__ import annotations

import json
import re

import pytest

from hre_callback import HREConfig, HumanRankEvalCallback, read_record, write_report

from .test_cli import hre, model_folder, question_file
from .trainers import questions, sft_trainer

__all__ = ["model_folder"]
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore:.*torch.jit.script.*")
PEOPLE = {"ann": "IT", "bo": "DE", "ciro": "IT"}


def told_apart(path, n=24):
    """Votes are the sum of what three people of two countries rated; a fourth one rated nothing."""
    rows = []
    for i, one in enumerate(questions(n)):
        ratings = {who: [(i + 3 * a + shift * a * a) % 5 for a in range(4)] for shift, who in enumerate(PEOPLE)}
        votes = [sum(given) for given in zip(*ratings.values(), strict=True)]
        answers = [{"text": answer.text, "votes": vote} for answer, vote in zip(one.answers, votes, strict=True)]
        rows.append(
            {
                "id": one.id, "question": one.question, "answers": answers, "ratings": ratings,
                "groups": {"country": {**PEOPLE, "dee": "FR"}, "language": "de" if i % 2 else "it"},
                "date": "2024-01-01" if i < n / 2 else "2025-01-01",
            }
        )  # fmt: skip
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_groups_ratings_and_dates_of_a_file_reach_the_record_and_the_report(tmp_path, caplog):
    file = told_apart(tmp_path / "told.jsonl")
    callback = HumanRankEvalCallback(file, HREConfig(eval_steps=2, cutoff="2024-06-30"))
    sft_trainer(tmp_path, [callback], max_steps=2).train()
    record = read_record(tmp_path)
    start, last = record.evaluations[0].metrics, record.evaluations[-1].metrics
    for group in ("country/IT", "country/DE", "language/de", "language/it"):
        assert start[f"hre/group/{group}"] is not None and last[f"hre/group_change_low/{group}"] is not None
    assert (last["hre/group_n/country/IT"], last["hre/group_n/language/de"]) == (24, 12)
    assert "hre/group/country/FR" not in last and "name 'dee' without a rating" in caplog.text
    assert (last["hre/cutoff_n/before"], last["hre/cutoff_n/after"]) == (12, 12)
    gap = last["hre/cutoff/after_change"] - last["hre/cutoff/before_change"]
    assert last["hre/cutoff/difference"] == pytest.approx(gap) and "hre/cutoff/difference" not in start
    assert last["hre/cutoff/difference_low"] <= gap <= last["hre/cutoff/difference_high"]
    assert (record.run.human_ceiling_from, record.run.human_ceiling_n) == ("annotators", 24)
    assert record.run.config["cutoff"] == "2024-06-30" and 0 <= record.run.human_ceiling <= 1
    page = re.sub(r"\s+", " ", write_report(tmp_path).html.read_text())
    assert "country/IT" in page and "hold for all 4 groups together" in page
    assert "from before 2024-06-30" in page and "after less before" in page
    assert "split in halves at random, question by question (24 questions that two or more rated)." in page


def test_pairs_have_no_ceiling_and_record_console_and_report_say_so(tmp_path, caplog):
    pairs = [
        {"prompt": one.question, "chosen": one.answers[0].text, "rejected": one.answers[1].text} for one in questions(8)
    ]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in pairs))
    sft_trainer(
        tmp_path, [HumanRankEvalCallback(tmp_path / "pairs.jsonl", HREConfig(cutoff="2024-06-30"))], max_steps=1
    ).train()
    run = read_record(tmp_path).run
    assert run.human_ceiling is None and run.human_ceiling_from == "no counts"
    assert caplog.text.count("No human ceiling: the votes are neither counts") == 1
    assert caplog.text.count("No question has a date: HRE before and after the cutoff, 2024-06-30, cannot") == 1
    page = re.sub(r"\s+", " ", write_report(tmp_path).html.read_text())
    assert "No human ceiling: the votes are neither counts" in page and "Dashed line above" not in page
    assert "No question has a date" in page


def test_one_scoring_tells_both_sides_of_the_cutoff(model_folder, tmp_path, capsys):
    file = question_file(tmp_path / "q.jsonl", [f"t{i}" for i in range(14)])
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    file.write_text("".join(json.dumps({**row, "date": f"202{i % 2 + 4}-01-01"}) + "\n" for i, row in enumerate(rows)))
    args = ("score", model_folder, file, "--cutoff", "2024-06-30")
    out, _ = hre(*args, "--out", tmp_path / "s.jsonl", capsys=capsys)
    assert out.count("From before 2024-06-30: HRE ") == out.count("From after 2024-06-30: HRE ") == 1
    assert "Old questions may be easier" in out
    assert json.loads((tmp_path / "s.jsonl").read_text().splitlines()[1])["date"] == "2025-01-01"
    told = json.loads(hre(*args, "--json", capsys=capsys)[0])["cutoff"]
    assert (told["day"], told["before"]["n"], told["after"]["n"]) == ("2024-06-30", 7, 7)
    _, err = hre(*args[:-1], "June 2024", capsys=capsys, code=2)
    assert "HREConfig.cutoff is 'June 2024'; it must be a day such as 2024-05-31 or None" in err
