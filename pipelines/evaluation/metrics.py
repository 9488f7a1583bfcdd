"""Scores of a model's predictions, and intervals of scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from pipelines.errors import DataError

# Keras's epsilon: the loss of one row never exceeds about -log(1e-7) = 16.1.
CLIP = 1e-7
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class ClassScore:
    """One row of the per-class table.

    Attributes:
        name: Name of the class.
        precision: Share of the rows predicted as this class that belong to it; 0 where none was predicted.
        recall: Share of the rows of this class that were predicted as it; 0 where the class has no row.
        f1: Harmonic mean of precision and recall.
        support: Number of rows of this class.
    """

    name: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Scores of a model on labelled rows.

    Attributes:
        accuracy: Share of right rows.
        loss: Mean cross-entropy, in nats.
        n_right: Rows whose most probable class is their label.
        n_wrong: The other rows.
        interval: 95% Wilson interval of the accuracy, low and high.
        classes: The per-class table, in the order of the classes.
        confusion: ``confusion[i][j]`` rows of class i were predicted as class j; (n_classes, n_classes) counts.
        majority: Share of the rows that belong to the most frequent class: the accuracy of always answering with it.
    """

    accuracy: float
    loss: float
    n_right: int
    n_wrong: int
    interval: tuple[float, float]
    classes: tuple[ClassScore, ...]
    confusion: tuple[tuple[int, ...], ...]
    majority: float


def evaluate(probabilities: npt.ArrayLike, labels: npt.ArrayLike, class_names: Sequence[str]) -> Evaluation:
    """Scores a model's probabilities against the labels.

    Args:
        probabilities: (n_rows, n_classes) float32.
        labels: (n_rows,) int, each in 0 to n_classes - 1.
        class_names: n_classes names, in the order of the columns.

    Raises:
        DataError: A probability is not finite.
        ValueError: There are no rows, or the arrays differ in length.
    """
    given, truth = np.asarray(probabilities, dtype=np.float64), np.asarray(labels)
    if not np.isfinite(given).all():
        raise DataError("probabilities: must be finite, got NaN or infinity: train with a lower learning rate")
    predicted = given.argmax(axis=1)
    n_right = int((predicted == truth).sum())
    numbers = np.arange(len(class_names))
    columns = precision_recall_fscore_support(truth, predicted, labels=numbers, zero_division=0.0)
    table = zip(class_names, *(column.tolist() for column in columns), strict=True)
    return Evaluation(
        accuracy=n_right / len(truth),
        loss=_cross_entropy(given, truth),
        n_right=n_right,
        n_wrong=len(truth) - n_right,
        interval=wilson_interval(n_right, len(truth)),
        classes=tuple(ClassScore(*row) for row in table),
        confusion=tuple(tuple(row) for row in confusion_matrix(truth, predicted, labels=numbers).tolist()),
        majority=majority_share(truth),
    )


def majority_share(labels: npt.ArrayLike) -> float:
    """Returns the share of the most frequent class: the accuracy of a model that always answers with it.

    Args:
        labels: (n_rows,) int, at least 0; at least one row.
    """
    counts = np.bincount(labels)
    return float(counts.max() / counts.sum())


def wilson_interval(n_right: int, n: int) -> tuple[float, float]:
    """Returns Wilson's 95% score interval of an accuracy, without continuity correction.

    Args:
        n_right: Right rows, 0 to n.
        n: All rows, at least 1.
    """
    interval = stats.binomtest(n_right, n).proportion_ci(CONFIDENCE, method="wilson")
    return float(interval.low), float(interval.high)


def standard_error(values: Sequence[float]) -> float:
    """Returns the standard error of the mean; 0 for a single value, whose spread is unknown."""
    return float(stats.sem(values)) if len(values) > 1 else 0.0


def _cross_entropy(given: npt.NDArray[np.float64], truth: npt.NDArray[np.int64]) -> float:
    """Computes mean cross-entropy as Keras does from probabilities: clipped, then scaled to sum to 1."""
    clipped = given.clip(CLIP, 1 - CLIP)
    rows = clipped[np.arange(len(truth)), truth] / clipped.sum(axis=1)
    return float(-np.log(rows).mean())
