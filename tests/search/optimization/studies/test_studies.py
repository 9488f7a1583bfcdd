"""Optuna's database: the same suite over each kind of database that a study can lie in."""

from __future__ import annotations

import sqlite3
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from databases import ask, finish, opened
from mlflow import MlflowClient
from optuna.storages import RDBStorage

from pipelines.errors import NotFoundError, UnavailableError
from search.home.settings import Settings, prepare_home, read_settings
from search.optimization.leaderboard import leaderboard
from search.optimization.run_records import record_run_id
from search.optimization.studies import load_study, study_names
from search.spec.study_spec import StudySpec
from search.storage.attributes import RESULT
from search.storage.database import open_storage
from search.tracking.connection import make_database


def test_asking_a_shared_database_says_nothing_on_the_terminal(places: Settings, spec: StudySpec) -> None:
    """Optuna would warn with each trial that heartbeats are for ``Study.optimize``."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        ask(opened(places, spec))


class TestReading:
    def test_a_study_that_does_not_exist(self, places: Settings, spec: StudySpec) -> None:
        opened(places, replace(spec, name="mnist-width"))
        with pytest.raises(NotFoundError, match=r"study 'mnist-widht': must be one of this home, .* mean mnist-width"):
            load_study(places, "mnist-widht")
        assert "mnist-width" in study_names(places)

    def test_the_leaderboard_has_the_best_first(self, places: Settings, spec: StudySpec) -> None:
        study = opened(places, spec)
        outcomes = [
            ("COMPLETE", 0.5), ("FAIL", None), ("PRUNED", 0.99), ("COMPLETE", 0.9), ("PRUNED", 0.2), ("COMPLETE", 0.9),
        ]  # fmt: skip
        for state, value in outcomes:
            finish(study, ask(study)[0], state, value)
        running = ask(study)[0]
        running.report(0.7, 1)
        rows = leaderboard(load_study(places, spec.name))
        assert [row.number for row in rows] == [3, 5, 0, 2, 4, 6, 1]
        assert rows[5].state == "RUNNING"
        assert rows[5].value == 0.7
        assert rows[6].value is None

    def test_a_row_has_everything_that_training_came_to(self, places: Settings, spec: StudySpec) -> None:
        study = opened(places, spec)
        trial, _ = ask(study)
        result = {
            "params": {"width": 8, "epochs": 20}, "best_val_accuracy": 0.75, "best_epoch": 4, "epochs_trained": 6,
            "duration_s": 1.5, "device": "cpu:1",
        }  # fmt: skip
        trial.set_user_attr(RESULT, result)
        record_run_id(study, "trial-0000", "abc")
        study.tell(trial, 0.75)
        [row] = leaderboard(load_study(places, spec.name))
        assert {key: getattr(row, key) for key in result if key != "best_val_accuracy"} == {
            key: value for key, value in result.items() if key != "best_val_accuracy"
        }
        assert (row.value, row.state, row.run_id) == (0.75, "COMPLETE", "abc")

    def test_the_run_that_was_opened_last_is_the_trial_s(self, places: Settings, spec: StudySpec) -> None:
        """A run is opened again where a process died before MLflow had the trial, though the trial may have ended."""
        study = opened(places, spec)
        trial, _ = ask(study)
        record_run_id(study, "trial-0000", "first")
        record_run_id(study, "trial-0000", "second")
        assert leaderboard(load_study(places, spec.name))[0].run_id == "second"
        finish(study, trial, "COMPLETE", 0.5)
        record_run_id(study, "trial-0000", "third")
        assert leaderboard(load_study(places, spec.name))[0].run_id == "third"
        record_run_id(study, "trial-0000", "fourth")
        assert leaderboard(load_study(places, spec.name))[0].run_id == "fourth"


class TestUnavailable:
    def message(self, storage: str, home: Path) -> str:
        with pytest.raises(UnavailableError) as caught:
            open_storage(read_settings(home, {"OPTUNA_STORAGE": storage}))
        assert "\n" not in str(caught.value)
        return str(caught.value)

    def test_a_server_that_does_not_answer_without_its_password(self, tmp_path: Path) -> None:
        message = self.message("postgresql://me:s3cret@127.0.0.1:1/db", tmp_path)
        assert message.startswith("Optuna's database postgresql")
        assert "s3cret" not in message
        assert "refused" in message

    def test_a_driver_that_is_not_installed_is_named(self, tmp_path: Path) -> None:
        message = self.message("postgresql+pg8000://me:s3cret@127.0.0.1/db", tmp_path)
        assert message.endswith(": its driver is not installed: pip install 'mlp-search[postgres]'")
        assert "s3cret" not in message

    def test_a_file_that_is_no_database(self, tmp_path: Path) -> None:
        (tmp_path / "optuna.db").write_bytes(b"x" * 4096)
        assert "not a database" in self.message(f"sqlite:///{tmp_path}/optuna.db", tmp_path)

    def test_a_database_of_another_version_of_optuna(self, tmp_path: Path) -> None:
        """In a process that has opened one of this version."""
        file = tmp_path / "optuna.db"
        open_storage(read_settings(tmp_path, {"OPTUNA_STORAGE": f"sqlite:///{file}"}))
        with closing(sqlite3.connect(file)) as database:
            database.execute("UPDATE alembic_version SET version_num = 'v3.0.0.d'")
            database.commit()
        assert "optuna storage upgrade" in self.message(f"sqlite:///{file}", tmp_path)

    def test_a_folder_that_does_not_exist(self, tmp_path: Path) -> None:
        assert "unable to open" in self.message(f"sqlite:///{tmp_path}/none/optuna.db", tmp_path)

    def test_an_address_that_is_none(self, tmp_path: Path) -> None:
        assert self.message("postgres at home", tmp_path)

    def test_a_home_without_a_database_has_no_studies(self, tmp_path: Path) -> None:
        places = read_settings(tmp_path / "none", {})
        assert study_names(places) == []
        with pytest.raises(NotFoundError, match="there is none yet"):
            load_study(places, "s")
        assert not (tmp_path / "none").exists()


def test_the_embedded_database_waits_for_other_writers(tmp_path: Path) -> None:
    """Two studies of one home are searched at the same time: write-ahead logging and a long patience."""
    storage = open_storage(read_settings(tmp_path, {}))
    assert isinstance(storage, RDBStorage)
    with storage.engine.connect() as connection:
        assert connection.execute(sa.text("PRAGMA journal_mode")).scalar() == "wal"
        assert connection.execute(sa.text("PRAGMA busy_timeout")).scalar() >= 30_000


def test_databases_may_be_made_at_once_in_one_process(tmp_path: Path) -> None:
    """The thread that tracks makes MLflow's while the search makes Optuna's, both with Alembic."""
    homes = [read_settings(tmp_path / str(number), {}) for number in range(2)]
    for place in homes:
        prepare_home(place)
    with ThreadPoolExecutor() as threads:
        list(threads.map(make_database, [place.tracking_uri for place in homes]))
    for place in homes:
        assert MlflowClient(place.tracking_uri).search_experiments()
