"""Scores of a model's predictions, and intervals of scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from pipelines.data.targets import majority_share
from pipelines.errors import DataError
from pipelines.evaluation import CONFIDENCE
from pipelines.evaluation.intervals import interval_of_rows
from pipelines.evaluation.predictions import Predictions
from pipelines.files.archives import Array
from pipelines.training.scores import CLASSIFICATION_METRICS, REGRESSION_METRICS, contributions

SHOWN_METRICS = ("accuracy", "balanced_accuracy", "macro_f1", "auc", "average_precision", "rmse", "mae", "r2", "loss")
"""Metrics in the order in which a report and a model card list them."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A metric of a model on some rows, and its 95% interval over other rows."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, metric: str, contributions: Array, *rows: Any) -> Estimate:
        """The estimate by (n_rows,) contributions; ``rows`` are the further parameters of ``interval_of_rows``."""
        low, high = interval_of_rows(metric, contributions.astype(np.float64), *rows)
        return cls(float(contributions.mean()), low, high)


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
    """Scores of a model on labeled rows.

    Attributes:
        accuracy: Share of correctly classified rows, by weight.
        loss: Mean cross-entropy, in nats.
        n_right: Rows whose most probable class is their label.
        n_wrong: The other rows.
        interval: 95% interval of the accuracy, Wilson's, low and high.
        classes: The per-class table, in the order of the classes.
        confusion: ``confusion[i][j]`` rows of class i were predicted as class j; (n_classes, n_classes) counts.
        majority: Share of the most frequent class, by weight: the accuracy of always predicting it.
        metrics: By name, each of ``CLASSIFICATION_METRICS``.
    """

    accuracy: float
    loss: float
    n_right: int
    n_wrong: int
    interval: tuple[float, float]
    classes: tuple[ClassScore, ...]
    confusion: tuple[tuple[int, ...], ...]
    majority: float
    metrics: dict[str, Estimate]


@dataclass(frozen=True, slots=True)
class RegressionEvaluation:
    """Scores of a regression on rows with known targets.

    Attributes:
        metrics: By name, each of ``REGRESSION_METRICS`` in the target's own unit, and ``loss``, that of the training.
    """

    metrics: dict[str, Estimate]


def evaluate(
    probabilities: npt.ArrayLike,
    labels: npt.ArrayLike,
    class_names: Sequence[str],
    weight: Array | None = None,
    group: Array | None = None,
) -> Evaluation:
    """Scores a model's probabilities against the labels.

    Args:
        probabilities: (n_rows, n_classes) float32.
        labels: (n_rows,) int, each in 0 to n_classes - 1.
        class_names: n_classes names, in the order of the columns.
        weight: (n_rows,) weights of the rows in the metrics, not in the counts; None for equal ones.
        group: (n_rows,) numbers of groups whose rows are not independent, for the intervals; None without groups.

    Raises:
        DataError: A probability is not finite.
        ValueError: There are no rows, or the arrays differ in length.
    """
    given, truth = np.asarray(probabilities, dtype=np.float64), np.asarray(labels)
    if not np.isfinite(given).all():
        raise DataError(_not_finite("probabilities", given))
    predicted = given.argmax(axis=1)
    n_right = int((predicted == truth).sum())
    numbers = np.arange(len(class_names))
    rows = {metric: contributions(metric, given, truth, weight) for metric in CLASSIFICATION_METRICS}
    metrics = {name: Estimate.of(name, found, weight, group, truth, len(numbers)) for name, found in rows.items()}
    if weight is None and group is None:
        metrics["accuracy"] = Estimate(n_right / len(truth), *wilson_interval(n_right, len(truth)))
    columns = precision_recall_fscore_support(truth, predicted, labels=numbers, zero_division=0.0)
    table = zip(class_names, *(column.tolist() for column in columns), strict=True)
    return Evaluation(
        accuracy=metrics["accuracy"].value,
        loss=metrics["loss"].value,
        n_right=n_right,
        n_wrong=len(truth) - n_right,
        interval=(metrics["accuracy"].low, metrics["accuracy"].high),
        classes=tuple(ClassScore(*row) for row in table),
        confusion=tuple(tuple(row) for row in confusion_matrix(truth, predicted, labels=numbers).tolist()),
        majority=majority_share(truth, weight),
        metrics=metrics,
    )


def evaluate_regression(found: Predictions, encode: Callable[[Array], Array], loss: str) -> RegressionEvaluation:
    """Scores a regression's predictions against the targets.

    Args:
        found: The predictions, in the target's own unit.
        encode: Converts values to what the network learns, as the loss was computed in training.
        loss: ``mse``, ``mae`` or ``huber``.

    Raises:
        DataError: A prediction is not finite.
    """
    predicted, truth, weight = found.predicted, found.truth, found.weight
    if not np.isfinite(predicted).all():
        raise DataError(_not_finite("predictions", predicted))
    rows = {metric: contributions(metric, predicted, truth, weight) for metric in REGRESSION_METRICS}
    # A prediction that float32 rounded to 0 has no logarithm, where that is what the network learns.
    above_0 = np.where(predicted == 0, np.finfo(np.float32).tiny, predicted)
    rows["loss"] = contributions(loss, encode(above_0), encode(truth), weight)
    return RegressionEvaluation({name: Estimate.of(name, given, weight, found.group) for name, given in rows.items()})


def _not_finite(what: str, values: Array) -> str:
    bad = np.flatnonzero(~np.isfinite(values).reshape(len(values), -1).all(axis=1))
    return (
        f"{what}: must be finite, got NaN or infinity in {len(bad):,} of {len(values):,} rows, the first is row"
        f" {bad[0] + 1} of them: a value of that row is far beyond those in training, or the training diverged"
    )


def wilson_interval(n_right: int, n: int) -> tuple[float, float]:
    """Returns Wilson's 95% score interval of an accuracy, without continuity correction.

    Args:
        n_right: Correctly classified rows, 0 to n.
        n: All rows, at least 1.
    """
    interval = stats.binomtest(n_right, n).proportion_ci(CONFIDENCE, method="wilson")
    return float(interval.low), float(interval.high)


def standard_error(values: Sequence[float]) -> float:
    """Returns the standard error of the mean; 0 for a single value, whose spread is unknown."""
    return float(stats.sem(values)) if len(values) > 1 else 0.0
