"""The GPUs of this machine through NVML, which looks without touching CUDA: that takes memory on each GPU it sees."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from itertools import groupby
from typing import Any


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU, or a slice of one in MIG mode.

    Attributes:
        index: nvidia-smi's number of the whole GPU.
        board: UUID of the whole GPU.
        uuid: What CUDA calls it: ``GPU-…``, or ``MIG-…`` for a slice.
        part: Number of the slice; None for a whole GPU.
        free_mb: Memory that nobody has now; None where NVML does not know, as on chips that share the host's.
        total_mb: All of it.
    """

    index: int
    board: str
    uuid: str
    part: int | None = None
    free_mb: int | None = None
    total_mb: int | None = None

    @property
    def device(self) -> str:
        """What people call it: ``gpu:0``, ``gpu:0/mig:1``."""
        return f"gpu:{self.index}" if self.part is None else f"gpu:{self.index}/mig:{self.part}"


def find_gpus(visible_devices: str | None = None) -> list[Gpu]:
    """The GPUs that this process may use, slices each for itself; none where there is no driver.

    Args:
        visible_devices: The user's ``CUDA_VISIBLE_DEVICES``; None where it is not set. Numbers count as nvidia-smi
            counts, which is CUDA's order where the GPUs are alike or ``CUDA_DEVICE_ORDER=PCI_BUS_ID``.
    """
    found: list[Gpu] = []
    with suppress(_no_gpu()), _nvml() as nvml:
        for index in range(nvml.nvmlDeviceGetCount()):
            with suppress(nvml.NVMLError):  # one that fell off the bus is not the others' concern
                found += _parts(nvml, index)
    if visible_devices is None:
        return found
    chosen: dict[Gpu, None] = {}
    for entry in split_entries(visible_devices):  # CUDA's rule: up to the first that names no device
        if not (named := named_by(entry, found)):
            break
        chosen |= dict.fromkeys(named)
    return list(chosen)


def split_entries(text: str) -> list[str]:
    """The entries of a list as ``CUDA_VISIBLE_DEVICES`` has it."""
    return [entry for part in text.split(",") if (entry := part.strip())]


def named_by(entry: str, gpus: Sequence[Gpu]) -> list[Gpu]:
    """What an entry names: a number, a UUID or its beginning; a GPU in MIG mode stands for all of its slices."""
    if entry.isdigit():
        return [gpu for gpu in gpus if gpu.index == int(entry)]
    if slices := [gpu for gpu in gpus if gpu.uuid.startswith(entry)][:1]:
        return slices
    boards = [list(group) for _, group in groupby(gpus, lambda gpu: gpu.board)]
    return next((group for group in boards if group[0].board.startswith(entry)), [])


def is_there(uuid: str) -> bool:
    """Whether a GPU of that UUID still answers."""
    return any(gpu.uuid == uuid for gpu in find_gpus())


class GpuProbe:
    """Reads the use of one GPU again and again; NVML stays open, for to open it takes far longer than a look.

    Args:
        visible_devices: ``CUDA_VISIBLE_DEVICES`` of the process that uses it.
    """

    def __init__(self, visible_devices: str) -> None:
        self._prefix, self._open = "", ExitStack()
        with suppress(_no_gpu(), IndexError):
            gpu = find_gpus(visible_devices)[0]
            self._nvml = self._open.enter_context(_nvml())
            self._handle = self._nvml.nvmlDeviceGetHandleByUUID(gpu.uuid)
            self._prefix = gpu.device.replace(":", "_").replace("/", "_")

    def read(self) -> dict[str, float]:
        """Its use now, by MLflow's names; without what NVML does not know, as of slices or of a GPU that is gone."""
        usage: dict[str, float] = {}
        if not self._prefix:
            return usage
        with suppress(self._nvml.NVMLError):
            memory = self._nvml.nvmlDeviceGetMemoryInfo(self._handle)
            usage[f"{self._prefix}_memory_usage_megabytes"] = memory.used / 2**20
            usage[f"{self._prefix}_memory_usage_percentage"] = 100 * memory.used / memory.total
        with suppress(self._nvml.NVMLError):
            rates = self._nvml.nvmlDeviceGetUtilizationRates(self._handle)
            usage[f"{self._prefix}_utilization_percentage"] = float(rates.gpu)
        return usage


@contextmanager
def _nvml() -> Iterator[Any]:
    import pynvml

    pynvml.nvmlInit()
    try:
        yield pynvml
    finally:
        pynvml.nvmlShutdown()


def _no_gpu() -> type[Exception]:
    import pynvml

    return pynvml.NVMLError  # type: ignore[no-any-return]


def _parts(nvml: Any, index: int) -> list[Gpu]:
    """One GPU, or its slices."""
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    board = str(nvml.nvmlDeviceGetUUID(handle))
    in_mig_mode = False
    with suppress(nvml.NVMLError):  # most GPUs know no MIG
        in_mig_mode = nvml.nvmlDeviceGetMigMode(handle)[0] == nvml.NVML_DEVICE_MIG_ENABLE
    if not in_mig_mode:
        return [Gpu(index, board, board, None, *_memory(nvml, handle))]
    slices = []
    for part in range(nvml.nvmlDeviceGetMaxMigDeviceCount(handle)):
        with suppress(nvml.NVMLError):  # numbers without a slice
            own = nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, part)
            slices.append(Gpu(index, board, str(nvml.nvmlDeviceGetUUID(own)), part, *_memory(nvml, own)))
    return slices


def _memory(nvml: Any, handle: Any) -> tuple[int | None, int | None]:
    """Free and total memory in MB."""
    try:
        memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    except nvml.NVMLError:
        return None, None
    return memory.free >> 20, memory.total >> 20
