"""How much of its own device a trial used: a GPU as NVML shows it, or this process where it trains on a core."""

from __future__ import annotations

import statistics
import time

import psutil

from search.devices.gpus import GpuProbe

_INTERVAL_S = 1.0
"""Between two looks at a GPU: NVML's own figure is a mean over up to that time, and a look takes a millisecond."""


class Meter:
    """Measures one trial after the other.

    Args:
        visible_devices: ``CUDA_VISIBLE_DEVICES`` of this process; "" for a core.
    """

    def __init__(self, visible_devices: str) -> None:
        self._gpu = GpuProbe(visible_devices) if visible_devices else None
        self.start()

    def start(self) -> None:
        """A trial begins."""
        self._started, self._cpu_s = time.monotonic(), time.process_time()
        self._seen: dict[str, list[float]] = {}
        self._next_look = 0.0

    def look(self) -> None:
        """An epoch has ended."""
        if not self._gpu or time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + _INTERVAL_S
        for name, value in self._gpu.read().items():
            self._seen.setdefault(name, []).append(value)

    def metrics(self) -> dict[str, float]:
        """The trial's means so far, by the names that MLflow groups under its system metrics."""
        if self._gpu:
            return {f"system/{name}": round(statistics.fmean(values), 1) for name, values in self._seen.items()}
        cpu_s, wall_s = time.process_time() - self._cpu_s, time.monotonic() - self._started
        return {
            "system/cpu_utilization_percentage": round(100 * cpu_s / max(wall_s, 1e-3), 1),
            "system/memory_usage_megabytes": round(psutil.Process().memory_info().rss / 2**20, 1),
        }
