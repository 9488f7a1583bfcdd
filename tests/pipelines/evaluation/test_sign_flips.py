"""The sign-flip permutation test: as often as its level says with equal models, and exact on few rows."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from pipelines.evaluation.row_scores import MAX_SCORES
from pipelines.evaluation.tests import sign_flip_test


def test_it_is_the_share_of_all_signs_on_few_rows():
    differences = np.array([3.0, 1.5, 1.0, -0.5, 2.0, 0.25, 0.0])
    sums = [abs(np.dot(signs, differences[:6])) for signs in itertools.product((-1, 1), repeat=6)]
    exact = np.mean([total >= abs(differences.sum()) for total in sums])
    assert sign_flip_test(differences) == pytest.approx(exact, abs=0.015)
    assert sign_flip_test(-differences) == sign_flip_test(differences)


def test_equal_models_and_few_rows_show_nothing():
    assert sign_flip_test(np.zeros(50)) == 1.0
    assert sign_flip_test(np.ones(4)) > 0.1
    assert sign_flip_test(np.array([1.0, 0.0, 0.0])) == 1.0


def test_a_clear_difference_passes_levels_that_the_draws_cannot_reach():
    assert sign_flip_test(np.ones(400)) < 1e-10


def test_many_rows_are_tested_in_blocks():
    rng = np.random.default_rng(0)
    n_rows = 3 * MAX_SCORES + 1
    assert sign_flip_test(rng.normal(size=n_rows)) > 0.01
    assert sign_flip_test(rng.normal(0.05, 1, n_rows)) < 1e-6


def test_the_same_differences_have_the_same_p_value():
    differences = np.random.default_rng(0).normal(0.1, 1, 300)
    assert sign_flip_test(differences) == sign_flip_test(differences.copy())
