"""How good a model's answers are: scores, intervals, tests between two models, and examples worth a look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from pipelines.errors import DataError

# Keras's epsilon: the loss of one row never exceeds about -log(1e-7) = 16.1.
CLIP = 1e-7


@dataclass(frozen=True, slots=True)
class ClassScore:
    """One row of the per-class table.

    Attributes:
        name: The class's name.
        precision: Share of the rows given this class that belong to it; 0 where no row was given it.
        recall: Share of the class's rows that were given it; 0 where the class has no row.
        f1: Harmonic mean of precision and recall.
        support: Rows that belong to the class.
    """

    name: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a model reached on labelled rows.

    Attributes:
        accuracy: Share of right rows.
        loss: Mean cross-entropy, in nats.
        n_right: Rows whose most probable class is their label.
        n_wrong: The other rows.
        interval: 95% Wilson interval of the accuracy, low and high.
        classes: The per-class table, in the order of the classes.
        confusion: ``confusion[i][j]`` rows of class i were given class j; (n_classes, n_classes) counts.
    """

    accuracy: float
    loss: float
    n_right: int
    n_wrong: int
    interval: tuple[float, float]
    classes: tuple[ClassScore, ...]
    confusion: tuple[tuple[int, ...], ...]

    def to_json(self) -> dict[str, Any]:
        """The same as a dictionary that ``json.dumps`` takes as it is."""
        return asdict(self)


def evaluate(probabilities: npt.ArrayLike, labels: npt.ArrayLike, class_names: Sequence[str]) -> Evaluation:
    """Compares a model's probabilities with the truth.

    Args:
        probabilities: (n_rows, n_classes) float32.
        labels: (n_rows,) int, each in 0 to n_classes - 1.
        class_names: n_classes names, in the order of the columns.

    Raises:
        DataError: The arrays do not fit each other, are empty, not finite, or name a class that is not there.
    """
    given, truth = _checked(probabilities, labels, len(class_names))
    answers = given.argmax(axis=1)
    n_right = int((answers == truth).sum())
    every = np.arange(len(class_names))
    columns = precision_recall_fscore_support(truth, answers, labels=every, zero_division=0.0)
    table = zip(class_names, *(column.tolist() for column in columns), strict=True)
    return Evaluation(
        accuracy=n_right / len(truth),
        loss=_cross_entropy(given, truth),
        n_right=n_right,
        n_wrong=len(truth) - n_right,
        interval=wilson_interval(n_right, len(truth)),
        classes=tuple(ClassScore(*row) for row in table),
        confusion=tuple(tuple(row) for row in confusion_matrix(truth, answers, labels=every).tolist()),
    )


def wilson_interval(n_right: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of an accuracy, without continuity correction.

    Args:
        n_right: Right rows, 0 to n.
        n: All rows, at least 1.
        confidence: Between 0 and 1.
    """
    interval = stats.binomtest(n_right, n).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)


def standard_error(values: Sequence[float]) -> float:
    """Standard error of the mean; 0 for a single value, whose spread nobody knows."""
    return float(stats.sem(values)) if len(values) > 1 else 0.0


def mean_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float, float]:
    """Mean of a few values with Student's t interval: mean, low, high.

    A single value comes back as its own interval: no width says that the spread is unknown, not that it is
    small. Equal values do the same.

    Args:
        values: At least one.
        confidence: Between 0 and 1.
    """
    mean, error = float(np.mean(values)), standard_error(values)
    half = error * float(stats.t.ppf((1 + confidence) / 2, len(values) - 1)) if error > 0 else 0.0
    return mean, mean - half, mean + half


def pick_examples(
    probabilities: npt.ArrayLike, labels: npt.ArrayLike, n: int = 9, seed: int = 0
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Picks rows to look at: right ones by chance, wrong ones that the model was surest of.

    A chance draw shows what the model usually gets right; a confident mistake teaches most, often that the
    label is wrong. Rows of equal confidence keep their order.

    Args:
        probabilities: (n_rows, n_classes) float32.
        labels: (n_rows,) int.
        n: Rows of each kind at most.
        seed: Seed of the draw among the right rows.

    Returns:
        Row numbers of right rows, ascending, and of wrong rows, the surest mistake first.

    Raises:
        DataError: As ``evaluate``.
    """
    columns = np.shape(probabilities)[-1:]
    given, truth = _checked(probabilities, labels, columns[0] if columns else 0)
    is_right = given.argmax(axis=1) == truth
    right, wrong = np.flatnonzero(is_right), np.flatnonzero(~is_right)
    drawn = np.random.default_rng(seed).choice(right, size=min(n, len(right)), replace=False)
    surest = wrong[np.argsort(-given[wrong].max(axis=1), kind="stable")]
    return np.sort(drawn), surest[:n]


def _cross_entropy(given: npt.NDArray[np.float64], truth: npt.NDArray[np.int64]) -> float:
    """Mean cross-entropy as Keras takes it of probabilities: clipped, and then scaled to sum to 1 again."""
    clipped = given.clip(CLIP, 1 - CLIP)
    rows = clipped[np.arange(len(truth)), truth] / clipped.sum(axis=1)
    return float(-np.log(rows).mean())


def _checked(
    probabilities: npt.ArrayLike, labels: npt.ArrayLike, n_classes: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """The arrays as float64 and int64, or every reason why they cannot be compared."""
    given, truth = np.asarray(probabilities, dtype=np.float64), np.asarray(labels)
    problems = []
    if given.ndim != 2 or given.shape[1] != n_classes or not given.size:
        problems.append(f"probabilities: must be (n_rows, {n_classes}) with at least one row, got {given.shape}")
    elif not np.isfinite(given).all():
        problems.append("probabilities: must be finite, got NaN or infinity; the model cannot be evaluated")
    if truth.shape != given.shape[:1] or truth.dtype.kind not in "iu":
        problems.append(f"labels: must be one integer a row, got {truth.shape} of {truth.dtype}")
    elif truth.size and not (truth.min() >= 0 and truth.max() < n_classes):
        problems.append(f"labels: must be 0 to {n_classes - 1}, got {truth.min()} to {truth.max()}")
    if problems:
        raise DataError(problems)
    return given, truth.astype(np.int64)
