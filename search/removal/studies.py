"""Deletes whole studies: trials, runs and files."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import optuna

from pipelines.errors import UnavailableError
from search.finals.readings import seal_opened
from search.home.html import HtmlResult
from search.home.settings import study_slug
from search.optimization.run_records import known_run_ids, run_ids_of_trials
from search.removal.access import delete_files, idle_study
from search.storage.database import open_storage
from search.tracking.history import all_pages, all_runs, find_experiment
from search.tracking.runs import put_aside

if TYPE_CHECKING:
    from mlflow import MlflowClient


@dataclass(frozen=True, slots=True)
class Deleted(HtmlResult):
    """A study that was deleted, or that would be.

    Attributes:
        study: The study's name.
        trials: Number of its trials.
        runs: Number of its runs in MLflow; finalists and refits are among them.
        seal_opened: How often its held-out test was read; MLflow keeps the record, so that later models are counted.
        deleted: Whether it was deleted.
    """

    study: str
    trials: int
    runs: int
    seal_opened: int
    deleted: bool = False


def delete_study(name: str, *, dry_run: bool = False, home: Path | None = None) -> Deleted:
    """Deletes a study from Optuna, its files and runs from MLflow, and its results from the spool.

    MLflow keeps the runs without their files as deleted ones, under another experiment's name: they count among the
    models that were tested on the same rows. A call that was cut off is completed by the next one.

    Args:
        name: The study.
        dry_run: Whether to delete nothing.
        home: Where the databases are; ``MLP_SEARCH_HOME`` or ``mlruns/`` by default.

    Raises:
        NotFoundError: There is no such study.
        UnavailableError: A registered model comes from it, it is being searched, or a database or MLflow cannot be
            used.
    """
    with idle_study(name, home) as (settings, study, client):
        experiment = find_experiment(client, name, run_ids_of_trials(study))
        runs = all_runs(client, [experiment.experiment_id]) if experiment else ()
        run_ids = [str(run.info.run_id) for run in runs]
        # By their runs: a registry may serve another home, which has a study of the same name.
        own = {*run_ids, *known_run_ids(study)}
        if versions := [version for version in all_pages(client.search_model_versions) if version.run_id in own]:
            named = ", ".join(f"{version.name}/{version.version}" for version in versions[:5])
            raise UnavailableError(
                f"study {name!r}: must have no version of a registered model, whose records are the study's, got"
                f" {named}: delete it first, as in mlp-search delete {versions[0].name}/{versions[0].version}"
            )
        found = Deleted(name, study.n_trials, len(run_ids), seal_opened(study.user_attrs))
        if dry_run:
            return found
        if experiment:
            if experiment.lifecycle_stage == "deleted":  # elsewhere, as in MLflow's page: its files are there
                client.restore_experiment(experiment.experiment_id)
            _delete_experiment(client, name, experiment.experiment_id, run_ids)
        for spool in settings.home.glob("spool*"):
            shutil.rmtree(spool / study_slug(name), ignore_errors=True)
        # The last step: until then the study is there, and the next call continues.
        optuna.delete_study(study_name=name, storage=open_storage(settings))
    return replace(found, deleted=True)


def _delete_experiment(client: MlflowClient, name: str, experiment_id: str, run_ids: list[str]) -> None:
    """Deletes the files of all runs, then the experiment with them."""
    for run_id in run_ids:
        delete_files(client, client.get_run(run_id).info.artifact_uri)
    put_aside(client, name, experiment_id)
