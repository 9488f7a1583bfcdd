"""Every kind of pool, and a driver that uses one as the scheduler does."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil
import pytest
from fake_driver import FakeGpu
from waiting import PATIENCE_S

from pipelines.config import Hyperparameters
from pipelines.data.datasets import Dataset
from pipelines.training.history import EpochReport
from search.devices.slots import Slot
from search.workers.local_pool import LocalPool
from search.workers.pool import Event, Failed, Finished, Gone, Lost, Pool, Ready, Reported
from search.workers.tasks import Outcome, StopReason, Task

HP = Hyperparameters(width=16, depth=1, dropout=0.1, optimizer="adam", learning_rate=0.01, epochs=4, batch_size=64)
LONG = replace(HP, width=256, depth=3, epochs=100_000)
LONGER = replace(HP, epochs=40)
GPU_FIGURES = ("utilization_percentage", "memory_usage_megabytes", "memory_usage_percentage")
GPU = FakeGpu("GPU-fake")


def forked(dataset: Dataset, n_slots: int) -> LocalPool:
    return LocalPool(dataset, [Slot(number, f"cpu:{number}") for number in range(n_slots)])


def spawned(dataset: Dataset, n_slots: int) -> LocalPool:
    """Spawned processes, as for slots on a GPU; the GPU is a fake."""
    return LocalPool(dataset, [Slot(number, f"gpu:{number}", GPU.uuid) for number in range(n_slots)])


def on_ray(dataset: Dataset, n_slots: int) -> Pool:
    """Actors of a Ray that this pool starts; ``test_ray_cluster.py`` has clusters of several nodes."""
    pytest.importorskip("ray")
    from search.workers.ray_pool import RayPool

    return RayPool(dataset, count=n_slots)


POOLS: dict[str, tuple[Callable[[Dataset, int], Pool], int]] = {
    "forked": (forked, 2),
    "spawned": (spawned, 1),
    "ray": (on_ray, 2),
}


@dataclass
class Driver:
    """Uses a pool as the scheduler does, and keeps the list of ready slots."""

    pool: Pool
    free: list[Slot] = field(default_factory=list)
    is_used_up: bool = False

    def run(
        self,
        tasks: Sequence[Task],
        judge: Callable[[int, EpochReport], StopReason | None] = lambda number, report: None,
        seen: Callable[[Event], None] = lambda event: None,
    ) -> list[Event]:
        """Trains all tasks; returns every event up to the last end."""
        waiting, running, events = list(tasks), set[int](), list[Event]()
        until = time.monotonic() + PATIENCE_S
        while waiting or running:
            while waiting and self.free:
                running.add(waiting[0].number)
                self.pool.submit(self.free.pop(0), waiting.pop(0))
            assert time.monotonic() < until, f"still waiting for {running or waiting} after {events}"
            for event in self.pool.poll(1.0):
                events.append(event)
                seen(event)
                if isinstance(event, Ready):
                    self.free.append(event.slot)
                elif isinstance(event, Reported):
                    self.pool.answer(event.slot, event.report.epoch, judge(event.number, event.report))
                elif not isinstance(event, Gone):
                    running.discard(event.number)
        return events

    def one(self, task: Task, judge: Callable[[int, EpochReport], StopReason | None] = lambda n, r: None) -> Event:
        """The end of one task."""
        return ends(self.run([task], judge))[0]

    def outcome(
        self, task: Task, judge: Callable[[int, EpochReport], StopReason | None] = lambda n, r: None
    ) -> Outcome:
        """The outcome of one task."""
        end = self.one(task, judge)
        assert isinstance(end, Finished), end
        return end.outcome

    def wait_ready(self) -> None:
        """Waits until every slot can take a task."""
        until = time.monotonic() + PATIENCE_S
        while len(self.free) < len(self.pool.slots):
            assert time.monotonic() < until
            for event in self.pool.poll(1.0):
                assert isinstance(event, Ready), event
                self.free.append(event.slot)


def ends(events: Sequence[Event]) -> list[Finished | Failed | Lost]:
    return [event for event in events if isinstance(event, Finished | Failed | Lost)]


def figures(outcome: Outcome) -> tuple[object, ...]:
    """The values that must not depend on speed."""
    history = [replace(report, duration_s=0.0) for report in outcome.history]
    return history, outcome.best_epoch, outcome.best_value, outcome.model_sha256


def workers_of(pool: Pool) -> list[psutil.Process]:
    """The processes of a pool, where this process has no other one."""
    if isinstance(pool, LocalPool):
        return [psutil.Process(process.pid) for process in multiprocessing.active_children()]
    return [child for child in psutil.Process().children(recursive=True) if child.name().startswith("ray::SlotActor")]


def in_shared_memory(processes: Sequence[psutil.Process]) -> set[Path]:
    """The files in shared memory that these processes have mapped; other tests have files there too."""
    mapped = {Path(area.path) for process in processes for area in process.memory_maps()}
    return {path for path in mapped if path.is_relative_to("/dev/shm")}
