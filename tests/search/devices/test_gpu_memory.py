"""The memory and the use of GPUs, on a fake driver."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest
from fake_driver import UUIDS, Driver, FakeGpu, slots_of

from pipelines.config import DataConfig
from pipelines.data.datasets import Dataset, Split
from pipelines.data.loading import load
from pipelines.data.preprocessing import Preprocessing
from pipelines.errors import SpecError, UnavailableError
from search.devices.gpus import GpuProbe
from search.devices.memory import gpu_trial_mb
from search.devices.slots import CONTEXT_MB, Slot
from search.spec.dimensions import Choice, Fixed
from search.spec.space import SearchSpace


class TestFakeMemory:
    def test_a_gpu_without_room_is_left_out_and_reported(self, driver: Driver) -> None:
        driver([FakeGpu(UUIDS[0], free_mb=1_000), UUIDS[1]])
        lines: list[str] = []
        assert slots_of(trial_mb=500, note=lines.append) == [Slot(0, "gpu:1", UUIDS[1])]
        assert lines == [
            f"gpu:0 has 1,000 of 16,000 MB free, and a trial needs about {CONTEXT_MB + 500:,} MB: it is left out"
        ]

    def test_no_gpu_with_room_is_an_error_that_names_the_remedy(self, driver: Driver) -> None:
        driver([FakeGpu(UUIDS[0], free_mb=1_000)])
        with pytest.raises(UnavailableError, match=r"^gpu:0 has 1,000 of 16,000 MB free, .* --gpus 0$"):
            slots_of(trial_mb=500)

    def test_a_gpu_of_unknown_memory_is_used(self, driver: Driver) -> None:
        driver([FakeGpu(UUIDS[0], free_mb=None)])
        assert slots_of(trial_mb=500, trials_per_gpu="auto") == [Slot(0, "gpu:0", UUIDS[0])]

    def test_trials_share_a_gpu_in_equal_parts(self, driver: Driver) -> None:
        driver([UUIDS[0], FakeGpu(UUIDS[1], free_mb=8_000)])
        slots = slots_of(trials_per_gpu=2)
        assert [slot.device for slot in slots] == ["gpu:0", "gpu:1", "gpu:0", "gpu:1"]
        assert [slot.memory_limit_mb for slot in slots] == [7_500 - CONTEXT_MB, 4_000 - CONTEXT_MB] * 2
        assert [slot.device for slot in slots_of(slots=3, trials_per_gpu=2)] == ["gpu:0", "gpu:1", "gpu:0"]

    def test_one_trial_has_no_limit(self, driver: Driver) -> None:
        driver(UUIDS[:1])
        assert slots_of(trials_per_gpu=1) == [Slot(0, "gpu:0", UUIDS[0])]

    def test_auto_is_limited_by_memory_and_by_cores(self, driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "sched_getaffinity", lambda process: range(12))
        driver([FakeGpu(UUIDS[0], free_mb=4 * (CONTEXT_MB + 500)), FakeGpu(UUIDS[1], free_mb=100_000)])
        slots = slots_of(trials_per_gpu="auto", trial_mb=500)
        assert [sum(slot.device == f"gpu:{n}" for slot in slots) for n in (0, 1)] == [4, 6]
        assert min(slot.memory_limit_mb or 0 for slot in slots) >= 500

    def test_a_share_that_is_too_small_is_an_error(self, driver: Driver) -> None:
        driver(UUIDS[:1])
        with pytest.raises(
            SpecError, match=r"^workers.trials_per_gpu: must leave each trial some memory of gpu:0, got 24"
        ):
            slots_of(trials_per_gpu=24)

    @pytest.mark.parametrize(
        ("space", "mb"),
        [
            ({"width": Choice((32, 100)), "depth": Fixed(1), "batch_size": Fixed(64)}, 2),
            ({"width": Fixed(4096), "depth": Choice((1, 3)), "batch_size": Choice((64, 10_000))}, 863),
            ({"width": Fixed(512), "depth": Fixed(2)}, 11),
            ({"width": Fixed(512), "depth": Fixed(2), "normalization": Choice(("none", "batch"))}, 17),
        ],
    )
    def test_the_forecast_is_that_of_the_largest_network(self, space: dict[str, Any], mb: int) -> None:
        """Digits has 1,149 training rows here: no step has more."""
        assert gpu_trial_mb(SearchSpace(space), load(DataConfig("digits"))) == mb

    def test_bytes_take_two_on_a_gpu_and_class_numbers_eight(self) -> None:
        rows = Split(np.zeros((1000, 2000), np.uint8), np.zeros(1000, np.int32))
        dataset = Dataset("bytes", rows, rows, Preprocessing((2000,), ("a", "b"), 0.0, 1.0), "", 0)
        space = SearchSpace({"width": Fixed(1), "depth": Fixed(1), "batch_size": Fixed(1)})
        values_mb = 4 * 4 * 1000 * (2000 + 1 + 2) / 2**20
        assert gpu_trial_mb(space, dataset) == int(2 * (2 * 2_000_000 + 8 * 1000) / 2**20 + values_mb) + 1


class TestFakeUse:
    def test_is_that_of_the_visible_gpu_only(self, driver: Driver) -> None:
        driver([UUIDS[0], FakeGpu(UUIDS[1], free_mb=12_000, busy=70)])
        assert GpuProbe(UUIDS[1]).read() == {
            "gpu_1_utilization_percentage": 70.0,
            "gpu_1_memory_usage_megabytes": 4_000.0,
            "gpu_1_memory_usage_percentage": 25.0,
        }

    def test_a_slice_has_no_utilisation_of_its_own(self, driver: Driver) -> None:
        driver([FakeGpu(UUIDS[0], slices=(FakeGpu("MIG-aa", 4_000, 5_000, busy=None),))])
        assert GpuProbe("MIG-aa").read() == {
            "gpu_0_mig_0_memory_usage_megabytes": 1_000.0,
            "gpu_0_mig_0_memory_usage_percentage": 20.0,
        }

    def test_a_gpu_that_falls_off_its_bus_has_none(self, driver: Driver) -> None:
        fake = driver(UUIDS[:1])
        probe = GpuProbe(UUIDS[0])
        assert probe.read()
        fake.hold(FakeGpu(UUIDS[0], lost=True))
        assert probe.read() == {}
