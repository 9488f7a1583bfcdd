"""Trains the one job of a single training and records it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pipelines.objectives import OBJECTIVES
from pipelines.training.history import EpochReport, sha256
from search.devices.slots import Slot
from search.home.html import HtmlResult
from search.optimization.leaderboard import TrialRow, result_row
from search.optimization.run_records import metrics_of, result_of
from search.scheduling.dispatcher import Job
from search.scheduling.job_runner import JobRunner
from search.scheduling.progress import Observer, Progress
from search.scheduling.trial_results import Result, ResultWriter
from search.tracking import Entry, now_ms
from search.tracking.entries import CHECKPOINT_FILE, MODEL_FILE
from search.training.continuation import CHECKPOINT_TAG, EPOCHS_TAG, MODEL_TAG, Earlier
from search.workers import Outcome, Pool, StopReason

_DIVERGED = "the loss was not a number in the first epoch: lower --learning-rate, or scale the inputs"


@dataclass(frozen=True, slots=True)
class TrainingResult(HtmlResult):
    """The result of a single training.

    Attributes:
        row: As in a leaderboard, with number 0. Epochs count from the first run where this one continues another.
        stop_reason: Why it ended: finished, interrupted, or diverged where the loss was no longer a number.
        undelivered: Runs that MLflow does not have yet; they wait in the spool.
    """

    row: TrialRow
    stop_reason: StopReason
    undelivered: int = 0


class TrainingRunner(JobRunner[Job]):
    """Trains one job.

    Args:
        pool: A pool of one slot.
        observer: Is told every epoch.
        writer: Persists the run.
        job: The training.
        earlier: The run that the job continues; None for a new one.

    Attributes:
        trained: The result without the run's id; None until there is one.
        error: Why the training failed, "" where it did not.
    """

    def __init__(self, pool: Pool, observer: Observer, writer: ResultWriter, job: Job, earlier: Earlier | None) -> None:
        progress = Progress(job.start.study, budget=1, objective=job.task.objective, runs="trainings")
        super().__init__(pool, observer, progress, writer)
        self._tracker = writer.tracker
        self._jobs = [job]
        self._earlier = earlier
        self.trained: TrainingResult | None = None
        self.error = ""

    def submit(self, job: Job, slot: Slot) -> None:
        """Starts an attempt; its run begins with the epochs of the earlier run."""
        super().submit(job, slot)
        for epoch in self._earlier.history if self._earlier else ():
            job.epochs.append(replace(epoch, at_ms=job.start.started_ms))
            self._tracker.log_epoch(job.name, job.epochs[-1])

    def announce_interruption(self) -> None:
        """Nothing: the epoch in training counts, and the answer to its report ends the training."""

    def decide(self, job: Job, report: EpochReport) -> StopReason | None:
        """Shows an epoch."""
        self._observer.epoch(report)
        return None

    def finish(self, job: Job, outcome: Outcome) -> None:
        """Records a training, even one that an interruption ended: it can be continued."""
        self._results.append(self.result(job, outcome))

    def result(self, job: Job, outcome: Outcome) -> Result:
        """The record of a training: its result, its files, and the state that another run needs to continue it."""
        best_epoch, best_value, model = self._best(outcome)
        if not best_epoch and outcome.stop_reason == "diverged":
            return self._failed(job, _DIVERGED)
        result, objective = result_of(job.task, outcome, job.slot.device), OBJECTIVES[job.task.objective]
        result |= {objective.best_key: best_value if best_epoch else None, "best_epoch": best_epoch or None}
        result["epochs_trained"] += self._earlier.checkpoint.epochs if self._earlier else 0
        state = "INTERRUPTED" if outcome.stop_reason == "interrupted" else "COMPLETE"
        row = result_row(0, state, result, objective)
        self.trained = TrainingResult(row, outcome.stop_reason)
        tags: dict[str, str] = {"stop_reason": outcome.stop_reason}
        tags |= {CHECKPOINT_TAG: sha256(outcome.checkpoint)} if outcome.checkpoint else {}
        tags |= {EPOCHS_TAG: str(row.epochs_trained)} | ({MODEL_TAG: sha256(model)} if model else {})
        entry = Entry(job.start, now_ms(), state, history=tuple(job.epochs), metrics=metrics_of(result), tags=tags)
        return Result(job, entry, {MODEL_FILE: model, CHECKPOINT_FILE: outcome.checkpoint})

    def _best(self, outcome: Outcome) -> tuple[int, float, bytes]:
        """The best epoch of this run and the earlier one, the first of equals, with its value and model."""
        earlier, is_better = self._earlier, OBJECTIVES[self.progress.objective].is_better
        if earlier and earlier.best_value is not None and not is_better(outcome.best_value, earlier.best_value):
            return earlier.best_epoch, earlier.best_value, earlier.model
        return outcome.best_epoch, outcome.best_value, outcome.model

    def fail(self, job: Job, message: str, traceback: str) -> None:
        """Records a training that failed."""
        self._results.append(self._failed(job, message))

    def _failed(self, job: Job, message: str) -> Result:
        self.error = message
        tags = {"stop_reason": "failed", "message": message}
        return Result(job, Entry(job.start, now_ms(), "FAIL", history=tuple(job.epochs), tags=tags), {})

    def show(self, result: Result) -> None:
        """Nothing: the caller shows the result."""
