"""Recovers what dead processes left of a study: results in spools, trials in training, open runs."""

from __future__ import annotations

import math
from collections.abc import Container, Sequence
from pathlib import Path

from optuna.trial import TrialState

from search.home.settings import Settings
from search.optimization.leaderboard import columns_of
from search.optimization.run_records import record_result, record_run_id, unknown_runs
from search.storage.attributes import RESULT
from search.storage.cached_storage import FinishedElsewhereError
from search.storage.database import HEARTBEAT_S
from search.storage.sharing import exclusive_access, requeue_abandoned
from search.storage.stored_study import StoredStudy
from search.tracking import Entry, Tracker
from search.tracking.run_names import trial_run_name
from search.tracking.spool import collect_spools, entries, read_entry, remove_entry


class Recovery:
    """Finishes what other processes began, so that each trial ends once.

    Args:
        study: The study.
        settings: Places of this process, such as its spool.
        tracker: Sends runs to MLflow.
        in_training: Numbers of the trials that this process trains.
    """

    def __init__(
        self, study: StoredStudy, settings: Settings, tracker: Tracker, in_training: Container[int] = ()
    ) -> None:
        self._study, self._settings, self._tracker = study, settings, tracker
        self._in_training = in_training
        self._beat_at = math.inf  # before the first heartbeat there is nothing to compare
        self._grace_until: float | None = None

    def deliver_left(self) -> None:
        """Delivers the results that were left in spools before this process began, and looks up missing run ids."""
        collect_spools(self._settings, self._study.study_name)
        for folder in entries(self._settings.spool, self._study.study_name):
            self._finish(folder)
        for run_name in unknown_runs(self._study):
            self._tracker.look_up(run_name)

    def recover(self) -> bool:
        """Recovers what processes of a shared database left since; returns whether trials were requeued."""
        folders = collect_spools(self._settings, self._study.study_name)
        self._study.refresh()  # the trials of these results may be newer than the last refresh
        for folder in folders:
            self._finish(folder)
        requeued = requeue_abandoned(self._settings, self._study)
        for trial in requeued:
            self._tracker.kill_left(trial_run_name(trial.number))
        return bool(requeued)

    def recover_after_beat(self, now: float) -> bool:
        """Recovers as ``recover`` does, but where the database was away from this process, after a while.

        It was away from other processes, too: their last heartbeats are as old, although they live.

        Args:
            now: Seconds since some moment; this process has just recorded its heartbeats.
        """
        silent_s, self._beat_at = now - self._beat_at, now
        if silent_s > (HEARTBEAT_S if self._grace_until is None else 2 * HEARTBEAT_S):
            self._grace_until = now + 2 * HEARTBEAT_S
        if self._grace_until is not None and now < self._grace_until:
            return False
        self._grace_until = None
        return self.recover()

    def _finish(self, folder: Path) -> None:
        """Delivers a result of the spool: MLflow does not have it, and Optuna may not."""
        entry = read_entry(folder)
        if entry.number is None:
            record_result(self._study, entry)
        elif entry.number in self._in_training:  # its new result will replace the entry
            return
        elif entry.number >= self._study.n_trials:
            # A power cut cost Optuna the trial: it is drawn and trained again, and its result replaces the entry.
            self._tracker.kill_left(entry.start.run_name)
            return
        elif not tell(self._settings, self._study, [entry]) and self._has_other_result(entry):
            remove_entry(folder)
            return
        record_run_id(self._study, entry.start.run_name, "")
        self._tracker.deliver(folder)

    def _has_other_result(self, entry: Entry) -> bool:
        """Whether another process finished the trial of an entry, with a result and a run of its own."""
        recorded = self._study.trial(entry.number or 0).user_attrs.get(RESULT, {})
        return bool(recorded) and recorded.get("model_sha256") != entry.result.get("model_sha256")

    def others_train(self) -> int:
        """Number of trials that other processes train."""
        if not self._settings.is_shared:
            return 0
        running = self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        return sum(trial.number not in self._in_training for trial in running)


def tell(settings: Settings, study: StoredStudy, results: Sequence[Entry]) -> set[str]:
    """Tells Optuna results of trials in one transaction.

    Returns:
        The run names of those that Optuna took. It has the others already: another process of a shared database took
        this one for dead and finished their trials.
    """
    by_number = {entry.number: entry for entry in results if entry.number is not None}
    told = {number for number in by_number if not study.trial(number).state.is_finished()}
    try:
        with exclusive_access(settings, study), study.transaction():
            for number in told:
                if study.trial(number).state == TrialState.WAITING:
                    study.start(number)
                entry = by_number[number]
                study.set_trial_attr(number, RESULT, dict(entry.result))
                for key, value in columns_of(study.trial(number), entry.result, study.user_attrs).items():
                    study.set_trial_attr(number, key, value)
                study.tell(number, entry.value, TrialState[entry.state])
    except FinishedElsewhereError as error:
        told -= error.numbers
    return {by_number[number].start.run_name for number in told}


def record_runs(study: StoredStudy, tracker: Tracker) -> None:
    """Records the ids of the runs that MLflow opened since the last call."""
    for run_name, run_id in tracker.opened():
        record_run_id(study, run_name, run_id)
