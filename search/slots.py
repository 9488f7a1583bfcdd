"""Which slots this machine has: its GPUs as NVML shows them, or its cores."""

from __future__ import annotations

import os

from search.pools import Slot


def find_slots(count: int | None = None, visible_devices: str | None = None) -> list[Slot]:
    """One slot a GPU, or one a core where there is no GPU.

    NVML looks at the GPUs without touching CUDA, which would take memory on each of them.

    Args:
        count: How many slots; more than there are GPUs share them in turn. None: one each.
        visible_devices: The user's ``CUDA_VISIBLE_DEVICES``: indexes or UUIDs; None where it is not set.
    """
    gpus = find_gpus(visible_devices)
    n_slots = count or len(gpus) or count_cores()
    if not gpus:
        return [Slot(number, f"cpu:{number}") for number in range(n_slots)]
    names = [f"gpu:{index}" for index in range(len(gpus))]
    return [Slot(n, names[n % len(gpus)], gpus[n % len(gpus)]) for n in range(n_slots)]


def count_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def find_gpus(visible_devices: str | None = None) -> list[str]:
    """The UUIDs of the GPUs that this process may use; none where there is no driver."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    try:
        handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
        uuids = [str(pynvml.nvmlDeviceGetUUID(handle)) for handle in handles]
    finally:
        pynvml.nvmlShutdown()
    return uuids if visible_devices is None else _choose(uuids, visible_devices)


def _choose(uuids: list[str], visible_devices: str) -> list[str]:
    """CUDA's own rule: entries in their order, up to the first that names no device."""
    chosen = []
    for entry in filter(None, (part.strip() for part in visible_devices.split(","))):
        if entry.isdigit():
            found = uuids[int(entry) : int(entry) + 1]
        else:
            found = [uuid for uuid in uuids if uuid.startswith(entry)][:1]
        if not found:
            break
        chosen += found
    return chosen
