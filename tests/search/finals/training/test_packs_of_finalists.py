"""Seeds of a finalist in one program: how many, for how long, and what is recorded of each."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import takewhile

import numpy as np
import pytest
from reports import report_of
from scripted_pool import ScriptedPool
from world import Watcher, World

from pipelines.config import Hyperparameters
from pipelines.data.datasets import Dataset
from pipelines.training.packing import trainings_at_once
from search.devices.precision import PrecisionRule
from search.devices.slots import Slot
from search.devices.work import Shape
from search.finals.finalist import Candidate
from search.finals.selection import EverySeed
from search.finals.training import FinalistQueue, FinalsTrainer
from search.optimization.studies import open_study
from search.scheduling.context import StudyContext
from search.scheduling.dispatcher import Dispatcher, Job
from search.scheduling.progress import Observer, Progress
from search.tracking.entries import RunStart
from search.tracking.runs import DatasetInput, Runs
from search.tracking.tracker import Tracker
from search.workers.pool import Lost
from search.workers.tasks import Outcome, Task
from search.workers.worker_loop import _train

HP = Hyperparameters(width=16, epochs=4)


def finals(world: World, dataset: Dataset, rule: PrecisionRule = "float32") -> tuple[FinalsTrainer, Watcher]:
    """Those of three configurations with five seeds each."""
    spec, watcher = world.spec(), Watcher()
    study = open_study(world.settings, spec, "f00d")
    runs = lambda: Runs(world.settings, spec.name, "", DatasetInput("digits", "f00d", ""))  # noqa: E731
    tracker = Tracker(runs, watcher.note)
    tracker.close()
    context = StudyContext(spec, study, world.settings, tracker, watcher, Shape(1000, 64, 10, rule), {})
    found = [Candidate(n, replace(HP, depth=n + 1), 0.9, 10) for n in range(3)]
    queue = FinalistQueue(context, dataset, found, EverySeed((3,) * 5))
    return FinalsTrainer(context, dataset, queue, "local"), watcher


def packs(queue: FinalistQueue, n_slots: int, device: str = "cpu") -> Iterator[int]:
    """The number of seeds of each program, in their order."""
    jobs = iter(lambda: queue.next_job([Slot(number, f"{device}:{number}") for number in range(n_slots)]), None)
    return (1 + len(job.task.more_seeds) for job in takewhile(bool, jobs))


@pytest.mark.parametrize(
    ("n_slots", "expected"),
    [(1, [5, 5, 5]), (2, [5, 5, 3, 2]), (4, [4, 1, 3, 2, 2, 2, 1]), (8, [2, 2, 1] * 3), (16, [2, 2, 1] * 3)],
)
def test_seeds_are_spread_over_the_slots(world: World, digits: Dataset, n_slots: int, expected: list[int]) -> None:
    made, _ = finals(world, digits)
    assert list(packs(made.queue, n_slots)) == expected


def test_weighted_rows_count_for_what_they_are_worth(world: World, digits: Dataset) -> None:
    n_rows = len(digits.validation.y)
    assert finals(world, digits)[0].queue.finalists()[0].n_rows == n_rows
    weight = np.ones(n_rows, np.float32)
    weight[:5] = 1000
    weighted = replace(digits, validation=replace(digits.validation, weight=weight / weight.mean()))
    assert finals(world, weighted)[0].queue.finalists()[0].n_rows == 6  # five rows, and little of all others


@pytest.mark.parametrize(("device", "expected"), [("cpu", [5] + [1] * 10), ("gpu", [5, 3, 2] + [1] * 5)])
def test_a_gpu_takes_wider_networks_at_once(
    world: World, digits: Dataset, device: str, expected: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{__name__}.HP", replace(HP, width=1024))
    made, _ = finals(world, digits)
    assert list(packs(made.queue, 1, device)) == expected


@pytest.mark.parametrize(
    ("n_paying", "n_trainings", "n_slots", "expected"), [(1, 15, 1, 1), (32, 15, 4, 4), (32, 3, 8, 2), (3, 15, 2, 3)]
)
def test_a_program_takes_no_more_than_pay(n_paying: int, n_trainings: int, n_slots: int, expected: int) -> None:
    assert trainings_at_once(n_paying, n_trainings, n_slots) == expected


def test_the_time_limit_counts_for_each_seed() -> None:
    pool, failed = ScriptedPool(), []
    dispatcher = Dispatcher[Job](pool, Observer(), Progress("s"), lambda job, line, _: failed.append(line))
    for event in pool.poll(0.0):
        dispatcher.handle(event)
    job = Job(RunStart("s", "finalist-0", 0, {}, {}), Task(0, HP, 0, more_seeds=(1, 2)), limit_s=100.0)
    dispatcher.submit(job, pool.slots[0])
    assert 200 < job.deadline - time.monotonic() <= 300

    job.deadline = 0.0
    dispatcher.kill_overdue()
    for event in pool.poll(0.0):
        if isinstance(event, Lost):
            dispatcher.handle(event)
    assert failed == ["workers.trial_timeout_s: took longer than 100 s for each of 3 seeds and was ended"]


def test_every_seed_has_what_its_program_used_of_the_device() -> None:
    outcome = Outcome((report_of(1, 0.5, 0.5, 0.5, 0.5),), 1, 0.5, b"", "", b"", 1, "finished", 0.1, 100)

    class Trainer:
        def train(self, task: Task, decide: object) -> Iterator[Outcome]:
            yield replace(outcome, others=(outcome, outcome))

    class Meter:
        def start(self) -> None: ...

        def metrics(self) -> dict[str, float]:
            return {"system/cpu": 97.0}

    (event,) = _train(Trainer(), Task(0, HP, 0, more_seeds=(1, 2)), Slot(0, "cpu:0"), Meter(), lambda _: None)
    found = [event.outcome, *event.outcome.others]
    assert [each.device_metrics for each in found] == [{"system/cpu": 97.0}] * 3


class WithoutBfloat16(ScriptedPool):
    """A processor without instructions for bfloat16."""

    def has_bfloat16(self) -> bool:
        return False


@pytest.mark.parametrize(("rule", "n_lines"), [("bfloat16", 1), ("by_size", 1), ("float32", 0)])
def test_a_processor_that_is_slow_in_the_precision_is_named_once(
    world: World, digits: Dataset, rule: PrecisionRule, n_lines: int
) -> None:
    made, watcher = finals(world, digits, rule)
    made._note_precision(WithoutBfloat16())
    made._note_precision(WithoutBfloat16())  # of the refit
    assert len(watcher.lines) == n_lines
    assert all("does not multiply bfloat16 natively" in line for line in watcher.lines)
