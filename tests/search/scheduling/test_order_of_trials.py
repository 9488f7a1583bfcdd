"""Which of the last trials of a budget begins first."""

from __future__ import annotations

from typing import Any

import pytest
from scripted_pool import ScriptedPool
from world import World, interrupt_after, states

from search.spec.dimensions import Choice, Range
from search.spec.space import SearchSpace

WIDE = SearchSpace({"width": Range(8, 1024, log=True), "epochs": Choice((4,))})


def search(world: World, *, act: Any = None, **changes: Any) -> tuple[list[int], list[int]]:
    """Searches on two slots; returns the numbers of the trials in the order of their begin, and their widths."""
    spec, pool = world.spec(space=WIDE, trials=12, **changes), ScriptedPool(2)
    world.search(spec, pool, act, virtual_slots=8)
    rows = world.rows(spec)
    assert states(rows) == ["COMPLETE"] * 12
    return [task.number for _, task in pool.tasks], [row.params["width"] for row in rows]


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_the_last_trials_begin_with_the_longest_and_are_the_same(world: World, sampler: str) -> None:
    begun, widths = search(world, sampler=sampler)
    in_order, same = search(world, sampler=sampler, timeout_s=1e6)
    assert in_order == list(range(12))
    assert widths == same
    assert sorted(begun) == in_order
    last = [widths[number] for place, number in enumerate(begun) if begun[: place + 1] != in_order[: place + 1]]
    assert len(last) > 2
    assert last == sorted(last, reverse=True)


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
