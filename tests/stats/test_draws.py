"""Draws and sums that are kept are those that were drawn and summed anew every time before."""

from __future__ import annotations

import numpy as np
import pytest

from hre_callback.stats import draws
from hre_callback.stats.kept import Kept, content, contents_so_far


def signed(columns, flips, seed, step):
    rng = np.random.default_rng(seed)
    signs = [
        rng.integers(0, 2, size=(min(step, flips - start), columns.shape[1]), dtype=np.int8)
        for start in range(0, flips, step)
    ]
    return (2.0 * np.concatenate(signs) - 1) @ columns.T


@pytest.mark.parametrize("chunk", [draws._CHUNK, 2000])
def test_flipped_sums_are_sums_with_the_seeds_signs(chunk, monkeypatch):
    monkeypatch.setattr(draws, "_CHUNK", chunk)
    draws._signs.cache_clear()
    columns = np.random.default_rng(0).normal(size=(3, 53))
    found = draws.flipped_sums(columns, 200, seed=4 if chunk == 2000 else 5)
    expected = signed(columns, 200, 4 if chunk == 2000 else 5, chunk // 53)
    assert pytest.approx(expected, abs=1e-12) == found.T
    draws._signs.cache_clear()


def test_resampled_sums_are_those_of_the_seeds_rows():
    column = np.random.default_rng(0).normal(size=70)
    rows = np.random.default_rng(3).integers(70, size=(40, 70), dtype=np.int32)
    assert draws.resampled_sums(column, 40, 3) == pytest.approx(column[rows].sum(axis=1), abs=1e-12)


def test_too_many_draws_to_keep_are_the_same_draws(monkeypatch):
    column = np.random.default_rng(0).normal(size=70)
    kept = draws.resampled_sums(column, 40, 3)
    monkeypatch.setattr(draws, "_MOST_COUNTS", 0)
    assert draws.resampled_sums(column, 40, 3) == pytest.approx(kept, abs=1e-12)


def test_of_columns_seen_before_nothing_is_summed_again(monkeypatch):
    summed, real = [], draws._signed_sums
    monkeypatch.setattr(
        draws, "_signed_sums", lambda columns, *rest: summed.append(len(columns)) or real(columns, *rest)
    )
    columns = np.random.default_rng(1).normal(size=(5, 30))
    first = draws.flipped_sums(columns[:4], 100, seed=11)
    again = draws.flipped_sums(columns, 100, seed=11)
    assert summed == [4, 1] and again[:4].tolist() == first.tolist()
    draws.flipped_sums(columns, 100, seed=12)
    assert summed == [4, 1, 5]


def test_no_rows_and_no_columns_are_no_error():
    assert draws.flipped_sums(np.zeros((2, 0)), 10, 0).tolist() == [[0.0] * 10] * 2
    assert draws.flipped_sums(np.zeros((0, 5)), 10, 0).shape == (0, 10)


def test_what_was_not_asked_for_lately_is_let_go():
    kept, made = Kept[int](2), []

    def make(places):
        made.extend(places)
        return places

    kept.fill(["a", "b"], make)
    kept.fill(["a"], make)
    kept.fill(["c"], make)
    assert made == [0, 1, 0]
    assert kept.fill(["a"], make) == [0] and made == [0, 1, 0]
    assert kept.fill(["b"], make) == [0] and made == [0, 1, 0, 0]
    assert kept.fill(["x", "y", "z", "x"], make) == [3, 1, 2, 3]


def test_contents_differ_where_arrays_do():
    rows = np.array([[1.0, 2.0], [3.0, 4.0], [1.0, 2.0]])
    assert content(rows[0]) == content(rows[2]) != content(rows[1])
    first, second, third = contents_so_far(rows)
    assert first == content(rows[0]) and len({first, second, third}) == 3
