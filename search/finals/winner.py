"""The model that stands for a study: the one that is evaluated and promoted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.trial import FrozenTrial

from pipelines.config import Hyperparameters
from pipelines.errors import UnavailableError
from search.finals.finalist import Finalist, mean_epoch
from search.finals.selection import candidates
from search.optimization.leaderboard import trial_row
from search.optimization.run_records import recorded_results
from search.optimization.seeds import trial_seed
from search.storage.attributes import RESULT, SPEC, VERDICT
from search.tracking.run_names import finalist_run_name, refit_run_name, trial_run_name


@dataclass(frozen=True, slots=True)
class Winner:
    """The one model that is evaluated and promoted.

    Attributes:
        run_name: The run that trained it.
        run_id: That run in MLflow.
        trial: The trial that first had its configuration.
        role: ``refit``, ``finalist``, or ``trial`` if there were no finals.
        hyperparameters: Its configuration.
        seed: The seed it was trained with.
        seeds: The seeds of all runs that its validation accuracy is the mean of.
        model_sha256: Hash of its ``.h5``.
        n_parameters: Trainable weights.
        val_accuracy: Mean validation accuracy of the finals' runs, or the trial's if there were no finals.
        expected_accuracy: The validation accuracy of its trial, as the leaderboard shows it.
    """

    run_name: str
    run_id: str
    trial: int
    role: str
    hyperparameters: Hyperparameters
    seed: int
    seeds: tuple[int, ...]
    model_sha256: str
    n_parameters: int
    val_accuracy: float
    expected_accuracy: float


def refit_run(winner: Finalist) -> str:
    """The name of the run that trains a winner on training and validation rows together."""
    return refit_run_name(winner.candidate.trial, winner.epochs)


def find_winner(study: optuna.Study) -> Winner:
    """The winner's refit, or its finalist with the median accuracy; the best trial if there were no finals.

    Raises:
        NotFoundError: No trial is complete.
        UnavailableError: MLflow does not have the winner's run yet.
    """
    verdict = study.user_attrs.get(VERDICT)
    winner = _finals_winner(study, verdict) if verdict else _best_trial(study)
    if not winner.run_id:
        raise UnavailableError(f"{winner.run_name}: its run must be in MLflow, but was not sent yet: try again")
    return winner


def _finals_winner(study: optuna.Study, verdict: Mapping[str, Any]) -> Winner:
    number, results = int(verdict["winner"]), recorded_results(study)
    names = [finalist_run_name(number, seed_number) for seed_number in range(1, int(verdict["seeds"]) + 1)]
    # A mean belongs to no model: the run with the median accuracy, the lower of two, stands for its configuration.
    ranked = sorted(names, key=lambda name: (results[name]["best_val_accuracy"], name))
    chosen, role = ranked[(len(ranked) - 1) // 2], "finalist"
    refit = refit_run_name(number, mean_epoch([results[name]["best_epoch"] for name in names]))
    if results.get(refit, {}).get("model_sha256"):
        chosen, role = refit, "refit"
    trial = study.get_trials(deepcopy=False)[number]
    return _winner(trial, role, chosen, results[chosen], [results[name] for name in names])


def _best_trial(study: optuna.Study) -> Winner:
    number = candidates(study, 1)[0].trial
    trial = study.get_trials(deepcopy=False)[number]
    seed = trial_seed(study.user_attrs[SPEC]["study"]["seed"], number)
    result = trial.user_attrs[RESULT] | {"seed": seed, "run_id": trial_row(trial, study.user_attrs).run_id}
    return _winner(trial, "trial", trial_run_name(number), result, [result])


def _winner(
    trial: FrozenTrial, role: str, run_name: str, result: Mapping[str, Any], runs: Sequence[Mapping[str, Any]]
) -> Winner:
    """The winner from the record of its own run and the records of the runs that its configuration won with."""
    return Winner(
        run_name=run_name,
        run_id=result["run_id"] or "",
        trial=trial.number,
        role=role,
        hyperparameters=Hyperparameters(**result["params"]),
        seed=result["seed"],
        seeds=tuple(run["seed"] for run in runs),
        model_sha256=result["model_sha256"],
        n_parameters=result["n_parameters"],
        val_accuracy=sum(run["best_val_accuracy"] for run in runs) / len(runs),
        expected_accuracy=trial_row(trial, {}).value or 0.0,
    )
