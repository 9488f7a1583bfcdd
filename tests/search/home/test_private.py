"""The files of a home are private to its user, whatever the umask and the version that made it."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from command_line import call
from finished import run_small

from search.home.settings import Settings, read_settings
from search.registry.versions import model_lock
from search.tracking.runs import Runs


@pytest.fixture(autouse=True)
def open_umask() -> Iterator[None]:
    """New files are readable and writable by everybody unless the program says otherwise."""
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A home in a folder that was there before and that everybody may enter."""
    return read_settings(tmp_path, {})


def open_files(settings: Settings) -> dict[str, str]:
    """The databases and locks of a home that other users may read or write."""
    found = [*settings.home.glob("*.db*"), *settings.locks.glob("*")]
    assert found
    return {path.name: oct(path.stat().st_mode & 0o777) for path in found if path.stat().st_mode & 0o077}


def test_files_of_a_new_home_are_private(settings: Settings) -> None:
    run_small(settings.home, "s", trials=1)
    with model_lock(settings, "m"), closing(sqlite3.connect(settings.home / "mlflow.db")) as database:
        database.execute("CREATE TABLE beside (x)")
        assert {path.suffix for path in settings.home.glob("mlflow.*")} == {".db", ".db-wal", ".db-shm"}
        assert len(list(settings.locks.glob("*.lock"))) == 2
        assert open_files(settings) == {}


@pytest.mark.parametrize("words", [["studies"], ["trials", "s"], ["doctor"], ["models"]])
def test_files_of_an_earlier_home_become_private(settings: Settings, words: list[str]) -> None:
    run_small(settings.home, "s", trials=1)
    for path in (*settings.home.glob("*.db*"), *settings.locks.glob("*")):
        path.chmod(0o666)
    mine = settings.home / "mine.db"
    mine.touch(0o644)
    mine.chmod(0o644)
    assert call(*words, "--home", settings.home).code == 0
    assert open_files(settings) == {"mine.db": "0o644"}


def test_a_database_outside_the_home_keeps_its_mode(tmp_path: Path) -> None:
    shared = tmp_path / "shared.db"
    shared.touch()
    shared.chmod(0o660)
    settings = read_settings(tmp_path / "home", {"MLFLOW_TRACKING_URI": f"sqlite:///{shared}"})
    settings.home.mkdir()
    Runs(settings, "s", "", None)
    assert shared.stat().st_mode & 0o777 == 0o660
