"""Figures and files of a held-out test in the winner's MLflow run."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipelines.data.datasets import Split
from pipelines.errors import UnavailableError
from search.finals.readings import SealedResult
from search.home.text import one_line
from search.tracking.entries import now_ms
from search.tracking.history import read_artifact

if TYPE_CHECKING:
    from mlflow import MlflowClient

FOLDER, RIGHT_FILE = "sealed_test", "right.npz"
"""The folder of a run's artifacts, and the file in it that tells which test rows the model got right."""


def log_evaluation(
    client: MlflowClient, result: SealedResult, test: Split, probabilities: np.ndarray, class_names: Sequence[str]
) -> None:
    """Logs the metrics and files of a held-out test; logged again, they replace the same ones.

    Args:
        client: MLflow's client.
        result: The result.
        test: The test rows.
        probabilities: (n_rows, n_classes) float32, the model's answers for them.
        class_names: n_classes names.

    Raises:
        UnavailableError: MLflow cannot be reached or refuses them.
    """
    from mlflow.entities import Metric, RunTag
    from mlflow.exceptions import MlflowException

    evaluation, run_id, at_ms = result.evaluation, result.winner.run_id, now_ms()
    metrics = {
        "test_accuracy": evaluation.accuracy,
        "test_accuracy_low": evaluation.interval[0],
        "test_accuracy_high": evaluation.interval[1],
        "test_loss": evaluation.loss,
        "test_untrained_accuracy": result.untrained_accuracy,
    }
    points = [Metric(name, value, at_ms, 0) for name, value in metrics.items()]
    try:
        with tempfile.TemporaryDirectory() as folder:
            _write_files(Path(folder), result, test, probabilities, class_names)
            client.log_artifacts(run_id, folder, FOLDER)
        client.log_batch(run_id, points, tags=[RunTag("seal.opened", str(result.seal_opened))])
    except (MlflowException, OSError) as error:
        raise UnavailableError(f"run {run_id}: MLflow must take the test's figures ({one_line(error)})") from error


def _write_files(
    folder: Path, result: SealedResult, test: Split, probabilities: np.ndarray, class_names: Sequence[str]
) -> None:
    from pipelines.evaluation.drawing import pick_examples
    from pipelines.evaluation.figures import confusion_matrix, prediction_grid, save

    document = asdict(result.evaluation) | result.record
    (folder / "evaluation.json").write_text(json.dumps(document, indent=1))
    np.savez_compressed(folder / RIGHT_FILE, right=probabilities.argmax(axis=1) == test.y)
    save(confusion_matrix(result.evaluation.confusion, class_names), folder / "confusion_matrix.png")
    for kind, rows in zip(("right", "wrong"), pick_examples(probabilities, test.y), strict=True):
        figure = prediction_grid(test.x[rows], test.y[rows], probabilities[rows], class_names)
        save(figure, folder / f"predictions_{kind}.png")


def read_right(client: MlflowClient, run_id: str) -> np.ndarray:
    """(n_rows,) bool: the test rows that a run's model got right, in their order.

    Raises:
        UnavailableError: MLflow does not have them.
    """
    name = f"{FOLDER}/{RIGHT_FILE}"
    content = read_artifact(client, f"runs:/{run_id}/{name}", f"{name} of run {run_id}")
    try:
        with np.load(io.BytesIO(content)) as file:
            return np.asarray(file["right"], dtype=bool)
    except (OSError, KeyError, ValueError) as error:
        raise UnavailableError(f"{name} of run {run_id}: is damaged ({one_line(error)})") from error
