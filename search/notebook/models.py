"""Models of trials: their files, and their answers for the validation rows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pipelines.data.datasets import Dataset
from pipelines.errors import InputError, NotFoundError
from pipelines.evaluation.predictor import Predictor
from pipelines.files.archives import Array
from search.finals.winner import fetch_model, trial_model
from search.home.settings import read_settings
from search.home.startup import prepare_inference
from search.optimization.run_records import has_model
from search.optimization.studies import load_own_study, study_data
from search.reporting.charts import confusion, residuals
from search.storage.attributes import RESULT
from search.tracking.connection import connect

if TYPE_CHECKING:
    import keras
    from plotly.graph_objects import Figure


class ValidationRows(NamedTuple):
    """The rows that a study's trials are validated on.

    Attributes:
        x: (n_rows, *input_shape) numbers as the trials' models take them: unscaled, and of a table encoded.
        y: (n_rows,) numbers of the classes, or values in the target's own unit.
        fold: (n_rows,) number of the network that was not trained on the row; 0 with one split.
    """

    x: Array
    y: Array
    fold: Array


def validation_rows(study: str, home: Path | None) -> ValidationRows:
    """Returns the rows that a study's trials are validated on; with folds all rows but the test rows."""
    settings = read_settings(home)
    dataset = study_data(load_own_study(settings, study), settings)[1]
    rows, target = dataset.scored, dataset.preprocessing.target
    fold = np.zeros(len(rows.y), np.int32) if dataset.fold_of is None else dataset.fold_of
    return ValidationRows(rows.x, target.decode(rows.y) if target else rows.y, fold)


def load_model(study: str, number: int, home: Path | None) -> keras.Model:
    """Loads the model of a trial.

    Raises:
        NotFoundError: The trial kept no model.
        InputError: The file was changed since.
        UnavailableError: MLflow does not have the file any more, or cannot be reached.
    """
    settings = read_settings(home)
    found = load_own_study(settings, study)
    if not has_model(found.trial(number).user_attrs.get(RESULT, {})):
        raise NotFoundError(f"trial {number} of study {study!r}: must have a model, but has none: choose another trial")
    model = trial_model(found, number)
    content = fetch_model(connect(settings), settings.spool, study, model)
    prepare_inference()
    from pipelines.training.model import load_h5

    return load_h5(content, model.model_sha256, f"model.h5 of trial {number}")


def confusion_of(study: str, number: int, home: Path | None) -> Figure:
    """The confusion matrix of a trial's model on the validation rows; with folds on the rows of all folds.

    Raises:
        InputError: The study is a regression.
    """
    dataset, answers = _answers(study, number, home, "classification")
    truth, predicted, n = dataset.scored.y, answers.argmax(axis=1), dataset.n_outputs
    matrix = np.bincount(truth * n + predicted, minlength=n * n).reshape(n, n)
    return confusion(matrix, dataset.class_names, "validation rows")


def residuals_of(study: str, number: int, home: Path | None) -> Figure:
    """True minus predicted values of the validation rows, by a trial's model of a regression.

    Raises:
        InputError: The study is a classification.
    """
    dataset, answers = _answers(study, number, home, "regression")
    target = dataset.preprocessing.target
    assert target is not None
    truth = target.decode(dataset.scored.y)
    return residuals(answers.reshape(-1).astype(np.float64), truth.astype(np.float64))["residuals"]


def _answers(study: str, number: int, home: Path | None, task: str) -> tuple[Dataset, Array]:
    """A study's data and a trial's answers for the rows that it was scored on, by networks not trained on them."""
    settings = read_settings(home)
    dataset = study_data(load_own_study(settings, study), settings)[1]
    if dataset.task != task:
        other = "plot_residuals" if task == "classification" else "plot_confusion"
        raise InputError(f"study {study!r}: must be a {task} for this figure, but is a {dataset.task}: use {other}()")
    predictor = Predictor(load_model(study, number, home), dataset.preprocessing)
    if dataset.fold_of is None:
        return dataset, predictor.probabilities(dataset.validation.x)
    return dataset, predictor.of_folds(dataset.scored.x, dataset.fold_of)
