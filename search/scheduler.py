"""The loop: ask Optuna, submit to a slot, report and prune, tell Optuna, hand over to MLflow."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, replace
from typing import Any

import optuna
from optuna.trial import TrialState

from pipelines.history import EpochReport
from search.attempts import Attempt, is_pruned
from search.claims import is_parked, park
from search.clock import StudyClock
from search.dispatch import Dispatcher
from search.mirror import OvertakenError
from search.pools import Event, Finished, Lost, Pool, Reported, Slot
from search.progress import Observer, Progress
from search.results import (
    files_of,
    forget_run_id,
    metrics_of,
    result_of,
    tags_of,
)
from search.settings import Settings
from search.spec import StudySpec
from search.spool import Entry, Epoch, now_ms, remove_entry, write_entry
from search.storage import PRUNED_AT, RESULT, trial_row
from search.supply import Supply
from search.takeover import Takeover, note_runs, tell
from search.tasks import Outcome, StopReason, Task
from search.tracking import Tracker

_TAKEN_TOGETHER = 8
"""Trials that are asked for in one transaction: the first of them waits for the last."""
_DISK_THREADS = 8
"""The disk writes several files through in the time of one."""
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
        study: optuna.Study,
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
        self._settings, self._observer, self._storage = settings, observer, study._storage
        self._supply = Supply(spec, study, settings, n_features, n_classes, run_tags)
        self._clock = StudyClock(study, spec.timeout_s, started, now)
        self.progress = Progress(spec.name, budget=spec.trials)
        self._dispatch = Dispatcher[Attempt](pool, observer, self.progress, self._fail)
        self._running = self._dispatch.running
        self._takeover = Takeover(study, settings, tracker, self._running)
        self._verdicts: list[tuple[Attempt, int, StopReason | None]] = []
        self._ended: list[tuple[Attempt, Entry, Mapping[str, bytes]]] = []
        self._disk = ThreadPoolExecutor(_DISK_THREADS, "mlp-search spool")
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
        self._takeover.begin()
        for frozen in self._study.get_trials(deepcopy=False):
            self._count(frozen)
        try:
            while True:
                self._keep_books()
                self._tell_slots()
                self._fill_slots()
                if self._is_over():
                    return
                self._handle_all(self._pool.poll(_TICK_S))
                self._observer.update(self.progress)
        finally:
            # Only an error or a second Ctrl-C leaves trials here: they stay in the budget and are trained again.
            for running in self._dispatch:
                self._park(running)
            self._disk.shutdown()
            self._clock.note()

    def _is_over(self) -> bool:
        if self._running:
            return False
        self._storage.refresh()
        done = self._supply.is_over() and not self._dispatch.again
        return self._stop is not None or self._out_of_time or (done and not self._others_train())

    def _others_train(self) -> bool:
        """Whether other processes train trials of the study: should one die, its trial is to be finished here."""
        others = self._takeover.others_train()
        if others and not self._waits:
            self._observer.note(f"waiting for {others} of the study's trials that other processes train")
        self._waits = others > 0
        return self._waits

    def _count(self, frozen: optuna.trial.FrozenTrial) -> None:
        progress = self.progress
        progress.complete += frozen.state == TrialState.COMPLETE
        progress.pruned += frozen.state == TrialState.PRUNED
        progress.failed += frozen.state == TrialState.FAIL
        if frozen.state != TrialState.COMPLETE:
            return
        row = trial_row(frozen, {})
        if progress.best_value is None or (row.value or 0) > progress.best_value:
            progress.best_number, progress.best_value, progress.best_params = row.number, row.value, row.params

    def _keep_books(self) -> None:
        """What is due now and then: the deadline, hung trials, run ids, heartbeats, the time used."""
        left = self._clock.left_s()
        self.progress.time_left_s = None if left is None else max(0.0, left)
        if left is not None and left <= 0:
            self._stop = self._stop or "timeout"
        self._tracker.require_connected()
        self._end_hung_trials()
        if self._clock.now() >= self._next_look:
            self._next_look = self._clock.now() + _LOOK_S
            self._storage.refresh()
        if self._clock.now() >= self._next_bookkeeping:
            self._next_bookkeeping = self._clock.now() + _BOOKKEEPING_S
            self._clock.note()
            if self._settings.is_shared:
                self._supply.beat(running.trial for running in self._dispatch)
                if self._takeover.adopt():
                    self._supply.is_exhausted = False

    def _end_hung_trials(self) -> None:
        limit = self._spec.workers.trial_timeout_s
        for running in self._running.values():
            if limit and self._clock.now() - running.submitted > limit and not running.timed_out:
                running.timed_out = True
                self._pool.kill(running.slot)

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
            if not (taken := self._supply.take(slots[: 1 if self._dispatch.again else _TAKEN_TOGETHER])):
                return
            for running in taken:
                if done := self._supply.twin(running):
                    self._copy(running, done)
                else:
                    self._submit(running, running.slot)
            self._conclude()

    def _submit(self, running: Attempt, slot: Slot) -> None:
        running.submitted = self._clock.now()
        running.reported_before = max((epoch.step for epoch in running.epochs), default=running.reported_before)
        running.start = replace(running.start, tags={**running.start.tags, "device": slot.device})
        left = self._clock.left_s()
        deadline = None if left is None else time.time() + left
        seed = running.start.params["seed"]
        task = Task(running.trial.number, running.hyperparameters, seed, deadline, alone=running.alone)
        self._dispatch.submit(running, slot, task)
        again = running.number > 1 or is_parked(running.trial)
        if again:
            forget_run_id(self._study, running.start.run_name)
        self._tracker.open(running.start, replace=again)

    def _handle_all(self, events: Sequence[Event]) -> None:
        """Handles what has happened: what is written comes before what the slots and MLflow are told of it."""
        # Another process may have finished a trial that it had taken for dead: it shows as finished from now on.
        with suppress(OvertakenError), self._storage.together():
            note_runs(self._study, self._tracker)
            for event in events:
                if isinstance(event, Reported):
                    self._report(self._running[event.number], event.report)
        for running, epoch, stop in self._verdicts:
            finished = self._storage.get_trial(running.trial._trial_id).state.is_finished()
            self._pool.answer(running.slot, epoch, "interrupted" if finished else stop)
        self._verdicts.clear()
        for event in events:
            self._handle(event)
        self._conclude()

    def _handle(self, event: Event) -> None:
        if isinstance(event, Finished):
            self._finish(self._running[event.number], event.outcome)
        elif isinstance(event, Lost) and self._running[event.number].timed_out:
            limit = self._spec.workers.trial_timeout_s
            message = f"workers.trial_timeout_s: took longer than {limit:g} s and was ended"
            self._fail(self._running[event.number], message)
        elif not isinstance(event, Reported):
            self._dispatch.handle(event)

    def _report(self, running: Attempt, report: EpochReport) -> None:
        """Notes an epoch and decides whether the trial goes on."""
        epoch = Epoch.of(report)
        running.epochs.append(epoch)
        self._longest_epoch_s = max(self._longest_epoch_s, report.duration_s)
        self.progress.slots[running.slot.number].report = report
        stop = self._stop
        try:
            if is_pruned(self._study, self._spec, running, report):
                stop = stop or "pruned"
        except optuna.exceptions.UpdateFinishedTrialError:  # by another process, which had taken this one for dead
            stop = "interrupted"
        self._tracker.log_epoch(running.start.run_name, epoch)
        self._verdicts.append((running, report.epoch, stop))

    def _finish(self, running: Attempt, outcome: Outcome) -> None:
        if outcome.stop_reason == "interrupted" or (self.interrupted and not outcome.history):
            self._park(self._running.pop(running.trial.number))
            return
        pruned = outcome.stop_reason in ("pruned", "diverged") or not outcome.best_epoch
        state, value = ("PRUNED", None) if pruned else ("COMPLETE", outcome.best_val_accuracy)
        result = result_of(running.hyperparameters, outcome, running.slot.device)
        if running.pruned_at:
            result[PRUNED_AT] = running.pruned_at
        self._end(running, state, value, result, metrics_of(result), files_of(outcome))

    def _fail(self, running: Attempt, message: str, traceback: str = "") -> None:
        result: dict[str, Any] = {"params": asdict(running.hyperparameters), "message": message}
        result |= {"device": running.slot.device, "epochs_trained": len(running.epochs), "stop_reason": "failed"}
        self._end(running, "FAIL", None, result, {}, {"traceback.txt": traceback.encode()})
        self._observer.note(f"{running.start.run_name} failed: {message}")

    def _copy(self, running: Attempt, done: optuna.trial.FrozenTrial) -> None:
        """Gives a configuration that was trained before the result it had: equal training is not repeated."""
        result = done.user_attrs[RESULT] | {"copied_from": done.number, "duration_s": 0.0}
        result.pop(PRUNED_AT, None)  # one training is one observation of what pruning misses
        result.pop("usage", None)
        metrics = metrics_of(result)
        self._tracker.open(running.start)
        state = done.state.name
        self._end(running, state, result["best_val_accuracy"] if state == "COMPLETE" else None, result, metrics, {})

    def _end(
        self,
        running: Attempt,
        state: str,
        value: float | None,
        result: dict[str, Any],
        metrics: Mapping[str, float],
        files: Mapping[str, bytes],
    ) -> None:
        """What a trial came to; ``_conclude`` keeps it."""
        tags = tags_of(state, result)
        # A verdict can come when the next epoch is in training already: what it ended is what counts.
        epochs = tuple(running.epochs[: result["epochs_trained"]])
        entry = Entry(running.start, now_ms(), state, value, result, epochs, metrics, tags, running.trial.number, None)
        self._ended.append((running, entry, files))

    def _conclude(self) -> None:
        """Keeps what has ended, in the order in which nothing is lost: spool, Optuna, MLflow."""
        if not self._ended:
            return
        ended, self._ended = self._ended, []
        spool = self._settings.spool
        folders = list(self._disk.map(lambda one: write_entry(spool, one[1], one[2]), ended))
        for running, _, _ in ended:  # not before: what cannot be kept is to be trained again
            self._running.pop(running.trial.number, None)
        told = tell(self._settings, self._study, {running.trial._trial_id: entry for running, entry, _ in ended})
        for (running, entry, _), folder in zip(ended, folders, strict=True):
            if running.trial._trial_id in told:
                self._count(self._storage.get_trial(running.trial._trial_id))
                self._tracker.end(running.start.run_name, folder)
            else:
                remove_entry(folder)
                self._tracker.discard(running.start.run_name)
            self._dispatch.vacate(running)
            self._observer.note(_summary(entry))

    def _park(self, running: Attempt) -> None:
        if park(self._study, running.trial._trial_id):
            self._tracker.kill(running.start.run_name)
        else:
            self._tracker.discard(running.start.run_name)


def _summary(entry: Entry) -> str:
    value = entry.result.get("best_val_accuracy")
    figures = "" if value is None else f" val_accuracy {value:.4f} at epoch {entry.result['best_epoch']}"
    return f"{entry.start.run_name} {entry.state.lower()}{figures}"
