"""Which of the last trials of a budget begins first."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from scripted_pool import ScriptedPool
from world import World, interrupt_after, states

from search.optimization.studies import load_study
from search.spec.dimensions import Choice, Range
from search.spec.space import SearchSpace
from search.storage.attributes import VIRTUAL_SLOTS

WIDE = SearchSpace({"width": Range(8, 1024, log=True), "epochs": Choice((4,))})


def search(world: World, n_slots: int, virtual_slots: int, **changes: Any) -> tuple[list[int], list[int]]:
    """Returns the numbers of a search's trials in the order of their begin, and their widths."""
    spec, pool = world.spec(space=WIDE, trials=12, **changes), ScriptedPool(n_slots)
    watcher = world.search(spec, pool, virtual_slots=virtual_slots)
    rows = world.rows(spec)
    assert states(rows) == ["COMPLETE"] * 12
    assert not [line for line in watcher.lines if "virtual slots" in line]
    assert load_study(world.settings, spec.name).user_attrs[VIRTUAL_SLOTS] == virtual_slots
    return [task.number for _, task in pool.tasks], [row.params["width"] for row in rows]


@pytest.mark.parametrize(("n_slots", "virtual_slots"), [(2, 8), (2, 12), (8, 8), (1, 1), (2, 2)])
@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_the_last_trials_begin_with_the_longest_and_are_the_same(
    world: World, sampler: str, n_slots: int, virtual_slots: int
) -> None:
    begun, widths = search(world, n_slots, virtual_slots, sampler=sampler)
    in_order, same = search(world, n_slots, virtual_slots, sampler=sampler, timeout_s=1e6)
    assert in_order == list(range(12))
    assert widths == same
    assert sorted(begun) == in_order
    last = [widths[number] for place, number in enumerate(begun) if begun[: place + 1] != in_order[: place + 1]]
    assert len(last) > 2 or virtual_slots < 12
    assert last == sorted(last, reverse=True)


def test_runs_begin_when_their_trials_have_a_slot(world: World) -> None:
    spec, pool = world.spec(space=WIDE, trials=6), ScriptedPool(1)
    world.search(spec, pool, virtual_slots=8)
    runs = world.runs(spec)
    in_order = [runs[f"trial-{task.number:04d}"].info for _, task in pool.tasks]
    assert all(before.end_time <= after.start_time for before, after in itertools.pairwise(in_order))


def test_a_pruner_keeps_trials_in_the_order_of_their_numbers(world: World) -> None:
    spec, pool = world.spec(space=WIDE, trials=12, pruner="asha"), ScriptedPool(2)
    world.search(spec, pool, virtual_slots=8)
    assert [task.number for _, task in pool.tasks] == list(range(12))


def test_trials_without_a_slot_wait_after_an_interruption(world: World) -> None:
    spec = world.spec(space=WIDE, trials=8)
    world.search(spec, ScriptedPool(2), interrupt_after(1), virtual_slots=8)
    rows = world.rows(spec)
    assert len(rows) == 8
    assert set(states(rows)) <= {"WAITING", "COMPLETE"}
    assert states(rows).count("WAITING") >= 6
    world.search(spec, ScriptedPool(2), virtual_slots=8)
    assert states(world.rows(spec)) == ["COMPLETE"] * 8
    assert [row.params["width"] for row in world.rows(spec)] == [row.params["width"] for row in rows]
    assert len(world.runs(spec)) == 8
