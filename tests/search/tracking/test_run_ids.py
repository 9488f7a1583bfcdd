"""A tracker reports the ids of the runs in MLflow, but of no run that was or will be replaced."""

from __future__ import annotations

from pathlib import Path

import pytest
from tracked import MODEL, Place, end, epochs, finished, start
from waiting import wait_for

from search.home.settings import prepare_home, read_settings
from search.tracking.entries import MODEL_FILE
from search.tracking.run_names import finalist_trial, trial_number
from search.tracking.spool import write_entry


@pytest.fixture
def place(tmp_path: Path) -> Place:
    settings = read_settings(tmp_path / "home", {})
    prepare_home(settings)
    return Place(settings)


def test_a_run_that_a_delivery_replaces_is_not_reported(place: Place) -> None:
    old = place.runs("again").open(start("again", 0))
    tracker = place.tracker("again")
    entry = finished("again", 0, "COMPLETE", epochs(2))
    tracker.deliver(write_entry(place.settings.spool, entry, {MODEL_FILE: MODEL}))
    tracker.look_up("trial-0000")
    assert tracker.close() == 0
    [(name, run_id)] = tracker.opened()
    assert name == "trial-0000"
    assert run_id == place.run("again", 0).info.run_id != old


def test_the_id_of_a_replaced_run_is_not_reported(place: Place) -> None:
    tracker = place.tracker("late")
    tracker.open(start("late", 0))
    wait_for(lambda: len(place.found("late")) == 1)
    first = place.run("late", 0).info.run_id
    tracker.open(start("late", 0), replace=True)
    wait_for(lambda: [run.info.run_id for run in place.found("late")] not in ([first], []))
    end(place, tracker, finished("late", 0, "COMPLETE", epochs(2)))
    assert tracker.close() == 0
    assert tracker.opened() == [("trial-0000", place.run("late", 0).info.run_id)]


@pytest.mark.parametrize("name", ["trial-0003 best", "trial-", "trial-x", "finalist-0003", "finalist-x-seed-1", "mine"])
def test_a_run_that_its_user_renamed_is_of_no_trial(name: str) -> None:
    assert trial_number(name) is None
    assert finalist_trial(name) is None
