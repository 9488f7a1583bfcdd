"""Validation and test rows are drawn by group at random, near to their shares, with every class where groups allow."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, strategies as st

from pipelines.config import DataConfig
from pipelines.data.splits import Shares, share_rows
from pipelines.data.splits.grouped import hold_back_groups
from pipelines.errors import DataError

CONFIG = DataConfig("x")


def split(sizes: list[int], n_classes: int, config: DataConfig = CONFIG) -> tuple[np.ndarray, Shares]:
    """Groups of these sizes, with classes at random, and their rows' splits."""
    groups = np.repeat(np.arange(len(sizes)), sizes)
    numbers = np.random.default_rng(0).integers(0, n_classes, len(groups))
    classes = [str(number) for number in range(n_classes)]
    return groups, share_rows(numbers, classes, config, "labels", groups=groups)


def members(groups: np.ndarray, shares: Shares) -> list[frozenset[int]]:
    return [frozenset(groups[rows].tolist()) for rows in (shares.training, shares.validation, shares.test)]


@pytest.mark.parametrize(
    "sizes", [[200, 100, 60, 40, 40, 30, 20, 10], [600, *[10] * 40], [25] * 20], ids=["unequal", "one-large", "equal"]
)
def test_sizes_are_near_to_the_shares_and_the_seed_chooses_the_groups(sizes: list[int]):
    drawn = set()
    for seed in range(10):
        groups, shares = split(sizes, 2, replace(CONFIG, split_seed=seed))
        parts = members(groups, shares)
        assert sum(map(len, parts)) == len(frozenset.union(*parts)) == len(sizes)
        n_known = len(groups) - len(shares.test)
        assert len(shares.test) / len(groups) == pytest.approx(0.2, rel=0.26)
        assert len(shares.validation) / n_known == pytest.approx(0.2, rel=0.26)
        drawn.add(parts[2])
    assert len(drawn) > 3


def test_single_rows_are_drawn_with_their_classes_in_proportion():
    """As rows of ``duplicates = "group"`` that are all different, in any number."""
    numbers = np.random.default_rng(1).choice(3, 20_000, p=[0.9, 0.09, 0.01])
    held_back = hold_back_groups(numbers, np.arange(20_000), 0.2, 0, 2, every_class=True)
    counts, drawn = np.bincount(numbers), np.bincount(numbers[held_back])
    assert np.all(np.abs(drawn - 0.2 * counts) <= 1)


@given(
    sizes=st.lists(st.integers(1, 40), min_size=3, max_size=30),
    fraction=st.floats(0.05, 0.95),
    required=st.integers(1, 2),
    n_classes=st.integers(1, 5),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_draw_keeps_groups_whole_and_some_on_both_sides(
    sizes: list[int], fraction: float, required: int, n_classes: int, seed: int
):
    groups = np.repeat(np.arange(len(sizes)), sizes)
    labels = np.random.default_rng(seed).integers(0, n_classes, len(groups))
    for every_class in (True, False):
        held_back = hold_back_groups(labels, groups, fraction, seed, required, every_class=every_class)
        there, kept = set(groups[held_back].tolist()), set(groups[~held_back].tolist())
        assert there
        assert len(kept) >= required
        assert not there & kept
        again = hold_back_groups(labels, groups, fraction, seed, required, every_class=every_class)
        assert np.array_equal(held_back, again)


@pytest.mark.parametrize("rows_of_each", [1, 10])
@pytest.mark.parametrize("seed", range(5))
def test_a_class_of_three_groups_reaches_every_split(rows_of_each: int, seed: int):
    groups = np.r_[np.repeat(np.arange(60), 5), 100 + np.repeat(np.arange(3), rows_of_each)]
    numbers = np.where(groups < 100, groups % 2, 2)
    config = replace(CONFIG, split_seed=seed)
    shares = share_rows(numbers, ["a", "b", "rare"], config, "labels", groups=groups)
    for rows in (shares.training, shares.validation, shares.test):
        assert set(numbers[rows]) == {0, 1, 2}


def test_a_class_of_two_groups_is_refused():
    groups = np.r_[np.repeat(np.arange(60), 5), np.repeat([100, 101], 10)]
    numbers = np.where(groups < 100, groups % 2, 2)
    rule = r"every class must be in at least 3 groups of rows, one for each split, got '2' \(2\): add groups"
    with pytest.raises(DataError, match=rule):
        share_rows(numbers, ["0", "1", "2"], CONFIG, "labels", groups=groups)


@pytest.mark.parametrize(("seed", "digest"), [(0, "e323f0b9b0647858"), (1, "1a94dc613f02ee09")])
def test_the_draw_of_earlier_versions_is_kept_for_their_studies(seed: int, digest: str):
    """Their test rows must stay theirs. The digests are those of the rows that such a version drew."""
    sizes = np.random.default_rng(1).integers(1, 30, 60).tolist()
    _, shares = split(sizes, 3, replace(CONFIG, split_seed=seed, group_draw="largest_first"))
    rows = np.concatenate([shares.training, shares.validation, shares.test])
    assert hashlib.sha256(rows.astype(np.int64).tobytes()).hexdigest()[:16] == digest
