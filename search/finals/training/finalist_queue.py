"""The order in which the runs of finalists are trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pipelines.config import FUSED_OPTIMIZERS, layer_sizes
from pipelines.data.datasets import Dataset
from pipelines.evaluation.worth import class_worth, worth
from pipelines.objectives import OBJECTIVES
from pipelines.training.packing import networks_at_once, trainings_at_once
from search.devices.slots import Slot
from search.finals.finalist import Candidate, Finalist, make_finalist
from search.finals.selection import Plan
from search.finals.training.jobs import FinalistJob, job_of
from search.optimization.run_records import may_succeed, record_run_id, recorded_results
from search.optimization.seeds import finalist_seed
from search.scheduling.context import StudyContext
from search.scheduling.progress import Progress
from search.tracking.run_names import finalist_run_name


@dataclass(slots=True)
class FinalistQueue:
    """The runs that a plan asks for and the study does not have yet.

    Attributes:
        context: The study.
        dataset: Its data.
        candidates: The configurations, in the order of the leaderboard.
        plan: Says which configuration gets which seeds.
        progress: Of these runs, with the leader so far.
        retries: Whether runs are trained again that failed before, unless they diverged.
    """

    context: StudyContext
    dataset: Dataset
    candidates: Sequence[Candidate]
    plan: Plan
    progress: Progress = field(init=False)
    retries: bool = False
    _failed: dict[str, dict[str, Any]] = field(init=False)
    _started: set[str] = field(init=False)
    _n_rows: int = field(init=False)
    _class_rows: tuple[float, ...] = field(init=False)

    def __post_init__(self) -> None:
        is_weighted = self.dataset.validation.weight is not None
        weight = self.dataset.scored.weight if is_weighted else None
        self._n_rows = self.dataset.n_scored if weight is None else round(worth(weight))
        classes = self.dataset.preprocessing.class_names
        self._class_rows = class_worth(self.dataset.scored.y, len(classes), weight) if classes else ()
        recorded, names = recorded_results(self.context.study), self.run_names if self.retries else set()
        self._failed = {name: run for name, run in recorded.items() if name in names and may_succeed(run)}
        self._started = recorded.keys() - self._failed.keys()
        budget = sum(min(size, len(self.candidates)) for size in self.plan.sizes)
        objective = self.context.spec.metric
        self.progress = Progress(self.context.spec.name, budget=budget, objective=objective, runs="finalists")
        finalists = self.finalists()
        self.progress.complete = sum(len(finalist.values) for finalist in finalists)
        self._show_leader(finalists)

    @property
    def n_seeds(self) -> int:
        """Seeds of a configuration that gets every run."""
        return len(self.plan.sizes)

    @property
    def run_names(self) -> set[str]:
        """Every run that a configuration may get."""
        return {finalist_run_name(c.trial, n + 1) for c in self.candidates for n in range(self.n_seeds)}

    @property
    def is_empty(self) -> bool:
        """Whether no run is missing."""
        return not self._missing(self.finalists())

    def finalists(self) -> list[Finalist]:
        """Each configuration with its results so far, in the order of the leaderboard.

        A failure that is to be retried counts as a missing run until the new result is there.
        """
        recorded = recorded_results(self.context.study)
        results = {name: run for name, run in recorded.items() if run != self._failed.get(name)}
        known = self._n_rows, OBJECTIVES[self.context.spec.metric], self._class_rows
        return [make_finalist(candidate, self.n_seeds, results, *known) for candidate in self.candidates]

    def next_job(self, slots: Sequence[Slot]) -> FinalistJob | None:
        """The next run to train, with other seeds of its configuration that train beside it.

        Args:
            slots: Where the runs train.
        """
        finalists = self.finalists()
        self._show_leader(finalists)
        missing = self._missing(finalists)
        if not missing:
            return None
        rank = missing[0][0]
        n_seeds = trainings_at_once(self._seeds_at_once(rank, slots), len(missing), len(slots))
        numbers = [number for other, number in missing if other == rank][:n_seeds]
        first, *others = [self._start(rank, number) for number in numbers]
        first.task = replace(first.task, more_seeds=tuple(job.task.seed for job in others))
        first.companions = tuple(others)
        return first

    def _missing(self, finalists: Sequence[Finalist]) -> list[tuple[int, int]]:
        """The runs that the plan asks for and no slot has begun, (configuration from 0, seed number from 1)."""
        return [run for run in self.plan.runs(finalists) if self._run_name(*run) not in self._started]

    def _run_name(self, rank: int, number: int) -> str:
        return finalist_run_name(self.candidates[rank].trial, number)

    def _start(self, rank: int, number: int) -> FinalistJob:
        name = self._run_name(rank, number)
        self._started.add(name)
        if name in self._failed:  # after a crash the id of the new run is looked up
            record_run_id(self.context.study, name, "")
            self._failed[name]["run_id"] = ""
        seed, index = finalist_seed(self.context.spec.seed, number), rank * self.n_seeds + number
        return job_of(self.context, index, name, self.candidates[rank], seed)

    def _seeds_at_once(self, rank: int, slots: Sequence[Slot]) -> int:
        """The number of seeds of a configuration that train faster in one program."""
        hyperparameters, dataset = self.candidates[rank].hyperparameters, self.dataset
        if hyperparameters.optimizer not in FUSED_OPTIMIZERS:
            return 1
        sizes = layer_sizes(hyperparameters, *dataset.sizes)
        on_gpu = all(slot.device.startswith("gpu") for slot in slots)
        return max(1, networks_at_once(sizes, on_gpu=on_gpu) // dataset.n_folds)

    def _show_leader(self, finalists: Sequence[Finalist]) -> None:
        leader = max(finalists, key=lambda finalist: finalist.gain)
        if leader.values:
            self.progress.best_number = leader.candidate.trial
            self.progress.best_value = leader.mean
            self.progress.best_params = leader.candidate.hyperparameters.to_json()
