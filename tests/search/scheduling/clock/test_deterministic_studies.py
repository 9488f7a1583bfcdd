"""Studies with a virtual clock through the scheduler, with scripted training: real slots change nothing."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from optuna.study import StudyDirection
from optuna.trial import TrialState, create_trial
from scripted_pool import LOST, ScriptedPool
from world import World, interrupt_after, states

from pipelines.config import Hyperparameters
from pipelines.errors import SpecError
from search.devices.work import Shape
from search.optimization.pruners import as_of, best_so_far
from search.optimization.studies import as_recorded, open_study
from search.scheduling.clock.trial_clock import TrialClock, virtual_slots_of
from search.spec.dimensions import Choice, Range
from search.spec.reading import override
from search.spec.space import SearchSpace
from search.spec.study_spec import StudySpec
from search.storage.attributes import RUNG, VIRTUAL, VIRTUAL_SLOTS
from search.workers.pool import Event, Ready, Reported
from search.workers.tasks import Task

SPACE = SearchSpace(
    {"width": Range(8, 64), "depth": Choice((1, 2)), "epochs": Range(3, 9), "batch_size": Choice((32, 128))}
)
START = (Hyperparameters(width=40, depth=1, epochs=6, batch_size=32),)


def curve(task: Task, attempt: int = 1) -> Iterable[float]:
    """The accuracy of each epoch: its level and its noise follow from the task."""
    noise = random.Random(task.seed)
    level = task.hyperparameters.width / 100
    return [level + noise.random() / epoch / 4 for epoch in range(1, task.hyperparameters.epochs + 1)]


class Shuffled(ScriptedPool):
    """Its slots get on in a random order: each poll returns the next event of one of them."""

    def __init__(self, n_slots: int, seed: int, script: Any = curve) -> None:
        super().__init__(n_slots, script)
        self._luck = random.Random(seed)

    def poll(self, timeout_s: float) -> list[Event]:
        if not self._events:
            return []
        slot = self._luck.choice(sorted({event.slot.number for event in self._events}))
        event = next(event for event in self._events if event.slot.number == slot)
        self._events.remove(event)
        return [event]


class SlowToStart(ScriptedPool):
    """Each poll returns one event; a process that died starts again after the third report of trial 0."""

    has_reported = False

    def poll(self, timeout_s: float) -> list[Event]:
        if not self._events:
            return []
        begins_first = self.has_reported or len(self.tasks) < len(self.slots)
        event = min(self._events, key=lambda event: isinstance(event, Ready) is not begins_first)
        self._events.remove(event)
        self.has_reported |= isinstance(event, Reported) and (event.number, event.report.epoch) == (0, 3)
        return [event]


def figures(world: World, spec: StudySpec) -> list[tuple[Any, ...]]:
    return [(row.state, row.params, row.value, row.epochs_trained) for row in world.rows(spec)]


@pytest.fixture(scope="module")
def world(world: World) -> World:
    """Every test here reads Optuna alone."""
    return replace(world, is_tracked=False)


@pytest.fixture(scope="module")
def alone(world: World) -> dict[str, list[tuple[Any, ...]]]:
    """What one slot comes to, by pruner."""
    found = {}
    for pruner, sampler in (("asha", "tpe"), ("hyperband", "cmaes"), ("median", "random")):
        spec = make(world, pruner=pruner, sampler=sampler)
        world.search(spec, ScriptedPool(1, curve), virtual_slots=4)
        found[pruner] = figures(world, spec)
        assert {"COMPLETE", "PRUNED"} <= set(states(world.rows(spec))), "the pruner prunes"
    return found


def make(world: World, **changes: Any) -> StudySpec:
    return world.spec(**{"space": SPACE, "trials": 20, "seed": 3, "start": START, **changes})


@pytest.mark.parametrize(("pruner", "sampler"), [("asha", "tpe"), ("hyperband", "cmaes"), ("median", "random")])
def test_the_order_in_which_slots_finish_changes_nothing(
    world: World, alone: dict[str, list[tuple[Any, ...]]], pruner: str, sampler: str
) -> None:
    spec = make(world, pruner=pruner, sampler=sampler)
    world.search(spec, Shuffled(4, 7), virtual_slots=4)
    assert figures(world, spec) == alone[pruner]


def test_interruptions_and_lost_workers_change_nothing(world: World, alone: dict[str, list[tuple[Any, ...]]]) -> None:
    def lossy(task: Task, attempt: int) -> Iterable[float | str]:
        reports = list(curve(task))
        return [*reports[:2], LOST] if attempt == 1 and task.number % 3 == 1 else reports

    spec = make(world, pruner="asha", sampler="tpe")
    world.search(spec, Shuffled(3, 1, lossy), interrupt_after(12), virtual_slots=4)
    assert "WAITING" in states(world.rows(spec))
    world.search(spec, Shuffled(2, 2, lossy), interrupt_after(20), virtual_slots=4)
    world.search(spec, Shuffled(4, 3, lossy), virtual_slots=4)
    assert figures(world, spec) == alone["asha"]


def test_a_report_waits_for_a_trial_whose_worker_died(world: World) -> None:
    """Trial 2 is pruned at its first rung, where trial 1 is better: also where trial 1 has to begin again."""
    levels = {0: 0.3, 1: 0.9, 2: 0.5}

    def whole(task: Task, attempt: int) -> Iterable[float | str]:
        return [levels[task.number] + epoch / 1000 for epoch in range(1, task.hyperparameters.epochs + 1)]

    def lossy(task: Task, attempt: int) -> Iterable[float | str]:
        return [LOST] if (task.number, attempt) == (1, 1) else whole(task, attempt)

    found = []
    for n_slots, script in ((1, whole), (3, lossy)):
        spec = make(world, pruner="asha", sampler="random", trials=3, seed=1)
        world.search(spec, SlowToStart(n_slots, script), virtual_slots=4)
        found.append(figures(world, spec))
    assert found[1] == found[0]
    assert found[0][2][3] == 1, "trial 2 is pruned at its first rung"


def test_a_sampler_sees_what_trials_in_training_have_reached(world: World) -> None:
    spec = make(world, pruner="asha", sampler="tpe", start=(Hyperparameters(width=64, depth=2, epochs=9),))
    world.search(spec, ScriptedPool(1, curve), virtual_slots=4)
    study = open_study(world.settings, spec, "f00d", virtual_slots=4)
    clock, start = TrialClock(spec, study, Shape(1000, 64, 10)), study.get_trials(deepcopy=False)[0]
    began, once, epoch = start.user_attrs[VIRTUAL]

    def seen(epochs: int) -> float | None:
        by_number = {trial.number: trial for trial in clock.seen(began + once + epochs * epoch)}
        assert all(trial.state.is_finished() for trial in by_number.values())
        return by_number[0].value if 0 in by_number else None

    reported = start.intermediate_values
    assert seen(0) is None
    assert seen(1) == seen(2) == reported[1], "the rungs of 9 epochs are after 1 and 3 of them"
    assert seen(3) == seen(8) == max(reported[1], reported[3])
    assert seen(9) == start.value
    assert 0 not in {trial.number for trial in clock.past(began + once + 8 * epoch)}


def test_a_rung_of_another_process_counts_without_its_reports() -> None:
    trial = create_trial(state=TrialState.RUNNING, system_attrs={f"{RUNG}0": 0.4, f"{RUNG}1": 0.3})
    for epochs, direction, value in ((1, "MAXIMIZE", 0.4), (3, "MAXIMIZE", 0.4), (3, "MINIMIZE", 0.3)):
        seen = best_so_far(trial, (1, 3), epochs, StudyDirection[direction])
        assert seen is not None
        assert (seen.state, seen.value) == (TrialState.COMPLETE, value)
    assert best_so_far(trial, (1, 3), 0, StudyDirection.MAXIMIZE) is None
    without = create_trial(state=TrialState.RUNNING, intermediate_values={1: float("nan")})
    assert best_so_far(without, (1, 3), 3, StudyDirection.MAXIMIZE) is None
    assert best_so_far(trial, (), 3, StudyDirection.MAXIMIZE) is None, "without a pruner there are no rungs"


def test_a_pruner_sees_the_rungs_of_another_process() -> None:
    """Of a trial in training there, the database gives the rungs alone."""
    rungs = {f"{RUNG}0": 0.4, f"{RUNG}1": 0.6}
    trial = create_trial(state=TrialState.RUNNING, system_attrs=rungs)
    assert as_of(trial, (1, 3), 3).system_attrs == rungs
    assert as_of(trial, (1, 3), 2).system_attrs == {f"{RUNG}0": 0.4}


def test_without_the_clock_each_trial_uses_what_is_known(world: World) -> None:
    spec = make(world, pruner="asha")
    world.search(spec, ScriptedPool(1, curve))
    assert {row.waited_s for row in world.rows(spec)} == {None}


def test_more_slots_than_virtual_ones_are_used_and_a_line_says_so(world: World) -> None:
    spec = make(world, trials=6)
    pool = ScriptedPool(3, curve)
    watcher = world.search(spec, pool, virtual_slots=2)
    assert len({slot.number for slot, _ in pool.tasks}) == 3
    assert [line for line in watcher.lines if "it gets 3 virtual slots from trial 2 on" in line]
    assert all(row.waited_s is not None for row in world.rows(spec))


class TestKept:
    def test_a_study_keeps_what_it_was_started_with(self, world: World) -> None:
        spec = make(world, deterministic=True)
        study = open_study(world.settings, spec, "f00d", virtual_slots=8)
        assert study.user_attrs[VIRTUAL_SLOTS] == 8
        again = open_study(world.settings, make(world, name=spec.name), "f00d", virtual_slots=16)
        assert again.user_attrs[VIRTUAL_SLOTS] == 8
        with pytest.raises(SpecError, match=r"search\.deterministic: must be that of study .*, true, got false"):
            open_study(world.settings, make(world, name=spec.name, deterministic=False), "f00d")

    def test_a_study_keeps_the_virtual_slots_that_it_was_given(self, world: World) -> None:
        spec = make(world, virtual_slots=3)
        study = open_study(world.settings, spec, "f00d", virtual_slots=3)
        unnamed = as_recorded(world.settings, make(world, name=spec.name))
        assert unnamed.virtual_slots == 3
        assert open_study(world.settings, unnamed, "f00d", virtual_slots=3).user_attrs[VIRTUAL_SLOTS] == 3
        study.set_user_attr(VIRTUAL_SLOTS, 4)  # as a larger machine does
        for asked in (3, 4):
            open_study(world.settings, make(world, name=spec.name, virtual_slots=asked), "f00d", virtual_slots=asked)
        with pytest.raises(SpecError, match=r"search\.virtual_slots: must be that of study .*, [34], got 5"):
            open_study(world.settings, make(world, name=spec.name, virtual_slots=5), "f00d", virtual_slots=5)

    def test_fewer_virtual_slots_than_slots_are_refused_for_a_new_study(self, world: World) -> None:
        spec = make(world, virtual_slots=2)
        assert virtual_slots_of(world.settings, make(world), 2) == 8
        assert virtual_slots_of(world.settings, make(world), 9) == 9
        assert virtual_slots_of(world.settings, spec, 2) == 2
        with pytest.raises(SpecError, match=r"virtual_slots: must be at least the number of slots, 3, got 2"):
            virtual_slots_of(world.settings, spec, 3)
        open_study(world.settings, spec, "f00d", virtual_slots=2)
        assert virtual_slots_of(world.settings, spec, 3) == 2, "it gets more where it must"
        with pytest.raises(SpecError, match=r"search\.virtual_slots: must be left out with deterministic = false"):
            override(spec, deterministic=False)

    def test_a_study_of_an_earlier_version_has_no_clock(self, world: World) -> None:
        spec = make(world)
        open_study(world.settings, spec, "f00d")  # earlier versions recorded nothing
        assert VIRTUAL_SLOTS not in open_study(world.settings, spec, "f00d", virtual_slots=8).user_attrs
        with pytest.raises(SpecError, match=r"search\.deterministic: must be that of study .*, false, got true"):
            open_study(world.settings, make(world, name=spec.name, deterministic=True), "f00d", virtual_slots=8)
