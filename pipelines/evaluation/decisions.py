"""Learned from the validation rows: the interval of a predicted value, the decision threshold of two classes.

Both are kept with a model as plain numbers. NumPy only: a served model imports this.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipelines.data.targets import TargetScaling
from pipelines.errors import DataError
from pipelines.files.archives import Array

LEVEL = 0.95
DEFAULT_THRESHOLD = 0.5
_ROUNDING = 1e-9
_THRESHOLD_METRICS = ("accuracy", "balanced_accuracy", "macro_f1")


@dataclass(frozen=True, slots=True)
class ResidualInterval:
    """The interval of a regression's predictions, after split conformal prediction.

    A new row's residual has each rank among the n residuals of the validation rows with the same chance, 1 / (n + 1).
    The interval reaches from the residual of rank floor((n + 1) 0.025) to that of rank ceil((n + 1) 0.975). Below 39
    rows these ranks do not exist: the interval then holds every residual, and covers less. As the rows also picked the
    epoch and the configuration, it is slightly too narrow.

    Attributes:
        low: Lower residual, true minus predicted, of the target as the network learns it: transformed and standardized.
        high: The upper one.
        coverage: The share of new rows that it covers on average, 0.95 or less.
        n_rows: The number of residuals.
    """

    low: float
    high: float
    coverage: float
    n_rows: int

    @classmethod
    def learn(cls, targets: Array, predicted: Array, weight: Array | None = None) -> ResidualInterval:
        """Learns it from (n_rows,) targets and predictions, both as the network learns them; at least one row.

        With (n_rows,) weights a residual counts by its weight, and a new row as one of the mean weight. Rows of weight
        0 are left out.
        """
        residuals = np.asarray(targets, np.float64) - np.asarray(predicted, np.float64)
        weights = np.ones(len(residuals)) if weight is None else weight.astype(np.float64)
        residuals, weights = residuals[weights > 0], weights[weights > 0]
        weights *= len(weights) / weights.sum()
        order = np.argsort(residuals)
        ranks, n_rows = np.cumsum(weights[order]), len(order)
        # Decimals such as 0.025 are not exact: 40 * 0.025 must be 1.
        tail = (ranks[-1] + 1) * (1 - LEVEL) / 2 + _ROUNDING
        low = max(0, int(np.searchsorted(ranks, tail, side="right")) - 1)
        high = min(n_rows - 1, int(np.searchsorted(ranks, ranks[-1] + 1 - tail)))
        coverage = min(LEVEL, max(0.0, float(ranks[high] - ranks[low])) / (float(ranks[-1]) + 1))
        return cls(float(residuals[order[low]]), float(residuals[order[high]]), coverage, n_rows)

    def around(self, values: Array, target: TargetScaling) -> tuple[Array, Array]:
        """Returns the (n_rows,) lower and upper ends for (n_rows,) predictions, all in the target's own unit."""
        with np.errstate(divide="ignore", over="ignore"):  # a logarithm's ends may be 0 or infinite
            encoded = target.encode(values).astype(np.float64)
            low, high = target.decode(encoded + self.low), target.decode(encoded + self.high)
        # A residual may have one sign only, and encoding rounds.
        return np.minimum(low, values), np.maximum(high, values)


@dataclass(frozen=True, slots=True)
class Threshold:
    """The decision threshold of two classes.

    Attributes:
        value: The second class is predicted where its probability is above it.
        metric: The metric by which it is the best on the validation rows: ``accuracy``, ``balanced_accuracy`` or
            ``macro_f1``.
        score: The metric there.
    """

    value: float
    metric: str
    score: float

    @classmethod
    def learn(cls, probabilities: Array, labels: Array, metric: str, weight: Array | None = None) -> Threshold:
        """Chooses the threshold with the best metric; of several, the nearest to 0.5.

        Args:
            probabilities: (n_rows,) of the second class.
            labels: (n_rows,) 0 or 1.
            metric: That of the study; one that does not depend on a threshold is replaced by the balanced accuracy.
            weight: (n_rows,) weights of the rows in the metric; None for equal ones.
        """
        metric = metric if metric in _THRESHOLD_METRICS else "balanced_accuracy"
        given = np.asarray(probabilities, np.float64)
        levels = np.unique(given)
        # Halfway between neighbors, so that rounding changes no prediction; 0.5 itself, which is the usual one.
        halfway = np.convolve([0.0, *levels, 1.0], [0.5, 0.5], "valid")
        thresholds = np.unique([*halfway[(halfway > 0) & (halfway < 1)], DEFAULT_THRESHOLD])
        weights = np.ones(len(given)) if weight is None else weight.astype(np.float64)
        scores = _scores(given, np.asarray(labels), weights, thresholds, metric)
        best = np.flatnonzero(scores >= scores.max() - 1e-12)
        chosen = best[np.argmin(np.abs(thresholds[best] - DEFAULT_THRESHOLD))]
        return cls(float(thresholds[chosen]), metric, float(scores[chosen]))


def _scores(given: Array, labels: Array, weights: Array, thresholds: Array, metric: str) -> Array:
    """Returns the metric at each threshold; a class without rows or predictions counts as 0."""
    counts = []
    for number in (0, 1):
        of_class = np.flatnonzero(labels == number)
        ascending = of_class[np.argsort(given[of_class])]
        cumulated = np.append(0, np.cumsum(weights[ascending]))
        below = cumulated[np.searchsorted(given[ascending], thresholds, side="right")]  # predicted as class 0
        counts.append((below, cumulated[-1] - below))
    (true_0, false_1), (false_0, true_1) = counts
    if metric == "accuracy":
        return np.asarray((true_0 + true_1) / weights.sum())
    if metric == "balanced_accuracy":
        parts = [(true_0, true_0 + false_1), (true_1, true_1 + false_0)]
    else:
        errors = false_0 + false_1
        parts = [(2 * right, 2 * right + errors) for right in (true_0, true_1)]
    shares = [right / np.where(of > 0, of, 1) for right, of in parts]
    return np.asarray(np.mean(shares, axis=0))


def decide(probabilities: Array, threshold: float = DEFAULT_THRESHOLD) -> Array:
    """Returns (n_rows,) class numbers: the most probable class; of two classes, the second above the threshold.

    Args:
        probabilities: (n_rows, n_classes).
        threshold: For two classes.
    """
    if threshold == DEFAULT_THRESHOLD or probabilities.shape[1] != 2:
        return np.asarray(probabilities.argmax(axis=1))
    # NumPy would round the threshold to the float32 of the probabilities.
    return np.asarray(probabilities[:, 1].astype(np.float64) > threshold, dtype=np.int64)


def require_threshold(threshold: float, n_classes: int, what: str = "threshold") -> float:
    """Checks a threshold that a user gave.

    Raises:
        DataError: It is no probability, or the model has not two classes.
    """
    if n_classes != 2:
        found = f"{n_classes} classes" if n_classes else "a regression"
        raise DataError(f"{what}: must be left out unless a model has two classes, got one with {found}")
    if not 0 < threshold < 1:
        raise DataError(f"{what}: must be auto, or above 0 and below 1, got {threshold:g}")
    return threshold
