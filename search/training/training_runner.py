"""The runner of a single training, which may continue an earlier run."""

from __future__ import annotations

from dataclasses import replace

from pipelines.training.history import EpochReport, sha256
from search.devices.slots import Slot
from search.scheduling.dispatcher import Job
from search.scheduling.job_runner import JobRunner
from search.scheduling.progress import Observer, Progress
from search.scheduling.trial_results import Result, ResultWriter
from search.tracking.entries import CHECKPOINT_FILE, MODEL_FILE, Entry, now_ms
from search.training.continuation import CHECKPOINT_TAG, EPOCHS_TAG, MODEL_TAG, Earlier
from search.workers.pool import Pool
from search.workers.tasks import Outcome, StopReason

_DIVERGED = "the loss was not a number in the first epoch: lower --learning-rate, or scale the inputs"


class TrainingRunner(JobRunner[Job]):
    """Trains one job.

    Args:
        pool: A pool of one slot.
        observer: Is told every epoch.
        writer: Persists the run.
        job: What to train.
        earlier: The run that the job continues; None for a new one.

    Attributes:
        ending: The run's entry; there is one once ``run`` has returned.
    """

    ending: Entry

    def __init__(self, pool: Pool, observer: Observer, writer: ResultWriter, job: Job, earlier: Earlier | None) -> None:
        super().__init__(pool, observer, Progress(job.start.study), writer)
        self._writer: ResultWriter = writer
        self._jobs = [job]
        self._earlier = earlier

    def next_job(self) -> Job | None:
        """The job, once."""
        return self._jobs.pop() if self._jobs else None

    def submit(self, job: Job, slot: Slot) -> None:
        """Starts an attempt; its run begins with the epochs of the earlier run."""
        super().submit(job, slot)
        for epoch in self._earlier.history if self._earlier else ():
            job.epochs.append(replace(epoch, at_ms=job.start.started_ms))
            self._writer.tracker.log_epoch(job.name, job.epochs[-1])

    def announce_interruption(self) -> None:
        """Nothing: the epoch in training counts, and the answer to its report ends the training."""

    def decide(self, job: Job, report: EpochReport) -> StopReason | None:
        """Shows an epoch."""
        self._observer.epoch(report)
        return None

    def finish(self, job: Job, outcome: Outcome) -> None:
        """Records a training, though an interruption ended it: it can be continued."""
        best_epoch, best_value, model = self._best(outcome)
        if not best_epoch and outcome.stop_reason == "diverged":
            self.fail(job, _DIVERGED, "")
            return
        state = "INTERRUPTED" if outcome.stop_reason == "interrupted" else "COMPLETE"
        metrics = {"duration_s": round(outcome.duration_s, 3), **outcome.device_metrics}
        if best_epoch:
            metrics |= {"best_val_accuracy": best_value, "best_epoch": best_epoch}
        n_epochs = (self._earlier.checkpoint.epochs if self._earlier else 0) + len(outcome.history)
        tags = {"stop_reason": outcome.stop_reason, CHECKPOINT_TAG: sha256(outcome.checkpoint)}
        tags |= {EPOCHS_TAG: str(n_epochs)} | ({MODEL_TAG: sha256(model)} if model else {})
        self._end(job, state, metrics, tags, {MODEL_FILE: model, CHECKPOINT_FILE: outcome.checkpoint})

    def _best(self, outcome: Outcome) -> tuple[int, float, bytes]:
        """The best epoch of this run and the earlier one, the first of equals, with its value and model."""
        earlier = self._earlier
        if earlier and earlier.best_epoch and earlier.best_val_accuracy >= outcome.best_val_accuracy:
            return earlier.best_epoch, earlier.best_val_accuracy, earlier.model
        return outcome.best_epoch, outcome.best_val_accuracy, outcome.model

    def fail(self, job: Job, message: str, traceback: str) -> None:
        """Records a training that failed."""
        self._end(job, "FAIL", {}, {"stop_reason": "failed", "message": message}, {})

    def _end(
        self, job: Job, state: str, metrics: dict[str, float], tags: dict[str, str], files: dict[str, bytes]
    ) -> None:
        self.ending = Entry(job.start, now_ms(), state, history=tuple(job.epochs), metrics=metrics, tags=tags)
        self._results.append(Result(job, self.ending, files))

    def show(self, result: Result) -> None:
        """Nothing: the caller shows the result."""
