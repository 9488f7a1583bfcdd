"""Homes with finished studies, made without training: Optuna, MLflow and the files as a search leaves them."""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
import uuid
from collections.abc import Collection
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import IntDistribution
from optuna.trial import FrozenTrial, TrialState
from reports import report_of

from pipelines.config import Hyperparameters
from search.home.settings import Settings
from search.optimization.run_records import files_of, metrics_of, result_of, tags_of
from search.optimization.seeds import trial_seed
from search.optimization.studies import load_study, open_study
from search.spec.reading import spec_from_dict
from search.storage.attributes import RESULT, RUN_ID
from search.tracking.entries import Entry, Epoch, RunStart
from search.tracking.runs import DatasetInput, Runs
from search.tracking.spool import remove_entry, write_entry
from search.workers.tasks import Outcome, Task

FINGERPRINT, EPOCHS = "f00d", 4
STARTED = datetime.now() - timedelta(hours=2)
ENDED = STARTED + timedelta(minutes=1)


class StudyBuilder:
    """Builds a study of one-layer networks, trial by trial."""

    def __init__(self, settings: Settings, name: str) -> None:
        spec = spec_from_dict(
            {
                "study": {"name": name, "trials": 1000},
                "data": {"source": "digits", "folds": 1},
                "space": {"width": {"low": 1, "high": 1000}, "epochs": EPOCHS},
            }
        )
        self.settings, self.name = settings, name
        open_study(settings, spec, FINGERPRINT)
        self.study = load_study(settings, name)
        self.runs = Runs(settings, name, "", DatasetInput("digits", FINGERPRINT, "digits"))

    def outcome(self, number: int, model: bytes = b"") -> Outcome:
        values = [round(0.5 + 0.1 * epoch + number / 10_000, 6) for epoch in range(1, EPOCHS + 1)]
        history = tuple(report_of(e, 1 / e, v, 1.1 / e, v) for e, v in enumerate(values, 1))
        model = model or b"model of %s %d" % (self.name.encode(), number)
        return Outcome(
            history, EPOCHS, values[-1], model, hashlib.sha256(model).hexdigest(), b"", 42, "finished", 0.25, 100
        )

    def entry(self, number: int, outcome: Outcome) -> Entry:
        hyperparameters = Hyperparameters(width=number + 1, epochs=EPOCHS)
        result = result_of(Task(number, hyperparameters, 0), outcome, "cpu:0")
        params = {**result["params"], "seed": trial_seed(0, number), "n_parameters": 42}
        tags = {"study": self.name, "trial": str(number), "device": "cpu:0", "dataset.fingerprint": FINGERPRINT}
        start = RunStart(self.name, f"trial-{number:04d}", ms(STARTED), params, tags)
        epochs = tuple(Epoch(report.epoch, ms(ENDED), dict(report.metrics)) for report in outcome.history)
        value, late = outcome.best_value, tags_of("COMPLETE", result)
        return Entry(start, ms(ENDED), "COMPLETE", value, result, epochs, metrics_of(result), late, number)

    def track(self, entry: Entry, outcome: Outcome, *, without: Collection[int] = ()) -> str:
        """Adds its run to MLflow, without some epochs."""
        run_id = self.runs.open(entry.start)
        epochs = [epoch for epoch in entry.history if epoch.step not in without]
        folder = write_entry(self.settings.spool, entry, files_of(outcome))
        self.runs.log(run_id, entry.start.params, epochs, entry)
        self.runs.end(run_id, entry, folder)
        remove_entry(folder)
        return run_id

    def trial(self, state: str, entry: Entry | None = None, run_id: str | None = None) -> int:
        """Adds a trial to Optuna; returns its number."""
        number = len(self.study.get_trials(deepcopy=False))
        attributes = ({RESULT: dict(entry.result)} if entry else {}) | ({RUN_ID: run_id} if run_id else {})
        trial = FrozenTrial(
            number, TrialState[state], entry.value if entry else None, STARTED, None, {"width": number + 1},
            {"width": IntDistribution(1, 1000)}, attributes, {},
            {e.step: e.metrics["val_accuracy"] for e in entry.history} if entry else {}, -1,
        )  # fmt: skip
        trial.datetime_complete = ENDED if TrialState[state].is_finished() else None
        self.study.add_trial(trial)
        return number

    def add(self, model: bytes = b"", *, without: Collection[int] = ()) -> str:
        """Adds a complete trial with its run; returns the run's id."""
        number = len(self.study.get_trials(deepcopy=False))
        outcome = self.outcome(number, model)
        entry = self.entry(number, outcome)
        run_id = self.track(entry, outcome, without=without)
        self.trial("COMPLETE", entry, run_id)
        return run_id


def multiply(builder: StudyBuilder, n_trials: int) -> None:
    """Adds copies of the first trial: rows and files, written directly because MLflow would take minutes."""
    settings, first = builder.settings, builder.study.trials[0].user_attrs[RUN_ID]
    path = settings.tracking_uri.removeprefix("sqlite:///")
    with closing(sqlite3.connect(path)) as database:
        tables = {t: _rows(database, t, first) for t in ("runs", "tags", "params", "metrics", "latest_metrics")}
        for _ in range(n_trials):
            number, run_id = len(builder.study.get_trials(deepcopy=False)), uuid.uuid4().hex
            entry = builder.entry(number, builder.outcome(number, b"model of %s 0" % builder.name.encode()))
            names = {"mlflow.runName": entry.start.run_name, "trial": str(number)}
            figures = entry.metrics | {"val_accuracy": None}
            for table, (columns, rows) in tables.items():
                for row in rows:
                    new = dict(zip(columns, row, strict=True)) | {"run_uuid": run_id}
                    if table == "runs":
                        new |= {
                            "name": entry.start.run_name,
                            "artifact_uri": new["artifact_uri"].replace(first, run_id),
                        }
                    elif table == "tags":
                        new["value"] = names.get(new["key"], new["value"])
                    elif table.endswith("metrics") and figures.get(new["key"]) is not None:
                        new["value"] = figures[new["key"]]
                    places = ", ".join("?" * len(columns))
                    database.execute(f"INSERT INTO {table} ({', '.join(new)}) VALUES ({places})", list(new.values()))
            shutil.copytree(settings.home / "artifacts" / first, settings.home / "artifacts" / run_id)
            builder.trial("COMPLETE", entry, run_id)
        database.commit()


def _rows(database: sqlite3.Connection, table: str, run_id: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    cursor = database.execute(f"SELECT * FROM {table} WHERE run_uuid = ?", [run_id])
    return [column[0] for column in cursor.description], cursor.fetchall()


def ms(at: datetime) -> int:
    return int(at.timestamp() * 1000)


def model_file(settings: Settings, run_id: str) -> Path:
    """The path of a run's ``model.h5``."""
    return settings.home / "artifacts" / run_id / "artifacts" / "model.h5"


def reload(builder: StudyBuilder) -> optuna.Study:
    """Reads the study from its database again."""
    return optuna.load_study(study_name=builder.name, storage=builder.settings.optuna_storage)
