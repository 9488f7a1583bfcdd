"""Whole studies that are interrupted, and whose workers are killed."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest
from registered import client_of
from searching import Watcher, runs_of, workers
from studies import small_spec

from search.scheduling.progress import Progress
from search.scheduling.run_study import run_study


class TestInterrupted:
    def test_two_workers_interrupted_train_exactly_the_budget(self, home: Path) -> None:
        spec = small_spec("two", trials=20, slots=2)

        def interrupt(progress: Progress) -> None:
            if progress.complete + progress.pruned >= 7 and not progress.stopping:
                signal.raise_signal(signal.SIGINT)

        first = run_study(spec, home=home, observer=Watcher(interrupt))
        assert first.interrupted
        assert len(first.rows) < 20
        second = run_study(spec, home=home)
        assert sorted(row.number for row in second.rows) == list(range(20))
        assert second.count("COMPLETE") + second.count("PRUNED") == 20

    def test_a_second_ctrl_c_ends_it_at_once_and_nothing_is_lost(self, home: Path) -> None:
        spec = small_spec("twice", trials=4, space={"epochs": 100_000, "width": 256}, search={"pruner": "none"})
        pressed: list[float] = []

        def interrupt(progress: Progress) -> None:
            reports = [view.report.epoch for view in progress.slots.values() if view.report]
            if reports and (not pressed or time.monotonic() - pressed[-1] > 0.6):
                pressed.append(time.monotonic())
                signal.raise_signal(signal.SIGINT)
                if len(pressed) == 1:
                    time.sleep(0.7)  # two presses within half a second count as one
                    signal.raise_signal(signal.SIGINT)

        with pytest.raises(KeyboardInterrupt):
            run_study(spec, home=home, observer=Watcher(interrupt))
        short = Watcher(lambda progress: signal.raise_signal(signal.SIGINT) if progress.slots else None)
        resumed = run_study(spec, home=home, observer=short)
        assert [row.state for row in resumed.rows] == ["WAITING"] * 4


class TestWorkersThatDie:
    def test_kill_9_costs_one_trial_its_time_and_a_deadly_one_fails_after_three(self, home: Path) -> None:
        start = {"depth": 2, "dropout": 0.1, "optimizer": "adam", "batch_size": 64}
        spec = small_spec(
            "deadly", trials=5, space={"width": {"low": 8, "high": 512}, "epochs": {"low": 3, "high": 500}},
            search={"pruner": "none", "sampler": "random"},
            start=[{**start, "width": 8, "epochs": 3}, {**start, "width": 512, "epochs": 500},
                   {**start, "width": 511, "epochs": 40}, {**start, "width": 9, "epochs": 3},
                   {**start, "width": 10, "epochs": 3}],
        )  # fmt: skip
        killed: list[str] = []

        def kill(progress: Progress) -> None:
            [view] = progress.slots.values() or [None]
            if view is None or view.report is None or view.report.epoch < 2:
                return
            if view.run_name == "trial-0001" or (view.run_name == "trial-0002" and "trial-0002" not in killed):
                [worker] = workers()
                killed.append(view.run_name)
                worker.kill()
                worker.wait(10)

        watcher = Watcher(kill)
        result = run_study(spec, home=home, observer=watcher)
        assert killed == ["trial-0001"] * 3 + ["trial-0002"]
        states = {row.number: row.state for row in result.rows}
        assert states == {0: "COMPLETE", 1: "FAIL", 2: "COMPLETE", 3: "COMPLETE", 4: "COMPLETE"}
        again = [line for line in watcher.lines if "killed by SIGKILL" in line and "retrying" in line]
        assert [line[:10] for line in again] == ["trial-0001", "trial-0001", "trial-0002"]
        runs = runs_of(client_of(home), "deadly")
        assert {name: run.info.status for name, run in runs.items() if run.info.status != "FINISHED"} == {
            "trial-0001": "FAILED"
        }
        assert "3 times with this configuration" in runs["trial-0001"].data.tags["message"]
        steps = [point.step for point in client_of(home).get_metric_history(runs["trial-0002"].info.run_id, "loss")]
        assert sorted(steps) == list(range(1, 41)), "every epoch once, though two were trained twice"
