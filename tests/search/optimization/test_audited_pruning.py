"""Trials that run on where they would be pruned: they show what pruning misses, and disturb nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from scripted_pool import ScriptedPool
from world import World, interrupt_after

from pipelines.config import Hyperparameters
from pipelines.errors import SpecError
from search.optimization.studies import load_study
from search.reporting.summaries import explain_trial
from search.spec.dimensions import Choice, Range
from search.spec.reading import spec_from_dict
from search.spec.space import SearchSpace
from search.spec.study_spec import StudySpec
from search.storage.attributes import PRUNED_AT, RESULT

SPACE = SearchSpace({"width": Range(8, 99), "epochs": Choice((9,))})


def audited(world: World, audit: float, **changes: Any) -> StudySpec:
    return replace(world.spec(space=SPACE, trials=16, pruner="asha", seed=3), audit=audit, **changes)


def outcome(world: World, spec: StudySpec) -> list[tuple[Any, ...]]:
    trials = load_study(world.settings, spec.name).get_trials()
    return [
        (t.params["width"], t.state.name, t.user_attrs[RESULT]["epochs_trained"], t.user_attrs[RESULT].get(PRUNED_AT))
        for t in trials
    ]


def test_only_the_audited_trials_end_otherwise(world: World) -> None:
    plain, half = audited(world, 0.0), audited(world, 0.5)
    for spec in (plain, half):
        world.search(spec, ScriptedPool())
    spared = 0
    for (width, state, epochs, none), (*same, pruned_at) in zip(
        outcome(world, plain), outcome(world, half), strict=True
    ):
        assert none is None
        if pruned_at:
            spared += 1
            assert (state, epochs) == ("PRUNED", pruned_at), "it notes where it would have ended"
            assert same == [width, "COMPLETE", 9], "and runs to its end"
        else:
            assert same == [width, state, epochs]
    n_pruned = sum(state == "PRUNED" for _, state, *_ in outcome(world, plain))
    assert 0 < spared < n_pruned
    runs = world.runs(half).values()
    assert sum(PRUNED_AT in run.data.tags for run in runs) == spared
    number, pruned_at = next((n, row[3]) for n, row in enumerate(outcome(world, half)) if row[3])
    told = explain_trial(half.name, number, home=world.settings.home).text
    assert f"would have ended it after epoch {pruned_at}" in told


@pytest.mark.parametrize("n_epochs", [7, 30, 61])
def test_an_interruption_changes_nothing(untracked: World, n_epochs: int) -> None:
    whole, broken = audited(untracked, 0.5), audited(untracked, 0.5)
    untracked.search(whole, ScriptedPool())
    for _ in range(3):
        untracked.search(broken, ScriptedPool(), interrupt_after(n_epochs))
    untracked.search(broken, ScriptedPool())
    assert outcome(untracked, broken) == outcome(untracked, whole)


@pytest.mark.parametrize("pruner", ["hyperband", "asha", "median"])
def test_a_start_is_trained_to_its_end(untracked: World, pruner: str) -> None:
    """The trials after it are still judged by it."""
    starts = tuple(Hyperparameters(width, 2, 0.2, epochs=9) for width in (99, 9, 8))
    spec = replace(audited(untracked, 0.0, start=starts), pruner=pruner)
    untracked.search(spec, ScriptedPool(n_slots=2))
    found = outcome(untracked, spec)
    assert [row[:3] for row in found[:3]] == [(width, "COMPLETE", 9) for width in (99, 9, 8)]
    assert "PRUNED" in {state for _, state, *_ in found[3:]}


@pytest.mark.parametrize("value", [-0.1, 1.5, "0.05"])
def test_the_rule_of_the_key(value: Any) -> None:
    with pytest.raises(SpecError, match=r"search\.audit: must be a number from 0 to 1"):
        spec_from_dict({"data": {"source": "digits"}, "search": {"audit": value}})
