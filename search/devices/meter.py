"""Measures how much of its device a trial uses: of a GPU by NVML, of a core by this process."""

from __future__ import annotations

import statistics
import time

import psutil

from search.devices.gpus import GpuProbe

_INTERVAL_S = 1.0
"""Between two readings of a GPU: NVML's own value is a mean over up to that time; a reading takes a millisecond."""


class Meter:
    """Measures one trial after the other.

    Args:
        visible_devices: ``CUDA_VISIBLE_DEVICES`` of this process; "" for a core.
    """

    def __init__(self, visible_devices: str) -> None:
        self._gpu = GpuProbe(visible_devices) if visible_devices else None
        self.start()

    def start(self) -> None:
        """Begins to measure a trial."""
        self._started = time.monotonic()
        self._started_cpu_s = time.process_time()
        self._readings: dict[str, list[float]] = {}
        self._next_reading = 0.0

    def update(self) -> None:
        """Reads the GPU, at most once a second; call it after each epoch."""
        if not self._gpu or time.monotonic() < self._next_reading:
            return
        self._next_reading = time.monotonic() + _INTERVAL_S
        for name, value in self._gpu.read().items():
            self._readings.setdefault(name, []).append(value)

    def metrics(self) -> dict[str, float]:
        """The trial's means so far, by the names of MLflow's system metrics."""
        if self._gpu:
            return {f"system/{name}": round(statistics.fmean(values), 1) for name, values in self._readings.items()}
        cpu_s = time.process_time() - self._started_cpu_s
        wall_s = time.monotonic() - self._started
        return {
            "system/cpu_utilization_percentage": round(100 * cpu_s / max(wall_s, 1e-3), 1),
            "system/memory_usage_megabytes": round(psutil.Process().memory_info().rss / 2**20, 1),
        }
