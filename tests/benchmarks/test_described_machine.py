"""What the results of benchmarks say of the machine, and what needs a GPU."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import harness
import panel
import pytest
from fake_driver import FakeGpu, fake_machine

REQUIRE_GPU = Path(panel.__file__).parents[1] / "scripts" / "require_gpu.py"


def test_the_machine_has_name_memory_and_driver_of_each_gpu(tmp_path: Path) -> None:
    with fake_machine(tmp_path / "gpus.json", FakeGpu("GPU-1"), FakeGpu("GPU-2", total_mb=80_000)):
        cards = harness.machine()["gpus"]
    assert cards == [{"name": "Fake A100", "memory_mb": mb, "driver": "580.0"} for mb in (16_000, 80_000)]


def test_the_panel_on_a_gpu_refuses_a_machine_without_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["panel.py", "--gpu"])
    with fake_machine(tmp_path / "gpus.json"), pytest.raises(SystemExit, match="NVML shows a GPU, got none"):
        panel.parse_arguments()


def test_the_gpu_tests_refuse_a_machine_without_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    ended = subprocess.run([sys.executable, REQUIRE_GPU], capture_output=True, text=True)
    assert ended.returncode == 1
    assert len(ended.stderr.splitlines()) == 1
    assert "must run on a machine with a GPU" in ended.stderr
