"""Optuna's database: the same suite over each kind of database that a study can lie in."""

from __future__ import annotations

import hashlib
import multiprocessing
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from mlflow import MlflowClient
from optuna.storages import RDBStorage
from optuna.trial import TrialState

from pipelines.config import DataConfig, Hyperparameters
from pipelines.errors import NotFoundError, SpecError, UnavailableError
from search.claims import gather_spools, has_spooled, park, park_abandoned, study_lock
from search.runs import make_database
from search.sampling import TrialSampler, draw
from search.settings import Settings, prepare_home, read_settings
from search.space import Choice, Range, SearchSpace
from search.spec import StudySpec, WorkerSettings
from search.spool import Entry, RunStart, entries, read_entry, write_entry
from search.storage import (
    RESULT,
    SPEC,
    leaderboard,
    load_study,
    open_storage,
    open_study,
    set_run_id,
    study_names,
)

DATABASES = ["sqlite", "postgresql"]
SPACE = SearchSpace({"width": Range(8, 64), "learning_rate": Range(1e-3, 1e-1, log=True), "depth": Choice((1, 2))})


@pytest.fixture(scope="module", params=DATABASES)
def places(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A database of each kind, shared by the tests; each has studies of its own."""
    home = tmp_path_factory.mktemp("home")
    environ = {}
    if request.param == "postgresql":
        make: Callable[[str], str] = request.getfixturevalue("postgres")
        environ["OPTUNA_STORAGE"] = make("storage")
    settings = read_settings(home, environ)
    settings.locks.mkdir()
    return settings


@pytest.fixture
def spec(request: pytest.FixtureRequest) -> StudySpec:
    name = hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:12]
    return StudySpec(name=name, data=DataConfig("digits"), space=SPACE, trials=10)


def opened(places: Settings, spec: StudySpec, fingerprint: str = "f00d") -> optuna.Study:
    """The study as a search opens it."""
    study = open_study(places, spec, fingerprint)
    study.sampler = TrialSampler(spec, study, shared=places.is_shared)
    return study


def ask(study: optuna.Study) -> tuple[optuna.Trial, dict[str, Any]]:
    trial = study.ask()
    return trial, draw(study, trial, SPACE.distributions())


def finish(study: optuna.Study, trial: optuna.Trial, state: str, value: float | None) -> None:
    trial.set_user_attr(RESULT, {"best_val_accuracy": value, "params": trial.params, "best_epoch": 1})
    study.tell(trial, value if state == "COMPLETE" else None, TrialState[state])


class TestResuming:
    def test_a_study_goes_on_with_its_trials(self, places: Settings, spec: StudySpec) -> None:
        study = opened(places, spec)
        trial, params = ask(study)
        trial.report(0.4, 1)
        finish(study, trial, "COMPLETE", 0.5)
        again = opened(places, spec)
        [kept] = again.trials
        assert (kept.number, kept.state, kept.value) == (0, TrialState.COMPLETE, 0.5)
        assert kept.params == params
        assert kept.intermediate_values == {1: 0.4}
        assert ask(again)[0].number == 1

    def test_its_specification_is_recorded_in_full(self, places: Settings, spec: StudySpec) -> None:
        spec = replace(spec, start=(Hyperparameters(width=8, learning_rate=0.01, depth=1),))
        opened(places, spec)
        assert StudySpec.from_json(load_study(places, spec.name).user_attrs[SPEC]) == spec

    @pytest.mark.parametrize(
        ("change", "what"),
        [
            ({"seed": 1}, "study.seed"),
            ({"sampler": "random"}, "search.sampler"),
            ({"pruner": "median"}, "search.pruner"),
            ({"data": DataConfig("digits", scaling="standard")}, "data"),
            ({"space": SearchSpace({"width": Range(8, 65)})}, "space"),
            ({"start": (Hyperparameters(width=8),)}, "start"),
            ({"seed": 1, "space": SearchSpace({"width": Range(8, 65)})}, "study.seed and space"),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_it_must_go_on_with_what_it_was_started_with(
        self, places: Settings, spec: StudySpec, change: dict[str, Any], what: str
    ) -> None:
        opened(places, spec)
        with pytest.raises(SpecError) as caught:
            opened(places, replace(spec, **change))
        assert str(caught.value).startswith(
            f"study '{spec.name}': must go on with what it was started with, but {what}"
        )
        assert StudySpec.from_json(load_study(places, spec.name).user_attrs[SPEC]) == spec, "the record must stay"

    @pytest.mark.parametrize(
        "change",
        [{"trials": 99}, {"timeout_s": 5.0}, {"trials": None, "timeout_s": 9.0}, {"workers": WorkerSettings(slots=3)}],
    )
    def test_its_budget_and_its_workers_may_change(
        self, places: Settings, spec: StudySpec, change: dict[str, Any]
    ) -> None:
        opened(places, spec)
        opened(places, replace(spec, **change))
        assert StudySpec.from_json(load_study(places, spec.name).user_attrs[SPEC]) == replace(spec, **change)

    def test_other_rows_under_the_same_name_are_refused(self, places: Settings, spec: StudySpec) -> None:
        opened(places, spec, "f00d")
        with pytest.raises(SpecError, match="the rows of digits changed"):
            opened(places, spec, "beef")


class TestInterrupted:
    def test_a_parked_trial_is_asked_next_with_all_it_had(self, places: Settings, spec: StudySpec) -> None:
        study = opened(places, spec)
        _, _ = ask(study)
        trial, params = ask(study)
        trial.report(0.3, 1)
        park(study, trial._trial_id)
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
        distribution = SPACE.distributions()[first]
        internal = distribution.to_internal_repr(whole[first])
        half._storage.set_trial_param(trial._trial_id, first, internal, distribution)
        park(half, trial._trial_id)
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
                    park(study, ask(study)[0]._trial_id)
                    study = opened(places, own)
                trial = study.ask()
                point = trial.params or draw(study, trial, SPACE.distributions())
                params.append(point)
                finish(study, trial, "PRUNED" if number % 3 == 2 else "COMPLETE", point["width"] / 100)
            drawn.append(params)
        assert drawn[0] == drawn[1]

    def test_what_a_dead_process_left_running_is_parked(self, places: Settings, spec: StudySpec) -> None:
        study = opened(places, spec)
        done, left, beating = ask(study)[0], ask(study)[0], ask(study)[0]
        finish(study, done, "COMPLETE", 0.5)
        if places.is_shared:
            beat(places, left, seconds_ago=3600)
            beat(places, beating, seconds_ago=1)
        abandoned = park_abandoned(places, opened(places, spec))
        # Behind the lock of an embedded database nobody else is at work; on a shared one the heartbeat tells.
        expected = [1] if places.is_shared else [1, 2]
        assert [trial.number for trial in abandoned] == expected
        states = {trial.number: trial.state.name for trial in load_study(places, spec.name).trials}
        assert states == {0: "COMPLETE", 1: "WAITING", 2: "RUNNING" if places.is_shared else "WAITING"}


def beat(places: Settings, trial: optuna.Trial, seconds_ago: int) -> None:
    """A heartbeat that many seconds old, as the clock of the database has it."""
    storage = trial.study._storage
    storage.record_heartbeat(trial._trial_id)
    engine = sa.create_engine(places.optuna_storage)
    with engine.begin() as connection:
        connection.execute(
            sa.text(
                "UPDATE trial_heartbeats SET heartbeat = CURRENT_TIMESTAMP - make_interval(secs => :ago)"
                " WHERE trial_id = :id"
            ),
            {"ago": seconds_ago, "id": trial._trial_id},
        )
    engine.dispose()


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
        set_run_id(study, 0, "abc")
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
        set_run_id(study, 0, "first")
        set_run_id(study, 0, "second")
        assert leaderboard(load_study(places, spec.name))[0].run_id == "second"
        finish(study, trial, "COMPLETE", 0.5)
        set_run_id(study, 0, "third")
        assert leaderboard(load_study(places, spec.name))[0].run_id == "third"
        set_run_id(study, 0, "fourth")
        assert leaderboard(load_study(places, spec.name))[0].run_id == "fourth"


STEPS = st.lists(
    st.one_of(
        st.just(("ask",)),
        st.tuples(st.just("report"), st.integers(0, 5), st.integers(1, 9), st.floats(0, 1)),
        st.tuples(st.just("tell"), st.integers(0, 5), st.sampled_from(["COMPLETE", "PRUNED", "FAIL"]), st.floats(0, 1)),
        st.tuples(st.just("park"), st.integers(0, 5)),
        st.tuples(st.just("attr"), st.integers(0, 5), st.text(max_size=5)),
        st.tuples(st.just("study attr"), st.text(max_size=5)),
        st.just(("reopen",)),
    ),
    max_size=25,
)


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return read_settings(tmp_path_factory.mktemp("embedded"), {})


@pytest.mark.filterwarnings("ignore:The reported value is ignored")
@settings(max_examples=25, deadline=None)
@given(steps=STEPS)
def test_what_is_read_from_memory_is_what_the_database_holds(embedded: Settings, steps: list[Any]) -> None:
    """The embedded database answers from memory while a study is searched; both must never differ."""
    places = embedded
    name = f"mirrored-{len(study_names(places))}"
    spec = StudySpec(name=name, data=DataConfig("digits"), space=SPACE, sampler="random")
    study = opened(places, spec)
    for kind, *values in (("ask",), *steps):
        running = [trial for trial in study.trials if trial.state == TrialState.RUNNING]
        chosen = running[values[0] % len(running)] if running and values and isinstance(values[0], int) else None
        if kind == "ask":
            trial = study.ask()
            if not trial.params:
                draw(study, trial, SPACE.distributions())
        elif kind == "reopen":
            study = opened(places, spec)
        elif kind == "study attr":
            study.set_user_attr("note", values[0])
        elif chosen is None:
            continue
        elif kind == "report":
            trial = optuna.Trial(study, chosen._trial_id)
            trial.report(values[2], values[1])
            trial.should_prune()
        elif kind == "tell":
            study.tell(optuna.Trial(study, chosen._trial_id), values[2] if values[1] == "COMPLETE" else None,
                       TrialState[values[1]])  # fmt: skip
        elif kind == "park":
            park(study, chosen._trial_id)
        elif kind == "attr":
            study._storage.set_trial_user_attr(chosen._trial_id, "note", values[1])
    database = load_study(places, name)
    assert [plain(trial) for trial in study.trials] == [plain(trial) for trial in database.trials]
    assert study.user_attrs == database.user_attrs


def plain(trial: optuna.trial.FrozenTrial) -> tuple[Any, ...]:
    return (
        trial.number, trial.state, trial.values, trial.params, trial.distributions, trial.user_attrs,
        trial.system_attrs, trial.intermediate_values,
    )  # fmt: skip


class TestLock:
    def hold(self, home: Path, name: str, ready: Any, done: Any) -> None:
        with study_lock(read_settings(home, {}), name):
            ready.set()
            done.wait(30)

    @pytest.fixture
    def held(self, tmp_path: Path) -> Iterator[Path]:
        """A home on which another process searches the study "held"."""
        (tmp_path / "locks").mkdir()
        context = multiprocessing.get_context("fork")
        ready, done = context.Event(), context.Event()
        process = context.Process(target=self.hold, args=(tmp_path, "held", ready, done))
        process.start()
        assert ready.wait(30)
        yield tmp_path
        done.set()
        process.join()

    def test_one_process_at_a_time_searches_a_study_of_the_embedded_database(self, held: Path) -> None:
        refused = pytest.raises(UnavailableError, match="study 'held': is being searched by another process")
        with refused, study_lock(read_settings(held, {}), "held"):
            pass
        with study_lock(read_settings(held, {}), "another"):
            pass

    def test_the_system_lets_go_of_it_when_the_process_ends(self, tmp_path: Path) -> None:
        (tmp_path / "locks").mkdir()
        context = multiprocessing.get_context("fork")
        ready, done = context.Event(), context.Event()
        process = context.Process(target=self.hold, args=(tmp_path, "held", ready, done))
        process.start()
        assert ready.wait(30)
        process.kill()
        process.join()
        with study_lock(read_settings(tmp_path, {}), "held"):
            pass

    def test_on_a_shared_database_each_process_has_a_spool_of_its_own(self, tmp_path: Path) -> None:
        places = read_settings(tmp_path, {"OPTUNA_STORAGE": "postgresql://host/db"})
        (tmp_path / "locks").mkdir()
        with study_lock(places, "s") as one, study_lock(places, "s") as other:
            assert one.spool != other.spool
            start = RunStart("s", "trial-0001", 0, {}, {})
            write_entry(other.spool, Entry(start, 0, "COMPLETE", number=1), {})
            assert gather_spools(one, "s") == [], "it is at work"
        assert has_spooled(places, "s")
        with study_lock(places, "s") as later:
            assert [folder.name for folder in gather_spools(later, "s")] == ["trial-0001"]
            assert [read_entry(folder).number for folder in entries(later.spool, "s")] == [1]
            assert list(entries(other.spool, "s")) == []


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
