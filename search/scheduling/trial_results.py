"""What a trial came to, and the order in which it is kept: spool, Optuna, MLflow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import optuna

from search.home.settings import Settings
from search.optimization.leaderboard import TrialRow, trial_row
from search.optimization.run_records import files_of, metrics_of, result_of, tags_of
from search.scheduling.attempts import Attempt
from search.scheduling.recovery import tell
from search.storage.attributes import PRUNED_AT, RESULT
from search.storage.stored_study import StoredStudy
from search.tracking.entries import Entry, now_ms
from search.tracking.spool import remove_entry, write_entry
from search.tracking.tracker import Tracker
from search.workers.tasks import Outcome

_DISK_THREADS = 8
"""The disk writes several files through in the time of one."""


@dataclass(frozen=True, slots=True)
class TrialResult:
    """What a trial came to.

    Attributes:
        attempt: The last one.
        entry: What is kept of it.
        files: Artifacts by file name.
    """

    attempt: Attempt
    entry: Entry
    files: Mapping[str, bytes]

    def summary(self) -> str:
        """One line."""
        entry, value = self.entry, self.entry.result.get("best_val_accuracy")
        figures = "" if value is None else f" val_accuracy {value:.4f} at epoch {entry.result['best_epoch']}"
        return f"{entry.start.run_name} {entry.state.lower()}{figures}"


def trained(attempt: Attempt, outcome: Outcome) -> TrialResult:
    """The end of a trial that was trained, to its own end or the pruner's."""
    is_pruned = outcome.stop_reason in ("pruned", "diverged") or not outcome.best_epoch
    result = result_of(attempt.hyperparameters, outcome, attempt.slot.device)
    if attempt.pruned_at:
        result[PRUNED_AT] = attempt.pruned_at
    return _ending(attempt, "PRUNED" if is_pruned else "COMPLETE", result, metrics_of(result), files_of(outcome))


def failed(attempt: Attempt, message: str, traceback: str) -> TrialResult:
    """The end of a trial that is not to be trained again."""
    result: dict[str, Any] = {"params": asdict(attempt.hyperparameters), "message": message}
    result |= {"device": attempt.slot.device, "epochs_trained": len(attempt.epochs), "stop_reason": "failed"}
    return _ending(attempt, "FAIL", result, {}, {"traceback.txt": traceback.encode()})


def copied(attempt: Attempt, done: optuna.trial.FrozenTrial) -> TrialResult:
    """Gives a configuration that was trained before the result it had: equal training is not repeated."""
    result = done.user_attrs[RESULT] | {"copied_from": done.number, "duration_s": 0.0}
    result.pop(PRUNED_AT, None)  # one training is one observation of what pruning misses
    result.pop("usage", None)
    return _ending(attempt, done.state.name, result, metrics_of(result), {})


def _ending(
    attempt: Attempt, state: str, result: dict[str, Any], metrics: Mapping[str, float], files: Mapping[str, bytes]
) -> TrialResult:
    value = result["best_val_accuracy"] if state == "COMPLETE" else None
    # A verdict can come when the next epoch is in training already: what it ended is what counts.
    epochs, tags = tuple(attempt.epochs[: result["epochs_trained"]]), tags_of(state, result)
    entry = Entry(attempt.start, now_ms(), state, value, result, epochs, metrics, tags, attempt.trial.number)
    return TrialResult(attempt, entry, files)


class ResultWriter:
    """Keeps what trials came to.

    Args:
        study: The study.
        settings: Where the spool is.
        tracker: Carries the runs to MLflow.
        running: What is in training, by number; a trial leaves it once its result is on disk.
    """

    def __init__(self, study: StoredStudy, settings: Settings, tracker: Tracker, running: dict[int, Attempt]) -> None:
        self._study, self._settings, self._tracker, self._running = study, settings, tracker, running
        self._disk = ThreadPoolExecutor(_DISK_THREADS, "mlp-search spool")

    def keep(self, ended: Sequence[TrialResult]) -> list[TrialRow]:
        """Keeps what has ended, in the order in which nothing is lost.

        Returns:
            The trials that Optuna was told of; another process of a shared database has finished the others.
        """
        spool = self._settings.spool
        folders = list(self._disk.map(lambda ending: write_entry(spool, ending.entry, ending.files), ended))
        for ending in ended:  # not before: what cannot be kept is to be trained again
            self._running.pop(ending.attempt.trial.number, None)
        told = tell(self._settings, self._study, {e.attempt.trial.number: e.entry for e in ended})
        for ending, folder in zip(ended, folders, strict=True):
            if ending.attempt.trial.number in told:
                self._tracker.end(ending.entry.start.run_name, folder)
            else:
                remove_entry(folder)
                self._tracker.discard(ending.entry.start.run_name)
        numbers = [ending.attempt.trial.number for ending in ended]
        return [trial_row(self._study.trial(number), {}) for number in numbers if number in told]

    def requeue(self, attempt: Attempt) -> None:
        """Leaves a trial to be trained again, unless another process has finished it."""
        if self._study.requeue(attempt.trial.number):
            self._tracker.kill(attempt.start.run_name)
        else:
            self._tracker.discard(attempt.start.run_name)

    def close(self) -> None:
        """Ends its threads."""
        self._disk.shutdown()
