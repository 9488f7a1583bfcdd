"""Reports of epochs that cannot be decided on yet: the decision depends on results that are not there."""

from __future__ import annotations

import time
from typing import Protocol

from search.scheduling.clock.waits import Waits
from search.workers.pool import Reported


class Held(Protocol):
    """A job with a report; see ``search.scheduling.dispatcher.Job``."""

    deadline: float
    waited_s: float


class HeldReports:
    """Reports by the number of their trial, at most one of each: a trial trains one epoch ahead of the answer.

    Args:
        waits: Measures how long the slots of the reports wait.
    """

    def __init__(self, waits: Waits) -> None:
        self._waits = waits
        self._reports: dict[int, Reported] = {}
        self._left_s: dict[int, float] = {}  # until the deadline of a held trial

    def __bool__(self) -> bool:
        return bool(self._reports)

    def add(self, report: Reported) -> None:
        """Adds a new report."""
        self._reports[report.number] = report

    def in_order(self) -> list[Reported]:
        """The reports in the order of their trials' numbers: a trial may wait for those of lower numbers alone."""
        return [self._reports[number] for number in sorted(self._reports)]

    def hold(self, report: Reported, job: Held) -> None:
        """Keeps a report: its slot waits once it has trained the next epoch, and its trial's time limit pauses."""
        if report.number not in self._left_s:
            self._waits.begin(report.slot.number, report.report.duration_s)
            self._left_s[report.number] = job.deadline - time.monotonic()
            job.deadline = float("inf")

    def release(self, report: Reported, job: Held) -> None:
        """Removes a report that is decided on now."""
        if report.number in self._left_s:
            job.deadline = time.monotonic() + self._left_s[report.number]
            job.waited_s += self._waits.end(report.slot.number)
        self.drop(report.number)

    def drop(self, number: int) -> None:
        """Forgets the report of a trial that has ended or is retried."""
        report = self._reports.pop(number, None)
        if self._left_s.pop(number, None) is not None and report:
            self._waits.end(report.slot.number)
