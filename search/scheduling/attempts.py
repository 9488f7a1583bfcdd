"""A trial in a slot, and whether it goes on after an epoch."""

from __future__ import annotations

from dataclasses import dataclass

import optuna

from pipelines.config import Hyperparameters
from pipelines.training.history import EpochReport
from search.devices.slots import Slot
from search.optimization.pruners import is_audited, judge_again
from search.spec.study_spec import StudySpec
from search.storage.attributes import PRUNED_AT
from search.storage.stored_study import StoredStudy
from search.tracking.entries import Epoch, RunStart
from search.workers.tasks import StopReason, Task


@dataclass(slots=True)
class Attempt:
    """One try to train a trial.

    Attributes:
        trial: Optuna's.
        hyperparameters: Its configuration.
        start: What its run begins with.
        slot: Where it trains, or trained last.
        number: From 1; a trial whose process died gets another.
        reported_before: The last epoch that Optuna knows of an earlier attempt.
        epochs: What was reported since.
        pruned_at: The epoch at which it was spared by an audit; 0 where it was not.
        alone: Whether it is to have its device for itself.
    """

    trial: optuna.Trial
    hyperparameters: Hyperparameters
    start: RunStart
    slot: Slot
    number: int
    reported_before: int
    epochs: list[Epoch]
    pruned_at: int = 0
    alone: bool = False

    def task(self, time_left_s: float) -> Task:
        """What a slot is given to train, in so many seconds."""
        return Task(
            self.trial.number, self.hyperparameters, self.start.params["seed"], time_left_s, exclusive=self.alone
        )


def verdict(study: StoredStudy, spec: StudySpec, attempt: Attempt, report: EpochReport) -> StopReason | None:
    """Why a trial ends after an epoch; None where it goes on."""
    try:
        return "pruned" if _is_pruned(study, spec, attempt, report) else None
    except optuna.exceptions.UpdateFinishedTrialError:  # by another process, which had taken this one for dead
        return "interrupted"


def _is_pruned(study: StoredStudy, spec: StudySpec, attempt: Attempt, report: EpochReport) -> bool:
    """Whether the pruner ends a trial; one that is audited only notes where it would have ended.

    From there on Optuna is told nothing of it before its end, so that no other trial is judged by its epochs. A
    ``[[start]]`` goes on whatever the pruner says: it is known to be good, and the first two would judge each other.
    """
    if attempt.pruned_at:
        return False
    is_out = _is_judged_out(study, attempt, report)
    if spec.is_start(attempt.trial.number):
        return False
    if is_out and is_audited(spec, attempt.trial.number):
        attempt.pruned_at = report.epoch
        attempt.trial.set_user_attr(PRUNED_AT, report.epoch)
        return False
    return is_out


def _is_judged_out(study: StoredStudy, attempt: Attempt, report: EpochReport) -> bool:
    """Reports an epoch to Optuna and asks its pruner.

    A trial that is trained again was told to go on up to the epoch before its last report, and is not asked about
    those; the answer about the last one may have been lost.
    """
    is_last = report.epoch == attempt.hyperparameters.epochs
    if report.epoch > attempt.reported_before:
        attempt.trial.report(report.val_accuracy, report.epoch)
        return not is_last and attempt.trial.should_prune()
    return not is_last and report.epoch == attempt.reported_before and judge_again(study, attempt.trial)
