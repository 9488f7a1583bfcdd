"""Labels as a file holds them -> class numbers, and rows -> stratified shares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.config import DataConfig
from pipelines.errors import DataError
from pipelines.files.archives import Array

if TYPE_CHECKING:
    import pandas as pd

_N_LISTED = 5
_LOWER = "bring the fractions nearer to 0.2"


def labels_of_column(column: pd.Series[Any], place: str) -> Array:
    """(n_rows,) labels of a table's target column, as ``clean_labels`` returns them.

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
    """(n_rows,) or (n_rows, 1) labels as (n_rows,) integers or texts.

    Raises:
        DataError: Numbers that are not whole.
    """
    labels = labels.reshape(-1)
    if labels.dtype.kind == "f":
        whole = np.isfinite(labels) & (labels == np.floor(labels)) & (np.abs(labels) < 2**53)
        if not whole.all():
            n_wrong, example = np.count_nonzero(~whole), labels[~whole][0]
            raise DataError(
                f"{place}: labels must be whole numbers or text, got {example} ({n_wrong} such rows): "
                "round them, or cut a quantity into classes"
            )
        return labels.astype(np.int64)
    if labels.dtype.kind == "S":
        return np.char.decode(labels, "utf-8", "replace")
    return labels if labels.dtype.kind in "iuU" else labels.astype(str)


def number_labels(labels: Array, classes: Sequence[str], place: str) -> Array:
    """(n_rows,) cleaned labels to (n_rows,) int32 class numbers.

    Raises:
        DataError: Labels that the training rows lack.
    """
    unique, inverse = np.unique(labels, return_inverse=True)
    position = {name: number for number, name in enumerate(classes)}
    unknown = [repr(str(label)) for label in unique if str(label) not in position]
    if unknown:
        raise DataError(f"{place}: every label must occur in training, got {listed(unknown)}: drop those rows")
    return np.array([position[str(label)] for label in unique], dtype=np.int32)[inverse]


@dataclass(frozen=True, slots=True, eq=False)
class Shares:
    """Which rows belong to which split, (n,) row numbers each; ``test`` is empty where it comes apart."""

    training: Array
    validation: Array
    test: Array


def share_rows(numbers: Array, classes: Sequence[str], config: DataConfig, seals: bool, place: str) -> Shares:
    """Split rows at random with the classes in proportion; the same rows on every machine.

    Args:
        numbers: (n_rows,) class numbers.
        classes: One name per class number.
        config: The shares and the seed.
        seals: Whether a share of these rows is the sealed test split.
        place: What an error calls the labels.

    Raises:
        DataError: One class only, or classes with too few rows to be in every split.
    """
    if len(classes) < 2:
        raise DataError(f"{place}: must hold at least two classes, got {classes[0]!r} alone")
    counts, required = np.bincount(numbers), 3 if seals else 2
    rare = [f"{name!r} ({count})" for name, count in zip(classes, counts, strict=True) if count < required]
    if rare:
        raise DataError(
            f"{place}: every class must have at least {required} rows, one for each split, "
            f"got {listed(rare)}: add rows, drop or merge the class"
        )
    rows, test = np.arange(len(numbers)), np.empty(0, dtype=np.int64)
    if seals:
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
        raise DataError(
            f"data.{name}: both sides must have room for every class, got {fraction} of {len(rows)} rows: "
            f"{_LOWER}, or add rows ({error})"
        ) from error
    return kept, held_back


def listed(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - _N_LISTED} more" if len(names) > _N_LISTED else ""
    return ", ".join(names[:_N_LISTED]) + more
