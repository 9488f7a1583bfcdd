"""Scores of the validation rows after an epoch, by scikit-learn's definitions, in NumPy.

Workers import this, and scikit-learn would take longer to import than many a trial to train.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pipelines.files.archives import Array

Score = Callable[[Array, Array, Array], float]
"""score(probabilities or scores, class numbers or truth, weights)"""


def classification_score(metric: str, probabilities: Array, labels: Array, weight: Array | None = None) -> float:
    """Returns a metric of class probabilities.

    Args:
        metric: One of ``CLASSIFICATION_SCORES``.
        probabilities: (n_rows, n_classes).
        labels: (n_rows,) class numbers.
        weight: (n_rows,) weights of the rows; None for equal ones.
    """
    weights = np.ones(len(labels)) if weight is None else weight.astype(np.float64)
    return float(CLASSIFICATION_SCORES[metric](probabilities.astype(np.float64), labels, weights))


def regression_scores(predicted: Array, truth: Array, weight: Array | None = None) -> dict[str, float]:
    """Returns ``rmse``, ``mae`` and ``r2`` of (n_rows,) predictions in the target's own unit."""
    difference = predicted.astype(np.float64) - truth
    squared = float(np.average(difference**2, weights=weight))
    variance = float(np.average((truth - np.average(truth, weights=weight)) ** 2, weights=weight))
    mae = float(np.average(np.abs(difference), weights=weight))
    return {"rmse": squared**0.5, "mae": mae, "r2": 1 - squared / variance if variance else 0.0}


def _confusion(probabilities: Array, labels: Array, weights: Array) -> Array:
    n_classes = probabilities.shape[1]
    cells = labels.astype(np.int64) * n_classes + probabilities.argmax(axis=1)
    return np.bincount(cells, weights, n_classes**2).reshape(n_classes, n_classes)


def _accuracy(probabilities: Array, labels: Array, weights: Array) -> float:
    return float(np.average(probabilities.argmax(axis=1) == labels, weights=weights))


def _balanced_accuracy(probabilities: Array, labels: Array, weights: Array) -> float:
    """The mean recall of the classes that have rows."""
    counts = _confusion(probabilities, labels, weights)
    totals = counts.sum(axis=1)
    return float(np.mean(counts.diagonal()[totals > 0] / totals[totals > 0]))


def _macro_f1(probabilities: Array, labels: Array, weights: Array) -> float:
    """The mean F1 of the classes that have rows or were predicted."""
    counts = _confusion(probabilities, labels, weights)
    both = counts.sum(axis=0) + counts.sum(axis=1)
    return float(np.mean(2 * counts.diagonal()[both > 0] / both[both > 0]))


def _auc(probabilities: Array, labels: Array, weights: Array) -> float:
    """The area under the ROC curve; over more than two classes, the mean of each against the rest."""
    return _mean_over_classes(_binary_auc, probabilities, labels, weights)


def _average_precision(probabilities: Array, labels: Array, weights: Array) -> float:
    """The average precision; over more than two classes, the mean of each against the rest."""
    return _mean_over_classes(_binary_average_precision, probabilities, labels, weights)


def _mean_over_classes(score: Score, probabilities: Array, labels: Array, weights: Array) -> float:
    """The score of class 1 of two classes, else the mean over all classes that have rows, and rows of others."""
    numbers = [1] if probabilities.shape[1] == 2 else range(probabilities.shape[1])
    truths = [(number, labels == number) for number in numbers]
    scores = [
        score(probabilities[:, number], truth, weights) for number, truth in truths if 0 < truth.sum() < len(truth)
    ]
    return float(np.mean(scores)) if scores else 0.5


def _cumulated(scores: Array, truth: Array, weights: Array) -> tuple[Array, Array]:
    """Weights of the true and of the false rows at or above each distinct score, the highest score first."""
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    weighted = weights[order]
    return np.cumsum(weighted * truth[order])[last], np.cumsum(weighted * ~truth[order])[last]


def _binary_auc(scores: Array, truth: Array, weights: Array) -> float:
    true, false = _cumulated(scores, truth, weights)
    return float(np.trapezoid(np.append(0, true), np.append(0, false)) / (true[-1] * false[-1]))


def _binary_average_precision(scores: Array, truth: Array, weights: Array) -> float:
    true, false = _cumulated(scores, truth, weights)
    precision = true / np.maximum(true + false, np.finfo(np.float64).tiny)
    return float(np.sum(np.diff(true, prepend=0) * precision) / true[-1])


CLASSIFICATION_SCORES: dict[str, Score] = {
    "accuracy": _accuracy,
    "balanced_accuracy": _balanced_accuracy,
    "macro_f1": _macro_f1,
    "auc": _auc,
    "average_precision": _average_precision,
}
