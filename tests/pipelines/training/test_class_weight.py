"""Losses weighted by class."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

from pipelines.data.datasets import Dataset, Split
from pipelines.data.preprocessing import Preprocessing
from pipelines.training.rows import TrainingRows

rng = np.random.default_rng(0)
LABELS = rng.choice(3, 90, p=[0.7, 0.2, 0.1]).astype(np.int32)


@pytest.mark.parametrize("weight", [None, rng.choice([0.0, 1.0, 5.0], 90).astype(np.float32)])
def test_balanced_classes_weigh_the_same(weight: np.ndarray | None) -> None:
    if weight is not None:
        weight = weight / weight.mean()
    split = Split(rng.normal(size=(90, 2)).astype(np.float32), LABELS, weight)
    dataset = Dataset("own", split, split, Preprocessing((2,), ("a", "b", "c"), 0.0, 1.0), "", 0)
    weighted = TrainingRows.of(dataset).weighted("balanced").training.weight
    own = np.ones(90) if weight is None else weight
    expected = own * compute_class_weight("balanced", classes=np.arange(3), y=LABELS, sample_weight=own)[LABELS]
    assert np.allclose(weighted.numpy(), expected, rtol=1e-5)
    assert np.allclose(np.bincount(LABELS, weighted.numpy()), 30, rtol=1e-5)
