"""Simulated trials, from which the forecast of a study follows."""

from __future__ import annotations

from dataclasses import replace

import pytest
from in_memory import ask, make_study

import search
from search.devices.work import Shape
from search.spec.study_spec import StudySpec
from search.training.simulation import simulate


class TestSimulate:
    """Simulated trials."""

    def spec(self, **changes: object) -> StudySpec:
        return replace(search.default_spec("digits", trials=60), **changes)

    def test_the_start_comes_first_and_every_configuration_lies_in_the_space(self) -> None:
        spec = self.spec()
        drawn = simulate(spec)
        assert len(drawn) == 60
        assert drawn[0][0] == spec.start[0]
        for hp, epochs in drawn:
            assert 32 <= hp.width <= 1024
            assert 1 <= epochs <= hp.epochs

    def test_the_first_configurations_are_those_of_the_study(self) -> None:
        spec = self.spec()
        study = make_study(spec)
        for hp, _ in simulate(spec)[: 2 + 8]:
            trial, params = ask(spec, study)
            study.tell(trial, 0.5)
            assert spec.space.hyperparameters(params) == hp

    def test_draws_stay_near_the_starts_of_earlier_studies_only(self) -> None:
        """As in the study, whose draws know which of its starts those are."""
        near, far = (replace(self.spec().start[0], width=width) for width in (1000, 33))
        spec = self.spec(like=["earlier"], n_liked=1, start=(near, far))
        assert min(hp.width for hp, _ in simulate(spec)[2:8]) > 400

    def test_without_a_pruner_every_epoch_is_trained(self) -> None:
        assert all(epochs == hp.epochs for hp, epochs in simulate(self.spec(pruner="none")))

    @pytest.mark.parametrize("pruner", ["asha", "hyperband", "median"])
    def test_a_pruner_saves_epochs_but_not_all(self, pruner: str) -> None:
        drawn = simulate(self.spec(pruner=pruner))
        share = sum(epochs for _, epochs in drawn) / sum(hp.epochs for hp, _ in drawn)
        assert 0.1 < share < 0.95

    def test_a_small_budget_is_drawn_as_it_is(self) -> None:
        assert len(simulate(self.spec(trials=3))) == 3
        assert len(simulate(self.spec(trials=None, timeout_s=60.0))) == 100
        assert len(simulate(self.spec(trials=100_000))) == 100


class TestSurvivors:
    """Whom the pruner lets through."""

    def test_large_networks_and_starts_are_trained_longer_than_the_average(self) -> None:
        """Trials that survive a pruner are mostly large ones: a mean over all of the space would be optimistic."""
        spec, shape = search.default_spec("digits", trials=100, preset="classic"), Shape(1149, 64, 10)
        trials = [trial for repetition in range(3) for trial in simulate(spec, repetition)[2:]]
        share = sum(epochs for _, epochs in trials) / sum(hp.epochs for hp, _ in trials)
        work = [(shape.n_weights(hp) * epochs, shape.n_weights(hp) * hp.epochs) for hp, epochs in trials]
        assert sum(done for done, _ in work) / sum(whole for _, whole in work) > share
        for hp, epochs in simulate(spec)[:2]:
            assert epochs == hp.epochs
