"""Paired tests of two models or two configurations."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, strategies as st
from numpy.typing import ArrayLike
from scipy import stats

from pipelines.evaluation.tests import discordant, discordant_with_majority, paired_test, sign_test, smallest_difference


def mcnemar_exact(first: ArrayLike, second: ArrayLike) -> float:
    return sign_test(*discordant(first, second))


class TestMcNemar:
    def test_a_table_by_hand(self) -> None:
        # 90 both right, 7 only the first, 1 only the second, 2 neither: P(0 or 1 of 8) twice = 18/256.
        first = np.array([True] * 97 + [False] * 3)
        second = np.array([True] * 90 + [False] * 7 + [True] + [False] * 2)
        assert mcnemar_exact(first, second) == pytest.approx(18 / 256)
        assert mcnemar_exact(second, first) == pytest.approx(18 / 256)
        assert mcnemar_exact(first, second) == pytest.approx(stats.binomtest(1, 8, 0.5).pvalue)

    @given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=60))
    def test_only_the_discordant_rows_count(self, rows: list[tuple[bool, bool]]) -> None:
        first, second = [a for a, _ in rows], [b for _, b in rows]
        p_value = mcnemar_exact(first, second)
        assert 0 < p_value <= 1
        assert mcnemar_exact([*first, True, False], [*second, True, False]) == p_value
        if first == second:
            assert p_value == 1.0

    def test_different_rows_are_an_error(self) -> None:
        with pytest.raises(ValueError, match=r"same rows, got \(2,\) and \(3,\)"):
            mcnemar_exact([True, False], [True, False, True])


class TestPaired:
    def test_differences_of_one_two_three_points(self) -> None:
        # Mean 0.02, standard deviation 0.01, three pairs: t = 0.02 / (0.01 / sqrt 3) = 3.4641 with 2 degrees.
        result = paired_test([0.96, 0.97, 0.98], [0.95, 0.95, 0.95])
        assert result.name == "paired t-test"
        assert result.statistic == pytest.approx(math.sqrt(12))
        assert result.p_value == pytest.approx(2 * stats.t.sf(math.sqrt(12), 2))

    def test_swapping_the_two_changes_the_sign(self) -> None:
        result = paired_test([0.95, 0.95, 0.95], [0.96, 0.97, 0.98])
        assert result.statistic == pytest.approx(-math.sqrt(12))

    @pytest.mark.parametrize("values", [[0.9, 0.91, 0.92], [0.9]])
    def test_equal_accuracies_show_no_difference(self, values: list[float]) -> None:
        assert paired_test(values, values).p_value == 1.0

    def test_one_pair_shows_no_difference(self) -> None:
        assert paired_test([0.99], [0.1]).p_value == 1.0

    @pytest.mark.parametrize(("n", "p_value"), [(2, 0.5), (5, 0.0625), (6, 0.03125)])
    def test_a_difference_without_variance_is_judged_by_its_sign(self, n: int, p_value: float) -> None:
        a = [0.9 + i / 1000 for i in range(n)]
        result = paired_test(a, [value - 0.01 for value in a])
        assert (result.name, result.p_value) == ("sign test", pytest.approx(p_value))
        assert result.statistic == n / 2
        assert paired_test([value - 0.01 for value in a], a).statistic == -n / 2

    @given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=8))
    def test_never_nan(self, pairs: list[tuple[float, float]]) -> None:
        result = paired_test([a for a, _ in pairs], [b for _, b in pairs])
        assert 0 <= result.p_value <= 1
        assert math.isfinite(result.statistic)

    @pytest.mark.parametrize(("a", "b"), [([0.9, 0.8], [0.9, 0.8, 0.7]), ([0.9], [0.9, 0.8]), ([], [])])
    def test_different_seeds_are_an_error(self, a: list[float], b: list[float]) -> None:
        with pytest.raises(ValueError, match=rf"same seeds, at least one, got {len(a)} and {len(b)}"):
            paired_test(a, b)


def test_the_test_against_the_most_frequent_class_is_mcnemars_on_the_same_rows():
    truth = np.array([0] * 30 + [1] * 12 + [2] * 8)
    predicted = np.random.default_rng(0).permuted(truth)
    predicted[:25] = truth[:25]
    confusion = np.zeros((3, 3), int)
    np.add.at(confusion, (truth, predicted), 1)
    assert discordant_with_majority(confusion) == discordant(predicted == truth, truth == 0)


class TestSmallestDifference:
    @given(st.integers(0, 200), st.floats(1e-6, 0.5))
    def test_it_is_shown_and_a_smaller_one_is_not(self, n_signs: int, level: float) -> None:
        found = round(smallest_difference(n_signs, 1000, level) * 1000)
        counted = max(n_signs, found)
        wins = (counted + found) // 2
        assert sign_test(wins, counted - wins) < level
        assert sign_test(wins - 1, counted - wins + 1) >= level or counted > n_signs

    def test_eight_rows_at_the_level_of_the_second_challenger(self) -> None:
        assert smallest_difference(0, 360, 0.05 / 6) == 8 / 360  # 2 / 2**8 = 0.0078
        assert smallest_difference(8, 360, 0.05 / 6) == 8 / 360
        assert smallest_difference(0, 8, 0.05 / 6) == 1.0
        assert smallest_difference(0, 7, 0.05 / 6) is None


@pytest.mark.parametrize("unit", [1e-15, 1.0, 1e9])
def test_the_unit_of_the_values_decides_nothing(unit: float) -> None:
    first, second = np.array([4.0, 4.1, 3.9, 4.05]), np.array([1.0, 1.1, 1.05, 0.9])
    assert paired_test(first * unit, second * unit).p_value == pytest.approx(paired_test(first, second).p_value)
