"""``plan`` forecasts a study and records nothing."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from command_line import call, files
from hypothesis import given, settings, strategies as st
from optuna.trial import TrialState

import search
from pipelines.config import DataConfig, Hyperparameters
from pipelines.data.datasets import Dataset
from pipelines.data.loading import load
from search.devices.work import Shape
from search.home.settings import Settings, prepare_home, read_settings
from search.optimization.provenance import machine
from search.optimization.studies import open_study
from search.spec.dimensions import Fixed
from search.spec.space import SearchSpace
from search.storage.attributes import ELAPSED, FACTS
from search.training.cost import Cost
from search.training.earlier import slowness
from search.training.forecast import _limits
from search.training.probes import few_rows
from search.training.simulation import Timetable, simulate
from search.workers.tasks import Outcome

STUDY = (
    '[data]\nsource = "digits"\nfolds = 1\n[study]\ntrials = 10\n[space]\nwidth = { low = 8, high = 64 }\nepochs = 4\n'
)


def test_it_forecasts_and_records_nothing(tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(STUDY)
    answer = call("plan", tmp_path / "study.toml", "--workers", 1, "--home", tmp_path / "home", "--json")
    assert answer.code == 0
    found = answer.json()
    rule = ["precision", "bfloat16_share"]
    ranges = ["forecast_low_s", "forecast_high_s", "trials_low", "trials_high"]
    assert list(found) == ["configurations_per_hour", "forecast_s", "memory_mb", "slots", *ranges, "folds", *rule]
    assert found["forecast_low_s"] < found["forecast_s"] < found["forecast_high_s"]
    assert found["trials_low"] == found["trials_high"] == 10
    assert found["slots"] == 1
    assert found["configurations_per_hour"] > 60
    assert found["forecast_s"] < 600
    assert 100 < found["memory_mb"] < 10_000
    assert files(tmp_path) == {"study.toml"}


def test_it_shows_the_space_and_the_slots(tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(STUDY)
    shown = call("plan", tmp_path / "study.toml", "--workers", 2, "--home", tmp_path / "home").out
    lines = [line.split() for line in shown.splitlines()]
    assert ["width", "from", "8", "to", "64"] in lines
    assert ["epochs", "4"] in lines
    assert ["budget", "10", "trials"] in lines
    assert re.search(r"time +about .* \(.* to .*\)", shown)
    assert re.search(r"slots +2: (cpu|gpu):0, (cpu|gpu):", shown)
    assert files(tmp_path) == {"study.toml"}


def test_from_python(tmp_path: Path) -> None:
    spec = search.default_spec("digits", trials=4, slots=1, folds=1)
    spec = replace(spec, space=SearchSpace({"width": Fixed(8), "depth": Fixed(1), "epochs": Fixed(2)}), start=())
    spec = replace(spec, workers=replace(spec.workers, gpus=0, trials_per_gpu=2))
    forecast = search.plan_study(spec, home=tmp_path)
    assert any("workers.trials_per_gpu = 2 has no effect" in note for note in forecast.notes)
    assert forecast.slots == len(forecast.devices) == 1
    assert forecast.unpruned_per_hour <= forecast.configurations_per_hour
    assert files(tmp_path) == set()


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
        shape = Shape.of(dataset)
        probes = [hp for hp, _ in simulate(replace(search.default_spec("digits", trials=12, seed=seed), pruner="none"))]
        true = Cost(once_s, costs)
        found = Cost.fit(probes, [outcome(true, hp, dataset) for hp in probes], shape)
        for hp in probes:
            assert found.trial_s(hp, hp.epochs, shape) == pytest.approx(true.trial_s(hp, hp.epochs, shape), rel=1e-3)

    def test_noise_gives_no_negative_cost(self) -> None:
        dataset, random = load(DataConfig("digits")), np.random.default_rng(0)
        probes = [hp for hp, _ in simulate(search.default_spec("digits", trials=6))]
        outcomes = [outcome(Cost(0.1, (random.exponential(1e-4), 0.0, 0.0)), hp, dataset) for hp in probes]
        found, shape = Cost.fit(probes, outcomes, Shape.of(dataset)), Shape.of(dataset)
        assert min(found.once_s, *found.per_epoch) >= 0
        assert found.trial_s(Hyperparameters(), 20, shape) > found.trial_s(Hyperparameters(), 10, shape) > 0


def outcome(cost: Cost, hp: Hyperparameters, dataset: Dataset) -> Outcome:
    """The outcome of a probe of two epochs with the given costs."""
    from reports import report_of

    epoch_s = cost.trial_s(hp, 1, Shape.of(dataset)) - cost.once_s
    history = tuple(report_of(n, 1.0, 0.5, 1.0, 0.5, duration_s=epoch_s) for n in (1, 2))
    whole_s = cost.once_s + 2 * epoch_s
    return Outcome(history, 2, 0.5, b"", "", b"", 10, "finished", whole_s, 400)


def test_work_is_steps_products_and_updates() -> None:
    dataset = load(DataConfig("digits"))  # 1,149 training rows of 64 values, 10 classes
    hp = Hyperparameters(width=16, depth=1, batch_size=100)
    assert Shape.of(dataset).n_weights(hp) == 65 * 16 + 17 * 10
    assert Shape.of(dataset).work(hp) == (12, 1149 * 1210, 12 * 1210)


def test_probes_train_a_network_for_each_fold_on_few_rows() -> None:
    dataset = load(DataConfig("digits", folds=4))
    few = few_rows(dataset, 1 << 26)
    assert few.n_folds == 4
    assert len(few.fold_of) == len(few.training.y) + len(few.validation.y) < 400
    assert np.array_equal(few.fold_of == 0, np.arange(len(few.fold_of)) >= len(few.training.y))
    assert np.bincount(few.fold_of).min() > 60
    assert len(few_rows(dataset, 1000).training.y) == len(dataset.training.y)


def test_probes_of_large_networks_get_few_rows() -> None:
    dataset = load(DataConfig("digits"))
    assert len(few_rows(dataset, 1000).training.y) == 1149
    few = few_rows(dataset, 1 << 24)
    assert (len(few.training.y), len(few.validation.y)) == (512, 128)
    assert len(few_rows(dataset, 1 << 40).training.y) == 256
    assert few.preprocessing is dataset.preprocessing


def tables(*durations_s: float, n_slots: int = 1) -> list[Timetable]:
    """Three equal simulations."""
    return [Timetable.of(durations_s, n_slots)] * 3


class TestLimits:
    """When a study ends, and with how many trials."""

    def test_the_first_limit_ends_the_study(self) -> None:
        spec = search.default_spec("digits", trials=10)
        ten = tables(*[2.0] * 10)
        assert _limits(spec, ten, 5.0, [])[0][1] == 25.0
        assert _limits(replace(spec, timeout_s=20.0), ten, 5.0, [])[0][1] == 20.0
        seconds, trials, _ = _limits(replace(spec, trials=None, timeout_s=60.0), ten, 5.0, [])
        assert seconds == pytest.approx([57.0, 60.0, 63.0])
        assert trials[0] < (60 - 5) / 2 < trials[2]
        assert _limits(replace(spec, timeout_s=20.0), ten, 5.0, [], epoch_s=4.0)[0][0] == 16.0
        small = replace(spec, space=SearchSpace({"epochs": Fixed(3), "learning_rate": Fixed(0.1)}), start=())
        seconds, trials, _ = _limits(replace(small, timeout_s=60.0), tables(2.0), 5.0, [])
        assert (seconds[1], trials) == (7.0, [1, 1, 1])

    @given(limit_s=st.floats(0.001, 10), epoch_s=st.floats(0, 10), startup_s=st.floats(0, 10))
    def test_no_time_is_below_zero(self, limit_s: float, epoch_s: float, startup_s: float) -> None:
        spec = replace(search.default_spec("digits"), timeout_s=limit_s)
        seconds, trials, _ = _limits(spec, tables(2.0), startup_s, [], epoch_s)
        assert 0 <= seconds[0] <= seconds[1] <= seconds[2]
        assert 0 <= trials[0] <= trials[1] <= trials[2]

    def test_trials_beyond_the_simulated_ones_take_as_long_on_average(self) -> None:
        spec = search.default_spec("digits", trials=1000)
        assert _limits(spec, tables(*[2.0] * 100, n_slots=2), 5.0, [])[0][1] == pytest.approx(1005.0)

    def test_the_last_long_trial_occupies_one_slot(self) -> None:
        table = Timetable.of([1.0, 1.0, 10.0], 2)
        assert (table.starts_s, table.end_s, table.interval_s) == ((0.0, 0.0, 1.0), 11.0, 2.0)
        assert [table.begun(time_s) for time_s in (0.5, 5.0, 15.0)] == [2, 3, 5]

    def test_earlier_studies_move_and_widen_the_range(self) -> None:
        spec, ten = search.default_spec("digits", trials=10), tables(*[2.0] * 10)
        without, slower, varied = (_limits(spec, ten, 5.0, factors)[0] for factors in ([], [2.0], [1.0, 2.0, 4.0]))
        assert without[0] < without[1] == 25.0 < without[2]
        assert slower == pytest.approx([2 * time_s for time_s in without])
        assert varied == pytest.approx([25.0, 50.0, 100.0])


class TestEarlierStudies:
    """What the studies of a home teach a forecast."""

    COST = Cost(1.0, (0.0, 0.0, 0.0))

    def record(
        self, settings: Settings, name: str, elapsed_s: float, devices: list[str], n_trials: int = 10,
        state: TrialState = TrialState.COMPLETE,
    ) -> None:  # fmt: skip
        """Records a study of ten finished trials, each of which takes a second by ``COST``."""
        spec = search.default_spec("digits", trials=64, name=name)
        study = open_study(settings, spec, "f00d")
        study.set_user_attr(FACTS, {"machine": machine(devices), "dataset": self.DATASET})
        study.set_user_attr(ELAPSED, elapsed_s)
        for _ in range(n_trials):
            study.tell(study.ask(), 0.5 if state == TrialState.COMPLETE else None, state)

    DATASET: ClassVar = {"training_rows": 1149, "features": 64, "classes": 10}

    def test_their_time_is_compared_with_the_same_forecast_of_them(self, tmp_path: Path) -> None:
        found = read_settings(tmp_path / "home")
        assert slowness(found, ["cpu:0"], self.COST, 5.0) == []
        assert files(tmp_path) == set()
        prepare_home(found)
        self.record(found, "slow", 30.0, ["cpu:0"])
        self.record(found, "as-forecast", 15.0, ["cpu:0"])
        self.record(found, "of-other-devices", 90.0, ["cpu:0", "cpu:1"])
        self.record(found, "short", 90.0, ["cpu:0"], n_trials=2)
        self.record(found, "failed", 1.0, ["cpu:0"], state=TrialState.FAIL)
        assert slowness(found, ["cpu:0"], self.COST, 5.0) == pytest.approx([1.0, 2.0]), "the newest first"
        assert slowness(found, ["gpu:0"], self.COST, 5.0) == []


def test_short_trainings_that_all_diverge_at_once_are_an_error_of_one_line(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "huge.npz", x=rng.choice([-3e38, 3e38], (300, 8)).astype(np.float32), y=rng.integers(0, 2, 300))
    study = STUDY.replace("digits", str(tmp_path / "huge.npz")).replace("folds = 1", 'folds = 1\nscaling = "none"')
    (tmp_path / "study.toml").write_text(study)
    answer = call("plan", tmp_path / "study.toml", "--workers", 1, "--home", tmp_path / "home")
    assert (answer.code, answer.out) == (1, "")
    assert answer.err.endswith("lower the space's learning rates, or choose another data.scaling\n")
