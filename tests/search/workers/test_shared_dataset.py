"""A dataset as another process of the machine, or of a Ray cluster, gets it."""

from __future__ import annotations

import pickle

import numpy as np

from pipelines.config import DataConfig
from pipelines.data.loading import load
from search.workers.shared_dataset import SharedDataset


def test_workers_get_the_folds() -> None:
    dataset = load(DataConfig("digits", folds=3))
    shared = SharedDataset(dataset)
    attach, arguments = shared.__reduce__()
    assert callable(attach)
    assert isinstance(arguments, tuple)
    copies = attach(*arguments), pickle.loads(pickle.dumps(dataset, protocol=5))
    shared.close()  # what is mapped stays
    for received in copies:
        assert received.n_folds == 3
        assert np.array_equal(received.fold_of, dataset.fold_of)
        assert np.array_equal(received.training.x, dataset.training.x)
