"""What processes that are gone have left of a study: results in spools, trials in training, runs still open."""

from __future__ import annotations

from collections.abc import Container, Mapping
from pathlib import Path

from optuna.trial import TrialState

from search.home.settings import Settings
from search.optimization.run_records import forget_run_id, record_result, record_run_id, unknown_runs
from search.storage.advisory_locks import exclusive_access
from search.storage.attributes import RESULT
from search.storage.cached_storage import FinishedElsewhereError
from search.storage.heartbeats import requeue_abandoned
from search.storage.stored_study import StoredStudy
from search.tracking.entries import Entry
from search.tracking.run_names import trial_run_name
from search.tracking.spool import collect_spools, entries, read_entry
from search.tracking.tracker import Tracker


class Recovery:
    """Finishes what others have begun, so that each trial ends once.

    Args:
        study: The study.
        settings: Of this process.
        tracker: Carries the runs to MLflow.
        in_training: Numbers of the trials that this process has in training.
    """

    def __init__(self, study: StoredStudy, settings: Settings, tracker: Tracker, in_training: Container[int]) -> None:
        self._study, self._settings, self._tracker, self._in_training = study, settings, tracker, in_training

    def begin(self) -> None:
        """Finishes what was left before this process began."""
        collect_spools(self._settings, self._study.study_name)
        for folder in entries(self._settings.spool, self._study.study_name):
            self._take_up(folder)
        self.recover()
        for run_name in unknown_runs(self._study):
            self._tracker.look_up(run_name)

    def recover(self) -> bool:
        """Takes up what was left since, as it can be on a shared database; whether trials wait to be trained again."""
        folders = collect_spools(self._settings, self._study.study_name)
        self._study.refresh()  # their trials may be newer than the last look
        for folder in folders:
            self._take_up(folder)
        parked = requeue_abandoned(self._settings, self._study)
        for trial in parked:
            self._tracker.kill_left(trial_run_name(trial.number))
        return bool(parked)

    def _take_up(self, folder: Path) -> None:
        """Finishes a result in the spool: Optuna may not have heard of it, MLflow has not."""
        entry = read_entry(folder)
        if entry.number is None:
            record_result(self._study, entry)
        elif entry.number in self._in_training:  # it will replace the entry
            return
        elif entry.number >= len(self._study.get_trials(deepcopy=False)):
            # A power cut cost Optuna the trial: it is drawn and trained again, and that replaces the entry.
            self._tracker.kill_left(entry.start.run_name)
            return
        else:
            tell(self._settings, self._study, {entry.number: entry})
        forget_run_id(self._study, entry.start.run_name)
        self._tracker.deliver(folder)

    def others_train(self) -> int:
        """How many trials other processes have in training."""
        if not self._settings.is_shared:
            return 0
        running = self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        return sum(trial.number not in self._in_training for trial in running)


def tell(settings: Settings, study: StoredStudy, entries: Mapping[int, Entry]) -> set[int]:
    """Tells Optuna results by trial number, in one transaction, unless it has them; the numbers that were told.

    Another process of a shared database, which has taken this one for dead, may have been faster.
    """
    told = {number for number in entries if not study.trial(number).state.is_finished()}
    try:
        with exclusive_access(settings, study), study.transaction():
            for number in told:
                if study.trial(number).state == TrialState.WAITING:
                    study.start(number)
                entry = entries[number]
                study.set_trial_attr(number, RESULT, dict(entry.result))
                study.tell(number, entry.value, TrialState[entry.state])
    except FinishedElsewhereError as overtaken:
        return told - overtaken.numbers
    return told


def record_runs(study: StoredStudy, tracker: Tracker) -> None:
    """Notes the runs in MLflow that were opened since the last call."""
    for run_name, run_id in tracker.opened():
        record_run_id(study, run_name, run_id)


def deliver_left(study: StoredStudy, settings: Settings, tracker: Tracker) -> None:
    """Notes and delivers what an earlier process left in the spool; trials wait for the search to go on.

    Args:
        study: Whose runs they are.
        settings: Where the spool is.
        tracker: Carries them to MLflow.
    """
    collect_spools(settings, study.study_name)
    finished = {t.number for t in study.get_trials(deepcopy=False) if t.state.is_finished()}
    for folder in entries(settings.spool, study.study_name):
        entry = read_entry(folder)
        if entry.number is None:
            record_result(study, entry)
        if entry.number is None or entry.number in finished:
            forget_run_id(study, entry.start.run_name)
            tracker.deliver(folder)
    for run_name in unknown_runs(study):
        tracker.look_up(run_name)
