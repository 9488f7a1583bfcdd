"""Opens the sealed test for a study's winner, once. The only module of ``search`` that may import the test rows."""

from __future__ import annotations

import getpass
import io
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import optuna

from pipelines.config import layer_sizes
from pipelines.data.datasets import Dataset, Split
from pipelines.data.sealed import open_test
from pipelines.errors import RefusedError, UnavailableError
from pipelines.evaluation.metrics import Evaluation, evaluate as score, pick_examples
from pipelines.evaluation.predictor import ModelRecord, Predictor
from search.finals.winner import Winner, fetch_model, find_winner
from search.home.settings import Settings, read_settings
from search.home.startup import prepare_inference
from search.home.text import one_line
from search.optimization.provenance import open_runs
from search.optimization.studies import load_own_study, study_data
from search.scheduling.recovery import deliver_left, record_runs
from search.spec.study_spec import StudySpec
from search.storage.advisory_locks import sole_lock
from search.storage.attributes import SEAL
from search.storage.database import storage_errors
from search.tracking.home import open_home
from search.tracking.runs import connect
from search.tracking.tracker import Tracker

RIGHT_FILE = "right.npz"
"""The artifact that tells which test rows the model got right: a later gate compares row with row."""
FOLDER = "sealed_test"


@dataclass(frozen=True, slots=True)
class SealedResult:
    """What the sealed test showed.

    Attributes:
        winner: The model that it was opened for.
        evaluation: Scores, interval, per-class table and confusion matrix.
        untrained_accuracy: Of the same network before training.
        seal_opened: How often the seal was opened by now.
    """

    winner: Winner
    evaluation: Evaluation
    untrained_accuracy: float
    seal_opened: int

    @property
    def gap(self) -> float:
        """How much of the accuracy that the leaderboard promised is missing on rows that chose nothing."""
        return self.winner.promised - self.evaluation.accuracy

    @property
    def figures(self) -> dict[str, Any]:
        """What is kept and shown of the reading, in plain values."""
        evaluation = self.evaluation
        return {
            "test_accuracy": evaluation.accuracy,
            "interval": list(evaluation.interval),
            "test_loss": evaluation.loss,
            "right": evaluation.n_right,
            "wrong": evaluation.n_wrong,
            "untrained_accuracy": self.untrained_accuracy,
        }


def evaluate(name: str, *, again: bool = False, home: Path | None = None) -> SealedResult:
    """Opens the sealed test for a study's winner and records the reading.

    Args:
        name: The study.
        again: Whether to open it though it was opened before.
        home: Where the databases are; ``MLP_SEARCH_HOME`` or ``mlruns/`` where it is not given.

    Raises:
        NotFoundError: There is no such study, or no trial of it is complete.
        RefusedError: The seal was opened before.
        InputError: The model file or the dataset was changed since.
        UnavailableError: A database, the tracking server or the model file cannot be used.
    """
    settings = read_settings(home)
    spec, dataset = study_data(load_own_study(settings, name), settings)
    open_home(settings)
    with storage_errors(settings), sole_lock(settings, name) as settings:
        study = load_own_study(settings, name)
        _deliver(study, spec, dataset, settings)
        winner = find_winner(study)
        readings = list(study.user_attrs.get(SEAL, ()))
        # A reading that was cut off before anybody saw its result is finished, not counted again.
        if not readings or (again and "test_accuracy" in readings[-1]):
            readings.append({})
        elif "test_accuracy" in readings[-1]:
            raise RefusedError(_refusal(name, readings))
        client = connect(settings)
        content = fetch_model(client, settings, name, winner)
        reading = {"run_name": winner.run_name, "run_id": winner.run_id, "at": now(), "by": user()}
        study.set_user_attr(SEAL, [*readings[:-1], reading])
        test = open_test(spec.data, settings.data_folders)
        probabilities, untrained = _answers(winner, content, dataset, test)
        evaluation = score(probabilities, test.y, dataset.class_names)
        result = SealedResult(winner, evaluation, _accuracy(untrained, test.y), len(readings))
        _log(client, result, test, probabilities, dataset.class_names)
        study.set_user_attr(SEAL, [*readings[:-1], reading | _record(result)])
    return result


def latest_reading(study: optuna.Study) -> dict[str, Any] | None:
    """The record of the last completed reading of a study's sealed test."""
    done = [reading for reading in study.user_attrs.get(SEAL, ()) if "test_accuracy" in reading]
    return dict(done[-1]) if done else None


def user() -> str:
    """Who is logged in; "" where the system does not know."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""


def now() -> str:
    """The time, as tags and records have it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _refusal(name: str, readings: Sequence[Mapping[str, Any]]) -> str:
    last = readings[-1]
    times = "once" if len(readings) == 1 else f"{len(readings)} times"
    return (
        f"study {name!r}: the sealed test was opened {times}, last on {last['at']} for {last['run_name']} with test"
        f" accuracy {last['test_accuracy']:.4f}: a test that is read again to choose is none; --again opens it anyway,"
        " and that is recorded"
    )


def _deliver(study: optuna.Study, spec: StudySpec, dataset: Dataset, settings: Settings) -> None:
    """Lets MLflow have what still waits in the spool: the winner's run may be among it."""
    with Tracker(lambda: open_runs(settings, spec, dataset), lambda _: None) as tracker:
        tracker.wait_connected()
        deliver_left(study, settings, tracker)
    record_runs(study, tracker)


def _answers(winner: Winner, content: bytes, dataset: Dataset, test: Split) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities, (n_rows, n_classes) each, of the winner and of the same network before training."""
    prepare_inference()
    from pipelines.training.model import build_model, glorot_weights

    hp, preprocessing = winner.hyperparameters, dataset.preprocessing
    record = ModelRecord(preprocessing, (0.0, 1.0), winner.model_sha256)
    predictor = Predictor(content, record, f"model.h5 of run {winner.run_id}")
    sizes = layer_sizes(hp, dataset.training.x[0].size, dataset.n_classes)
    fresh = Predictor.of(build_model(hp, preprocessing, glorot_weights(sizes, winner.seed)), preprocessing)
    return predictor.probabilities(test.x), fresh.probabilities(test.x)


def _accuracy(probabilities: np.ndarray, labels: np.ndarray) -> float:
    return float((probabilities.argmax(axis=1) == labels).mean())


def _record(result: SealedResult) -> dict[str, Any]:
    """What the study keeps of a reading."""
    winner = result.winner
    return {"model_sha256": winner.model_sha256, **result.figures, "promised": winner.promised}


def _log(client: Any, result: SealedResult, test: Split, probabilities: np.ndarray, class_names: Sequence[str]) -> None:
    """Gives the winner's run its test figures; a second time it changes nothing but the count."""
    from mlflow.entities import Metric, RunTag
    from mlflow.exceptions import MlflowException

    evaluation, run_id = result.evaluation, result.winner.run_id
    at_ms = int(datetime.now(UTC).timestamp() * 1000)
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
            for name, content in _artifacts(result, test, probabilities, class_names).items():
                Path(folder, name).write_bytes(content)
            client.log_artifacts(run_id, folder, FOLDER)
        client.log_batch(run_id, points, (), [RunTag("seal.opened", str(result.seal_opened))])
    except (MlflowException, OSError) as error:
        raise UnavailableError(f"run {run_id}: MLflow must take the test's figures: {one_line(error)}") from error


def _artifacts(
    result: SealedResult, test: Split, probabilities: np.ndarray, class_names: Sequence[str]
) -> dict[str, bytes]:
    """The files of a reading: figures, tables, and which rows were right."""
    from pipelines.evaluation.figures import confusion_matrix, prediction_grid, to_png

    right, wrong = pick_examples(probabilities, test.y)
    files = {
        "evaluation.json": json.dumps(result.evaluation.to_json() | _record(result), indent=1).encode(),
        RIGHT_FILE: _pack_right(probabilities.argmax(axis=1) == test.y),
        "confusion_matrix.png": to_png(confusion_matrix(result.evaluation.confusion, class_names)),
    }
    for name, rows in (("predictions_right.png", right), ("predictions_wrong.png", wrong)):
        files[name] = to_png(prediction_grid(test.x[rows], test.y[rows], probabilities[rows], class_names))
    return files


def _pack_right(right: np.ndarray) -> bytes:
    """(n_rows,) bool, in the order of the test rows, as the bytes of an ``.npz``."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, right=right)
    return buffer.getvalue()


def read_right(client: Any, run_id: str) -> np.ndarray:
    """(n_rows,) bool: the sealed rows that a run's model got right, in their order.

    Raises:
        UnavailableError: MLflow does not have them.
    """
    from mlflow.exceptions import MlflowException

    with tempfile.TemporaryDirectory() as folder:
        try:
            path = client.download_artifacts(run_id, f"{FOLDER}/{RIGHT_FILE}", folder)
            with np.load(path) as file:
                return np.asarray(file["right"], dtype=bool)
        except (MlflowException, OSError, KeyError, ValueError) as error:
            raise UnavailableError(f"run {run_id}: {FOLDER}/{RIGHT_FILE} cannot be read ({one_line(error)})") from error
