"""Slots: cores, or GPUs as NVML shows them. Here NVML is a fake, at the driver library's own functions."""

from __future__ import annotations

import os
from collections.abc import Callable

import pynvml
import pytest

from search.pools import Slot
from search.slots import count_cores, find_gpus, find_slots

UUIDS = ["GPU-1a2b3c00-0000", "GPU-1a2b9900-0000", "GPU-ffee0000-0000"]

Driver = Callable[[list[str]], None]


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Driver:
    """Puts a driver with these GPUs in the place of the machine's own."""

    def install(uuids: list[str]) -> None:
        in_use: list[bool] = []
        monkeypatch.setattr(pynvml, "nvmlInit", lambda: in_use.append(True))
        monkeypatch.setattr(pynvml, "nvmlShutdown", in_use.pop)
        monkeypatch.setattr(pynvml, "nvmlDeviceGetCount", lambda: len(uuids) if in_use else pytest.fail("not open"))
        monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByIndex", lambda index: index)
        monkeypatch.setattr(pynvml, "nvmlDeviceGetUUID", lambda handle: uuids[handle])

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


class TestGpus:
    def test_a_slot_a_gpu(self, driver: Driver) -> None:
        driver(UUIDS)
        assert find_slots() == [Slot(number, f"gpu:{number}", UUIDS[number]) for number in range(3)]

    def test_more_slots_share_gpus_in_turn(self, driver: Driver) -> None:
        driver(UUIDS[:2])
        slots = find_slots(5)
        assert [slot.number for slot in slots] == [0, 1, 2, 3, 4]
        assert [slot.device for slot in slots] == ["gpu:0", "gpu:1", "gpu:0", "gpu:1", "gpu:0"]
        assert [slot.visible_devices for slot in slots] == [UUIDS[number] for number in (0, 1, 0, 1, 0)]

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
        assert find_gpus(visible) == [UUIDS[number] for number in numbers]

    def test_gpus_that_the_user_hides_give_cores(self, driver: Driver) -> None:
        driver(UUIDS)
        assert find_slots(2, visible_devices="") == [Slot(0, "cpu:0"), Slot(1, "cpu:1")]
