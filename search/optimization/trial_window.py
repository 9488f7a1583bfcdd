"""The part of a long study that TPE looks at, in a space whose densities are quick to compute."""

from __future__ import annotations

import heapq
from collections.abc import Container
from operator import attrgetter

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

RECENT = 500
"""Number of the last trials that TPE looks at; of earlier ones it sees the best."""
_MANY_STEPS = 64
_NAME = "window"
_BEST = 25  # as many as TPE draws from, at most


def widened(distribution: BaseDistribution) -> BaseDistribution:
    """A long range of integers as a range of floats: TPE computes the density of each step by itself, in Python."""
    if not isinstance(distribution, IntDistribution):
        return distribution
    low, high, step = distribution.low, distribution.high, distribution.step
    if (high - low) / step < _MANY_STEPS:
        return distribution
    return FloatDistribution(low - step / 2, high + step / 2, log=distribution.log)


def rounded(value: object, distribution: BaseDistribution) -> object:
    """The value of a distribution that is nearest to a value of its ``widened`` form."""
    if not isinstance(distribution, IntDistribution):
        return value
    steps = round((value - distribution.low) / distribution.step)
    return min(max(distribution.low + steps * distribution.step, distribution.low), distribution.high)


class TrialWindow:
    """The part of a long study that TPE looks at: its last trials, and the best of all, from which it draws.

    Args:
        study: The study.

    Attributes:
        is_long: Whether the window is less than the whole.
        study: A study of the trials in the window.
    """

    def __init__(self, study: optuna.Study) -> None:
        trials = study.get_trials(deepcopy=False)
        self.is_long = len(trials) > RECENT
        older = [trial for trial in trials[:-RECENT] if trial.state == TrialState.COMPLETE]
        best = heapq.nlargest(_BEST, older, key=attrgetter("value"))
        storage = _WindowStorage(sorted(best, key=attrgetter("number")) + trials[-RECENT:])
        self.study = optuna.load_study(study_name=_NAME, storage=storage, sampler=study.sampler, pruner=study.pruner)


class _WindowStorage(InMemoryStorage):
    """Shows the trials of a window.

    TPE writes what it has drawn to the trial before that is recorded; here this is dropped, so that other processes
    see a trial no sooner than it has its configuration.
    """

    def __init__(self, trials: list[FrozenTrial]) -> None:
        super().__init__()
        self.create_new_study([StudyDirection.MAXIMIZE], _NAME)
        self._window = trials

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        return [trial for trial in self._window if states is None or trial.state in states]

    def set_trial_system_attr(self, trial_id: int, key: str, value: object) -> None:
        pass
