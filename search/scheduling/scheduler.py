"""The loop: ask Optuna, submit to a slot, report and prune, tell Optuna, hand over to MLflow."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from pipelines.training.history import EpochReport
from search.devices.slots import Slot
from search.home.settings import Settings
from search.optimization.leaderboard import trial_row
from search.optimization.run_records import forget_run_id
from search.scheduling.attempts import Attempt, verdict
from search.scheduling.clock import StudyClock
from search.scheduling.dispatcher import Dispatcher
from search.scheduling.progress import Observer, Progress
from search.scheduling.recovery import Recovery, record_runs
from search.scheduling.trial_results import ResultWriter, TrialResult, copied, failed, trained
from search.scheduling.trial_source import TrialSource
from search.spec.study_spec import StudySpec
from search.storage.cached_storage import FinishedElsewhereError
from search.storage.heartbeats import is_requeued
from search.storage.retries import DatabaseAwayError
from search.storage.stored_study import StoredStudy
from search.tracking.entries import Epoch
from search.tracking.tracker import Tracker
from search.workers.pool import Event, Finished, Pool, Reported
from search.workers.tasks import Outcome, StopReason

_TAKEN_TOGETHER = 8
"""Trials that are asked for in one transaction: the first of them waits for the last."""
_TICK_S = 0.5
_LOOK_S = 1.0
_BOOKKEEPING_S = 10.0


class Scheduler:
    """Runs one study until its budget is spent.

    Args:
        spec: The study.
        study: Optuna's study of it.
        pool: Where trials train; it was started on the study's dataset.
        tracker: Carries the runs to MLflow.
        settings: Where the spool is.
        n_features: Values of one flattened input row.
        n_classes: Classes.
        run_tags: Tags that every run of this search carries.
        observer: Watches.
        started: What ``now`` was at the start of everything, which the timeout counts from.
        now: Seconds since some moment; a simulation has its own.
    """

    def __init__(
        self,
        spec: StudySpec,
        study: StoredStudy,
        pool: Pool,
        tracker: Tracker,
        settings: Settings,
        n_features: int,
        n_classes: int,
        run_tags: Mapping[str, str],
        observer: Observer,
        started: float,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._spec, self._study, self._pool, self._tracker = spec, study, pool, tracker
        self._settings, self._observer = settings, observer
        self._trial_source = TrialSource(spec, study, settings, n_features, n_classes, run_tags)
        self._clock = StudyClock(study, spec.timeout_s, started, now)
        self.progress = Progress(spec.name, budget=spec.trials)
        limit_s = spec.workers.trial_timeout_s
        self._dispatch = Dispatcher[Attempt](pool, observer, self.progress, self._fail, limit_s, now)
        self._running = self._dispatch.running
        self._recovery = Recovery(study, settings, tracker, self._running)
        self._result_writer = ResultWriter(study, settings, tracker, self._running)
        self._ended: list[TrialResult] = []
        self._stop: StopReason | None = None
        self._out_of_time = self._waits = False
        self._told = True
        self._longest_epoch_s = 0.0
        self._next_look = self._next_bookkeeping = 0.0

    def interrupt(self) -> None:
        """Lets the epochs in training end, and nothing begin after them."""
        if self._stop is None:
            self._stop = "interrupted"
        self._told = False
        self.progress.stopping = "interrupted: finishing the epochs in training"

    @property
    def interrupted(self) -> bool:
        """Whether ``interrupt`` ended the search."""
        return self._stop == "interrupted"

    def run(self) -> None:
        """Searches until the budget is spent, the space is exhausted, or an interruption."""
        away = False
        self._recovery.begin()
        for frozen in self._study.get_trials(deepcopy=False):
            self.progress.count(trial_row(frozen, {}))
        try:
            while True:
                self._keep_books()
                self._tell_slots()
                self._fill_slots()
                if self._is_over():
                    return
                self._handle_all(self._pool.poll(_TICK_S))
                self._observer.update(self.progress)
        except DatabaseAwayError:  # parking would wait as long again; once the heartbeats have stopped others do it
            away = True
            raise
        finally:
            # Only an error or a second Ctrl-C leaves trials here: they stay in the budget and are trained again.
            self._result_writer.close()
            if not away:
                for running in self._dispatch:
                    self._result_writer.requeue(running)
                self._clock.note()

    def _is_over(self) -> bool:
        if self._running:
            return False
        self._study.refresh()
        done = self._trial_source.is_over() and not self._dispatch.again
        return self._stop is not None or self._out_of_time or (done and not self._others_train())

    def _others_train(self) -> bool:
        """Whether other processes train trials of the study: should one die, its trial is to be finished here."""
        others = self._recovery.others_train()
        if others and not self._waits:
            self._observer.note(f"waiting for {others} of the study's trials that other processes train")
        self._waits = others > 0
        return self._waits

    def _keep_books(self) -> None:
        """What is due now and then: the deadline, hung trials, run ids, heartbeats, the time used."""
        left = self._clock.left_s()
        self.progress.time_left_s = None if left is None else max(0.0, left)
        if left is not None and left <= 0:
            self._stop = self._stop or "timeout"
        self._tracker.require_connected()
        self._dispatch.end_hung()
        if self._clock.now() >= self._next_look:
            self._next_look = self._clock.now() + _LOOK_S
            self._study.refresh()
        if self._clock.now() >= self._next_bookkeeping:
            self._next_bookkeeping = self._clock.now() + _BOOKKEEPING_S
            self._clock.note()
            if self._settings.is_shared:
                self._trial_source.beat(running.trial for running in self._dispatch)
                if self._recovery.recover():
                    self._trial_source.is_exhausted = False

    def _tell_slots(self) -> None:
        """After an interruption no slot starts another epoch, whatever it has been answered so far."""
        if not self._told:
            self._told = True
            for running in self._running.values():
                self._pool.answer(running.slot, running.epochs[-1].step if running.epochs else 0, self._stop)

    def _fill_slots(self) -> None:
        while not self._stop and (slots := self._dispatch.free_slots()):
            left = self._clock.left_s()
            if left is not None and left < self._longest_epoch_s:
                self._out_of_time = True
                return
            if again := self._dispatch.take_again():
                self._submit(*again)
                continue
            if not (taken := self._trial_source.take(slots[: 1 if self._dispatch.again else _TAKEN_TOGETHER])):
                return
            for running in taken:
                if done := self._trial_source.duplicate_of(running):
                    self._tracker.open(running.start)
                    self._ended.append(copied(running, done))
                else:
                    self._submit(running, running.slot)
            self._conclude()

    def _submit(self, running: Attempt, slot: Slot) -> None:
        running.reported_before = max((epoch.step for epoch in running.epochs), default=running.reported_before)
        left = self._clock.left_s()
        self._dispatch.submit(running, slot, running.task(math.inf if left is None else left))
        again = running.number > 1 or is_requeued(running.trial)
        if again:
            forget_run_id(self._study, running.start.run_name)
        self._tracker.open(running.start, replace=again)

    def _handle_all(self, events: Sequence[Event]) -> None:
        """Handles what has happened: what is written comes before what the slots and MLflow are told of it."""
        verdicts: list[tuple[Attempt, int, StopReason | None]] = []
        # Another process may have finished a trial that it had taken for dead: it shows as finished from now on.
        with suppress(FinishedElsewhereError), self._study.transaction():
            record_runs(self._study, self._tracker)
            for event in events:
                if isinstance(event, Reported):
                    running = self._running[event.number]
                    verdicts.append((running, event.report.epoch, self._report(running, event.report)))
        for running, epoch, stop in verdicts:
            finished = self._study.trial(running.trial.number).state.is_finished()
            self._pool.answer(running.slot, epoch, "interrupted" if finished else stop)
        for event in events:
            self._handle(event)
        self._conclude()

    def _handle(self, event: Event) -> None:
        if isinstance(event, Finished):
            self._finish(self._running[event.number], event.outcome)
        elif not isinstance(event, Reported):
            self._dispatch.handle(event)

    def _report(self, running: Attempt, report: EpochReport) -> StopReason | None:
        """Notes an epoch and decides why the trial ends with it; None where it goes on."""
        epoch = Epoch.of(report)
        running.epochs.append(epoch)
        self._longest_epoch_s = max(self._longest_epoch_s, report.duration_s)
        self.progress.slots[running.slot.number].report = report
        stop = verdict(self._study, self._spec, running, report)
        self._tracker.log_epoch(running.start.run_name, epoch)
        return self._stop or stop

    def _finish(self, running: Attempt, outcome: Outcome) -> None:
        if outcome.stop_reason == "interrupted" or (self.interrupted and not outcome.history):
            self._result_writer.requeue(self._running.pop(running.trial.number))
        else:
            self._ended.append(trained(running, outcome))

    def _fail(self, running: Attempt, message: str, traceback: str = "") -> None:
        self._ended.append(failed(running, message, traceback))
        self._observer.note(f"{running.start.run_name} failed: {message}")

    def _conclude(self) -> None:
        """Keeps what has ended, then shows it."""
        if not self._ended:
            return
        ended, self._ended = self._ended, []
        for told in self._result_writer.keep(ended):
            self.progress.count(told)
        for ending in ended:
            self._dispatch.vacate(ending.attempt)
            self._observer.note(ending.summary())
