"""Answers for rows of folds come from the network that was not trained on them."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.config import DataConfig, Hyperparameters
from pipelines.data.loading import load
from pipelines.evaluation.predictor import ModelRecord, Predictor
from pipelines.training.history import sha256
from pipelines.training.model import build_model, to_h5
from pipelines.training.rows import TrainingRows
from pipelines.training.training import Training

HP = Hyperparameters(width=16, depth=1, epochs=1)


@pytest.mark.filterwarnings("error:The structure of `inputs`")  # Keras would print it to the user
def test_each_row_is_answered_by_the_network_of_its_fold() -> None:
    dataset = load(DataConfig("digits", folds=3))
    training = Training(TrainingRows.of(dataset), HP, 1)
    for _ in training:
        pass
    content = to_h5(build_model(HP, dataset.preprocessing, training.results[0].best))
    predictor = Predictor.load(content, ModelRecord(dataset.preprocessing, (0, 16), sha256(content)))
    found = predictor.of_folds(dataset.scored.x, dataset.fold_of)
    assert found.shape == (len(dataset.fold_of), 10)
    for answers in training.answers(0, training.results[0].best):
        np.testing.assert_allclose(found[answers.rows], answers.predicted, atol=1e-5)
    assert np.abs(found - predictor.probabilities(dataset.scored.x)).max() > 0.01
