"""The contract of ``search.pools.Pool``, held by every pool: one suite, run over each of them.

A pool that is added gets a line in ``POOLS``. What only processes of this machine can be asked is below the contract.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import psutil
import pytest
from fake_driver import FakeGpu, fake_machine

from pipelines.config import DataConfig, Hyperparameters
from pipelines.datasets import Dataset, load
from pipelines.errors import UnavailableError
from pipelines.history import Checkpoint, EpochReport
from search.pools import Event, Failed, Finished, Gone, Lost, Pool, Ready, Reported, Slot
from search.pools.cluster import RayPool
from search.pools.local import LocalPool
from search.pools.shared import folder_for
from search.tasks import Outcome, StopReason, Task

HP = Hyperparameters(width=16, depth=1, dropout=0.1, optimizer="adam", learning_rate=0.01, epochs=4, batch_size=64)
LONG = replace(HP, width=256, depth=3, epochs=100_000)
LONGER = replace(HP, epochs=40)
GPU_FIGURES = ("utilization_percentage", "memory_usage_megabytes", "memory_usage_percentage")
PATIENCE_S = 60.0
GPU = FakeGpu("GPU-fake")


def forked(dataset: Dataset, n_slots: int) -> LocalPool:
    return LocalPool(dataset, [Slot(number, f"cpu:{number}") for number in range(n_slots)])


def spawned(dataset: Dataset, n_slots: int) -> LocalPool:
    """Processes as a GPU's slots have them; the GPU is a fake."""
    return LocalPool(dataset, [Slot(number, f"gpu:{number}", GPU.uuid) for number in range(n_slots)])


def on_ray(dataset: Dataset, n_slots: int) -> RayPool:
    """Actors of a Ray that is there for this pool alone; ``test_cluster.py`` has clusters of several nodes."""
    pytest.importorskip("ray")
    return RayPool(dataset, count=n_slots)


POOLS: dict[str, tuple[Callable[[Dataset, int], Pool], int]] = {
    "forked": (forked, 2),
    "spawned": (spawned, 1),
    "ray": (on_ray, 2),
}


@dataclass
class Driver:
    """Uses a pool as a scheduler does, and remembers which slots are ready."""

    pool: Pool
    free: list[Slot] = field(default_factory=list)

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
        """What one task came to."""
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
    """What must not depend on speed."""
    history = [replace(report, duration_s=0.0) for report in outcome.history]
    return history, outcome.best_epoch, outcome.best_val_accuracy, outcome.model_sha256


@pytest.fixture(scope="module", autouse=True)
def _fake_gpu(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with fake_machine(tmp_path_factory.mktemp("driver") / "gpus.json", GPU):
        yield


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load(DataConfig("digits"))


@pytest.fixture(scope="module", params=POOLS)
def driver(request: pytest.FixtureRequest, digits: Dataset) -> Iterator[Driver]:
    make, n_slots = POOLS[request.param]
    pool = make(digits, n_slots)
    driver = Driver(pool)
    driver.wait_ready()
    yield driver
    pool.close()


@pytest.fixture
def forked_pool(digits: Dataset) -> Iterator[LocalPool]:
    pool = forked(digits, 1)
    yield pool
    pool.close()


class TestContract:
    def test_every_task_ends_once_after_its_reports_in_order(self, driver: Driver) -> None:
        tasks = [
            Task(10, HP, 0),
            Task(11, replace(HP, optimizer="nonsense"), 0),
            Task(12, replace(HP, epochs=1), 1),
            Task(13, replace(HP, learning_rate=1e30), 2),
            Task(14, replace(HP, epochs=7), 3),
            Task(15, HP, 4),
        ]
        events = driver.run(tasks)
        assert Counter(end.number for end in ends(events)) == dict.fromkeys(range(10, 16), 1)
        assert {end.number: type(end) for end in ends(events)} == {
            **dict.fromkeys(range(10, 16), Finished),
            11: Failed,
        }
        for task in tasks:
            own = [event for event in events if not isinstance(event, Ready | Gone) and event.number == task.number]
            epochs = [event.report.epoch for event in own if isinstance(event, Reported)]
            assert epochs == list(range(1, len(epochs) + 1))
            assert not isinstance(own[-1], Reported)
            if isinstance(own[-1], Finished):
                assert tuple(e.report for e in own if isinstance(e, Reported)) == own[-1].outcome.history

    def test_a_slot_is_ready_before_each_task(self, driver: Driver) -> None:
        busy: set[Slot] = set()

        def follow(event: Event) -> None:
            if isinstance(event, Ready):
                busy.discard(event.slot)
            elif isinstance(event, Reported):
                busy.add(event.slot)
            else:
                assert event.slot in busy, "an end before its slot's next Ready"

        driver.run([Task(number, HP, number) for number in range(5)], seen=follow)
        driver.wait_ready()
        assert sorted(slot.number for slot in driver.free) == list(range(len(driver.pool.slots)))

    def test_an_outcome_carries_what_training_came_to(self, driver: Driver) -> None:
        outcome = driver.outcome(Task(0, HP, 0))
        assert outcome.stop_reason == "finished"
        assert [report.epoch for report in outcome.history] == [1, 2, 3, 4]
        best = max(outcome.history, key=lambda report: report.val_accuracy)
        assert (outcome.best_epoch, outcome.best_val_accuracy) == (best.epoch, best.val_accuracy)
        assert outcome.model.startswith(b"\x89HDF")
        assert outcome.checkpoint == b""
        assert outcome.n_parameters == 64 * 16 + 16 + 16 * 10 + 10
        assert 50 < outcome.memory_mb < 4000
        assert outcome.duration_s >= sum(report.duration_s for report in outcome.history)

    def test_an_outcome_says_how_much_of_its_own_device_it_used(self, driver: Driver) -> None:
        usage = driver.outcome(Task(0, LONGER, 0)).usage
        if any(slot.visible_devices for slot in driver.pool.slots):
            assert set(usage) == {f"system/gpu_0_{name}" for name in GPU_FIGURES}
        else:
            assert set(usage) == {"system/cpu_utilization_percentage", "system/memory_usage_megabytes"}
            assert 5 < usage["system/cpu_utilization_percentage"] < 150
            assert 50 < usage["system/memory_usage_megabytes"] < 4000

    def test_the_same_task_comes_to_the_same(self, driver: Driver) -> None:
        first, again, other = (driver.outcome(Task(0, HP, seed)) for seed in (5, 5, 6))
        assert figures(first) == figures(again)
        assert figures(first) != figures(other)

    @pytest.mark.parametrize("epoch", [1, 2, 6])
    @pytest.mark.parametrize("delay_s", [0.0, 0.1], ids=["at once", "late"])
    def test_a_stop_after_an_epoch_leaves_exactly_those_epochs(
        self, driver: Driver, epoch: int, delay_s: float
    ) -> None:
        """Epochs of digits take some milliseconds: a late answer comes when the worker has long trained the next."""

        def judge(number: int, report: EpochReport) -> StopReason | None:
            time.sleep(delay_s)
            return "pruned" if report.epoch == epoch else None

        reported: list[Event] = []
        events = driver.run([Task(0, replace(HP, epochs=50), 0)], judge, reported.append)
        [end] = ends(events)
        assert isinstance(end, Finished)
        assert end.outcome.stop_reason == "pruned"
        assert [report.epoch for report in end.outcome.history] == list(range(1, epoch + 1))
        assert len([event for event in reported if isinstance(event, Reported)]) == epoch
        whole = driver.outcome(Task(0, replace(HP, epochs=epoch), 0))
        assert figures(end.outcome) == figures(whole), "what was kept must be what those epochs alone give"

    def test_an_answer_to_the_last_epoch_does_not_disturb_the_next_task(self, driver: Driver) -> None:
        ended = driver.outcome(Task(0, HP, 0), lambda number, report: "pruned" if report.epoch == 4 else None)
        assert (ended.stop_reason, len(ended.history)) == ("finished", 4)
        assert len(driver.outcome(Task(1, HP, 0)).history) == 4

    def test_a_deadline_ends_a_task_after_an_epoch_and_keeps_it(self, driver: Driver) -> None:
        outcome = driver.outcome(Task(0, LONG, 0, deadline=time.time()))
        assert (outcome.stop_reason, len(outcome.history), outcome.best_epoch) == ("timeout", 1, 1)
        assert outcome.model
        deadline = time.time() + 2
        outcome = driver.outcome(Task(1, LONG, 0, deadline=deadline))
        assert time.time() < deadline + max(report.duration_s for report in outcome.history) + 1
        assert outcome.stop_reason == "timeout"
        assert len(outcome.history) > 1

    def test_a_deadline_that_the_last_epoch_just_meets_is_none(self, driver: Driver) -> None:
        outcome = driver.outcome(Task(0, replace(HP, epochs=1), 0, deadline=time.time()))
        assert outcome.stop_reason == "finished"

    def test_a_loss_that_is_not_finite_ends_the_task(self, driver: Driver) -> None:
        hp = replace(HP, learning_rate=1e30)
        outcome = driver.outcome(Task(0, hp, 0))
        assert outcome.stop_reason == "diverged"
        assert len(outcome.history) < hp.epochs
        assert all(report.is_finite for report in outcome.history)
        assert bool(outcome.model) == bool(outcome.history)

    def test_what_the_user_can_mend_fails_with_one_line(self, driver: Driver) -> None:
        end = driver.one(Task(3, replace(HP, optimizer="nonsense"), 0))
        assert isinstance(end, Failed)
        assert end.message == "optimizer: must be one that Keras knows by name, got 'nonsense'"
        assert end.traceback == ""

    def test_a_defect_fails_with_a_line_and_its_traceback(self, driver: Driver) -> None:
        misfit = Checkpoint((np.zeros((3, 3), np.float32),))
        end = driver.one(Task(4, HP, 0, start=misfit))
        assert isinstance(end, Failed)
        assert "\n" not in end.message
        assert "Traceback" in end.traceback
        assert driver.outcome(Task(5, HP, 0)).history, "the slot goes on"

    def test_a_killed_task_is_lost_and_its_slot_comes_back(self, driver: Driver) -> None:
        def kill_at_third(event: Event) -> None:
            if isinstance(event, Reported) and event.report.epoch == 3:
                driver.pool.kill(event.slot)

        [end] = ends(driver.run([Task(7, LONG, 0)], seen=kill_at_third))
        assert isinstance(end, Lost)
        assert end.number == 7
        assert "died" in end.message
        driver.wait_ready()
        assert len(driver.outcome(Task(7, HP, 0)).history) == 4

    def test_a_killed_idle_slot_comes_back_without_an_end(self, driver: Driver) -> None:
        driver.wait_ready()
        slot = driver.free.pop()
        driver.pool.kill(slot)
        driver.wait_ready()  # refuses any other event
        assert slot in driver.free

    def test_a_task_for_a_slot_that_has_just_died_ends_once(self, driver: Driver) -> None:
        """The scheduler cannot know yet; its slot must not be ready a second time while it trains."""
        driver.wait_ready()
        slot = driver.free.pop()
        driver.pool.kill(slot)
        driver.free.append(slot)
        events = driver.run([Task(8, replace(HP, epochs=2), 0), Task(9, replace(HP, epochs=2), 0)])
        assert sorted(end.number for end in ends(events)) == [8, 9]
        driver.wait_ready()
        assert len(set(driver.free)) == len(driver.free) == len(driver.pool.slots)

    def test_ctrl_c_at_the_terminal_does_not_reach_workers(self, driver: Driver) -> None:
        driver.wait_ready()
        before = workers_of(driver.pool)
        for process in before:
            process.send_signal(signal.SIGINT)
        for number in range(len(before)):
            assert len(driver.outcome(Task(number, HP, 0)).history) == 4
        assert workers_of(driver.pool) == before

    def test_a_poll_without_events_takes_its_time_and_no_longer(self, driver: Driver) -> None:
        driver.wait_ready()
        started = time.monotonic()
        assert driver.pool.poll(0.2) == []
        assert 0.15 < time.monotonic() - started < 1

    def test_close_ends_every_process_though_one_is_training(self, driver: Driver) -> None:
        """The last test of the contract: it uses up the pool."""
        driver.wait_ready()
        before = in_shared_memory()
        processes = workers_of(driver.pool)
        driver.pool.submit(driver.free.pop(), Task(0, LONG, 0))
        assert isinstance(driver.pool.poll(PATIENCE_S)[0], Reported)
        started = time.monotonic()
        driver.pool.close()
        assert time.monotonic() - started < 5
        assert not psutil.wait_procs(processes, timeout=5)[1]
        assert in_shared_memory() <= before
        driver.pool.close()  # once more does nothing


def in_shared_memory() -> set[Path]:
    return {path for path in Path("/dev/shm").iterdir() if not path.name.startswith("PostgreSQL.")}  # of other tests


def workers_of(pool: Pool) -> list[psutil.Process]:
    if isinstance(pool, RayPool):
        return [
            child for child in psutil.Process().children(recursive=True) if child.name().startswith("ray::SlotActor")
        ]
    assert isinstance(pool, LocalPool)
    return [psutil.Process(pid) for pid in pool.pids.values()]


class TestProcesses:
    def test_a_worker_that_the_system_kills_is_lost_with_its_signal(self, forked_pool: LocalPool) -> None:
        def kill_at_second(event: Event) -> None:
            if isinstance(event, Reported) and event.report.epoch == 2:
                os.kill(forked_pool.pids[event.slot], signal.SIGKILL)

        end = ends(Driver(forked_pool).run([Task(1, LONG, 0)], seen=kill_at_second))[0]
        assert isinstance(end, Lost)
        assert end.message == "the process of cpu:0 died (killed by SIGKILL)"

    def test_a_worker_that_has_grown_is_replaced_between_trials(self, digits: Dataset) -> None:
        pool = LocalPool(digits, [Slot(0, "cpu:0")], memory_mb=1)
        driver = Driver(pool)
        pids, outcomes = [], []
        try:
            for number in range(3):
                driver.wait_ready()
                pids.append(pool.pids[Slot(0, "cpu:0")])
                outcomes.append(driver.outcome(Task(number, HP, 0)))
        finally:
            pool.close()
        assert len(set(pids)) == 3
        assert figures(outcomes[0]) == figures(outcomes[2])

    def test_a_worker_that_has_not_grown_stays(self, forked_pool: LocalPool) -> None:
        driver = Driver(forked_pool)
        driver.wait_ready()
        before = forked_pool.pids
        for number in range(3):
            driver.outcome(Task(number, HP, 0))
        assert forked_pool.pids == before

    def test_rows_are_held_once_for_all_processes(self) -> None:
        """Two more workers on 64 MB of rows cost less than one more copy of them."""
        rows = np.random.default_rng(0).integers(0, 255, (80_000, 800), np.uint8)
        y = (np.arange(80_000) % 3).astype(np.int32)
        small = load(DataConfig("digits"))
        preprocessing = replace(small.preprocessing, input_shape=(800,), class_names=("a", "b", "c"))
        training = replace(small.training, x=rows, y=y)
        validation = replace(small.validation, x=rows[:100], y=y[:100])
        dataset = replace(small, training=training, validation=validation, preprocessing=preprocessing)
        pool = forked(dataset, 2)
        try:
            Driver(pool).wait_ready()
            private_mb = [process.memory_full_info().uss / 1e6 for process in workers_of(pool)]
        finally:
            pool.close()
        assert max(private_mb) < 64 + 40, private_mb

    def test_rows_that_shared_memory_has_no_room_for_lie_in_a_file(self) -> None:
        """A container has 64 MB of it unless it is told otherwise."""
        assert folder_for(1000) == Path("/dev/shm")
        assert folder_for(shutil.disk_usage("/dev/shm").free + 1) == Path(tempfile.gettempdir())

    def test_a_worker_that_cannot_start_is_told_and_not_tried_for_ever(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, digits: Dataset
    ) -> None:
        """A TensorFlow that ends the process that imports it, as a wrong build does."""
        (tmp_path / "tensorflow.py").write_text("import os\nos._exit(3)\n")
        monkeypatch.syspath_prepend(tmp_path)
        pool = spawned(digits, 1)
        try:
            with pytest.raises(UnavailableError, match=r"^the process of gpu:0 died \(exit code 3\) before it could"):
                Driver(pool).wait_ready()
        finally:
            pool.close()


def test_a_slot_whose_processes_cannot_start_any_more_is_given_up_and_the_others_train(digits: Dataset) -> None:
    """So a GPU that has fallen off its bus."""
    pool = forked(digits, 2)
    try:
        driver = Driver(pool)
        driver.wait_ready()
        healthy, doomed = pool.slots
        events, until = list[Event](), time.monotonic() + PATIENCE_S
        while doomed in pool.slots:
            assert time.monotonic() < until
            os.kill(pool.pids[doomed], signal.SIGKILL)
            events += pool.poll(1.0)
        assert isinstance(events[-1], Gone)
        assert events[-1].slot == doomed
        driver.free = [healthy]
        assert len(driver.outcome(Task(0, HP, 0)).history) == HP.epochs
    finally:
        pool.close()


SCRIPT = """
    import sys
    from pipelines.config import DataConfig, Hyperparameters
    from pipelines.datasets import load
    from search.pools import Finished, Ready, Reported, Slot
    from search.pools.local import LocalPool
    from search.tasks import Task

    print("script starts", flush=True)
    slot = Slot(0, "cpu:0", sys.argv[1])
    pool = LocalPool(load(DataConfig("digits")), [slot])
    tasks = [Task(n, Hyperparameters(width=64, depth=1, epochs=epochs), 0) for n, epochs in enumerate((2, 10**6))]
    while True:
        for event in pool.poll(60):
            if isinstance(event, Ready):
                pool.submit(slot, tasks.pop(0))
            elif isinstance(event, Reported):
                pool.answer(slot, event.report.epoch, None)
                if event.number == 1 and event.report.epoch == 1:
                    print("worker", pool.pids[slot], flush=True)
            elif isinstance(event, Finished):
                print("trained", len(event.outcome.history), flush=True)
"""


@pytest.mark.parametrize("visible_devices", ["", GPU.uuid], ids=["forked", "spawned"])
def test_a_script_without_a_main_guard_that_is_killed_leaves_nothing(tmp_path: Path, visible_devices: str) -> None:
    script = tmp_path / "search_all.py"
    script.write_text(textwrap.dedent(SCRIPT))
    before = in_shared_memory()
    process = subprocess.Popen([sys.executable, script, visible_devices], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        lines = [process.stdout.readline() for _ in range(3)]
        assert lines[:2] == ["script starts\n", "trained 2\n"], "the script must run once, not once a worker"
        worker = psutil.Process(int(re.fullmatch(r"worker (\d+)\n", lines[2])[1]))  # type: ignore[index]
        family = psutil.Process(process.pid).children(recursive=True)
        assert worker in family
        os.kill(process.pid, signal.SIGKILL)
        _, alive = psutil.wait_procs(family, timeout=10)
        assert not alive, f"still there after the searching process was killed: {alive}"
        assert in_shared_memory() <= before
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            for child in psutil.Process(process.pid).children(recursive=True):
                child.kill()
        process.kill()
        process.wait()
