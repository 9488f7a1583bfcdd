"""The scheduler of a study: asks Optuna for trials, prunes them, and tells Optuna and MLflow their results."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace

from optuna.trial import TrialState

from pipelines.training.history import EpochReport
from search.devices.slots import Slot
from search.model_files import ModelKeeper
from search.optimization.leaderboard import leaderboard
from search.optimization.run_records import files_of, record_run_id, result_of
from search.optimization.samplers import exhausted_note, is_exhausted
from search.scheduling.clock.held_reports import HeldReports
from search.scheduling.clock.waits import Waits
from search.scheduling.context import StudyClock, StudyContext
from search.scheduling.job_runner import JobRunner, RunnerState
from search.scheduling.progress import Progress
from search.scheduling.recovery import Recovery, record_runs, tell
from search.scheduling.trial_results import Result, ResultWriter, copied, ended
from search.scheduling.trial_source import TrialJob, TrialSource
from search.storage.attributes import PRUNED_AT
from search.storage.cached_storage import FinishedElsewhereError
from search.workers import Outcome, Pool, Reported, StopReason
from search.workers.pool import Event

_ASKED_TOGETHER = 8
"""Trials that are asked for in one transaction: the first of them waits for the last."""
_REFRESH_S = 1.0
_BOOKKEEPING_S = 10.0


class Scheduler(JobRunner[TrialJob]):
    """Runs one study until its budget is spent.

    Args:
        context: The study.
        pool: Where trials train; it was started on the study's dataset.
        started: Value of ``now`` when the process began, which the timeout counts from.
        now: Seconds since some moment; a simulation passes its own.

    Attributes:
        waited_share: Share of the slots' time, once the search is over, that they waited for results of other slots.
        keeper: Deletes model files, where the study keeps those of its best trials alone.
    """

    def __init__(
        self, context: StudyContext, pool: Pool, started: float, now: Callable[[], float] = time.monotonic
    ) -> None:
        spec, settings, study, tracker = context.spec, context.settings, context.study, context.tracker
        writer = ResultWriter(settings.spool, tracker, lambda results: tell(settings, study, results))
        progress = Progress(spec.name, budget=spec.trials, objective=context.spec.metric, timeout_s=spec.timeout_s)
        super().__init__(pool, context.observer, progress, writer)
        self._context = context
        self._study = study
        self._tracker = tracker
        self._clock = StudyClock(study, spec.timeout_s, started, now)
        self._waits = Waits(now)
        self._held = HeldReports(self._waits)
        self.waited_share = 0.0
        self.keeper = ModelKeeper(study, tracker, spec.keep_models)
        self._source = TrialSource(context)
        self._recovery = Recovery(study, settings, tracker, self._running)
        self._n_before = 0
        self._longest_epoch_s = 0.0
        self._next_refresh = 0.0
        self._next_bookkeeping = 0.0

    @property
    def n_trained(self) -> int:
        """Number of trials that this run finished."""
        return self.progress.done - self._n_before

    def run(self) -> None:
        """Searches until the budget is spent, the space is exhausted, or an interruption."""
        self._recovery.deliver_left()
        self._recovery.recover()
        for row in leaderboard(self._study):
            self.progress.count(row.state, row.number, row.value, row.params)
        self._n_before = self.progress.done
        super().run()
        spec = self._context.spec
        if self._study.n_trials < (spec.trials or math.inf) and is_exhausted(self._study, spec.space):
            self._observer.note(exhausted_note(spec))

    def close(self) -> None:
        """Requeues the trials that an error or a second Ctrl-C left: they stay in the budget."""
        self.progress.waited_s = self._waits.total_s
        self.waited_share = self._waits.share(len(self._pool.slots))
        # Without the database each requeue would wait as long again; another process requeues the trials once their
        # heartbeats are old.
        if self._state is RunnerState.DELETED:
            for job in self._dispatcher:
                self._tracker.kill(job.name)
        elif self._state is not RunnerState.DISCONNECTED:
            super().close()
            self._source.close()
            self._clock.record()

    def is_over(self) -> bool:
        """Whether the budget or the space is spent, and no other process trains a trial that it may leave behind."""
        self._study.refresh()
        if self._state is RunnerState.CLOSING or self._stop:
            return True
        return self._source.has_begun_all() and not self._dispatcher.retries and not self._waits_for_others()

    def _waits_for_others(self) -> bool:
        """Whether other processes train trials of the study: should one die, its trial is trained here."""
        others = self._recovery.others_train()
        if others and self._state is RunnerState.RUNNING:
            self._observer.note(f"waiting for {others} of the study's trials that other processes train")
        self._state = RunnerState.WAITING if others else RunnerState.RUNNING
        return others > 0

    def prepare(self) -> None:
        """Checks the deadlines, and now and then refreshes the study and records the time used."""
        left = self._clock.left_s()
        self.progress.time_left_s = None if math.isinf(left) else max(0.0, left)
        if left <= 0 and not self._stop:
            self._state = RunnerState.TIMED_OUT
        self.progress.waited_s = self._waits.total_s
        self._tracker.require_connected()
        super().prepare()
        if self._clock.now() >= self._next_refresh:
            self._next_refresh = self._clock.now() + _REFRESH_S
            self._study.refresh()
        if self._clock.now() >= self._next_bookkeeping:
            self._next_bookkeeping = self._clock.now() + _BOOKKEEPING_S
            self._clock.record()
            self.keeper.beat(self.progress.done)
            if self._context.settings.is_shared:
                self._source.record_heartbeats(job.trial for job in self._dispatcher)
                if self._recovery.recover_after_beat(self._clock.now()):
                    self._source.is_exhausted = False

    def may_begin(self) -> bool:
        """Whether a trial may begin: not where its first epoch would end after the timeout."""
        if self._clock.left_s() < self._longest_epoch_s and not self._stop:
            self._state = RunnerState.CLOSING
        may_begin = super().may_begin()
        if not may_begin:
            self._waits.mark(self._dispatcher.free_slots(), waits=False)
        return may_begin

    def begin_next(self, slots: Sequence[Slot]) -> bool:
        """Asks for trials and begins them; one with the configuration of a finished trial gets its result."""
        jobs = self._source.ask(slots[: 1 if self._dispatcher.retries else _ASKED_TOGETHER])
        for job in jobs:
            if original := self._source.duplicate_of(job):
                self._tracker.open(job.start)
                self._results.append(copied(job, original))
            else:
                self.submit(job, job.slot)
        self._persist()
        self._waits.mark(self._dispatcher.free_slots(), waits=self._source.waits)
        return bool(jobs)

    def submit(self, job: TrialJob, slot: Slot) -> None:
        """Starts an attempt with the time that is left."""
        self._held.drop(job.number)
        job.waited_s += self._waits.train(slot.number)
        job.reported_before = max(self._study.trial(job.number).intermediate_values, default=0)
        job.task = replace(job.task, time_left_s=self._clock.left_s())
        if job.replaces_run:
            record_run_id(self._study, job.name, "")
        super().submit(job, slot)

    def decide_all(self, reports: Sequence[Reported]) -> list[tuple[TrialJob, int, StopReason | None]]:
        """Decides in one transaction, which commits before the slots and MLflow learn of the decisions."""
        answers: list[tuple[TrialJob, int, StopReason | None]] = []
        # Another process may have finished a trial that it took for dead: the trial shows as finished from now on.
        with suppress(FinishedElsewhereError), self._study.transaction():
            record_runs(self._study, self._tracker)
            answers = super().decide_all(reports)
        return [(job, epoch, "interrupted" if self._is_finished(job) else stop) for job, epoch, stop in answers]

    def _is_finished(self, job: TrialJob) -> bool:
        return bool(self._study.trial(job.number).state.is_finished())

    def _handle(self, events: Sequence[Event]) -> None:
        super()._handle(events)
        if self._held:  # what has just ended may be what a report waits for
            super()._handle(())

    def due(self, reports: Sequence[Reported]) -> Iterator[Reported]:
        """The reports of which all is known that decides on them; each decision may be what the next one needs."""
        for report in reports:
            self._held.add(report)
        for report in self._held.in_order():
            job = self._running.get(report.number)
            if job is None:
                self._held.drop(report.number)
            elif self._stop or self._may_judge(job, report.report):
                self._held.release(report, job)
                yield report
            else:
                self._held.hold(report, job)

    def _may_judge(self, job: TrialJob, report: EpochReport) -> bool:
        return self._source.may_judge(job, report.epoch, self._stuck)

    def _stuck(self) -> set[int]:
        """Trials that perhaps no slot can train before those in training have ended."""
        waiting = {trial.number for trial in self._study.get_trials(deepcopy=False, states=(TrialState.WAITING,))}
        if super().may_begin():
            return waiting | self._dispatcher.stuck()
        return waiting | {retry.number for retry in self._dispatcher.retries}

    def decide(self, job: TrialJob, report: EpochReport) -> StopReason | None:
        """The reason why a trial is pruned; None where it continues."""
        self._longest_epoch_s = max(self._longest_epoch_s, report.duration_s)
        if self._stop and not self._may_judge(job, report):
            return None
        return self._source.prune(job, report)

    def result(self, job: TrialJob, outcome: Outcome) -> Result:
        """The result of a trial that trained to its last epoch or was pruned."""
        is_pruned = outcome.stop_reason in ("pruned", "diverged") or not outcome.best_epoch
        result = result_of(job.task, outcome, job.slot.device)
        if job.pruned_at:
            result[PRUNED_AT] = job.pruned_at
        if self._source.has_clock:
            result["waited_s"] = round(job.waited_s, 3)
        return ended(job, "PRUNED" if is_pruned else "COMPLETE", result, files_of(outcome))

    def requeue(self, job: TrialJob) -> None:
        """Makes a trial wait for the next run, unless another process has finished it."""
        if self._study.requeue(job.number):
            self._tracker.kill(job.name)
        else:
            self._tracker.discard(job.name)
