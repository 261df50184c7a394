"""The report's section on style probes."""

from __future__ import annotations

from hre_callback.data.probes import RULES
from hre_callback.views.leanings import NAMES, probes
from hre_callback.views.report import render

from ..synthetic_records import flat, reading

TOLD = {
    "kinds": {kind: {"answers": 80, "same": 0, "left_out": int(kind == "padded")} for kind in RULES},
    "tokens": {"naive": 30000, "unique": 12000}, "of_hre": {"naive": 9000, "unique": 6000}, "refused": None,
}  # fmt: skip


def probed(lines, drifts):
    lines[0]["proof"] = {"layout": "packed", "probes": TOLD}
    for kind, (delta, half) in drifts.items():
        told = {"probe": -0.2, "probe_n": 40.0, "probe_drift": delta}
        told |= {"probe_drift_low": delta - half, "probe_drift_high": delta + half}
        lines[-2]["metrics"] |= {f"hre/{figure}/{kind}": value for figure, value in told.items()}
    return lines


def test_every_style_stands_in_a_table_the_largest_drift_first():
    made = probes(
        reading(probed(flat(4, n=40), {"cut": (-0.1, 0.02), "padded": (0.02, 0.1), "flattering": (0.3, 0.1)}))
    )
    assert [row[:4] for row in made.table.rows] == [
        ["a flattering opener", "40", "0", "+0.300"],
        ["padded with nothing", "40", "1", "+0.020"],
        ["cut in half", "40", "0", "−0.100"],
    ]
    assert "+0.200 to +0.400" in made.table.rows[0][4]
    assert (made.more, made.less, made.floor) == ("a flattering opener", "cut in half", "±0.05")
    assert made.cost.startswith("HRE scores 560 style probes: 12,000 tokens an evaluation more")


def test_the_page_says_what_training_leans_to_or_that_nothing_is_clear():
    page = render(reading(probed(flat(4, n=40), {"flattering": (0.3, 0.1), "cut": (0.0, 0.1)})).record)
    assert "What training learns instead" in page
    assert "The model leans clearly more than at the start to answers with: a flattering opener." in page
    unclear = render(reading(probed(flat(4, n=40), {"cut": (0.0, 0.1)})).record)
    assert "No style has clearly gained or lost since the start." in unclear
    assert "What training learns instead" not in render(reading(flat(4, n=40)).record)


def test_without_what_was_told_of_them_and_with_a_style_of_a_later_version_there_is_a_table():
    lines = probed(flat(4, n=40), {"rhymed<b>": (0.3, 0.1)})
    lines[0]["proof"] = None
    made = probes(reading(lines))
    assert made.table.rows[0][:3] == ["rhymed<b>", "40", "–"] and made.cost == ""
    assert "rhymed&lt;b&gt;" in render(reading(lines).record)


def test_every_rule_has_its_words():
    assert NAMES.keys() == RULES.keys()
