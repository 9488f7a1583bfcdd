"""Converts labels to class numbers, and splits rows with the classes in proportion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipelines.config import DataConfig
from pipelines.errors import DataError
from pipelines.files.archives import Array

if TYPE_CHECKING:
    from pipelines.data.table_encoder import Series

_N_LISTED = 5
_LOWER = "choose fractions near 0.2"


def labels_of_column(column: Series, place: str) -> Array:
    """Returns the (n_rows,) labels in a table's target column, as ``clean_labels`` does.

    Raises:
        DataError: Labels are missing, of mixed types, or neither whole numbers nor text.
    """
    from pandas.api.types import infer_dtype

    n_missing = int(column.isna().sum())
    if n_missing:
        raise DataError(f"{place}: every row must have a label, got {n_missing} empty, NA or None: fill or drop them")
    values = column.tolist()
    kind = infer_dtype(values)
    if kind not in {"string", "boolean", "integer", "floating", "mixed-integer-float"}:
        raise DataError(f"{place}: labels must be all whole numbers or all text, got {kind} values: convert them")
    return clean_labels(np.array(values), place)


def clean_labels(labels: Array, place: str) -> Array:
    """Converts (n_rows,) or (n_rows, 1) labels to (n_rows,) integers or texts.

    Raises:
        DataError: Numbers that are not whole.
    """
    labels = labels.reshape(-1)
    if labels.dtype.kind == "f":
        whole = np.isfinite(labels) & (labels == np.floor(labels)) & (np.abs(labels) < 2**53)
        if not whole.all():
            found = f"{labels[~whole][0]} ({np.count_nonzero(~whole)} such rows)"
            raise DataError(f"{place}: labels must be whole numbers or text, got {found}: cut a quantity into classes")
        return labels.astype(np.int64)
    if labels.dtype.kind == "S":
        return np.char.decode(labels, "utf-8", "replace")
    return labels if labels.dtype.kind in "iuU" else labels.astype(str)


def number_labels(labels: Array, classes: Sequence[str], place: str) -> Array:
    """Converts (n_rows,) cleaned labels to (n_rows,) int32 class numbers.

    Raises:
        DataError: Labels that do not occur in training.
    """
    unique, inverse = np.unique(labels, return_inverse=True)
    position = {name: number for number, name in enumerate(classes)}
    unknown = [repr(str(label)) for label in unique if str(label) not in position]
    if unknown:
        raise DataError(f"{place}: every label must occur in training, got {listed(unknown)}: drop those rows")
    return np.array([position[str(label)] for label in unique], dtype=np.int32)[inverse]


@dataclass(frozen=True, slots=True, eq=False)
class Shares:
    """Row numbers of each split, (n,) each; ``test`` is empty if the source has its own test rows."""

    training: Array
    validation: Array
    test: Array


def share_rows(numbers: Array, classes: Sequence[str], config: DataConfig, with_test: bool, place: str) -> Shares:
    """Splits rows at random with the classes in proportion, the same way on every machine.

    Args:
        numbers: (n_rows,) class numbers.
        classes: One name per class number.
        config: The shares and the seed.
        with_test: Whether a share of these rows becomes the test split.
        place: Name of the labels in errors.

    Raises:
        DataError: There is one class only, or a class has too few rows for every split.
    """
    if len(classes) < 2:
        raise DataError(f"{place}: must hold at least two classes, got {classes[0]!r} alone")
    counts, required = np.bincount(numbers), 3 if with_test else 2
    rare = [f"{name!r} ({count})" for name, count in zip(classes, counts, strict=True) if count < required]
    if rare:
        rule = f"every class must have at least {required} rows, one for each split"
        raise DataError(f"{place}: {rule}, got {listed(rare)}: add rows, drop or merge the class")
    rows, test = np.arange(len(numbers)), np.empty(0, dtype=np.int64)
    if with_test:
        rows, test = _cut(rows, numbers, "test_fraction", config.test_fraction, config.split_seed)
    training, validation = _cut(rows, numbers, "validation_fraction", config.validation_fraction, config.split_seed)
    lost = [repr(classes[number]) for number in np.setdiff1d(numbers, numbers[training])]
    if lost:
        raise DataError(f"{place}: every class must have training rows, got none of {listed(lost)}: {_LOWER}")
    return Shares(training, validation, test)


def _cut(rows: Array, numbers: Array, name: str, fraction: float, seed: int) -> tuple[Array, Array]:
    from sklearn.model_selection import train_test_split

    labels = numbers[rows]
    try:
        kept, held_back = train_test_split(rows, test_size=fraction, stratify=labels, random_state=seed)
    except ValueError as error:
        found = f"{fraction} of {len(rows)} rows ({error})"
        raise DataError(f"data.{name}: both sides must have room for every class, got {found}: {_LOWER}") from error
    return kept, held_back


def listed(names: Sequence[str]) -> str:
    """Lists the first names and the number of the others."""
    more = f" and {len(names) - _N_LISTED} more" if len(names) > _N_LISTED else ""
    return ", ".join(names[:_N_LISTED]) + more
