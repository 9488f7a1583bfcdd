"""``plan`` forecasts a study and records nothing."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from command_line import call, files
from hypothesis import given, settings, strategies as st

import search
from pipelines.config import DataConfig, Hyperparameters
from pipelines.data.datasets import Dataset, load
from search.spec.dimensions import Fixed
from search.spec.space import SearchSpace
from search.spec.study_spec import StudySpec
from search.training.forecast import _Cost, _few_rows, _n_weights, _whole_s, _work, simulate
from search.workers.tasks import Outcome

STUDY = '[data]\nsource = "digits"\n[study]\ntrials = 10\n[space]\nwidth = { low = 8, high = 64 }\nepochs = 4\n'


def test_it_forecasts_and_records_nothing(tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(STUDY)
    answer = call("plan", tmp_path / "study.toml", "--workers", 1, "--home", tmp_path / "home", "--json")
    assert answer.code == 0
    found = answer.json()
    assert list(found) == ["configurations_per_hour", "forecast_s", "memory_mb", "slots"]
    assert found["slots"] == 1
    assert found["configurations_per_hour"] > 60
    assert 10 * 3600 / found["configurations_per_hour"] <= found["forecast_s"] < 600
    assert 100 < found["memory_mb"] < 10_000
    assert files(tmp_path) == {"study.toml"}


def test_it_shows_the_space_and_the_slots(tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(STUDY)
    shown = call("plan", tmp_path / "study.toml", "--workers", 2, "--home", tmp_path / "home").out
    lines = [line.split() for line in shown.splitlines()]
    assert ["width", "from", "8", "to", "64"] in lines
    assert ["epochs", "4"] in lines
    assert ["budget", "10", "trials"] in lines
    assert re.search(r"slots +2: (cpu|gpu):0, (cpu|gpu):", shown)
    assert files(tmp_path) == {"study.toml"}


def test_from_python(tmp_path: Path) -> None:
    spec = search.default_spec("digits", trials=4, slots=1)
    spec = replace(spec, space=SearchSpace({"width": Fixed(8), "depth": Fixed(1), "epochs": Fixed(2)}), start=())
    forecast = search.plan_study(spec, home=tmp_path)
    assert forecast.slots == len(forecast.devices) == 1
    assert forecast.unpruned_per_hour <= forecast.configurations_per_hour
    assert files(tmp_path) == set()


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


class TestCost:
    """The cost model that is fitted to the probes."""

    @given(
        costs=st.tuples(*[st.floats(1e-6, 1e-3)] * 1, *[st.floats(1e-10, 1e-8)] * 2),
        once_s=st.floats(0, 3),
        seed=st.integers(0, 2**16),
    )
    @settings(max_examples=30)
    def test_costs_are_found_again(self, costs: tuple[float, ...], once_s: float, seed: int) -> None:
        dataset = load(DataConfig("digits"))
        probes = [hp for hp, _ in simulate(replace(search.default_spec("digits", trials=12, seed=seed), pruner="none"))]
        true = _Cost(once_s, costs)
        found = _Cost.fit(probes, [outcome(true, hp, dataset) for hp in probes], dataset)
        for hp in probes:
            assert found.trial_s(hp, hp.epochs, dataset) == pytest.approx(
                true.trial_s(hp, hp.epochs, dataset), rel=1e-3
            )

    def test_noise_gives_no_negative_cost(self) -> None:
        dataset, random = load(DataConfig("digits")), np.random.default_rng(0)
        probes = [hp for hp, _ in simulate(search.default_spec("digits", trials=6))]
        outcomes = [outcome(_Cost(0.1, (random.exponential(1e-4), 0.0, 0.0)), hp, dataset) for hp in probes]
        found = _Cost.fit(probes, outcomes, dataset)
        assert min(found.once_s, *found.per_epoch) >= 0
        assert found.trial_s(Hyperparameters(), 20, dataset) > found.trial_s(Hyperparameters(), 10, dataset) > 0


def outcome(cost: _Cost, hp: Hyperparameters, dataset: Dataset) -> Outcome:
    """The outcome of a probe of two epochs with the given costs."""
    from pipelines.training.history import EpochReport

    epoch_s = cost.trial_s(hp, 1, dataset) - cost.once_s
    history = tuple(
        EpochReport(n, loss=1.0, accuracy=0.5, val_loss=1.0, val_accuracy=0.5, learning_rate=0.1, duration_s=epoch_s)
        for n in (1, 2)
    )
    whole_s = cost.once_s + 2 * epoch_s
    return Outcome(history, 2, 0.5, b"", "", b"", 10, "finished", whole_s, 400)


def test_work_is_steps_products_and_updates() -> None:
    dataset = load(DataConfig("digits"))  # 1,149 training rows of 64 values, 10 classes
    hp = Hyperparameters(width=16, depth=1, batch_size=100)
    assert _n_weights(hp, dataset) == 65 * 16 + 17 * 10
    assert _work(hp, dataset) == (12, 1149 * 1210, 12 * 1210)


def test_probes_of_large_networks_get_few_rows() -> None:
    dataset = load(DataConfig("digits"))
    assert len(_few_rows(dataset, 1000).training.y) == 1149
    few = _few_rows(dataset, 1 << 24)
    assert (len(few.training.y), len(few.validation.y)) == (512, 128)
    assert len(_few_rows(dataset, 1 << 40).training.y) == 256
    assert few.preprocessing is dataset.preprocessing


def test_the_first_limit_ends_the_study() -> None:
    spec = search.default_spec("digits", trials=10)
    assert _whole_s(spec, 5.0, 2.0) == 25.0
    assert _whole_s(replace(spec, timeout_s=20.0), 5.0, 2.0) == 20.0
    assert _whole_s(replace(spec, trials=None, timeout_s=60.0), 5.0, 2.0) == 60.0
    small = SearchSpace({"epochs": Fixed(3), "learning_rate": Fixed(0.1)})
    assert _whole_s(replace(spec, space=small, start=()), 5.0, 2.0) == 7.0
