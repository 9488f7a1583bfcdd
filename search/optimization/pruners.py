"""Optuna's pruners as a study asks for them, and the trials that train on where they would be pruned."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

import numpy as np
import optuna
from optuna.pruners import BasePruner, MedianPruner, NopPruner, SuccessiveHalvingPruner
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from search.optimization.seeds import audit_seed
from search.spec import StudySpec
from search.storage.attributes import RUNG
from search.storage.brackets import NumberedHyperband
from search.storage.stored_study import StoredStudy

_REDUCTION_FACTOR = 3
_PARTS = _REDUCTION_FACTOR**3  # of a trial's epochs: the first rung is after one of them


def is_audited(spec: StudySpec, number: int) -> bool:
    """Whether a trial trains on where it would be pruned; it follows from the study's seed and the trial's number."""
    return bool(np.random.default_rng(audit_seed(spec.seed, number)).random() < spec.audit)


def make_pruner(spec: StudySpec) -> BasePruner:
    """One of Optuna's pruners; the resource is the epoch, of which Hyperband gets the maximum."""
    return {
        "hyperband": lambda: NumberedHyperband(spec.space.highest("epochs"), _REDUCTION_FACTOR),
        "asha": lambda: _SuccessiveHalving(spec.space.highest("epochs")),
        "median": MedianPruner,
        "none": NopPruner,
    }[spec.pruner]()


class _SuccessiveHalving(SuccessiveHalvingPruner):
    """Optuna's pruner, with rungs at a 27th, a ninth and a third of each trial's own epochs.

    With rungs at fixed epochs, a learning rate that decays over a trial's epochs would favor short trials: in epoch 3
    of 5 the rate is nearly zero, in epoch 3 of 30 it has hardly decayed.

    Args:
        epochs: Epochs of a trial, where the study does not search them.
    """

    def __init__(self, epochs: int) -> None:
        super().__init__(1, _REDUCTION_FACTOR, 0)
        self._epochs = epochs

    def rungs(self, number: int, epochs: int) -> list[int]:
        """The first epoch that reaches each part: ``prune`` counts parts in whole numbers."""
        return [-(-part * epochs // _PARTS) for part in (1, _REDUCTION_FACTOR, _REDUCTION_FACTOR**2)]

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        epochs = trial.params.get("epochs", self._epochs)
        judged = copy.copy(trial)
        reports = trial.intermediate_values.items()
        judged.intermediate_values = {min(_PARTS * epoch // epochs, _PARTS - 1): value for epoch, value in reports}
        return bool(super().prune(study, judged))


def judged_epochs(pruner: BasePruner, number: int, epochs: int) -> tuple[int, ...]:
    """Epochs before its last one at which a pruner judges a trial; those of successive halving are its rungs.

    Args:
        pruner: From ``make_pruner``.
        number: The trial's.
        epochs: The trial's last epoch.
    """
    if isinstance(pruner, _SuccessiveHalving | NumberedHyperband):
        return tuple(epoch for epoch in pruner.rungs(number, epochs) if epoch < epochs)
    return () if isinstance(pruner, NopPruner) else tuple(range(1, epochs))


def shown_epochs(pruner: BasePruner, number: int, epochs: int) -> tuple[int, ...]:
    """Epochs of a trial by whose reports a pruner judges others; the median is that of complete trials."""
    return (epochs,) if isinstance(pruner, MedianPruner) else judged_epochs(pruner, number, epochs)


def as_of(trial: FrozenTrial, judged: Sequence[int], epochs: int) -> FrozenTrial:
    """A trial as it was while it trained, after so many epochs.

    Args:
        trial: The trial as it is now.
        judged: Its ``judged_epochs``.
        epochs: The number of epochs.
    """
    earlier = copy.copy(trial)
    earlier.state, earlier.values = TrialState.RUNNING, None
    earlier.intermediate_values = {e: value for e, value in trial.intermediate_values.items() if e <= epochs}
    values = trial.intermediate_values
    # A rung with another value was reached later: the value of its epoch was not a number.
    now = {key: trial.system_attrs.get(key) for key in (f"{RUNG}{number}" for number in range(len(judged)))}
    # Of a trial of another process only the rungs are known while it trains.
    later = {
        key for key, epoch in zip(now, judged, strict=True) if epoch > epochs or values.get(epoch, now[key]) != now[key]
    }
    earlier.system_attrs = {key: value for key, value in trial.system_attrs.items() if key not in later}
    return earlier


def best_so_far(trial: FrozenTrial, shown: Sequence[int], epochs: int, direction: StudyDirection) -> FrozenTrial | None:
    """A trial as if it were complete with the best value that it had shown after so many epochs; None before the first.

    Args:
        trial: The trial as it is now.
        shown: Its ``shown_epochs``.
        epochs: The number of epochs.
        direction: Of the study.
    """
    reports, rungs = trial.intermediate_values, trial.system_attrs
    values = [reports.get(e, rungs.get(f"{RUNG}{n}", math.nan)) for n, e in enumerate(shown) if e <= epochs]
    known = [value for value in values if not math.isnan(value)]
    if not known:
        return None
    earlier = copy.copy(trial)
    best = max(known) if direction == StudyDirection.MAXIMIZE else min(known)
    earlier.state, earlier.values = TrialState.COMPLETE, [best]
    return earlier


def last_judged(trial: FrozenTrial, judged: Sequence[int]) -> int:
    """The epoch of the last rung that a trial is known to have reached; 0 before the first."""
    return max((e for number, e in enumerate(judged) if f"{RUNG}{number}" in trial.system_attrs), default=0)


def rung(trial: FrozenTrial) -> str | None:
    """Key of the system attribute that holds a trial's value at the last rung it reached; None before the first."""
    rungs = (key for key in trial.system_attrs if key.startswith(RUNG))
    return max(rungs, key=lambda key: int(key[len(RUNG) :]), default=None)


def judge_again(study: StoredStudy, trial: optuna.Trial) -> bool:
    """Asks the pruner again about a trial's last report; see ``forget_last_rung``."""
    forget_last_rung(study, trial.number)
    return bool(trial.should_prune())


def forget_last_rung(study: StoredStudy, number: int) -> None:
    """Lets the pruner judge a trial's last report again, whose decision was lost with a process.

    Successive halving records the rungs that a trial has reached, and judges none twice. A rung recorded at the last
    report is therefore removed first, in memory, which is all that the one process of an embedded database reads; on a
    shared one the rung stays in the database, and the trial continues.
    """
    frozen = study.trial(number)
    last = frozen.intermediate_values.get(frozen.last_step)
    if (reached := rung(frozen)) and frozen.system_attrs[reached] == last:
        del frozen.system_attrs[reached]
