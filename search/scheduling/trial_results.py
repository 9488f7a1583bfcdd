"""Results of jobs, and the order in which they are persisted: spool, Optuna, MLflow."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial

from search.home.text import value_text
from search.optimization.leaderboard import best_value
from search.optimization.run_records import metrics_of, tags_of
from search.scheduling.dispatcher import J, Job
from search.scheduling.trial_source import TrialJob
from search.storage.attributes import PRUNED_AT, RESULT
from search.storage.transactions import StudyDeletedError
from search.tracking import Entry, Tracker, now_ms
from search.tracking.spool import remove_entry, write_entry

_DISK_THREADS = 8
"""The disk syncs several files in the time of one."""


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a job.

    Attributes:
        job: The job after its last attempt.
        entry: The persisted part of it.
        files: Artifacts by file name.
    """

    job: Job
    entry: Entry
    files: Mapping[str, bytes]

    def summary(self) -> str:
        """One line for the user."""
        entry = self.entry
        if entry.state == "FAIL":
            return f"{self.job.name} failed: {entry.result['message']}"
        value = best_value(entry.result)
        if value is None:
            return f"{self.job.name} {entry.state.lower()}"
        figures = f"{self.job.task.objective} {value_text(value)} at epoch {entry.result['best_epoch']}"
        return f"{self.job.name} {entry.state.lower()} {figures}"


def copied(job: TrialJob, original: FrozenTrial) -> Result:
    """The result of a trial with the configuration of a finished one: equal training is not repeated."""
    result = original.user_attrs[RESULT] | {"copied_from": original.number, "duration_s": 0.0}
    result.pop(PRUNED_AT, None)  # the audit counts a training once
    result.pop("usage", None)
    return ended(job, original.state.name, result, {})


def failed(job: Job, message: str, traceback: str) -> Result:
    """The result of a job that is not retried."""
    result: dict[str, Any] = {"params": job.hyperparameters.to_json(), "message": message}
    result |= {"device": job.slot.device, "precision": job.task.precision}
    result |= {"epochs_trained": len(job.epochs), "stop_reason": "failed"}
    return ended(job, "FAIL", result, {"traceback.txt": traceback.encode()})


def ended(job: Job, state: str, result: dict[str, Any], files: Mapping[str, bytes]) -> Result:
    """The result of a job that ended in one of Optuna's states."""
    entry = Entry(
        start=job.start,
        ended_ms=now_ms(),
        state=state,
        value=best_value(result) if state == "COMPLETE" else None,
        result=result,
        # The epoch after the last that counts may have been reported: it trains while the pruner decides.
        history=tuple(job.epochs[: result["epochs_trained"]]),
        metrics={} if state == "FAIL" else metrics_of(result),
        tags=tags_of(state, result),
        number=job.number if isinstance(job, TrialJob) else None,
    )
    return Result(job, entry, files)


@dataclass(frozen=True, slots=True)
class ResultWriter:
    """Persists results in the order in which a crash between two steps loses nothing: spool, Optuna, MLflow.

    Attributes:
        spool: Folder of the results that MLflow does not have yet.
        tracker: Sends runs to MLflow.
        report: Reports results to Optuna and returns the names of the runs that it accepted; None reports nothing.
    """

    spool: Path
    tracker: Tracker
    report: Callable[[Sequence[Entry]], Collection[str]] | None = None

    def write(self, results: Sequence[Result], running: dict[int, J]) -> list[Entry]:
        """Persists results.

        Args:
            results: The results.
            running: Jobs in training, by number; a job leaves it once its result is on disk.

        Returns:
            The entries that Optuna accepted. Another process of a shared database has finished the other trials.

        Raises:
            StudyDeletedError: Optuna does not have the study any more; MLflow gets the results.
            UnavailableError: The spool cannot be written; the jobs stay in ``running``.
        """
        with ThreadPoolExecutor(_DISK_THREADS, "mlp-search spool") as disk:
            folders = list(disk.map(lambda result: write_entry(self.spool, result.entry, result.files), results))
        for result in results:
            running.pop(result.job.number, None)
        entries = [result.entry for result in results]
        names = {result.job.name for result in results}
        try:
            accepted = self.report(entries) if self.report else names
        except StudyDeletedError:  # MLflow still gets what was trained
            for result, folder in zip(results, folders, strict=True):
                self.tracker.end(result.job.name, folder)
            raise
        for result, folder in zip(results, folders, strict=True):
            if result.job.name in accepted:
                self.tracker.end(result.job.name, folder)
            else:
                remove_entry(folder)
                self.tracker.discard(result.job.name)
        return [entry for entry in entries if entry.start.run_name in accepted]
