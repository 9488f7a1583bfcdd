"""A clock on which trials take the time that a formula gives them, whatever time they really take.

A study has a fixed number of virtual slots. Trials begin in the order of their numbers, each in the first virtual slot
that is free. Everything that a trial depends on is defined on this clock:

* Its configuration is drawn from the trials that had ended when it began, and perhaps from what others had reported.
* Where it is pruned depends on what trials of lower numbers had reported when it was judged, a fixed time after its
  own report.

The second rule leaves out trials of higher numbers, although some of them may have reported earlier. In return the
trial of the lowest number never waits, so that any number of real slots can train the same study.

A real slot must wait where what a decision depends on is not known yet. It is known that a trial has not ended before
a time where it cannot be pruned, or was not, at any epoch before. The clock is pure: no order in which real slots
finish changes what it returns, only when it can return it.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass


@dataclass(slots=True)
class Course:
    """A trial on the virtual clock; times are whole microseconds.

    Attributes:
        start: When it begins.
        epoch: Duration of one epoch, at least 1.
        last: Its last epoch, at which it ends unless it is pruned.
        may_end: Epochs before the last at which it may be pruned, rising.
        shown: Epochs whose reports other trials are judged by, and perhaps drawn from, rising.
        reported: The last epoch that was reported.
        continued: The last epoch after which it is known to have continued.
        end: The epoch at which it ended, 0 where it did not train; None while it trains.
        once: Time before its first epoch.
    """

    start: int
    epoch: int
    last: int
    may_end: Sequence[int] = ()
    shown: Sequence[int] = ()
    reported: int = 0
    continued: int = 0
    end: int | None = None
    once: int = 0

    def at(self, epoch: int) -> int:
        """The end of an epoch; epoch 0 is the start."""
        return self.start + (self.once + epoch * self.epoch if epoch else 0)

    @property
    def earliest_end(self) -> int:
        """Its end, or the earliest time at which it may still end."""
        if self.end is not None:
            return self.at(self.end)
        return self.at(self.end_after(self.continued))

    @property
    def next_shown(self) -> float:
        """The time of its next report of a shown epoch; infinite where there is none."""
        if self.end is not None:
            return math.inf
        # What the last epoch shows is the whole trial, which is there once it has ended.
        coming = (epoch for epoch in self.shown if epoch > self.reported or epoch == self.last)
        return next((self.at(epoch) for epoch in coming), math.inf)

    def end_after(self, epoch: int) -> int:
        """The first epoch after the given one at which it may end."""
        return next((e for e in self.may_end if e > epoch), self.last)

    def epochs_by(self, time: int) -> int:
        """Number of epochs that had ended by a time."""
        return max(0, (time - self.start - self.once) // self.epoch)


class VirtualClock:
    """The trials of a study on one clock.

    Args:
        n_slots: Number of virtual slots.
        delay: Time from the report of an epoch to its judgment, for which the trial continues. With it a trial is
            compared with more of those that train beside it.
        needs_reports: Whether a configuration is drawn from reports of trials in training, too.

    Attributes:
        courses: By trial number.
    """

    def __init__(self, n_slots: int, delay: int = 0, *, needs_reports: bool = True) -> None:
        self.n_slots = n_slots
        self._delay = delay
        self._needs_reports = needs_reports
        self.courses: dict[int, Course] = {}
        self._frontier = 0
        self._active: dict[int, Course] = {}  # those that had not ended when the last trial began

    def add(self, number: int, course: Course) -> None:
        """Adds a trial that begins; trials are added in the order of their starts."""
        self.courses[number] = course
        self._active[number] = course
        self._frontier = max(self._frontier, course.start)

    def unfinished(self) -> dict[int, Course]:
        """The trials that have not ended, by number."""
        return {number: course for number, course in self._active.items() if course.end is None}

    def next_start(self) -> int | None:
        """The start of the next trial; None while it, or what others have ended or reported by then, is not known."""
        self._forget_ended()
        courses = self._active.values()
        ended = [course.earliest_end for course in courses if course.end is not None]
        if len(courses) < self.n_slots:
            start = self._frontier
        elif ended:
            start = min(ended)
        else:
            return None
        in_training = [course for course in courses if course.end is None]
        is_known = all(course.earliest_end > start for course in in_training)
        if self._needs_reports:
            is_known = is_known and all(course.next_shown > start for course in in_training)
        return start if is_known else None

    def _forget_ended(self) -> None:
        over = [n for n, c in self._active.items() if c.end is not None and c.earliest_end <= self._frontier]
        for number in over:
            del self._active[number]

    @property
    def is_full(self) -> bool:
        """Whether every virtual slot has a trial that really trains: there are more real slots than virtual ones."""
        return len(self.unfinished()) >= self.n_slots

    def has_ended(self, number: int, time: int) -> bool:
        """Whether a trial had ended by a time."""
        course = self.courses[number]
        return course.end is not None and course.earliest_end <= time

    def judged_at(self, number: int, epoch: int) -> int:
        """The time at which an epoch of a trial is judged."""
        return self.courses[number].at(epoch) + self._delay

    def may_judge(self, number: int, epoch: int, without: Collection[int] = ()) -> bool:
        """Whether all is known that decides whether a trial is pruned at an epoch.

        Args:
            number: The trial.
            epoch: The epoch.
            without: Trials that are not waited for.
        """
        time = self.judged_at(number, epoch)
        others = ((n, course) for n, course in self._active.items() if n < number and n not in without)
        return all(course.next_shown > time for _, course in others)
