"""Finds and repairs disagreements between Optuna, MLflow and the spool."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.errors import NotFoundError, UnavailableError
from search.doctor.content import content_findings, find_copies
from search.doctor.findings import Diagnosis, Finding, check
from search.doctor.leftovers import artifact_leftovers, spool_leftovers, unknown_in_spool, unreadable
from search.doctor.registry import logged_model_findings, model_findings
from search.doctor.trials import trial_findings
from search.doctor.view import search_runs, spooled, view_study
from search.home.addresses import is_sqlite
from search.home.locks import SearchedError, slug_lock, study_lock
from search.home.settings import Settings, read_settings, study_slug
from search.home.text import one_line, redact
from search.optimization.studies import load_study, study_names
from search.registry.versions import all_pages, model_lock
from search.storage.attributes import SPEC
from search.storage.heartbeats import is_searched
from search.storage.stored_study import StoredStudy
from search.tracking.connection import connect, open_home
from search.tracking.spool import collect_spools

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = ["Diagnosis", "Finding", "diagnose"]


def diagnose(*, repair: bool = False, home: Path | None = None) -> Diagnosis:
    """Compares Optuna, MLflow, the registry and the spool; skips studies that are being searched.

    Args:
        repair: Whether to repair the findings.
        home: The home; by default ``MLP_SEARCH_HOME``, else ``mlruns/``.

    Raises:
        NotFoundError: There is no such home.
        UnavailableError: A database, the tracking server or the registry cannot be used.
    """
    from mlflow.exceptions import MlflowException

    settings = read_settings(home)
    if not settings.home.is_dir():
        raise NotFoundError(f"home {settings.home}: must exist, but does not: correct --home or MLP_SEARCH_HOME")
    open_home(settings)
    try:
        return _HomeCheck(settings, connect(settings), repair).run()
    except MlflowException as error:
        raise UnavailableError(f"MLflow at {redact(settings.tracking_uri)}: {one_line(error)}") from error


@dataclass(slots=True)
class _HomeCheck:
    """Checks everything in a home once."""

    settings: Settings
    client: MlflowClient
    repair: bool
    found: list[Finding] = field(default_factory=list)
    left: list[Finding] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def run(self) -> Diagnosis:
        studies = study_names(self.settings)
        names = {*studies, *(entry.start.study for _, entry in spooled(self.settings)), *self._own_experiments()}
        for name in sorted(names):
            self._check_study(name, is_study=name in studies)
        self._check_unknown(names)
        self._check_registry(sorted(names))
        self._check_artifacts()
        return Diagnosis(tuple(self.found), tuple(self.left), tuple(self.remarks))

    def _check(self, find: Callable[[], Iterable[Finding]]) -> None:
        found, left = check(find, repair=self.repair)
        self.found += found
        self.left += left

    def _own_experiments(self) -> set[str]:
        """Names of MLflow's experiments; none on a server, which may have other people's."""
        if not is_sqlite(self.settings.tracking_uri):
            return set()
        return {found.name for found in all_pages(self.client.search_experiments) if found.experiment_id != "0"}

    def _check_study(self, name: str, *, is_study: bool) -> None:
        settings = self.settings
        with ExitStack() as stack:
            try:
                collect_spools(stack.enter_context(study_lock(settings, name)), name)
            except SearchedError:
                self.remarks.append(f"study {name}: skipped, it is being searched")
                return
            study = load_study(settings, name) if is_study else None
            if study is not None and SPEC not in study.user_attrs:
                self.remarks.append(f"study {name}: skipped, mlp-search did not create it")
            elif study is not None and settings.is_shared and is_searched(settings, study):
                self.remarks.append(f"study {name}: skipped, it is being searched")
            else:
                self._check(lambda: self._find(name, study))

    def _find(self, name: str, study: StoredStudy | None) -> Iterator[Finding]:
        view = view_study(self.settings, self.client, name, study)
        yield from spool_leftovers(self.settings, self.settings.spool / study_slug(name))
        yield from trial_findings(view)
        yield from content_findings(view, find_copies(self.settings.home))

    def _check_unknown(self, names: set[str]) -> None:
        settings = self.settings
        folders, files = unknown_in_spool(settings, names)
        for folder in folders:
            with slug_lock(settings, folder.name) as is_free:
                if is_free:
                    self._check(partial(spool_leftovers, settings, folder))
        self._check(lambda: [unreadable(settings, path) for path in files if path.exists()])

    def _check_registry(self, names: list[str]) -> None:
        settings, client = self.settings, self.client
        for model in [str(model.name) for model in all_pages(client.search_registered_models)]:
            with model_lock(settings, model):
                self._check(lambda: model_findings(settings, client, model, find_copies(settings.home)))  # noqa: B023
        experiments = [client.get_experiment_by_name(name) for name in names]
        ids = [experiment.experiment_id for experiment in experiments if experiment]
        self._check(lambda: logged_model_findings(settings, client, ids))

    def _check_artifacts(self) -> None:
        from mlflow.entities import ViewType

        if not is_sqlite(self.settings.tracking_uri):
            return
        ids = [experiment.experiment_id for experiment in all_pages(self.client.search_experiments, ViewType.ALL)]
        run_ids = {str(run.info.run_id) for run in search_runs(self.client, ids, ViewType.ALL)}
        self._check(lambda: artifact_leftovers(self.settings, run_ids)[0])
        self.remarks += artifact_leftovers(self.settings, run_ids)[1]
