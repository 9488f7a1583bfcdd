"""Requirements on classes, groups and weights for a split of the rows."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from pipelines.config import DataConfig
from pipelines.data.targets import advice, listed
from pipelines.errors import DataError
from pipelines.files.archives import Array

if TYPE_CHECKING:
    from pipelines.data.splits.shares import Shares

SPLITS = ("training", "validation", "test")


def require_groups(n_groups: int, required: int, config: DataConfig) -> None:
    """Raises an error where there are fewer groups than splits, of (n_groups) different values."""
    if n_groups >= required:
        return
    each = "one for each split"
    if config.duplicates == "group":
        raise DataError(f"data.duplicates: at least {required} rows must differ, {each}, got {n_groups}: leave it out")
    rule = f"must hold at least {required} different values, {each}"
    raise DataError(f"data.group: {rule}, got {n_groups}: use another column, or leave it out")


def require_groups_of_classes(groups: Array, numbers: Array, classes: Sequence[str], required: int, place: str) -> None:
    """Raises an error where a class is in fewer groups than splits, of (n_rows,) groups and class numbers."""
    _, group_of = np.unique(groups, return_inverse=True)
    pairs = np.unique(group_of.astype(np.int64) * len(classes) + numbers)
    counts = np.bincount(pairs % len(classes), minlength=len(classes))
    rare = [f"{name!r} ({count})" for name, count in zip(classes, counts, strict=True) if count < required]
    if rare:
        rule = f"every class must be in at least {required} groups of rows, one for each split"
        remedy = advice(classes, "add groups, drop or merge the class")
        raise DataError(f"{place}: {rule}, got {listed(rare)}: {remedy}")


def require_apart(shares: Shares, groups: Array) -> None:
    """Raises an error where rows of one group are in two splits."""
    for one, other in combinations(SPLITS, 2):
        both = np.intersect1d(groups[getattr(shares, one)], groups[getattr(shares, other)])
        if len(both):
            found = listed([repr(str(group)) for group in both])
            rule = "rows of one group (data.group) must be in one split"
            raise DataError(f"data.split: {rule}, got {found} in {one} and {other} rows: correct them")


def require_weights(source_weight: Array | None, numbers: Array, classes: Sequence[str], shares: Shares) -> None:
    """Checks that each split, and each class in it, has a row with a weight.

    Args:
        source_weight: (n_rows,) weights; None for equal ones.
        numbers: (n_rows,) class numbers.
        classes: One name per class number; empty for a regression.
        shares: Row numbers of each split.

    Raises:
        DataError: All weights of a split, or of a class in it, are 0.
    """
    if source_weight is None:
        return
    for split in SPLITS:
        rows = getattr(shares, split)
        require_split_weights(source_weight[rows], numbers[rows], classes, split)


def require_split_weights(weight: Array, numbers: Array, classes: Sequence[str], split: str) -> None:
    """``require_weights`` of one split: (n_rows,) weights and class numbers of its rows."""
    if len(weight) and not weight.any():
        raise DataError(
            f"data.weight: {split} rows must have weights above 0, got 0 in all {len(weight)}: correct them"
        )
    present: list[int] = np.unique(numbers).tolist() if classes else []
    lost = [repr(classes[number]) for number in present if not weight[numbers == number].any()]
    if lost:
        rule = f"each class must have {split} rows with weights above 0"
        raise DataError(f"data.weight: {rule}, got none of {listed(lost)}: correct the weights, or drop the class")


def require_two(classes: Sequence[str], place: str) -> None:
    """Raises an error where there is one class alone."""
    if len(classes) < 2:
        rule = "must hold at least two classes"
        raise DataError(f"{place}: {rule}, got {classes[0]!r} alone: choose another target, or add rows")


def require_rows(counts: Array, classes: Sequence[str], required: int, place: str) -> None:
    """Raises an error where a class has fewer rows than splits need, of the (n_classes,) numbers of rows."""
    require_two(classes, place)
    rare = [f"{name!r} ({count})" for name, count in zip(classes, counts, strict=True) if count < required]
    if rare:
        rule = f"every class must have at least {required} rows, one for each split"
        if required == 1:
            rule = "every class must have a training row"
        remedy = advice(classes, "add rows, drop or merge the class")
        raise DataError(f"{place}: {rule}, got {listed(rare)}: {remedy}")


def require_everywhere(
    shares: Shares,
    numbers: Array,
    classes: Sequence[str],
    splits: Sequence[str],
    place: str,
    remedy: str = "drop those rows, or merge classes",
) -> None:
    """Raises an error where a class has no row in one of some splits."""
    for name in splits:
        lost = [repr(classes[number]) for number in np.setdiff1d(numbers, numbers[getattr(shares, name)])]
        if lost:
            found = f"got none of {listed(lost)}: {advice(classes, remedy)}"
            raise DataError(f"{place}: every class must have {name} rows, {found}")
