"""Which model stands for a study, and how often its sealed test was opened."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna

from pipelines.config import Hyperparameters
from pipelines.errors import UnavailableError
from pipelines.training.history import require_sha256
from search.finals.selection import Finalist, candidates, mean_epoch
from search.home.settings import Settings
from search.home.text import one_line
from search.optimization.leaderboard import trial_row
from search.optimization.run_records import recorded_results
from search.optimization.seeds import trial_seed
from search.storage.attributes import RESULT, SEAL, SPEC, VERDICT
from search.tracking.entries import MODEL_FILE
from search.tracking.run_names import finalist_run_name, refit_run_name, trial_run_name
from search.tracking.spool import entries, read_entry


@dataclass(frozen=True, slots=True)
class Winner:
    """The one model that is evaluated and promoted.

    Attributes:
        run_name: The run that trained it.
        run_id: That run in MLflow.
        trial: The trial whose configuration it has.
        role: ``refit``, ``finalist``, or ``trial`` where there were no finals.
        hyperparameters: Its configuration.
        seed: Its own seed.
        seeds: Those of all runs that chose it.
        model_sha256: Of its ``.h5``.
        n_parameters: Weights that training changed.
        val_accuracy: Mean of the finals, or what the trial reached.
        promised: What the leaderboard showed for its configuration.
        epochs: Epochs whose weights it has.
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
    promised: float
    epochs: int


def refit_run(winner: Finalist) -> str:
    """The name of the run that trains a winner on training and validation rows together."""
    return refit_run_name(winner.candidate.trial, winner.epochs)


def seal_opened(attributes: Mapping[str, Any]) -> int:
    """How often the sealed test of a study was opened, from the study's attributes."""
    return len(attributes.get(SEAL, ()))


def find_winner(study: optuna.Study) -> Winner:
    """The winner's refit, or its finalist with the median value; the best trial where there were no finals.

    Raises:
        NotFoundError: No trial is complete.
        UnavailableError: MLflow has not taken the winner's run yet.
    """
    verdict = study.user_attrs.get(VERDICT)
    winner = _finals_winner(study, verdict) if verdict else _best_trial(study)
    if not winner.run_id:
        raise UnavailableError(f"{winner.run_name}: MLflow must have the run, but has not taken it yet: try again")
    return winner


def _finals_winner(study: optuna.Study, verdict: Mapping[str, Any]) -> Winner:
    """A mean belongs to no model; the run with the median value stands for its configuration, the lower of two."""
    trial, noted = int(verdict["winner"]), recorded_results(study)
    names = [finalist_run_name(trial, number) for number in range(1, int(verdict["seeds"]) + 1)]
    runs = sorted((noted[name]["best_val_accuracy"], name) for name in names)
    name, role = runs[(len(runs) - 1) // 2][1], "finalist"
    refit = refit_run_name(trial, mean_epoch([noted[name]["best_epoch"] for name in names]))
    if noted.get(refit, {}).get("model_sha256"):
        name, role = refit, "refit"
    run = noted[name]
    return Winner(
        run_name=name,
        run_id=run["run_id"] or "",
        trial=trial,
        role=role,
        hyperparameters=Hyperparameters(**run["params"]),
        seed=run["seed"],
        seeds=tuple(noted[name]["seed"] for name in names),
        model_sha256=run["model_sha256"],
        n_parameters=run["n_parameters"],
        val_accuracy=sum(value for value, _ in runs) / len(runs),
        promised=trial_row(study.get_trials(deepcopy=False)[trial], {}).value or 0.0,
        epochs=run["best_epoch"],
    )


def _best_trial(study: optuna.Study) -> Winner:
    best = candidates(study, 1)[0]
    trial = study.get_trials(deepcopy=False)[best.trial]
    result, seed = trial.user_attrs[RESULT], trial_seed(study.user_attrs[SPEC]["study"]["seed"], best.trial)
    return Winner(
        run_name=trial_run_name(best.trial),
        run_id=trial_row(trial, study.user_attrs).run_id or "",
        trial=best.trial,
        role="trial",
        hyperparameters=best.hyperparameters,
        seed=seed,
        seeds=(seed,),
        model_sha256=result["model_sha256"],
        n_parameters=result["n_parameters"],
        val_accuracy=best.value,
        promised=best.value,
        epochs=result["best_epoch"],
    )


def fetch_model(client: Any, settings: Settings, study: str, winner: Winner) -> bytes:
    """The winner's ``.h5``: from MLflow, or from the spool where it still waits there.

    Raises:
        InputError: It is not the file that was recorded.
        UnavailableError: Neither has it.
    """
    content = _from_spool(settings, study, winner) or _from_mlflow(client, winner)
    require_sha256(content, winner.model_sha256, f"{MODEL_FILE} of run {winner.run_id}")
    return content


def _from_spool(settings: Settings, study: str, winner: Winner) -> bytes:
    for folder in entries(settings.spool, study):
        if read_entry(folder).start.run_name == winner.run_name:
            return (folder / MODEL_FILE).read_bytes()
    return b""


def _from_mlflow(client: Any, winner: Winner) -> bytes:
    from mlflow.exceptions import MlflowException

    with tempfile.TemporaryDirectory() as folder:
        try:
            return Path(client.download_artifacts(winner.run_id, MODEL_FILE, folder)).read_bytes()
        except (MlflowException, OSError) as error:
            raise UnavailableError(
                f"run {winner.run_id}: must have {MODEL_FILE} in MLflow, but it cannot be read ({one_line(error)})"
            ) from error
