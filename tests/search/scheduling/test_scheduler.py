"""The scheduler with real databases and scripted training."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from hypothesis import given, settings, strategies as st
from scripted_pool import DIVERGED, FAILED, HANGS, LOST, ScriptedPool
from world import World, script, states

from pipelines.config import Hyperparameters
from search.optimization.studies import load_study
from search.scheduling.progress import Progress
from search.scheduling.scheduler import Scheduler
from search.spec.dimensions import Choice, Range
from search.spec.space import SearchSpace
from search.spec.study_spec import WorkerSettings
from search.tracking.entries import MODEL_FILE
from search.tracking.spool import entries
from search.workers.tasks import Task


class TestASearch:
    def test_trains_the_budget_and_tells_both_databases(self, world: World) -> None:
        spec, pool = world.spec(), ScriptedPool(2)
        watcher = world.search(spec, pool)
        rows = world.rows(spec)
        assert states(rows) == ["COMPLETE"] * 6
        for (_, task), row in zip(sorted(pool.tasks, key=lambda pair: pair[1].number), rows, strict=True):
            hp = task.hyperparameters
            assert row.params == {name: getattr(hp, name) for name in row.params}
            assert len(row.params) == 8
            assert row.value == pytest.approx(hp.width / 100 * (1 - 0.5**4))
            assert (row.best_epoch, row.epochs_trained, row.duration_s) == (4, 4, 0.25)
            assert row.device in ("scripted:0", "scripted:1")
            run = world.runs(spec)[f"trial-{row.number:04d}"]
            assert row.run_id == run.info.run_id
            assert run.data.params["seed"] == str(task.seed)
            assert run.data.params["width"] == str(hp.width)
            assert int(run.data.params["n_parameters"]) == sum(
                (n_in + 1) * n_out for n_in, n_out in itertools.pairwise([64] + [hp.width] * hp.depth + [10])
            )
            assert run.data.metrics["best_val_accuracy"] == pytest.approx(row.value)
            assert run.info.status == "FINISHED"
        assert [line for line in watcher.lines if line.startswith("trial-0003 complete val_accuracy 0.")]
        assert list(entries(world.settings.spool, spec.name)) == []

    def test_epochs_are_what_the_pruner_sees(self, world: World) -> None:
        spec = world.spec(trials=1)
        world.search(spec, ScriptedPool(1, script({0: [[0.1, 0.2, 0.3, 0.25]]})))
        [trial] = load_study(world.settings, spec.name).trials
        assert trial.intermediate_values == {1: 0.1, 2: 0.2, 3: 0.3, 4: 0.25}
        assert trial.value == 0.3

    def test_a_trial_that_is_pruned_keeps_what_it_reached(self, world: World) -> None:
        spec = world.spec(pruner="asha", trials=3)
        plays = {0: [[0.9] * 4], 1: [[0.2] * 4], 2: [[0.95] * 4]}
        pool = ScriptedPool(1, script(plays))
        world.search(spec, pool)
        rows = world.rows(spec)
        assert states(rows) == ["COMPLETE", "PRUNED", "COMPLETE"]
        assert (rows[1].value, rows[1].epochs_trained) == (0.2, 1)
        run = world.runs(spec)["trial-0001"]
        assert run.info.status == "FINISHED"
        assert run.data.tags["trial.state"] == "PRUNED"
        assert [file.path for file in world.client.list_artifacts(run.info.run_id)] == [MODEL_FILE]

    def test_the_last_epoch_ends_a_trial_by_itself(self, world: World) -> None:
        """A pruner that stops a trial after its last epoch would only make a complete trial a pruned one."""
        space = SearchSpace({"width": Range(8, 64), "epochs": Choice((1,))})
        spec = world.spec(pruner="asha", trials=2, space=space)
        world.search(spec, ScriptedPool(1, script({0: [[0.9]], 1: [[0.1]]})))
        assert states(world.rows(spec)) == ["COMPLETE", "COMPLETE"]

    def test_divergence_ends_a_trial_as_pruned(self, world: World) -> None:
        spec = world.spec(trials=2)
        world.search(spec, ScriptedPool(1, script({0: [[0.4, DIVERGED]], 1: [[DIVERGED]]})))
        rows = world.rows(spec)
        assert states(rows) == ["PRUNED", "PRUNED"]
        assert (rows[0].value, rows[1].value) == (0.4, None)
        assert world.runs(spec)["trial-0001"].data.tags["stop_reason"] == "diverged"

    def test_an_accuracy_of_zero_is_a_result_too(self, world: World) -> None:
        spec = world.spec(trials=1)
        world.search(spec, ScriptedPool(1, script({0: [[0.0] * 4]})))
        metrics = world.runs(spec)["trial-0000"].data.metrics
        assert metrics["best_val_accuracy"] == 0.0
        assert world.rows(spec)[0].value == 0.0

    def test_start_configurations_are_trained_first(self, world: World) -> None:
        start = tuple(Hyperparameters(width=width, depth=1, epochs=4) for width in (33, 12))
        spec, pool = world.spec(start=start, trials=3), ScriptedPool(1)
        world.search(spec, pool)
        assert [task.hyperparameters.width for _, task in pool.tasks[:2]] == [33, 12]


class TestTrouble:
    def test_a_lost_trial_is_retried_with_its_number_and_seed(self, world: World) -> None:
        spec = world.spec(trials=3)
        pool = ScriptedPool(2, script({1: [[0.1, 0.2, LOST]]}))
        watcher = world.search(spec, pool)
        assert states(world.rows(spec)) == ["COMPLETE"] * 3
        first, second = (task for _, task in pool.tasks if task.number == 1)
        assert first == second
        run = world.runs(spec)["trial-0001"]
        assert run.info.status == "FINISHED"
        assert len(world.client.get_metric_history(run.info.run_id, "loss")) == 4
        assert [line for line in watcher.lines if "died; retrying" in line]

    def test_the_run_has_the_device_of_the_last_attempt(self, world: World) -> None:
        spec = world.spec(trials=2)
        pool = ScriptedPool(2, script({0: [[0.1, LOST]], 1: [[FAILED]]}))
        world.search(spec, pool)
        assert [slot.device for slot, task in pool.tasks if task.number == 0] == ["scripted:0", "scripted:1"]
        assert world.rows(spec)[0].device == "scripted:1"
        assert world.runs(spec)["trial-0000"].data.tags["device"] == "scripted:1"

    def test_slots_leave_and_join(self, world: World) -> None:
        """The machine of both slots dies while one is idle: the lost trial must not go to its neighbour."""
        spec, pool = world.spec(trials=2), ScriptedPool(2, script({0: [[0.1, HANGS]]}))
        seen: list[set[int]] = []

        def move(scheduler: Scheduler, progress: Progress) -> None:
            seen.append(set(progress.slots))
            if progress.complete == 1 and len(pool.slots) == 2:
                pool.leave(*pool.slots)
            elif not pool.slots and not progress.slots:
                pool.join(2)

        watcher = world.search(spec, pool, move)
        assert states(world.rows(spec)) == ["COMPLETE"] * 2
        assert [slot.number for slot, task in pool.tasks if task.number == 0] == [0, 2]
        assert {0, 1} in seen
        assert seen[-1] == {2}
        assert "trial-0000: the node of scripted:0 is gone; retrying" in watcher.lines

    def test_a_configuration_that_kills_every_process_fails_after_three(self, world: World) -> None:
        spec, pool = world.spec(trials=4), ScriptedPool(2, script({1: [[0.5, LOST]] * 9}))
        world.search(spec, pool)
        assert states(world.rows(spec)) == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]
        assert Counter(task.number for _, task in pool.tasks) == {0: 1, 1: 3, 2: 1, 3: 1}
        run = world.runs(spec)["trial-0001"]
        assert run.info.status == "FAILED"
        assert run.data.tags["message"].endswith("3 times with this configuration")

    def test_a_failure_ends_one_trial_only(self, world: World) -> None:
        spec, pool = world.spec(trials=3), ScriptedPool(1, script({0: [[FAILED]], 2: [[0.3, FAILED]]}))
        watcher = world.search(spec, pool)
        assert states(world.rows(spec)) == ["FAIL", "COMPLETE", "FAIL"]
        assert len(pool.tasks) == 3, "the same task would fail again"
        run = world.runs(spec)["trial-0000"]
        assert (run.info.status, run.data.tags["message"]) == ("FAILED", "it cannot be trained")
        assert [file.path for file in world.client.list_artifacts(run.info.run_id)] == ["traceback.txt"]
        assert "trial-0000 failed: it cannot be trained" in watcher.lines

    def test_a_trial_beyond_its_time_limit_fails(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        clock = SimpleNamespace(now=0.0, monotonic=lambda: clock.now)
        monkeypatch.setattr("search.scheduling.dispatcher.time", clock)

        def wait(scheduler: Scheduler, progress: Progress) -> None:
            """Lets time pass only while the first trial hangs."""
            clock.now += 0.1 * any(view.run_name == "trial-0000" and view.report for view in progress.slots.values())

        workers = WorkerSettings(trial_timeout_s=0.3)
        spec, pool = world.spec(trials=2, workers=workers), ScriptedPool(1, script({0: [[0.2, HANGS]]}))
        world.search(spec, pool, wait)
        assert states(world.rows(spec)) == ["FAIL", "COMPLETE"]
        message = world.runs(spec)["trial-0000"].data.tags["message"]
        assert message == "workers.trial_timeout_s: took longer than 0.3 s and was ended"

    def test_ctrl_c_in_the_epoch_after_the_timeout_is_known(self, world: World) -> None:
        stopped: list[Scheduler] = []

        def stop(scheduler: Scheduler, progress: Progress) -> None:
            if progress.time_left_s == 0 and not stopped:
                scheduler.interrupt()
                stopped.append(scheduler)

        def endless(task: Task, attempt: int) -> Iterator[float]:
            return (float(time.sleep(0.01) or 0.5) for _ in itertools.count())

        world.search(world.spec(trials=None, timeout_s=0.3), ScriptedPool(1, endless), stop)
        assert stopped[0].was_asked_to_stop
        assert not stopped[0].interrupted, "the timeout ended the trials"

    @settings(max_examples=12)
    @given(
        n_slots=st.integers(1, 4),
        trials=st.integers(1, 9),
        plays=st.dictionaries(
            st.integers(0, 8),
            st.lists(
                st.lists(st.one_of(st.floats(0, 1), st.sampled_from([LOST, FAILED, DIVERGED])), max_size=4), max_size=3
            ),
        ),
    )
    def test_whatever_happens_the_budget_is_exact_and_every_trial_ends(
        self, world: World, n_slots: int, trials: int, plays: dict[int, list[list[float | str]]]
    ) -> None:
        spec = world.spec(trials=trials, pruner="asha", sampler="tpe")
        world.search(spec, ScriptedPool(n_slots, script(plays)))
        rows = world.rows(spec)
        assert [row.number for row in rows] == list(range(trials))
        assert set(states(rows)) <= {"COMPLETE", "PRUNED", "FAIL"}
        runs = world.runs(spec)
        assert len(runs) == trials
        assert {run.info.status for run in runs.values()} <= {"FINISHED", "FAILED"}
        for row in rows:
            run = runs[f"trial-{row.number:04d}"]
            assert run.data.tags["trial.state"] == row.state
            history = world.client.get_metric_history(run.info.run_id, "val_accuracy")
            assert sorted(point.step for point in history) == list(range(1, row.epochs_trained + 1))
