"""Spaces with few configurations: none is trained twice, and the study ends after the last one."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any

import pytest
from scripted_pool import LOST, ScriptedPool
from world import SIX, World, script, states

from pipelines.config import Hyperparameters
from search.optimization.samplers import exhausted_note
from search.spec.dimensions import Choice, Fixed, Range
from search.spec.space import SearchSpace


def test_a_finished_configuration_is_copied(world: World) -> None:
    """A continuous range of two numbers: a third trial cannot be new."""
    space = SearchSpace({"learning_rate": Range(0.01, math.nextafter(0.01, 1.0)), "epochs": Fixed(4)})
    start = tuple(Hyperparameters(learning_rate=rate, epochs=4) for rate in (0.01, math.nextafter(0.01, 1.0)))
    spec, pool = world.spec(space=space, start=start, trials=3), ScriptedPool(1)
    world.search(spec, pool)
    assert [task.number for _, task in pool.tasks] == [0, 1]
    *trained, copy = world.rows(spec)
    run = world.runs(spec)["trial-0002"]
    original = trained[int(run.data.tags["copied_from"])]
    assert (copy.state, copy.value, copy.params) == (original.state, original.value, original.params)
    assert copy.duration_s == 0
    assert run.info.status == "FINISHED"
    assert run.data.metrics["best_val_accuracy"] == original.value


class TestASmallSpace:
    @pytest.fixture
    def world(self, world: World) -> World:
        return replace(world, is_tracked=False)

    @pytest.mark.parametrize("sampler", ["random", "tpe"])
    def test_no_trial_of_an_exact_budget_is_a_repeat_over_several_runs(self, world: World, sampler: Any) -> None:
        """Twenty draws of twelve points miss the last one once in six times."""
        space = SearchSpace({"width": Range(8, 13), "depth": Choice((1, 2)), "epochs": Fixed(4)})
        for seed in range(3):
            spec, tasks, lines = world.spec(space=space, sampler=sampler, seed=seed), [], []
            for trials in (5, 12):
                pool = ScriptedPool(2)
                lines += world.search(replace(spec, trials=trials), pool).lines
                tasks += [task for _, task in pool.tasks]
            assert len({task.hyperparameters for task in tasks}) == len(tasks) == len(world.rows(spec)) == 12
            assert exhausted_note(spec) not in lines, "the budget was used as it was given"

    @pytest.mark.parametrize("sampler", ["random", "tpe", "grid"])
    @pytest.mark.parametrize("n_slots", [1, 3])
    def test_each_configuration_is_trained_once_and_then_the_study_ends(
        self, world: World, sampler: Any, n_slots: int
    ) -> None:
        spec, pool = world.spec(space=SIX, trials=20, sampler=sampler), ScriptedPool(n_slots)
        watcher = world.search(spec, pool)
        assert watcher.lines.count(exhausted_note(spec)) == 1
        trained = [(task.hyperparameters.width, task.hyperparameters.depth) for _, task in pool.tasks]
        assert sorted(trained) == sorted(itertools.product((8, 16, 32), (1, 2)))
        assert len(world.rows(spec)) == 6

    def test_a_lost_trial_is_retried_in_an_exhausted_space(self, world: World) -> None:
        spec = world.spec(space=SIX, trials=20, sampler="grid")
        pool = ScriptedPool(3, script({5: [[0.5, LOST]], 4: [[0.1] * 4]}))
        world.search(spec, pool)
        assert states(world.rows(spec)) == ["COMPLETE"] * 6

    def test_a_larger_budget_continues_the_study(self, world: World) -> None:
        spec = world.spec(space=SIX, trials=2, sampler="grid")
        world.search(spec, ScriptedPool(1))
        more = ScriptedPool(1)
        world.search(replace(spec, trials=4), more)
        assert sorted(task.number for _, task in more.tasks) == [2, 3]
        assert len(world.rows(spec)) == 4
