"""The virtual clock of a study, kept in step with the study's trials."""

from __future__ import annotations

from collections.abc import Callable, Collection

import optuna
from optuna.trial import FrozenTrial

from pipelines.config import Hyperparameters
from pipelines.errors import SpecError
from search.devices.work import NOMINAL_ONCE_US, Shape
from search.home.settings import Settings
from search.optimization.pruners import (
    as_of,
    best_so_far,
    forget_last_rung,
    is_audited,
    judged_epochs,
    last_judged,
    shown_epochs,
)
from search.optimization.studies import is_begun
from search.scheduling.clock.virtual_clock import Course, VirtualClock
from search.spec.study_spec import StudySpec
from search.storage import StoredStudy
from search.storage.attributes import PRUNED_AT, RESULT, VIRTUAL, VIRTUAL_SLOTS

_DEFAULT_SLOTS = 8
"""Virtual slots of a study that has no more real ones: with any number up to it the study has the same trials."""

_DELAY_EPOCHS = 2
"""Epochs of a typical network from a report to its judgment. Without a delay a small network that trains fast would be
compared with few others, and trials train a third longer; with a longer one slots wait more. It must not change: where
trials are pruned follows from it."""


class TrialClock:
    """Says when trials begin on the virtual clock, and shows samplers and pruners what each may use.

    What is needed is recorded with the trials: their start and the duration of an epoch. After a kill the clock is read
    from there.

    Args:
        spec: The study.
        study: Its trials. It has virtual slots.
        shape: The properties of the dataset that decide the cost of a training.
    """

    def __init__(self, spec: StudySpec, study: StoredStudy, shape: Shape) -> None:
        self._spec, self._study, self._shape = spec, study, shape
        # A generation of CMA-ES needs final values; random and grid learn nothing, and for gp it was not measured.
        self._shows_reports = spec.sampler == "tpe"
        delay = _DELAY_EPOCHS * shape.nominal_us(Hyperparameters())
        self._clock = VirtualClock(study.user_attrs[VIRTUAL_SLOTS], delay, needs_reports=self._shows_reports)
        self._unread: list[int] = []  # trials without a start
        self._n_trials = 0
        self.update()

    def update(self) -> None:
        """Reads what the trials have become since, by this process and by others."""
        trials = self._study.get_trials(deepcopy=False)
        unread, self._unread = [*self._unread, *range(self._n_trials, len(trials))], []
        self._n_trials = len(trials)
        for number in unread:
            if VIRTUAL in trials[number].user_attrs:
                self._clock.add(number, self._course(trials[number]))
            elif not trials[number].state.is_finished():  # enqueued, or another program's
                self._unread.append(number)
        for number, course in self._clock.unfinished().items():
            self._follow(course, trials[number])

    def _course(self, trial: FrozenTrial) -> Course:
        start, once, epoch = trial.user_attrs[VIRTUAL]
        number, last = trial.number, self._spec.space.hyperparameters(trial.params).epochs
        judged = judged_epochs(self._study.pruner, number, last)
        may_end = () if self._spec.is_start(number) or is_audited(self._spec, number) else judged
        return Course(start, epoch, last, may_end, shown_epochs(self._study.pruner, number, last), once=once)

    def _judged(self, number: int) -> tuple[int, ...]:
        return judged_epochs(self._study.pruner, number, self._clock.courses[number].last)

    def _follow(self, course: Course, trial: FrozenTrial) -> None:
        reported = max(trial.intermediate_values, default=0)
        # Of the trials of other processes only the rungs are read while they train.
        judged = judged_epochs(self._study.pruner, trial.number, course.last)
        course.reported = max(course.reported, reported, last_judged(trial, judged))
        course.continued = max(course.continued, course.reported - 1)
        if PRUNED_AT in trial.user_attrs:  # Optuna gets no further report of it
            course.shown = tuple(epoch for epoch in course.shown if epoch == course.last)
        if trial.state.is_finished():
            course.end = _end(course, trial)

    def begin(self, number: int, hyperparameters: Hyperparameters, start: int) -> None:
        """Records the start of a trial that was asked for."""
        durations = [NOMINAL_ONCE_US, self._shape.nominal_us(hyperparameters)]
        self._study.set_trial_attr(number, VIRTUAL, [start, *durations])
        self.update()

    def next_start(self) -> int | None:
        """The start of the next trial; None while it is not known."""
        self.update()
        return self._clock.next_start()

    def start_of(self, number: int) -> int | None:
        """The start of a trial, where it is recorded."""
        recorded = self._study.trial(number).user_attrs.get(VIRTUAL)
        return int(recorded[0]) if recorded else None

    def add_slot(self) -> int:
        """Adds a virtual slot where all of them have trials that really train.

        Returns:
            The new number of virtual slots; 0 where there are enough.
        """
        if not self._clock.is_full:
            return 0
        recorded = self._study.user_attrs.get(VIRTUAL_SLOTS, 0)  # another process may have added one
        n_slots = max(self._clock.n_slots + 1, int(recorded))
        self._study.set_user_attr(VIRTUAL_SLOTS, n_slots)
        self._clock.n_slots = n_slots
        return n_slots

    def past(self, time: int) -> list[FrozenTrial]:
        """The trials that had ended by a time; another program's always had."""
        trials = self._study.get_trials(deepcopy=False)
        return [trial for trial in trials if trial.state.is_finished() and self._had_ended(trial.number, time)]

    def seen(self, time: int) -> list[FrozenTrial]:
        """The trials that a sampler may use at a time: those that had ended, and for TPE those that had reached a rung.

        The latter are shown as complete with their best value so far. Without them a sampler would know least of the
        trials that train longest, which are the best ones.
        """
        if not self._shows_reports:
            return self.past(time)
        trials = self._study.get_trials(deepcopy=False)
        seen = (trial if self._had_ended(trial.number, time) else self._so_far(trial, time) for trial in trials)
        return [trial for trial in seen if trial is not None and trial.state.is_finished()]

    def _so_far(self, trial: FrozenTrial, time: int) -> FrozenTrial | None:
        course = self._clock.courses[trial.number]
        shown = shown_epochs(self._study.pruner, trial.number, course.last)
        return best_so_far(trial, shown, course.epochs_by(time), self._study.direction)

    def _had_ended(self, number: int, time: int) -> bool:
        return number not in self._clock.courses or self._clock.has_ended(number, time)

    def may_judge(self, number: int, epoch: int, without: Callable[[], Collection[int]]) -> bool:
        """Whether a report can be judged now.

        Args:
            number: The trial's.
            epoch: The epoch of the report.
            without: Returns the numbers of trials that are not waited for.
        """
        if epoch not in self._judged(number):
            return True
        self.update()
        return self._clock.may_judge(number, epoch, without())

    def should_prune(self, number: int, epoch: int, *, again: bool) -> bool:
        """Asks the pruner about the last report of a trial.

        Args:
            number: The trial's.
            epoch: The epoch of the report.
            again: Whether it may have been asked before.
        """
        n_rungs = self._judged(number).count(epoch)
        if not n_rungs:
            return False
        if again:
            forget_last_rung(self._study, number)
        view = self._view(number, epoch)
        # One that is never pruned reaches all rungs of this epoch, whatever the pruner says at the first of them.
        answers = [self._study.pruner.prune(view, self._study.trial(number))]
        if self._spec.is_start(number):
            answers += [self._study.pruner.prune(view, self._study.trial(number)) for _ in range(n_rungs - 1)]
        if not answers[0]:
            self._clock.courses[number].continued = epoch
        return bool(answers[0])

    def _view(self, number: int, epoch: int) -> optuna.Study:
        """The study as a trial's pruner sees it: earlier trials, as they were when its epoch was judged."""
        time = self._clock.judged_at(number, epoch)
        trials = self._study.get_trials(deepcopy=False)[:number]
        return self._study.view([self._as_of(trial, time) for trial in trials])

    def _as_of(self, trial: FrozenTrial, time: int) -> FrozenTrial:
        if self._had_ended(trial.number, time):
            return trial
        course = self._clock.courses[trial.number]
        return as_of(trial, self._judged(trial.number), course.epochs_by(time))


def _end(course: Course, trial: FrozenTrial) -> int:
    """The epoch at which a trial ended on the clock.

    One that diverged, or that the timeout cut, ends where it could have been pruned next: no earlier, because other
    trials may have begun since. One that failed ends at its last epoch.
    """
    result = trial.user_attrs.get(RESULT, {})
    if "copied_from" in result:
        return 0
    if result.get("stop_reason") == "pruned":
        return int(result["epochs_trained"])
    if result.get("stop_reason") in ("diverged", "timeout"):
        return course.end_after(course.reported)
    return course.last


def virtual_slots_of(settings: Settings, spec: StudySpec, n_slots: int) -> int:
    """The slots of the virtual clock of a new study; an existing one keeps its own, and gets more where it must."""
    if spec.virtual_slots is None:
        return max(_DEFAULT_SLOTS, n_slots)
    if spec.virtual_slots < n_slots and not is_begun(settings, spec.name):
        raise SpecError(
            f"search.virtual_slots: must be at least the number of slots, {n_slots}, got {spec.virtual_slots}:"
            " raise it, or use fewer slots (--workers)"
        )
    return spec.virtual_slots
