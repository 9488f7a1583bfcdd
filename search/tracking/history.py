"""Reads search results, the metrics of a run's epochs, and files from MLflow."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.errors import UnavailableError
from search.tracking.connection import mlflow_errors
from search.tracking.entries import LOST, MODEL_FILE, Epoch

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment, Run
    from mlflow.entities.model_registry import ModelVersion

_ACTIVE, _ALL = 1, 3  # of MLflow's ViewType, whose import takes a second
_MAX_RUNS = 1000  # MLflow's limit for one call


def all_pages(search: Callable[..., Any], *arguments: object) -> Iterator[Any]:
    """All results of one of the client's searches, which answers a page at a time."""
    token = None
    while True:
        page = search(*arguments, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def versions_with(client: MlflowClient, field: str, value: str) -> list[ModelVersion]:
    """The versions of registered models whose name or tag has a value.

    Args:
        client: MLflow's client.
        field: ``name`` or ``tags.KEY``.
        value: Any text. MLflow's filters cannot escape a quote, so one with both kinds is looked for in all versions.
    """
    quote = next((quote for quote in "'\"" if quote not in value), None)
    found = all_pages(client.search_model_versions, f"{field} = {quote}{value}{quote}" if quote else None)
    key = field.removeprefix("tags.")
    return [version for version in found if value == (version.name if field == "name" else version.tags.get(key))]


def all_runs(
    client: MlflowClient, experiment_ids: Sequence[str], query: str = "", *, with_deleted: bool = True
) -> Iterator[Run]:
    """All runs of experiments that fit a query, deleted ones too if asked for."""
    yield from all_pages(client.search_runs, list(experiment_ids), query, _ALL if with_deleted else _ACTIVE, _MAX_RUNS)


def experiment_ids(client: MlflowClient) -> list[str]:
    """The ids of all experiments, deleted ones too."""
    return [str(experiment.experiment_id) for experiment in all_pages(client.search_experiments, _ALL)]


def find_experiment(client: MlflowClient, name: str, run_ids: Iterable[str]) -> Experiment | None:
    """The experiment of a study, which a click on MLflow's page or an interrupted ``rename`` may have named otherwise.

    Args:
        client: MLflow's client.
        name: The study's name.
        run_ids: Runs of the study, of which the first one there tells the experiment where none has the name.

    Raises:
        MlflowException: MLflow does not answer.
    """
    from mlflow.exceptions import MlflowException

    if found := client.get_experiment_by_name(name):
        return found
    for run_id in run_ids:
        try:
            other = client.get_experiment(client.get_run(run_id).info.experiment_id)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                continue
            raise
        return other if other.lifecycle_stage == "active" else None  # that of a deleted study is put aside
    return None


def read_history(client: MlflowClient, run_id: str, metrics: Iterable[str]) -> tuple[Epoch, ...]:
    """Reads the epochs of a run in order.

    Args:
        client: MLflow's client.
        run_id: The run.
        metrics: Names of the metrics to read.

    Returns:
        One entry per step that has a value; an epoch lacks the metrics that were not logged at its step.

    Raises:
        MlflowException: MLflow does not have the run, or does not answer.
    """
    values: dict[int, dict[str, float]] = {}
    times_ms: dict[int, int] = {}
    for name in metrics:
        for point in client.get_metric_history(run_id, name):
            values.setdefault(point.step, {})[name] = point.value
            times_ms.setdefault(point.step, point.timestamp)
    return tuple(Epoch(step, times_ms[step], values[step]) for step in sorted(values))


def _lost(client: MlflowClient, uri: str) -> str:
    """The reason why a file of a run was deleted, by the record of the deletion; "" where it was not."""
    run_id, _, name = uri.removeprefix("runs:/").partition("/")
    if not uri.startswith("runs:/") or name != MODEL_FILE:
        return ""
    with mlflow_errors(f"run {run_id}: must be in MLflow"):
        reason = str(client.get_run(run_id).data.tags.get(LOST + name, ""))
    return reason if reason.startswith("deleted") else ""


def read_artifact(client: MlflowClient, uri: str, place: str) -> bytes:
    """Reads a file among MLflow's artifacts.

    Args:
        client: MLflow's client.
        uri: The file, such as ``runs:/ID/model.h5``.
        place: The file in messages, such as ``model.h5 of run ID``.

    Raises:
        UnavailableError: MLflow does not have the file, or cannot be reached.
    """
    from mlflow.artifacts import download_artifacts

    if reason := _lost(client, uri):
        raise UnavailableError(f"{place}: must be in MLflow, but was {reason}")
    with tempfile.TemporaryDirectory() as folder, mlflow_errors(f"{place}: must be in MLflow, but cannot be read"):
        path = download_artifacts(artifact_uri=uri, dst_path=folder, tracking_uri=client.tracking_uri)
        return Path(path).read_bytes()
