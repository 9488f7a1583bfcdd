"""Samplers: what a trial gets follows from the study's seed, its number and what was finished before."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import given, strategies as st
from in_memory import WIDE, ask, make_spec, make_study
from optuna.trial import TrialState

from pipelines.config import Hyperparameters
from pipelines.errors import UnavailableError
from search.optimization.samplers import ATTEMPTS, RECENT, TrialSampler, duplicate_of, is_exhausted, make_sampler
from search.optimization.seeds import draw_seed, trial_seed
from search.spec.dimensions import Choice, Range
from search.spec.space import SearchSpace
from search.spec.study_spec import StudySpec

SMALL = SearchSpace({"width": Choice((8, 16, 32)), "depth": Choice((1, 2))})
TWELVE = SearchSpace({"width": Choice((8, 16, 32)), "depth": Range(1, 4)})


def search(spec: StudySpec, n_trials: int, interrupted_at: Sequence[int] = ()) -> list[dict[str, Any]]:
    """Configurations of a study whose trials score by their width; an interruption loses the process's memory."""
    study, params = make_study(spec), []
    for number in range(n_trials):
        if number in interrupted_at:
            study.requeue(ask(spec, study)[0].number)
            study.sampler = TrialSampler(spec, study)
        trial, point = ask(spec, study)
        assert trial.number == number
        params.append(point)
        study.tell(trial, point.get("width", 1) / 64 + len(point.get("optimizer", "")))
    return params


def key(params: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(sorted(params.items()))


class TestALongStudy:
    """TPE looks at the last trials, and at the best of those before them."""

    def drawn_after(self, first: tuple[dict[str, Any], float], seed: int) -> dict[str, Any]:
        """What is drawn after a first trial and more than TPE looks at."""
        spec, rng = make_spec(sampler="tpe", seed=seed), np.random.default_rng(0)
        study = make_study(spec)
        later = [(self.point(rng), float(rng.random())) for _ in range(RECENT + 50)]
        for params, value in (first, *later):
            trial = optuna.trial.create_trial(params=params, distributions=WIDE.distributions(), value=value)
            study.add_trial(trial)
        return ask(spec, study)[1]

    def point(self, rng: np.random.Generator) -> dict[str, Any]:
        return {
            "width": int(rng.integers(8, 65)), "learning_rate": float(rng.uniform(1e-3, 1e-1)),
            "optimizer": str(rng.choice(["sgd", "adam"])),
        }  # fmt: skip

    def test_an_old_trial_counts_if_it_is_among_the_best(self) -> None:
        one, other = (self.point(np.random.default_rng(seed)) for seed in (1, 2))
        seeds = range(6)
        for seed in seeds:
            assert self.drawn_after((one, 0.5), seed) == self.drawn_after((other, 0.4), seed)
        assert any(self.drawn_after((one, 1.0), seed) != self.drawn_after((other, 1.0), seed) for seed in seeds)


@pytest.mark.parametrize(
    ("sampler", "space"),
    [
        ("tpe", WIDE),
        ("random", WIDE),
        ("cmaes", WIDE),
        ("grid", SearchSpace({"width": Range(8, 64, step=8), "depth": Choice((1, 2))})),
        ("gp", WIDE),
    ],
    ids=["tpe", "random", "cmaes", "grid", "gp"],
)
class TestEverySampler:
    def test_the_same_seed_draws_the_same_also_when_interrupted(self, sampler: Any, space: SearchSpace) -> None:
        spec = make_spec(sampler=sampler, space=space)
        whole = search(spec, 12)  # all but ten are drawn from a model, which takes the Gaussian process seconds
        assert search(spec, 12) == whole
        assert search(spec, 12, interrupted_at=(0, 4, 11)) == whole

    def test_another_seed_draws_others(self, sampler: Any, space: SearchSpace) -> None:
        first, second = (search(make_spec(sampler=sampler, space=space, seed=seed), 8) for seed in (0, 1))
        assert first != second

    def test_values_lie_in_the_space(self, sampler: Any, space: SearchSpace) -> None:
        for params in search(make_spec(sampler=sampler, space=space), 10):
            assert space.complete({**params, "epochs": 20, "dropout": 0.2, "batch_size": 128})[1] == []

    def test_no_configuration_comes_twice(self, sampler: Any, space: SearchSpace) -> None:
        drawn = [key(params) for params in search(make_spec(sampler=sampler, space=space), 12)]
        assert len(set(drawn)) == 12


def test_trials_draw_from_different_numbers() -> None:
    """Were each trial's sampler seeded alike, a random search would draw one configuration for ever."""
    drawn = search(make_spec(sampler="random"), 2 * ATTEMPTS)
    assert len({params["learning_rate"] for params in drawn}) == 2 * ATTEMPTS


def test_tpe_learns_from_what_was_finished() -> None:
    """The score is the width: after its first random trials TPE draws wide ones."""
    widths = [params["width"] for params in search(make_spec(), 40)]
    assert sum(widths[20:]) / 20 > sum(widths[:10]) / 10 + 8


@pytest.mark.parametrize("sampler", ["tpe", "random", "grid", "gp"])
@pytest.mark.parametrize("seed", range(4))
def test_a_finite_space_is_searched_to_its_last_configuration(sampler: Any, seed: int) -> None:
    """Twenty draws of a space of twelve points miss the last one once in six times."""
    spec = make_spec(sampler=sampler, space=TWELVE, seed=seed)
    study, drawn = make_study(spec), []
    for number in range(12):
        assert not is_exhausted(study, TWELVE)
        study.sampler = TrialSampler(spec, study)  # another process takes over
        trial, params = ask(spec, study)
        drawn.append(TWELVE.key(params))
        assert study.sampler.repeated == set()
        study.tell(trial, params["width"] if number % 3 else None, None if number % 3 else TrialState.PRUNED)
    assert len(set(drawn)) == 12
    assert is_exhausted(study, TWELVE)
    trial, params = ask(spec, study)
    assert study.sampler.repeated == {12}, "there is nothing new to draw"
    assert TWELVE.key(params) in drawn


def test_the_steps_of_a_float_are_the_same_however_they_are_rounded() -> None:
    """TPE draws 0.30000000000000004 where a start and the grid have 0.3: one configuration, not two."""
    space = SearchSpace({"dropout": Range(0.0, 0.5, step=0.1)})
    start = tuple(Hyperparameters(dropout=dropout) for dropout in (0.3, 0.1))
    for sampler in ("tpe", "random", "grid"):
        spec = make_spec(sampler=sampler, space=space, start=start)
        study, drawn = make_study(spec), set()
        for _ in range(6):
            assert not is_exhausted(study, space)
            trial, params = ask(spec, study)
            drawn.add(round(params["dropout"], 6))
            study.tell(trial, params["dropout"])
        assert drawn == {0.0, 0.1, 0.2, 0.3, 0.4, 0.5}
        assert is_exhausted(study, space)


@pytest.mark.parametrize("sampler", ["tpe", "grid", "random"])
def test_a_start_that_is_given_twice_costs_no_trial(sampler: Any) -> None:
    start = (Hyperparameters(width=16, depth=2),) * 3
    spec = make_spec(sampler=sampler, space=TWELVE, start=start)
    assert len({key(params) for params in search(spec, 12)}) == 12


def test_a_trial_of_another_program_without_a_configuration_does_not_matter() -> None:
    spec = make_spec(space=TWELVE)
    study = make_study(spec)
    for _ in range(12):
        study.add_trial(optuna.trial.create_trial(value=0.5))
    assert not is_exhausted(study, TWELVE)
    ask(spec, study)


@pytest.mark.parametrize("sampler", ["tpe", "grid", "cmaes", "random"])
def test_start_configurations_come_first_and_in_their_order(sampler: Any) -> None:
    points = [(16, 2), (8, 1), (24, 2)]
    space = SearchSpace({"width": Range(8, 32, step=8), "depth": Choice((1, 2))})
    start = tuple(Hyperparameters(width=width, depth=depth) for width, depth in points)
    drawn = search(make_spec(sampler=sampler, space=space, start=start), 8, interrupted_at=(1, 5))
    assert [(params["width"], params["depth"]) for params in drawn[:3]] == points
    assert len({key(params) for params in drawn}) == 8


def test_a_grid_visits_each_point_once() -> None:
    space = SearchSpace({"width": Range(8, 32, step=8), "depth": Choice((1, 2)), "optimizer": Choice(("sgd", "adam"))})
    drawn = search(make_spec(sampler="grid", space=space), 16, interrupted_at=(3, 9))
    points = itertools.product((8, 16, 24, 32), (1, 2), ("sgd", "adam"))
    assert {(p["width"], p["depth"], p["optimizer"]) for p in drawn} == set(points)


def test_gp_without_pytorch_names_the_extra_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)  # what an import then finds is what it finds without the package
    with pytest.raises(UnavailableError, match=r"gp needs PyTorch.*: pip install 'mlp-search\[gp\]'$"):
        make_sampler(make_spec(sampler="gp"), 0)


class TestSeeds:
    @given(st.lists(st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 10_000)), unique=True, max_size=50))
    def test_of_trials_differ_from_each_other_and_from_the_sampler_s(self, trials: list[tuple[int, int]]) -> None:
        trained = [trial_seed(*trial) for trial in trials]
        drawn = [draw_seed(*trial, attempt) for trial in trials for attempt in (0, 1)]
        assert len({*trained, *drawn}) == 3 * len(trials)


def test_a_twin_is_a_finished_trial_with_the_same_configuration() -> None:
    spec = make_spec(space=SMALL)
    study = make_study(spec)
    for state in (TrialState.FAIL, TrialState.PRUNED, TrialState.COMPLETE):
        study.enqueue_trial({"width": 16, "depth": 2})
        study.enqueue_trial({"width": 8, "depth": 1})
        for _ in range(2):
            trial = study.ask()
            spec.space.suggest(trial)
            if trial.params["width"] == 16:
                study.tell(trial, None if state != TrialState.COMPLETE else 0.5, state)
    found = duplicate_of(study.trials, SMALL, {"depth": 2, "width": 16})
    assert found is not None
    assert found.number == 2, "one that failed says nothing of the configuration"
    assert duplicate_of(study.trials, SMALL, {"depth": 2, "width": 32}) is None


def test_a_space_is_not_exhausted_while_a_configuration_waits() -> None:
    """Such as one whose training failed, and which was enqueued again."""
    spec = make_spec(space=TWELVE)
    study = make_study(spec)
    for _ in range(12):
        trial, params = ask(spec, study)
        study.tell(trial, None, TrialState.FAIL)
    assert is_exhausted(study, TWELVE)
    study.enqueue_trial(params)
    assert not is_exhausted(study, TWELVE)
