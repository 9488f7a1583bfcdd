"""Trains finalists and refits: runs that belong to a study and are not its trials."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pipelines.objectives import OBJECTIVES
from pipelines.training.history import EpochReport
from search.optimization.run_records import files_of, record_result, result_of
from search.scheduling.context import StudyContext
from search.scheduling.dispatcher import Job
from search.scheduling.job_runner import JobRunner
from search.scheduling.progress import Progress
from search.scheduling.recovery import record_runs
from search.scheduling.trial_results import Result, ResultWriter, ended
from search.tracking.entries import Entry
from search.workers import Outcome, Pool, StopReason


@dataclass(slots=True, kw_only=True)
class FinalistJob(Job):
    """A finalist or a refit to train.

    Attributes:
        last_epoch: Epoch after which training ends, though the learning rate's schedule spans more; None for the
            configuration's last.
        replaces_run: True: an earlier process may have left a run of this name.
    """

    last_epoch: int | None = None
    replaces_run: bool = True


class FinalistRunner(JobRunner[FinalistJob]):
    """Trains finalists, one after the other in each slot.

    Args:
        context: The study.
        pool: Where they train.
        progress: What the observer sees.
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
        if not outcome.best_epoch:
            message = "the loss was not a number from the first epoch on"
            return ended(job, "FAIL", result | {"message": message}, {})
        return ended(job, "COMPLETE", result, files_of(outcome))
