"""The explanation of a pruned trial: the trials it was compared with, and at which epoch."""

from __future__ import annotations

import re

from scripted_pool import ScriptedPool
from world import World

from search.optimization.studies import load_study
from search.reporting.summaries import explain_trial
from search.spec.dimensions import Choice, Range
from search.spec.space import SearchSpace

COMPARED = re.compile(r"(0\.\d+), is rank (\d+) of the (\d+) trials that reached the same share of their epochs")


def test_asha_compares_trials_at_the_same_share_of_their_epochs(world: World) -> None:
    space = SearchSpace({"width": Range(8, 99), "epochs": Choice((9, 18))})
    spec = world.spec(space=space, trials=16, pruner="asha", seed=3)
    world.search(spec, ScriptedPool())
    trials = load_study(world.settings, spec.name).get_trials()
    pruned = [trial for trial in trials if trial.state.name == "PRUNED"]
    assert {trial.params["epochs"] for trial in pruned} == {9, 18}
    for trial in pruned:
        found = COMPARED.search(explain_trial(spec.name, trial.number, home=world.settings.home).text)
        assert found
        assert found[1] == f"{trial.intermediate_values[trial.last_step]:.4f}"
        assert trial.last_step in ({1, 3} if trial.params["epochs"] == 9 else {1, 2, 6})
        assert 1 < int(found[2]) <= int(found[3]) <= len(trials)
