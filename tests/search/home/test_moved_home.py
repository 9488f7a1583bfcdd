"""Homes that were moved or copied: artifacts follow them, and a copy leaves its original alone."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import requests
from command_line import call
from finished import run_small
from homes import StudyBuilder
from ports import free_port
from waiting import PATIENCE_S

from pipelines.errors import UnavailableError
from search.doctor import diagnose
from search.finals.sealed_test import evaluate
from search.home.relocation import MARKER
from search.home.settings import Settings, prepare_home, read_settings, study_slug
from search.operations.ui import serving
from search.registry.predict import predict
from search.registry.promotion import promote
from search.tracking.connection import connect, open_home
from search.tracking.history import read_artifact


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a promoted winner."""
    home = tmp_path_factory.mktemp("finished") / "home"
    run_small(home, "first", trials=1, epochs=2)
    evaluate("first", home=home)
    promote("first", model="digits", force="a test", home=home)
    return home


@pytest.fixture
def small(tmp_path: Path) -> StudyBuilder:
    """A home with two trials and their runs, made without training."""
    settings = read_settings(tmp_path / "home", {})
    prepare_home(settings)
    builder = StudyBuilder(settings, "small")
    builder.add()
    builder.add()
    return builder


def addresses(home: Path) -> set[str]:
    """Every address of artifacts in MLflow's database, but for that of MLflow's own experiment."""
    columns = [
        ("experiments", "artifact_location"), ("runs", "artifact_uri"), ("model_versions", "source"),
        ("model_versions", "storage_location"), ("logged_models", "artifact_location"),
    ]  # fmt: skip
    with closing(sqlite3.connect(home / "mlflow.db")) as database:
        [own] = database.execute("SELECT artifact_location FROM experiments WHERE experiment_id = 0").fetchone()
        return {row[0] for table, column in columns for row in database.execute(f"SELECT {column} FROM {table}")} - {
            own
        }


def forget(home: Path) -> None:
    """Makes a home as an earlier version left it."""
    with closing(sqlite3.connect(home / "mlflow.db")) as database:
        assert database.execute("DELETE FROM experiment_tags WHERE key = ?", [MARKER]).rowcount == 1
        database.commit()


def contents(home: Path) -> dict[str, str]:
    """A hash of every file but SQLite's shared memory, which readers change."""
    files = [path for path in home.rglob("*") if path.is_file() and not path.name.endswith("-shm")]
    return {str(path.relative_to(home)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def models(settings: Settings, study: str) -> list[bytes]:
    client = connect(settings)
    experiment = client.get_experiment_by_name(study)
    assert experiment
    runs = client.search_runs([experiment.experiment_id], "attributes.status = 'FINISHED'")
    return [read_artifact(client, f"runs:/{run.info.run_id}/model.h5", "model.h5") for run in runs]


def test_every_command_works_in_a_moved_home_and_the_old_path_stays_away(finished: Path, tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "deeper" / "a new?name"
    shutil.copytree(finished, old)
    open_home(read_settings(old, {}))
    new.parent.mkdir()
    old.rename(new)
    before = contents(finished / "artifacts")
    result = run_small(new, "first", trials=2, epochs=2)
    assert result.best
    evaluate("first", again=True, home=new)
    promote("first", model="digits", force="again", home=new)
    run_small(new, "second", trials=1, epochs=1)
    assert not diagnose(repair=True, home=new).found
    assert predict("digits", np.zeros((2, 8, 8), np.uint8), home=new).version >= 1
    assert call("report", "first", "--home", new, "--output", tmp_path / "report.html").code == 0
    with serving(new, "127.0.0.1", free_port()) as server:
        path = f"{server.url}/get-artifact?path=model.h5&run_uuid={result.best.run_id}"
        assert requests.get(path, timeout=PATIENCE_S).content.startswith(b"\x89HDF")
    assert not old.exists()
    assert contents(finished / "artifacts") == before
    assert not [place for place in addresses(new) if not place.startswith((new / "artifacts").as_uri())]


def test_a_copy_writes_nothing_into_its_original(small: StudyBuilder, tmp_path: Path) -> None:
    """Copied in the middle of a study: a trial is in training, a result in the spool, a run open."""
    original, copy = small.settings.home, read_settings(tmp_path / "copy", {})
    entry = small.entry(2, small.outcome(2))
    small.trial("RUNNING", entry, small.runs.open(entry.start))
    shutil.copytree(original, copy.home)
    before = contents(original)
    assert diagnose(home=copy.home).found
    assert not diagnose(repair=True, home=copy.home).left
    StudyBuilder(copy, "another").add()
    run_id = small.runs.find("trial-0000")[0].info.run_id
    connect(copy).log_text(run_id, "text", "file.txt")
    assert contents(original) == before
    assert len(models(copy, "small")) == 2
    assert not [place for place in addresses(copy.home) if str(original) + "/" in place]
    assert not diagnose(home=copy.home).found


def test_a_home_of_an_earlier_version_follows_what_lies_in_it(small: StudyBuilder, tmp_path: Path) -> None:
    """A study whose artifacts lie elsewhere keeps their address, though its runs are in the same database."""
    elsewhere = read_settings(tmp_path / "elsewhere", {"MLFLOW_TRACKING_URI": small.settings.tracking_uri})
    prepare_home(elsewhere)
    StudyBuilder(elsewhere, "other").add()
    client = connect(small.settings)
    client.create_experiment("foreign", (tmp_path / "foreign" / "artifacts").as_uri())
    forget(small.settings.home)
    new = read_settings(small.settings.home.rename(tmp_path / "new"), {})
    assert len(models(new, "small")) == 2
    assert len(models(new, "other")) == 1
    roots = {place for place in addresses(new.home) if place.endswith("/artifacts") and "/artifacts/" not in place}
    assert roots == {(tmp_path / name / "artifacts").as_uri() for name in ("new", "elsewhere", "foreign")}


def test_a_home_of_an_earlier_version_without_any_result(small: StudyBuilder, tmp_path: Path) -> None:
    shutil.rmtree(small.settings.home / "artifacts")
    forget(small.settings.home)
    new = read_settings(small.settings.home.rename(tmp_path / "new"), {})
    open_home(new)
    assert {place.partition("/artifacts")[0] for place in addresses(new.home)} == {new.home.as_uri()}


def test_a_home_reached_by_a_link(small: StudyBuilder, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(small.settings.home)
    by_link = read_settings(link, {})
    with (small.settings.locks / f"{study_slug('small')}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        StudyBuilder(by_link, "by link").add()  # a process that searches by the other path is no hindrance
    small.add()
    link.unlink()
    new = read_settings(small.settings.home.rename(tmp_path / "new"), {})
    assert len(models(new, "small")) == 3
    assert len(models(new, "by link")) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new"]


def test_processes_that_open_a_moved_home_at_once(small: StudyBuilder, tmp_path: Path) -> None:
    new = read_settings(small.settings.home.rename(tmp_path / "new"), {})
    with ThreadPoolExecutor(8) as pool:
        for opened in [pool.submit(open_home, new) for _ in range(8)]:
            opened.result()
    assert len(models(new, "small")) == 2


def test_a_home_in_use_under_another_path_is_left_alone(small: StudyBuilder, tmp_path: Path) -> None:
    """As the home of a container is, seen from its host."""
    new = read_settings(small.settings.home.rename(tmp_path / "new"), {})
    before = addresses(new.home)
    message = r"is in use by another process as .*home: wait for it"
    with (new.locks / f"{study_slug('small')}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(UnavailableError, match=message):
            open_home(new)
    assert addresses(new.home) == before


def test_runs_on_a_server_are_left_alone(tmp_path: Path) -> None:
    """An address of artifacts that a server gave names no folder of this machine."""
    settings = read_settings(tmp_path / "home", {})
    prepare_home(settings)
    client = connect(settings)
    client.create_experiment("s", "mlflow-artifacts:/1/artifacts", {"mlflow.sharedViewState.trials": "{}"})
    open_home(settings)
    forget(settings.home)
    new = read_settings(settings.home.rename(tmp_path / "new"), {})
    open_home(new)
    assert addresses(new.home) == {"mlflow-artifacts:/1/artifacts"}
