import pytest

from hre_callback import HREConfig
from hre_callback.run.schedule import Stopwatch, due, planned_looks


@pytest.mark.parametrize(
    ("config", "trainer_steps", "expected"),
    [
        ({}, None, []),
        ({"eval_steps": 10}, None, [10, 20, 30]),
        ({"eval_steps": 10, "log_spaced": True}, None, [1, 2, 4, 8, 10, 20, 30]),
        ({"log_spaced": True}, 6, [1, 2, 4]),
        ({"log_spaced": True}, None, [1, 2, 4, 8, 16]),
    ],
)
def test_due_steps(config, trainer_steps, expected):
    assert [s for s in range(1, 31) if due(s, HREConfig(**config), trainer_steps)] == expected


@pytest.mark.parametrize(
    ("config", "trainer", "expected"),
    [
        ({"eval_steps": 10}, {}, 3),
        ({"eval_steps": 12}, {}, 3),  # 12, 24 and the end
        ({"eval_steps": 12, "eval_on_end": False}, {}, 2),
        (
            {},
            {"trainer_eval_steps": 7},
            5,
        ),  # 7, 14, 21, 28 and the last step, which the Trainer evaluates too
        ({}, {"epochs": 3}, 3),
        ({"eval_steps": 10}, {"epochs": 2}, 4),  # 10, 15, 20, 30
        ({"eval_on_end": False}, {}, None),
        ({"eval_steps": 10, "max_overhead": 0.05}, {}, None),  # the schedule will stretch
        ({"planned_looks": 9, "max_overhead": 0.05}, {}, 9),
    ],
)
def test_planned_looks(config, trainer, expected):
    assert planned_looks(30, HREConfig(**config), **trainer) == expected


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_overhead_stays_within_the_cap():
    clock = Clock()
    watch = Stopwatch(clock=clock)
    evaluations = 0
    for _ in range(2000):  # steps of one second, evaluations of three, one wanted at every step
        clock.now += 1.0
        if watch.affords(0.05):
            with watch.evaluation():
                clock.now += 3.0
            evaluations += 1
    assert evaluations > 20
    assert 0.04 < watch.overhead <= 0.05


def test_no_cap_always_affords():
    clock = Clock()
    watch = Stopwatch(clock=clock)
    with watch.evaluation():
        clock.now += 100.0
    assert watch.affords(None)


def test_the_evaluation_that_goes_on_is_counted_and_so_is_one_that_fails():
    clock = Clock()
    watch = Stopwatch(clock=clock)
    clock.now = 6.0
    with pytest.raises(KeyError), watch.evaluation():
        clock.now += 2.0
        assert (watch.seconds, watch.overhead) == (2.0, 0.25)
        clock.now += 2.0
        raise KeyError("no model")
    assert (watch.seconds, watch.last, watch.spent, watch.overhead) == (4.0, 4.0, 4.0, 0.4)


def test_start_up_is_spent_but_no_evaluation():
    clock = Clock()
    watch = Stopwatch(clock=clock)
    clock.now += 10.0
    watch.prepared()
    clock.now += 90.0
    assert (watch.last, watch.spent, watch.overhead) == (0.0, 10.0, 0.1)
    assert watch.affords(0.1) and not watch.affords(0.09)
