"""A study that shows some trials of another one, for samplers and pruners."""

from __future__ import annotations

from collections.abc import Sequence

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial

from search.storage.cached_storage import States

_NAME = "view"


def view(study: optuna.Study, trials: Sequence[FrozenTrial], storage: BaseStorage | None = None) -> optuna.Study:
    """A study with the given trials, and the direction, sampler and pruner of another one.

    Args:
        study: The other study.
        trials: The trials of the view.
        storage: Takes the system attributes that a sampler or a pruner writes to a trial; None drops them.
    """
    shown = _ViewStorage(study.direction, trials, storage)
    return optuna.load_study(study_name=_NAME, storage=shown, sampler=study.sampler, pruner=study.pruner)


class _ViewStorage(optuna.storages.InMemoryStorage):
    """Shows the trials of a view."""

    def __init__(
        self, direction: optuna.study.StudyDirection, trials: Sequence[FrozenTrial], storage: BaseStorage | None
    ) -> None:
        super().__init__()
        self.create_new_study([direction], _NAME)
        self._shown = trials
        self._written = storage

    def get_all_trials(self, study_id: int, deepcopy: bool = True, states: States = None) -> list[FrozenTrial]:
        return [trial for trial in self._shown if states is None or trial.state in states]

    def set_trial_system_attr(self, trial_id: int, key: str, value: object) -> None:
        if self._written is not None:
            self._written.set_trial_system_attr(trial_id, key, value)
