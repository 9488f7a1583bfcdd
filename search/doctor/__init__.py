"""Finds and mends what Optuna, MLflow and the spool disagree on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from pipelines.errors import NotFoundError, UnavailableError
from search.doctor.content import Copies, content_findings
from search.doctor.findings import Diagnosis, Finding, repair
from search.doctor.leftovers import artifact_leftovers, spool_leftovers, unknown_in_spool, unreadable
from search.doctor.registry import logged_model_findings, model_findings
from search.doctor.trials import trial_findings
from search.doctor.view import readable_entry, search_runs, view_study
from search.home.addresses import is_sqlite
from search.home.locks import SearchedError, slug_lock, study_lock
from search.home.settings import Settings, read_settings, study_slug
from search.home.text import one_line, redact
from search.optimization.studies import load_study, study_names
from search.registry.versions import all_pages, model_lock
from search.storage.attributes import SPEC
from search.storage.heartbeats import is_searched
from search.tracking.connection import connect, open_home
from search.tracking.spool import collect_spools

__all__ = ["Diagnosis", "Finding", "examine"]


def examine(*, repair: bool = False, home: Path | None = None) -> Diagnosis:
    """Compares Optuna, MLflow, the registry and the spool; a study that is being searched is left alone.

    Args:
        repair: Whether to mend what is found.
        home: Where the databases are; ``MLP_SEARCH_HOME`` or ``mlruns/`` where it is not given.

    Raises:
        NotFoundError: There is no such home.
        UnavailableError: A database, the tracking server or the registry cannot be used.
    """
    from mlflow.exceptions import MlflowException

    settings = read_settings(home)
    if not settings.home.is_dir():
        raise NotFoundError(f"home {settings.home}: must be there, but is not: correct --home or MLP_SEARCH_HOME")
    open_home(settings)
    try:
        return _Check(settings, repair=repair).run()
    except MlflowException as error:
        raise UnavailableError(f"MLflow at {redact(settings.tracking_uri)}: {one_line(error)}") from error


class _Check:
    """One walk through a home."""

    def __init__(self, settings: Settings, *, repair: bool) -> None:
        self._settings, self._repair = settings, repair
        self._client = connect(settings)
        self._found: list[Finding] = []
        self._left: list[Finding] = []
        self._remarks: list[str] = []

    def run(self) -> Diagnosis:
        studies = study_names(self._settings)
        waiting = {entry.start.study for entry in self._entries()}
        names = sorted({*studies, *waiting, *self._own_experiments()})
        for name in names:
            self._visit_study(name, is_study=name in studies)
        self._visit_unknown(set(names))
        self._visit_registry(names)
        self._visit_artifacts()
        return Diagnosis(tuple(self._found), tuple(self._left), tuple(self._remarks))

    def _visit_unknown(self, names: set[str]) -> None:
        settings = self._settings
        folders, _ = unknown_in_spool(settings, names)
        for folder in folders:
            with slug_lock(settings, folder.name) as is_free:
                if is_free:
                    self._treat(partial(spool_leftovers, settings, folder))
        self._treat(lambda: [unreadable(settings, path) for path in unknown_in_spool(settings, names)[1]])

    def _treat(self, look: Callable[[], Iterable[Finding]]) -> None:
        found, left = repair(lambda: list(look()), repair=self._repair)
        self._found += found
        self._left += left

    def _entries(self) -> Iterator[Any]:
        for folder in self._settings.spool.glob("*/*"):
            if folder.suffix != ".tmp" and (entry := readable_entry(folder)):
                yield entry

    def _own_experiments(self) -> set[str]:
        """Experiments of MLflow's, where it is this home's own: on a server there are other people's too."""
        if not is_sqlite(self._settings.tracking_uri):
            return set()
        return {found.name for found in all_pages(self._client.search_experiments) if found.experiment_id != "0"}

    def _visit_study(self, name: str, *, is_study: bool) -> None:
        settings = self._settings
        with ExitStack() as stack:
            try:
                collect_spools(stack.enter_context(study_lock(settings, name)), name)
            except SearchedError:
                self._remarks.append(f"study {name}: left alone, it is being searched")
                return
            study = load_study(settings, name) if is_study else None
            if study is not None and SPEC not in study.user_attrs:
                self._remarks.append(f"study {name}: left alone, mlp-search did not make it")
            elif study is not None and settings.is_shared and is_searched(settings, study):
                self._remarks.append(f"study {name}: left alone, it is being searched")
            else:
                self._treat(lambda: self._look(name, study))

    def _look(self, name: str, study: Any) -> Iterator[Finding]:
        view = view_study(self._settings, self._client, name, study)
        yield from spool_leftovers(self._settings, self._settings.spool / study_slug(name))
        yield from trial_findings(view)
        yield from content_findings(view, Copies(self._settings))

    def _visit_registry(self, names: list[str]) -> None:
        settings, client = self._settings, self._client
        for model in [str(model.name) for model in all_pages(client.search_registered_models)]:
            with model_lock(settings, model):
                self._treat(partial(model_findings, settings, client, model, Copies(settings)))
        experiments = [client.get_experiment_by_name(name) for name in names]
        ids = [experiment.experiment_id for experiment in experiments if experiment]
        self._treat(lambda: logged_model_findings(settings, client, ids))

    def _visit_artifacts(self) -> None:
        from mlflow.entities import ViewType

        if not is_sqlite(self._settings.tracking_uri):
            return
        ids = [experiment.experiment_id for experiment in all_pages(self._client.search_experiments, ViewType.ALL)]
        run_ids = {str(run.info.run_id) for run in search_runs(self._client, ids, ViewType.ALL)}
        self._treat(lambda: artifact_leftovers(self._settings, run_ids)[0])
        self._remarks += artifact_leftovers(self._settings, run_ids)[1]
