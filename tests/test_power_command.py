"""`hre power`, and numbers for `hre demo`, that make no sense: refused in one sentence, never printed as a result."""

from __future__ import annotations

import json

import numpy as np
import pytest

from hre_callback.stats.significance import power, questions_needed

from .run.test_comparison import record
from .test_cli import hre


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *[("delta", v) for v in ("nan", "inf", "-inf", "0", "-0.0", "5", "1e-300", "5e-324", "1e-160", "1e-9")],
        *[("rho", v) for v in ("nan", "inf", "1", "1.0000001", "-1.5", "2")],
        *[("sd", v) for v in ("nan", "inf", "-inf", "0", "-1", "2", "1e308")],
    ],
)
@pytest.mark.parametrize("as_json", [False, True])
def test_a_design_without_a_meaning_is_refused_by_name(option, value, as_json, capsys):
    args = [f"--{option}={value}", *(["--json"] if as_json else [])]
    out, err = hre("power", *args, capsys=capsys, code=2)
    assert out == "" and err.startswith(f"hre: {option} ") and err.count("\n") == 1


@pytest.mark.parametrize(
    "args",
    [
        ["--delta=-0.01"],
        ["--rho=-1"],
        ["--sd=1.2"],
        ["--delta=2"],
        ["--rho=0.9999999999999999"],
        ["--sd=5e-324"],
    ],
)
def test_a_design_at_the_edge_is_answered_in_strict_json(args, capsys):
    told = json.loads(hre("power", *args, "--json", capsys=capsys)[0], parse_constant=pytest.fail)
    assert told["questions"] >= 2
    assert all(0 < share <= 1 for share in told["power"].values())


@pytest.mark.parametrize(
    "values",
    [
        np.tile([0.1, 0.5, -0.2, 0.3], (2, 1)),
        np.array([[0.1, 0.1, 0.1, 0.1], [0.2, 0.3, 0.4, 0.5]]),
        np.array([[0.1, 0.2, 0.3, 0.5], [0.2, 0.3, 0.4, 0.6]]),
    ],
    ids=["the run did not move", "all alike", "moved all alike"],
)  # fmt: skip
def test_a_pilot_in_which_nothing_differs_is_named(tmp_path, capsys, values):
    run = record(tmp_path / "run" / "hre.jsonl", values)
    _, err = hre("power", "--pilot", run, capsys=capsys, code=2)
    assert err.startswith(f"hre: {run}: a pilot needs questions that differ") and err.count("\n") == 1


@pytest.mark.parametrize("answers, questions", [(2, 7849), (3, 3925), (4, 2617), (10, 873)])
def test_the_number_of_answers_tells_the_spread(answers, questions, capsys):
    told = json.loads(hre("power", "--answers", answers, "--json", capsys=capsys)[0])
    assert told["sd"] == pytest.approx((answers - 1) ** -0.5) and told["questions"] == questions


def test_of_two_answers_the_difference_is_told_in_pair_accuracy(capsys):
    out, _ = hre("power", "--answers", "2", capsys=capsys)
    assert out.splitlines()[-1] == (
        "Most questions have two answers: r is +1 or −1 and HRE is 2 × pair accuracy − 1, so 0.01 in HRE is 0.005 in "
        "pair accuracy"
    )
    assert "pair accuracy" not in hre("power", capsys=capsys)[0] + hre("power", "--sd", "0.9", capsys=capsys)[0]


@pytest.mark.parametrize("answers", ["1", "0", "-2", "99999999"])
def test_answers_that_no_question_has_are_refused(answers, capsys):
    out, err = hre("power", f"--answers={answers}", capsys=capsys, code=2)
    assert out == "" and err.startswith("hre: answers must be from 2 to 1,000,000") and err.count("\n") == 1


@pytest.mark.parametrize("other", [["--sd", "0.5"], ["--pilot", "run"]])
def test_one_spread_is_enough(other, capsys):
    out, err = hre("power", "--answers", "2", *other, capsys=capsys, code=2)
    assert out == "" and err == f"hre: --answers 2 tells a spread, and so does {other[0]}: give one\n"


def test_functions_refuse_what_the_command_refuses():
    for wrong in ({"delta": float("nan")}, {"rho": 1.0}, {"sd": 0.0}):
        design = {"delta": 0.01, "rho": 0.9, "sd": 0.5, **wrong}
        with pytest.raises(ValueError, match=next(iter(wrong))):
            questions_needed(**design)
        with pytest.raises(ValueError, match=next(iter(wrong))):
            power(n=100, **design)


@pytest.mark.parametrize("steps", ["-5", "0", "1000001", "9" * 30])
def test_a_demo_of_no_steps_is_refused_and_leaves_nothing(steps, tmp_path, capsys):
    out, err = hre("demo", "--out", tmp_path / "demo", "--steps", steps, capsys=capsys, code=2)
    assert out == "" and err == f"hre: steps is {steps}; expected 1 to 1,000,000\n"
    assert not (tmp_path / "demo").exists()
