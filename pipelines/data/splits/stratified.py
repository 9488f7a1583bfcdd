"""Draws rows at random with their classes in proportion, with little more memory than the numbers of the rows."""

from __future__ import annotations

import math

import numpy as np

from pipelines.files.archives import Array


def draw_in_proportion(labels: Array, fraction: float, seed: int) -> tuple[Array, Array]:
    """Returns the numbers of the rows that are kept and of those that are held back, in random order.

    They are those of scikit-learn's ``train_test_split`` with ``stratify``, which holds a Python object for each row.
    Source: ``StratifiedShuffleSplit`` in ``sklearn/model_selection/_split.py``, version 1.9.

    Args:
        labels: (n_rows,) class numbers.
        fraction: Share that is held back.
        seed: Seed of the random numbers.

    Raises:
        ValueError: A class has one row, or a side is too small for every class.
    """
    n_held_back = math.ceil(fraction * len(labels))
    n_kept = len(labels) - n_held_back
    counts = np.bincount(labels)
    counts = counts[counts > 0]
    _require_room(counts, n_kept, n_held_back)
    small = np.int32 if len(labels) < 2**31 else np.int64
    order = np.argsort(labels, kind="stable").astype(small)
    random = np.random.RandomState(seed)
    kept_counts = _in_proportion(counts, n_kept, random)
    held_back_counts = _in_proportion(counts - kept_counts, n_held_back, random)
    kept, held_back = np.empty(n_kept, small), np.empty(n_held_back, small)
    start, n_kept, n_held_back = 0, 0, 0
    for count, n, m in zip(counts, kept_counts, held_back_counts, strict=True):
        rows = order[start : start + count]
        random.shuffle(rows)
        kept[n_kept : n_kept + n], held_back[n_held_back : n_held_back + m] = rows[:n], rows[n : n + m]
        start, n_kept, n_held_back = start + count, n_kept + n, n_held_back + m
    random.shuffle(kept)
    random.shuffle(held_back)
    return kept, held_back


def can_be_drawn(counts: Array, fraction: float) -> bool:
    """Whether each class, of which there are (n_classes,) rows, has room on both sides of a draw."""
    n_held_back = math.ceil(fraction * counts.sum())
    return bool(counts.min() >= 2 and min(n_held_back, counts.sum() - n_held_back) >= len(counts))


def _require_room(counts: Array, n_kept: int, n_held_back: int) -> None:
    if counts.min() < 2:
        raise ValueError("a class has one row alone")
    for n_rows, side in ((n_kept, "kept"), (n_held_back, "held back")):
        if n_rows < len(counts):
            raise ValueError(f"{n_rows} would be {side}, of {len(counts)} classes")


def _in_proportion(counts: Array, n_drawn: int, random: np.random.RandomState) -> Array:
    """Returns how many rows of each class are drawn; ties between equal remainders are broken at random."""
    exact = counts / counts.sum() * n_drawn
    drawn = np.floor(exact)
    remainders = exact - drawn
    n_missing = int(n_drawn - drawn.sum())
    for remainder in np.unique(remainders)[::-1]:
        if n_missing <= 0:
            break
        (tied,) = np.where(remainders == remainder)
        n_added = min(len(tied), n_missing)
        drawn[random.choice(tied, size=n_added, replace=False)] += 1
        n_missing -= n_added
    return np.asarray(drawn, dtype=int)
