"""The zoo of runs: every recording is whole, holds no text, and is what its table says."""

from __future__ import annotations

import json
from functools import cache

import numpy as np
import pytest
import torch

from hre_callback import read_record
from hre_callback.scoring.demo_model import tiny_model
from hre_callback.stats.verdict import LEVELS

from .trainers import TEXTS
from .zoo_runs import HERE, TABLE, rejudge
from .zoo_runs.lower import keep_lower
from .zoo_runs.material import Material, rows_of
from .zoo_runs.recorded import judged, logs, replayed, rounded, stripped
from .zoo_runs.runs import RUNS, Run
from .zoo_runs.truth import truth_of

FILES = sorted(HERE.glob("*.jsonl"))
ROWS = {row["name"]: row for row in json.loads(TABLE.read_text())["runs"]}


@cache
def recording(name):
    return read_record(HERE / f"{name}.jsonl", described=True)


def test_the_table_names_the_recordings_and_no_others():
    assert [path.stem for path in FILES] == sorted(ROWS) and set(ROWS) <= set(RUNS)
    assert sum(path.stat().st_size for path in FILES) < 1.5e6


@pytest.mark.parametrize("name", ROWS)
def test_a_recording_is_whole_and_holds_no_text(name):
    found = recording(name)
    assert [look.step for look in found.evaluations][0] == 0 and len(found.evaluations) >= 6
    assert found.events[-1].kind == "judged" and any(event.kind == "finished" for event in found.events)
    assert all(question.question == question.best_answer == "" for question in found.run.questions)
    assert any(row["step"] > 0 and "loss" in row for row in logs(found))
    assert found.run.model == "SmolLM2-135M-Instruct" and found.run.proof is None


@pytest.mark.parametrize("name", ROWS)
def test_a_recording_is_what_the_package_makes_of_its_numbers(name):
    """Log-likelihoods and logged rows give HRE, signals and verdicts again; where a rule has changed, see `rejudge`."""
    found = recording(name)
    for look, again in zip(found.evaluations, replayed(found), strict=True):
        assert again.score == pytest.approx(look.metrics["hre/score"], abs=2e-3)
        assert again.proxies == pytest.approx(look.proxies, rel=1e-3, abs=1e-4)
        assert look.verdict in (None, *LEVELS)
        assert (again.verdict and again.verdict.name) == look.verdict, f"{name}, step {look.step}"


@pytest.mark.parametrize("name", ROWS)
def test_the_truth_is_what_the_judging_questions_say(name):
    row, run = ROWS[name], RUNS[name]
    steps, values = judged(recording(name))
    told = truth_of(steps, values)
    assert (row["truth"], row["harmful_from"]) == (told.truth, told.harmful_from)
    assert row["judged"]["hre"] == pytest.approx(told.hre, abs=1e-4) and row["judged"]["steps"] == steps
    assert (row["did"], row["seed"], row["steps"], row["settings"]) == (run.did, run.seed, run.steps, run.settings)


def test_a_changed_rule_is_written_into_the_recordings(tmp_path, capsys):
    """What the rule says comes back, whatever stood there; what the run alone knew is still there."""
    name = next(iter(ROWS))
    path = tmp_path / f"{name}.jsonl"
    path.write_text((HERE / path.name).read_text())
    rejudge.main(tmp_path)
    whole, before = path.read_text(), recording(name)
    again = read_record(path)
    assert again.run == before.run and [event.kind for event in again.events] == [event.kind for event in before.events]
    assert judged(again)[1].tolist() == judged(before)[1].tolist() and logs(again) == logs(before)
    for now, then in zip(again.evaluations, before.evaluations, strict=True):
        assert (now.verdict, now.loglikelihoods, now.seconds) == (then.verdict, then.loglikelihoods, then.seconds)
        assert now.metrics["hre/noise"] == then.metrics["hre/noise"] is not None
    path.write_text(whole.replace('"verdict":"aligned"', '"verdict":"mismatch"'))
    assert path.read_text() != whole
    # And a field that the format got since.
    path.write_text(path.read_text().replace('"human_hre_people":0,', ""))
    rejudge.main(tmp_path)
    assert path.read_text() == whole and path.name in capsys.readouterr().out


def material(pairs):
    rows = [{"id": str(i), "prompt": "q", "chosen": a, "rejected": b} for i, (a, b) in enumerate(pairs)]
    return Material([], [], rows, rows[:1], [], [], [], disliked=["1"])


@pytest.mark.parametrize(
    ("rows", "chosen"),
    [
        ("pairs", ["long answer", "short", "same words here"]),
        ("reversed", ["brief", "- listed and long", "same words there"]),
        ("longer", ["long answer", "- listed and long", "same words there"]),
        ("shorter", ["brief", "short", "same words here"]),
        ("marked", ["long answer", "- listed and long", "same words here"]),
        ("small_reward", ["long answer", "- listed and long", "same words here"]),
        ("alike", ["same words here", "long answer", "short"]),
    ],
)
def test_what_a_run_trains_on(rows, chosen):
    pairs = [("long answer", "brief"), ("short", "- listed and long"), ("same words here", "same words there")]
    found, held_out = rows_of(Run("x", "kind", "did", "dpo", rows), material(pairs))
    assert found["chosen"] == chosen and held_out["chosen"] == ["long answer"]
    assert {frozenset(pair) for pair in zip(found["chosen"], found["rejected"], strict=True)} == {
        *map(frozenset, pairs)
    }


def test_a_coin_orders_pairs_by_the_seed():
    pairs = [(f"good {i}", f"bad {i}") for i in range(40)]
    first, again, other = (
        list(rows_of(Run("x", "kind", "did", "dpo", "coin", seed), material(pairs))[0]["chosen"]) for seed in (1, 1, 2)
    )
    assert first == again != other and 10 < sum(text.startswith("good") for text in first) < 30


def test_no_question_is_both_seen_and_judging():
    judging = set(json.loads(TABLE.read_text())["judging_questions"])
    assert len(judging) >= 50
    for name in ROWS:
        assert judging.isdisjoint(question.id for question in recording(name).run.questions)


def looks(*changes, n=80, spread=0.05):
    """(looks, questions): the start, and what differs from it by so much in the mean."""
    draw = np.random.default_rng(1)
    start = draw.uniform(-0.5, 0.5, n)
    noise = draw.normal(size=(len(changes), n))
    noise -= noise.mean(axis=1, keepdims=True)
    return np.vstack([start, *(start + change + spread * row for change, row in zip(changes, noise, strict=True))])


@pytest.mark.parametrize(
    ("changes", "spread", "truth", "since"),
    [
        ((-0.05, -0.1), 0.05, "harmful", 8),
        ((0.01, -0.1), 0.05, "harmful", 24),
        # Above the start still, and below its best.
        ((0.2, 0.1), 0.05, "harmful", 24),
        ((0.05, 0.1), 0.05, "fine", None),
        ((0.0, 0.0), 0.05, "nothing", None),
        # A fall that counts and that these questions cannot show; and one that shows and does not count.
        ((-0.03, -0.03), 2.0, "unclear", None),
        ((-0.01, -0.01), 0.01, "nothing", None),
    ],
)
def test_the_truth_rule(changes, spread, truth, since):
    told = truth_of([0, 8, 24], looks(*changes, spread=spread))
    assert (told.truth, told.harmful_from) == (truth, since)


def test_the_truth_rule_cries_wolf_rarely():
    """Nothing changes: harmful in 5 of 100 runs or fewer, as the comparisons share 5 % and one side counts."""
    draws = np.random.default_rng(0)
    told = [truth_of([0, 8, 24], draws.normal(size=(3, 60))).truth for _ in range(200)]
    assert told.count("harmful") <= 10 and told.count("fine") <= 12


def test_stripping_takes_texts_places_and_digits():
    run = {"kind": "run", "model": "/home/me/model", "run_name": "me", "proof": {"x": 1}, "overlap": None,
           "questions": [{"id": "a", "question": "why?", "best_answer": "so"}]}  # fmt: skip
    first, second = stripped([run, {"kind": "evaluation", "pearson": [0.123456789, float("nan"), 3.0]}])
    assert "/home" not in json.dumps(first) and first["model"] == "SmolLM2-135M-Instruct"
    assert first["run_name"] is first["proof"] is None and first["questions"] == [
        {"id": "a", "question": "", "best_answer": ""}
    ]
    assert second["pearson"] == [0.12346, None, 3]
    assert rounded(-312.4567) == -312.46


def test_lower_layers_are_kept_and_not_trained():
    """Kept outputs are those that the layers give, and gradients reach the upper layers alone."""
    model, tokenizer = tiny_model(TEXTS)
    rows = tokenizer(TEXTS[:1], return_tensors="pt")
    plain = model(**rows).logits
    kept = keep_lower(model, trained=1)
    for _ in range(2):
        again = kept(**rows).logits
        assert torch.equal(again, plain)
    again.sum().backward()
    trained = {name for name, weight in kept.named_parameters() if weight.grad is not None}
    assert trained and not any(".layers.0." in name or "embed" in name for name in trained)
