"""One study as Optuna, MLflow and the spool have it, side by side."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

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


@dataclass(frozen=True, slots=True)
class Record:
    """A finished run as Optuna knows it.

    Attributes:
        entry: What MLflow is to have of it; of each epoch Optuna knows the validation accuracy only.
        run_id: The run that Optuna believes to be its.
        metrics: What is logged of each epoch.
        n_epochs: How many epochs MLflow is to have.
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
    """What each of the three has of one study, or of the experiment of single trainings.

    Attributes:
        settings: Where they are.
        client: MLflow's.
        name: The study's, and the experiment's.
        study: Optuna's; None for single trainings.
        experiment: MLflow's; None where there is none.
        runs: Those that were not deleted.
        deleted: Those that were.
        spooled: The entries that wait, by run name.
        records: What Optuna has finished, by run name.
        unfinished: Optuna's other trials, by run name.
    """

    settings: Settings
    client: Any
    name: str
    study: StoredStudy | None
    experiment: Any = None
    runs: list[Any] = field(default_factory=list)
    deleted: list[Any] = field(default_factory=list)
    spooled: dict[str, Path] = field(default_factory=dict)
    records: dict[str, Record] = field(default_factory=dict)
    unfinished: dict[str, optuna.trial.FrozenTrial] = field(default_factory=dict)

    def open_runs(self) -> Runs:
        """The runs of the experiment, to write to."""
        attributes = self.study.user_attrs if self.study else {}
        source = attributes[SPEC]["data"]["source"] if SPEC in attributes else ""
        dataset = DatasetInput(Path(source).stem, attributes.get(FINGERPRINT, ""), source) if source else None
        return Runs(self.settings, self.name, "", dataset)

    def by_name(self) -> dict[str, list[Any]]:
        """The runs by their names."""
        found: dict[str, list[Any]] = defaultdict(list)
        for run in self.runs:
            found[run.info.run_name].append(run)
        return found

    def matched(self) -> dict[str, Any]:
        """The run of each record: the one that it knows, whatever it is called now, else one of its name."""
        by_id, by_name = {run.info.run_id: run for run in self.runs}, self.by_name()
        found = {}
        for name, record in self.records.items():
            same_name = sorted(by_name.get(name, []), key=lambda run: run.info.status != "FINISHED")
            if run := by_id.get(record.run_id) or next(iter(same_name), None):
                found[name] = run
        return found


def view_study(settings: Settings, client: Any, name: str, study: StoredStudy | None) -> StudyView:
    """Reads all three."""
    from mlflow.entities import ViewType

    view = StudyView(settings, client, name, study, client.get_experiment_by_name(name))
    if view.experiment:
        every = search_runs(client, [view.experiment.experiment_id], ViewType.ALL)
        view.runs = [run for run in every if run.info.lifecycle_stage == "active"]
        view.deleted = [run for run in every if run.info.lifecycle_stage == "deleted"]
    view.spooled = dict(_spooled(settings, name))
    if study:
        records = [*_trials(study), *_others(study)]
        view.records = {record.name: record for record in records}
        trials = study.get_trials(deepcopy=False)
        view.unfinished = {trial_run_name(t.number): t for t in trials if not t.state.is_finished()}
    return view


def search_runs(client: Any, experiment_ids: list[str], view_type: int) -> list[Any]:
    """Every run of some experiments."""
    if not experiment_ids:
        return []
    return list(all_pages(client.search_runs, experiment_ids, "", view_type, 1000))


def _spooled(settings: Settings, name: str) -> Iterable[tuple[str, Path]]:
    folder = settings.spool / study_slug(name)
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.suffix != ".tmp" and (entry := readable_entry(path)):
            yield entry.start.run_name, path


def readable_entry(folder: Path) -> Entry | None:
    """An entry of the spool; None where it is none, or damaged."""
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
