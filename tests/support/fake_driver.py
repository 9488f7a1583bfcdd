"""Fake GPUs: NVML and TensorFlow's device list report them, and the processes that use them compute on the CPU.

They are read from a file at each call, so that a test can take a GPU away in the middle of a study. In processes that
train, ``fake_gpus/sitecustomize.py`` installs them.
"""

from __future__ import annotations

import json
import os
import resource
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pynvml

from search.devices.slots import Slot, find_slots
from search.spec.study_spec import WorkerSettings

VARIABLE = "FAKE_GPUS"
SITE = Path(__file__).with_name("fake_gpus")

UUIDS = ["GPU-1a2b3c00-0000", "GPU-1a2b9900-0000", "GPU-ffee0000-0000"]

Handle = tuple[int, int | None]


@dataclass(frozen=True)
class FakeGpu:
    uuid: str
    free_mb: int | None = 15_000
    total_mb: int = 16_000
    slices: tuple[FakeGpu | None, ...] | None = None
    busy: int | None = 40
    lost: bool = False
    capability: tuple[int, int] | None = (8, 0)


class FakeDriver:
    """The GPUs in a file; a log beside it has the settings that TensorFlow got for them."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def hold(self, *gpus: FakeGpu) -> None:
        """Sets the GPUs of the machine."""
        unfinished = self.path.with_suffix(".tmp")
        unfinished.write_text(json.dumps([asdict(gpu) for gpu in gpus]))
        unfinished.rename(self.path)

    def settings(self) -> list[str]:
        """TensorFlow's settings, a line for each process, sorted."""
        log = self.path.with_suffix(".log")
        return sorted(log.read_text().splitlines()) if log.exists() else []

    def note(self, line: str) -> None:
        with self.path.with_suffix(".log").open("a") as log:
            log.write(line + "\n")

    def into_nvml(self, put: Callable[[Any, str, Any], None]) -> None:
        """Replaces NVML's functions; ``put`` is ``setattr`` or a fixture's."""
        in_use: list[bool] = []

        def read() -> list[Any]:
            assert in_use, "NVML is not open"
            return [SimpleNamespace(**gpu) for gpu in json.loads(self.path.read_text())]

        def look(handle: Handle) -> Any:
            gpu = read()[handle[0]]
            if gpu.lost:
                raise pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST)
            return gpu if handle[1] is None else SimpleNamespace(**gpu.slices[handle[1]])

        def known(value: Any) -> Any:
            if value is None:
                raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
            return value

        def slice_of(handle: Handle, part: int) -> Handle:
            if look(handle).slices[part] is None:
                raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
            return handle[0], part

        def memory(handle: Handle) -> Any:
            free, total = known(look(handle).free_mb) << 20, look(handle).total_mb << 20
            return SimpleNamespace(free=free, total=total, used=total - free)

        def by_index(index: int) -> Handle:
            return look((index, None)) and (index, None)

        def by_uuid(uuid: str) -> Handle:
            for index, gpu in enumerate(read()):
                parts = [part and part["uuid"] for part in gpu.slices or ()]
                if gpu.uuid == uuid or uuid in parts:
                    return index, None if gpu.uuid == uuid else parts.index(uuid)
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)

        fakes: dict[str, Any] = {
            "nvmlInit": lambda: in_use.append(True),
            "nvmlShutdown": in_use.pop,
            "nvmlSystemGetDriverVersion": lambda: in_use and "580.0",
            "nvmlDeviceGetName": lambda handle: look(handle) and "Fake A100",
            "nvmlDeviceGetCount": lambda: len(read()),
            "nvmlDeviceGetHandleByIndex": by_index,
            "nvmlDeviceGetHandleByUUID": by_uuid,
            "nvmlDeviceGetUUID": lambda handle: look(handle).uuid,
            "nvmlDeviceGetMemoryInfo": memory,
            "nvmlDeviceGetUtilizationRates": lambda handle: SimpleNamespace(gpu=known(look(handle).busy)),
            "nvmlDeviceGetMigMode": lambda handle: (known(look(handle).slices) is not None and 1, 1),
            "nvmlDeviceGetCudaComputeCapability": lambda handle: known(look(handle).capability),
            "nvmlDeviceGetMaxMigDeviceCount": lambda handle: len(look(handle).slices),
            "nvmlDeviceGetMigDeviceHandleByIndex": slice_of,
        }
        for name, fake in fakes.items():
            put(pynvml, name, fake)

    def into_tensorflow(self, tensorflow: Any) -> None:
        """Replaces its device list; a share of memory becomes a limit on what the process may take of the host's."""

        def devices(kind: str | None = None) -> list[Any]:
            if kind != "GPU":
                return real(kind)
            gpus = [gpu for gpu in json.loads(self.path.read_text()) if not gpu["lost"]]
            uuids = {part["uuid"] for gpu in gpus for part in gpu["slices"] or [gpu] if part}
            visible = os.environ["CUDA_VISIBLE_DEVICES"].split(",")
            return [SimpleNamespace(name=uuid, device_type="GPU") for uuid in visible if uuid in uuids]

        def share(device: Any, configurations: Any) -> None:
            limit_mb = int(configurations[0].memory_limit)
            self.note(f"{device.name} {limit_mb}")
            process = psutil.Process().memory_info()
            resource.setrlimit(resource.RLIMIT_DATA, (process.data + (limit_mb << 20),) * 2)

        real = tensorflow.config.list_physical_devices
        tensorflow.config.list_physical_devices = devices
        tensorflow.config.set_logical_device_configuration = share
        tensorflow.config.experimental.set_memory_growth = lambda device, on: self.note(f"{device.name} grows")


@contextmanager
def fake_machine(path: Path, *gpus: FakeGpu) -> Iterator[FakeDriver]:
    """Gives this process, and those that it starts, these GPUs."""
    import pytest

    driver = FakeDriver(path)
    driver.hold(*gpus)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        patch.setenv(VARIABLE, str(path))
        patch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")  # it ends the process where it gets no memory
        patch.setenv("PYTHONPATH", str(SITE), prepend=os.pathsep)
        driver.into_nvml(patch.setattr)
        yield driver


Driver = Callable[[Sequence[str | FakeGpu]], FakeDriver]
"""Replaces the machine's driver by a fake one with these GPUs; a UUID stands for a healthy GPU."""


def slots_of(
    visible_devices: str | None = None,
    *,
    trial_mb: int = 0,
    note: Callable[[str], None] = lambda line: None,
    **workers: Any,
) -> list[Slot]:
    """The slots for these settings of ``[workers]``."""
    return find_slots(WorkerSettings(**workers), visible_devices, trial_mb, note)
