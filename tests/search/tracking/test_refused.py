"""A run or task that MLflow always refuses does not delay the others; a database trigger refuses it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from tracked import Place, end, epochs, finished, start
from waiting import wait_for

from search.home.settings import prepare_home, read_settings


@pytest.fixture
def place(tmp_path: Path) -> Place:
    settings = read_settings(tmp_path / "home", {})
    prepare_home(settings)
    return Place(settings)


@contextmanager
def refusing(place: Place, event: str) -> Iterator[None]:
    """Makes a change of the run trial-0000 fail: ``INSERT ON runs WHEN NEW`` or ``UPDATE ON runs WHEN OLD``."""
    with closing(sqlite3.connect(place.settings.home / "mlflow.db", timeout=30)) as connection:
        connection.execute(
            f"CREATE TRIGGER refuse BEFORE {event}.name = 'trial-0000' BEGIN SELECT RAISE(ABORT, 'never'); END"
        )
        yield


def finished_runs(place: Place) -> list[str]:
    return sorted(run.info.run_name for run in place.found("refused") if run.info.status == "FINISHED")


def test_a_refused_run(place: Place) -> None:
    tracker = place.tracker("refused")
    with refusing(place, "INSERT ON runs WHEN NEW"):
        for number in (0, 1, 2):
            tracker.open(start("refused", number))
            end(place, tracker, finished("refused", number, "COMPLETE", epochs(2)))
        wait_for(lambda: finished_runs(place) == ["trial-0001", "trial-0002"])
        assert tracker.close(timeout_s=0) == 1


def test_a_refused_task(place: Place) -> None:
    place.runs("refused").open(start("refused", 0))
    tracker = place.tracker("refused")
    with refusing(place, "UPDATE ON runs WHEN OLD"):
        tracker.kill_left("trial-0000")
        tracker.open(start("refused", 1))
        end(place, tracker, finished("refused", 1, "COMPLETE", epochs(2)))
        wait_for(lambda: finished_runs(place) == ["trial-0001"])
        assert tracker.close(timeout_s=0) == 0
