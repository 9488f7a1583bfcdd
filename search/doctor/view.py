"""Reads one study from Optuna, MLflow and the spool, for comparison."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna

from search.finals.finals import REFIT_METRICS
from search.home.settings import Settings, study_slug
from search.optimization.leaderboard import trial_row
from search.optimization.run_records import metrics_of, recorded_results, tags_of
from search.optimization.seeds import trial_seed
from search.registry.versions import all_pages
from search.storage.attributes import FINGERPRINT, RESULT, SPEC
from search.storage.stored_study import StoredStudy
from search.tracking.entries import METRICS, Entry, Epoch, RunStart, now_ms
from search.tracking.run_names import trial_run_name
from search.tracking.runs import DatasetInput, Runs
from search.tracking.spool import read_entry

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment, Run


@dataclass(frozen=True, slots=True)
class Record:
    """A finished run as Optuna knows it.

    Attributes:
        entry: What MLflow must have; of each epoch Optuna knows the validation accuracy only.
        run_id: The run that Optuna has recorded for it.
        metrics: Names of the metrics logged for each epoch.
        n_epochs: The number of epochs that MLflow must have.
    """

    entry: Entry
    run_id: str | None
    metrics: tuple[str, ...]
    n_epochs: int

    @property
    def name(self) -> str:
        """The run's name."""
        return self.entry.start.run_name


@dataclass(slots=True)
class StudyView:
    """One study, or the experiment of single trainings, in Optuna, MLflow and the spool.

    Attributes:
        settings: The addresses of the three.
        client: MLflow's client.
        name: The name of the study and of the experiment.
        study: The study in Optuna; None for single trainings.
        experiment: The experiment in MLflow; None where there is none.
        runs: The runs that are not deleted.
        deleted: The deleted runs.
        spooled: The entries in the spool, by run name.
        records: The finished runs in Optuna, by run name.
        unfinished: The unfinished trials in Optuna, by run name.
    """

    settings: Settings
    client: MlflowClient
    name: str
    study: StoredStudy | None
    experiment: Experiment | None = None
    runs: list[Run] = field(default_factory=list)
    deleted: list[Run] = field(default_factory=list)
    spooled: dict[str, Path] = field(default_factory=dict)
    records: dict[str, Record] = field(default_factory=dict)
    unfinished: dict[str, optuna.trial.FrozenTrial] = field(default_factory=dict)

    def open_runs(self) -> Runs:
        """Opens the experiment for writing."""
        attributes = self.study.user_attrs if self.study else {}
        source = attributes[SPEC]["data"]["source"] if SPEC in attributes else ""
        dataset = DatasetInput(Path(source).stem, attributes.get(FINGERPRINT, ""), source) if source else None
        return Runs(self.settings, self.name, "", dataset)

    def matched(self) -> dict[str, Run]:
        """The run of each record without a spool entry: by the recorded id, else by name, a finished run first."""
        by_id = {run.info.run_id: run for run in self.runs}
        finished_first = sorted(self.runs, key=lambda run: run.info.status != "FINISHED")
        by_name = {run.info.run_name: run for run in reversed(finished_first)}  # the first of a name wins
        records = {name: record for name, record in self.records.items() if name not in self.spooled}
        found = {name: by_id.get(record.run_id) or by_name.get(name) for name, record in records.items()}
        return {name: run for name, run in found.items() if run}


def view_study(settings: Settings, client: MlflowClient, name: str, study: StoredStudy | None) -> StudyView:
    """Reads a study from all three."""
    from mlflow.entities import ViewType

    view = StudyView(settings, client, name, study, client.get_experiment_by_name(name))
    if view.experiment:
        every = search_runs(client, [view.experiment.experiment_id], ViewType.ALL)
        view.runs = [run for run in every if run.info.lifecycle_stage == "active"]
        view.deleted = [run for run in every if run.info.lifecycle_stage == "deleted"]
    view.spooled = {entry.start.run_name: folder for folder, entry in spooled(settings, study_slug(name))}
    if study:
        records = [*_trials(study), *_others(study)]
        view.records = {record.name: record for record in records}
        trials = study.get_trials(deepcopy=False)
        view.unfinished = {trial_run_name(t.number): t for t in trials if not t.state.is_finished()}
    return view


def search_runs(client: MlflowClient, experiment_ids: list[str], view_type: int) -> list[Run]:
    """All runs of some experiments."""
    if not experiment_ids:
        return []
    return list(all_pages(client.search_runs, experiment_ids, "", view_type, 1000))


def spooled(settings: Settings, slug: str = "*") -> Iterator[tuple[Path, Entry]]:
    """The readable entries of the spool, of one study or of all, with their folders."""
    for folder in sorted(settings.spool.glob(f"{slug}/*")):
        if folder.suffix != ".tmp" and (entry := readable_entry(folder)):
            yield folder, entry


def readable_entry(folder: Path) -> Entry | None:
    """An entry of the spool; None where it is damaged or no entry."""
    with suppress(OSError, json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError):
        entry = read_entry(folder)
        return entry if folder == folder.parent / entry.start.run_name else None
    return None


def _trials(study: optuna.Study) -> Iterable[Record]:
    attributes, seed = study.user_attrs, study.user_attrs[SPEC]["study"].get("seed", 0)
    for trial in study.get_trials(deepcopy=False):
        if trial.state.is_finished():
            name, result = trial_run_name(trial.number), trial.user_attrs.get(RESULT, {})
            row = trial_row(trial, attributes)
            given = {"params": row.params, "epochs_trained": row.epochs_trained, "seed": trial_seed(seed, trial.number)}
            record = _record(
                study, name, trial.number, row.state, given | result, trial.intermediate_values, row.run_id,
                (_ms(trial.datetime_start), _ms(trial.datetime_complete)),
            )  # fmt: skip
            yield record


def _others(study: StoredStudy) -> Iterable[Record]:
    for name, result in recorded_results(study).items():
        number, state = int(name.split("-")[1]), "FAIL" if result.get("message") else "COMPLETE"
        at_ms = _ms(None)
        yield _record(study, name, None, state, {"trial": number, **result}, {}, result["run_id"], (at_ms, at_ms))


def _record(
    study: optuna.Study,
    name: str,
    number: int | None,
    state: str,
    result: Mapping[str, Any],
    curve: Mapping[int, float],
    run_id: str | None,
    span_ms: tuple[int, int],
) -> Record:
    role = name.split("-")[0]
    params = dict(result.get("params", {})) | {k: result[k] for k in ("seed", "n_parameters") if k in result}
    tags = {"study": study.study_name, "trial": str(result.get("trial", number)), "device": str(result.get("device"))}
    tags["dataset.fingerprint"] = str(study.user_attrs.get(FINGERPRINT, ""))
    if number is None:
        tags["role"] = role
    start = RunStart(study.study_name, name, span_ms[0], params, tags)
    n_epochs = 0 if "copied_from" in result else int(result.get("epochs_trained", 0))
    known = sorted((step, value) for step, value in curve.items() if step <= n_epochs)
    history = tuple(Epoch(step, span_ms[1], {"val_accuracy": value}) for step, value in known)
    figures = {} if state == "FAIL" else metrics_of(result)
    entry = Entry(
        start, span_ms[1], state, None, dict(result), history, figures, tags_of(state, result), number, run_id
    )
    return Record(entry, run_id, REFIT_METRICS if role == "refit" else METRICS, n_epochs)


def _ms(at: datetime | None) -> int:
    return int(at.timestamp() * 1000) if at else now_ms()
