"""What the doctor leaves alone: studies and trainings of processes that run."""

from __future__ import annotations

import fcntl
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from homes import StudyBuilder
from mlflow import MlflowClient
from ward import doctor

from search.home.locks import study_lock
from search.home.settings import Settings, prepare_home, read_settings, study_slug
from search.storage.sharing import sole_lock
from search.tracking.connection import open_home


@pytest.fixture
def shared_home(tmp_path: Path, postgres: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> Settings:
    """An empty home whose studies lie on PostgreSQL."""
    monkeypatch.setenv("OPTUNA_STORAGE", postgres("doctor"))
    settings = read_settings(tmp_path / "home")
    prepare_home(settings)
    return settings


def test_a_study_is_skipped_while_its_lock_is_held(own_home: Settings) -> None:
    settings = own_home
    StudyBuilder(settings, "busy").trial("RUNNING")
    with (settings.locks / f"{study_slug('busy')}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        answer = doctor(settings, "--repair")
        assert (answer.code, answer.err) == (0, "study busy: skipped, it is being searched\n")
    assert doctor(settings).code == 3


def test_a_study_is_skipped_while_it_has_heartbeats(shared_home: Settings) -> None:
    settings = shared_home
    builder = StudyBuilder(settings, "busy")
    trial = builder.study.ask()
    builder.study.record_heartbeat(trial.number)
    answer = doctor(settings)
    assert (answer.code, answer.err) == (0, "study busy: skipped, it is being searched\n")
    with sa.create_engine(settings.optuna_storage).begin() as connection:
        connection.execute(sa.text("UPDATE trial_heartbeats SET heartbeat = heartbeat - interval '1 hour'"))
    assert [finding["kind"] for finding in doctor(settings, "--json").json()] == ["trial left in training"]


def test_a_study_is_skipped_while_its_finalists_train(shared_home: Settings, tmp_path: Path) -> None:
    """On this machine or on another one."""
    settings = shared_home
    StudyBuilder(settings, "busy").trial("RUNNING")
    elsewhere = replace(settings, home=tmp_path / "elsewhere")
    prepare_home(elsewhere)
    for place in (settings, elsewhere):
        with sole_lock(place, "busy"):
            answer = doctor(settings, "--repair")
        line = "study busy: skipped, its finalists train or its held-out test is opened\n"
        assert (answer.code, answer.err) == (0, line)


def test_a_training_that_keeps_its_result_in_the_spool_is_skipped(shared_home: Settings) -> None:
    settings = shared_home
    half = settings.spool / study_slug("train-digits") / "entry.tmp"
    half.mkdir(parents=True)
    open_home(settings)
    MlflowClient(settings.tracking_uri).create_experiment("train-digits")
    with study_lock(settings, "train-digits"):
        doctor(settings, "--repair")
        assert half.exists()
