"""Every detector on a run that it should alarm on, one that it should not, and one that it cannot be asked of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from hre_callback.run.detectors import DETECTORS, Replayed, replayed, standings
from hre_callback.run.lines import Evaluation
from hre_callback.run.replay import Replay, read_runs
from hre_callback.stats.verdict import LEVELS

from .. import records
from ..recorded_runs import WAYS, recorded, zoo

BY_NAME = {one.name: one for one in DETECTORS}


def run(**series: Any) -> Replay:
    """A run of one question, with training signals, verdicts (and their causes) or HRE, by look."""
    length = max(len(values) for values in series.values())
    looks: list[dict[str, Any]] = [{"step": 10 * t, "pearson": [0.2]} for t in range(length)]
    for key, values in series.items():
        for look, value in zip(looks, values, strict=True):
            if key == "hre":
                look["pearson"] = [value]
            elif key in ("verdict", "cause"):
                look[key] = value
            else:
                look.setdefault("proxies", {})[key] = value
    return Replay("run", records.of({"questions": [{"id": "q"}]}, looks))


def says(name: str, replay: Replay) -> Any:
    alarms = BY_NAME[name].asked(replay)
    return None if alarms is None else np.flatnonzero(alarms).tolist()


AFTER = (None, "aligned", "watch", "mismatch", "decoupled")
CAUSES = (None, None, "push", "fall", "no gain")
# By detector: series, and the looks that alarm; None where it cannot be asked.
CASES: list[tuple[str, Mapping[str, Any], list[int] | None]] = [
    ("mismatch", {"verdict": AFTER, "cause": CAUSES}, [3]),
    ("mismatch", {"verdict": (None, None)}, None),
    ("watch: fall", {"verdict": AFTER, "cause": CAUSES}, [3]),
    ("watch: fall", {"verdict": (None, "watch"), "cause": (None, "fall")}, [1]),
    ("watch: fall", {"verdict": (None, "watch")}, None),
    ("watch: push", {"verdict": AFTER, "cause": CAUSES}, [2]),
    ("watch: push", {"verdict": (None, "aligned")}, []),
    ("decoupled", {"verdict": AFTER, "cause": CAUSES}, [4]),
    ("patience on HRE", {"hre": (0.1, 0.3, 0.2, 0.2, 0.2, 0.4)}, [4]),
    ("patience on HRE", {"hre": (0.1, 0.2, 0.3)}, None),
    ("HRE 8 % below start", {"hre": (0.2, 0.19, 0.18)}, [2]),
    ("HRE 8 % below start", {"hre": (-0.1, -0.3)}, None),
    ("signal up while HRE down", {"train/loss": (None, 6, 5, 4, 3, 2, 1), "hre": (0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1)}, [6]),
    ("signal up while HRE down", {"train/loss": (None, 1, 2, 3, 4, 5, 6), "hre": (0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1)}, []),
    ("signal up while HRE down", {"train/loss": (3, 2, 1), "hre": (0.3, 0.2, 0.1)}, None),
    ("signal up while HRE down", {"train/mine": (1,) * 8}, None),
    ("KL above 0.3", {"train/kl": (None, 0.1, 0.3, 0.4)}, [3]),
    ("KL above 0.3", {"train/objective/kl": (None, 9.0)}, [1]),
    ("entropy halved", {"train/entropy": (None, 2.0, 1.5, 1.0)}, [3]),
    ("entropy halved", {"train/entropy": (None, 2.0)}, None),
    ("length +30 %", {"train/completions/mean_length": (None, 100, 120, 140)}, [3]),
    ("eval loss patience", {"eval/loss": (2.0, 1.0, 1.1, 1.2, 1.3)}, [4]),
    ("eval loss patience", {"eval/loss": (2.0, 1.9, 1.8, 1.7, 1.6)}, []),
    ("eval loss patience", {"eval/loss": (2.0, 2.1, 2.2)}, None),
    ("margin above 10", {"train/rewards/margins": (None, 9.0, 11.0)}, [2]),
    ("accuracy above .95", {"train/rewards/accuracies": (None, 0.9, 0.96)}, [2]),
    ("accuracy gap", {"train/rewards/accuracies": (None, 0.8, 0.9), "eval/rewards/accuracies": (0.5, 0.75, 0.75)}, [2]),
    ("accuracy gap", {"train/rewards/accuracies": (None, 0.8)}, None),
]  # fmt: skip


@pytest.mark.parametrize(("name", "series", "where"), CASES)
def test_a_detector_alarms_where_it_should(name, series, where):
    assert says(name, run(**series)) == where


def test_a_signal_that_was_not_logged_is_not_silence():
    asked = {one.name for one in DETECTORS if one.asked(run(hre=(0.2,) * 9)) is not None}
    assert asked == {"drop_from_start", "drop_from_best", "patience on HRE", "HRE 8 % below start"}


def test_every_case_and_the_table_of_detectors_are_of_the_same_names():
    tried = {name for name, _, _ in CASES}
    assert len(BY_NAME) == len(DETECTORS)
    assert set(BY_NAME) - tried == {"push", "drop_from_start", "drop_from_best"}
    assert all(one.rule and one.source for one in DETECTORS)
    assert set(LEVELS) - {"aligned", "watch"} <= set(BY_NAME)


def test_hre_s_own_detectors_alarm_on_what_hurts_and_on_nothing_else(tmp_path):
    """On the package's own records."""
    zoo(tmp_path)
    found = {one.replay.name: one for one in map(replayed, read_runs(tmp_path).replays)}
    harm = {"watch: fall", "push", "drop_from_start", "drop_from_best"}
    assert harm <= {name for name, at in found["worse"].fires.items() if at is not None}
    for name in ("better", "still"):
        assert all(found[name].fires[one.name] is None for one in DETECTORS if one.holds and one.name != "decoupled")
    assert found["worse"].push_z < -3 and found["worse"].change_z < -3 < 3 < found["better"].push_z


def test_the_verdict_s_alarms_are_those_of_the_record():
    record = recorded(WAYS["worse"])
    fires = replayed(Replay("worse", record)).fires
    first = next(t for t, look in enumerate(record.evaluations) if look.verdict == "mismatch")
    assert fires["mismatch"] == first


def told(truth: str | None, since: int | None = None, **fires: int | None) -> Replayed:
    looks = [Evaluation(10 * t, loglikelihoods=[], pearson=[]) for t in range(6)]
    record = records.of({}, [])
    record.evaluations.extend(looks)
    return Replayed(Replay("run", record, truth, since), {"push": None, "decoupled": None, **fires}, 0.0, 0.0)


def test_rates_count_who_was_asked_and_what_is_known():
    runs = [
        told("harmful", 4, push=2),
        told("harmful", 1, push=3),
        told("harmful", 2),
        told("fine", push=1),
        told("fine"),
        told("nothing", decoupled=1),
        # Neither right nor wrong.
        told("unclear", push=1),
        told(None, push=1),
    ]
    by_name = {one.detector.name: one for one in standings(runs)}
    push = by_name["push"]
    assert push.false_alarms[:2] == (1, 3) and push.found[:2] == (2, 3)
    assert sorted(push.leads) == [-2, 2] and push.asked == 8 and push.unclear[:2] == (1, 1)
    # That more buys nothing is right of a run that does nothing.
    assert by_name["decoupled"].false_alarms[:2] == (0, 2)
    assert by_name["KL above 0.3"].asked == 0 and by_name["KL above 0.3"].found.n == 0
