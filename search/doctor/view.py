"""Reads one study from Optuna, MLflow and the spool, for comparison."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.home.settings import Settings, study_slug
from search.optimization.leaderboard import objective_of, trial_row
from search.optimization.run_records import metrics_of, recorded_results, run_ids_of_trials, tags_of
from search.optimization.seeds import trial_seed
from search.storage.attributes import FINGERPRINT, RESULT, SPEC
from search.storage.stored_study import StoredStudy
from search.tracking.entries import Entry, Epoch, RunStart, now_ms
from search.tracking.history import all_runs, find_experiment
from search.tracking.run_names import trial_number, trial_run_name
from search.tracking.runs import DatasetInput, Runs
from search.tracking.spool import read_entry

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment, Run


@dataclass
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
        records: The finished runs in Optuna, by run name, as MLflow must have them; of each epoch Optuna knows the
            objective only.
        unfinished: The run names of the unfinished trials in Optuna.
    """

    settings: Settings
    client: MlflowClient
    name: str
    study: StoredStudy | None
    experiment: Experiment | None = None
    runs: list[Run] = field(default_factory=list)
    deleted: list[Run] = field(default_factory=list)
    spooled: dict[str, Path] = field(default_factory=dict)
    records: dict[str, Entry] = field(default_factory=dict)
    unfinished: set[str] = field(default_factory=set)

    def open_runs(self) -> Runs:
        """Opens the experiment for writing."""
        attributes = self.study.user_attrs if self.study else {}
        source = attributes[SPEC]["data"]["source"] if SPEC in attributes else ""
        dataset = DatasetInput(Path(source).stem, attributes.get(FINGERPRINT, ""), source) if source else None
        return Runs(self.settings, self.name, "", dataset)

    @cached_property
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
    own = run_ids_of_trials(study) if study else ()
    view = StudyView(settings, client, name, study, find_experiment(client, name, own))
    for run in all_runs(client, [view.experiment.experiment_id]) if view.experiment else ():
        stage = view.runs if run.info.lifecycle_stage == "active" else view.deleted
        stage.append(run)
    view.spooled = {entry.start.run_name: folder for folder, entry in spooled(settings, study_slug(name))}
    if study:
        view.records = {entry.start.run_name: entry for entry in (*_trials(study), *_others(study))}
        trials = study.get_trials(deepcopy=False)
        view.unfinished = {trial_run_name(trial.number) for trial in trials if not trial.state.is_finished()}
    return view


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


def n_epochs(record: Entry) -> int:
    """The number of epochs that MLflow must have; none of a trial that was copied from an equal one."""
    return 0 if "copied_from" in record.result else int(record.result.get("epochs_trained", 0))


def _trials(study: StoredStudy) -> Iterator[Entry]:
    attributes = study.user_attrs
    seed = attributes[SPEC]["study"].get("seed", 0)
    for trial in study.get_trials(deepcopy=False):
        if trial.state.is_finished():
            row = trial_row(trial, attributes)
            known = {"params": row.params, "epochs_trained": row.epochs_trained, "trial": trial.number}
            result = {"seed": trial_seed(seed, trial.number), **known, **trial.user_attrs.get(RESULT, {})}
            record = _record(study.study_name, attributes, trial_run_name(trial.number), row.state, result, row.run_id)
            ended_ms = _ms(trial.datetime_complete)
            objective = objective_of(attributes).name
            history = tuple(
                Epoch(step, ended_ms, {objective: value})
                for step, value in sorted(trial.intermediate_values.items())
                if step <= n_epochs(record)
            )
            start = replace(record.start, started_ms=_ms(trial.datetime_start))
            yield replace(record, start=start, ended_ms=ended_ms, history=history, number=trial.number)


def _others(study: StoredStudy) -> Iterator[Entry]:
    attributes = study.user_attrs
    for name, result in recorded_results(study).items():
        state = "FAIL" if result.get("message") else "COMPLETE"
        result = {"trial": int(name.split("-")[1]), **result}
        yield _record(study.study_name, attributes, name, state, result, result["run_id"])


def _record(
    study: str, attributes: Mapping[str, Any], name: str, state: str, result: dict[str, Any], run_id: str | None
) -> Entry:
    """A run that ends now, of a study with these attributes."""
    now = now_ms()
    tags = {"study": study, "trial": str(result["trial"]), "device": str(result.get("device"))}
    tags["precision"] = str(result.get("precision", "float32"))
    tags["dataset.fingerprint"] = str(attributes.get(FINGERPRINT, ""))
    if trial_number(name) is None:
        tags["role"] = name.split("-")[0]
    params = result.get("params", {}) | {key: result[key] for key in ("seed", "n_parameters") if key in result}
    figures = {} if state == "FAIL" else metrics_of(result)
    start = RunStart(study, name, now, params, tags)
    return Entry(start, now, state, None, result, (), figures, tags_of(state, result), None, run_id)


def _ms(at: datetime | None) -> int:
    return int(at.timestamp() * 1000) if at else now_ms()
