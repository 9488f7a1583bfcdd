"""Splits rows: at random with the classes or the quantiles of the target in proportion, by time, or as told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipelines.config import DataConfig
from pipelines.data.splits.grouped import hold_back_groups, hold_back_largest
from pipelines.data.splits.requirements import (
    SPLITS,
    require_apart,
    require_everywhere,
    require_groups,
    require_groups_of_classes,
    require_rows,
    require_two,
)
from pipelines.data.splits.stratified import draw_in_proportion
from pipelines.errors import DataError
from pipelines.files.archives import Array
from pipelines.files.roles import TEST, TRAINING, VALIDATION, Roles
from pipelines.files.tables import LargeTable, Table

_N_BINS, _ROWS_PER_BIN = 10, 20
_HASHED_ROWS = 1 << 20
_ROOM = "choose a fraction nearer to 0.5, add rows, or merge classes"


@dataclass(frozen=True, slots=True, eq=False)
class Shares:
    """Row numbers of each split, (n,) each; ``test`` is empty if the source has its own test rows.

    ``n_swapped`` rows were exchanged so that a rare class reaches every split. ``fold_of`` is that of a ``Dataset``.
    """

    training: Array
    validation: Array
    test: Array
    n_swapped: int = 0
    fold_of: Array | None = None

    @property
    def n_folds(self) -> int:
        """Number of folds; 1 for one split."""
        return 1 if self.fold_of is None else int(self.fold_of.max()) + 1

    @property
    def learned_from(self) -> Array:
        """Row numbers that preprocessing is learned from: the training rows; with folds, all but the test rows."""
        return self.training if self.fold_of is None else np.concatenate([self.training, self.validation])


def hash_rows(rows: Array | Table) -> Array:
    """Returns (n_rows,) hashes; equal rows have equal ones. Values of nested columns have no hash and do not count."""
    if isinstance(rows, np.ndarray):
        return np.array([hash(row.tobytes()) for row in rows])
    import pandas as pd

    if nested := [name for name in rows.attrs.get("nested", ()) if name in rows.columns]:
        rows = rows.drop(columns=nested)
    if not len(rows.columns):
        return np.zeros(len(rows), np.uint64)
    if isinstance(rows, LargeTable):
        parts = rows.parts(rows.columns, date_as_object=True)
    else:  # in pieces: the hashes of all columns at once would take as much memory as the rows
        parts = (rows.iloc[start : start + _HASHED_ROWS] for start in range(0, len(rows), _HASHED_ROWS))
    hashes = np.empty(len(rows), np.uint64)
    start = 0
    for part in parts:
        hashes[start : start + len(part)] = pd.util.hash_pandas_object(part, index=False)
        start += len(part)
    return hashes


def _small(rows: Array) -> Array:
    """Returns row numbers with half of the memory where they are small enough."""
    return rows.astype(np.int32) if rows.max(initial=0) < 2**31 else rows


def quantile_bins(values: Array, *, merge: bool = False) -> Array:
    """Returns (n_rows,) int32 numbers of bins of a regression's target with about as many rows each.

    ``merge`` joins a bin of one row, such as that of the highest count, with the next lower one.
    """
    n_bins = max(1, min(_N_BINS, len(values) // _ROWS_PER_BIN))
    edges = np.quantile(values, np.linspace(0, 1, n_bins + 1)[1:-1])
    numbers = np.searchsorted(edges, values).astype(np.int32)
    is_used = np.bincount(numbers, minlength=n_bins) > 0
    numbers = (np.cumsum(is_used, dtype=np.int32) - 1)[numbers]
    counts = np.bincount(numbers)
    while merge and len(counts) > 1 and counts.min() == 1:
        numbers[numbers >= max(int(counts.argmin()), 1)] -= 1
        counts = np.bincount(numbers)
    return numbers


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
    validation = None if n_own_validation is None else np.arange(n_rows, len(numbers))
    given = _Given(_small(np.arange(n_rows)), validation, None if with_test else np.empty(0, dtype=np.int64))
    return _draw(given, _Cut(numbers, groups, config, classes is not None), classes, place)


def share_as_told(
    numbers: Array, classes: Sequence[str] | None, config: DataConfig, place: str, roles: Roles
) -> Shares:
    """Splits rows as the file says; without validation or test rows a share of the training rows is drawn.

    The parameters and errors are those of ``share_rows``, and ``roles.split`` says what each row is.
    """
    training, validation, test = (_small(np.flatnonzero(roles.split == n)) for n in (TRAINING, VALIDATION, TEST))
    given = _Given(training, validation if len(validation) else None, test if len(test) else None)
    shares = _draw(given, _Cut(numbers, roles.group, config, classes is not None), classes, place)
    if roles.group is not None:
        require_apart(shares, roles.group)
    return shares


def share_by_time(
    numbers: Array, classes: Sequence[str] | None, config: DataConfig, place: str, times: Array
) -> Shares:
    """Splits rows by their times: training before validation before test; equal times stay in one split.

    The parameters and errors are those of ``share_rows``, and ``times`` are (n_rows,).
    """
    n_times = len(np.unique(times))
    if n_times < len(SPLITS):
        rule = f"must hold at least {len(SPLITS)} different times, one for each split"
        raise DataError(f"data.time: {rule}, got {n_times}: use another column")
    rows, test = _cut_late(np.argsort(times, kind="stable"), times, config.test_fraction, 2)
    training, validation = _cut_late(rows, times, config.validation_fraction, 1)
    training, validation, test = (_small(np.sort(rows)) for rows in (training, validation, test))
    shares = Shares(training, validation, test)
    if classes is not None:
        require_two(classes, place)
        require_everywhere(shares, numbers, classes, ("training",), f"{place}, by data.time")
    return shares


def _cut_late(rows: Array, times: Array, fraction: float, n_kept: int) -> tuple[Array, Array]:
    """Cuts rows that are in the order of their times where two differ, as near to the fraction as that allows.

    At least ``n_kept`` different times are kept.
    """
    edges = np.flatnonzero(np.diff(times[rows]))[n_kept - 1 :] + 1
    edge = edges[np.argmin(np.abs(edges - (1 - fraction) * len(rows)))]
    return rows[:edge], rows[edge:]


@dataclass(frozen=True, slots=True, eq=False)
class _Given:
    """Rows of each split before any is drawn from ``training``; None where its rows are to be drawn."""

    training: Array
    validation: Array | None
    test: Array | None


def _draw(given: _Given, cut: _Cut, classes: Sequence[str] | None, place: str) -> Shares:
    """Draws the splits that are not given."""
    drawn = [name for name in ("validation", "test") if getattr(given, name) is None]
    if classes is not None:
        counts = np.bincount(cut.numbers[given.training], minlength=len(classes))
        require_rows(counts, classes, 1 + len(drawn), place)
    if cut.groups is not None and drawn:
        require_groups(len(np.unique(cut.groups[given.training])), 1 + len(drawn), cut.config)
        if classes is not None:
            rows = given.training
            require_groups_of_classes(cut.groups[rows], cut.numbers[rows], classes, 1 + len(drawn), place)
    rows, test, validation = given.training, given.test, given.validation
    if test is None:
        rows, test = cut.in_two(rows, "test_fraction", 1 + (validation is None))
    if validation is None:
        rows, validation = cut.in_two(rows, "validation_fraction", 1)
    shares = Shares(rows, validation, test, cut.n_swapped)
    if classes is not None:
        remedy = _ROOM if cut.groups is None else "choose another data.split_seed, or merge classes"
        require_everywhere(shares, cut.numbers, classes, ("training", *drawn), place, remedy)
    return shares


@dataclass(slots=True)
class _Cut:
    """Cuts rows in two, with every class on both sides."""

    numbers: Array
    groups: Array | None
    config: DataConfig
    has_classes: bool
    n_swapped: int = 0

    def in_two(self, rows: Array, name: str, required: int) -> tuple[Array, Array]:
        """Returns the rows that are kept, at least ``required`` of every class, and those that are held back."""
        fraction, seed = getattr(self.config, name), self.config.split_seed
        try:
            if self.groups is not None:
                return self._cut_groups(rows, fraction, self.groups[rows], required)
            labels = self.numbers[rows]
            kept, held_back = (rows[drawn] for drawn in draw_in_proportion(labels, fraction, seed))
        except ValueError as error:
            found = f"{fraction} of {len(rows)} rows ({error})"
            rule = "both sides must have room for every class, or every quantile of a regression's target"
            raise DataError(f"data.{name}: {rule}, got {found}: {_ROOM}") from error
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

    def _cut_groups(self, rows: Array, fraction: float, groups: Array, required: int) -> tuple[Array, Array]:
        """Keeps the rows of a group on one side; their number and their classes are near to the fraction."""
        labels, seed = self.numbers[rows], self.config.split_seed
        if self.config.group_draw == "largest_first":
            held_back = hold_back_largest(labels, groups, fraction, seed, required)
        else:
            held_back = hold_back_groups(labels, groups, fraction, seed, required, every_class=self.has_classes)
        return rows[~held_back], rows[held_back]
