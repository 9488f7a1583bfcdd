"""What the machine does to a search: full disks, no memory, hung processes, a wrong clock, deleted folders."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from invariants import Study
from outages import fault_at, searching, write_study


def study_of(home: Path, name: str) -> Study:
    return Study(name, home, f"sqlite:///{home}/optuna.db", f"sqlite:///{home}/mlflow.db")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small file system can be mounted by root only")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_the_disk_of_the_spool_is_full(small_disk: Path, tmp_path: Path) -> None:
    home, file = tmp_path / "home", write_study(tmp_path, "full", trials=5)
    home.mkdir()
    (home / "spool").symlink_to(small_disk)
    with searching(file, home, *fault_at("trial asked", 1, beat_s=1)) as search:
        with search.halted():  # later the spool may hold what the tracker is about to remove
            ballast = small_disk / "ballast"
            ballast.write_bytes(b"x" * (small_disk_free(small_disk) - 4096))
        search.end(1)
    assert search.lines[-1].startswith(f"error: spool {home}/spool: must take a finished trial, got No space left")
    ballast.unlink()
    with searching(file, home) as again:
        again.end()
    study_of(home, "full").at_the_end(5)


def small_disk_free(folder: Path) -> int:
    return shutil.disk_usage(folder).free


def test_a_worker_that_may_not_have_more_memory(tmp_path: Path) -> None:
    """Its address space is limited to what it has: what trains next fails, is tried again elsewhere, and goes on."""
    home, file = tmp_path / "home", write_study(tmp_path, "memory", trials=4)
    with searching(file, home, *fault_at("result reported", 1)) as search:
        with search.halted():
            [worker] = search.workers()
            size = worker.memory_info().vms
            worker.rlimit(psutil.RLIMIT_AS, (size, resource.RLIM_INFINITY))
        search.end()
    states = [trial.state.name for trial in study_of(home, "memory").trials()]
    assert states.count("COMPLETE") >= 1
    assert len(states) == 4
    assert search.having("failed|retrying") or states == ["COMPLETE"] * 4


def test_a_worker_that_hangs(tmp_path: Path) -> None:
    home, file = tmp_path / "home", write_study(tmp_path, "hangs", trials=3, workers="trial_timeout_s = 10")
    with searching(file, home, *fault_at("result reported", 1)) as search:
        with search.halted():
            search.hang_worker()
        search.end()
    assert search.having(" failed: workers.trial_timeout_s: took longer than 10 s and was ended")
    assert sorted(trial.state.name for trial in study_of(home, "hangs").trials()) == ["COMPLETE", "COMPLETE", "FAIL"]


def test_the_clock_is_set_back_an_hour(tmp_path: Path) -> None:
    """In the searching process: ``time.time`` and its like are wrapped there before the command begins."""
    home, file = tmp_path / "home", write_study(tmp_path, "clock", trials=6)
    with searching(file, home, *fault_at("result reported", 2, "clock")) as search:
        search.end()
    study = study_of(home, "clock")
    study.at_the_end(6)
    started = [run.info.start_time for run in study.runs()]
    assert max(started) - min(started) > 3_000_000, "the clock was set back"


def test_the_home_is_deleted(tmp_path: Path) -> None:
    home, file = tmp_path / "home", write_study(tmp_path, "deleted", trials=5)
    with searching(file, home, *fault_at("result reported", 2, beat_s=1)) as search:
        with search.halted():
            shutil.rmtree(home)
        search.end(1)
    assert search.lines[-1].startswith("error: ")
    assert str(home) in search.lines[-1]
    with searching(write_study(tmp_path, "deleted", trials=2), home) as again:
        again.end()
    study_of(home, "deleted").at_the_end(2)
