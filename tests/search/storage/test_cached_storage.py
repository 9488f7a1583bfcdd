"""A study in memory, and what the database of each kind holds of it."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import optuna
import pytest
import sqlalchemy as sa
from databases import SPACE, ask, finish, opened
from hypothesis import given, settings, strategies as st
from optuna.trial import TrialState

from pipelines.config import DataConfig
from pipelines.errors import UnavailableError
from search.home.settings import Settings
from search.optimization.studies import load_study, study_names
from search.spec.study_spec import StudySpec
from search.storage import cached_storage
from search.storage.cached_storage import FinishedElsewhereError
from search.storage.stored_study import StoredStudy
from search.storage.transactions import Writes, commit

STEPS = st.lists(
    st.one_of(
        st.just(("ask",)),
        st.tuples(st.just("report"), st.integers(0, 5), st.integers(1, 9), st.floats(0, 1)),
        st.tuples(st.just("tell"), st.integers(0, 5), st.sampled_from(["COMPLETE", "PRUNED", "FAIL"]), st.floats(0, 1)),
        st.tuples(st.just("requeue"), st.integers(0, 5)),
        st.tuples(st.just("attr"), st.integers(0, 5), st.text(max_size=5)),
        st.tuples(st.just("study attr"), st.text(max_size=5)),
        st.just(("reopen",)),
    ),
    max_size=25,
)


@pytest.mark.filterwarnings("ignore:The reported value is ignored")
@settings(max_examples=15)
@given(steps=STEPS)
def test_what_is_read_from_memory_is_what_the_database_holds(places: Settings, steps: list[Any]) -> None:
    """A study is read from memory while it is searched; that and the database must never differ."""
    name = f"cached-{len(study_names(places))}"
    spec = StudySpec(name=name, data=DataConfig("digits", folds=1), space=SPACE, sampler="random")
    study = opened(places, spec)
    for kind, *values in (("ask",), *steps):
        running = [trial for trial in study.trials if trial.state == TrialState.RUNNING]
        chosen = running[values[0] % len(running)] if running and values and isinstance(values[0], int) else None
        if kind == "ask":
            SPACE.suggest(study.ask())
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
        elif kind == "requeue":
            study.requeue(chosen.number)
        elif kind == "attr":
            study.set_trial_attr(chosen.number, "note", values[1])
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
        with suppress(ZeroDivisionError), study.transaction():
            ask(study)[0].report(0.5, 1)
            _ = 1 / 0
        assert load_study(places, spec.name).trials == []

    def test_nothing_of_a_block_is_seen_before_its_end(self, places: Settings, spec: StudySpec) -> None:
        study = opened(places, spec)
        with study.transaction():
            trial, params = ask(study)
            trial.report(0.5, 1)
            finish(study, trial, "COMPLETE", 0.5)
            assert load_study(places, spec.name).trials == []
        [kept] = load_study(places, spec.name).trials
        assert kept.state == TrialState.COMPLETE
        assert (kept.params, kept.intermediate_values, kept.value) == (params, {1: 0.5}, 0.5)

    def test_a_transaction_whose_confirmation_was_lost_is_made_once(
        self, places: Settings, spec: StudySpec, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """After an outage the call is made again, and does not know whether the database has it already."""

        def commit_twice(engine: sa.Engine, study_id: int, writes: Writes, ids: dict[int, int]) -> set[int]:
            commit(engine, study_id, writes, dict(ids))
            return commit(engine, study_id, writes, ids)

        monkeypatch.setattr(cached_storage, "commit", commit_twice)
        monkeypatch.setattr(cached_storage, "retry", lambda call: call)
        study = opened(places, spec)
        with study.transaction():
            first, params = ask(study)
            first.report(0.5, 1)
        finish(study, first, "COMPLETE", 0.5)
        ask(study)
        kept, second = load_study(places, spec.name).trials
        assert (kept.params, kept.intermediate_values, kept.value) == (params, {1: 0.5}, 0.5)
        assert second.state == TrialState.RUNNING

    def test_what_another_process_has_finished_stays_and_the_rest_is_written(
        self, places: Settings, spec: StudySpec
    ) -> None:
        study = opened(places, spec)
        taken, own = ask(study)[0], ask(study)[0]
        load_study(places, spec.name).tell(0, 0.9)

        def report() -> None:
            with study.transaction():
                taken.report(0.1, 1)
                own.report(0.2, 1)

        with pytest.raises(FinishedElsewhereError):
            report()
        first, second = load_study(places, spec.name).trials
        assert (first.value, first.intermediate_values, second.intermediate_values) == (0.9, {}, {1: 0.2})
        assert study.trials[0].value == 0.9, "it shows as finished from now on"


class TestOthersOnASharedDatabase:
    @pytest.fixture
    def two(self, places: Settings, spec: StudySpec) -> tuple[StoredStudy, StoredStudy]:
        if not places.is_shared:
            pytest.skip("an embedded study has one process")
        return opened(places, spec), opened(places, spec)

    def test_a_refresh_shows_what_they_started_noted_and_finished(self, two: tuple[StoredStudy, StoredStudy]) -> None:
        one, other = two
        trial, params = ask(other)
        other._storage.set_trial_system_attr(trial._trial_id, "completed_rung_0", 0.25)
        assert one.trials == []
        one.refresh()
        [seen] = one.trials
        assert (seen.params, seen.system_attrs) == (params, {"completed_rung_0": 0.25})
        other._storage.set_trial_system_attr(trial._trial_id, "completed_rung_1", 0.5)
        one.refresh()
        assert one.trials[0].system_attrs["completed_rung_1"] == 0.5
        finish(other, trial, "COMPLETE", 0.75)
        one.refresh()
        assert (one.trials[0].value, ask(one)[0].number) == (0.75, 1)

    def test_a_trial_that_they_requeued_is_asked_next(self, two: tuple[StoredStudy, StoredStudy]) -> None:
        one, other = two
        requeued, params = ask(other)
        one.refresh()
        assert ask(one)[0].number == 1
        other.requeue(requeued.number)
        one.refresh()
        taken = one.ask()
        assert (taken.number, taken.params) == (0, params)

    def test_a_number_that_another_program_took_meanwhile_is_not_given_twice(
        self, places: Settings, spec: StudySpec, two: tuple[StoredStudy, StoredStudy]
    ) -> None:
        load_study(places, spec.name).enqueue_trial({"width": 8})
        with pytest.raises(UnavailableError, match="another program started a trial of the same number"):
            two[0].ask()
        assert len(load_study(places, spec.name).trials) == 1
