"""Cores and memory in control groups of both versions, written as the kernel writes them."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

from pipelines.resources import count_cores, free_bytes

N_CORES = len(os.sched_getaffinity(0))


def group(folder: Path, files: dict[str, str]) -> Path:
    """A control group's folder."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return folder


@pytest.mark.parametrize(
    ("files", "n_cores"),
    [
        ({}, N_CORES),
        ({"cpu.max": "max 100000\n"}, N_CORES),
        ({"cpu.max": "100000 100000\n"}, 1),
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu.max": "99900000 100000\n"}, N_CORES),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, N_CORES),
        ({"cpu/cpu.cfs_quota_us": "100000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1),
    ],
)
def test_cores(tmp_path: Path, files: dict[str, str], n_cores: int) -> None:
    assert count_cores(group(tmp_path, files)) == n_cores


@pytest.mark.parametrize("version", [1, 2])
def test_memory_of_a_container(tmp_path: Path, version: int) -> None:
    limit, usage, statistics, prefix = "memory.max", "memory.current", "memory.stat", ""
    if version == 1:
        limit, usage, statistics = (f"memory/memory.{name}" for name in ("limit_in_bytes", "usage_in_bytes", "stat"))
        prefix = "total_"
    cached = f"anon 5\n{prefix}inactive_file 200000\n{prefix}active_file 100000\n"
    files = {limit: "1000000\n", usage: "900000\n", statistics: cached}
    assert free_bytes(group(tmp_path, files)) == 400_000


def test_memory_without_a_limit(tmp_path: Path) -> None:
    free = psutil.virtual_memory().available
    unlimited = {"memory.max": "max\n", "memory.current": "900000\n"}
    assert free_bytes(group(tmp_path, unlimited)) == pytest.approx(free, rel=0.2)
    assert free_bytes(tmp_path / "none") == pytest.approx(free, rel=0.2)
