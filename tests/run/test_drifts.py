"""Style probes in a row and a record: by hand, after a resume, and how often a drift is said for nothing."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from hre_callback.data.probes import RULES
from hre_callback.run.drifts import FLOOR, leanings, probe_figures
from hre_callback.run.lines import object_of, read_lines
from hre_callback.run.words import probes_line
from hre_callback.stats.significance import t_interval

from ..looks import played, result
from .test_look import terms

FIRST = {"cut": [0.1, 0.2, None, 0.3], "hedged": [-0.5, -0.4, -0.6, -0.7], "refusal": [None, None, None, 1.0]}
NOW = {"cut": [0.1, 0.3, None, 0.5], "hedged": [-0.3, -0.1, None, -0.4], "refusal": [None, None, None, 2.0]}


def test_a_row_says_where_each_probe_stands_and_how_it_drifted():
    assert probe_figures(None, NOW, None) == {
        "probe/cut": pytest.approx(0.3), "probe_n/cut": 3, "probe/hedged": pytest.approx(-0.8 / 3), "probe_n/hedged": 3,
    }  # fmt: skip
    row = probe_figures(FIRST, NOW, None)
    for kind, drift in (("cut", [0.0, 0.1, 0.2]), ("hedged", [0.2, 0.3, 0.3])):
        # Bonferroni over the two kinds that have questions.
        expected = t_interval(drift, confidence=1 - 0.05 / 2)
        found = [row[f"probe_drift{end}/{kind}"] for end in ("", "_low", "_high")]
        assert found == pytest.approx([expected.estimate, expected.low, expected.high])
    assert not any("refusal" in key for key in row)


def test_kinds_that_the_start_did_not_know_have_no_drift():
    row = probe_figures({"cut": FIRST["cut"]}, NOW, None)
    assert [key for key in row if "drift" in key] == ["probe_drift/cut", "probe_drift_low/cut", "probe_drift_high/cut"]
    assert "probe/hedged" in row and not any("drift" in key for key in probe_figures({}, NOW, None))


def test_a_drift_is_named_when_its_interval_is_beyond_the_floor():
    row = {}
    for kind, low, high in (("cut", FLOOR + 0.01, 0.3), ("hedged", 0.001, 0.4), ("padded", -0.4, -FLOOR - 0.01)):
        row |= {f"hre/probe_drift_low/{kind}": low, f"hre/probe_drift_high/{kind}": high}
    assert leanings(row, "hre") == (["cut"], ["padded"])
    assert leanings({**row, "hre/probe_drift_low/cut": None}, "hre") == ([], ["padded"])
    assert leanings({}, "hre") == ([], [])


def looks(seed, kinds=7, questions=60, kind="normal"):
    rng = np.random.default_rng(seed)
    shape = (kinds, questions)
    noise = rng.standard_t(3, size=shape) if kind == "heavy-tailed" else rng.normal(size=shape)
    # Rewrites of one answer share its fortunes, and so do questions of a cluster.
    noise = noise + rng.normal(size=questions)
    if kind == "clustered":
        noise = noise + np.repeat(rng.normal(size=(kinds, questions // 4)), 4, axis=1)
    first = rng.normal(size=shape)
    names = list(RULES)[:kinds]
    start, now = ({k: row.tolist() for k, row in zip(names, rows, strict=True)} for rows in (first, first + noise))
    return start, now, [f"c{i // 4}" for i in range(questions)] if kind == "clustered" else None


@pytest.mark.parametrize("kind", ["normal", "heavy-tailed", "clustered"])
def test_that_any_probe_drifts_is_said_for_nothing_in_at_most_alpha_of_runs(kind):
    runs, alarms = 400, 0
    for seed in range(runs):
        row = probe_figures(*looks(seed, kind=kind))
        ends = [(row[f"probe_drift_low/{k}"], row[f"probe_drift_high/{k}"]) for k in RULES]
        alarms += any(low > 0 or high < 0 for low, high in ends)
    print(f"{kind}: {alarms / runs:.3f}")
    assert alarms / runs <= 0.05 + 1.64 * math.sqrt(0.05 * 0.95 / runs)


def probed(gain, rewritten):
    found = result(gain)
    return replace(found, probes={"flattering": tuple(rewritten), "cut": (math.nan,) * 200})


def test_a_record_keeps_them_and_a_resumed_run_counts_from_its_start(tmp_path):
    rng = np.random.default_rng(0)
    start, drift = rng.normal(size=200), rng.normal(0.2, 0.1, 200)
    record, outcomes = played(terms(), [probed(0.1, start + share * drift) for share in (0, 0.5, 1)])
    assert "hre/probe/flattering" in outcomes[0].row and "hre/probe_drift/flattering" not in outcomes[0].row
    assert outcomes[2].row["hre/probe_drift/flattering"] == pytest.approx(drift.mean())
    assert not any("/cut" in key for key in outcomes[2].row)
    lines = [record.run, *record.evaluations]
    path = tmp_path / "hre.jsonl"
    path.write_text("".join(json.dumps(object_of(line)) + "\n" for line in lines))
    again = read_lines(path)
    assert again[1].probes["flattering"] == pytest.approx(start) and again[1].probes["cut"] == [None] * 200
    # Without probes at its start there is nothing to have drifted from.
    plain, late = played(terms(), [result(0.1), probed(0.1, start)])
    assert plain.evaluations[0].probes is None
    assert not any("probe_drift" in key for key in late[1].row)


def test_a_list_of_another_length_is_refused_by_name(tmp_path):
    record, _ = played(terms(), [probed(0.1, range(200))])
    line = object_of(record.evaluations[0])
    line["probes"]["flattering"] = [1.0]
    path = tmp_path / "hre.jsonl"
    path.write_text(json.dumps(object_of(record.run)) + "\n" + json.dumps(line) + "\n")
    with pytest.raises(ValueError, match=r"probes\['flattering'\]\" has 1 values, the run has 200 questions"):
        read_lines(path)


def test_what_probes_cost_is_one_sentence():
    told = {
        "kinds": {"cut": {"answers": 40, "same": 2, "left_out": 0}, "padded": {"answers": 38, "same": 0, "left_out": 4}},
        "tokens": {"naive": 30000, "unique": 12000}, "of_hre": {"naive": 9000, "unique": 6000}, "refused": None,
    }  # fmt: skip
    assert probes_line("hre", told) == (
        "HRE scores 78 style probes: 12,000 tokens an evaluation more (30,000 in rows of their own), 3.0 times as many "
        "in all; 4 left out, they do not fit"
    )
    assert probes_line("hre", {**told, "refused": "the rows differ"}) == "HRE scores no style probe: the rows differ"
