"""Requeued and abandoned trials, locks, and a spool for each process."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy as sa
from databases import SPACE, ask, finish, opened
from waiting import PATIENCE_S, wait_for

from pipelines.errors import UnavailableError
from search.home.locks import study_lock
from search.home.settings import Settings, read_settings
from search.optimization.studies import load_study
from search.spec.dimensions import suggest
from search.spec.study_spec import StudySpec
from search.storage.database import open_storage
from search.storage.sharing import is_searched, requeue_abandoned, search_lock, sole_lock
from search.tracking.entries import Entry, RunStart
from search.tracking.spool import collect_spools, entries, has_spooled, read_entry, write_entry


class TestInterrupted:
    def test_a_requeued_trial_is_asked_next_with_all_it_had(self, places: Settings, spec: StudySpec) -> None:
        study = opened(places, spec)
        _, _ = ask(study)
        trial, params = ask(study)
        trial.report(0.3, 1)
        study.requeue(trial.number)
        again = opened(places, spec)
        taken = again.ask()
        assert (taken.number, taken.params) == (1, params)
        assert SPACE.suggest(taken) == SPACE.hyperparameters(params)
        finish(again, taken, "COMPLETE", 0.9)
        assert load_study(places, spec.name).trials[1].value == 0.9
        assert ask(again)[0].number == 2

    def test_a_configuration_that_was_half_recorded_is_completed_as_it_would_have_been(
        self, places: Settings, spec: StudySpec
    ) -> None:
        """What a trial gets follows from the study's seed and its number: dying between two values changes none."""
        study = opened(places, spec)
        whole = ask(study)[1]
        half = opened(places, replace(spec, name=spec.name + "-half"))
        trial = half.ask()
        first = next(iter(SPACE.searched))
        suggest(trial, first, SPACE.searched[first])
        half.requeue(trial.number)
        taken = opened(places, replace(spec, name=spec.name + "-half")).ask()
        assert taken.number == 0
        assert SPACE.suggest(taken) == SPACE.hyperparameters(whole)

    def test_a_study_that_was_left_and_resumed_draws_what_one_that_was_not_draws(
        self, places: Settings, spec: StudySpec
    ) -> None:
        drawn: list[list[dict[str, Any]]] = []
        for name, stops in ((spec.name, ()), (spec.name + "-left", (3, 12))):
            own = replace(spec, name=name)
            study, params = opened(places, own), []
            for number in range(16):
                if number in stops:
                    study.requeue(ask(study)[0].number)
                    study = opened(places, own)
                trial = study.ask()
                SPACE.suggest(trial)
                point = trial.params
                params.append(point)
                finish(study, trial, "PRUNED" if number % 3 == 2 else "COMPLETE", point["width"] / 100)
            drawn.append(params)
        assert drawn[0] == drawn[1]

    def test_what_a_dead_process_left_running_is_requeued(self, places: Settings, spec: StudySpec) -> None:
        study = opened(places, spec)
        done, left, beating = ask(study)[0], ask(study)[0], ask(study)[0]
        finish(study, done, "COMPLETE", 0.5)
        if places.is_shared:
            beat(places, left, seconds_ago=3600)
            beat(places, beating, seconds_ago=1)
        abandoned = requeue_abandoned(places, opened(places, spec))
        # Behind the lock of an embedded database nobody else is at work; on a shared one the heartbeat tells.
        expected = [1] if places.is_shared else [1, 2]
        assert [trial.number for trial in abandoned] == expected
        states = {trial.number: trial.state.name for trial in load_study(places, spec.name).trials}
        assert states == {0: "COMPLETE", 1: "WAITING", 2: "RUNNING" if places.is_shared else "WAITING"}


def beat(places: Settings, trial: optuna.Trial, seconds_ago: int) -> None:
    """A heartbeat that many seconds old, as the clock of the database has it."""
    trial.study.record_heartbeat(trial.number)
    engine = sa.create_engine(places.optuna_storage)
    with engine.begin() as connection:
        connection.execute(
            sa.text(
                "UPDATE trial_heartbeats SET heartbeat = CURRENT_TIMESTAMP - make_interval(secs => :ago)"
                " WHERE trial_id = (SELECT trial_id FROM trials JOIN studies USING (study_id)"
                " WHERE number = :number AND study_name = :study)"
            ),
            {"ago": seconds_ago, "number": trial.number, "study": trial.study.study_name},
        )
    engine.dispose()


class TestLock:
    def hold(self, home: Path, ready: Any) -> None:
        with study_lock(read_settings(home, {}), "held"):
            ready.set()
            time.sleep(PATIENCE_S)

    def hold_alone(self, places: Settings, ready: Any) -> None:
        with sole_lock(places, "held"):
            ready.set()
            time.sleep(PATIENCE_S)

    def test_one_process_at_a_time_has_what_only_one_may_do_on_a_shared_database(
        self, tmp_path: Path, postgres: Callable[[str], str]
    ) -> None:
        places = read_settings(tmp_path, {"OPTUNA_STORAGE": postgres("sole")})
        (tmp_path / "locks").mkdir()
        context = multiprocessing.get_context("spawn")
        ready = context.Event()
        process = context.Process(target=self.hold_alone, args=(places, ready))
        process.start()
        try:
            assert ready.wait(PATIENCE_S)
            refused = pytest.raises(UnavailableError, match="study 'held': another process trains its finalists")
            with refused, sole_lock(places, "held"):
                pass
            with sole_lock(places, "another"), study_lock(places, "held"):
                pass
        finally:
            process.kill()
            process.join()
        count = sa.text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")
        with open_storage(places).engine.connect() as connection:
            wait_for(lambda: not connection.execute(count).scalar_one(), "the server to notice the process's end")
        for _ in range(20):
            with sole_lock(places, "held"):
                pass

    @pytest.fixture
    def holder(self, tmp_path: Path) -> Iterator[multiprocessing.context.ForkProcess]:
        """Another process, which searches the study "held"."""
        (tmp_path / "locks").mkdir()
        context = multiprocessing.get_context("fork")
        ready = context.Event()
        process = context.Process(target=self.hold, args=(tmp_path, ready))
        process.start()
        assert ready.wait(PATIENCE_S)
        yield process
        process.kill()
        process.join()

    def test_one_process_at_a_time_searches_a_study_of_the_embedded_database_until_it_ends(
        self, tmp_path: Path, holder: multiprocessing.context.ForkProcess
    ) -> None:
        places = read_settings(tmp_path, {})
        refused = pytest.raises(UnavailableError, match="study 'held': is being searched by another process")
        with refused, study_lock(places, "held"):
            pass
        with study_lock(places, "another"):
            pass
        holder.kill()
        holder.join()
        with study_lock(places, "held"):
            pass

    def test_on_a_shared_database_each_process_has_a_spool_of_its_own(self, tmp_path: Path) -> None:
        places = read_settings(tmp_path, {"OPTUNA_STORAGE": "postgresql://host/db"})
        (tmp_path / "locks").mkdir()
        with study_lock(places, "s") as one, study_lock(places, "s") as other:
            assert one.spool != other.spool
            start = RunStart("s", "trial-0001", 0, {}, {})
            write_entry(other.spool, Entry(start, 0, "COMPLETE", number=1), {})
            assert collect_spools(one, "s") == [], "it is at work"
        assert has_spooled(places, "s")
        with study_lock(places, "s") as later:
            assert [folder.name for folder in collect_spools(later, "s")] == ["trial-0001"]
            assert [read_entry(folder).number for folder in entries(later.spool, "s")] == [1]
            assert list(entries(other.spool, "s")) == []


def test_a_study_is_searched_while_a_process_holds_its_lock_whatever_its_clock_says(
    tmp_path: Path, postgres: Callable[[str], str], spec: StudySpec
) -> None:
    """The times of trials are those of the machine that trained them, which may be in another zone."""
    settings = read_settings(tmp_path, {"OPTUNA_STORAGE": postgres("zones")})
    study = opened(settings, spec)
    finish(study, ask(study)[0], "COMPLETE", 0.5)
    with open_storage(settings).engine.begin() as connection:
        connection.execute(sa.text("UPDATE trials SET datetime_complete = datetime_complete + interval '5 hours'"))
    assert not is_searched(settings, load_study(settings, spec.name))
    with search_lock(settings, spec.name):
        assert is_searched(settings, load_study(settings, spec.name))
        with search_lock(settings, spec.name):
            pass
        assert is_searched(settings, load_study(settings, spec.name)), "two processes search it, and one has ended"
        opened(settings, replace(spec, name=f"{spec.name}-other"))
        assert not is_searched(settings, load_study(settings, f"{spec.name}-other"))
    assert not is_searched(settings, load_study(settings, spec.name))
