"""Rows are drawn as scikit-learn draws them, without its memory."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.model_selection import train_test_split

from pipelines.data.splits.stratified import draw_in_proportion

RANDOM = np.random.default_rng(0)
SHARES = {
    "two equal classes": [50, 50],
    "ties between remainders": [7, 7, 7, 7],
    "rare": [2, 2, 300],
    "a class without rows": [10, 0, 25],
    "many": RANDOM.integers(2, 40, 60).tolist(),
}


@pytest.mark.parametrize("counts", SHARES.values(), ids=SHARES)
@pytest.mark.parametrize("fraction", [0.2, 0.5, 0.37])
def test_the_rows_are_those_of_scikit_learn(counts: list[int], fraction: float):
    labels = RANDOM.permutation(np.repeat(np.arange(len(counts)), counts)).astype(np.int32)
    for seed in range(5):
        expected = train_test_split(np.arange(len(labels)), test_size=fraction, stratify=labels, random_state=seed)
        for drawn, rows in zip(draw_in_proportion(labels, fraction, seed), expected, strict=True):
            assert drawn.tolist() == rows.tolist()


@pytest.mark.parametrize(
    ("labels", "fraction", "problem"),
    [
        ([0, 0, 0, 1], 0.5, "a class has one row alone"),
        ([0, 0, 1, 1], 0.1, "1 would be held back, of 2 classes"),
        ([0, 0, 1, 1], 0.9, "0 would be kept, of 2 classes"),
    ],
)
def test_both_sides_have_room_for_every_class(labels: list[int], fraction: float, problem: str):
    with pytest.raises(ValueError, match=problem):
        draw_in_proportion(np.array(labels), fraction, 0)
