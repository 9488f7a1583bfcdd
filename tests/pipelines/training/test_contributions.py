"""What rows contribute to a metric: the mean is the metric, the spread is that of other rows."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.evaluation.row_scores import MAX_SCORES, decode, encode
from pipelines.training.scores import REGRESSION_METRICS, contributions, score

RNG = np.random.default_rng(0)
OF_CLASSES = ["accuracy", "balanced_accuracy", "macro_f1", "auc", "average_precision"]
METRICS = [*OF_CLASSES, *REGRESSION_METRICS]


def sample(metric: str, n_rows: int, n_classes: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    if metric in OF_CLASSES:
        labels = rng.choice(n_classes, n_rows, p=np.arange(1, n_classes + 1) / np.arange(1, n_classes + 1).sum())
        odds = np.exp(rng.normal(size=(n_rows, n_classes)).round(1) + 1.5 * np.eye(n_classes)[labels])
        return (odds / odds.sum(axis=1, keepdims=True)).round(2), labels
    truth = rng.normal(size=n_rows)
    return truth + rng.normal(size=n_rows), truth


@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("metric", METRICS)
def test_their_mean_is_the_metric_with_weights_and_without(metric: str, n_classes: int):
    predicted, truth = sample(metric, 300, n_classes, RNG)
    weight = RNG.uniform(0.2, 3, 300)
    assert contributions(metric, predicted, truth).mean() == pytest.approx(score(metric, predicted, truth))
    weighted = contributions(metric, predicted, truth, weight)
    assert weighted.mean() == pytest.approx(score(metric, predicted, truth, weight))


@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("metric", METRICS)
def test_their_spread_is_that_of_the_metric_over_other_rows(metric: str, n_classes: int):
    rng = np.random.default_rng(1)
    predicted, truth = sample(metric, 400, n_classes, rng)
    error = contributions(metric, predicted, truth).std() / np.sqrt(400)
    drawn = (rng.integers(0, 400, 400) for _ in range(400))
    assert error == pytest.approx(np.std([score(metric, predicted[rows], truth[rows]) for rows in drawn]), rel=0.12)


def test_one_class_alone_and_perfect_predictions_are_finite():
    certain = np.eye(2)[np.zeros(20, int)]
    for metric in OF_CLASSES:
        assert np.isfinite(contributions(metric, certain, np.zeros(20, int))).all()
    for metric in REGRESSION_METRICS:
        assert np.isfinite(contributions(metric, np.ones(20), np.ones(20))).all()


@pytest.mark.parametrize("n_rows", [1, 700, MAX_SCORES, 2 * MAX_SCORES + 1])
def test_the_record_of_numbers_keeps_their_mean_and_its_spread(n_rows: int):
    scores = RNG.exponential(size=n_rows) * 1e6
    found = decode(encode(scores))
    assert len(found) <= MAX_SCORES
    assert found.mean() == pytest.approx(scores.mean(), rel=1e-4)
    error = scores.std() / np.sqrt(n_rows)
    assert found.std() / np.sqrt(len(found)) == pytest.approx(error, rel=0.05)
    assert len(encode(scores)) < 60_000


@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("metric", METRICS)
def test_a_row_of_weight_0_does_not_count(metric: str, n_classes: int):
    """Also where such rows have the highest scores, or are the only ones of a class."""
    predicted, truth = sample(metric, 200, n_classes, np.random.default_rng(2))
    weight = np.ones(200)
    weight[np.argsort(-predicted.reshape(200, -1)[:, -1])[:40]] = 0
    if metric in OF_CLASSES and n_classes == 4:
        weight[truth == 3] = 0
    found, kept = contributions(metric, predicted, truth, weight), weight > 0
    assert np.isfinite(found).all()
    assert found.mean() == pytest.approx(score(metric, predicted[kept], truth[kept]))
