"""Finds and repairs disagreements between Optuna, MLflow and the spool."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.errors import NotFoundError, UnavailableError
from search.doctor.content import content_findings, find_copies
from search.doctor.findings import Diagnosis, Finding
from search.doctor.leftovers import artifact_leftovers, spool_leftovers, unreadable
from search.doctor.registry import logged_model_findings, model_findings
from search.doctor.trials import trial_findings
from search.doctor.view import spooled, view_study
from search.home.addresses import is_sqlite
from search.home.locks import SearchedError, slug_lock, study_lock
from search.home.read_only import can_write, readable
from search.home.settings import Settings, prepare_home, read_settings, study_slug
from search.home.text import one_line, redact
from search.optimization.studies import load_study, study_names
from search.registry.versions import model_lock
from search.storage.attributes import SPEC
from search.storage.sharing import FinalsError, is_searched, sole_lock
from search.storage.stored_study import StoredStudy
from search.tracking.connection import connect, mlflow_errors, open_home, require_answer
from search.tracking.history import all_pages, all_runs, experiment_ids
from search.tracking.spool import collect_spools

if TYPE_CHECKING:
    from mlflow import MlflowClient


def diagnose(*, repair: bool = False, home: Path | None = None) -> Diagnosis:
    """Compares Optuna, MLflow, the registry and the spool; skips studies that are being searched.

    Args:
        repair: Whether to repair the findings.
        home: The home; by default ``MLP_SEARCH_HOME``, else ``mlruns/``.

    Raises:
        NotFoundError: There is no such home.
        UnavailableError: A database, the tracking server or the registry cannot be used.
    """
    settings = read_settings(home)
    if not settings.home.is_dir():
        raise NotFoundError(f"home {settings.home}: must exist, but does not: correct --home or MLP_SEARCH_HOME")
    diagnosis = Diagnosis(repair)
    with ExitStack() as stack:
        if is_writable := repair or can_write(settings):
            prepare_home(settings)  # raises before a database is opened, which SQLite would change
            open_home(settings)
        else:
            diagnosis.remarks.append(f"home {settings.home}: is read-only; checked copies of its databases")
            settings = stack.enter_context(readable(settings))
            require_answer(settings)
        stack.enter_context(mlflow_errors(f"MLflow at {redact(settings.tracking_uri)}"))
        _HomeCheck(settings, connect(settings), diagnosis, is_writable).run()
    return diagnosis


@dataclass(slots=True)
class _HomeCheck:
    """Checks everything in a home once."""

    settings: Settings
    client: MlflowClient
    diagnosis: Diagnosis
    is_writable: bool

    def run(self) -> None:
        studies = study_names(self.settings)
        names = {*studies, *(entry.start.study for _, entry in spooled(self.settings))}
        if is_sqlite(self.settings.tracking_uri):  # a server may have other people's experiments
            names |= {found.name for found in all_pages(self.client.search_experiments) if found.experiment_id != "0"}
        for name in sorted(names):
            self._check_study(name, is_study=name in studies)
        self._check_unknown(names)
        self._check_registry(sorted(names))
        if is_sqlite(self.settings.tracking_uri):
            self._check_artifacts()

    def _check_study(self, name: str, *, is_study: bool) -> None:
        settings = self.settings
        try:
            lock = sole_lock if self.diagnosis.repair else study_lock
            with lock(settings, name) as own:
                if own.process_index:  # another process of this home has the spool in which it keeps results
                    raise SearchedError
                if self.is_writable:
                    collect_spools(own, name)
                study = load_study(settings, name) if is_study else None
                if study and SPEC not in study.user_attrs:
                    self.diagnosis.remarks.append(f"study {name}: skipped, mlp-search did not create it")
                elif study and settings.is_shared and is_searched(settings, study):
                    raise SearchedError
                else:
                    self.diagnosis.check(partial(self._find, name, study))
        except FinalsError:
            self.diagnosis.remarks.append(f"study {name}: skipped, its finalists train or its held-out test is opened")
        except SearchedError:
            self.diagnosis.remarks.append(f"study {name}: skipped, it is being searched")

    def _find(self, name: str, study: StoredStudy | None) -> Iterator[Finding]:
        view = view_study(self.settings, self.client, name, study)
        yield from spool_leftovers(self.settings, self.settings.spool / study_slug(name))
        yield from trial_findings(view)
        yield from content_findings(view, find_copies(self.settings.home))

    def _check_unknown(self, names: set[str]) -> None:
        settings, known = self.settings, {study_slug(name) for name in names}
        paths = [path for path in sorted(settings.spool.glob("*")) if path.name not in known]
        for folder in filter(Path.is_dir, paths):
            with slug_lock(settings, folder.name) as is_free:
                if is_free:
                    self.diagnosis.check(partial(spool_leftovers, settings, folder))
        self.diagnosis.check(lambda: [unreadable(settings, path) for path in paths if path.is_file()])

    def _check_registry(self, names: list[str]) -> None:
        settings, client = self.settings, self.client
        copies = find_copies(settings.home)
        for model in [str(model.name) for model in all_pages(client.search_registered_models)]:
            with model_lock(settings, model):
                self.diagnosis.check(partial(model_findings, settings, client, model, copies))
        experiments = [client.get_experiment_by_name(name) for name in names]
        ids = [experiment.experiment_id for experiment in experiments if experiment]
        self.diagnosis.check(partial(logged_model_findings, settings, client, ids))

    def _check_artifacts(self) -> None:
        run_ids = {str(run.info.run_id) for run in all_runs(self.client, experiment_ids(self.client))}
        self.diagnosis.check(lambda: artifact_leftovers(self.settings, run_ids)[0])
        self.diagnosis.remarks.extend(artifact_leftovers(self.settings, run_ids)[1])
