"""Optuna's pruners as a study asks for them, and the trials that train on where they would be pruned."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import numpy as np
import optuna
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner, SuccessiveHalvingPruner
from optuna.trial import FrozenTrial

from search.optimization.seeds import audit_seed
from search.spec import StudySpec
from search.storage.stored_study import StoredStudy

_REDUCTION_FACTOR = 3
_PARTS = _REDUCTION_FACTOR**3  # of a trial's epochs: the first rung is after one of them
_RUNG = "completed_rung_"  # prefix of the system attributes of Optuna's SuccessiveHalvingPruner


def is_audited(spec: StudySpec, number: int) -> bool:
    """Whether a trial trains on where it would be pruned; it follows from the study's seed and the trial's number."""
    return bool(np.random.default_rng(audit_seed(spec.seed, number)).random() < spec.audit)


def make_pruner(spec: StudySpec) -> BasePruner:
    """One of Optuna's pruners; the resource is the epoch, of which Hyperband gets the maximum."""
    return {
        "hyperband": lambda: _Hyperband(1, spec.space.highest("epochs"), _REDUCTION_FACTOR),
        "asha": lambda: _SuccessiveHalving(spec.space.highest("epochs")),
        "median": MedianPruner,
        "none": NopPruner,
    }[spec.pruner]()


class _SuccessiveHalving(SuccessiveHalvingPruner):
    """Optuna's pruner, with rungs at a 27th, a ninth and a third of each trial's own epochs.

    With rungs at fixed epochs, a learning rate that decays over a trial's epochs would favour short trials: in epoch 3
    of 5 the rate is nearly zero, in epoch 3 of 30 it has hardly decayed.

    Args:
        epochs: Epochs of a trial, where the study does not search them.
    """

    def __init__(self, epochs: int) -> None:
        super().__init__(1, _REDUCTION_FACTOR, 0)
        self._epochs = epochs

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        epochs = trial.params.get("epochs", self._epochs)
        judged = copy.copy(trial)
        reports = trial.intermediate_values.items()
        judged.intermediate_values = {min(_PARTS * epoch // epochs, _PARTS - 1): value for epoch, value in reports}
        return bool(super().prune(study, judged))


class _Hyperband(HyperbandPruner):
    """Optuna's pruner, with brackets that follow from a trial's number alone.

    Optuna hashes the study's name as well, so that equal studies of two names would differ; and it makes the brackets
    at the first decision, so that a resumed study would draw its next trial from another bracket. Neither is an option
    of Optuna, hence the two overridden private methods.
    """

    def __init__(self, min_resource: int, max_resource: int, reduction_factor: int) -> None:
        super().__init__(min_resource, max_resource, reduction_factor)
        self._try_initialization(None)

    def _get_bracket_id(self, study: optuna.Study, trial: FrozenTrial) -> int:
        return int(super()._get_bracket_id(SimpleNamespace(study_name=""), trial))


def rung(trial: FrozenTrial) -> str | None:
    """Key of the system attribute that holds a trial's value at the last rung it reached; None before the first."""
    rungs = (key for key in trial.system_attrs if key.startswith(_RUNG))
    return max(rungs, key=lambda key: int(key[len(_RUNG) :]), default=None)


def judge_again(study: StoredStudy, trial: optuna.Trial) -> bool:
    """Asks the pruner again about a trial's last report, whose answer was lost with a process.

    Successive halving records the rungs that a trial has reached, and judges none twice. A rung recorded at the last
    report is therefore removed first, in memory, which is all that the one process of an embedded database reads; on a
    shared one the rung stays in the database, and the trial continues.
    """
    frozen = study.trial(trial.number)
    last = frozen.intermediate_values.get(frozen.last_step)
    if (reached := rung(frozen)) and frozen.system_attrs[reached] == last:
        del frozen.system_attrs[reached]
    return bool(trial.should_prune())
