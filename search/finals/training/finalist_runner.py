"""Trains finalists and refits: runs that belong to a study and are not its trials."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from pipelines.objectives import OBJECTIVES
from pipelines.training.history import EpochReport
from search.devices.slots import Slot
from search.finals.training.jobs import FinalistJob
from search.optimization.run_records import files_of, record_result, result_of
from search.scheduling.context import StudyContext
from search.scheduling.job_runner import JobRunner
from search.scheduling.progress import Progress
from search.scheduling.recovery import record_runs
from search.scheduling.trial_results import Result, ResultWriter, ended
from search.tracking.entries import Entry, Epoch
from search.workers import Outcome, Pool, StopReason


class FinalistRunner(JobRunner[FinalistJob]):
    """Trains finalists, one after the other in each slot.

    Args:
        context: The study.
        pool: Where they train.
        progress: The state for the observer.
        choose: Returns the next job; None where none is left.
    """

    def __init__(
        self, context: StudyContext, pool: Pool, progress: Progress, choose: Callable[[], FinalistJob | None]
    ) -> None:
        writer = ResultWriter(context.settings.spool, context.tracker, self._record)
        super().__init__(pool, context.observer, progress, writer)
        self._context = context
        self._choose = choose

    def _record(self, entries: Sequence[Entry]) -> set[str]:
        for entry in entries:
            record_result(self._context.study, entry)
        return {entry.start.run_name for entry in entries}

    def prepare(self) -> None:
        """Records the runs that MLflow has opened."""
        super().prepare()
        record_runs(self._context.study, self._context.tracker)

    def next_job(self) -> FinalistJob | None:
        """The next finalist."""
        return self._choose()

    def submit(self, job: FinalistJob, slot: Slot) -> None:
        """Starts an attempt, then its run and those of its companions."""
        super().submit(job, slot)
        for companion in job.companions:
            companion.slot = slot
            companion.start = replace(companion.start, tags={**companion.start.tags, "device": slot.device})
            self._context.tracker.open(companion.start, replace=True)

    def log(self, job: FinalistJob, epoch: Epoch) -> None:
        """Sends an epoch of a run that trains alone; beside others a report is that of any seed with a finite loss."""
        if not job.companions:
            super().log(job, epoch)

    def finish(self, job: FinalistJob, outcome: Outcome) -> None:
        """Records a job that trained and its companions, or requeues what an interruption ended."""
        all_jobs = (job, *job.companions)
        if job.companions:
            ended_at = {epoch.step: epoch.at_ms for epoch in job.epochs}
            for each, found in zip(all_jobs, (outcome, *outcome.others), strict=True):
                epochs = [Epoch.of(report, each.metrics) for report in found.history]
                each.epochs = [replace(epoch, at_ms=ended_at.get(epoch.step, epoch.at_ms)) for epoch in epochs]
        super().finish(job, outcome)
        if not job.companions or job.number not in self._running:  # requeued
            return
        for each in all_jobs:
            for epoch in each.epochs:
                self._context.tracker.log_epoch(each.name, epoch)
        pairs = zip(job.companions, outcome.others, strict=True)
        self._results += [self.result(companion, other) for companion, other in pairs]

    def fail(self, job: FinalistJob, message: str, traceback: str) -> None:
        """Records a job that cannot be trained, and its companions."""
        if job.companions:
            job.epochs = []  # of any seed
        for each in (job, *job.companions):
            super().fail(each, message, traceback)

    def requeue(self, job: FinalistJob) -> None:
        """Leaves a job and its companions for the next call."""
        for each in (job, *job.companions):
            super().requeue(each)

    def decide(self, job: FinalistJob, report: EpochReport) -> StopReason | None:
        """Ends a refit after its last epoch."""
        return "finished" if job.last_epoch is not None and report.epoch >= job.last_epoch else None

    def result(self, job: FinalistJob, outcome: Outcome) -> Result:
        """The result of a run; it failed where no epoch ended with a finite loss."""
        result = result_of(job.task, outcome, job.slot.device) | {"seed": job.task.seed}
        if outcome.row_scores:
            result["row_scores"] = outcome.row_scores
        if job.task.keep_last:  # a refit trains on the validation rows
            result[OBJECTIVES[job.task.objective].best_key] = None
        elif all(map(math.isfinite, curve := [report.metrics[job.task.objective] for report in outcome.history])):
            result["curve"] = curve
        n_epochs = len(outcome.history)
        # The epochs of a refit are those of the finalists' best ones: its last epoch alone is the model.
        if not outcome.best_epoch or (job.task.keep_last and outcome.stop_reason == "diverged"):
            when = f"after epoch {n_epochs}" if n_epochs else "from the first epoch on"
            failed = {"message": f"the loss was not a number {when}", "model_sha256": ""}
            return ended(job, "FAIL", result | failed, {})
        return ended(job, "COMPLETE", result, files_of(outcome))
