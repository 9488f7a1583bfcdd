"""The record of the meaning of a promoted model's predictions."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from pipelines.data.datasets import Dataset
from pipelines.evaluation.decisions import ResidualInterval, Threshold
from pipelines.evaluation.predictor import ModelRecord, Predictor
from pipelines.files.pictures import value_range
from search.finals.winner import Winner, fetch_model, measured_winner
from search.home.settings import Settings
from search.home.startup import prepare_inference
from search.optimization.leaderboard import objective_of
from search.storage.stored_study import StoredStudy
from search.tracking.entries import MODEL_FILE

if TYPE_CHECKING:
    from mlflow import MlflowClient


def make_record(
    client: MlflowClient, settings: Settings, study: StoredStudy, winner: Winner, dataset: Dataset
) -> ModelRecord:
    """The record that is saved beside a winner's model file.

    A regression's has the interval of its predictions, that of two classes a threshold; both from the validation rows.
    With folds they are from all rows, each predicted by the network that was not trained on it.

    Raises:
        InputError: The model file was changed.
        UnavailableError: MLflow does not have the file.
    """
    validation, preprocessing = dataset.scored, dataset.preprocessing
    plain = ModelRecord(preprocessing, value_range(dataset.fitted.x), winner.model_sha256)
    if preprocessing.target is None and dataset.n_outputs != 2:
        return plain
    measured = measured_winner(study, winner)
    content = fetch_model(client, settings.spool, study.study_name, measured)
    prepare_inference()
    place = f"{MODEL_FILE} of run {measured.run_id}"
    predictor = Predictor.load(content, replace(plain, model_sha256=measured.model_sha256), place)
    fold_of = dataset.fold_of
    outputs = predictor.probabilities(validation.x) if fold_of is None else predictor.of_folds(validation.x, fold_of)
    if preprocessing.target is None:
        metric = objective_of(study.user_attrs).metric
        return replace(plain, threshold=Threshold.learn(outputs[:, 1], validation.y, metric, validation.weight))
    with np.errstate(divide="ignore"):
        predicted = preprocessing.target.encode(outputs[:, 0].astype(np.float64))
    return replace(plain, interval=ResidualInterval.learn(validation.y, predicted, validation.weight))
