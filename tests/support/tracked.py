"""Runs for trackers in tests, and a home whose MLflow database is of either kind."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import mlflow
import sqlalchemy as sa

from search.home.settings import Settings
from search.tracking.entries import MODEL_FILE, Entry, Epoch, RunStart
from search.tracking.runs import DatasetInput, Runs
from search.tracking.spool import write_entry
from search.tracking.tracker import Tracker

DATASET = DatasetInput("digits", "f00dbeef", "digits", {"training_rows": 1149})


PARAMS = {"width": 64, "learning_rate": 1e-3, "optimizer": "adam", "seed": 2**32 - 1}


MODEL = b"\x89HDF" + bytes(range(256)) * 40


@dataclass(frozen=True)
class Place:
    """A home with MLflow in one of the databases."""

    settings: Settings

    def runs(self, study: str) -> Runs:
        return Runs(self.settings, study, f"About {study}.", DATASET)

    def tracker(self, study: str, lines: list[str] | None = None) -> Tracker:
        tracker = Tracker(lambda: self.runs(study), (lines if lines is not None else []).append)
        tracker.wait_connected()
        return tracker

    @property
    def client(self) -> mlflow.MlflowClient:
        return mlflow.MlflowClient(self.settings.tracking_uri)

    def found(self, study: str) -> list[Any]:
        experiment = self.client.get_experiment_by_name(study)
        assert experiment
        return list(self.client.search_runs([experiment.experiment_id]))

    def run(self, study: str, number: int) -> Any:
        [run] = [run for run in self.found(study) if run.info.run_name == f"trial-{number:04d}"]
        return run

    @contextmanager
    def without(self, table: str) -> Iterator[None]:
        """Renames a table of MLflow's for the duration of the block."""
        engine = sa.create_engine(self.settings.tracking_uri)
        with engine.begin() as connection:
            connection.execute(sa.text(f"ALTER TABLE {table} RENAME TO {table}_away"))
        try:
            yield
        finally:
            with engine.begin() as connection:
                connection.execute(sa.text(f"ALTER TABLE {table}_away RENAME TO {table}"))
            engine.dispose()

    @contextmanager
    def refusing_datasets(self) -> Iterator[None]:
        """Makes every insert of a dataset fail, and nothing else."""
        refuse, allow = {
            "sqlite": (
                "CREATE TRIGGER refuse BEFORE INSERT ON datasets BEGIN SELECT RAISE(ABORT, 'no room'); END",
                "DROP TRIGGER refuse",
            ),
            "postgresql": (
                "ALTER TABLE datasets ADD CONSTRAINT refuse CHECK (name = '') NOT VALID",
                "ALTER TABLE datasets DROP CONSTRAINT refuse",
            ),
        }[sa.make_url(self.settings.tracking_uri).get_backend_name()]
        engine = sa.create_engine(self.settings.tracking_uri)
        with engine.begin() as connection:
            connection.execute(sa.text(refuse))
        try:
            yield
        finally:
            with engine.begin() as connection:
                connection.execute(sa.text(allow))
            engine.dispose()


def start(study: str, number: int) -> RunStart:
    tags = {"study": study, "trial": str(number), "device": "cpu:0"}
    return RunStart(study, f"trial-{number:04d}", 1_700_000_000_000 + number, PARAMS, tags)


def epochs(count: int, first: int = 1) -> list[Epoch]:
    return [
        Epoch(step, 1_700_000_000_000 + step, {"loss": 1 / step, "val_accuracy": 1 - 1 / step})
        for step in range(first, first + count)
    ]


def finished(study: str, number: int, state: str, history: Sequence[Epoch]) -> Entry:
    return Entry(
        start(study, number), 1_700_000_009_000, state, 0.9, {}, tuple(history), {"best_val_accuracy": 0.9},
        {"trial.state": state}, number,
    )  # fmt: skip


def end(place: Place, tracker: Tracker, entry: Entry, model: bytes = MODEL) -> None:
    tracker.end(entry.start.run_name, write_entry(place.settings.spool, entry, {MODEL_FILE: model}))


def steps(place: Place, run: Any, metric: str) -> list[tuple[int, float]]:
    history = place.client.get_metric_history(run.info.run_id, metric)
    return sorted((point.step, point.value) for point in history)
