"""Trials as jobs: asked from Optuna while the budget and the space have more, and pruned."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace

import optuna
from optuna.trial import FrozenTrial, TrialState

from pipelines.training.history import EpochReport
from search.devices.slots import Slot
from search.optimization.pruners import is_audited, judge_again
from search.optimization.samplers import TrialSampler, duplicate_of, is_exhausted
from search.optimization.seeds import trial_seed
from search.scheduling.clock.trial_clock import TrialClock
from search.scheduling.context import StudyContext
from search.scheduling.dispatcher import Job
from search.storage.attributes import PRUNED_AT, REQUEUED, VIRTUAL_SLOTS
from search.storage.sharing import exclusive_access, have_beaten
from search.tracking import now_ms
from search.tracking.run_names import trial_run_name
from search.workers.tasks import StopReason, Task

_MORE_SLOTS = (
    "the study has more slots than virtual slots: it gets {} virtual slots from trial {} on, so its later trials differ"
    " from those with fewer slots"
)


@dataclass(slots=True, kw_only=True)
class TrialJob(Job):
    """A trial to train.

    Attributes:
        trial: Optuna's trial.
        reported_before: The last epoch that Optuna has of an earlier attempt.
        pruned_at: The epoch at which an audited trial would have been pruned; 0 where it would not.
        waited_s: Seconds that its slot waited for results of other trials, before it began and while it trained.
    """

    trial: optuna.Trial
    reported_before: int = 0
    pruned_at: int = 0
    waited_s: float = 0.0


MAX_ASKED = 8
"""Last trials of a budget that are ordered by their length: each is shown as running before it has a slot."""


def _begun(job: TrialJob, slot: Slot) -> TrialJob:
    """A trial that begins now in a slot."""
    start = replace(job.start, started_ms=now_ms(), tags={**job.start.tags, "device": slot.device})
    return replace(job, slot=slot, start=start)


class TrialSource:
    """Asks Optuna for trials.

    Args:
        context: The study.

    Attributes:
        is_exhausted: Whether every configuration of the space has a trial.
        waits: Whether the next trial cannot begin yet, because it depends on results that are not there.
    """

    def __init__(self, context: StudyContext) -> None:
        self._context = context
        self._study = study = context.study
        has_clock = VIRTUAL_SLOTS in study.user_attrs
        self._clock = TrialClock(context.spec, study, context.shape) if has_clock else None
        self._start = 0
        self._sampler = TrialSampler(context.spec, study, self._past if has_clock else None)
        study.sampler = self._sampler
        spec = context.spec
        is_alone = has_clock and not context.settings.is_shared
        self._orders_freely = is_alone and spec.pruner == "none" and spec.timeout_s is None
        self._own = set[int]()
        self._began = time.monotonic()
        self.is_exhausted = False
        self.waits = False
        self._asked: list[TrialJob] = []  # trials without a slot, in the order in which they begin

    @property
    def has_clock(self) -> bool:
        """Whether the study has a virtual clock."""
        return self._clock is not None

    def is_over(self) -> bool:
        """Whether no further trial may begin; requeued trials have not used their part of the budget."""
        return self.is_exhausted or self._n_left() <= 0

    def has_begun_all(self) -> bool:
        """Whether no trial is left that may begin."""
        return self.is_over() and not self._asked

    def close(self) -> None:
        """Requeues the trials that have no slot yet."""
        for job in self._asked:
            self._study.requeue(job.number)

    def _n_left(self) -> float:
        """Number of trials of the budget that may still be asked for; infinite where a timeout alone ends the study."""
        budget = self._context.spec.trials
        if budget is None:
            return math.inf
        n_waiting = len(self._study.get_trials(deepcopy=False, states=(TrialState.WAITING,)))
        return budget - self._study.n_trials + n_waiting

    def ask(self, slots: Sequence[Slot]) -> list[TrialJob]:
        """Asks for a trial for each slot, requeued trials first; returns fewer where fewer are left."""
        self.waits = not self.is_over() and not self._may_begin(is_ahead=bool(self._asked))
        if not self.waits and not self.is_over():
            self._ask_for(slots)
        jobs, self._asked = self._asked[: len(slots)], self._asked[len(slots) :]
        return [_begun(job, slot) for job, slot in zip(jobs, slots, strict=False)]

    def _ask_for(self, slots: Sequence[Slot]) -> None:
        """Asks for a trial for each slot, or for the last ones of the budget together.

        Once all of these are asked for, the longest begins first, so that the slots end at about the same time. That
        needs a clock, which decides what each is drawn from, no pruner, which would wait for the trials of lower
        numbers, and no timeout, which could end before one that would have begun.
        """
        asked: list[TrialJob] = []
        n_asked = self._n_left() if self._orders_freely and self._n_left() <= MAX_ASKED else len(slots)
        with exclusive_access(self._context.settings, self._study):
            self._study.refresh()
            with self._study.transaction():
                while len(asked) < n_asked:
                    self.is_exhausted = self.is_exhausted or is_exhausted(self._study, self._context.spec.space)
                    is_ahead = bool(self._asked) or len(asked) >= len(slots)
                    self.waits = not self.is_over() and not self._may_begin(is_ahead=is_ahead)
                    if self.waits or self.is_over():
                        break
                    asked.append(self._ask(slots[0]))
        self._asked += asked
        if self._orders_freely and self.is_over():
            self._asked.sort(key=lambda job: -self._context.shape.nominal_s(job.hyperparameters))

    def _may_begin(self, *, is_ahead: bool = False) -> bool:
        """Whether the next trial is trained again, or its start on the virtual clock is known.

        Args:
            is_ahead: Whether it would have no slot yet: the clock needs no further virtual slot for it.
        """
        if self._clock is None:
            return True
        waiting = self._study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
        start = self._clock.start_of(waiting[0].number) if waiting else None
        if start is None:
            start = self._clock.next_start()
        may_add = start is None and not waiting and not is_ahead
        if may_add and self._are_alive() and (n_slots := self._clock.add_slot()):
            self._context.observer.note(_MORE_SLOTS.format(n_slots, self._study.n_trials))
            start = self._clock.next_start()
        self._start = start or 0
        return start is not None

    def _are_alive(self) -> bool:
        """Whether other processes train all trials that run and are not this one's.

        Those of a process that has died look alike until their heartbeats are missed, and they need no virtual slot.
        """
        if not self._context.settings.is_shared:
            return True
        running = self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        others = {trial.number for trial in running} - self._own
        return have_beaten(self._context.settings, self._study, others, time.monotonic() - self._began)

    def _past(self) -> list[FrozenTrial]:
        return self._clock.seen(self._start) if self._clock else []

    def _ask(self, slot: Slot) -> TrialJob:
        context, trial = self._context, self._study.ask()
        self._own.add(trial.number)
        self.record_heartbeats([trial])
        hyperparameters = context.spec.space.suggest(trial)
        if self._clock and self._clock.start_of(trial.number) is None:
            self._clock.begin(trial.number, hyperparameters, self._start)
        seed, precision = trial_seed(context.spec.seed, trial.number), context.shape.precision(hyperparameters)
        tags = {"trial": str(trial.number), "device": slot.device}
        stored = self._study.trial(trial.number)
        return TrialJob(
            start=context.run_start(trial_run_name(trial.number), hyperparameters, seed, **tags),
            task=Task(trial.number, hyperparameters, seed, objective=context.spec.metric, precision=precision),
            slot=slot,
            limit_s=context.spec.workers.trial_timeout_s,
            replaces_run=REQUEUED in trial.user_attrs,
            trial=trial,
            reported_before=max(stored.intermediate_values, default=0),
            pruned_at=stored.user_attrs.get(PRUNED_AT, 0),
        )

    def record_heartbeats(self, trials: Iterable[optuna.Trial]) -> None:
        """Shows other processes of a shared database that trials train: one without a heartbeat is never reclaimed."""
        if self._context.settings.is_shared:
            with self._study.transaction():
                for trial in trials:
                    self._study.record_heartbeat(trial.number)

    def duplicate_of(self, job: TrialJob) -> FrozenTrial | None:
        """A finished trial with the same configuration, where the sampler found no new one."""
        if job.number not in self._sampler.repeated:
            return None
        space = self._context.spec.space
        start = self._clock.start_of(job.number) if self._clock else None
        trials = self._study.get_trials(deepcopy=False)
        past = self._clock.past(start) if self._clock and start is not None else trials
        return duplicate_of(past, space, space.params(job.hyperparameters))

    def may_judge(self, job: TrialJob, epoch: int, without: Callable[[], Collection[int]]) -> bool:
        """Whether all is known that decides whether a trial is pruned after an epoch; see ``TrialClock.may_judge``."""
        if self._clock is None or job.pruned_at or epoch < job.reported_before:
            return True
        return self._clock.may_judge(job.number, epoch, without)

    def prune(self, job: TrialJob, report: EpochReport) -> StopReason | None:
        """Reports an epoch to Optuna and returns why the trial ends after it; None where it continues."""
        try:
            return "pruned" if self._is_pruned(job, report) else None
        except optuna.exceptions.UpdateFinishedTrialError:  # another process took this one for dead and finished it
            return "interrupted"

    def _is_pruned(self, job: TrialJob, report: EpochReport) -> bool:
        """Whether a trial is pruned; an audited trial only records where it would have been.

        From that epoch on Optuna gets no report of an audited trial, so that no other trial is compared with it. A
        ``[[start]]`` configuration is never pruned: it is known to be good, and the first two would prune each other.
        """
        if job.pruned_at:
            return False
        should_prune = self._should_prune(job, report)
        if self._context.spec.is_start(job.number) or not should_prune:
            return False
        if is_audited(self._context.spec, job.number):
            job.pruned_at = report.epoch
            job.trial.set_user_attr(PRUNED_AT, report.epoch)
            return False
        return True

    def _should_prune(self, job: TrialJob, report: EpochReport) -> bool:
        """Reports an epoch to Optuna and asks its pruner.

        A trial that trains again was not pruned before its last reported epoch, so the pruner is asked about that
        epoch and later ones only: the answer about the last one may have been lost.
        """
        if report.epoch < job.reported_before:
            return False
        is_new = report.epoch > job.reported_before
        if is_new:
            job.trial.report(report.metrics[self._context.spec.metric], report.epoch)
        if report.epoch == job.hyperparameters.epochs:
            return False
        if self._clock:
            return self._clock.should_prune(job.number, report.epoch, again=not is_new)
        return job.trial.should_prune() if is_new else judge_again(self._study, job.trial)
