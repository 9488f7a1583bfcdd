"""Splits all rows but the test rows into folds, for cross-validation, and decides which sources have folds."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from pipelines.config import FEW_ROWS
from pipelines.data.splits.shares import Shares
from pipelines.data.targets import listed
from pipelines.errors import DataError
from pipelines.files.archives import Array

AUTOMATIC_FOLDS = 5

_AUTOMATIC = (
    "{}: the source has fewer than {:,} rows, so each trial trains {} networks, and its value is the mean over the"
    " folds; folds = 1 in [data] (--folds 1) makes one split"
)
_REMEDY = "choose fewer folds, or merge classes"


@dataclass(frozen=True, slots=True, eq=False)
class FoldRows:
    """The rows of which folds are made.

    Attributes:
        numbers: (n_rows,) class numbers, or those of ``quantile_bins``, of all rows of the source.
        classes: One name per class number; None for bins, which need not reach every fold.
        groups: (n_rows,) values; rows with equal ones stay in one fold. None where there are none.
        weight: (n_rows,) weights; None for equal ones.
        seed: Of the shuffling.
    """

    numbers: Array
    classes: Sequence[str] | None
    groups: Array | None
    weight: Array | None
    seed: int


def automatic_folds(n_rows: int) -> int:
    """Returns the number of folds of a source whose user chose none; 1 means one split.

    Args:
        n_rows: Of the source, test rows included.
    """
    return AUTOMATIC_FOLDS if n_rows < FEW_ROWS else 1


def in_folds(shares: Shares, rows: FoldRows, n_folds: int) -> Shares:
    """Splits training and validation rows into folds with the classes in proportion, the same on every machine.

    Args:
        shares: One split; its test rows stay as they are.
        rows: Of the source.
        n_folds: At least 2.

    Returns:
        The test rows, the rows of fold 0 as validation rows, and those of the other folds as training rows.

    Raises:
        DataError: A class, a group or a weight cannot be in as many folds.
    """
    pool = np.concatenate([shares.training, shares.validation])
    labels = rows.numbers[pool]
    groups = None if rows.groups is None else rows.groups[pool]
    _require_enough(labels, rows.classes, groups, n_folds)
    fold_of = _numbered(labels, groups, n_folds, rows.seed)
    _require_everywhere(fold_of, labels, None if rows.weight is None else rows.weight[pool], rows.classes, n_folds)
    held_out = fold_of == 0
    order = np.concatenate([np.flatnonzero(~held_out), np.flatnonzero(held_out)])
    n_training = len(pool) - np.count_nonzero(held_out)
    training, validation = np.split(pool[order], [n_training])
    return replace(shares, training=training, validation=validation, fold_of=fold_of[order])


def choose_folds(shares: Shares, rows: FoldRows, n_rows: int) -> tuple[Shares, list[str]]:
    """Makes the folds of a source whose user chose none: as many as its number of rows asks for and allows.

    Args:
        shares: One split.
        rows: Of the source.
        n_rows: Its number of rows, test rows included.

    Returns:
        The rows of each split, and a line that says so where there are folds or should be.
    """
    wanted = automatic_folds(n_rows)
    reason = ""
    for n_folds in range(wanted, 1, -1):
        try:
            found = in_folds(shares, rows, n_folds)
        except DataError as error:
            reason = reason or str(error).removeprefix("data.folds: ").removesuffix(f": {_REMEDY}")
            continue
        what = f"{n_folds} folds" + (f" instead of {wanted}, because {reason}" if reason else "")
        return found, [_AUTOMATIC.format(what, FEW_ROWS, n_folds)]
    return shares, [f"one split instead of {wanted} folds, because {reason}"] if reason else []


def _refused(rule: str, found: str) -> DataError:
    return DataError(f"data.folds: {rule}, got {found}: {_REMEDY}")


def _require_enough(labels: Array, classes: Sequence[str] | None, groups: Array | None, n_folds: int) -> None:
    """Checks that there are as many rows, rows of each class, and groups as folds."""
    if len(labels) < n_folds:
        raise _refused(f"{n_folds} folds must have a row each that is no test row", str(len(labels)))
    if classes is not None:
        counts = np.bincount(labels, minlength=len(classes))
        rare = [f"{name!r} ({count})" for name, count in zip(classes, counts, strict=True) if count < n_folds]
        if rare:
            rule = f"every class must have a row for each of {n_folds} folds beside its test rows"
            raise _refused(rule, listed(rare))
    if groups is not None and (n_groups := len(np.unique(groups))) < n_folds:
        raise _refused(f"{n_folds} folds must have a group of rows each beside the test rows", str(n_groups))


def _numbered(labels: Array, groups: Array | None, n_folds: int, seed: int) -> Array:
    """Returns the (n_rows,) int32 number of the fold of each row."""
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    if np.bincount(labels).max() < n_folds:  # bins of a target that are smaller than the number of folds
        labels = np.zeros_like(labels)
    kind = StratifiedKFold if groups is None else StratifiedGroupKFold
    splitter = kind(n_folds, shuffle=True, random_state=seed)
    fold_of = np.empty(len(labels), np.int32)
    with warnings.catch_warnings(action="ignore"):  # of bins with fewer rows than folds
        for number, (_, held_out) in enumerate(splitter.split(labels, labels, groups)):
            fold_of[held_out] = number
    return fold_of


def _require_everywhere(
    fold_of: Array, labels: Array, weight: Array | None, classes: Sequence[str] | None, n_folds: int
) -> None:
    """Checks that every fold has rows, of each class too, and that these have weights.

    Groups, which stay whole, may leave a fold without a class or without rows.
    """
    for name, kept in (("rows", None), ("rows with weights above 0", weight)):
        if name != "rows" and kept is None:
            continue
        counted = np.ones(len(labels), bool) if kept is None else kept > 0
        for number in range(n_folds):
            present = labels[counted & (fold_of == number)]
            lost = [] if classes is None else [repr(classes[i]) for i in np.setdiff1d(labels, present)]
            if lost:
                raise _refused(f"every class must have {name} in each of {n_folds} folds", f"none of {listed(lost)}")
            if not len(present):
                raise _refused(f"each of {n_folds} folds must have {name}", f"none in fold {number + 1}")
