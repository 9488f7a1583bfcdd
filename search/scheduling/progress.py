"""What a search tells whoever watches it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from pipelines.config import Hyperparameters
from pipelines.training.history import EpochReport

if TYPE_CHECKING:
    from pipelines.config import Layer
    from search.optimization.leaderboard import TrialRow


@dataclass(slots=True)
class SlotView:
    """What a slot is doing.

    Attributes:
        device: ``cpu:0``, ``gpu:1``.
        run_name: Of the run in training; "" while the slot is idle.
        hyperparameters: Of that run.
        report: Its last epoch.
    """

    device: str
    run_name: str = ""
    hyperparameters: Hyperparameters | None = None
    report: EpochReport | None = None


@dataclass(slots=True)
class Progress:
    """Where a search stands.

    Attributes:
        study: Its name.
        slots: By slot number; empty until the first is ready.
        complete: Trials trained to their end, over all runs of the study.
        pruned: Trials that the pruner ended.
        failed: Trials that failed.
        budget: The most trials there will be, None without such a limit.
        time_left_s: Until the timeout, None without one.
        best_number: The best trial's number.
        best_value: Its best validation accuracy.
        best_params: Its configuration.
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
    best_params: Mapping[str, Any] = field(default_factory=dict)
    stopping: str = ""

    def count(self, row: TrialRow) -> None:
        """Counts a trial that has ended."""
        self.complete += row.state == "COMPLETE"
        self.pruned += row.state == "PRUNED"
        self.failed += row.state == "FAIL"
        if row.state == "COMPLETE" and (self.best_value is None or (row.value or 0) > self.best_value):
            self.best_number, self.best_value, self.best_params = row.number, row.value, row.params


class Observer(Protocol):
    """Watches a search; called while it waits, so it must be quick."""

    def update(self, progress: Progress) -> None:
        """Something has changed, or a moment has passed; called in the searching thread."""

    def note(self, line: str) -> None:
        """One line worth keeping: a trial has ended, a warning; the tracking thread calls it too."""


class Silent:
    """Watches nothing."""

    def update(self, progress: Progress) -> None:
        """Nothing."""

    def note(self, line: str) -> None:
        """Nothing."""


class TrainingObserver(Protocol):
    """Watches the training of one configuration."""

    def begin(self, layers: tuple[Layer, ...]) -> None:
        """The data is there and training begins."""

    def epoch(self, report: EpochReport) -> None:
        """An epoch has ended."""

    def note(self, line: str) -> None:
        """One line worth keeping: a warning."""


class SilentTraining:
    """Watches nothing."""

    def begin(self, layers: tuple[Layer, ...]) -> None:
        """Nothing."""

    def epoch(self, report: EpochReport) -> None:
        """Nothing."""

    def note(self, line: str) -> None:
        """Nothing."""
