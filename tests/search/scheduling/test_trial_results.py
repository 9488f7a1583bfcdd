"""A search that is interrupted, runs out of time, or out of disk."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from optuna.trial import TrialState
from scripted_pool import LOST, ScriptedPool
from world import World, interrupt_after, script, states

from pipelines.errors import UnavailableError
from search.home.settings import study_slug
from search.optimization.studies import load_study, open_study
from search.scheduling.progress import Progress
from search.scheduling.scheduler import Scheduler
from search.spec.dimensions import Choice, Range
from search.spec.space import SearchSpace
from search.storage.attributes import ELAPSED
from search.workers.tasks import Task


class TestInterrupted:
    @pytest.mark.parametrize(("pruner", "n_slots"), [("asha", 1), ("hyperband", 1), ("median", 1), ("asha", 2)])
    def test_a_resumed_study_equals_an_uninterrupted_one(self, world: World, n_slots: int, pruner: Any) -> None:
        """With one slot every value is equal, with several the number of trials."""
        whole, broken = (world.spec(trials=9, pruner=pruner, sampler="tpe", name=f"{pruner}-{n_slots}-{kind}")
                         for kind in ("whole", "broken"))  # fmt: skip
        world.search(whole, ScriptedPool(n_slots))
        for n_epochs in (3, 1, 6, 2):
            world.search(broken, ScriptedPool(n_slots), interrupt_after(n_epochs))
            open_states = [run.info.status for run in world.runs(broken).values()]
            assert "RUNNING" not in open_states
            study = load_study(world.settings, broken.name)
            assert TrialState.RUNNING not in [trial.state for trial in study.trials]
        world.search(broken, ScriptedPool(n_slots))
        rows, expected = world.rows(broken), world.rows(whole)
        assert len(rows) == len(expected) == 9
        if n_slots == 1:
            kept = [(row.state, row.value, row.params, row.epochs_trained) for row in rows]
            assert kept == [(row.state, row.value, row.params, row.epochs_trained) for row in expected]
        assert {run.info.status for run in world.runs(broken).values()} == {"FINISHED"}

    def test_a_trial_in_training_is_killed_in_mlflow_and_waits_in_optuna(self, world: World) -> None:
        spec = world.spec(trials=3)
        world.search(spec, ScriptedPool(1), interrupt_after(6))
        assert [row.state for row in world.rows(spec)] == ["COMPLETE", "WAITING"]
        assert [world.runs(spec)[f"trial-000{n}"].info.status for n in (0, 1)] == ["FINISHED", "KILLED"]

    def test_an_error_leaves_its_trials_in_the_budget(self, world: World) -> None:
        spec = world.spec(trials=4)

        def fail(scheduler: Scheduler, progress: Progress) -> None:
            if progress.complete == 2:
                raise RuntimeError("the observer broke")

        with pytest.raises(RuntimeError, match="the observer broke"):
            world.search(spec, ScriptedPool(2), fail)
        assert "RUNNING" not in states(world.rows(spec))
        world.search(spec, ScriptedPool(2))
        assert states(world.rows(spec)) == ["COMPLETE"] * 4


class TestTime:
    def test_what_earlier_runs_took_counts(self, world: World) -> None:
        spec = world.spec(trials=None, timeout_s=100.0)
        study = open_study(world.settings, spec, "f00d")
        study.set_user_attr(ELAPSED, 100.5)
        pool = ScriptedPool(1)
        world.search(spec, pool)
        assert pool.tasks == []
        assert load_study(world.settings, spec.name).user_attrs[ELAPSED] >= 100.5

    def test_the_time_used_is_recorded(self, world: World) -> None:
        spec = world.spec(trials=1)
        world.search(spec, ScriptedPool(1, script({0: [[0.1, LOST]]})))
        used = load_study(world.settings, spec.name).user_attrs[ELAPSED]
        world.search(replace(spec, trials=2), ScriptedPool(1))
        assert load_study(world.settings, spec.name).user_attrs[ELAPSED] >= used

    def test_the_timeout_ends_trials_at_an_epoch_and_keeps_what_they_reached(self, world: World) -> None:
        spec = world.spec(
            trials=None, timeout_s=6.0, space=SearchSpace({"width": Range(8, 64), "epochs": Choice((10**6,))})
        )

        def slowly(task: Task, attempt: int) -> Iterator[float]:
            for epoch in itertools.count(1):
                time.sleep(0.01)
                yield min(0.9, epoch / 1000)

        pool = ScriptedPool(2, slowly)
        world.search(spec, pool)
        rows = world.rows(spec)
        assert states(rows) == ["COMPLETE", "COMPLETE"]
        assert all(row.value and row.epochs_trained for row in rows)
        assert all(0 < task.time_left_s <= 6.0 for _, task in pool.tasks)
        assert {run.data.tags["stop_reason"] for run in world.runs(spec).values()} == {"timeout"}

    def test_no_trial_begins_whose_first_epoch_would_end_too_late(self, untracked: World) -> None:
        spec = untracked.spec(trials=None, timeout_s=1.0, sampler="random")
        pool = ScriptedPool(1)
        untracked.search(spec, pool)
        assert set(states(untracked.rows(spec))) == {"COMPLETE"}


def test_a_full_disk_ends_the_search_at_once_and_loses_no_trial(world: World) -> None:
    """A file in place of the study's spool folder simulates a full disk."""
    spec = world.spec(trials=3)
    blocked = world.settings.spool / study_slug(spec.name)
    blocked.touch()
    with pytest.raises(UnavailableError, match="must take a finished trial"):
        world.search(spec, ScriptedPool(2))
    assert set(states(world.rows(spec))) == {"WAITING"}
    assert {run.info.status for run in world.runs(spec).values()} == {"KILLED"}
    blocked.unlink()
    world.search(spec, ScriptedPool(2))
    assert states(world.rows(spec)) == ["COMPLETE"] * 3
