"""Optuna's database: the same suite over each kind of database that a study can lie in."""

from __future__ import annotations

import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy as sa
from databases import SPACE, ask, finish, opened
from hypothesis import given, settings
from hypothesis import strategies as st
from mlflow import MlflowClient
from optuna.storages import RDBStorage
from optuna.trial import TrialState

from pipelines.config import DataConfig, Hyperparameters
from pipelines.errors import NotFoundError, SpecError, UnavailableError
from search.claims import park
from search.mirror import OvertakenError
from search.runs import make_database
from search.sampling import draw
from search.settings import Settings, prepare_home, read_settings
from search.space import Range, SearchSpace
from search.spec import StudySpec, WorkerSettings
from search.storage import (
    RESULT,
    SPEC,
    leaderboard,
    load_study,
    open_storage,
    set_run_id,
    study_names,
)


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


@pytest.mark.filterwarnings("ignore:The reported value is ignored")
@settings(max_examples=15, deadline=None)
@given(steps=STEPS)
def test_what_is_read_from_memory_is_what_the_database_holds(places: Settings, steps: list[Any]) -> None:
    """A study is read from memory while it is searched; that and the database must never differ."""
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


class TestTransactions:
    def test_all_of_a_block_is_written_or_nothing(self, places: Settings, spec: StudySpec) -> None:
        study = opened(places, spec)
        with suppress(ZeroDivisionError), study._storage.together():
            ask(study)[0].report(0.5, 1)
            _ = 1 / 0
        assert load_study(places, spec.name).trials == []

    def test_nothing_of_a_block_is_seen_before_its_end(self, places: Settings, spec: StudySpec) -> None:
        study = opened(places, spec)
        with study._storage.together():
            trial, params = ask(study)
            trial.report(0.5, 1)
            finish(study, trial, "COMPLETE", 0.5)
            assert load_study(places, spec.name).trials == []
        [kept] = load_study(places, spec.name).trials
        assert (kept.params, kept.intermediate_values, kept.value) == (params, {1: 0.5}, 0.5)

    def test_what_another_process_has_finished_stays_and_the_rest_is_written(
        self, places: Settings, spec: StudySpec
    ) -> None:
        study = opened(places, spec)
        taken, own = ask(study)[0], ask(study)[0]
        load_study(places, spec.name).tell(0, 0.9)

        def report() -> None:
            with study._storage.together():
                taken.report(0.1, 1)
                own.report(0.2, 1)

        with pytest.raises(OvertakenError):
            report()
        first, second = load_study(places, spec.name).trials
        assert (first.value, first.intermediate_values, second.intermediate_values) == (0.9, {}, {1: 0.2})
        assert study.trials[0].value == 0.9, "it shows as finished from now on"


class TestOthersOnASharedDatabase:
    @pytest.fixture
    def two(self, places: Settings, spec: StudySpec) -> tuple[optuna.Study, optuna.Study]:
        if not places.is_shared:
            pytest.skip("an embedded study has one process")
        return opened(places, spec), opened(places, spec)

    def test_a_look_shows_what_they_began_noted_and_finished(self, two: tuple[optuna.Study, optuna.Study]) -> None:
        one, other = two
        trial, params = ask(other)
        other._storage.set_trial_system_attr(trial._trial_id, "completed_rung_0", 0.25)
        assert one.trials == []
        one._storage.refresh()
        [seen] = one.trials
        assert (seen.params, seen.system_attrs) == (params, {"completed_rung_0": 0.25})
        other._storage.set_trial_system_attr(trial._trial_id, "completed_rung_1", 0.5)
        one._storage.refresh()
        assert one.trials[0].system_attrs["completed_rung_1"] == 0.5
        finish(other, trial, "COMPLETE", 0.75)
        one._storage.refresh()
        assert (one.trials[0].value, ask(one)[0].number) == (0.75, 1)

    def test_a_trial_that_they_let_go_of_is_asked_next(self, two: tuple[optuna.Study, optuna.Study]) -> None:
        one, other = two
        parked, params = ask(other)
        one._storage.refresh()
        assert ask(one)[0].number == 1
        park(other, parked._trial_id)
        one._storage.refresh()
        taken = one.ask()
        assert (taken.number, taken.params) == (0, params)

    def test_a_number_that_another_program_took_meanwhile_is_not_given_twice(
        self, places: Settings, spec: StudySpec, two: tuple[optuna.Study, optuna.Study]
    ) -> None:
        load_study(places, spec.name).enqueue_trial({"width": 8})
        with pytest.raises(UnavailableError, match="another program began a trial of the same number"):
            two[0].ask()
        assert len(load_study(places, spec.name).trials) == 1


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
