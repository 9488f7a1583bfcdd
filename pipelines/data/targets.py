"""The target of a dataset: which task it is, class numbers of labels, and the scaling of a regression's values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipelines.config import DataConfig, Transform
from pipelines.errors import DataError
from pipelines.files.archives import Array
from pipelines.objectives import Task

if TYPE_CHECKING:
    from pipelines.files.text_forms import Series

MAX_CLASSES = 20
"""Whole numbers with at most so many different values are classes."""
MAX_NUMBERED, MIN_ROWS = 1000, 10
"""Class numbers from 0 or 1 without a gap are classes up to so many, where each has so many rows."""
_MIN_REGRESSION_ROWS = 10
_N_LISTED = 5
_REGRESSION = "{}: {:,} different numbers, so the task is a regression{}"
_CHOOSE = '; task = "classification" in [data] (--task) makes each number a class'


def labels_of_column(column: Series, task: str | None, place: str) -> tuple[Task, Array]:
    """Returns the task and the (n_rows,) labels in a table's target column, as ``clean_labels`` does.

    Raises:
        DataError: Labels are missing, of mixed types, or do not fit the task.
    """
    import pandas as pd
    from pandas.api.types import infer_dtype

    n_missing = int(column.isna().sum())
    if n_missing:
        raise DataError(f"{place}: every row must have a label, got {n_missing} empty, NA or None: fill or drop them")
    if isinstance(column.dtype, np.dtype) and column.dtype.kind in "biuf":  # a list would take several times the memory
        return clean_labels(column.to_numpy(), task, place)
    if isinstance(column.dtype, pd.StringDtype):
        codes, texts = pd.factorize(column)
        return clean_labels(np.array(texts.tolist())[codes], task, place)
    values = column.tolist()
    kind = infer_dtype(values)
    if kind == "decimal":
        values, kind = [float(value) for value in values], "floating"
    if kind not in {"string", "boolean", "integer", "floating", "mixed-integer-float"}:
        raise DataError(f"{place}: labels must be all numbers or all text, got {kind} values: convert them")
    return clean_labels(np.array(values), task, place)


def clean_labels(labels: Array, task: str | None, place: str) -> tuple[Task, Array]:
    """Decides the task, unless it is given, and converts (n_rows,) or (n_rows, 1) labels.

    Text, booleans and few whole numbers classify; real numbers and many whole numbers regress.

    Args:
        labels: Numbers or texts.
        task: ``classification`` or ``regression``; None and ``auto`` decide by the labels.
        place: Name of the labels in errors.

    Returns:
        The task, and (n_rows,) integers or texts without blanks around them to classify, or float64 to regress.

    Raises:
        DataError: The labels do not fit the task, are not finite, not UTF-8 or missing.
    """
    labels = labels.reshape(-1)
    n_missing = np.count_nonzero(np.isnan(labels)) if labels.dtype.kind == "f" else 0
    if n_missing:
        raise DataError(f"{place}: every row must have a label, got {n_missing} NaN: fill or drop them")
    is_number = labels.dtype.kind in "iuf"
    if task == "regression" or (task != "classification" and is_number and not are_classes(labels)):
        return "regression", _as_values(labels, place)
    return "classification", _as_classes(labels, place)


def are_classes(labels: Array) -> bool:
    """Whether numbers are classes: whole ones with few values, or class numbers without a gap."""
    if labels.dtype.kind == "f" and not _are_whole(labels).all():
        return False
    values, counts = np.unique(labels, return_counts=True)
    is_numbered = len(values) <= MAX_NUMBERED and counts.min() >= MIN_ROWS and values[0] in (0, 1)
    return len(values) <= MAX_CLASSES or bool(is_numbered and values[-1] - values[0] == len(values) - 1)


def _are_whole(labels: Array) -> Array:
    return np.asarray(np.isfinite(labels) & (labels == np.floor(labels)) & (np.abs(labels) < 2**53))


def _as_values(labels: Array, place: str) -> Array:
    if labels.dtype.kind not in "biuf":
        raise DataError(f"{place}: a regression must have numbers as its target, got text such as {str(labels[0])!r}")
    values = labels.astype(np.float64)
    with np.errstate(over="ignore"):
        n_wrong = np.count_nonzero(~np.isfinite(values.astype(np.float32)))
    if n_wrong:
        raise DataError(f"{place}: must hold finite float32 numbers, got {n_wrong} infinite: drop those rows")
    return values


def _as_classes(labels: Array, place: str) -> Array:
    if labels.dtype.kind == "f":
        whole = _are_whole(labels)
        if not whole.all():
            found = f"{labels[~whole][0]} ({np.count_nonzero(~whole)} such rows)"
            rule = "labels of a classification must be whole numbers or text"
            raise DataError(f'{place}: {rule}, got {found}: cut a quantity into classes, or use task = "regression"')
        return labels.astype(np.int64)
    if labels.dtype.kind in "SU":
        return _clean_texts(labels, place)
    return labels if labels.dtype.kind in "iu" else labels.astype(str)


def _clean_texts(labels: Array, place: str) -> Array:
    try:
        texts = np.char.strip(np.char.decode(labels, "utf-8") if labels.dtype.kind == "S" else labels)
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise DataError(f"{place}: labels must be UTF-8 text, got byte 0x{byte:02x}: save them as text") from error
    n_missing = np.count_nonzero(texts == "")
    if n_missing:
        raise DataError(f"{place}: every row must have a label, got {n_missing} empty ones: fill or drop them")
    return texts


def task_note(task: Task, labels: Array, place: str) -> list[str]:
    """Returns the line that says that a target regresses, and how to choose otherwise; none for classes."""
    if task == "classification":
        return []
    choose = _CHOOSE if _are_whole(labels).all() else ""
    return [_REGRESSION.format(place, len(np.unique(labels)), choose)]


def number_labels(labels: Array, classes: Sequence[str], place: str) -> Array:
    """Converts (n_rows,) cleaned labels to (n_rows,) int32 class numbers.

    Raises:
        DataError: Labels that do not occur in training.
    """
    unique, inverse, counts = np.unique(labels, return_inverse=True, return_counts=True)
    position = {name: number for number, name in enumerate(classes)}
    texts = [str(label) for label in unique]
    unknown = [f"{text!r} ({count})" for text, count in zip(texts, counts, strict=True) if text not in position]
    if unknown:
        raise DataError(f"{place}: every label must occur in training, got {listed(unknown)}: drop those rows")
    return np.array([position[text] for text in texts], dtype=np.int32)[inverse]


def require_regressable(values: Array, config: DataConfig, place: str) -> None:
    """Checks the (n_rows,) values of a regression's target.

    Raises:
        DataError: They are too few, all equal, or not positive where their logarithm is asked for.
    """
    if len(values) < _MIN_REGRESSION_ROWS:
        raise DataError(f"{place}: a regression must have at least {_MIN_REGRESSION_ROWS} rows, got {len(values)}")
    if values.min() == values.max():
        raise DataError(f"{place}: must hold different numbers, got {values[0]:g} in every row")
    if config.target_transform == "log" and values.min() <= 0:
        n_wrong = np.count_nonzero(values <= 0)
        rule = 'data.target_transform: the target must be above 0 for "log"'
        raise DataError(f"{place}: {rule}, got {values.min():g} ({n_wrong} such rows): leave it out")


@dataclass(frozen=True, slots=True)
class TargetScaling:
    """The map between a regression's target and what the network learns.

    Attributes:
        center: Mean of the (transformed) training targets.
        scale: Their standard deviation.
        transform: Applied before; ``log`` is the natural logarithm.
    """

    center: float
    scale: float
    transform: Transform = "none"

    @classmethod
    def learn(cls, values: Array, transform: Transform | None) -> TargetScaling:
        """Learns the scaling of (n_rows,) float64 training targets.

        Raises:
            DataError: They are all equal.
        """
        if values.min() == values.max():
            rule = "the target must differ between training rows"
            raise DataError(f"{rule}, got {values[0]:g} in all {len(values)}: use more rows, or another split")
        learned = cls(0.0, 1.0, transform or "none")
        transformed = learned._transformed(values)
        return cls(float(transformed.mean()), float(transformed.std()) or 1.0, learned.transform)

    def _transformed(self, values: Array) -> Array:
        return np.log(values) if self.transform == "log" else values

    def encode(self, values: Array) -> Array:
        """Converts (n_rows,) targets to what the network learns, (n_rows,) float32."""
        return ((self._transformed(values) - self.center) / self.scale).astype(np.float32)

    def decode(self, outputs: Array) -> Array:
        """Converts (n_rows,) outputs of the network to the target's own unit, (n_rows,) float64."""
        transformed = outputs.astype(np.float64) * self.scale + self.center
        return np.exp(transformed) if self.transform == "log" else transformed

    def to_json(self) -> dict[str, object]:
        """Returns plain values for a JSON document."""
        return asdict(self)


def listed(names: Sequence[str]) -> str:
    """Lists the first names and the number of the others."""
    more = f" and {len(names) - _N_LISTED} more" if len(names) > _N_LISTED else ""
    return ", ".join(names[:_N_LISTED]) + more
