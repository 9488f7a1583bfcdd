"""A long study as TPE sees it: a part of its trials, in a space that is quick to weigh."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from operator import attrgetter
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

RECENT = 500
"""Trials that TPE looks at besides the best: those before them it knows by these alone."""
_MANY_STEPS = 64
_BEST = 25  # as many as TPE draws from, at most


def smooth(distribution: BaseDistribution) -> BaseDistribution:
    """A long range of whole numbers as one of numbers: TPE computes the share of each step one by one, in Python."""
    if not isinstance(distribution, IntDistribution):
        return distribution
    low, high, step = distribution.low, distribution.high, distribution.step
    if (high - low) / step < _MANY_STEPS:
        return distribution
    return FloatDistribution(low - step / 2, high + step / 2, log=distribution.log)


def exact(value: Any, distribution: BaseDistribution) -> Any:
    """A value of a distribution, from one that ``smooth`` let lie between two of them."""
    if not isinstance(distribution, IntDistribution):
        return value
    steps = round((value - distribution.low) / distribution.step)
    return min(max(distribution.low + steps * distribution.step, distribution.low), distribution.high)


class TrialWindow:
    """What TPE sees of a study: its last trials, and the best of all, from which it draws.

    Args:
        study: The study.

    Attributes:
        is_long: Whether it is less than the whole.
    """

    def __init__(self, study: optuna.Study) -> None:
        self._study, self._storage = study, _Nowhere()
        trials = study._get_trials(deepcopy=False)
        self.is_long = len(trials) > RECENT
        older = [trial for trial in trials[:-RECENT] if trial.state == TrialState.COMPLETE]
        best = heapq.nlargest(_BEST, older, key=attrgetter("value"))
        self._trials = sorted(best, key=attrgetter("number")) + trials[-RECENT:]

    def _get_trials(self, states: Sequence[TrialState], **_: bool) -> list[FrozenTrial]:
        return [trial for trial in self._trials if trial.state in states]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._study, name)


class _Nowhere:
    """A storage that keeps nothing: the other processes see a trial no sooner than it has its configuration."""

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Nothing: TPE would publish what it has drawn before it is recorded."""
