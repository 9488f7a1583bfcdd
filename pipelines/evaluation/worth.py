"""The worth of rows in an interval: at most so many independent rows of equal weight.

A metric of classes with few rows is as uncertain as those few rows, however many others there are. Where a model
predicts them all correctly, their contributions have no spread that would show it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import optimize, stats

from pipelines.evaluation import CONFIDENCE

BY_CLASS = ("balanced_accuracy", "macro_f1", "auc", "average_precision")
"""Metrics whose uncertainty depends on the rows of each class."""

_Z = float(stats.norm.ppf((1 + CONFIDENCE) / 2))
_NEAR = 1e-9


def worth(weights: npt.NDArray[np.floating]) -> float:
    """Returns the number of rows of equal weight that weighted rows are worth (Kish, 1965); 0 for weights of 0."""
    squares = float((weights.astype(np.float64) ** 2).sum())
    return float(weights.sum(dtype=np.float64) ** 2 / squares) if squares else 0.0


def class_worth(
    labels: npt.NDArray[np.integer], n_classes: int, weights: npt.NDArray[np.floating] | None = None
) -> tuple[float, ...]:
    """Returns what the rows of each class are worth.

    Args:
        labels: (n_rows,) class numbers.
        n_classes: Number of classes, also of those without a row.
        weights: (n_rows,); None for equal ones.
    """
    if weights is None:
        return tuple(np.bincount(labels, minlength=n_classes).astype(float).tolist())
    return tuple(worth(weights[labels == number]) for number in range(n_classes))


def most_rows(metric: str, value: float, n_rows: float, class_rows: Sequence[float]) -> float:
    """Returns the number of rows that the interval of a metric counts on at most.

    Balanced accuracy has the variance of a share of K² / sum(1 / n_c) rows. Average precision is a share of the rows of
    its class (Boyd, Eng and Page, 2013). The variance of AUC is that of Hanley and McNeil, 1982, at the lower limit, as
    in method 5 of Newcombe, 2006. The contributions to F1 vary also with the errors of the other classes, which is
    enough unless no row is wrong.

    Args:
        metric: Its name, such as ``auc``.
        value: Its value.
        n_rows: What all rows are worth.
        class_rows: What those of each class are worth; empty where that is unknown.
    """
    is_mixed = 0 < value < 1 - _NEAR
    if not class_rows or metric not in BY_CLASS or (metric == "macro_f1" and is_mixed):
        return n_rows
    found = [rows for rows in class_rows if rows > 0]
    if metric in ("auc", "average_precision"):
        if len(found) < 2:
            return 1.0  # it is not defined
        found = [class_rows[1]] if len(class_rows) == 2 else found
    if metric == "auc":
        return min(n_rows, _most_for_auc(min(value, 1.0), found, sum(class_rows)))
    return len(found) ** 2 / sum(1 / rows for rows in found)


def _most_for_auc(value: float, class_rows: Sequence[float], n_rows: float) -> float:
    """Wilson's interval on so many rows has the lower limit of Newcombe's interval of an AUC, or a mean of AUCs."""

    def excess(low: float) -> float:
        variance = sum(_auc_variance(low, rows, n_rows - rows) for rows in class_rows) / len(class_rows) ** 2
        return (value - low) ** 2 - _Z**2 * variance

    highest = value - _NEAR
    if highest <= _NEAR or excess(highest) >= 0:
        return n_rows
    low = float(optimize.brentq(excess, _NEAR / 2, highest))
    return _Z**2 * low * (1 - low) / (value - low) ** 2


def _auc_variance(auc: float, n_true: float, n_false: float) -> float:
    """Hanley and McNeil's variance of an AUC, whose scores have exponential distributions."""
    above, below = auc / (2 - auc) - auc**2, 2 * auc**2 / (1 + auc) - auc**2
    pairs = max(n_true, 1.0) * max(n_false, 1.0)
    return (auc * (1 - auc) + max(n_true - 1, 0) * above + max(n_false - 1, 0) * below) / pairs
