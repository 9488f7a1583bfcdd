"""Decides the task of a target by its labels, and cleans them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipelines.errors import DataError
from pipelines.files.archives import Array
from pipelines.files.text_forms import require_short, within_float
from pipelines.objectives import Task

if TYPE_CHECKING:
    from pipelines.files.text_forms import Series

MAX_CLASSES = 20
"""Whole numbers with at most so many different values are classes."""
MIN_COUNTED = 5
"""So many different whole numbers are counts, not classes, where one is in fewer rows than each class must have."""
MAX_NUMBERED, MIN_ROWS = 1000, 10
"""Class numbers from 0 or 1 without a gap are classes up to so many, where each has so many rows."""
_REMEDY = "name the column of the classes as the target"
_CONVERT = {
    **dict.fromkeys(("datetime64", "datetime", "date"), "convert them to numbers, such as days, or to classes"),
    **dict.fromkeys(("timedelta64", "timedelta"), "convert them to numbers, such as seconds"),
}


def labels_of_column(column: Series, task: str | None, place: str, required: int = 1) -> tuple[Task, Array]:
    """Returns the task and the (n_rows,) labels in a table's target column; the parameters are as in ``clean_labels``.

    Raises:
        DataError: Labels are missing, of mixed types, or do not fit the task.
    """
    import pandas as pd
    from pandas.api.types import infer_dtype

    n_missing = int(column.isna().sum())
    if n_missing:
        raise DataError(f"{place}: every row must have a label, got {n_missing} empty, NA or None: fill or drop them")
    if isinstance(column.dtype, np.dtype) and column.dtype.kind in "biuf":  # a list would take several times the memory
        return clean_labels(column.to_numpy(), task, place, required)
    if isinstance(column.dtype, pd.StringDtype):
        codes, texts = pd.factorize(column)
        require_short(texts, place, "labels", _REMEDY)
        return clean_labels(np.array(texts.tolist())[codes], task, place)
    values = column.tolist()
    kind = infer_dtype(values)
    if kind == "decimal":
        values, kind = [float(value) for value in values], "floating"
    if kind not in {"string", "boolean", "integer", "floating", "mixed-integer-float"}:
        remedy = _CONVERT.get(kind, "convert them")
        raise DataError(f"{place}: labels must be all numbers or all text, got {kind} values: {remedy}")
    if kind == "string":
        require_short(values, place, "labels", _REMEDY)
    labels = np.array(values)
    # Whole numbers beyond those of NumPy.
    if labels.dtype == object and kind == "integer":
        labels = np.array([within_float(value) for value in values], dtype=np.float64)
    return clean_labels(labels, task, place, required)


def clean_labels(labels: Array, task: str | None, place: str, required: int = 1) -> tuple[Task, Array]:
    """Decides the task, unless it is given, and converts (n_rows,) or (n_rows, 1) labels.

    Text, booleans and few whole numbers classify; real numbers and many whole numbers regress.

    Args:
        labels: Numbers or texts.
        task: ``classification`` or ``regression``; None and ``auto`` decide by the labels.
        place: Name of the labels in errors.
        required: Rows that each class must have, one for each split.

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
    if task == "regression" or (task != "classification" and is_number and not are_classes(labels, required)):
        return "regression", _as_values(labels, place)
    return "classification", _as_classes(labels, place)


def are_classes(labels: Array, required: int = 1) -> bool:
    """Whether numbers are classes: whole ones with few values, or class numbers without a gap.

    From ``MIN_COUNTED`` values on, each must be in the required number of rows.
    """
    if labels.dtype.kind == "f" and not are_whole(labels).all():
        return False
    values, counts = np.unique(labels, return_counts=True)
    if len(values) >= MIN_COUNTED and counts.min() < required:
        return False
    is_numbered = len(values) <= MAX_NUMBERED and counts.min() >= MIN_ROWS and values[0] in (0, 1)
    return len(values) <= MAX_CLASSES or bool(is_numbered and values[-1] - values[0] == len(values) - 1)


def are_whole(labels: Array) -> Array:
    """Whether (n_rows,) numbers are whole ones that float64 holds exactly."""
    numbers = labels.astype(np.float64)  # 2**53 is more than float16 holds
    return np.asarray(np.isfinite(numbers) & (numbers == np.floor(numbers)) & (np.abs(numbers) < 2**53))


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
        whole = are_whole(labels)
        if not whole.all() and np.isfinite(labels).all() and len(values := np.unique(labels)) <= MAX_CLASSES:
            names = np.array([f"{float(str(value)):.15g}" for value in values])  # such as half stars, of any float
            return names[np.searchsorted(values, labels)]
        if not whole.all():
            found = f"{labels[~whole][0]} ({np.count_nonzero(~whole)} such rows)"
            rule = f"labels of a classification must be whole numbers or text, or {MAX_CLASSES} numbers at most"
            raise DataError(f'{place}: {rule}, got {found}: cut a quantity into classes, or use task = "regression"')
        return labels.astype(np.int64)
    if labels.dtype.kind in "SU":
        return _clean_texts(labels, place)
    if labels.dtype.kind not in "iu":
        return labels.astype(str)
    # Splits may have other types, and NumPy joins uint64 and int64 as float64.
    return labels.astype(np.int64) if labels.max(initial=0) <= np.iinfo(np.int64).max else labels


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
