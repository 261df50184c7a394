"""The time of everything beside the forwards grows with the questions, not with their square."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from hre_callback import HREConfig
from hre_callback.run.monitor import Monitor
from hre_callback.run.proxies import proxies_since
from hre_callback.run.schedule import Stopwatch
from hre_callback.scoring.batches import plan
from hre_callback.scoring.plan import group_by_context
from hre_callback.stats import draws, mismatch, push, significance
from hre_callback.stats.ceiling import human_ceiling
from hre_callback.stats.human_hre import human_hre

from .benchmarks import cost
from .scored import way


def operations(work: Callable[[], object]) -> int:
    """Calls of functions, Python's and C's, that `work` makes: what a clock would show, without its noise."""
    count = 0

    def note(frame: object, event: str, arg: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def growth(work: Callable[[int], object]) -> float:
    """How many times as much is done for 2,000 questions as for 500."""
    return operations(lambda: work(2000)) / operations(lambda: work(500))


@pytest.fixture(scope="module")
def asked():
    return cost.questions(2000)


@pytest.fixture(scope="module")
def encoded(asked):
    return cost.answers(asked)


@pytest.mark.parametrize("layout", ["packed", "cached", "padded"])
@pytest.mark.parametrize("budget", [1024, 1 << 16])
def test_four_times_the_questions_take_four_times_the_planning(layout, budget, encoded):
    assert growth(lambda n: plan(group_by_context(encoded[: 4 * n]), way(layout), budget)) < 5


def for_one_more(work: Callable[[int], object]) -> float:
    """Calls that one more question takes, at about 500: few where arithmetic runs over all questions at once."""
    return (operations(lambda: work(1000)) - operations(lambda: work(500))) / 500


def test_correlations_run_over_all_questions_at_once(asked, encoded):
    # 1,326 calls a question when each was correlated by itself
    assert for_one_more(lambda n: cost.result(asked[:n], encoded[: 4 * n], 0)) < 60


def test_so_does_the_ceiling(asked):
    # 1,099 before
    assert for_one_more(lambda n: human_ceiling([[a.votes for a in q.answers] for q in asked[:n]])) < 60


def test_the_humans_own_score_takes_a_few_calls_an_annotator():
    ratings = [{f"a{i}": [1, (i + q) % 5, 3, q % 4] for i in range(5)} for q in range(1000)]
    assert for_one_more(lambda n: human_hre(ratings[:n])) < 200


def run(folder, asked, encoded, **options):
    """A monitor and what makes its looks."""
    monitor = Monitor(asked, HREConfig(**options), "f", folder / "hre.jsonl", planned_looks=20)
    monitor.start({})

    def look(t):
        logs = [{"loss": 2 - s / 99, "kl": s / 50, "step": s} for s in range(10 * t + 1)]
        found = cost.result(asked, encoded, t)
        return lambda: monitor.add(10 * t, found, epoch=None, log_history=logs, watch=Stopwatch())

    return look


def test_a_look_takes_few_calls_a_question(asked, encoded, tmp_path):
    def fourth_look(n):
        folder = tmp_path / str(n)
        folder.mkdir()
        look = run(folder, asked[:n], encoded[: 4 * n], stop_rule="drop_from_best")
        for t in range(3):
            look(t)()
        return operations(look(3))

    # 623 before; what is left is one number after the other of the line that the record writes
    assert (fourth_look(1000) - fourth_look(500)) / 500 < 200


@pytest.mark.parametrize(
    ("seed", "rule"), [(901, "never"), (902, "drop_from_start"), (903, "drop_from_best"), (904, "mismatch")]
)
def test_a_look_flips_its_own_differences_only_and_only_once(seed, rule, asked, encoded, tmp_path, monkeypatch):
    flipped, real = [], draws._signed_sums
    monkeypatch.setattr(
        draws, "_signed_sums", lambda columns, *rest: flipped.append(len(columns)) or real(columns, *rest)
    )
    look = run(tmp_path, asked[:200], encoded[:800], stop_rule=rule, seed=seed)
    for t in range(4):
        flipped.clear()
        look(t)()
        # the change since the start, for its own p and for the tests over all looks (row, verdict, rule); for the verdict
        # also the push, and what it has lost of its agreement with people
        assert sum(flipped) <= (5 if t else 0)


def test_a_late_look_works_out_itself_alone(asked, encoded, tmp_path, monkeypatch):
    """Correlations and tests over looks go on from where they stood: every one of them for one look more."""
    correlated, real = [], push._of_looks
    monkeypatch.setattr(push, "_of_looks", lambda *of: correlated.append(len(of[-1])) or real(*of))
    stood, stand = [], significance._Stand
    monkeypatch.setattr(significance, "_Stand", lambda *of: stood.append(1) or stand(*of))
    look = run(tmp_path, asked[:100], encoded[:400], stop_rule="drop_from_best", seed=905)
    tests = []
    for t in range(15):
        stood.clear()
        look(t)()
        tests.append(len(stood))
    assert correlated == [1] * 14
    # A fall from the start and from the best, each for mismatch and for watch; those of row and rule; push, agreement.
    assert set(tests[4:]) == {8}


def test_which_way_training_pushes_is_worked_out_once_a_look(asked, encoded, tmp_path, monkeypatch):
    calls, real = [], mismatch.push
    monkeypatch.setattr(mismatch, "push", lambda *of: calls.append(1) or real(*of))
    look = run(tmp_path, asked[:200], encoded[:800])
    for t in range(5):
        look(t)()
    # The first look has nothing to be held against.
    assert len(calls) == 4


def test_signals_take_few_calls_a_logged_row():
    logs = [{f"rewards/f{i}/mean": s / 9 for i in range(20)} | {"step": s} for s in range(1000)]
    # of 21 values each: 535 when every name was read anew
    assert for_one_more(lambda n: proxies_since(logs[:n], -1, 1000)) < 200
