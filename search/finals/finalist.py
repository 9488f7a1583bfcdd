"""The configurations of the finals, and the result of each with every seed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

from pipelines.config import Hyperparameters
from pipelines.errors import NotFoundError
from pipelines.evaluation.intervals import MIN_SEEDS, Scores, interval, interval_of_means, limits_of
from pipelines.evaluation.row_scores import decode
from pipelines.evaluation.worth import most_rows
from pipelines.objectives import OBJECTIVES, Objective
from search.optimization.leaderboard import best_value, objective_of
from search.optimization.run_records import recorded_results
from search.spec.conditions import effective
from search.storage.attributes import RESULT
from search.tracking.run_names import finalist_run_name, finalist_trial, refit_ensemble_run_name, refit_run_name


@dataclass(frozen=True, slots=True)
class Candidate:
    """A configuration of the leaderboard.

    Attributes:
        trial: The best trial that had it, of equal ones the first; one with recorded finals goes before it.
        hyperparameters: The configuration.
        value: That trial's objective.
        n_parameters: Trainable weights.
    """

    trial: int
    hyperparameters: Hyperparameters
    value: float
    n_parameters: int


@dataclass(frozen=True, slots=True)
class Finalist:
    """A configuration and its result with each seed.

    Attributes:
        candidate: The configuration.
        seeds: Numbers, from 1, of the seeds it was trained with; fewer if it was stopped early or a run failed.
        values: Best objective with each of them.
        best_epochs: The epoch of each.
        run_ids: MLflow's runs; None for one that MLflow does not have yet.
        n_seeds: How many seeds were asked for.
        failure: Why a run of it failed; "" if none did.
        n_rows: The number of validation rows, of weighted ones what they are worth; 0 if unknown.
        row_scores: The contribution of each validation row to the objective of each run, as
            ``pipelines.evaluation.row_scores`` encodes it; "" for a run of an earlier version.
        objective: The validation metric that the values are.
        class_rows: What the validation rows of each class are worth; empty for a regression, or if unknown.
        curves: The objective after each epoch of each run; empty for a run of an earlier version.
    """

    candidate: Candidate
    seeds: tuple[int, ...]
    values: tuple[float, ...]
    best_epochs: tuple[int, ...]
    run_ids: tuple[str | None, ...]
    n_seeds: int
    failure: str = ""
    n_rows: int = 0
    row_scores: tuple[str, ...] = ()
    objective: Objective = OBJECTIVES["val_accuracy"]
    class_rows: tuple[float, ...] = ()
    curves: tuple[tuple[float, ...], ...] = ()

    @property
    def n_parameters(self) -> int:
        """Trainable weights."""
        return self.candidate.n_parameters

    @property
    def is_complete(self) -> bool:
        """Whether it was trained with every seed."""
        return len(self.values) == self.n_seeds and not self.failure

    @property
    def mean(self) -> float:
        """Mean of the values; 0 without a run."""
        return float(np.mean(self.values)) if self.values else 0.0

    @property
    def gain(self) -> float:
        """The mean with the sign that makes more better; without a run, one that every mean beats."""
        return self.objective.gain(self.mean) if self.values else -math.inf

    @property
    def gains(self) -> list[float]:
        """The values with the sign that makes more better."""
        return [self.objective.gain(value) for value in self.values]

    @property
    def interval(self) -> tuple[float, float] | None:
        """95% interval of the mean over seeds and validation rows together; None below three seeds."""
        scores = self.scores(self.seeds)
        if scores is None:
            return interval_of_means(self.values, self.n_rows)
        metric = self.objective.metric
        return interval(scores, limits_of(metric), most_rows(metric, self.mean, self.n_rows, self.class_rows))

    def values_of(self, seeds: Sequence[int]) -> list[float]:
        """``values`` with some seeds it was trained with."""
        return [self.values[self.seeds.index(number)] for number in seeds]

    def gains_of(self, seeds: Sequence[int]) -> list[float]:
        """``gains`` with some seeds it was trained with."""
        return [self.objective.gain(value) for value in self.values_of(seeds)]

    def without(self, number: int) -> Finalist:
        """The finalist without the run with one of its seeds."""
        place = self.seeds.index(number)
        names = ("seeds", "values", "best_epochs", "run_ids", "row_scores", "curves")
        of_runs = {name: getattr(self, name) for name in names}
        left: dict[str, Any] = {name: values[:place] + values[place + 1 :] for name, values in of_runs.items()}
        return replace(self, n_seeds=self.n_seeds - 1, **left)

    def scores(self, seeds: Sequence[int]) -> Scores | None:
        """(n_seeds, n_scores) scores of the validation rows with some seeds it was trained with; None if unknown."""
        recorded = [self.row_scores[self.seeds.index(number)] for number in seeds] if self.row_scores else []
        return np.stack([decode(text) for text in recorded]) if recorded and all(recorded) else None

    @property
    def epochs(self) -> int:
        """The length of a training that has no validation rows.

        The latest epoch whose mean value is within one standard error over the seeds of the best one. The epoch with
        the best value of a run is partly chance, and comes before the learning rate has fallen. Where there are too few
        seeds for a standard error, or runs of an earlier version, it is the mean of the best epochs.
        """
        n_epochs = {len(curve) for curve in self.curves}
        if len(self.curves) < MIN_SEEDS or len(n_epochs) > 1 or n_epochs == {0}:
            return max(1, round(sum(self.best_epochs) / len(self.best_epochs)))
        gains = self.objective.gain(1.0) * np.array(self.curves)
        means = np.where(np.isfinite(gains).all(axis=0), gains.mean(axis=0), -math.inf)
        best = int(means.argmax())
        error = float(gains[:, best].std(ddof=1)) / math.sqrt(len(gains))
        return int(np.flatnonzero(means >= means[best] - error)[-1]) + 1

    @property
    def refit_run(self) -> str:
        """The name of the run that trains it on training and validation rows together."""
        return self.refit_runs[0]

    @property
    def refit_runs(self) -> list[str]:
        """The names of its refits with as many seeds as it has runs."""
        return [refit_run_name(self.candidate.trial, self.epochs, number) for number in range(1, self.n_seeds + 1)]

    @property
    def refit_ensemble_run(self) -> str:
        """The name of the run of these refits as one model."""
        return refit_ensemble_run_name(self.candidate.trial, self.epochs, self.n_seeds)


def candidate_of(trial: FrozenTrial) -> Candidate:
    """The configuration of a complete trial."""
    result = trial.user_attrs[RESULT]
    hyperparameters = Hyperparameters(**result["params"])
    return Candidate(trial.number, hyperparameters, best_value(result) or 0.0, result["n_parameters"])


def candidates(study: optuna.Study, top: int) -> list[Candidate]:
    """The best distinct configurations of complete trials, the best first.

    Raises:
        NotFoundError: No trial is complete.
    """
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    gain = objective_of(study.user_attrs).gain
    own = [candidate_of(trial) for trial in complete if RESULT in trial.user_attrs]  # another program adds others
    kept = {finalist_trial(name) for name in recorded_results(study)}
    # The best trial that had a configuration, or its equal in effect, stands for it; one that has finals goes on.
    ranked = sorted(own, key=lambda c: (c.trial in kept, gain(c.value), -c.trial))
    distinct = {effective(found.hyperparameters): found for found in ranked}
    if not distinct:
        raise NotFoundError(f"study {study.study_name!r}: must have a complete trial, got none: run it first")
    return sorted(distinct.values(), key=lambda c: (-gain(c.value), c.trial))[:top]


def make_finalist(
    candidate: Candidate,
    n_seeds: int,
    results: Mapping[str, Mapping[str, Any]],
    n_rows: int = 0,
    objective: Objective = OBJECTIVES["val_accuracy"],
    class_rows: Sequence[float] = (),
) -> Finalist:
    """A configuration with its recorded results.

    Args:
        candidate: The configuration.
        n_seeds: How many seeds were asked for.
        results: The recorded results of its runs, by run name.
        n_rows: The number of validation rows; 0 if unknown.
        objective: Of the study.
        class_rows: What the validation rows of each class are worth.
    """
    names = {number: finalist_run_name(candidate.trial, number) for number in range(1, n_seeds + 1)}
    runs = {number: results[name] for number, name in names.items() if name in results}
    done = {number: run for number, run in runs.items() if best_value(run) is not None}
    failures = [f"trial {candidate.trial}: {run['message']}" for run in runs.values() if run.get("message")]
    return Finalist(
        candidate=candidate,
        seeds=tuple(done),
        values=tuple(best_value(run) or 0.0 for run in done.values()),
        best_epochs=tuple(run["best_epoch"] for run in done.values()),
        run_ids=tuple(run["run_id"] for run in done.values()),
        n_seeds=n_seeds,
        failure=failures[0] if failures else "",
        n_rows=n_rows,
        row_scores=tuple(run.get("row_scores", "") for run in done.values()),
        objective=objective,
        class_rows=tuple(class_rows),
        curves=tuple(tuple(run.get("curve", ())) for run in done.values()),
    )
