"""Scores of the validation rows after an epoch, by scikit-learn's definitions, in NumPy.

Workers import this, and scikit-learn would take longer to import than many a trial to train.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from pipelines.files.archives import Array

Score = Callable[[Array, Array, Array | None], float]
"""score(probabilities or scores, class numbers or truth, weights; None for equal ones)"""


def classification_score(metric: str, probabilities: Array, labels: Array, weight: Array | None = None) -> float:
    """Returns a metric of class probabilities.

    Args:
        metric: One of ``CLASSIFICATION_SCORES``.
        probabilities: (n_rows, n_classes).
        labels: (n_rows,) class numbers.
        weight: (n_rows,) weights of the rows; None for equal ones.
    """
    weights = None if weight is None else weight.astype(np.float64)
    return float(CLASSIFICATION_SCORES[metric](probabilities.astype(np.float64), labels, weights))


def regression_scores(predicted: Array, truth: Array, weight: Array | None = None) -> dict[str, float]:
    """Returns ``rmse``, ``mae`` and ``r2`` of (n_rows,) predictions in the target's own unit."""
    difference = predicted.astype(np.float64) - truth
    squared = float(np.average(difference**2, weights=weight))
    variance = float(np.average((truth - np.average(truth, weights=weight)) ** 2, weights=weight))
    mae = float(np.average(np.abs(difference), weights=weight))
    return {"rmse": squared**0.5, "mae": mae, "r2": 1 - squared / variance if variance else 0.0}


def _confusion(probabilities: Array, labels: Array, weights: Array | None) -> Array:
    n_classes = probabilities.shape[1]
    cells = labels.astype(np.int64) * n_classes + probabilities.argmax(axis=1)
    return np.bincount(cells, weights, n_classes**2).reshape(n_classes, n_classes)


def _accuracy(probabilities: Array, labels: Array, weights: Array | None) -> float:
    return float(np.average(probabilities.argmax(axis=1) == labels, weights=weights))


def _balanced_accuracy(probabilities: Array, labels: Array, weights: Array | None) -> float:
    """The mean recall of the classes that have rows."""
    counts = _confusion(probabilities, labels, weights)
    totals = counts.sum(axis=1)
    return float(np.mean(counts.diagonal()[totals > 0] / totals[totals > 0]))


def _macro_f1(probabilities: Array, labels: Array, weights: Array | None) -> float:
    """The mean F1 of the classes that have rows or were predicted."""
    counts = _confusion(probabilities, labels, weights)
    both = counts.sum(axis=0) + counts.sum(axis=1)
    return float(np.mean(2 * counts.diagonal()[both > 0] / both[both > 0]))


def _mean_over_classes(score: Score, probabilities: Array, labels: Array, weights: Array | None) -> float:
    """The score of class 1 of two classes, else the mean over all classes that have weight, and others too."""
    numbers = [1] if probabilities.shape[1] == 2 else range(probabilities.shape[1])
    truths = [(number, labels == number) for number in numbers]
    scores = [
        score(probabilities[:, number], truth, weights)
        for number, truth in truths
        if 0 < np.average(truth, weights=weights) < 1
    ]
    return float(np.mean(scores)) if scores else 0.5


class _Ranked:
    """Scores that others are compared with. Sorting the rows of each side apart is faster than ranking all of them.

    Args:
        scores: (n_rows,).
        weights: (n_rows,); None for equal ones.
    """

    def __init__(self, scores: Array, weights: Array | None) -> None:
        if weights is None:
            self._scores, self._cumulated = np.sort(scores), np.arange(len(scores) + 1, dtype=np.float64)
        else:
            order = np.argsort(scores)
            self._scores, self._cumulated = scores[order], np.append(0, np.cumsum(weights[order]))
        self.total = self._cumulated[-1]

    def below(self, scores: Array) -> Array:
        """Returns the weight of the scores below each of (n,) others."""
        return np.asarray(self._cumulated[np.searchsorted(self._scores, scores, side="left")])

    def up_to(self, scores: Array) -> Array:
        """Returns the weight of the scores below or equal to each of (n,) others."""
        return np.asarray(self._cumulated[np.searchsorted(self._scores, scores, side="right")])


def _sides(scores: Array, truth: Array, weights: Array | None) -> tuple[Array, Array | None, _Ranked]:
    """Returns the scores of the true rows, ascending, with their weights, and the false rows, ranked."""
    true = scores[truth]
    order = np.argsort(true)
    false = _Ranked(scores[~truth], None if weights is None else weights[~truth])
    return true[order], None if weights is None else weights[truth][order], false


def _binary_auc(scores: Array, truth: Array, weights: Array | None) -> float:
    """The share of pairs of a true and a false row in which the true one is higher; equal ones count half."""
    true, own, false = _sides(scores, truth, weights)
    won = (false.below(true) + false.up_to(true)) / 2
    return float(np.average(won, weights=own) / false.total)


def _binary_average_precision(scores: Array, truth: Array, weights: Array | None) -> float:
    """The mean over the true rows of the precision among the rows that are at least as high."""
    true, own, false = _sides(scores, truth, weights)
    ranked = _Ranked(true, own)
    n_true = ranked.total - ranked.below(true)
    n_false = false.total - false.below(true)
    precision = n_true / np.maximum(n_true + n_false, np.finfo(np.float64).tiny)
    return float(np.average(precision, weights=own))


CLASSIFICATION_SCORES: dict[str, Score] = {
    "accuracy": _accuracy,
    "balanced_accuracy": _balanced_accuracy,
    "macro_f1": _macro_f1,
    "auc": partial(_mean_over_classes, _binary_auc),
    "average_precision": partial(_mean_over_classes, _binary_average_precision),
}
