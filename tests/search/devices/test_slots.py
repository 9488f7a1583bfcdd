"""Slots on cores, on GPUs, on slices of GPUs and on those that the user picks, on a fake driver."""

from __future__ import annotations

import os

import pynvml
import pytest
from fake_driver import UUIDS, Driver, FakeGpu, slots_of

from pipelines.errors import SpecError
from pipelines.resources import count_cores
from search.devices.gpus import find_gpus
from search.devices.slots import CONTEXT_MB, Slot

SLICED = FakeGpu("GPU-5e5e0000", slices=(FakeGpu("MIG-aa", 4_000, 5_000), None, FakeGpu("MIG-bb", 9_000, 10_000)))


@pytest.fixture
def no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    monkeypatch.setattr(pynvml, "nvmlInit", fail)


@pytest.mark.usefixtures("no_driver")
class TestCores:
    def test_one_slot_a_core(self) -> None:
        assert slots_of() == [Slot(number, f"cpu:{number}") for number in range(count_cores())]

    def test_as_many_slots_as_requested(self) -> None:
        assert slots_of(slots=3) == [Slot(0, "cpu:0"), Slot(1, "cpu:1"), Slot(2, "cpu:2")]

    def test_a_process_that_may_use_one_core_has_one_slot(self) -> None:
        allowed = os.sched_getaffinity(0)
        try:
            os.sched_setaffinity(0, {min(allowed)})
            assert slots_of() == [Slot(0, "cpu:0")]
        finally:
            os.sched_setaffinity(0, allowed)

    def test_slots_on_cores_hide_every_gpu(self) -> None:
        assert {slot.visible_devices for slot in slots_of(slots=4)} == {""}

    def test_trials_that_share_a_gpu_are_ignored_with_a_note(self) -> None:
        lines: list[str] = []
        assert slots_of(slots=2, trials_per_gpu="auto", note=lines.append) == slots_of(slots=2, note=lines.append)
        assert lines == [
            "no GPU is used, so workers.trials_per_gpu = 'auto' has no effect: workers.slots (--workers) sets how many"
            " trials train at the same time"
        ]


class TestFakeGpus:
    def test_one_slot_a_gpu(self, driver: Driver) -> None:
        driver(UUIDS)
        assert slots_of() == [Slot(number, f"gpu:{number}", UUIDS[number]) for number in range(3)]

    def test_more_slots_share_gpus_in_turn(self, driver: Driver) -> None:
        driver(UUIDS[:2])
        slots = slots_of(slots=5)
        assert [slot.number for slot in slots] == [0, 1, 2, 3, 4]
        assert [slot.device for slot in slots] == ["gpu:0", "gpu:1", "gpu:0", "gpu:1", "gpu:0"]
        assert [slot.visible_devices for slot in slots] == [UUIDS[number] for number in (0, 1, 0, 1, 0)]
        shares = [15_000 // n - CONTEXT_MB for n in (3, 2, 3, 2, 3)]
        assert [slot.memory_limit_mb for slot in slots] == shares

    def test_fewer_slots_leave_gpus_idle(self, driver: Driver) -> None:
        driver(UUIDS)
        assert slots_of(slots=1) == [Slot(0, "gpu:0", UUIDS[0])]

    def test_a_driver_without_gpus_gives_cores(self, driver: Driver) -> None:
        driver([])
        assert slots_of(slots=1) == [Slot(0, "cpu:0")]

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
    def test_visible_devices_are_read_as_cuda_reads_them(
        self, driver: Driver, visible: str | None, numbers: list[int]
    ) -> None:
        driver(UUIDS)
        assert [gpu.uuid for gpu in find_gpus(visible)] == [UUIDS[number] for number in numbers]

    def test_gpus_that_the_user_hides_give_cores(self, driver: Driver) -> None:
        driver(UUIDS)
        assert slots_of(slots=2, visible_devices="") == [Slot(0, "cpu:0"), Slot(1, "cpu:1")]

    def test_a_gpu_keeps_the_number_that_nvidia_smi_gives_it(self, driver: Driver) -> None:
        driver(UUIDS)
        assert [slot.device for slot in slots_of(visible_devices="2,0")] == ["gpu:2", "gpu:0"]

    def test_a_gpu_that_fell_off_its_bus_is_not_used(self, driver: Driver) -> None:
        driver([FakeGpu(UUIDS[0], lost=True), UUIDS[1]])
        assert slots_of() == [Slot(0, "gpu:1", UUIDS[1])]


class TestFakeMigSlices:
    def test_each_slice_is_a_slot(self, driver: Driver) -> None:
        driver([UUIDS[0], SLICED])
        assert slots_of() == [
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
    def test_visible_devices_may_name_slices(self, driver: Driver, visible: str, uuids: list[str]) -> None:
        driver([UUIDS[0], SLICED])
        assert [slot.visible_devices for slot in slots_of(visible_devices=visible) if slot.visible_devices] == uuids


class TestChoiceOfFakeGpus:
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
    def test_chosen_gpus_are_the_slots(self, driver: Driver, gpus: int | str, devices: list[str]) -> None:
        driver(UUIDS)
        assert [slot.device for slot in slots_of(gpus=gpus)] == devices

    def test_no_gpus_means_cores(self, driver: Driver) -> None:
        driver(UUIDS)
        assert slots_of(slots=1, gpus=0) == slots_of(slots=1, gpus="0") == [Slot(0, "cpu:0")]

    @pytest.mark.parametrize(
        ("gpus", "message"),
        [
            (3, "workers.gpus (--gpus): must be at most the GPUs that can be used, gpu:1, gpu:2, got 3"),
            ("1,0", "workers.gpus (--gpus): must name GPUs that can be used, gpu:1, gpu:2, got 0"),
            ("GPU-zz", "workers.gpus (--gpus): must name GPUs that can be used, gpu:1, gpu:2, got GPU-zz"),
        ],
    )
    def test_chosen_gpus_must_exist_and_be_visible(self, driver: Driver, gpus: int | str, message: str) -> None:
        driver(UUIDS)
        with pytest.raises(SpecError) as caught:
            slots_of(gpus=gpus, visible_devices="1,2")
        assert str(caught.value) == message

    @pytest.mark.parametrize("digits", ["²", "1²", "③", "٣", "9" * 5000])
    def test_a_number_has_few_ascii_digits(self, driver: Driver, digits: str) -> None:
        driver(UUIDS)
        for gpus in (digits, f"0,{digits}"):
            with pytest.raises(SpecError, match=f"must name GPUs that can be used, gpu:0, gpu:1, gpu:2, got {digits}$"):
                slots_of(gpus=gpus)
        assert find_gpus(digits) == []

    @pytest.mark.usefixtures("no_driver")
    def test_a_machine_without_gpus_has_none_to_choose(self) -> None:
        with pytest.raises(SpecError, match=r"must be at most the GPUs that can be used, none, got 1$"):
            slots_of(gpus=1)
