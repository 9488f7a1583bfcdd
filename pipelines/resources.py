"""Cores and memory that this process may use: those of the machine, or fewer in a container."""

from __future__ import annotations

import math
import os
from contextlib import suppress
from pathlib import Path

import psutil

_CGROUP = Path("/sys/fs/cgroup")
_MEMORY = (
    ("memory.max", "memory.current", "memory.stat", ""),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat", "total_"),
)
"""Of Linux's control groups, the limit, what is used, and the parts of it: version 2, and version 1."""


def count_cores(cgroup: Path = _CGROUP) -> int:
    """Returns the number of cores that this process may use."""
    n_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    former = [cgroup / "cpu" / name for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us")]
    limits = _numbers(cgroup / "cpu.max") or [number for path in former for number in _numbers(path)]
    if len(limits) == 2 and 0 < limits[0] < math.inf:
        return min(n_cores, math.ceil(limits[0] / limits[1]))
    return n_cores


def free_bytes(cgroup: Path = _CGROUP) -> int:
    """Returns the memory that this process can still take."""
    free = float(psutil.virtual_memory().available)
    for limit, usage, statistics, prefix in _MEMORY:
        limits, used = _numbers(cgroup / limit), _numbers(cgroup / usage)
        if limits and used:  # of which the kernel frees the copies of files
            cached = _values(cgroup / statistics, f"{prefix}inactive_file", f"{prefix}active_file")
            free = min(free, limits[0] - used[0] + cached)
    return max(0, int(free))


def _numbers(path: Path) -> list[float]:
    """Returns the numbers in a file; none where there is no such file."""
    with suppress(OSError, ValueError):
        return [math.inf if word == "max" else float(word) for word in path.read_text(encoding="ascii").split()]
    return []


def _values(path: Path, *keys: str) -> float:
    """Returns the sum of the numbers after some keys in a file of lines."""
    with suppress(OSError):
        pairs = (line.split() for line in path.read_text(encoding="ascii").splitlines())
        return sum(float(pair[1]) for pair in pairs if pair[0] in keys)
    return 0.0
