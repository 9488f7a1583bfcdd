"""Metrics of predictions, after an epoch and of a test, by scikit-learn's definitions, and each row's part of them.

Imports NumPy alone: workers import this, and scikit-learn would take longer to import than many a trial to train.

The contribution of a row to a metric is a number whose mean over the rows is the metric.

A row's contribution to a mean, such as accuracy, is its own score. For the other metrics it is the metric plus the
row's influence on it, the derivative by the row's weight (the infinitesimal jackknife of Jaeckel, 1972). For AUC that
is the decomposition of DeLong, DeLong and Clarke-Pearson, 1988. So the spread of the contributions over the rows tells
how much the metric would change with other rows, and one interval serves every metric.

The influence is a row's own part less what is expected of a row of its class and weight. Two models are compared by
the own parts: exchanging their predictions for a row exchanges these, and does not change the number of rows of a
class.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from pipelines.files.archives import Array

CLASSIFICATION_METRICS = ("accuracy", "loss", "balanced_accuracy", "macro_f1", "auc", "average_precision")
REGRESSION_METRICS = ("rmse", "mae", "r2")

# Keras's epsilon: the loss of one row never exceeds about -log(1e-7) = 16.1.
CLIP = 1e-7


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """A metric by its rows.

    Attributes:
        value: The metric.
        own: (n_rows,) the part that is exchanged with the predictions of two models for the row, times the number of
            rows. The mean of the differences is that of the two metrics; of AUC twice as much, since each pair of rows
            counts in both.
        expected: (n_rows,) what is expected of a row of the same class and weight; ``own - expected`` is the influence.
    """

    value: float
    own: Array
    expected: Array

    @property
    def contributions(self) -> Array:
        """(n_rows,) numbers whose mean is the metric."""
        return np.asarray(self.value + self.own - self.expected)


def parts(metric: str, predicted: Array, truth: Array, weight: Array | None = None) -> Parts:
    """Returns a metric by its rows.

    Args:
        metric: One of ``PARTS``, without its rows: ``auc``, not ``val_auc``. ``loss`` is the cross-entropy.
        predicted: (n_rows, n_classes) probabilities, or (n_rows,) values.
        truth: (n_rows,) class numbers, or values.
        weight: (n_rows,) weights of the rows; None for equal ones.
    """
    weights = np.ones(len(truth)) if weight is None else weight / np.mean(weight, dtype=np.float64)
    return PARTS[metric](predicted.astype(np.float64), truth, weights)


def score(metric: str, predicted: Array, truth: Array, weight: Array | None = None) -> float:
    """Returns a metric; the parameters are those of ``parts``."""
    return parts(metric, predicted, truth, weight).value


def contributions(metric: str, predicted: Array, truth: Array, weight: Array | None = None) -> Array:
    """Returns the contributions of rows to a metric; the parameters are those of ``parts``.

    Returns:
        (n_rows,) float64, or bool for the accuracy of rows of equal weight; their mean is the metric.
    """
    if metric == "accuracy" and weight is None:
        return np.asarray(predicted.argmax(axis=1) == truth)
    return parts(metric, predicted, truth, weight).contributions


def cross_entropies(probabilities: Array, labels: Array) -> Array:
    """Returns (n_rows,) cross-entropies in nats, as Keras computes them: clipped, then scaled to sum to 1."""
    clipped = probabilities.clip(CLIP, 1 - CLIP)
    return np.asarray(-np.log(clipped[np.arange(len(labels)), labels] / clipped.sum(axis=1)))


def _mean(scores: Array, weights: Array) -> Parts:
    """The weighted mean of scores."""
    mean = float(np.mean(weights * scores))
    return Parts(mean, weights * scores, weights * mean)


def _accuracy(probabilities: Array, labels: Array, weights: Array) -> Parts:
    return _mean((probabilities.argmax(axis=1) == labels).astype(np.float64), weights)


def _loss(probabilities: Array, labels: Array, weights: Array) -> Parts:
    return _mean(cross_entropies(probabilities, labels), weights)


def _balanced_accuracy(probabilities: Array, labels: Array, weights: Array) -> Parts:
    right = probabilities.argmax(axis=1) == labels
    rows = np.bincount(labels, weights, probabilities.shape[1])
    has_rows = rows > 0
    rows = np.where(has_rows, rows, 1)
    recalls = np.bincount(labels, weights * right, len(rows)) / rows
    share = weights * len(labels) / rows[labels] / has_rows.sum()
    return Parts(float(recalls[has_rows].mean()), share * right, share * recalls[labels])


def _macro_f1(probabilities: Array, labels: Array, weights: Array) -> Parts:
    predicted, n_classes = probabilities.argmax(axis=1), probabilities.shape[1]
    right = np.bincount(labels, weights * (predicted == labels), n_classes)
    both = np.bincount(labels, weights, n_classes) + np.bincount(predicted, weights, n_classes)
    occurs = both > 0
    both = np.where(occurs, both, 1)
    f1 = 2 * right / both
    share = weights * len(labels) / occurs.sum()
    own = share * (2 * (predicted == labels) / both[labels] - f1[predicted] / both[predicted])
    return Parts(float(f1[occurs].mean()), own, share * f1[labels] / both[labels])


def _over_classes(of_class: Callable[[Array, Array, Array], Parts]) -> Callable[[Array, Array, Array], Parts]:
    """The metric of class 1 of two classes, else the mean over the classes that have rows, and rows of others.

    Rows of weight 0 do not count.
    """

    def mean(probabilities: Array, labels: Array, weights: Array) -> Parts:
        numbers = [1] if probabilities.shape[1] == 2 else range(probabilities.shape[1])
        counted = labels[weights > 0]
        mixed = [number for number in numbers if 0 < np.count_nonzero(counted == number) < len(counted)]
        found = [of_class(probabilities[:, number], labels == number, weights) for number in mixed]
        if not found:
            return Parts(0.5, np.zeros(len(labels)), np.zeros(len(labels)))
        own, expected = (np.mean([getattr(it, name) for it in found], axis=0) for name in ("own", "expected"))
        return Parts(float(np.mean([it.value for it in found])), own, expected)

    return mean


def _counted(scores: Array, truth: Array, weights: Array) -> tuple[Array, Array, Array]:
    """The place of each row among the distinct scores, ascending, and the weights of true and false rows there."""
    _, place = np.unique(scores, return_inverse=True)
    return place, np.bincount(place, weights * truth), np.bincount(place, weights * ~truth)


def _auc(scores: Array, truth: Array, weights: Array) -> Parts:
    place, true, false = _counted(scores, truth, weights)
    below = (np.cumsum(false) - false / 2) / false.sum()  # the share of the false rows that a true row is above
    above = 1 - (np.cumsum(true) - true / 2) / true.sum()
    auc = float(np.sum(true * below) / true.sum())
    share = weights * len(truth) / np.where(truth, true.sum(), false.sum())
    return Parts(auc, share * np.where(truth, below[place], above[place]), share * auc)


def _average_precision(scores: Array, truth: Array, weights: Array) -> Parts:
    place, true, false = _counted(scores, truth, weights)
    precision, n_above = _precision(true, false)
    average = float(np.sum(true * precision) / true.sum())
    # A row changes the precision at its own score and at every score below.
    gains, losses = np.cumsum(true / n_above)[place], np.cumsum(true * precision / n_above)[place]
    share = weights * len(truth) / true.sum()
    return Parts(average, share * (truth * (precision[place] + gains) - losses), share * truth * average)


def _precision(true: Array, false: Array) -> tuple[Array, Array]:
    """The precision among the rows at each place or above, and their weight, which is above 0 for weights of 0 too."""
    n_above = np.maximum(np.cumsum((true + false)[::-1])[::-1], np.finfo(np.float64).tiny)
    return np.cumsum(true[::-1])[::-1] / n_above, n_above


def _precisions(scores: Array, truth: Array, weights: Array) -> Parts:
    """Average precision as the mean of the true rows' precisions, as if the false rows were given."""
    found = _average_precision(scores, truth, weights)
    place, true, false = _counted(scores, truth, weights)
    precision, _ = _precision(true, false)
    return replace(found, own=weights * len(truth) / true.sum() * truth * precision[place])


def _squared(predicted: Array, truth: Array, weights: Array) -> Parts:
    return _mean((predicted - truth) ** 2, weights)


def _absolute(predicted: Array, truth: Array, weights: Array) -> Parts:
    return _mean(np.abs(predicted - truth), weights)


def _huber(predicted: Array, truth: Array, weights: Array) -> Parts:
    size = np.abs(predicted - truth)
    return _mean(np.where(size <= 1, size**2 / 2, size - 0.5), weights)


def _rmse(predicted: Array, truth: Array, weights: Array) -> Parts:
    squared = _squared(predicted, truth, weights)
    rmse = float(np.sqrt(squared.value))
    return Parts(rmse, squared.own / (2 * rmse), squared.expected / (2 * rmse)) if rmse else squared


def _r2(predicted: Array, truth: Array, weights: Array) -> Parts:
    squared = _squared(predicted, truth, weights)
    spread = _mean((truth - np.mean(weights * truth)) ** 2, weights)
    if not spread.value:
        return Parts(0.0, np.zeros(len(truth)), np.zeros(len(truth)))
    unexplained = squared.value / spread.value
    expected = (unexplained * (spread.own - spread.expected) + squared.expected) / spread.value
    return Parts(1 - unexplained, -squared.own / spread.value, -expected)


PARTS: dict[str, Callable[[Array, Array, Array], Parts]] = {
    "accuracy": _accuracy,
    "loss": _loss,
    "cross_entropy": _loss,
    "balanced_accuracy": _balanced_accuracy,
    "macro_f1": _macro_f1,
    "auc": _over_classes(_auc),
    "average_precision": _over_classes(_average_precision),
    "precisions": _over_classes(_precisions),
    "rmse": _rmse,
    "mae": _absolute,
    "r2": _r2,
    "mse": _squared,
    "huber": _huber,
}
"""By metric; ``cross_entropy``, ``mse`` and ``huber`` are losses of training, ``precisions`` is for paired tests."""
