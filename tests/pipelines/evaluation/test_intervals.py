"""Intervals and tests over rows and seeds together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy import stats

from benchmarks.intervals import World, coverage, draw, false_alarms
from pipelines.evaluation.intervals import (
    difference_of_means_p,
    difference_p,
    interval,
    interval_of_means,
)
from pipelines.evaluation.metrics import wilson_interval
from pipelines.evaluation.row_scores import decode, encode

WORLDS = [World(0.975, 2000), World(0.9, 1000, skill=0.04), World(0.97, 270, skill=0.05), World(0.8, 500, 0.85)]


@pytest.mark.parametrize("world", WORLDS)
def test_they_cover_the_same_networks_on_other_rows(world: World) -> None:
    covered = coverage(world, n_seeds=5, n_times=300)
    assert 0.92 <= covered["rows and seeds"] <= 0.99
    assert covered["seeds alone"] < 0.8, "the simulation must show the fault of intervals over seeds"


@pytest.mark.parametrize("world", [*WORLDS, World(0.9, 2000, skill=0.05, taste=0.0), World(0.9, 500, taste=0.4)])
def test_equal_configurations_are_seldom_called_significantly_different(world: World) -> None:
    assert false_alarms(world, n_seeds=5, n_times=300)["rows and seeds"] <= 0.05


def test_a_difference_that_holds_on_rows_and_seeds_is_found() -> None:
    rng, found = np.random.default_rng(0), 0
    for _ in range(50):
        (worse,), _ = draw(rng, World(0.9, 2000), 5)
        (better,), _ = draw(rng, World(0.93, 2000), 5)
        found += difference_p(better, worse) < 0.05
    assert found >= 45


@pytest.mark.parametrize("n_seeds", [1, 2])
def test_below_three_seeds_there_is_none(n_seeds: int) -> None:
    assert interval(np.ones((n_seeds, 50))) is None
    assert interval_of_means([0.9] * n_seeds, 50) is None
    assert interval_of_means([0.9] * 3, 0) is None


def test_equal_seeds_have_wilsons_interval() -> None:
    right = (np.arange(1000) < 976).astype(float)
    expected = wilson_interval(976, 1000)
    assert interval(np.stack([right] * 3)) == pytest.approx(expected, abs=1e-4)
    assert interval_of_means([0.976] * 3, 1000) == pytest.approx(expected)
    assert interval(np.ones((3, 1000))) == pytest.approx(wilson_interval(1000, 1000))
    assert interval(np.zeros((3, 1000))) == pytest.approx(wilson_interval(0, 1000))


def test_without_rows_students_interval_decides_where_it_is_wider() -> None:
    values = [0.5, 0.6, 0.55, 0.45]
    low, high = stats.t.interval(0.95, 3, loc=np.mean(values), scale=stats.sem(values))
    found = interval_of_means(values, 1_000_000)
    assert found == pytest.approx((low, high), abs=0.01)


@given(st.integers(3, 6), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_they_are_never_narrower_than_wilsons_and_stay_within_0_and_1(n_seeds: int, n_rows: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = (rng.random((n_seeds, n_rows)) < rng.random()).astype(float)
    n_right = scores.sum() / n_seeds
    low, high = interval(scores)
    assert 0 <= low <= scores.mean() <= high <= 1
    if n_right.is_integer():
        wide = wilson_interval(int(n_right), n_rows)
        assert high - low >= wide[1] - wide[0] - 1e-6


def test_one_pair_of_networks_is_tested_as_mcnemar_does() -> None:
    first, second = np.ones((1, 100)), np.ones((1, 100))
    first[0, :2], second[0, 2:20] = 0, 0
    corrected = (18 - 2 - 1) / np.sqrt(20)
    assert difference_p(first, second) == pytest.approx(2 * stats.t.sf(corrected, 99))
    assert difference_p(first, first) == 1.0


def test_a_difference_on_few_rows_is_chance_however_steady_it_is_over_the_seeds() -> None:
    first, second = np.ones((5, 1000)), np.ones((5, 1000))
    second[:, :5] = 0
    second[0, 4] = 1
    assert difference_p(first, second) > 0.05


def test_unknown_rows_count_as_independent_ones() -> None:
    assert difference_of_means_p([0.95, 0.951, 0.949], [0.94, 0.941, 0.942], 300) > 0.3
    assert difference_of_means_p([0.95, 0.951, 0.949], [0.9, 0.901, 0.902], 10_000) < 0.001
    assert difference_of_means_p([1.0], [1.0], 10) == 1.0


@given(st.lists(st.booleans(), min_size=1, max_size=50))
def test_the_record_of_rows_is_lossless(right: list[bool]) -> None:
    assert decode(encode(np.array(right))).tolist() == right


def test_a_record_of_another_kind_is_an_error() -> None:
    with pytest.raises(ValueError, match="must be of the kind 'right' or 'number', got 'loss'"):
        decode("loss:3:AAAA")
