"""Optuna's Hyperband with brackets that follow from a trial's number alone."""

from __future__ import annotations

from types import SimpleNamespace

import optuna
from optuna.pruners import HyperbandPruner
from optuna.trial import FrozenTrial


class NumberedHyperband(HyperbandPruner):
    """Optuna's pruner, with brackets that follow from a trial's number alone.

    Optuna hashes the study's name as well, so that equal studies of two names would differ; and it makes the brackets
    at the first decision, so that a resumed study would draw its next trial from another bracket. Neither is an option
    of Optuna, hence the two private methods.

    Args:
        max_resource: Epochs of the longest trial.
        reduction_factor: One trial of so many continues after a rung.
    """

    def __init__(self, max_resource: int, reduction_factor: int) -> None:
        super().__init__(1, max_resource, reduction_factor)
        self._try_initialization(None)
        self._epochs, self._factor = max_resource, reduction_factor

    def rungs(self, number: int, epochs: int) -> list[int]:
        """Powers of the reduction factor, from that of the trial's bracket on."""
        bracket = self._get_bracket_id(self, SimpleNamespace(number=number))
        powers = [self._factor**power for power in range(self._epochs.bit_length())]
        return powers[bracket:]

    def _get_bracket_id(self, study: optuna.Study, trial: FrozenTrial) -> int:
        return int(super()._get_bracket_id(SimpleNamespace(study_name=""), trial))
