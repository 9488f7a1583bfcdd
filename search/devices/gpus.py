"""The GPUs of this machine through NVML, which does not use CUDA: CUDA takes memory on each GPU that it sees."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from itertools import chain, takewhile

import pynvml


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU, or a slice of one in MIG mode.

    Attributes:
        index: nvidia-smi's number of the whole GPU.
        board: UUID of the whole GPU.
        uuid: CUDA's name of it: ``GPU-…``, or ``MIG-…`` for a slice.
        part: Number of the slice; None for a whole GPU.
        free_mb: Free memory in MB; None where NVML does not know, as on chips that share the host's memory.
        total_mb: All of its memory in MB; None where NVML does not know.
        capability: CUDA's compute capability, such as (8, 0); None where NVML does not know.
    """

    index: int
    board: str
    uuid: str
    part: int | None = None
    free_mb: int | None = None
    total_mb: int | None = None
    capability: tuple[int, int] | None = None

    @property
    def device(self) -> str:
        """The name that people read: ``gpu:0``, ``gpu:0/mig:1``."""
        return f"gpu:{self.index}" if self.part is None else f"gpu:{self.index}/mig:{self.part}"


def find_gpus(visible_devices: str | None = None) -> list[Gpu]:
    """The GPUs that this process may use, each slice as one; none where there is no driver.

    Args:
        visible_devices: The user's ``CUDA_VISIBLE_DEVICES``; None where it is not set. Numbers are nvidia-smi's,
            which are CUDA's where the GPUs are alike or ``CUDA_DEVICE_ORDER=PCI_BUS_ID``.
    """
    found: list[Gpu] = []
    with suppress(pynvml.NVMLError), ExitStack() as stack:
        pynvml.nvmlInit()
        stack.callback(pynvml.nvmlShutdown)
        for index in range(pynvml.nvmlDeviceGetCount()):
            with suppress(pynvml.NVMLError):  # a GPU that fell off the bus must not hide the others
                found += _parts(index)
    if visible_devices is None:
        return found
    # CUDA reads its list up to the first entry that names no device.
    named = takewhile(bool, (named_by(entry, found) for entry in split_entries(visible_devices)))
    return list(dict.fromkeys(chain.from_iterable(named)))


def split_entries(text: str) -> list[str]:
    """The entries of a list written as in ``CUDA_VISIBLE_DEVICES``."""
    return [entry.strip() for entry in text.split(",") if entry.strip()]


def is_number(entry: str) -> bool:
    """Whether an entry is a number in ASCII digits: ``isdigit`` takes others too, of which ``int`` refuses some."""
    return re.fullmatch(r"[0-9]{1,9}", entry) is not None


def named_by(entry: str, gpus: Sequence[Gpu]) -> list[Gpu]:
    """The GPUs that an entry names: by a number, or by a UUID or its beginning.

    An entry that names a GPU in MIG mode names all of its slices.
    """
    if is_number(entry):
        return [gpu for gpu in gpus if gpu.index == int(entry)]
    named = [gpu for gpu in gpus if gpu.uuid.startswith(entry)]
    boards = [gpu.board for gpu in gpus if gpu.board.startswith(entry)]
    return named[:1] or [gpu for gpu in gpus if gpu.board in boards[:1]]


class GpuProbe:
    """Reads repeatedly how much one GPU is used. It keeps NVML open, since opening takes far longer than reading.

    Args:
        visible_devices: ``CUDA_VISIBLE_DEVICES`` of the process that uses the GPU.
    """

    def __init__(self, visible_devices: str) -> None:
        self._prefix = ""
        with suppress(pynvml.NVMLError, IndexError):
            gpu = find_gpus(visible_devices)[0]
            pynvml.nvmlInit()  # until the process ends
            self._handle = pynvml.nvmlDeviceGetHandleByUUID(gpu.uuid)
            self._prefix = gpu.device.replace(":", "_").replace("/", "_")

    def read(self) -> dict[str, float]:
        """Its metrics by MLflow's names, without those that NVML does not know, as of a slice or a GPU that is gone."""
        metrics: dict[str, float] = {}
        if not self._prefix:
            return metrics
        with suppress(pynvml.NVMLError):
            memory = pynvml.nvmlDeviceGetMemoryInfo(self._handle)
            metrics[f"{self._prefix}_memory_usage_megabytes"] = memory.used / 2**20
            metrics[f"{self._prefix}_memory_usage_percentage"] = 100 * memory.used / memory.total
        with suppress(pynvml.NVMLError):
            rates = pynvml.nvmlDeviceGetUtilizationRates(self._handle)
            metrics[f"{self._prefix}_utilization_percentage"] = float(rates.gpu)
        return metrics


def _parts(index: int) -> list[Gpu]:
    """One GPU, or its slices."""
    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    board = str(pynvml.nvmlDeviceGetUUID(handle))
    in_mig_mode = False
    with suppress(pynvml.NVMLError):  # most GPUs have no MIG mode
        in_mig_mode = pynvml.nvmlDeviceGetMigMode(handle)[0] == pynvml.NVML_DEVICE_MIG_ENABLE
    if not in_mig_mode:
        return [Gpu(index, board, board, None, *_memory_mb(handle), _capability(handle))]
    slices = []
    for part in range(pynvml.nvmlDeviceGetMaxMigDeviceCount(handle)):
        with suppress(pynvml.NVMLError):  # there are numbers without a slice
            own = pynvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, part)
            slices.append(
                Gpu(index, board, str(pynvml.nvmlDeviceGetUUID(own)), part, *_memory_mb(own), _capability(handle))
            )
    return slices


def _capability(handle: pynvml.c_nvmlDevice_t) -> tuple[int, int] | None:
    try:
        major, minor = pynvml.nvmlDeviceGetCudaComputeCapability(handle)
    except pynvml.NVMLError:
        return None
    return int(major), int(minor)


def _memory_mb(handle: pynvml.c_nvmlDevice_t) -> tuple[int | None, int | None]:
    """Free and total memory in MB."""
    try:
        memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    except pynvml.NVMLError:
        return None, None
    return memory.free >> 20, memory.total >> 20
