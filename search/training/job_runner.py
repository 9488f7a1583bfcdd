"""Trains runs that are no trials of a study, in its pool: each tracked, spooled and noted with the study."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import optuna

from pipelines.config import Hyperparameters
from pipelines.training.history import EpochReport
from search.devices.slots import Slot
from search.home.settings import Settings
from search.optimization.run_records import files_of, metrics_of, record_result, result_of, tags_of
from search.scheduling.dispatcher import Dispatcher
from search.scheduling.progress import Observer, Progress
from search.scheduling.recovery import record_runs
from search.tracking.entries import Entry, Epoch, RunStart, now_ms
from search.tracking.spool import write_entry
from search.tracking.tracker import Tracker
from search.workers.pool import Event, Finished, Pool, Reported
from search.workers.tasks import Outcome, Task

_TICK_S = 0.5


_NOWHERE = Slot(-1, "")


@dataclass(slots=True)
class Job:
    """A run to train.

    Attributes:
        start: What is known of the run.
        task: What is trained; its number is the job's own.
        last_epoch: Training ends after it, though the configuration's schedule spans more; None: its last.
        metrics: What is logged of each epoch; None: everything.
        number: Of its attempt, from 1.
        epochs: Those that have ended.
        slot: Where it trains, or trained last.
        alone: Whether it is to have its device for itself.
    """

    start: RunStart
    task: Task
    last_epoch: int | None = None
    metrics: tuple[str, ...] | None = None
    number: int = 1
    epochs: list[Epoch] = field(default_factory=list)
    slot: Slot = _NOWHERE
    alone: bool = False

    @property
    def hyperparameters(self) -> Hyperparameters:
        """Its configuration."""
        return self.task.hyperparameters


class JobRunner:
    """Trains one job after the other in each slot until ``choose`` has no more.

    Args:
        study: Keeps the records.
        pool: Where they train.
        tracker: Carries the runs to MLflow.
        settings: Where the spool is.
        observer: Watches.
        progress: What it sees.
        choose: The next job; None where nothing is left to start.
        limit_s: The longest that one may take; None means no limit.
    """

    def __init__(
        self,
        study: optuna.Study,
        pool: Pool,
        tracker: Tracker,
        settings: Settings,
        observer: Observer,
        progress: Progress,
        choose: Callable[[], Job | None],
        limit_s: float | None = None,
    ) -> None:
        self._study, self._pool, self._tracker = study, pool, tracker
        self._settings, self._observer, self._choose = settings, observer, choose
        self._progress = progress
        self._dispatch = Dispatcher[Job](pool, observer, progress, self._fail, limit_s)
        self.interrupted = False

    def interrupt(self) -> None:
        """Lets the epochs in training end, and nothing begin after them."""
        self.interrupted = True
        self._progress.stopping = "interrupted: finishing the epochs in training"
        for job in list(self._dispatch.running.values()):
            self._pool.answer(job.slot, job.epochs[-1].step if job.epochs else 0, "interrupted")

    def run(self) -> None:
        """Trains until nothing is left, or an interruption."""
        try:
            while True:
                self._dispatch.end_hung()
                self._fill_slots()
                if not self._dispatch.running and (self.interrupted or self._is_over()):
                    return
                for event in self._pool.poll(_TICK_S):
                    self._handle(event)
                record_runs(self._study, self._tracker)
                self._observer.update(self._progress)
        finally:
            for job in self._dispatch:
                self._tracker.kill(job.start.run_name)

    def _is_over(self) -> bool:
        return bool(self._dispatch.free_slots()) and not self._dispatch.again

    def _fill_slots(self) -> None:
        while not self.interrupted and (slots := self._dispatch.free_slots()):
            job, slot = self._dispatch.take_again() or (self._choose(), slots[0])
            if job is None:
                return
            job.start = replace(job.start, started_ms=now_ms())
            self._dispatch.submit(job, slot, replace(job.task, exclusive=job.alone))
            self._tracker.open(job.start, replace=True)

    def _handle(self, event: Event) -> None:
        if isinstance(event, Reported):
            self._report(self._dispatch.running[event.number], event.slot, event.report)
        elif isinstance(event, Finished):
            self._finish(self._dispatch.running[event.number], event.outcome, event.slot.device)
        else:
            self._dispatch.handle(event)

    def _report(self, job: Job, slot: Slot, report: EpochReport) -> None:
        epoch = Epoch.of(report)
        if job.metrics:
            epoch = replace(epoch, metrics={name: epoch.metrics[name] for name in job.metrics})
        job.epochs.append(epoch)
        self._progress.slots[slot.number].report = report
        self._tracker.log_epoch(job.start.run_name, epoch)
        is_last = job.last_epoch is not None and report.epoch >= job.last_epoch
        self._pool.answer(slot, report.epoch, "interrupted" if self.interrupted else "finished" if is_last else None)

    def _finish(self, job: Job, outcome: Outcome, device: str) -> None:
        if outcome.stop_reason == "interrupted" or (self.interrupted and not outcome.history):
            self._tracker.kill(self._dispatch.running.pop(job.task.number).start.run_name)
            return
        result = result_of(job.task.hyperparameters, outcome, device) | {"seed": job.task.seed}
        if job.metrics and "val_accuracy" not in job.metrics:
            result["best_val_accuracy"] = None
        if outcome.best_epoch:
            self._end(job, "COMPLETE", result, files_of(outcome))
        else:
            self._end(job, "FAIL", result | {"message": "its loss was no number from the first epoch on"}, {})

    def _fail(self, job: Job, message: str, traceback: str = "") -> None:
        result = {"message": message, "epochs_trained": len(job.epochs), "stop_reason": "failed"}
        self._end(job, "FAIL", result, {"traceback.txt": traceback.encode()})

    def _end(self, job: Job, state: str, result: dict[str, Any], files: dict[str, bytes]) -> None:
        """The order in which nothing is lost: spool, Optuna, MLflow."""
        epochs = tuple(job.epochs[: result["epochs_trained"]])
        metrics = metrics_of(result) if state == "COMPLETE" else {}
        value = result.get("best_val_accuracy")
        entry = Entry(job.start, now_ms(), state, value, result, epochs, metrics, tags_of(state, result))
        folder = write_entry(self._settings.spool, entry, files)
        del self._dispatch.running[job.task.number]
        record_result(self._study, entry)
        self._tracker.end(job.start.run_name, folder)
        self._dispatch.vacate(job)
        self._progress.complete += state == "COMPLETE"
        self._progress.failed += state == "FAIL"
        reached = f"complete val_accuracy {value:.4f} at epoch {result['best_epoch']}" if value else "complete"
        what = f"failed: {result['message']}" if state == "FAIL" else reached
        self._observer.note(f"{job.start.run_name} {what}")
