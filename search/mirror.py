"""Optuna's database with its reads answered from memory, for the one process that writes a study."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.storages import BaseStorage, InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState


class MirroredStorage(InMemoryStorage):
    """One study, written through to a database and read from memory.

    A sampler, a pruner and Optuna itself look at the trials many times a trial, and each look at a database costs
    milliseconds. Whoever holds the study's lock is its only writer, so what it wrote is all there is to know.
    Every write reaches the database before it is seen here.

    Args:
        backend: The database.
        name: The study's name; it is created where there is none.
    """

    def __init__(self, backend: BaseStorage, name: str) -> None:
        super().__init__()
        self._backend = backend
        self._ids: list[int] = []  # the database's trial ids by trial number, which are the ids here
        try:
            self._backend_study = backend.get_study_id_from_name(name)
        except KeyError:
            self._backend_study = backend.create_new_study([StudyDirection.MAXIMIZE], name)
        study_id = super().create_new_study(backend.get_study_directions(self._backend_study), name)
        for key, value in backend.get_study_user_attrs(self._backend_study).items():
            super().set_study_user_attr(study_id, key, value)
        for key, value in backend.get_study_system_attrs(self._backend_study).items():
            super().set_study_system_attr(study_id, key, value)
        for trial in backend.get_all_trials(self._backend_study):
            self._ids.append(trial._trial_id)
            super().create_new_trial(study_id, trial)

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        """Writes an attribute of the study."""
        self._backend.set_study_user_attr(self._backend_study, key, value)
        super().set_study_user_attr(study_id, key, value)

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        """Writes an attribute of the study that Optuna's own parts keep."""
        self._backend.set_study_system_attr(self._backend_study, key, value)
        super().set_study_system_attr(study_id, key, value)

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """Creates a trial; its number is the next one here and there."""
        self._ids.append(self._backend.create_new_trial(self._backend_study, template_trial))
        return int(super().create_new_trial(study_id, template_trial))

    def set_trial_param(
        self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution
    ) -> None:
        """Writes a value of a trial's configuration."""
        self._backend.set_trial_param(self._ids[trial_id], param_name, param_value_internal, distribution)
        super().set_trial_param(trial_id, param_name, param_value_internal, distribution)

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        """Moves a trial to a state; False where it was to be RUNNING and did not wait."""
        moved = self._backend.set_trial_state_values(self._ids[trial_id], state, values)
        return moved and bool(super().set_trial_state_values(trial_id, state, values))

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        """Writes what a trial reported of an epoch."""
        self._backend.set_trial_intermediate_value(self._ids[trial_id], step, intermediate_value)
        super().set_trial_intermediate_value(trial_id, step, intermediate_value)

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Writes an attribute of a trial."""
        self._backend.set_trial_user_attr(self._ids[trial_id], key, value)
        super().set_trial_user_attr(trial_id, key, value)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Writes an attribute of a trial that Optuna's own parts keep."""
        self._backend.set_trial_system_attr(self._ids[trial_id], key, value)
        super().set_trial_system_attr(trial_id, key, value)
