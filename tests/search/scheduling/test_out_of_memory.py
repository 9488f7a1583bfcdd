"""Trials that need more memory than their share of a GPU, scripted and in processes on a fake GPU."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_driver import FakeDriver, FakeGpu, fake_machine
from pool_driver import Driver, ends, workers_of
from scripted_pool import FULL, LOST, Leaving, ScriptedPool
from world import World, script, states

from pipelines.config import DataConfig, Hyperparameters
from pipelines.data.loading import load
from pipelines.errors import UnavailableError
from pipelines.training.rows import TrainingRows
from pipelines.training.training import Training
from search.devices.slots import Slot
from search.workers.local_pool import LocalPool
from search.workers.pool import Event, Failed, Finished, Gone, Lost, Reported
from search.workers.tasks import Task

SMALL = Hyperparameters(width=16, depth=1, epochs=2, batch_size=64)
WIDE = Hyperparameters(width=120_000, depth=1, epochs=1, batch_size=4096)  # 551 MB for one layer's values alone
SHARE_MB = 500


class TestScheduling:
    def test_it_is_retried_with_the_whole_device_while_the_other_slots_idle(self, world: World) -> None:
        spec, pool = world.spec(), ScriptedPool(3, script({1: [[0.9, 0.8, FULL]]}), per_device=3)
        watcher = world.search(spec, pool)
        rows = world.rows(spec)
        assert states(rows) == ["COMPLETE"] * 6, "it spends the budget of one trial, and its result is the second's"
        assert rows[1].value == pytest.approx(rows[1].params["width"] / 100 * (1 - 0.5**4))
        attempts = [task.exclusive for _, task in pool.tasks if task.number == 1]
        assert attempts == [False, True], "the pool itself refuses neighbours"
        assert (
            "trial-0001: ran out of memory in its share of scripted:0; retrying with the whole device" in watcher.lines
        )
        assert len(world.runs(spec)) == 6

    def test_other_devices_continue(self, world: World) -> None:
        spec = world.spec(trials=12)
        pool = ScriptedPool(4, script({n: [[FULL]] for n in (0, 1, 5)}), per_device=2)
        world.search(spec, pool)
        assert states(world.rows(spec)) == ["COMPLETE"] * 12
        assert sum(task.exclusive for _, task in pool.tasks) == 3

    def test_it_waits_for_its_device_though_another_idles_and_the_budget_is_spent(self, world: World) -> None:
        spec = world.spec(trials=4)
        pool = ScriptedPool(4, script({0: [[0.5]], 2: [[0.5, 0.5, 0.5, FULL]]}), per_device=2)
        world.search(spec, pool)
        assert states(world.rows(spec)) == ["COMPLETE"] * 4
        assert [(slot.device, task.exclusive) for slot, task in pool.tasks if task.number == 2] == [
            ("scripted:1", False),
            ("scripted:1", True),
        ]

    def test_it_fails_when_the_whole_device_is_too_small(self, world: World) -> None:
        spec, pool = world.spec(), ScriptedPool(2, script({2: [[FULL], [FULL]]}), per_device=2)
        watcher = world.search(spec, pool)
        assert states(world.rows(spec)) == ["COMPLETE"] * 2 + ["FAIL"] + ["COMPLETE"] * 3
        assert (
            "trial-0002 failed: scripted:0 has too little memory even for this trial alone: lower width, depth or"
            " batch_size (out of memory)" in watcher.lines
        )

    def test_it_fails_at_once_on_a_device_with_one_slot(self, world: World) -> None:
        spec, pool = world.spec(), ScriptedPool(2, script({2: [[FULL]]}))
        world.search(spec, pool)
        assert states(world.rows(spec)).count("FAIL") == 1
        assert len(pool.tasks) == 6

    def test_a_lost_exclusive_trial_is_retried_exclusively(self, world: World) -> None:
        spec, pool = world.spec(), ScriptedPool(2, script({0: [[FULL], [0.5, LOST]]}), per_device=2)
        world.search(spec, pool)
        assert states(world.rows(spec)) == ["COMPLETE"] * 6
        assert [task.exclusive for _, task in pool.tasks if task.number == 0] == [False, True, True]

    def test_it_trains_elsewhere_when_its_device_leaves(self, world: World) -> None:
        spec, pool = world.spec(), Leaving(3, script({0: [[FULL]]}), per_device=2)
        world.search(spec, pool)
        assert states(world.rows(spec)) == ["COMPLETE"] * 6
        assert [(slot.device, task.exclusive) for slot, task in pool.tasks if task.number == 0] == [
            ("scripted:0", False),
            ("scripted:1", False),
        ]


@pytest.fixture
def gpu(tmp_path: Path) -> Iterator[FakeDriver]:
    with fake_machine(tmp_path / "gpus.json", FakeGpu("GPU-a"), FakeGpu("GPU-b")) as driver:
        yield driver


def pool_of(*slots: Slot) -> LocalPool:
    return LocalPool(load(DataConfig("digits")), slots, memory_mb=8000)


class TestProcessesOnAFakeGpu:
    def test_an_exclusive_task_has_no_memory_limit(self, gpu: FakeDriver) -> None:
        """The limit is the fake's, on the process's own memory; TensorFlow's error and the recovery are real."""
        pool = pool_of(*(Slot(number, "gpu:0", "GPU-a", SHARE_MB) for number in (0, 1)))
        driver = Driver(pool)
        try:
            driver.wait_ready()
            assert gpu.settings() == [f"GPU-a {SHARE_MB}"] * 2
            before = workers_of(pool)
            end = driver.one(Task(0, WIDE, 0))
            assert isinstance(end, Failed), end
            assert end.out_of_memory, end
            driver.wait_ready()
            pool.submit(driver.free.pop(0), Task(0, WIDE, 0, exclusive=True))
            events = driver.run([])
            while not ends(events):
                events += driver.pool.poll(1.0)
            assert isinstance(ends(events)[0], Finished), ends(events)
            assert gpu.settings().count("GPU-a grows") == 1
            driver.free.clear()
            driver.wait_ready()
            assert gpu.settings().count(f"GPU-a {SHARE_MB}") == 4
            assert not set(before) & set(workers_of(pool)), "idle processes hold memory too"
            outcome = driver.outcome(Task(1, SMALL, 0))
            training = Training(TrainingRows.of(load(DataConfig("digits"))), SMALL, seed=0)
            on_a_core = [report.metrics["val_loss"] for report in training]
            assert [report.metrics["val_loss"] for report in outcome.history] == pytest.approx(on_a_core, rel=1e-4)
            assert outcome.device_metrics == {
                "system/gpu_0_memory_usage_megabytes": 1000.0,
                "system/gpu_0_memory_usage_percentage": 6.2,
                "system/gpu_0_utilization_percentage": 40.0,
            }
        finally:
            pool.close()

    def test_a_lost_gpu_removes_its_slots_and_the_others_train(self, gpu: FakeDriver) -> None:
        slots = [Slot(0, "gpu:0", "GPU-a"), Slot(1, "gpu:1", "GPU-b")]
        pool = pool_of(*slots)
        driver = Driver(pool)
        try:
            driver.wait_ready()
            pool.submit(slots[0], Task(7, Hyperparameters(epochs=100_000), 0))
            while not any(isinstance(event, Reported) for event in pool.poll(1.0)):
                pass
            gpu.hold(FakeGpu("GPU-a", lost=True), FakeGpu("GPU-b"))
            pool.kill(slots[0])  # as CUDA ends a process whose GPU is gone
            message = "the process of gpu:0 died (killed by SIGKILL), and gpu:0 does not answer any more"
            events: list[Event] = []
            while not events:
                events = [event for event in pool.poll(30.0) if not isinstance(event, Reported)]
            assert events == [Lost(slots[0], 7, message), Gone(slots[0], message)]
            driver.free = [slots[1]]
            assert len(driver.outcome(Task(8, SMALL, 0)).history) == 2
            gpu.hold(FakeGpu("GPU-a", lost=True), FakeGpu("GPU-b", lost=True))
            pool.kill(slots[1])
            with pytest.raises(UnavailableError, match=re.escape("gpu:1 does not answer any more")):
                pool.poll(30.0)
        finally:
            pool.close()

    def test_a_gpu_that_tensorflow_cannot_use_is_reported(self, gpu: FakeDriver) -> None:
        pool = pool_of(Slot(0, "gpu:0", "GPU-unknown-to-tensorflow"))
        try:
            with pytest.raises(UnavailableError, match=r"^TensorFlow cannot use gpu:0: install mlp-search\[gpu\]"):
                Driver(pool).wait_ready()
        finally:
            pool.close()
