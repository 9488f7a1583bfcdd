"""Reads the held-out test for a study's winner, and logs its figures and files in the winner's MLflow run.

The only module of ``search`` that may import the test rows.
"""

from __future__ import annotations

import io
import json
import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from zipfile import BadZipFile

import numpy as np
import optuna

from pipelines.config import layer_sizes
from pipelines.data.datasets import Dataset, Split
from pipelines.data.sealed import SealedRows, open_test
from pipelines.errors import UnavailableError
from pipelines.evaluation.metrics import Evaluation
from pipelines.evaluation.predictions import Predictions
from pipelines.evaluation.predictor import ModelRecord, Predictor
from search.finals.opening import exclusive_study
from search.finals.readings import SealedResult, authorship, predict_rows, previous_readings, score_predictions
from search.finals.tested_models import READ, hash_of_tests, models_tested_on, number_of, record_test
from search.finals.winner import Winner, fetch_model, find_winner, missing_model
from search.home.startup import prepare_inference
from search.home.text import finite, one_line
from search.optimization.baselines import baseline_scores
from search.optimization.run_records import recorded_results
from search.scheduling.progress import Observer
from search.scheduling.recovery import record_runs
from search.storage.attributes import SEAL
from search.tracking.connection import connect, mlflow_errors
from search.tracking.entries import now_ms
from search.tracking.history import read_artifact
from search.tracking.run_names import finalist_trial

if TYPE_CHECKING:
    from mlflow import MlflowClient

_Read = TypeVar("_Read")
FOLDER, RIGHT_FILE, FIGURES_FILE = "sealed_test", "right.npz", "evaluation.json"
PREDICTIONS_FILE = "predictions.npz"
"""The folder of a run's artifacts, and its files: which test rows the model got right, all figures, the predictions."""

CONFUSION_FILE, RESIDUALS_FILE = "confusion_matrix.png", "residuals.png"
"""The figure of a classification and that of a regression."""


def evaluate(
    name: str, *, again: bool = False, home: Path | None = None, observer: Observer | None = None
) -> SealedResult:
    """Reads the held-out test for a study's winner and records that.

    Args:
        name: The study.
        again: Whether to read it although it was read before.
        home: Where the databases are; ``MLP_SEARCH_HOME`` or ``mlruns/`` by default.
        observer: Watches.

    Raises:
        NotFoundError: There is no such study, or no trial of it is complete.
        RefusedError: The test was read before.
        InputError: The model file or the dataset was changed since.
        UnavailableError: A database, the tracking server or the model file cannot be used.
    """
    observer = observer or Observer()
    with exclusive_study(name, home, observer) as (context, dataset):
        study, settings = context.study, context.settings
        context.tracker.close()
        record_runs(study, context.tracker)  # the winner's run may be among those that were left in the spool
        winner = find_winner(study)
        before = previous_readings(study, again=again)
        _require_model(study, winner, observer)
        observer.waiting(f"testing {winner.run_name} of study {name} on the held-out rows")
        client = connect(settings)
        content = fetch_model(client, settings.spool, name, winner)
        reading = {"run_name": winner.run_name, "run_id": winner.run_id, **authorship()}
        # Counted before the rows are read: a crash cannot hide a reading.
        study.set_user_attr(SEAL, [*before, reading])
        test = open_test(context.spec.data, settings.data_folders)
        test = replace(test, digest=hash_of_tests(client, test.digest, test.read_digest))
        record_test(client, winner.run_id, test.digest)
        ordinal = number_of(winner.run_id, models_tested_on(client, test.digest, dataset.fingerprint))
        result, found = _tested(winner, content, dataset, test, len(before) + 1, ordinal)
        _log_evaluation(client, result, test, found, dataset.class_names)
        study.set_user_attr(SEAL, [*before, reading | result.record])
    return result


def _require_model(study: optuna.Study, winner: Winner, observer: Observer) -> None:
    """Notes that there are no finals, and refuses a winner that stands for a model that was not made yet.

    Raises:
        UnavailableError: The model that the finals ask for is missing.
    """
    name = study.study_name
    if winner.role == "trial":
        begun = any(finalist_trial(run) is not None for run in recorded_results(study))
        which = "its finalists are not complete" if begun else "no finalists were trained"
        observer.note(f"study {name}: {which}, so {winner.run_name}, the best trial by one seed, is tested")
    if wanted := missing_model(study):
        raise UnavailableError(
            f"study {name}: its {wanted} must be made before the held-out rows are read, but is missing:"
            f" mlp-search finalists {name} makes it"
        )


def _tested(
    winner: Winner, content: bytes, dataset: Dataset, test: SealedRows, seal_opened: int, ordinal: int
) -> tuple[SealedResult, Predictions]:
    """The figures of a winner on the held-out rows, and its predictions."""
    trained, untrained = _predictors(winner, content, dataset)
    found = predict_rows(trained, test, dataset)
    hyperparameters = winner.candidate.hyperparameters
    loss = hyperparameters.loss or "mse"
    metric = winner.objective.metric
    baselines = baseline_scores(dataset, test, hyperparameters.class_weight)
    if metric == "mae":  # of which the median is the best constant; the trivial model of the predictions is the mean
        baseline = baselines["median"][metric]
    else:
        baseline = score_predictions(found.of_trivial_model, dataset, loss).metrics[metric].value
    result = SealedResult(
        winner,
        score_predictions(found, dataset, loss),
        None if found.is_regression else _accuracy(untrained, test),
        seal_opened,
        test.digest,
        ordinal,
        baseline,
        baselines=baselines,
        n_groups=None if test.group is None else len(np.unique(test.group)),
    )
    return result, found


def _predictors(winner: Winner, content: bytes, dataset: Dataset) -> tuple[Predictor, Predictor]:
    """The winner, and the same network before training."""
    prepare_inference()
    from pipelines.training.model import build_model, initial_weights

    hp, preprocessing = winner.candidate.hyperparameters, dataset.preprocessing
    record = ModelRecord(preprocessing, (0.0, 1.0), winner.model_sha256)
    sizes = layer_sizes(hp, *dataset.sizes)
    untrained = build_model(hp, preprocessing, initial_weights(hp, sizes, winner.seed, dataset.pieces))
    trained = Predictor.load(content, record, f"model.h5 of run {winner.run_id}")
    return trained, Predictor(untrained, preprocessing)


def _accuracy(model: Predictor, test: Split) -> float:
    return float(np.average(model.probabilities(test.x).argmax(axis=1) == test.y, weights=test.weight))


def _log_evaluation(
    client: MlflowClient, result: SealedResult, test: Split, found: Predictions, class_names: Sequence[str]
) -> None:
    """Logs the metrics and files of a held-out test; logged again, they replace the same ones.

    Args:
        client: MLflow's client.
        result: The result.
        test: The test rows.
        found: The model's predictions for them.
        class_names: n_classes names.

    Raises:
        UnavailableError: MLflow cannot be reached or refuses them.
    """
    from mlflow.entities import Metric, RunTag

    evaluation, run_id, at_ms = result.evaluation, result.winner.run_id, now_ms()
    metrics = {f"test_{name}": found.value for name, found in evaluation.metrics.items()}
    metrics |= {f"test_{name}_low": found.low for name, found in evaluation.metrics.items()}
    metrics |= {f"test_{name}_high": found.high for name, found in evaluation.metrics.items()}
    if isinstance(evaluation, Evaluation) and result.untrained_accuracy is not None:
        metrics |= {"test_untrained_accuracy": result.untrained_accuracy, "test_majority": evaluation.majority}
    points = [Metric(name, value, at_ms, 0) for name, value in metrics.items() if math.isfinite(value)]
    with mlflow_errors(f"run {run_id}: MLflow must take the test's figures"):
        with tempfile.TemporaryDirectory() as folder:
            _write_files(Path(folder), result, test, found, class_names)
            client.log_artifacts(run_id, folder, FOLDER)
        client.log_batch(run_id, points, tags=[RunTag(READ, str(result.seal_opened))])


def _write_files(
    folder: Path, result: SealedResult, test: Split, found: Predictions, class_names: Sequence[str]
) -> None:
    document = asdict(result.evaluation) | result.record
    (folder / FIGURES_FILE).write_text(json.dumps(finite(document), indent=1))
    (folder / PREDICTIONS_FILE).write_bytes(found.to_npz())
    if isinstance(result.evaluation, Evaluation):
        np.savez_compressed(folder / RIGHT_FILE, right=found.predicted.argmax(axis=1) == test.y)
        _draw(folder, result.evaluation, test, found.predicted, class_names)
    else:
        from pipelines.evaluation.figures import residuals, save

        save(residuals(found.truth, found.predicted), folder / RESIDUALS_FILE)


def _draw(
    folder: Path, evaluation: Evaluation, test: Split, probabilities: np.ndarray, class_names: Sequence[str]
) -> None:
    from pipelines.evaluation.figures import confusion_matrix, pick_examples, prediction_grid, save

    save(confusion_matrix(evaluation.confusion, class_names), folder / CONFUSION_FILE)
    for kind, rows in zip(("right", "wrong"), pick_examples(probabilities, test.y), strict=True):
        figure = prediction_grid(test.x[rows], test.y[rows], probabilities[rows], class_names)
        save(figure, folder / f"predictions_{kind}.png")


def read_predictions(client: MlflowClient, run_id: str) -> bytes | None:
    """The predictions of a run's model for the test rows, as ``Predictions.to_npz`` wrote them; None without any.

    Raises:
        UnavailableError: MLflow cannot be reached.
    """
    name = f"{FOLDER}/{PREDICTIONS_FILE}"
    with mlflow_errors(f"run {run_id}: MLflow must list its files"):
        if name not in {str(item.path) for item in client.list_artifacts(run_id, FOLDER)}:
            return None
    return read_artifact(client, f"runs:/{run_id}/{name}", f"{name} of run {run_id}")


def find_figure(client: MlflowClient, run_id: str) -> str | None:
    """The path, among a run's files, of the figure of its held-out test; None without one."""
    with mlflow_errors(f"run {run_id}: MLflow must list its files"):
        paths = {str(item.path) for item in client.list_artifacts(run_id, FOLDER)}
    figures = [f"{FOLDER}/{name}" for name in (CONFUSION_FILE, RESIDUALS_FILE)]
    return next((path for path in figures if path in paths), None)


def read_right(client: MlflowClient, run_id: str) -> np.ndarray:
    """(n_rows,) bool: the test rows that a run's model got right, in their order.

    Raises:
        UnavailableError: MLflow does not have them.
    """
    return _read(client, run_id, RIGHT_FILE, lambda content: np.load(io.BytesIO(content))["right"].astype(bool))


def read_confusion(client: MlflowClient, run_id: str) -> np.ndarray:
    """(n_classes, n_classes) counts: the confusion matrix of a run's model on the test rows.

    Raises:
        UnavailableError: MLflow does not have it.
    """
    return _read(client, run_id, FIGURES_FILE, lambda content: np.asarray(json.loads(content)["confusion"], np.int64))


def read_class_names(client: MlflowClient, run_id: str) -> list[str]:
    """Names of the classes of a confusion matrix, in its order.

    Raises:
        UnavailableError: MLflow does not have them.
    """
    return _read(client, run_id, FIGURES_FILE, lambda content: [str(c["name"]) for c in json.loads(content)["classes"]])


def _read(client: MlflowClient, run_id: str, file: str, parse: Callable[[bytes], _Read]) -> _Read:
    """Reads a file of a run's held-out test."""
    place = f"{FOLDER}/{file} of run {run_id}"
    content = read_artifact(client, f"runs:/{run_id}/{FOLDER}/{file}", place)
    try:
        return parse(content)
    except (OSError, EOFError, KeyError, TypeError, ValueError, BadZipFile) as error:
        raise UnavailableError(f"{place}: is damaged ({one_line(error)})") from error
