"""Several processes on one study of a shared database."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy as sa
from optuna.trial import TrialState
from scripted_pool import ScriptedPool
from waiting import wait_for
from world import SIX, Left, World, interrupt_after, script, states

from pipelines.errors import UnavailableError
from search.devices.work import Shape
from search.home.settings import prepare_home, read_settings
from search.optimization.run_records import record_run_id
from search.optimization.studies import load_study, open_study
from search.scheduling import recovery, scheduler as scheduling
from search.scheduling.context import StudyContext
from search.scheduling.progress import Observer, Progress
from search.scheduling.scheduler import Scheduler
from search.scheduling.trial_source import TrialSource
from search.spec.study_spec import StudySpec
from search.storage import StoredStudy, retries as patience
from search.storage.attributes import RESULT, VIRTUAL_SLOTS
from search.tracking.runs import Runs
from search.tracking.spool import entries
from search.tracking.tracker import Tracker


@pytest.fixture(scope="module")
def shared_world(tmp_path_factory: pytest.TempPathFactory, postgres: Callable[[str], str]) -> World:
    """A home whose studies lie on PostgreSQL, where other processes may search them too."""
    places = read_settings(tmp_path_factory.mktemp("shared"), {"OPTUNA_STORAGE": postgres("scheduler")})
    prepare_home(places)
    return World(places)


@pytest.fixture(autouse=True)
def quick_bookkeeping(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks for dead processes every second, not every ten."""
    monkeypatch.setattr(scheduling, "_BOOKKEEPING_S", 1.0)


def living(world: World, trials: int) -> tuple[StudySpec, Left]:
    """A study whose first trial another process trains."""
    spec = world.spec(trials=trials)
    other = Left(world, spec)
    other.study.record_heartbeat(other.trial.number)
    return spec, other


def stop_beating(world: World, trial: optuna.Trial) -> None:
    """The last heartbeat of a trial was an hour ago."""
    engine = sa.create_engine(world.settings.optuna_storage)
    ago = (
        "UPDATE trial_heartbeats SET heartbeat = CURRENT_TIMESTAMP - interval '1 hour' WHERE trial_id ="
        " (SELECT trial_id FROM trials JOIN studies USING (study_id) WHERE number = :number AND study_name = :study)"
    )
    with engine.begin() as connection:
        connection.execute(sa.text(ago), {"number": trial.number, "study": trial.study.study_name})
    engine.dispose()


def context_of(world: World, spec: StudySpec, study: StoredStudy) -> StudyContext:
    tracker = Tracker(lambda: world.connect(spec.name))
    return StudyContext(spec, study, world.settings, tracker, Observer(), Shape(1000, 64, 10, "float32"), {})


class TestOnASharedDatabase:
    def test_a_trial_has_a_heartbeat_from_its_beginning(self, shared_world: World) -> None:
        """A trial without a heartbeat is never reclaimed, so a process that is killed at once would lose it."""
        beating: list[int] = []
        engine = sa.create_engine(shared_world.settings.optuna_storage)

        def look(scheduler: Scheduler, progress: Progress) -> None:
            if any(view.run_name for view in progress.slots.values()) and not beating:
                with engine.connect() as connection:
                    beating.append(connection.execute(sa.text("SELECT count(*) FROM trial_heartbeats")).scalar_one())
                scheduler.interrupt()

        shared_world.search(shared_world.spec(trials=1), ScriptedPool(1, script({0: [[0.1] * 3]})), look)
        engine.dispose()
        assert beating == [1]

    def test_trials_of_other_processes_count_and_are_waited_for(self, shared_world: World) -> None:
        spec, other = living(shared_world, trials=4)
        looks: list[int] = []

        def finish(scheduler: Scheduler, progress: Progress) -> None:
            looks.append(progress.complete)
            if looks.count(3) == 2:
                other.study.tell(other.trial, 0.5)

        pool = ScriptedPool(2)
        watcher = shared_world.search(spec, pool, finish)
        assert sorted(task.number for _, task in pool.tasks) == [1, 2, 3]
        assert states(shared_world.rows(spec)) == ["COMPLETE"] * 4
        assert "waiting for 1 of the study's trials that other processes train" in watcher.lines

    @pytest.mark.parametrize("when", ["before", "meanwhile"])
    def test_a_trial_of_a_dead_process_is_requeued(self, shared_world: World, when: str) -> None:
        spec = shared_world.spec(trials=3)
        other = Left(shared_world, spec)
        lost = other.opened()
        if when == "before":  # the other one dies before its first heartbeat: alive for ever it is not
            other.study.record_heartbeat(other.trial.number)
            stop_beating(shared_world, other.trial)

        def die(scheduler: Scheduler, progress: Progress) -> None:
            if progress.complete == 2:
                stop_beating(shared_world, other.trial)

        pool = ScriptedPool(1)
        shared_world.search(spec, pool, die)
        assert sorted(task.number for _, task in pool.tasks) == [0, 1, 2]
        assert states(shared_world.rows(spec)) == ["COMPLETE"] * 3
        runs = shared_world.runs(spec)
        assert {run.info.status for run in runs.values()} == {"FINISHED"}
        assert runs["trial-0000"].info.run_id != lost

    def test_a_trial_of_a_living_process_is_kept_after_the_database_was_away(self, shared_world: World) -> None:
        """The other process can beat again no sooner than this one."""
        spec, other = living(shared_world, trials=3)
        at, looks = 0.0, 0

        def away(scheduler: Scheduler, progress: Progress) -> None:
            nonlocal at, looks
            at += 2.0
            looks += progress.complete == 2
            if looks == 3:
                stop_beating(shared_world, other.trial)
                at += 100.0
            elif looks == 5:
                other.study.record_heartbeat(other.trial.number)
            elif looks == 8:
                other.study.tell(other.trial, 0.5)

        pool = ScriptedPool(1)
        shared_world.search(spec, pool, away, now=lambda: at)
        assert sorted(task.number for _, task in pool.tasks) == [1, 2]
        assert states(shared_world.rows(spec)) == ["COMPLETE"] * 3

    def test_a_dead_process_is_recovered_two_heartbeats_after_an_outage(self, shared_world: World) -> None:
        spec, dead = living(shared_world, trials=3)
        dead.opened()
        study = open_study(shared_world.settings, spec, "f00d")
        with Tracker(lambda: shared_world.connect(spec.name)) as tracker:
            tracker.wait_connected()
            beside = recovery.Recovery(study, shared_world.settings, tracker)
            beside.recover_after_beat(0.0)
            stop_beating(shared_world, dead.trial)
            # Away until 50 s, which is told from 90 s on, and once more until 140 s.
            found = [beside.recover_after_beat(now) for now in (50.0, 60.0, 85.0, 140.0, 165.0, 179.0, 181.0)]
        assert found == [False] * 6 + [True]

    def test_trials_of_a_process_that_has_just_died_get_no_virtual_slot(self, shared_world: World) -> None:
        """Their heartbeats are not missed yet; a service that starts a killed search again is as quick."""
        spec = shared_world.spec(trials=6)
        left = open_study(shared_world.settings, spec, "f00d", virtual_slots=2)
        source = TrialSource(context_of(shared_world, spec, left))
        for job in source.ask(slots := ScriptedPool(2).slots):
            left.record_heartbeat(job.number)
        again = open_study(shared_world.settings, spec, "f00d")
        later = TrialSource(context_of(shared_world, spec, again))
        assert later.ask(slots) == []
        assert later.waits
        assert again.user_attrs[VIRTUAL_SLOTS] == 2
        asked: list[int] = []

        def ask_while_the_other_lives() -> bool:
            for number in (0, 1):
                left.record_heartbeat(number)
            asked.extend(job.number for job in later.ask(slots[:1]))
            return bool(asked)

        wait_for(ask_while_the_other_lives)
        assert asked == [2]
        assert again.user_attrs[VIRTUAL_SLOTS] == 3

    def test_a_late_result_of_a_trial_that_another_process_finished_is_dropped(self, shared_world: World) -> None:
        """Its run in MLflow would replace the one of the result that Optuna has."""
        spec = shared_world.spec(trials=2)
        left = Left(shared_world, spec)
        left.spooled()
        left.study.set_trial_attr(0, RESULT, {"best_val_accuracy": 0.99, "model_sha256": "of the other process"})
        left.study.tell(left.trial, 0.99)
        own = Runs(shared_world.settings, spec.name, "", None).open(left.start)
        record_run_id(left.study, "trial-0000", own)
        shared_world.search(spec, ScriptedPool(1))
        assert shared_world.rows(spec)[0].value == 0.99
        assert shared_world.runs(spec)["trial-0000"].info.run_id == own
        assert not list(entries(shared_world.settings.spool, spec.name))

    def test_a_trial_that_another_process_finished_counts_once(self, shared_world: World) -> None:
        """This process was paused for so long that it looked dead."""
        spec = shared_world.spec(trials=2)

        def finish(scheduler: Scheduler, progress: Progress) -> None:
            [trial, *_] = load_study(shared_world.settings, spec.name).trials or [None]
            if trial and len(trial.intermediate_values) == 2 and trial.state == TrialState.RUNNING:
                study = load_study(shared_world.settings, spec.name)
                study.tell(0, 0.99)

        watcher = shared_world.search(spec, ScriptedPool(1), finish)
        rows = shared_world.rows(spec)
        assert states(rows) == ["COMPLETE"] * 2
        assert rows[0].value == 0.99 or load_study(shared_world.settings, spec.name).trials[0].value == 0.99
        assert sorted(shared_world.runs(spec)) == ["trial-0001"], "the other process has the run of the first"
        assert not [line for line in watcher.lines if "deleted" in line]

    @pytest.mark.parametrize("sampler", ["tpe", "grid"])
    def test_an_interrupted_study_resumes(self, shared_world: World, sampler: Any) -> None:
        spec = shared_world.spec(space=SIX, trials=20, sampler=sampler, pruner="asha")
        for n_epochs in (2, 5):
            shared_world.search(spec, ScriptedPool(2), interrupt_after(n_epochs))
        shared_world.search(spec, ScriptedPool(2))
        rows = shared_world.rows(spec)
        assert sorted((row.params["width"], row.params["depth"]) for row in rows) == sorted(
            itertools.product((8, 16, 32), (1, 2))
        )
        assert set(states(rows)) <= {"COMPLETE", "PRUNED"}


def test_a_server_that_stays_away_ends_the_search(
    tmp_path: Path,
    start_postgres: Callable[[], Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = start_postgres()
    places = read_settings(tmp_path, {"OPTUNA_STORAGE": server.get_uri("postgres")})
    prepare_home(places)
    monkeypatch.setattr(patience, "OUTAGE_S", 2.0)

    def stop(scheduler: Scheduler, progress: Progress) -> None:
        if progress.complete:
            server.cleanup()

    world = World(places)
    with pytest.raises(UnavailableError, match="must answer, but was away for 2 s"):
        world.search(world.spec(trials=30), ScriptedPool(2), stop)
    waits = [line for line in caplog.messages if "the search waits for it" in line]
    assert len(waits) <= 2, "a search that gives up must not wait again for each of its trials"
