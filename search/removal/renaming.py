"""Renames studies, in Optuna, MLflow and the registry."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.errors import SpecError, UnavailableError
from search.home.html import HtmlResult
from search.home.settings import Settings, read_settings
from search.home.text import printable
from search.optimization.run_records import run_ids_of_trials
from search.optimization.studies import require_own_experiment, study_names
from search.removal.access import idle_study
from search.spec.rules import NAME_RULE, is_name
from search.storage import StoredStudy
from search.storage.attributes import SPEC
from search.storage.database import open_storage
from search.storage.transactions import rename
from search.tracking.history import all_pages, all_runs, find_experiment
from search.tracking.spool import has_spooled

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment


@dataclass(frozen=True, slots=True)
class Renamed(HtmlResult):
    """A study with a new name.

    Attributes:
        study: Its new name.
        before: Its old name.
        runs: Number of its runs in MLflow, whose tag ``study`` changed.
    """

    study: str
    before: str
    runs: int


def rename_study(name: str, new: str, *, home: Path | None = None) -> Renamed:
    """Renames a study in Optuna, its experiment in MLflow, and the tags of its runs and registered models.

    A call that was cut off is completed by the next one.

    Args:
        name: The study.
        new: Its new name.
        home: Where the databases are; ``MLP_SEARCH_HOME`` or ``mlruns/`` by default.

    Raises:
        NotFoundError: There is no such study.
        SpecError: The new name breaks a rule, or another study has it.
        UnavailableError: The study is being searched, its results wait for MLflow, or a database cannot be used.
    """
    if not is_name(new):
        raise SpecError(f"NAME: {NAME_RULE}, got {printable(repr(new))}")
    require_own_experiment(read_settings(home), new)
    with idle_study(name, home) as (settings, study, client):
        _require_free(settings, name, new)
        experiment = _experiment(client, study, new)
        if experiment and experiment.lifecycle_stage == "deleted":
            client.restore_experiment(experiment.experiment_id)
        found = all_runs(client, [experiment.experiment_id]) if experiment else ()
        own = {str(run.info.run_id): run for run in found}
        # MLflow changes no tag of a deleted run, such as the first attempt of an interrupted trial.
        runs = [run_id for run_id, run in own.items() if run.info.lifecycle_stage == "active"]
        for run_id in runs:
            client.set_tag(run_id, "study", new)
        # By their runs: a registry may serve another home, which has a study of the same name.
        for version in all_pages(client.search_model_versions):
            if version.run_id in own:
                client.set_model_version_tag(version.name, version.version, "study", new)
        if experiment and experiment.name != new:
            client.rename_experiment(experiment.experiment_id, new)
        # The last step: until then the study has its old name, and the next call continues.
        spec = study.user_attrs[SPEC]
        rename(open_storage(settings).engine, name, new, {SPEC: spec | {"study": spec["study"] | {"name": new}}})
    return Renamed(new, name, len(runs))


def _require_free(settings: Settings, name: str, new: str) -> None:
    if new in study_names(settings):
        raise SpecError(f"NAME: must be of no study, but there is one named {new!r}: choose another name")
    if has_spooled(settings, name):
        raise UnavailableError(
            f"study {name!r}: its results must be in MLflow, but some wait in the spool: mlp-search doctor --repair"
            " sends them"
        )


def _experiment(client: MlflowClient, study: StoredStudy, new: str) -> Experiment | None:
    """The study's experiment, which has the new name already where an earlier call was cut off."""
    old, other = find_experiment(client, study.study_name, run_ids_of_trials(study)), client.get_experiment_by_name(new)
    if old and other and old.experiment_id != other.experiment_id:
        raise SpecError(f"NAME: must be of no experiment in MLflow, but {new!r} is one: choose another name")
    return old or other
