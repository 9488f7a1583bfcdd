"""Intervals of metrics where one class has few rows."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.class_intervals import METRICS, coverage
from pipelines.evaluation.metrics import evaluate
from pipelines.evaluation.worth import class_worth, most_rows, worth


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("n_rare", [3, 10, 50])
def test_they_cover_the_metric_of_other_rows(metric: str, n_rare: int) -> None:
    share, width = coverage(metric, n_rare, 1.8, n_times=150)
    assert share >= 0.9, "95 % but for chance"
    assert width < 0.8


@pytest.mark.parametrize("metric", METRICS)
def test_two_rows_that_are_right_show_little(metric: str) -> None:
    labels = np.repeat([1, 0], [2, 998])
    perfect = np.where(np.arange(2) == labels[:, None], 0.99, 0.01)
    found = evaluate(perfect, labels, ("no", "yes")).metrics[metric]
    assert (found.value, found.high) == pytest.approx((1, 1))
    assert found.low < 0.7
    assert evaluate(perfect, labels, ("no", "yes")).metrics["accuracy"].low > 0.99


@pytest.mark.parametrize("metric", METRICS)
def test_many_rows_of_each_class_are_worth_about_as_many(metric: str) -> None:
    labels = np.repeat([0, 1, 2], 500)
    perfect = np.where(np.arange(3) == labels[:, None], 0.98, 0.01)
    assert evaluate(perfect, labels, ("a", "b", "c")).metrics[metric].low > 0.98


def test_a_class_without_a_row_leaves_auc_unknown() -> None:
    only = evaluate(np.tile([0.6, 0.4], (50, 1)), np.zeros(50, int), ("no", "yes")).metrics["auc"]
    assert only.low < 0.1
    assert only.high > 0.9


def test_weighted_rows_of_a_class_are_worth_fewer() -> None:
    labels, weights = np.array([0, 0, 0, 1, 1]), np.array([1.0, 1, 1, 3, 1])
    assert class_worth(labels, 3, weights) == pytest.approx((3, 1.6, 0))
    assert worth(np.zeros(3)) == 0
    assert most_rows("balanced_accuracy", 0.9, 5, (3, 1.6, 0)) == pytest.approx(4 / (1 / 3 + 1 / 1.6))
    assert most_rows("average_precision", 0.9, 5, (3.0, 1.6)) == 1.6
    assert most_rows("accuracy", 0.9, 5, (3.0, 1.6)) == 5
    assert most_rows("auc", 0.9, 5, ()) == 5
