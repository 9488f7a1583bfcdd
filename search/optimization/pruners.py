"""Optuna's pruners as a study asks for them, and the trials that run on where they would be pruned."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import numpy as np
import optuna
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner, SuccessiveHalvingPruner
from optuna.trial import FrozenTrial

from search.optimization.seeds import audit_seed
from search.spec.study_spec import StudySpec
from search.storage.stored_study import StoredStudy

_REDUCTION_FACTOR = 3
_RUNG = "completed_rung_"  # the attribute in which Optuna's SuccessiveHalvingPruner notes a rung


def is_audited(spec: StudySpec, number: int) -> bool:
    """Whether a trial runs on where it would be pruned; it follows from the study's seed and the trial's number."""
    return bool(np.random.default_rng(audit_seed(spec.seed, number)).random() < spec.audit)


def make_pruner(spec: StudySpec) -> BasePruner:
    """One of Optuna's pruners; the resource is the epoch, and Hyperband is told the most there can be."""
    return {
        "hyperband": lambda: _Hyperband(1, spec.space.highest("epochs"), _REDUCTION_FACTOR),
        "asha": lambda: _SuccessiveHalving(spec.space.highest("epochs")),
        "median": MedianPruner,
        "none": NopPruner,
    }[spec.pruner]()


class _SuccessiveHalving(SuccessiveHalvingPruner):
    """Optuna's, between trials that are equally far in their own epochs: at a 27th, a ninth and a third of them.

    A learning rate that decays over a trial's epochs makes the short trial look good: in epoch 3 of 5 it is nearly
    done, in epoch 3 of 30 it has hardly begun.

    Args:
        epochs: Of a trial of which they are not a parameter.
    """

    _PARTS = _REDUCTION_FACTOR**3

    def __init__(self, epochs: int) -> None:
        super().__init__(1, _REDUCTION_FACTOR, 0)
        self._epochs = epochs

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        judged, epochs = copy.copy(trial), trial.params.get("epochs", self._epochs)
        judged.intermediate_values = {
            min(self._PARTS * epoch // epochs, self._PARTS - 1): value
            for epoch, value in trial.intermediate_values.items()
        }
        return bool(super().prune(study, judged))


class _Hyperband(HyperbandPruner):
    """Optuna's, with brackets that follow from a trial's number alone.

    Optuna's hash takes the study's name in, so that equal studies would differ; and it knows the brackets from its
    first verdict on only, so that a study that was resumed would draw its next trial from another part of the history.
    """

    def __init__(self, min_resource: int, max_resource: int, reduction_factor: int) -> None:
        super().__init__(min_resource, max_resource, reduction_factor)
        self._try_initialization(None)

    def _get_bracket_id(self, study: optuna.Study, trial: FrozenTrial) -> int:
        return int(super()._get_bracket_id(SimpleNamespace(study_name=""), trial))


def rung(trial: FrozenTrial) -> str | None:
    """The attribute of the last rung that a trial has reached, which has its value there; None without one."""
    rungs = (key for key in trial.system_attrs if key.startswith(_RUNG))
    return max(rungs, key=lambda key: int(key[len(_RUNG) :]), default=None)


def judge_again(study: StoredStudy, trial: optuna.Trial) -> bool:
    """Asks the pruner once more about a trial's last report, of which no answer has come down to us.

    Successive halving notes the rungs that a trial has reached, and judges none twice. A rung noted at the last
    report is therefore taken back first, in memory, which is what the one searcher of an embedded database reads; on
    a shared one, where nothing can be taken back, the trial goes on.
    """
    frozen = study.trial(trial.number)
    last = frozen.intermediate_values.get(frozen.last_step)
    if (reached := rung(frozen)) and frozen.system_attrs[reached] == last:
        del frozen.system_attrs[reached]
    return bool(trial.should_prune())
