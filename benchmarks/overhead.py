"""The cost of scheduling, storage and tracking per trial, without training.

A pool that answers at once replaces training: every trial reports EPOCHS epochs and returns a model file of
usual size. Everything else is real: Optuna's and MLflow's SQLite databases, the spool with its fsync, the artifacts.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

import psutil
from harness import machine
from rich.console import Console
from rich.table import Table
from virtual_pool import metrics

from pipelines.data.loading import load
from pipelines.training.history import EpochReport
from search.devices.slots import Slot
from search.devices.work import Shape
from search.home.settings import prepare_home, read_settings
from search.optimization.studies import open_study
from search.scheduling.context import StudyContext
from search.scheduling.progress import Observer
from search.scheduling.scheduler import Scheduler
from search.spec.reading import default_spec, override
from search.tracking.runs import DatasetInput, Runs
from search.tracking.tracker import Tracker
from search.workers.pool import Event, Finished, Ready, Reported
from search.workers.tasks import Outcome, StopReason, Task

EPOCHS = 10
MODEL_BYTES = 2_700_000  # of an .h5 with two hidden layers of 512


class FreePool:
    """Two slots in which training takes no time; a trial's accuracy follows from its configuration."""

    def __init__(self) -> None:
        self.slots = [Slot(0, "free:0"), Slot(1, "free:1")]
        self._events: list[Event] = [Ready(slot) for slot in self.slots]
        self._tasks: dict[Slot, Task] = {}
        self._model = os.urandom(MODEL_BYTES)

    def submit(self, slot: Slot, task: Task) -> None:
        self._tasks[slot] = task
        self._report(slot, 1)

    def _report(self, slot: Slot, epoch: int) -> None:
        task = self._tasks[slot]
        accuracy = 0.9 + 0.09 * (1 - 1 / (epoch + 1)) - abs(task.hyperparameters.dropout - 0.25) / 10
        report = EpochReport(epoch, metrics(0.3, accuracy), 1e-3, 0.0)
        self._events.append(Reported(slot, task.number, report))

    def answer(self, slot: Slot, epoch: int, stop: StopReason | None) -> None:
        task = self._tasks[slot]
        if stop is None and epoch < task.hyperparameters.epochs:
            self._report(slot, epoch + 1)
            return
        report = EpochReport(epoch, metrics(0.3, 0.97), 1e-3, 0.0)
        history = (report,) * epoch
        outcome = Outcome(history, epoch, 0.97, self._model, "0" * 64, b"", 669706, stop or "finished", 0.0, 0)
        self._events += [Finished(slot, task.number, outcome), Ready(slot)]

    def poll(self, timeout_s: float) -> list[Event]:
        events, self._events = self._events, []
        return events

    def kill(self, slot: Slot) -> None:
        raise AssertionError("nothing hangs here")

    def close(self) -> None:
        pass


class Marks(Observer):
    """Notes when each trial ended."""

    def __init__(self) -> None:
        self.ended: list[float] = []

    def note(self, line: str) -> None:
        self.ended.append(time.perf_counter())


def measure(n_trials: int, pruner: str) -> dict[str, float]:
    """Runs one study of ``n_trials`` and gives the cost of a trial in ms and the process's memory in MB."""
    with tempfile.TemporaryDirectory() as folder:
        settings = read_settings(Path(folder), {})
        prepare_home(settings)
        document = override(default_spec("digits", preset="classic"), trials=n_trials).to_json()
        document["search"]["pruner"] = pruner
        document["space"]["epochs"] = EPOCHS
        document["start"] = []
        from search.spec.reading import spec_from_dict

        spec = spec_from_dict(document)
        dataset = load(spec.data)
        source = DatasetInput("digits", dataset.fingerprint, "digits")
        tracker = Tracker(lambda: Runs(settings, spec.name, "", source))
        tracker.wait_connected()
        study = open_study(settings, spec, dataset.fingerprint)
        marks = Marks()
        context = StudyContext(spec, study, settings, tracker, marks, Shape(1000, 64, 10), {})
        scheduler = Scheduler(context, FreePool(), time.monotonic())
        started = time.perf_counter()
        scheduler.run()
        searched_s = time.perf_counter() - started
        left = tracker.close(timeout_s=600)
        everything_s = time.perf_counter() - started
    gaps = [b - a for a, b in itertools.pairwise(marks.ended)]
    last = gaps[-max(5, n_trials // 10) :]
    return {
        "trials": n_trials, "median_ms": 1000 * statistics.median(last), "mean_ms": 1000 * searched_s / n_trials,
        "all_delivered_ms": 1000 * everything_s / n_trials, "undelivered": left,
        "rss_mb": psutil.Process().memory_info().rss / 2**20,
    }  # fmt: skip


def main() -> None:
    """Prints a table and writes JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--pruner", default="asha")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/overhead.json"))
    arguments = parser.parse_args()
    table = Table("trials", "median of the last tenth, ms", "mean, ms", "with delivery, ms", "process, MB")
    rows = []
    for n_trials in arguments.trials:
        row = measure(n_trials, arguments.pruner)
        rows.append(row)
        figures = ("median_ms", "mean_ms", "all_delivered_ms", "rss_mb")
        table.add_row(str(n_trials), *(f"{row[name]:.0f}" for name in figures))
    Console().print(table)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
