"""The time that a study has used, over all of its runs."""

from __future__ import annotations

import time
from collections.abc import Callable

import optuna

from search.storage.attributes import ELAPSED


class StudyClock:
    """Goes on from where the study's last run has stopped it.

    Args:
        study: Keeps the time between runs.
        timeout_s: The most seconds, over all runs; None for no limit.
        started: What ``now`` was at the start of everything in this run.
        now: Seconds since some moment; a simulation has its own.
    """

    def __init__(
        self, study: optuna.Study, timeout_s: float | None, started: float, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._study, self._timeout_s, self._started, self.now = study, timeout_s, started, now
        self._before_s = float(study.user_attrs.get(ELAPSED, 0.0))

    def elapsed_s(self) -> float:
        """Seconds used by now."""
        return self._before_s + self.now() - self._started

    def left_s(self) -> float | None:
        """Seconds that are left, below 0 once it is over; None where there is no limit."""
        return None if self._timeout_s is None else self._timeout_s - self.elapsed_s()

    def note(self) -> None:
        """Records the time used, for the next run."""
        self._study.set_user_attr(ELAPSED, round(self.elapsed_s(), 1))
