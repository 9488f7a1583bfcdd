"""The event loop over a pool that trains every job: trials, finalists, single trainings and probe fits."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from enum import Enum, auto
from typing import Generic

from pipelines.training.history import EpochReport
from search.devices.slots import Slot
from search.optimization.leaderboard import best_value
from search.scheduling.dispatcher import Dispatcher, J
from search.scheduling.progress import Observer, Progress
from search.scheduling.trial_results import Result, ResultWriter, failed
from search.storage.retries import DatabaseAwayError
from search.storage.transactions import StudyDeletedError
from search.tracking.entries import Epoch
from search.workers.pool import Event, Finished, Pool, Reported
from search.workers.tasks import Outcome, StopReason

_TICK_S = 0.5


class RunnerState(Enum):
    """The state of a runner. Jobs begin in the first two states only."""

    RUNNING = auto()
    WAITING = auto()  # nothing is left to begin here; other processes still train trials of the study
    CLOSING = auto()  # the time left is too short for another job; those in training continue
    TIMED_OUT = auto()  # every job ends after its epoch
    INTERRUPTED = auto()  # every job ends after its epoch, and the slots know it
    DISCONNECTED = auto()  # the database is away
    DELETED = auto()  # another program deleted the study


class JobRunner(ABC, Generic[J]):
    """Trains jobs in the slots of a pool until none is left, or until an interruption.

    A subclass says what differs between kinds of jobs: ``next_job`` (where they come from), ``decide`` (whether one
    ends after an epoch), ``result`` (what is recorded of it) and ``requeue`` (what an interruption does with it).

    Args:
        pool: Where jobs train.
        observer: Watches.
        progress: The state for the observer.
        writer: Persists results and sends runs to MLflow; None records nothing.
    """

    def __init__(self, pool: Pool, observer: Observer, progress: Progress, writer: ResultWriter | None) -> None:
        self.progress = progress
        self._pool = pool
        self._observer = observer
        self._writer = writer
        self._dispatcher = Dispatcher[J](pool, observer, progress, self.fail)
        self._running = self._dispatcher.running
        self._jobs: list[J] = []
        self._results: list[Result] = []
        self._state = RunnerState.RUNNING
        # A signal may arrive while the loop changes the state, which must not lose it.
        self._interrupt = threading.Event()

    def interrupt(self) -> None:
        """Ends every job after its epoch in training; a signal handler may call this."""
        self._interrupt.set()
        self.progress.stopping = "interrupted: finishing the epochs in training"

    @property
    def was_asked_to_stop(self) -> bool:
        """Whether ``interrupt`` was called, also if the jobs ended because of the timeout."""
        return self._interrupt.is_set()

    @property
    def interrupted(self) -> bool:
        """Whether ``interrupt`` ended the jobs."""
        return self._interrupt.is_set() and self._state is not RunnerState.TIMED_OUT

    @property
    def is_out_of_time(self) -> bool:
        """Whether the timeout ended the jobs, or left too little for the first epoch of another one."""
        return self._state in (RunnerState.CLOSING, RunnerState.TIMED_OUT)

    @property
    def _stop(self) -> StopReason | None:
        """The reason why every job ends after its epoch; None while they continue."""
        if self._state is RunnerState.TIMED_OUT:
            return "timeout"
        return "interrupted" if self.interrupted else None

    def run(self) -> None:
        """Trains until nothing is left, or until an interruption."""
        try:
            while True:
                self.prepare()
                self.announce_interruption()
                self._fill_slots()
                if not self._running and self.is_over():
                    return
                self._handle(self._pool.poll(_TICK_S))
                self._observer.update(self.progress)
        except DatabaseAwayError:
            self._state = RunnerState.DISCONNECTED
            raise
        except StudyDeletedError:
            self._state = RunnerState.DELETED
            raise
        finally:
            self.close()

    def prepare(self) -> None:
        """Does what is due before jobs begin."""
        self._dispatcher.kill_overdue()

    def is_over(self) -> bool:
        """Whether the runner ends; asked while nothing trains."""
        return self._stop is not None or (bool(self._dispatcher.free_slots()) and not self._dispatcher.retries)

    def close(self) -> None:
        """Requeues what is left after an error, an interruption or a second Ctrl-C."""
        for job in self._dispatcher:
            self.requeue(job)

    def announce_interruption(self) -> None:
        """Stops each slot before its next epoch, though it may have been told to continue."""
        if self.interrupted and self._state is not RunnerState.INTERRUPTED:
            self._state = RunnerState.INTERRUPTED
            for job in self._running.values():
                self._pool.answer(job.slot, job.epochs[-1].step if job.epochs else 0, "interrupted")

    def _fill_slots(self) -> None:
        while (slots := self._dispatcher.free_slots()) and self.may_begin():
            if retry := self._dispatcher.next_retry():
                self.submit(*retry)
            elif not self.begin_next(slots):
                return

    def may_begin(self) -> bool:
        """Whether a job may begin now."""
        return self._state in (RunnerState.RUNNING, RunnerState.WAITING) and not self._stop

    def begin_next(self, slots: Sequence[Slot]) -> bool:
        """Begins one job or more in free slots; False where none is left."""
        job = self.next_job()
        if job:
            self.submit(job, slots[0])
        return job is not None

    def next_job(self) -> J | None:
        """The next job, by default of ``_jobs``; None where none is left to begin."""
        return self._jobs.pop(0) if self._jobs else None

    def submit(self, job: J, slot: Slot) -> None:
        """Starts an attempt, then its run."""
        self._dispatcher.submit(job, slot)
        if self._writer:
            self._writer.tracker.open(job.start, replace=job.replaces_run)

    def _handle(self, events: Sequence[Event]) -> None:
        """Answers every epoch first, because slots wait for the answers; then handles the other events."""
        for job, epoch, stop in self.decide_all([event for event in events if isinstance(event, Reported)]):
            self._pool.answer(job.slot, epoch, stop)
        for event in events:
            if isinstance(event, Finished):
                self.finish(self._running[event.number], event.outcome)
            elif not isinstance(event, Reported):
                self._dispatcher.handle(event)
        self._persist()

    def decide_all(self, reports: Sequence[Reported]) -> list[tuple[J, int, StopReason | None]]:
        """Each job that is decided on, its epoch, and why it ends after that epoch."""
        for event in reports:
            self._log(event)
        return [(self._running[event.number], event.report.epoch, self._answer(event)) for event in self.due(reports)]

    def _log(self, event: Reported) -> None:
        job = self._running[event.number]
        epoch = Epoch.of(event.report, job.metrics)
        job.epochs.append(epoch)
        self.progress.report(job.slot.number, event.report)
        self.log(job, epoch)

    def log(self, job: J, epoch: Epoch) -> None:
        """Sends an epoch in training to MLflow."""
        if self._writer:
            self._writer.tracker.log_epoch(job.name, epoch)

    def due(self, reports: Sequence[Reported]) -> Iterator[Reported]:
        """The reports that are decided on now, by default the new ones."""
        return iter(reports)

    def _answer(self, event: Reported) -> StopReason | None:
        stop = self.decide(self._running[event.number], event.report)
        return self._stop or stop

    def decide(self, job: J, report: EpochReport) -> StopReason | None:
        """The reason why a job ends after an epoch; None where it continues."""
        return None

    def finish(self, job: J, outcome: Outcome) -> None:
        """Records a job that trained, or requeues one that an interruption ended."""
        if outcome.was_interrupted or (self.interrupted and not outcome.history):
            self.requeue(self._running.pop(job.number))
        elif result := self.result(job, outcome):
            self._results.append(result)

    @abstractmethod
    def result(self, job: J, outcome: Outcome) -> Result | None:
        """The recorded result of a job that trained; None where nothing is recorded."""

    def fail(self, job: J, message: str, traceback: str) -> None:
        """Records a job that cannot be trained."""
        self._results.append(failed(job, message, traceback))

    def requeue(self, job: J) -> None:
        """Leaves a job for the next run."""
        if self._writer:
            self._writer.tracker.kill(job.name)

    def _persist(self) -> None:
        """Persists the new results, then shows them."""
        if not self._results or not self._writer:
            return
        results, self._results = self._results, []
        for entry in self._writer.write(results, self._running):
            value, params = best_value(entry.result), entry.result.get("params", {})
            self.progress.count(entry.state, entry.number, value, params, entry.start.run_name)
        for result in results:
            self._dispatcher.release(result.job)
            self.show(result)

    def show(self, result: Result) -> None:
        """Shows a result that was persisted."""
        self._observer.note(result.summary())
