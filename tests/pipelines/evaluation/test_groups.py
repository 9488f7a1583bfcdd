"""Rows of one group are not independent, and rows of unequal weight are worth fewer: intervals and tests follow."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.evaluation.decisions import ResidualInterval, Threshold
from pipelines.evaluation.intervals import interval, interval_of_rows, limits_of
from pipelines.evaluation.metrics import Estimate, evaluate, wilson_interval
from pipelines.evaluation.predictions import Predictions
from pipelines.evaluation.row_scores import over_folds, over_groups
from pipelines.evaluation.tests import exchange_test
from pipelines.training.scores import contributions

N_GROUPS, SIZE = 40, 10
GROUPS = np.repeat(np.arange(N_GROUPS), SIZE)


def drawn(metric: str, rng: np.random.Generator, n_groups: int = N_GROUPS) -> tuple[np.ndarray, np.ndarray]:
    """Predictions and truth of rows whose groups are easy or difficult as a whole; two groups of five are positive."""
    ease = np.repeat(rng.normal(size=n_groups), SIZE)
    if metric in ("rmse", "mae"):
        truth = rng.normal(size=len(ease))
        return truth + ease + 0.5 * rng.normal(size=len(ease)), truth
    truth = np.repeat(np.arange(n_groups) % 5 < 2, SIZE).astype(int)
    chance = 1 / (1 + np.exp(-(2 * truth - 1) * (0.7 + ease) + rng.normal(size=len(ease)) * 0.5))
    return np.stack([1 - chance, chance], axis=1), truth


@pytest.mark.parametrize("metric", ["accuracy", "balanced_accuracy", "macro_f1", "auc", "loss", "rmse", "mae"])
def test_intervals_that_count_groups_cover_and_those_that_count_rows_do_not(metric: str):
    rng = np.random.default_rng(0)
    true_value = contributions(metric, *drawn(metric, rng, 20_000)).mean()
    covers = {"groups": 0, "rows": 0}
    for _ in range(150):
        found = contributions(metric, *drawn(metric, rng))
        for what, group in (("groups", GROUPS), ("rows", None)):
            estimate = Estimate.of(metric, found, None, group)
            covers[what] += estimate.low <= true_value <= estimate.high
    assert covers["groups"] >= 135, "95 % but for chance"
    assert covers["rows"] < 110


@pytest.mark.parametrize("metric", ["accuracy", "mae"])
def test_copies_of_rows_in_their_group_are_worth_one_row(metric: str):
    once = np.random.default_rng(0).random(50).round() if metric == "accuracy" else np.arange(50.0)
    copied = interval_of_rows(metric, np.repeat(once, 8), None, np.repeat(np.arange(50), 8))
    student = interval_of_rows(metric, once)
    assert copied == pytest.approx(student, rel=0.03)
    assert interval_of_rows(metric, once, None, np.arange(50)) == pytest.approx(student)
    assert over_groups(once, np.arange(50)) == pytest.approx(once)


def test_groups_that_are_all_right_are_counted():
    low, high = interval_of_rows("accuracy", np.ones(400), None, np.repeat(np.arange(20), 20))
    assert (low, high) == pytest.approx(wilson_interval(20, 20))


def test_unequal_weights_are_worth_fewer_rows():
    weight = np.where(np.arange(400) < 40, 9.1, 0.1).astype(np.float32)
    weight /= weight.mean()
    probabilities = np.eye(2)[np.arange(400) % 2]
    found = evaluate(probabilities, np.arange(400) % 2, ("a", "b"), weight)
    n_worth = weight.sum() ** 2 / (weight**2).sum()
    assert n_worth < 50
    assert found.interval[0] == pytest.approx(wilson_interval(round(n_worth), round(n_worth))[0], abs=0.01)
    assert evaluate(probabilities, np.arange(400) % 2, ("a", "b")).interval[0] > 0.99


def test_thresholds_and_intervals_of_answers_follow_the_weights():
    rng = np.random.default_rng(0)
    chance, labels = rng.random(4000), rng.integers(0, 2, 4000)
    first = np.arange(4000) < 2000
    labels[first], labels[~first] = chance[first] > 0.3, chance[~first] > 0.8
    weight = np.where(first, 2.0, 0.0)
    assert Threshold.learn(chance, labels, "accuracy", weight).value == pytest.approx(0.3, abs=0.01)
    assert Threshold.learn(chance, labels, "accuracy", 2 - weight).value == pytest.approx(0.8, abs=0.01)
    for metric in ("accuracy", "balanced_accuracy", "macro_f1"):
        assert Threshold.learn(chance, labels, metric) == Threshold.learn(chance, labels, metric, np.ones(4000))
    errors, nothing = rng.normal(size=4000) * np.where(first, 1, 10), np.zeros(4000)
    learned = ResidualInterval.learn(errors, nothing, weight)
    assert (learned.low, learned.high) == pytest.approx((-1.96, 1.96), abs=0.2)
    assert learned.coverage == pytest.approx(0.95, abs=0.002)
    assert ResidualInterval.learn(errors, nothing, np.ones(4000)) == ResidualInterval.learn(errors, nothing)


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1", "auc"])
def test_rows_of_a_group_are_exchanged_together(metric: str):
    """Equal models, each with groups of its own that it knows: counted by rows, they differ far too often."""
    rng, p_values = np.random.default_rng(0), {"groups": [], "rows": []}
    truth = np.repeat(np.arange(N_GROUPS) % 2, SIZE)
    for _ in range(60):
        eases = (np.repeat(rng.normal(size=N_GROUPS), SIZE) for _ in range(2))
        chances = [1 / (1 + np.exp(-(2 * truth - 1) * (0.5 + ease))) for ease in eases]
        for what, group in (("groups", GROUPS), ("rows", None)):
            both = (np.stack([1 - chance, chance], axis=1) for chance in chances)
            models = [Predictions(found, truth, np.array([0.5, 0.5]), None, group) for found in both]
            p_values[what].append(exchange_test(metric, *models))
    assert np.mean(np.array(p_values["groups"]) < 0.05) < 0.15
    assert np.mean(np.array(p_values["rows"]) < 0.05) > 0.3


def test_groups_are_kept_with_the_predictions():
    kept = Predictions(np.zeros((4, 2), np.float32), np.zeros(4, int), np.ones(2) / 2, group=np.array([3, 3, 1, 1]))
    assert Predictions.from_npz(kept.to_npz(), "p").group.tolist() == [3, 3, 1, 1]


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1", "auc", "average_precision", "loss", "rmse", "mae"])
def test_scores_of_folds_have_the_mean_over_the_folds_whatever_their_sizes(metric: str):
    rng = np.random.default_rng(1)
    folds = [contributions(metric, *drawn(metric, rng, n_groups)).astype(np.float64) for n_groups in (5, 5, 40)]
    found = np.concatenate(over_folds(folds))
    mean = np.mean([fold.mean() for fold in folds])
    assert found.mean() == pytest.approx(mean)
    assert over_groups(found, np.repeat(np.arange(50), SIZE)).mean() == pytest.approx(mean)
    assert abs(np.concatenate(folds).mean() - mean) > 1e-3, "a mean over the rows is another number"


def test_scores_of_folds_of_one_size_stay_as_they_are():
    folds = list(np.random.default_rng(0).random((3, 20)).round())
    assert np.array_equal(over_folds(folds), folds)


@pytest.mark.parametrize("n_dominant", [100, 600])
def test_the_interval_over_folds_covers_where_one_group_is_a_fold(n_dominant: int):
    """Five folds: a large group, and four times five groups of 20 rows."""
    rng, covers = np.random.default_rng(0), 0
    sizes = [n_dominant] + [20] * 20
    group, fold = np.repeat(np.arange(21), sizes), np.repeat(np.arange(5), [n_dominant] + [100] * 4)
    for _ in range(200):
        chance = np.clip(0.8 + rng.normal(0, 0.06, 21)[group], 0, 1)
        right = (rng.random((3, len(group))) < chance).astype(np.float64)
        scores = [over_folds([seed[fold == number] for number in range(5)]) for seed in right]
        low, high = interval(
            np.stack([over_groups(np.concatenate(found), group) for found in scores]), n_rows=len(fold)
        )
        covers += low <= 0.8 <= high
    assert covers >= 182, "95 % but for chance; of equal rows, 130 with the large group"


@pytest.mark.parametrize("metric", ["rmse", "mae", "r2", "loss"])
def test_a_single_group_tells_nothing_of_others(metric: str):
    predicted, truth = drawn("loss" if metric == "loss" else "rmse", np.random.default_rng(0), n_groups=1)
    scores = contributions(metric, predicted, truth)
    one = np.zeros(len(truth), int)
    assert interval_of_rows(metric, scores, None, one) == limits_of(metric)
    assert interval(np.stack([over_groups(scores, one)] * 3), limits_of(metric)) == limits_of(metric)
