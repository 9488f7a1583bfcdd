"""Finalists that run out of memory, time or slots."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

from scripted_pool import DIVERGED, FULL, HANGS, LOST, Leaving, ScriptedPool
from world import Watcher, World, script

from pipelines.config import Hyperparameters
from search.devices.slots import Slot
from search.devices.work import Shape
from search.finals.training.finalist_runner import FinalistRunner
from search.finals.training.jobs import FinalistJob
from search.optimization.run_records import recorded_results
from search.optimization.studies import open_study
from search.scheduling.context import StudyContext
from search.scheduling.progress import Progress
from search.tracking.entries import RunStart
from search.tracking.runs import DatasetInput, Runs
from search.tracking.tracker import Tracker
from search.workers.pool import Event, Finished
from search.workers.tasks import StopReason, Task

HP = Hyperparameters(width=50, epochs=4)


def train(
    world: World,
    pool: ScriptedPool,
    n_jobs: int,
    limit_s: float | None = None,
    n_packed: int = 1,
    *,
    keep_last: bool = False,
) -> tuple[Watcher, dict[str, dict[str, Any]]]:
    """Trains jobs that differ in their numbers, some in one program; returns the observer and the record of each."""
    spec, watcher = world.spec(), Watcher()
    study = open_study(world.settings, spec, "f00d")
    tracker = Tracker(lambda: Runs(world.settings, spec.name, "", DatasetInput("digits", "f00d", "")), watcher.note)
    tracker.wait_connected()
    starts = [RunStart(spec.name, f"finalist-{n}", 0, asdict(HP), {}) for n in range(n_jobs)]
    tasks = [Task(n, HP, n, keep_last=keep_last) for n in range(n_jobs)]
    made = [FinalistJob(start, task, limit_s=limit_s) for start, task in zip(starts, tasks, strict=True)]
    made[0].companions = tuple(made[1:n_packed])
    made[0].task = replace(made[0].task, more_seeds=tuple(range(1, n_packed)))
    jobs = iter([made[0], *made[n_packed:]])
    context = StudyContext(spec, study, world.settings, tracker, watcher, Shape(1000, 64, 10), {})
    runner = FinalistRunner(context, pool, Progress(spec.name), lambda: next(jobs, None))
    try:
        runner.run()
    finally:
        assert tracker.close() == 0
    runs = world.runs(spec)
    noted = recorded_results(study)
    statuses = {name: run.info.status for name, run in runs.items()}
    assert {status for name, status in statuses.items() if name not in noted} <= {"KILLED"}
    for name in noted:
        history = world.client.get_metric_history(runs[name].info.run_id, "val_accuracy")
        assert sorted(metric.step for metric in history) == list(range(1, noted[name]["epochs_trained"] + 1))
    statuses = {name: statuses[name] for name in noted}
    assert statuses == {name: "FAILED" if "message" in result else "FINISHED" for name, result in noted.items()}
    return watcher, noted


def where(pool: ScriptedPool, number: int) -> list[tuple[str, bool]]:
    return [(slot.device, task.exclusive) for slot, task in pool.tasks if task.number == number]


def test_a_finalist_out_of_memory_is_retried_with_the_whole_device(world: World) -> None:
    pool = ScriptedPool(3, script({1: [[0.9, FULL]]}), per_device=3)
    watcher, noted = train(world, pool, 4)
    assert [noted[f"finalist-{n}"]["epochs_trained"] for n in range(4)] == [4] * 4
    assert where(pool, 1) == [("scripted:0", False), ("scripted:0", True)], "the pool itself refuses neighbours"
    assert "finalist-1: ran out of memory in its share of scripted:0; retrying with the whole device" in watcher.lines


def test_it_waits_for_its_device_though_another_idles(world: World) -> None:
    pool = ScriptedPool(4, script({0: [[0.5]], 2: [[0.5, 0.5, 0.5, FULL], [0.5, LOST]]}), per_device=2)
    _, noted = train(world, pool, 4)
    assert not [result for result in noted.values() if "message" in result]
    assert where(pool, 2) == [("scripted:1", False), ("scripted:1", True), ("scripted:1", True)]


def test_it_fails_when_the_whole_device_is_too_small(world: World) -> None:
    pool = ScriptedPool(2, script({2: [[FULL], [FULL]]}), per_device=2)
    watcher, noted = train(world, pool, 4)
    assert [name for name, result in noted.items() if "message" in result] == ["finalist-2"]
    assert (
        "finalist-2 failed: scripted:0 has too little memory even for this trial alone: lower width, depth or"
        " batch_size (out of memory)" in watcher.lines
    )


def test_it_trains_elsewhere_when_its_device_leaves_and_the_observer_is_told(world: World) -> None:
    pool = Leaving(3, script({0: [[FULL]]}), per_device=2)
    watcher, noted = train(world, pool, 3)
    assert not [result for result in noted.values() if "message" in result]
    assert where(pool, 0) == [("scripted:0", False), ("scripted:1", False)]
    assert watcher.lines.count("scripted:0 is gone; training continues on the other slots") == 2


def test_a_finalist_beyond_its_time_limit_fails(world: World) -> None:
    pool = ScriptedPool(1, script({0: [[0.5, HANGS]]}))
    _, noted = train(world, pool, 2, limit_s=2.0)
    assert {name: result.get("message") for name, result in noted.items()} == {
        "finalist-0": "workers.trial_timeout_s: took longer than 2 s and was ended",
        "finalist-1": None,
    }


def test_seeds_of_one_program_have_runs_of_their_own_and_are_retried_together(world: World) -> None:
    pool = ScriptedPool(1, script({0: [[0.5, LOST]]}))
    _, noted = train(world, pool, 3, n_packed=3)
    assert [(task.number, task.more_seeds) for _, task in pool.tasks] == [(0, (1, 2)), (0, (1, 2))]
    assert [noted[f"finalist-{n}"]["seed"] for n in range(3)] == [0, 1, 2]
    assert [noted[f"finalist-{n}"]["epochs_trained"] for n in range(3)] == [4] * 3


def test_seeds_of_one_program_fail_together(world: World) -> None:
    _, noted = train(world, ScriptedPool(1, script({0: [[0.5, FULL]]})), 2, n_packed=2)
    assert ["message" in noted[f"finalist-{n}"] for n in range(2)] == [True, True]


class FirstDiverges(ScriptedPool):
    """Of the seeds of a program the first one has a finite loss in one epoch alone; the others end as ``reason``."""

    reason: StopReason = "finished"

    def _end(self, slot: Slot, event: Event) -> None:
        if isinstance(event, Finished):
            found = event.outcome
            others = tuple(replace(other, stop_reason=self.reason) for other in found.others)
            own = replace(found.history[0], metrics={**found.history[0].metrics, "val_accuracy": 0.1})
            first = replace(found, history=(own,), best_epoch=1, stop_reason="diverged", others=others)
            event = event._replace(outcome=first)
        super()._end(slot, event)


def test_a_seed_that_diverges_beside_others_has_its_own_epochs(world: World) -> None:
    _, noted = train(world, FirstDiverges(1), 2, n_packed=2)
    assert [noted[f"finalist-{n}"]["epochs_trained"] for n in range(2)] == [1, 4]
    experiments = [experiment.experiment_id for experiment in world.client.search_experiments()]
    [run] = world.client.search_runs(experiments, "tags.mlflow.runName = 'finalist-0'", max_results=1)
    [point] = world.client.get_metric_history(run.info.run_id, "val_accuracy")
    assert point.value == 0.1


def test_seeds_that_an_interruption_ended_are_trained_again_though_the_first_had_diverged(world: World) -> None:
    pool = FirstDiverges(1)
    pool.reason = "interrupted"
    _, noted = train(world, pool, 2, n_packed=2)
    assert noted == {}


def test_a_refit_that_diverges_failed_though_earlier_epochs_were_finite(world: World) -> None:
    """Its number of epochs is that of the finalists: an earlier epoch is another model."""
    pool = ScriptedPool(1, script({0: [[0.5, 0.6, DIVERGED]]}))
    _, noted = train(world, pool, 1, keep_last=True)
    assert noted["finalist-0"]["message"] == "the loss was not a number after epoch 2"
    assert noted["finalist-0"]["model_sha256"] == ""
    _, noted = train(world, ScriptedPool(1, script({0: [[0.5, 0.6, DIVERGED]]})), 1)
    assert "message" not in noted["finalist-0"], "the best epoch of a finalist is its model"
