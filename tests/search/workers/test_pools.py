"""The contract of ``search.workers.pool.Pool``: one suite for the local and the Ray pool."""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace

import psutil
import pytest
from pool_driver import (
    GPU_FIGURES,
    HP,
    LONG,
    LONGER,
    PATIENCE_S,
    POOLS,
    Driver,
    ends,
    figures,
    in_shared_memory,
    workers_of,
)

from pipelines.data.datasets import Dataset
from pipelines.training.history import EpochReport
from search.devices.precision import cpu_has_bfloat16
from search.devices.slots import Slot
from search.workers.pool import Event, Failed, Finished, Gone, Lost, Ready, Reported
from search.workers.tasks import StopReason, Task


@pytest.fixture(scope="module", params=POOLS)
def drivers(request: pytest.FixtureRequest, digits: Dataset, fake_gpu: None) -> Iterator[Callable[[], Driver]]:
    """Gives one driver to all tests of a kind of pool, and another once its pool was closed."""
    make, n_slots = POOLS[request.param]
    open_drivers: list[Driver] = []

    def get() -> Driver:
        if not open_drivers or open_drivers[-1].is_used_up:
            open_drivers.append(Driver(make(digits, n_slots)))
            open_drivers[-1].wait_ready()
        return open_drivers[-1]

    yield get
    for driver in open_drivers:
        driver.pool.close()


@pytest.fixture
def driver(drivers: Callable[[], Driver]) -> Driver:
    return drivers()


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

    def test_an_outcome_has_the_best_epoch_and_its_model(self, driver: Driver) -> None:
        outcome = driver.outcome(Task(0, HP, 0))
        assert outcome.stop_reason == "finished"
        assert [report.epoch for report in outcome.history] == [1, 2, 3, 4]
        best = max(outcome.history, key=lambda report: report.metrics["val_accuracy"])
        assert (outcome.best_epoch, outcome.best_value) == (best.epoch, best.metrics["val_accuracy"])
        assert outcome.model.startswith(b"\x89HDF")
        assert outcome.checkpoint == b""
        assert outcome.n_parameters == 64 * 16 + 16 + 16 * 10 + 10
        assert 50 < outcome.memory_mb < 4000
        assert outcome.duration_s >= sum(report.duration_s for report in outcome.history)

    def test_an_outcome_has_the_metrics_of_its_device(self, driver: Driver) -> None:
        metrics = driver.outcome(Task(0, LONGER, 0)).device_metrics
        if any(slot.visible_devices for slot in driver.pool.slots):
            assert set(metrics) == {f"system/gpu_0_{name}" for name in GPU_FIGURES}
        else:
            assert set(metrics) == {"system/cpu_utilization_percentage", "system/memory_usage_megabytes"}
            assert metrics["system/cpu_utilization_percentage"] > 0
            assert 50 < metrics["system/memory_usage_megabytes"] < 4000

    def test_the_same_task_has_the_same_outcome(self, driver: Driver) -> None:
        first, again, other = (driver.outcome(Task(0, HP, seed)) for seed in (5, 5, 6))
        assert figures(first) == figures(again)
        assert figures(first) != figures(other)

    @pytest.mark.parametrize("epoch", [1, 2, 6])
    @pytest.mark.parametrize("delay_s", [0.0, 0.1], ids=["at once", "late"])
    def test_a_stop_after_an_epoch_keeps_exactly_the_epochs_up_to_it(
        self, driver: Driver, epoch: int, delay_s: float
    ) -> None:
        """Epochs of digits take some milliseconds: after the delay the worker has trained the next one."""

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
        outcome = driver.outcome(Task(0, LONG, 0, time_left_s=0.0))
        assert (outcome.stop_reason, len(outcome.history), outcome.best_epoch) == ("timeout", 1, 1)
        assert outcome.model
        assert driver.outcome(Task(1, HP, 0, time_left_s=3600.0)).stop_reason == "finished"

    def test_a_task_in_its_last_epoch_has_no_deadline(self, driver: Driver) -> None:
        outcome = driver.outcome(Task(0, replace(HP, epochs=1), 0, time_left_s=0.0))
        assert outcome.stop_reason == "finished"

    def test_a_loss_that_is_not_finite_ends_the_task(self, driver: Driver) -> None:
        hp = replace(HP, learning_rate=1e30)
        outcome = driver.outcome(Task(0, hp, 0))
        assert outcome.stop_reason == "diverged"
        assert len(outcome.history) < hp.epochs
        assert all(report.is_finite for report in outcome.history)
        assert bool(outcome.model) == bool(outcome.history) == bool(outcome.model_sha256)

    def test_an_error_of_the_configuration_fails_with_one_line(self, driver: Driver) -> None:
        end = driver.one(Task(3, replace(HP, optimizer="nonsense"), 0))
        assert isinstance(end, Failed)
        assert end.message == "optimizer: must be one that Keras knows by name, got 'nonsense'"
        assert end.traceback == ""

    def test_any_other_error_fails_with_one_line_and_its_traceback(self, driver: Driver) -> None:
        end = driver.one(Task(4, replace(HP, batch_size="many"), 0))  # type: ignore[arg-type]
        assert isinstance(end, Failed)
        assert "\n" not in end.message
        assert "Traceback" in end.traceback
        assert driver.outcome(Task(5, HP, 0)).history, "the slot takes the next task"

    def test_a_killed_task_is_lost_and_its_slot_is_ready_again(self, driver: Driver) -> None:
        def kill_at_third(event: Event) -> None:
            if isinstance(event, Reported) and event.report.epoch == 3:
                driver.pool.kill(event.slot)

        [end] = ends(driver.run([Task(7, LONG, 0)], seen=kill_at_third))
        assert isinstance(end, Lost)
        assert end.number == 7
        assert "died" in end.message
        driver.wait_ready()
        assert len(driver.outcome(Task(7, HP, 0)).history) == 4

    def test_a_killed_idle_slot_is_ready_again_and_nothing_is_lost(self, driver: Driver) -> None:
        driver.wait_ready()
        slot = driver.free.pop()
        driver.pool.kill(slot)
        driver.wait_ready()  # refuses any other event
        assert slot in driver.free

    def test_a_task_for_a_slot_that_has_just_died_ends_once(self, driver: Driver) -> None:
        """The scheduler cannot know of the death yet; the slot must not be ready a second time while it trains."""
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

    def test_it_says_whether_its_processors_multiply_bfloat16(self, driver: Driver) -> None:
        on_gpu = driver.pool.slots[0].device.startswith("gpu")  # the fake one has the capability
        assert driver.pool.has_bfloat16() == (on_gpu or cpu_has_bfloat16())

    def test_a_poll_without_events_waits_and_returns_none(self, driver: Driver) -> None:
        driver.wait_ready()
        started = time.monotonic()
        assert driver.pool.poll(0.2) == []
        assert time.monotonic() - started > 0.15

    def test_close_ends_every_process_though_one_is_training(self, driver: Driver) -> None:
        driver.wait_ready()
        driver.is_used_up = True
        processes = workers_of(driver.pool)
        driver.pool.submit(driver.free.pop(), Task(0, LONG, 0))
        assert isinstance(driver.pool.poll(PATIENCE_S)[0], Reported)
        shared = in_shared_memory(processes)
        driver.pool.close()
        assert not psutil.wait_procs(processes, timeout=PATIENCE_S)[1]
        assert not [path for path in shared if path.exists()]
        driver.pool.close()  # a second call does nothing
