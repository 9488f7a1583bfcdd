"""Progress of a search and the observer that it reports to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pipelines.objectives import OBJECTIVES

if TYPE_CHECKING:
    from pipelines.config import Hyperparameters, Layer
    from pipelines.training.history import EpochReport


@dataclass(slots=True)
class SlotView:
    """The state of a slot.

    Attributes:
        device: ``cpu:0``, ``gpu:1``.
        run_name: Of the run in training; "" in an idle slot.
        hyperparameters: Of that run.
        report: Its last epoch.
    """

    device: str
    run_name: str = ""
    hyperparameters: Hyperparameters | None = None
    report: EpochReport | None = None


@dataclass(slots=True)
class Progress:
    """The progress of a search.

    Attributes:
        study: Its name.
        slots: By slot number; empty until the first is ready.
        complete: Trials that trained to their last epoch, over all runs of the study.
        pruned: Trials that the pruner ended.
        failed: Trials that failed.
        budget: Limit on the number of trials; None without one.
        time_left_s: Until the timeout, None without one.
        best_number: The best trial's number.
        best_value: Its best objective.
        best_params: Its configuration.
        objective: The validation metric that ranks jobs.
        stopping: Why the search is ending, "" while it is not.
    """

    study: str
    slots: dict[int, SlotView] = field(default_factory=dict)
    complete: int = 0
    pruned: int = 0
    failed: int = 0
    budget: int | None = None
    time_left_s: float | None = None
    best_number: int | None = None
    best_value: float | None = None
    best_params: Mapping[str, object] = field(default_factory=dict)
    objective: str = "val_accuracy"
    stopping: str = ""

    def count(self, state: str, number: int | None, value: float | None, params: Mapping[str, object]) -> None:
        """Counts a job that ended; a complete trial, which alone has a number, may be the best."""
        self.complete += state == "COMPLETE"
        self.pruned += state == "PRUNED"
        self.failed += state == "FAIL"
        objective = OBJECTIVES[self.objective]
        is_better = value is not None and objective.is_better(
            value, objective.worst if self.best_value is None else self.best_value
        )
        if state == "COMPLETE" and number is not None and is_better:
            self.best_number, self.best_value, self.best_params = number, value, params


class Observer:
    """Watches a study, its finalists or a single training; each method does nothing unless a subclass overrides it.

    The searching thread calls it between two polls of the pool, so a method must return within milliseconds.
    """

    def begin(self, layers: tuple[Layer, ...]) -> None:
        """A single training begins; ``layers`` are those of its network."""

    def epoch(self, report: EpochReport) -> None:
        """An epoch of a single training has ended."""

    def update(self, progress: Progress) -> None:
        """The progress may have changed; called at least twice a second."""

    def note(self, line: str) -> None:
        """One line to show: a result, a retry, a warning."""
