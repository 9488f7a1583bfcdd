"""The handle of a study: Optuna's own study, whose trials are addressed by their numbers."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import cast

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.pruners import BasePruner
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from search.storage.attributes import REQUEUED
from search.storage.cached_storage import CachedStorage


class StoredStudy(optuna.Study):
    """An Optuna study with the writes that a search needs besides ``ask``, ``report`` and ``tell``.

    Args:
        name: The study's name.
        storage: Holds the study: the database, or a ``CachedStorage`` on it.
        pruner: Judges the trials; Optuna's default where there is none.
    """

    def __init__(self, name: str, storage: BaseStorage, pruner: BasePruner | None = None) -> None:
        super().__init__(name, storage, pruner=pruner)

    @property
    def n_trials(self) -> int:
        """Number of trials in any state."""
        return int(self._storage.get_n_trials(self._study_id))

    def trial(self, number: int) -> FrozenTrial:
        """A trial as it is now, not copied: what a caller changes in it, it changes in memory."""
        return self._storage.get_trial(self._id(number))

    def set_trial_attr(self, number: int, key: str, value: object) -> None:
        """Writes a user attribute of a trial.

        Raises:
            UpdateFinishedTrialError: The trial has ended.
        """
        self._storage.set_trial_user_attr(self._id(number), key, value)

    def start(self, number: int) -> None:
        """Moves a waiting trial to RUNNING, which Optuna asks of a trial before it is told."""
        self._storage.set_trial_state_values(self._id(number), TrialState.RUNNING)

    def requeue(self, number: int) -> bool:
        """Makes an unfinished trial wait: the next process that asks trains it again, with the same seed.

        Returns:
            False where another process of a shared database has finished the trial.
        """
        try:
            self.set_trial_attr(number, REQUEUED, True)
            self._storage.set_trial_state_values(self._id(number), TrialState.WAITING)
        except UpdateFinishedTrialError:
            return False
        return True

    def record_heartbeat(self, number: int) -> None:
        """Records that this process trains a trial."""
        self._storage.record_heartbeat(self._id(number))

    def refresh(self, *numbers: int) -> None:
        """Reads what other processes of a shared database wrote of their trials, and of the ones named."""
        self._cache.refresh(*numbers)

    def transaction(self) -> AbstractContextManager[object]:
        """A block whose writes reach the database together; see ``CachedStorage.transaction``."""
        return self._cache.transaction()

    @property
    def _cache(self) -> CachedStorage:
        return cast(CachedStorage, self._storage)

    def _id(self, number: int) -> int:
        return int(self._storage.get_trial_id_from_study_id_trial_number(self._study_id, number))
