"""Splits rows at random, with the classes or the quantiles of the target in proportion."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipelines.config import DataConfig
from pipelines.data.targets import listed
from pipelines.errors import DataError
from pipelines.files.archives import Array

if TYPE_CHECKING:
    import pandas as pd

_N_FOLDS = 20
_N_BINS, _ROWS_PER_BIN = 10, 20
_LOWER = "choose fractions near 0.2"


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


def quantile_bins(values: Array) -> Array:
    """Returns (n_rows,) int32 numbers of bins of a regression's target with about as many rows each."""
    n_bins = max(1, min(_N_BINS, len(values) // _ROWS_PER_BIN))
    edges = np.quantile(values, np.linspace(0, 1, n_bins + 1)[1:-1])
    return np.unique(np.searchsorted(edges, values), return_inverse=True)[1].astype(np.int32)


def share_rows(
    numbers: Array,
    classes: Sequence[str] | None,
    config: DataConfig,
    place: str,
    *,
    with_test: bool = True,
    n_own_validation: int | None = None,
    groups: Array | None = None,
) -> Shares:
    """Splits rows at random with the classes in proportion, the same way on every machine.

    Args:
        numbers: (n_rows,) class numbers, or those of ``quantile_bins``.
        classes: One name per class number; None for bins, which need not reach every split.
        config: The shares and the seed.
        place: Name of the labels in errors.
        with_test: Whether a share of these rows becomes the test split.
        n_own_validation: How many of the last rows are the validation split; None where a share of the others is.
        groups: (n_rows,) values; rows with equal ones stay in one split.

    Raises:
        DataError: There is one class only, or a class has too few rows for every split.
    """
    n_rows = len(numbers) - (n_own_validation or 0)
    if classes is not None:
        required = 1 + with_test + (n_own_validation is None)
        _require_rows(np.bincount(numbers[:n_rows], minlength=len(classes)), classes, required, place)
    rows, test = np.arange(n_rows), np.empty(0, dtype=np.int64)
    cut = _Cut(numbers, groups, config.split_seed)
    if with_test:
        rows, test = cut.in_two(rows, "test_fraction", config.test_fraction, 1 + (n_own_validation is None))
    validation = np.arange(n_rows, len(numbers))
    if n_own_validation is None:
        rows, validation = cut.in_two(rows, "validation_fraction", config.validation_fraction, 1)
    shares = Shares(rows, validation, test, cut.n_swapped)
    if classes is not None:
        _require_everywhere(shares, numbers, classes, place, own_validation=n_own_validation is not None)
    return shares


def _require_rows(counts: Array, classes: Sequence[str], required: int, place: str) -> None:
    if len(classes) < 2:
        raise DataError(f"{place}: must hold at least two classes, got {classes[0]!r} alone")
    rare = [f"{name!r} ({count})" for name, count in zip(classes, counts, strict=True) if count < required]
    if rare:
        rule = f"every class must have at least {required} rows, one for each split"
        raise DataError(f"{place}: {rule}, got {listed(rare)}: add rows, drop or merge the class")


def _require_everywhere(
    shares: Shares, numbers: Array, classes: Sequence[str], place: str, *, own_validation: bool
) -> None:
    for name, split in (("training", shares.training), ("validation", shares.validation), ("test", shares.test)):
        lost = [repr(classes[number]) for number in np.setdiff1d(numbers, numbers[split])]
        if lost and len(split) and (name == "training" or not own_validation):
            raise DataError(f"{place}: every class must have {name} rows, got none of {listed(lost)}: {_LOWER}")


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
