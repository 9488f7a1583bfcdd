"""One study in memory: reads are answered from there, writes reach Optuna's database in transactions."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, TypeAlias, TypeVar

import optuna
from optuna.storages import BaseStorage, InMemoryStorage, RDBStorage
from optuna.trial import FrozenTrial, TrialState

from search.storage.retries import retry
from search.storage.transactions import StudyDeletedError, Writes, commit, newest_id, read_changes

_DICTIONARIES = ("params", "distributions", "user_attrs", "system_attrs", "intermediate_values")
_FIELDS = ("state", "values", "datetime_start", "datetime_complete", *_DICTIONARIES)
_R = TypeVar("_R")
States: TypeAlias = Container[TrialState] | None
"""The states of the trials that a method of a storage returns; None for all."""


class FinishedElsewhereError(optuna.exceptions.UpdateFinishedTrialError):
    """Another process, which took this one for dead, has finished trials that this one was about to write to.

    Args:
        numbers: Their numbers.
    """

    def __init__(self, numbers: set[int]) -> None:
        super().__init__(f"trials {sorted(numbers)}: another process has finished them")
        self.numbers = numbers


def _written_through(write: Callable[..., _R]) -> Callable[..., _R]:
    """A write to a trial in memory that reaches the database with the transaction it is part of."""

    @wraps(write)
    def written(self: CachedStorage, trial_id: int, *args: object, **kwargs: object) -> _R:
        with self.transaction() as before:
            trial = _copy(self.get_trial(trial_id))
            result = write(self, trial_id, *args, **kwargs)
            if result is not False:  # the state stayed as it was
                before.setdefault(trial_id, trial)
        return result

    return written


def _copy(trial: FrozenTrial) -> FrozenTrial:
    """A copy that stays as it is: a ``Trial`` shares the dictionaries of the trial in memory, and writes to them."""
    copied = copy.copy(trial)
    for field in _DICTIONARIES:
        setattr(copied, field, dict(getattr(trial, field)))
    return copied


class CachedStorage(InMemoryStorage):
    """One study, written through to a database and read from memory.

    A sampler, a pruner and Optuna itself look at the trials many times a trial, and each look at a database costs
    milliseconds. Behind a study's lock this process is its only writer, so memory holds all there is; on a shared
    database ``refresh`` reads what others wrote. A trial's id in this storage is its number.

    Args:
        database: Optuna's database.
        name: The study's name; it is created where there is none.
        direction: Of its objective, where it is created.
        shared: Whether other processes write to the study too.
    """

    def __init__(self, database: RDBStorage, name: str, direction: str = "maximize", *, shared: bool = False) -> None:
        super().__init__()
        self._database = database
        self._shared = shared
        self._ids: dict[int, int] = {}  # the database's id of each trial, by number
        self._own: set[int] = set()  # trials that this process trains
        # What is written in the transaction: the trials as they were, None for new ones, and the rest.
        self._before: dict[int, FrozenTrial | None] = {}
        self._study_attrs: dict[str, object] = {}
        self._heartbeats: set[int] = set()
        self._is_writing = False
        # A server comes back; a file does not come back by waiting.
        self._commit, self._read_changes = (retry(commit), retry(read_changes)) if shared else (commit, read_changes)
        optuna.create_study(storage=database, study_name=name, direction=direction, load_if_exists=True)
        self._row = database.get_study_id_from_name(name)
        study_id = super().create_new_study(database.get_study_directions(self._row), name)
        for key, value in database.get_study_user_attrs(self._row).items():
            super().set_study_user_attr(study_id, key, value)
        for trial in database.get_all_trials(self._row, deepcopy=False):
            self._place(trial)

    @contextmanager
    def transaction(self) -> Iterator[dict[int, FrozenTrial | None]]:
        """Writes made inside reach the database at the end, in one transaction: all of them or none.

        Yields:
            The trials that were written to, as they were before; None for new ones.

        Raises:
            FinishedElsewhereError: Another process has finished some of the trials, and they show as finished from
                now on; the writes to the others were made.
        """
        if self._is_writing:  # a part of the transaction around it
            yield self._before
            return
        self._is_writing = True
        try:
            yield self._before
        finally:
            self._is_writing = False
            changes = {number: (before, self.get_trial(number)) for number, before in self._before.items()}
            running = {number for number, (_, trial) in changes.items() if trial.state == TrialState.RUNNING}
            self._own = (self._own - changes.keys()) | running
            writes = Writes(changes, self._study_attrs, self._heartbeats)
            self._before, self._study_attrs, self._heartbeats = {}, {}, set()
        if not (writes.trials or writes.study_attrs or writes.heartbeats):
            return
        if finished := self._commit(self._database.engine, self._row, writes, self._ids):
            for number in finished:
                self._place(self._database.get_trial(self._ids[number]))
            raise FinishedElsewhereError(finished)

    def refresh(self, *numbers: int) -> None:
        """Reads what other processes of a shared database wrote of their trials, and of the ones named.

        Rungs that a pruner noted are read of running trials too: other trials are judged by them.
        """
        if not self._shared:
            return
        unfinished = self.get_all_trials(0, deepcopy=False, states=(TrialState.RUNNING, TrialState.WAITING))
        watched = {trial.number for trial in unfinished} - self._own
        ids = [self._ids[number] for number in watched.union(numbers)]
        trials, notes = self._read_changes(self._database.engine, self._row, newest_id(self._ids), ids)
        for trial_id, number, state in trials:
            if number not in self._ids or self.get_trial(number).state != state:
                self._place(self._database.get_trial(trial_id))
        for number, key, value in notes:
            self.get_trial(number).system_attrs[key] = json.loads(value)

    def _place(self, trial: FrozenTrial) -> None:
        """Puts a trial into memory as the database has it."""
        if trial.number in self._ids:
            known = self.get_trial(trial.number)
            for field in _FIELDS:
                setattr(known, field, getattr(trial, field))
        else:
            self._ids[trial.number] = trial._trial_id  # Optuna shows a trial's id nowhere else
            super().create_new_trial(0, trial)

    get_best_trial = BaseStorage.get_best_trial  # the parent's does not notice a trial that another process finished

    def get_all_trials(self, study_id: int, deepcopy: bool = True, states: States = None) -> list[FrozenTrial]:
        """The trials; a waiting one is found even where another process has requeued it."""
        # Given a tuple, the parent would look for waiting trials only behind the last one that it found.
        chosen = None if states is None else [state for state in TrialState if state in states]
        return list(super().get_all_trials(study_id, deepcopy, chosen))

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        """The study's attributes, those of other processes too."""
        if self._shared and not self._is_writing:
            try:
                return dict(self._database.get_study_user_attrs(self._row))
            except KeyError as error:
                raise StudyDeletedError from error
        return dict(super().get_study_user_attrs(study_id))

    def set_study_user_attr(self, study_id: int, key: str, value: object) -> None:
        """Writes an attribute of the study."""
        with self.transaction():
            super().set_study_user_attr(study_id, key, value)
            self._study_attrs[key] = value

    def create_new_trial(self, study_id: int, template_trial: None = None) -> int:
        """Creates a trial; its number is the next one here and in the database."""
        with self.transaction() as before:
            number = int(super().create_new_trial(study_id))
            before[number] = None
        return number

    set_trial_param = _written_through(InMemoryStorage.set_trial_param)
    set_trial_state_values = _written_through(InMemoryStorage.set_trial_state_values)
    set_trial_intermediate_value = _written_through(InMemoryStorage.set_trial_intermediate_value)
    set_trial_user_attr = _written_through(InMemoryStorage.set_trial_user_attr)
    set_trial_system_attr = _written_through(InMemoryStorage.set_trial_system_attr)

    def record_heartbeat(self, trial_id: int) -> None:
        """Records that this process trains a trial."""
        with self.transaction():
            self._heartbeats.add(trial_id)
