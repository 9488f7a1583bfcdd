"""Opens, logs and ends the runs of one experiment through MLflow's client."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.errors import SpecError
from search.home.settings import Settings, prepare_sqlite
from search.home.text import redact
from search.tracking.connection import connect, make_database, mlflow_errors
from search.tracking.entries import MODEL_FILE, PREPROCESSING_FILE, Entry, Epoch, RunStart
from search.tracking.experiment_view import NOTE, VIEW_TAG, experiment_tags, shows_the_same, zoomed
from search.tracking.history import all_runs
from search.tracking.run_names import trial_number
from search.tracking.spool import artifacts

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput as MlflowInput, Run

_MAX_METRICS = 1000  # MLflow's limit for one call


@dataclass(frozen=True, slots=True)
class DatasetInput:
    """The dataset of a run, as MLflow shows it.

    Attributes:
        name: Its name.
        digest: Its fingerprint.
        source: Where it is from.
        profile: Its numbers of rows.
        preprocessing: A JSON document of its columns, their encoding and the classes, logged beside each model file.
    """

    name: str
    digest: str
    source: str
    profile: Mapping[str, object] = field(default_factory=dict)
    preprocessing: str = ""


class Runs:
    """The runs of one experiment, through MLflow's own client.

    Args:
        settings: Where MLflow is.
        study: The experiment's name.
        description: Markdown above the runs on the experiment's page.
        dataset: Logged as the input of each run.
        views: Tags that are the experiment's views on MLflow's page, from ``view_tags``; None leaves those that it has.
        is_new: Whether the experiment is to have no runs yet: runs are found by their names, also to delete them.

    Raises:
        SpecError: It has some.
        UnavailableError: The tracking server cannot be reached or refuses the experiment.
    """

    def __init__(
        self,
        settings: Settings,
        study: str,
        description: str,
        dataset: DatasetInput | None,
        views: Mapping[str, str] | None = None,
        *,
        is_new: bool = False,
    ) -> None:
        self.study = study
        self._dataset = dataset
        with mlflow_errors(f"MLflow at {redact(settings.tracking_uri)}"):
            if not settings.is_tracked_elsewhere:
                make_database(settings.tracking_uri)
                prepare_sqlite(settings.tracking_uri)
            self.client = connect(settings)
            if is_new:
                self._require_new(redact(settings.tracking_uri))
            self.experiment_id = self._open_experiment(settings.artifact_root, experiment_tags(description, views))
            if views:
                self._renew_views(views)

    def _require_new(self, server: str) -> None:
        """Refuses an experiment with runs; a deleted one gets another name, as restoring it restores its runs."""
        found = self.client.get_experiment_by_name(self.study)
        if found and found.lifecycle_stage == "deleted":
            self.client.restore_experiment(found.experiment_id)
            put_aside(self.client, self.study, found.experiment_id)
        elif found and self.client.search_runs([found.experiment_id], max_results=1):
            raise SpecError(
                f"study.name: must be no experiment of MLflow at {server} with runs that this home does not know, got"
                f" {self.study!r}: choose another --study NAME, or delete that experiment in MLflow"
            )

    def _open_experiment(self, artifact_root: str | None, tags: dict[str, str]) -> str:
        from mlflow.exceptions import MlflowException

        if not (found := self.client.get_experiment_by_name(self.study)):
            try:
                return str(self.client.create_experiment(self.study, artifact_root, tags))
            except MlflowException:  # another process was faster; otherwise raised below
                found = self.client.get_experiment_by_name(self.study)
                if not found:
                    raise
        if found.lifecycle_stage == "deleted":
            self.client.restore_experiment(found.experiment_id)
        return str(found.experiment_id)

    def _renew_views(self, views: Mapping[str, str]) -> None:
        """Gives an experiment of an earlier version the views of this one."""
        known = self.client.get_experiment(self.experiment_id).tags
        for key, view in views.items():
            if not shows_the_same(known.get(key, ""), view):
                self.client.set_experiment_tag(self.experiment_id, key, view)

    def find(self, run_name: str) -> list[Run]:
        """The runs of that name that were not deleted."""
        query = f"attributes.run_name = '{run_name}'"
        return list(self.client.search_runs([self.experiment_id], query, max_results=10))

    def remove(self, run_name: str) -> list[str]:
        """Deletes the runs that a dead or interrupted process left; returns the ids of the finished ones."""
        found = self.find(run_name)
        for left in found:
            self.client.delete_run(left.info.run_id)
        return [left.info.run_id for left in found if left.info.status in ("FINISHED", "FAILED")]

    def discard(self, run_id: str | None, removed: Sequence[str]) -> None:
        """Deletes a run and restores those that ``remove`` deleted: another process had finished the same trial."""
        if run_id and self.is_there(run_id):
            self.client.delete_run(run_id)
        for ended in removed:
            self.client.restore_run(ended)

    def open(self, start: RunStart) -> str:
        """Opens a run; returns its id."""
        run = self.client.create_run(self.experiment_id, start.started_ms, dict(start.tags), start.run_name)
        run_id = str(run.info.run_id)
        if self._dataset:
            self.client.log_inputs(run_id, [_as_input(self._dataset)])
        return run_id

    def kill(self, run_id: str) -> None:
        """Ends a run as KILLED."""
        self.client.set_terminated(run_id, "KILLED")

    def kill_left(self, run_name: str) -> None:
        """Ends the running runs of that name as KILLED."""
        for left in self.find(run_name):
            if left.info.status == "RUNNING":
                self.kill(left.info.run_id)

    def log(self, run_id: str, params: Mapping[str, object], epochs: Sequence[Epoch], entry: Entry | None) -> None:
        """Logs to a run in as few calls as MLflow's limits allow.

        Logging an epoch again is harmless: equal values with equal times are one point.

        Args:
            run_id: The run.
            params: Parameters that MLflow does not have yet.
            epochs: Epochs that MLflow does not have yet.
            entry: The result, once the run has ended.
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
        """Uploads the files of a run, with the preprocessing of its dataset if it has a model, and closes it."""
        if self._dataset and self._dataset.preprocessing and (folder / MODEL_FILE).exists():
            (folder / PREPROCESSING_FILE).write_text(self._dataset.preprocessing)
        for path in artifacts(folder):
            self.client.log_artifact(run_id, str(path))
        self.client.set_terminated(run_id, status_of(entry.state), entry.ended_ms)

    def describe(self, texts: Mapping[str, str]) -> None:
        """Describes runs on MLflow's page, without those that their user described, and fits a chart to the best ones.

        Args:
            texts: A paragraph for each run name; its first two words are those of every paragraph for that run.
        """
        trials = []
        for run in all_runs(self.client, [self.experiment_id], with_deleted=False):
            if trial_number(run.info.run_name) is not None:
                trials.append(run.data.metrics)
            text, known = texts.get(run.info.run_name), run.data.tags.get(NOTE, "")
            if text and text != known and known.split()[:2] in ([], text.split()[:2]):
                self.client.set_tag(run.info.run_id, NOTE, text)
        view = self.client.get_experiment(self.experiment_id).tags.get(VIEW_TAG, "")
        if (fitted := zoomed(view, trials)) != view:
            self.client.set_experiment_tag(self.experiment_id, VIEW_TAG, fitted)

    def is_there(self, run_id: str) -> bool:
        """Whether a run exists and is not deleted."""
        return bool(self.client.search_runs([self.experiment_id], f"attributes.run_id = '{run_id}'", max_results=1))


def status_of(state: str) -> str:
    """MLflow's status for a run's final state."""
    return {"FAIL": "FAILED", "INTERRUPTED": "KILLED"}.get(state, "FINISHED")


def _as_input(dataset: DatasetInput) -> MlflowInput:
    from mlflow import entities

    source = json.dumps({"uri": dataset.source})
    described = entities.Dataset(
        dataset.name, dataset.digest, "local", source, profile=json.dumps(dict(dataset.profile))
    )
    return entities.DatasetInput(described, [entities.InputTag("mlflow.data.context", "training")])


def put_aside(client: MlflowClient, name: str, experiment_id: str) -> None:
    """Deletes an experiment with its runs; another study may have its name then."""
    at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    client.rename_experiment(experiment_id, f"{name} (deleted {at})")
    client.delete_experiment(experiment_id)
