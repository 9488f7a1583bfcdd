"""Progress of a search and the observer that it reports to."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
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
        best_value: Its best objective so far.
    """

    device: str
    run_name: str = ""
    hyperparameters: Hyperparameters | None = None
    report: EpochReport | None = None
    best_value: float | None = None

    def last_value(self, objective: str) -> float | None:
        """The objective at the last epoch; None before the first, and in a training on the validation rows."""
        return self.report.metrics.get(objective) if self.report and self.best_value is not None else None


@dataclass(frozen=True, slots=True)
class Leader:
    """The best run so far, in any state.

    Attributes:
        run_name: Its name.
        value: Its best objective so far.
        params: Its configuration.
        state: RUNNING, COMPLETE, PRUNED, FAIL, or WAITING to be trained.
    """

    run_name: str
    value: float
    params: Mapping[str, object]
    state: str = "RUNNING"


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
        leader: The best run so far, those in training and pruned ones included.
        timeout_s: Limit on the time of all runs of the study; None without one.
        runs: The kind of the runs: ``trials``, ``finalists``, ``refits``, ``trainings``.
        elapsed_s: Duration of the study's runs together, where it is another process that searches.
        shares_budget: Whether trials share the budget with new seeds of the best of them, which another process trains.
        waited_s: Seconds that slots of this run have waited for results of other slots.
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
    leader: Leader | None = None
    timeout_s: float | None = None
    runs: str = "trials"
    elapsed_s: float | None = None
    shares_budget: bool = False
    waited_s: float = 0.0

    @property
    def done(self) -> int:
        """Number of jobs that ended, over all runs of the study."""
        return self.complete + self.pruned + self.failed

    def report(self, slot_number: int, report: EpochReport) -> None:
        """Notes an epoch of the job in a slot."""
        view = self.slots[slot_number]
        view.report = report
        value = report.metrics.get(self.objective)
        if value is None or not math.isfinite(value) or self.runs == "refits":  # those train on the validation rows
            return
        if view.best_value is None or OBJECTIVES[self.objective].is_better(value, view.best_value):
            view.best_value = value
        self.see(view.run_name, value, view.hyperparameters.to_json() if view.hyperparameters else {})

    def see(self, run_name: str, value: float, params: Mapping[str, object], state: str = "RUNNING") -> None:
        """Notes a value of a run, which may be the best so far."""
        leader = self.leader
        if leader and leader.run_name == run_name and leader.state != state:
            self.leader = replace(leader, state=state)
        if leader is None or OBJECTIVES[self.objective].is_better(value, leader.value):
            self.leader = Leader(run_name, value, params, state)

    def count(
        self, state: str, number: int | None, value: float | None, params: Mapping[str, object], run_name: str = ""
    ) -> None:
        """Counts a job that ended; a complete trial, which alone has a number, may be the best."""
        from search.tracking.run_names import trial_run_name  # its package needs Optuna, which no help waits for

        name = run_name if number is None else trial_run_name(number)
        if name and value is not None:
            self.see(name, value, params, state)
        elif self.leader and self.leader.run_name == name:
            self.leader = replace(self.leader, state=state)
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

    def waiting(self, what: str) -> None:
        """The start-up waits for something: ``reading digits``."""

    def begin(self, layers: tuple[Layer, ...]) -> None:
        """A single training begins; ``layers`` are those of its network."""

    def epoch(self, report: EpochReport) -> None:
        """An epoch of a single training has ended."""

    def update(self, progress: Progress) -> None:
        """The progress may have changed; called at least twice a second."""

    def note(self, line: str) -> None:
        """One line to show: a result, a retry, a warning."""
