"""Converts labels to class numbers, and splits rows with the classes in proportion."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipelines.config import DataConfig
from pipelines.errors import DataError
from pipelines.files.archives import Array

if TYPE_CHECKING:
    import pandas as pd

    from pipelines.files.text_forms import Series

_N_LISTED = 5
_N_FOLDS = 20
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
    """Converts (n_rows,) or (n_rows, 1) labels to (n_rows,) integers, or texts without blanks around them.

    Raises:
        DataError: Numbers that are not whole, texts that are not UTF-8, or missing labels.
    """
    labels = labels.reshape(-1)
    if labels.dtype.kind == "f":
        n_missing = np.count_nonzero(np.isnan(labels))
        if n_missing:
            raise DataError(f"{place}: every row must have a label, got {n_missing} NaN: fill or drop them")
        whole = np.isfinite(labels) & (labels == np.floor(labels)) & (np.abs(labels) < 2**53)
        if not whole.all():
            found = f"{labels[~whole][0]} ({np.count_nonzero(~whole)} such rows)"
            raise DataError(f"{place}: labels must be whole numbers or text, got {found}: cut a quantity into classes")
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


@dataclass(frozen=True, slots=True, eq=False)
class Shares:
    """Row numbers of each split, (n,) each; ``test`` is empty if the source has its own test rows.

    ``n_swapped`` rows were exchanged so that a rare class reaches every split.
    """

    training: Array
    validation: Array
    test: Array
    n_swapped: int = 0


def hash_rows(rows: Array | pd.DataFrame) -> Array:
    """Returns (n_rows,) hashes; equal rows have equal ones."""
    if isinstance(rows, np.ndarray):
        return np.array([hash(row.tobytes()) for row in rows])
    import pandas as pd

    return pd.util.hash_pandas_object(rows, index=False).to_numpy()


def share_rows(
    numbers: Array,
    classes: Sequence[str],
    config: DataConfig,
    place: str,
    *,
    with_test: bool = True,
    n_own_validation: int | None = None,
    groups: Array | None = None,
) -> Shares:
    """Splits rows at random with the classes in proportion, the same way on every machine.

    Args:
        numbers: (n_rows,) class numbers.
        classes: One name per class number.
        config: The shares and the seed.
        place: Name of the labels in errors.
        with_test: Whether a share of these rows becomes the test split.
        n_own_validation: How many of the last rows are the validation split; None where a share of the others is.
        groups: (n_rows,) values; rows with equal ones stay in one split.

    Raises:
        DataError: There is one class only, or a class has too few rows for every split.
    """
    if len(classes) < 2:
        raise DataError(f"{place}: must hold at least two classes, got {classes[0]!r} alone")
    n_rows = len(numbers) - (n_own_validation or 0)
    counts, required = np.bincount(numbers[:n_rows], minlength=len(classes)), 1 + with_test + (n_own_validation is None)
    rare = [f"{name!r} ({count})" for name, count in zip(classes, counts, strict=True) if count < required]
    if rare:
        rule = f"every class must have at least {required} rows, one for each split"
        raise DataError(f"{place}: {rule}, got {listed(rare)}: add rows, drop or merge the class")
    rows, test = np.arange(n_rows), np.empty(0, dtype=np.int64)
    cut = _Cut(numbers, groups, config.split_seed)
    if with_test:
        rows, test = cut.in_two(rows, "test_fraction", config.test_fraction, 1 + (n_own_validation is None))
    validation = np.arange(n_rows, len(numbers))
    if n_own_validation is None:
        rows, validation = cut.in_two(rows, "validation_fraction", config.validation_fraction, 1)
    for name, split in (("training", rows), ("validation", validation), ("test", test)):
        lost = [repr(classes[number]) for number in np.setdiff1d(numbers, numbers[split])]
        if lost and len(split) and (name == "training" or n_own_validation is None):
            raise DataError(f"{place}: every class must have {name} rows, got none of {listed(lost)}: {_LOWER}")
    return Shares(rows, validation, test, cut.n_swapped)


@dataclass(slots=True)
class _Cut:
    """Cuts rows in two, with every class on both sides."""

    numbers: Array
    groups: Array | None
    seed: int
    n_swapped: int = 0

    def in_two(self, rows: Array, name: str, fraction: float, required: int) -> tuple[Array, Array]:
        """Returns the rows that are kept, at least ``required`` of every class, and those that are held back."""
        from sklearn.model_selection import train_test_split

        try:
            if self.groups is not None:
                return self._cut_groups(rows, fraction, self.groups[rows])
            labels = self.numbers[rows]
            kept, held_back = train_test_split(rows, test_size=fraction, stratify=labels, random_state=self.seed)
        except ValueError as error:
            found = f"{fraction} of {len(rows)} rows ({error})"
            raise DataError(f"data.{name}: both sides must have room for every class, got {found}: {_LOWER}") from error
        for number in np.unique(labels):
            self._swap(kept, held_back, number, 1)
            self._swap(held_back, kept, number, required)
        return kept, held_back

    def _swap(self, giving: Array, taking: Array, number: int, required: int) -> None:
        """Exchanges rows in place until ``taking`` has the required rows of a class whose share rounds to fewer."""
        for _ in range(required - np.count_nonzero(self.numbers[taking] == number)):
            largest = np.bincount(self.numbers[taking]).argmax()
            there = np.flatnonzero(self.numbers[giving] == number)[0]
            here = np.flatnonzero(self.numbers[taking] == largest)[0]
            giving[there], taking[here] = taking[here], giving[there]
            self.n_swapped += 1

    def _cut_groups(self, rows: Array, fraction: float, groups: Array) -> tuple[Array, Array]:
        """Keeps the rows of a group on one side; sizes and classes are as near to the fraction as groups allow."""
        from sklearn.model_selection import StratifiedGroupKFold

        labels = self.numbers[rows]
        n_folds = min(_N_FOLDS, len(np.unique(groups)), np.bincount(labels).max())
        with warnings.catch_warnings(action="ignore"):  # of classes with fewer rows than folds
            folds = StratifiedGroupKFold(n_folds, shuffle=True, random_state=self.seed).split(rows, labels, groups)
            held_back = np.concatenate([fold for _, fold in folds][: max(1, round(fraction * n_folds))])
        return np.delete(rows, held_back), rows[np.sort(held_back)]


def listed(names: Sequence[str]) -> str:
    """Lists the first names and the number of the others."""
    more = f" and {len(names) - _N_LISTED} more" if len(names) > _N_LISTED else ""
    return ", ".join(names[:_N_LISTED]) + more
