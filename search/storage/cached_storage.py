"""A study in memory: reads are answered from there, writes reach Optuna's database a transaction at a time."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from optuna.distributions import BaseDistribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import InMemoryStorage, RDBStorage
from optuna.storages._rdb import models
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from search.storage.retries import retry
from search.storage.transactions import Transaction, commit, last_id

_NO_ID = 2**31 - 1  # above every id
_Trial: Any = models.TrialModel
_Attr: Any = models.TrialSystemAttributeModel
_retrying_commit = retry(commit)


class FinishedElsewhereError(UpdateFinishedTrialError):
    """Another process, which had taken this one for dead, has finished trials that it was about to write to.

    Args:
        numbers: Their numbers.
    """

    def __init__(self, numbers: set[int]) -> None:
        super().__init__(f"trials {sorted(numbers)}: another process has finished them")
        self.numbers = numbers


class CachedStorage(InMemoryStorage):
    """One study, written through to a database and read from memory.

    A sampler, a pruner and Optuna itself look at the trials many times a trial, and each look at a database costs
    milliseconds. Behind a study's lock this process is its only writer, so what it wrote is all there is to know; on a
    shared database ``refresh`` takes in what others wrote. A trial's id here is its number.

    Args:
        backend: The database.
        name: The study's name; it is created where there is none.
        shared: Whether other processes write to the study too.
    """

    def __init__(self, backend: RDBStorage, name: str, *, shared: bool = False) -> None:
        super().__init__()
        self._backend, self._shared = backend, shared
        self._ids: dict[int, int] = {}  # the database's trial ids by number
        self._numbers: dict[int, int] = {}  # and the other way round
        self._others: set[int] = set()  # unfinished trials that this process does not train
        self._writes, self._depth = Transaction(), 0
        try:
            self._row = backend.get_study_id_from_name(name)
        except KeyError:
            self._row = backend.create_new_study([StudyDirection.MAXIMIZE], name)
        study_id = super().create_new_study(backend.get_study_directions(self._row), name)
        for key, value in backend.get_study_user_attrs(self._row).items():
            super().set_study_user_attr(study_id, key, value)
        for key, value in backend.get_study_system_attrs(self._row).items():
            super().set_study_system_attr(study_id, key, value)
        for trial in backend.get_all_trials(self._row, deepcopy=False):
            self._place(trial)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything written inside goes to the database at the end, in one transaction: all of it or nothing.

        Raises:
            OvertakenError: Another process has finished some of the trials, as they show now; what was written of the
                others is there.
        """
        self._depth += 1
        try:
            yield
        except BaseException:
            if self._depth == 1:
                self._writes = Transaction()
            raise
        finally:
            self._depth -= 1
        if self._depth or not self._writes:
            return
        writes, self._writes = self._writes, Transaction()
        # A file does not come back by waiting.
        write = _retrying_commit if self._shared else commit
        overtaken = write(self._backend.engine, self._row, writes, self._ids)
        self._numbers |= {self._ids[number]: number for number in writes.begun}
        if overtaken:
            self._read(self._ids[number] for number in overtaken)
            raise FinishedElsewhereError(overtaken)

    def refresh(self, *trial_ids: int) -> None:
        """Takes in what other processes of a shared database wrote of their trials, and of the ones named."""
        if not self._shared:
            return
        looked_at = self._others | set(trial_ids)
        states, rungs = self._look([self._ids[number] for number in looked_at])
        self._read(row for row, state in states.items() if self._state(row) != state)
        for row, key, value in rungs:
            self._get_trial(self._numbers[row]).system_attrs[key] = json.loads(value)

    def _state(self, row: int) -> TrialState | None:
        """The state of a trial as it is known here; None for one that is new."""
        return self._get_trial(self._numbers[row]).state if row in self._numbers else None

    @retry
    def _look(self, rows: list[int]) -> tuple[dict[int, TrialState], list[Any]]:
        """The states of new trials and of these, and what the pruner notes of these."""
        last = last_id(self._ids)
        mine = sa.select(_Trial.trial_id, _Trial.state).where(_Trial.study_id == self._row)
        noted = sa.select(_Attr.trial_id, _Attr.key, _Attr.value_json).where(_Attr.trial_id.in_(rows))
        with self._backend.engine.connect() as connection:
            found = connection.execute(mine.where(sa.or_(_Trial.trial_id > last, _Trial.trial_id.in_(rows))))
            return dict(found.tuples().all()), list(connection.execute(noted)) if rows else []

    def _read(self, rows: Iterable[int]) -> None:
        if ids := set(rows):
            for trial in self._backend._get_trials(self._row, None, ids, _NO_ID):
                self._place(trial)

    def _place(self, trial: FrozenTrial) -> None:
        """Takes a trial over as the database has it."""
        number, row, is_new = trial.number, trial._trial_id, trial.number not in self._ids
        self._ids[number], self._numbers[row] = row, number
        if is_new:
            super().create_new_trial(0, trial)
        else:
            trial._trial_id = number
            self._set_trial(number, trial)
            self._update_cache(number, 0)
        self._own(number, trial.state, is_own=False)

    def _own(self, number: int, state: TrialState, *, is_own: bool) -> None:
        if state.is_finished() or is_own:
            self._others.discard(number)
        else:
            self._others.add(number)
        if state == TrialState.WAITING:  # Optuna looks for these from the first on that it knew
            self._prev_waiting_trial_number[0] = min(number, self._prev_waiting_trial_number[0])

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        """The study's attributes, those of other processes too."""
        if self._shared and not self._depth:
            return dict(self._backend.get_study_user_attrs(self._row))
        return dict(super().get_study_user_attrs(study_id))

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        """Writes an attribute of the study."""
        with self.transaction():
            super().set_study_user_attr(study_id, key, value)
            self._writes.user_attr(None, key, value)

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        """Writes an attribute of the study that Optuna's own parts keep."""
        with self.transaction():
            super().set_study_system_attr(study_id, key, value)
            self._writes.system_attr(None, key, value)

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """Creates a trial; its number is the next one here and there."""
        if template_trial:
            row = self._backend.create_new_trial(self._row, template_trial)
            self._read([row])
            return len(self._ids) - 1
        with self.transaction():
            number = int(super().create_new_trial(study_id))
            self._writes.begun[number] = self._get_trial(number)
        return number

    def set_trial_param(
        self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution
    ) -> None:
        """Writes a value of a trial's configuration."""
        with self.transaction():
            super().set_trial_param(trial_id, param_name, param_value_internal, distribution)
            self._writes.param(trial_id, param_name, param_value_internal, distribution)

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        """Moves a trial to a state; False where it was to be RUNNING and did not wait."""
        with self.transaction():
            if not super().set_trial_state_values(trial_id, state, values):
                return False
            self._own(trial_id, state, is_own=state == TrialState.RUNNING)
            self._writes.moved[trial_id] = self._get_trial(trial_id)
            for value in values or ():
                self._writes.value(trial_id, value)
        return True

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        """Writes what a trial reported of an epoch."""
        with self.transaction():
            super().set_trial_intermediate_value(trial_id, step, intermediate_value)
            self._writes.step(trial_id, step, intermediate_value)

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Writes an attribute of a trial."""
        with self.transaction():
            super().set_trial_user_attr(trial_id, key, value)
            self._writes.user_attr(trial_id, key, value)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Writes an attribute of a trial that Optuna's own parts keep."""
        with self.transaction():
            super().set_trial_system_attr(trial_id, key, value)
            self._writes.system_attr(trial_id, key, value)

    def record_heartbeat(self, trial_id: int) -> None:
        """Says that somebody is at work on a trial."""
        with self.transaction():
            self._writes.heartbeat(trial_id)
