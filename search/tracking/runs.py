"""The runs of one experiment, through MLflow's own client: open, log, end."""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from pipelines.config import Hyperparameters
from pipelines.errors import UnavailableError
from search.home.addresses import is_http, is_sqlite
from search.home.settings import MIGRATING, Settings, prepare_sqlite
from search.home.text import one_line, redact
from search.tracking.entries import Entry, Epoch, RunStart
from search.tracking.experiment_view import experiment_tags
from search.tracking.spool import artifacts

_MAX_METRICS = 1000  # MLflow's limit for one call


@dataclass(frozen=True, slots=True)
class DatasetInput:
    """What MLflow's page shows as a run's dataset."""

    name: str
    digest: str
    source: str
    profile: Mapping[str, Any] = field(default_factory=dict)


class Runs:
    """The runs of one experiment, through MLflow's own client.

    Args:
        settings: Where MLflow is.
        study: The experiment's name.
        description: What the experiment's page says above its runs.
        dataset: Logged as the input of each run.

    Raises:
        UnavailableError: The tracking server cannot be reached or refuses the experiment.
    """

    def __init__(self, settings: Settings, study: str, description: str, dataset: DatasetInput | None) -> None:
        from mlflow.exceptions import MlflowException

        self.study = study
        self._dataset = dataset
        try:
            if not settings.is_tracked_elsewhere:
                make_database(settings.tracking_uri)
                prepare_sqlite(settings.tracking_uri)
            self.client = connect(settings)
            self.experiment_id = self._open_experiment(settings.artifact_root, description)
        except (MlflowException, OSError, sqlite3.Error) as error:
            raise UnavailableError(f"MLflow at {redact(settings.tracking_uri)}: {one_line(error)}") from error

    def _open_experiment(self, artifact_root: str | None, description: str) -> str:
        from mlflow.exceptions import MlflowException

        if not (found := self.client.get_experiment_by_name(self.study)):
            tags = experiment_tags(description, [hp.name for hp in fields(Hyperparameters)])
            try:
                return str(self.client.create_experiment(self.study, artifact_root, tags))
            except MlflowException:  # another process was faster, or it is an error that the next line repeats
                found = self.client.get_experiment_by_name(self.study)
                if not found:
                    raise
        if found.lifecycle_stage == "deleted":
            self.client.restore_experiment(found.experiment_id)
        return str(found.experiment_id)

    def find(self, run_name: str) -> list[Any]:
        """The runs of that name that were not deleted."""
        query = f"attributes.run_name = '{run_name}'"
        return list(self.client.search_runs([self.experiment_id], query, max_results=10))

    def remove(self, run_name: str) -> list[str]:
        """Deletes the runs of that name, which a dead or interrupted process left; returns those that had ended."""
        found = self.find(run_name)
        for left in found:
            self.client.delete_run(left.info.run_id)
        return [left.info.run_id for left in found if left.info.status in ("FINISHED", "FAILED")]

    def discard(self, run_id: str, removed: Sequence[str]) -> None:
        """Deletes a run, and brings back what ``remove`` took for it: another process had ended the same trial."""
        if self.is_there(run_id):
            self.client.delete_run(run_id)
        for ended in removed:
            self.client.restore_run(ended)

    def open(self, start: RunStart) -> str:
        """Opens a run.

        Args:
            start: What is known of it.
        """
        run = self.client.create_run(self.experiment_id, start.started_ms, dict(start.tags), start.run_name)
        run_id = str(run.info.run_id)
        if self._dataset:
            self.client.log_inputs(run_id, [_as_input(self._dataset)])
        return run_id

    def kill_left(self, run_name: str) -> None:
        """Ends the runs of that name that a dead process left running."""
        for left in self.find(run_name):
            if left.info.status == "RUNNING":
                self.client.set_terminated(left.info.run_id, "KILLED")

    def log(self, run_id: str, params: Mapping[str, Any], epochs: Sequence[Epoch], entry: Entry | None) -> None:
        """Logs what is new of a run, in as few calls as MLflow's limits allow.

        An epoch that is there already, with the same time, stays a single point.
        """
        from mlflow.entities import Metric, Param, RunTag

        points = [Metric(key, value, e.at_ms, e.step) for e in epochs for key, value in e.metrics.items()]
        tags = []
        if entry:
            points += [Metric(key, value, entry.ended_ms, 0) for key, value in entry.metrics.items()]
            tags = [RunTag(key, str(value)) for key, value in entry.tags.items()]
        given = [Param(key, str(value)) for key, value in params.items()]
        room = _MAX_METRICS - len(given) - len(tags)
        self.client.log_batch(run_id, points[:room], given, tags)
        for first in range(room, len(points), _MAX_METRICS):
            self.client.log_batch(run_id, points[first : first + _MAX_METRICS])

    def end(self, run_id: str, entry: Entry, folder: Path) -> None:
        """Uploads the files of a run and closes it."""
        for path in artifacts(folder):
            self.client.log_artifact(run_id, str(path))
        self.client.set_terminated(run_id, status_of(entry.state), entry.ended_ms)

    def is_there(self, run_id: str) -> bool:
        """Whether a run exists and was not deleted."""
        from mlflow.exceptions import MlflowException

        try:
            return str(self.client.get_run(run_id).info.lifecycle_stage) == "active"
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return False
            raise


def make_database(address: str) -> None:
    """Makes MLflow's SQLite file where there is none, whole or not at all.

    MLflow makes it by some fifty migrations; one that is cut off half-way is in the way of the next process for ever.
    """
    path = Path(address.removeprefix("sqlite:///"))
    if path.exists() or not path.parent.is_dir():  # the second is told by whoever opens it
        return
    _hush()
    from mlflow.store.db.utils import _initialize_tables, create_sqlalchemy_engine

    with tempfile.TemporaryDirectory(prefix="mlflow-db-", dir=path.parent) as folder:
        made = Path(folder, path.name)
        engine = create_sqlalchemy_engine(f"sqlite:///{made}")
        with MIGRATING:
            _initialize_tables(engine)
        engine.dispose()
        with suppress(FileExistsError):  # another process was faster, and may have runs in its own by now
            path.hardlink_to(made)


def status_of(state: str) -> str:
    """MLflow's status of a run that ended in a state."""
    return {"FAIL": "FAILED", "INTERRUPTED": "KILLED"}.get(state, "FINISHED")


def _hush() -> None:
    """Keeps MLflow from reporting its migrations on the terminal."""
    for noisy in ("mlflow", "alembic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def connect(settings: Settings) -> Any:
    """MLflow's client.

    Raises:
        UnavailableError: A server does not answer.
    """
    _hush()
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    # A request that is sent again within MLflow's client may open a run twice; the tracker looks before it tries again.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    from mlflow import MlflowClient

    require_answer(settings)
    return MlflowClient(settings.tracking_uri, settings.registry_uri)


def require_answer(settings: Settings) -> None:
    """Has a quick look whether MLflow's server or database answers: its own retries would take minutes.

    Raises:
        UnavailableError: There is no answer, or the login is refused.
    """
    variables = {settings.registry_uri: "MLFLOW_REGISTRY_URI", settings.tracking_uri: "MLFLOW_TRACKING_URI"}
    for address, variable in variables.items():
        if is_http(address):
            _require_server(address, variable)
        else:
            _require_database(address)


def _require_server(address: str, variable: str) -> None:
    import requests

    try:
        answer = requests.get(address.rstrip("/") + "/health", timeout=10)
    except requests.RequestException as error:
        why = f"no answer ({type(error).__name__}); start the server, or correct {variable}"
        raise UnavailableError(f"MLflow at {redact(address)}: {why}") from error
    if not answer.ok:
        raise UnavailableError(f"MLflow at {redact(address)}: must answer /health, got status {answer.status_code}")


def _require_database(address: str) -> None:
    import sqlalchemy as sa

    try:
        if not is_sqlite(address):
            sa.create_engine(address, poolclass=sa.NullPool).connect().close()
        elif Path(address.removeprefix("sqlite:///")).exists():
            prepare_sqlite(address)
    except (sqlite3.Error, sa.exc.SQLAlchemyError, ImportError, ValueError) as error:
        raise UnavailableError(f"MLflow at {redact(address)}: {one_line(error)}") from error


def _as_input(dataset: DatasetInput) -> Any:
    from mlflow import entities

    source = json.dumps({"uri": dataset.source})
    described = entities.Dataset(
        dataset.name, dataset.digest, "local", source, profile=json.dumps(dict(dataset.profile))
    )
    return entities.DatasetInput(described, [entities.InputTag("mlflow.data.context", "training")])
