"""The handle of a study: Optuna's own study, whose trials are addressed by their numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager

import optuna
from optuna.pruners import BasePruner
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from search.storage.attributes import ENQUEUED, REQUEUED
from search.storage.views import view


class StoredStudy(optuna.Study):
    """An Optuna study with the writes that a search needs besides ``ask``, ``report`` and ``tell``.

    Args:
        name: The study's name.
        storage: Holds the study: the database, or a ``CachedStorage`` of it.
        pruner: Judges the trials; Optuna's default where there is none.
    """

    def __init__(self, name: str, storage: BaseStorage, pruner: BasePruner | None = None) -> None:
        super().__init__(name, storage, pruner=pruner)
        self._stored = storage
        self._id = storage.get_study_id_from_name(name)

    @property
    def n_trials(self) -> int:
        """Number of trials in any state."""
        return len(self.get_trials(deepcopy=False))

    def trial(self, number: int) -> FrozenTrial:
        """A trial as it is now, not copied: a change of it is a change in memory."""
        return self._stored.get_trial(self._trial(number))

    def set_trial_attr(self, number: int, key: str, value: object) -> None:
        """Writes a user attribute of a trial.

        Raises:
            UpdateFinishedTrialError: The trial has ended.
        """
        self._stored.set_trial_user_attr(self._trial(number), key, value)

    def start(self, number: int) -> None:
        """Moves a waiting trial to RUNNING, without which ``tell`` refuses it."""
        self._stored.set_trial_state_values(self._trial(number), TrialState.RUNNING)

    def requeue(self, number: int) -> bool:
        """Makes an unfinished trial wait: the next process that asks trains it again, with the same seed.

        Returns:
            False where another process of a shared database has finished the trial.
        """
        try:
            self.set_trial_attr(number, REQUEUED, True)
            self._stored.set_trial_state_values(self._trial(number), TrialState.WAITING)
        except optuna.exceptions.UpdateFinishedTrialError:
            return False
        return True

    def enqueue(self, params: Mapping[str, object]) -> int:
        """Creates a trial that waits to be trained with these params; returns its number.

        Optuna's own ``enqueue_trial`` makes a trial of a template, which would be a write outside of a transaction.
        """
        with self.transaction():
            number = int(self._stored.create_new_trial(self._id))
            self._stored.set_trial_system_attr(self._trial(number), ENQUEUED, dict(params))
            self._stored.set_trial_state_values(self._trial(number), TrialState.WAITING)
        return number

    def record_heartbeat(self, number: int) -> None:
        """Records that this process trains a trial."""
        self._stored.record_heartbeat(self._trial(number))

    def view(self, trials: Sequence[FrozenTrial], *, keeps_writes: bool = True) -> optuna.Study:
        """This study with some of its trials only, for a sampler or a pruner.

        Args:
            trials: The trials of the view.
            keeps_writes: Whether the system attributes that a sampler or a pruner writes to a trial are written here.
        """
        return view(self, trials, self._stored if keeps_writes else None)

    def refresh(self, *numbers: int) -> None:
        """Reads what other processes wrote; see ``CachedStorage.refresh``."""
        self._stored.refresh(*numbers)

    def transaction(self) -> AbstractContextManager[object]:
        """A block whose writes reach the database together; see ``CachedStorage.transaction``."""
        context: AbstractContextManager[object] = self._stored.transaction()
        return context

    def _trial(self, number: int) -> int:
        return int(self._stored.get_trial_id_from_study_id_trial_number(self._id, number))
