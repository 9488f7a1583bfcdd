"""A configuration of the finals and its result with each seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.config import Hyperparameters
from pipelines.evaluation.metrics import mean_interval
from search.tracking.run_names import finalist_run_name


@dataclass(frozen=True, slots=True)
class Candidate:
    """A configuration of the leaderboard: the first trial that had it, and that trial's validation accuracy."""

    trial: int
    hyperparameters: Hyperparameters
    value: float


@dataclass(frozen=True, slots=True)
class Finalist:
    """A configuration and its result with each seed.

    Attributes:
        candidate: The configuration.
        seeds: Numbers, from 1, of the seeds it was trained with; fewer if it was stopped early or a run failed.
        values: Best validation accuracy with each of them.
        best_epochs: The epoch of each.
        run_ids: MLflow's runs; None for one that MLflow does not have yet.
        n_parameters: Trainable weights.
        n_seeds: How many seeds were asked for.
        failure: Why a run of it failed; "" if none did.
    """

    candidate: Candidate
    seeds: tuple[int, ...]
    values: tuple[float, ...]
    best_epochs: tuple[int, ...]
    run_ids: tuple[str | None, ...]
    n_parameters: int
    n_seeds: int
    failure: str = ""

    @property
    def is_complete(self) -> bool:
        """Whether it was trained with every seed."""
        return len(self.values) == self.n_seeds and not self.failure

    @property
    def mean(self) -> float:
        """Mean validation accuracy; 0 without a run."""
        return mean_interval(self.values)[0] if self.values else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """95% interval of the mean, by Student's t."""
        return mean_interval(self.values)[1:] if self.values else (0.0, 0.0)

    @property
    def epochs(self) -> int:
        """Its best epoch on average: the length of a training that has no validation rows."""
        return mean_epoch(self.best_epochs)


def mean_epoch(best_epochs: Sequence[int]) -> int:
    """The mean of some best epochs, as a number of epochs."""
    return max(1, round(sum(best_epochs) / len(best_epochs)))


def make_finalist(
    candidate: Candidate, n_parameters: int, n_seeds: int, results: Mapping[str, Mapping[str, Any]]
) -> Finalist:
    """A configuration with the results that a study has recorded of its runs, by run name."""
    names = {number: finalist_run_name(candidate.trial, number) for number in range(1, n_seeds + 1)}
    runs = {number: results[name] for number, name in names.items() if name in results}
    done = {number: run for number, run in runs.items() if run.get("best_val_accuracy") is not None}
    failures = [f"trial {candidate.trial}: {run['message']}" for run in runs.values() if run.get("message")]
    return Finalist(
        candidate,
        tuple(done),
        tuple(run["best_val_accuracy"] for run in done.values()),
        tuple(run["best_epoch"] for run in done.values()),
        tuple(run["run_id"] for run in done.values()),
        n_parameters,
        n_seeds,
        failures[0] if failures else "",
    )
