"""Slots: cores, or GPUs as NVML shows them. Here NVML is a fake, at the driver library's own functions."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pynvml
import pytest
from fake_driver import FakeDriver, FakeGpu

from pipelines.config import DataConfig
from pipelines.datasets import load
from pipelines.errors import SpecError, UnavailableError
from search.capacity import gpu_trial_mb
from search.gpus import GpuProbe, find_gpus
from search.pools import Slot
from search.slots import CONTEXT_MB, count_cores, find_slots
from search.space import Choice, Fixed, SearchSpace

UUIDS = ["GPU-1a2b3c00-0000", "GPU-1a2b9900-0000", "GPU-ffee0000-0000"]
SLICED = FakeGpu("GPU-5e5e0000", slices=(FakeGpu("MIG-aa", 4_000, 5_000), None, FakeGpu("MIG-bb", 9_000, 10_000)))

Driver = Callable[[Sequence[str | FakeGpu]], FakeDriver]


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Driver:
    """Puts a fake driver with these GPUs in the place of the machine's own."""

    def install(gpus: Sequence[str | FakeGpu]) -> FakeDriver:
        fake = FakeDriver(tmp_path / "gpus.json")
        fake.hold(*(gpu if isinstance(gpu, FakeGpu) else FakeGpu(gpu) for gpu in gpus))
        fake.into_nvml(monkeypatch.setattr)
        return fake

    return install


@pytest.fixture
def no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    monkeypatch.setattr(pynvml, "nvmlInit", fail)


@pytest.mark.usefixtures("no_driver")
class TestCores:
    def test_a_slot_a_core(self) -> None:
        n_cores = len(os.sched_getaffinity(0))
        assert count_cores() == n_cores
        assert find_slots() == [Slot(number, f"cpu:{number}") for number in range(n_cores)]

    def test_as_many_as_asked_for(self) -> None:
        assert find_slots(3) == [Slot(0, "cpu:0"), Slot(1, "cpu:1"), Slot(2, "cpu:2")]

    def test_a_process_that_may_use_one_core_has_one_slot(self) -> None:
        allowed = os.sched_getaffinity(0)
        try:
            os.sched_setaffinity(0, {min(allowed)})
            assert find_slots() == [Slot(0, "cpu:0")]
        finally:
            os.sched_setaffinity(0, allowed)

    def test_they_hide_every_gpu(self) -> None:
        assert {slot.visible_devices for slot in find_slots(4)} == {""}


class TestFakeGpus:
    def test_a_slot_a_gpu(self, driver: Driver) -> None:
        driver(UUIDS)
        assert find_slots() == [Slot(number, f"gpu:{number}", UUIDS[number]) for number in range(3)]

    def test_more_slots_share_gpus_in_turn(self, driver: Driver) -> None:
        driver(UUIDS[:2])
        slots = find_slots(5)
        assert [slot.number for slot in slots] == [0, 1, 2, 3, 4]
        assert [slot.device for slot in slots] == ["gpu:0", "gpu:1", "gpu:0", "gpu:1", "gpu:0"]
        assert [slot.visible_devices for slot in slots] == [UUIDS[number] for number in (0, 1, 0, 1, 0)]
        shares = [15_000 // n - CONTEXT_MB for n in (3, 2, 3, 2, 3)]
        assert [slot.memory_limit_mb for slot in slots] == shares

    def test_fewer_slots_leave_gpus_idle(self, driver: Driver) -> None:
        driver(UUIDS)
        assert find_slots(1) == [Slot(0, "gpu:0", UUIDS[0])]

    def test_a_driver_without_gpus_gives_cores(self, driver: Driver) -> None:
        driver([])
        assert find_slots(1) == [Slot(0, "cpu:0")]

    @pytest.mark.parametrize(
        ("visible", "numbers"),
        [
            (None, [0, 1, 2]),
            ("0,1,2", [0, 1, 2]),
            ("2,0", [2, 0]),
            (" 1 , 2 ", [1, 2]),
            ("", []),
            ("-1", []),
            ("NoDevFiles", []),
            ("1,-1,0", [1]),
            ("0,7,1", [0]),
            ("GPU-ff", [2]),
            ("GPU-1a2b99,GPU-1a2b3c", [1, 0]),
            ("GPU-00", []),
        ],
    )
    def test_the_user_s_choice_counts_as_cuda_reads_it(
        self, driver: Driver, visible: str | None, numbers: list[int]
    ) -> None:
        driver(UUIDS)
        assert [gpu.uuid for gpu in find_gpus(visible)] == [UUIDS[number] for number in numbers]

    def test_gpus_that_the_user_hides_give_cores(self, driver: Driver) -> None:
        driver(UUIDS)
        assert find_slots(2, visible_devices="") == [Slot(0, "cpu:0"), Slot(1, "cpu:1")]

    def test_a_gpu_keeps_the_number_that_nvidia_smi_gives_it(self, driver: Driver) -> None:
        driver(UUIDS)
        assert [slot.device for slot in find_slots(visible_devices="2,0")] == ["gpu:2", "gpu:0"]

    def test_a_gpu_that_fell_off_its_bus_is_not_there(self, driver: Driver) -> None:
        driver([FakeGpu(UUIDS[0], lost=True), UUIDS[1]])
        assert find_slots() == [Slot(0, "gpu:1", UUIDS[1])]


class TestFakeMigSlices:
    def test_each_is_a_slot(self, driver: Driver) -> None:
        driver([UUIDS[0], SLICED])
        assert find_slots() == [
            Slot(0, "gpu:0", UUIDS[0]),
            Slot(1, "gpu:1/mig:0", "MIG-aa"),
            Slot(2, "gpu:1/mig:2", "MIG-bb"),
        ]

    @pytest.mark.parametrize(
        ("visible", "uuids"),
        [
            ("MIG-bb", ["MIG-bb"]),
            ("1", ["MIG-aa", "MIG-bb"]),
            ("GPU-5e", ["MIG-aa", "MIG-bb"]),
            ("MIG-bb,0", ["MIG-bb", UUIDS[0]]),
            ("MIG-cc,0", []),
        ],
    )
    def test_the_user_s_choice_counts(self, driver: Driver, visible: str, uuids: list[str]) -> None:
        driver([UUIDS[0], SLICED])
        assert [slot.visible_devices for slot in find_slots(visible_devices=visible) if slot.visible_devices] == uuids


class TestFakeGpusThatTheUserPicks:
    @pytest.mark.parametrize(
        ("gpus", "devices"),
        [
            (2, ["gpu:0", "gpu:1"]),
            ("2", ["gpu:0", "gpu:1"]),
            ("2,", ["gpu:2"]),
            ("2, 0", ["gpu:2", "gpu:0"]),
            ("GPU-ff,0,0", ["gpu:2", "gpu:0"]),
        ],
    )
    def test_are_the_slots(self, driver: Driver, gpus: int | str, devices: list[str]) -> None:
        driver(UUIDS)
        assert [slot.device for slot in find_slots(gpus=gpus)] == devices

    def test_none_of_them_means_cores(self, driver: Driver) -> None:
        driver(UUIDS)
        assert find_slots(1, gpus=0) == find_slots(1, gpus="0") == [Slot(0, "cpu:0")]

    @pytest.mark.parametrize(
        ("gpus", "message"),
        [
            (3, "workers.gpus (--gpus): must be at most the GPUs that can be used, gpu:1, gpu:2, got 3"),
            ("1,0", "workers.gpus (--gpus): must name GPUs that can be used, gpu:1, gpu:2, got 0"),
            ("GPU-zz", "workers.gpus (--gpus): must name GPUs that can be used, gpu:1, gpu:2, got GPU-zz"),
        ],
    )
    def test_must_be_there_and_visible(self, driver: Driver, gpus: int | str, message: str) -> None:
        driver(UUIDS)
        with pytest.raises(SpecError) as caught:
            find_slots(gpus=gpus, visible_devices="1,2")
        assert str(caught.value) == message

    @pytest.mark.usefixtures("no_driver")
    def test_must_be_there_at_all(self) -> None:
        with pytest.raises(SpecError, match=r"must be at most the GPUs that can be used, none, got 1$"):
            find_slots(gpus=1)


class TestFakeMemory:
    def test_a_gpu_without_room_is_left_out_and_reported(self, driver: Driver) -> None:
        driver([FakeGpu(UUIDS[0], free_mb=1_000), UUIDS[1]])
        lines: list[str] = []
        assert find_slots(trial_mb=500, note=lines.append) == [Slot(0, "gpu:1", UUIDS[1])]
        assert lines == [
            f"gpu:0 has 1,000 of 16,000 MB free, and a trial needs about {CONTEXT_MB + 500:,} MB: it is left out"
        ]

    def test_no_gpu_with_room_is_an_error_that_says_what_to_do(self, driver: Driver) -> None:
        driver([FakeGpu(UUIDS[0], free_mb=1_000)])
        with pytest.raises(UnavailableError, match=r"^gpu:0 has 1,000 of 16,000 MB free, .* --gpus 0$"):
            find_slots(trial_mb=500)

    def test_a_gpu_whose_memory_nvml_does_not_know_is_taken(self, driver: Driver) -> None:
        driver([FakeGpu(UUIDS[0], free_mb=None)])
        assert find_slots(trial_mb=500, trials_per_gpu="auto") == [Slot(0, "gpu:0", UUIDS[0])]

    def test_trials_share_it_in_equal_parts(self, driver: Driver) -> None:
        driver([UUIDS[0], FakeGpu(UUIDS[1], free_mb=8_000)])
        slots = find_slots(trials_per_gpu=2)
        assert [slot.device for slot in slots] == ["gpu:0", "gpu:1", "gpu:0", "gpu:1"]
        assert [slot.memory_limit_mb for slot in slots] == [7_500 - CONTEXT_MB, 4_000 - CONTEXT_MB] * 2
        assert [slot.device for slot in find_slots(3, trials_per_gpu=2)] == ["gpu:0", "gpu:1", "gpu:0"]

    def test_one_trial_has_no_limit(self, driver: Driver) -> None:
        driver(UUIDS[:1])
        assert find_slots(trials_per_gpu=1) == [Slot(0, "gpu:0", UUIDS[0])]

    def test_auto_takes_as_many_as_fit_and_cores_feed(self, driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "sched_getaffinity", lambda process: range(12))
        driver([FakeGpu(UUIDS[0], free_mb=4 * (CONTEXT_MB + 500)), FakeGpu(UUIDS[1], free_mb=100_000)])
        slots = find_slots(trials_per_gpu="auto", trial_mb=500)
        assert [sum(slot.device == f"gpu:{n}" for slot in slots) for n in (0, 1)] == [4, 6]
        assert min(slot.memory_limit_mb or 0 for slot in slots) >= 500

    def test_shares_too_small_for_anything_are_an_error(self, driver: Driver) -> None:
        driver(UUIDS[:1])
        with pytest.raises(
            SpecError, match=r"^workers.trials_per_gpu: must leave each trial some memory of gpu:0, got 24"
        ):
            find_slots(trials_per_gpu=24)

    @pytest.mark.parametrize(
        ("space", "mb"),
        [
            ({"width": Choice((32, 100)), "depth": Fixed(1), "batch_size": Fixed(64)}, 2),
            ({"width": Fixed(4096), "depth": Choice((1, 3)), "batch_size": Choice((64, 10_000))}, 863),
        ],
    )
    def test_the_forecast_is_that_of_the_largest_network(self, space: dict[str, Any], mb: int) -> None:
        """Digits has 1,149 training rows here: no step has more."""
        assert gpu_trial_mb(SearchSpace(space), load(DataConfig("digits"))) == mb


class TestFakeUse:
    def test_is_that_of_the_visible_gpu_alone(self, driver: Driver) -> None:
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

    def test_a_gpu_that_falls_off_its_bus_has_none_any_more(self, driver: Driver) -> None:
        fake = driver(UUIDS[:1])
        probe = GpuProbe(UUIDS[0])
        assert probe.read()
        fake.hold(FakeGpu(UUIDS[0], lost=True))
        assert probe.read() == {}
