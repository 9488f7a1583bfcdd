"""The model that stands for a study: the one that is evaluated and promoted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna

from pipelines.errors import UnavailableError
from pipelines.objectives import Objective
from pipelines.training.history import require_sha256
from search.finals.finalist import Candidate, Finalist, candidate_of, candidates, make_finalist
from search.optimization.leaderboard import best_value, folds_of, objective_of, trial_row
from search.optimization.run_records import has_model, recorded_results
from search.optimization.seeds import trial_seed
from search.storage.attributes import RESULT, SPEC, VERDICT
from search.tracking.entries import MODEL_FILE
from search.tracking.history import read_artifact
from search.tracking.run_names import ensemble_run_name, finalist_run_name, trial_run_name
from search.tracking.spool import entries, read_entry

if TYPE_CHECKING:
    from mlflow import MlflowClient


@dataclass(frozen=True, slots=True)
class Winner:
    """The one model that is evaluated and promoted.

    Attributes:
        candidate: Its configuration; its value is that of its trial, as the leaderboard shows it.
        role: ``refit``, ``ensemble``, ``refit-ensemble``, ``finalist``, or ``trial`` if there were no finals.
        run_name: The run that trained it.
        run_id: That run in MLflow.
        seed: The seed it was trained with.
        seeds: The seeds of all runs that its value is the mean of.
        model_sha256: Hash of its ``.h5``.
        value: Mean value of the finals' runs, or the trial's if there were no finals.
        objective: The validation metric that the value is.
        networks: Number of networks whose mean the model predicts.
    """

    candidate: Candidate
    role: str
    run_name: str
    run_id: str
    seed: int
    seeds: tuple[int, ...]
    model_sha256: str
    value: float
    objective: Objective
    networks: int = 1


def find_winner(study: optuna.Study) -> Winner:
    """The winner's refit, ensemble, or finalist with the median value; the best trial if there were no finals.

    Of a refit and an ensemble, the one that was requested last; one that was not made does not count.

    Raises:
        NotFoundError: No trial is complete.
        UnavailableError: MLflow does not have the winner's run yet.
    """
    verdict = study.user_attrs.get(VERDICT)
    if verdict:
        winner = _finals_winner(study, verdict["winner"], verdict["seeds"], _roles(verdict.get("model")))
    else:
        winner = trial_model(study, candidates(study, 1)[0].trial)
    if not winner.run_id:
        raise UnavailableError(f"{winner.run_name}: its run must be in MLflow, but was not sent yet: try again")
    return winner


def missing_model(study: optuna.Study) -> str:
    """The model that the finals ask for, where it was not made yet and another would stand for it; "" else.

    One that failed is not missing: the median finalist is used instead.
    """
    verdict, results = study.user_attrs.get(VERDICT) or {}, recorded_results(study)
    wanted = str(verdict.get("model") or "finalist")
    if wanted == "finalist" or (wanted != "refit" and verdict["seeds"] < 2):  # one seed has no mean
        return ""
    candidate = candidate_of(study.get_trials(deepcopy=False)[verdict["winner"]])
    finalist = make_finalist(candidate, verdict["seeds"], results, objective=objective_of(study.user_attrs))
    has_failed = any(results.get(run, {}).get("message") for run in finalist.refit_runs)
    is_made = _model_runs(finalist)[wanted] in results
    return "" if is_made or (has_failed and wanted == "refit-ensemble") else wanted


def _model_runs(finalist: Finalist) -> dict[str, str]:
    """The names of the runs of the models that a winner may have beside its finalists."""
    return {
        "refit": finalist.refit_run,
        "refit-ensemble": finalist.refit_ensemble_run,
        "ensemble": ensemble_run_name(finalist.candidate.trial, finalist.n_seeds),
    }


def _roles(model: str | None) -> tuple[str, ...]:
    """The models before the median finalist; an earlier version recorded None where neither was asked for."""
    others = ("refit", "ensemble")
    roles = {"finalist": (), "ensemble": ("ensemble", "refit"), "refit-ensemble": ("refit-ensemble", *others)}
    return roles.get(model or "", others)


def measured_winner(study: optuna.Study, winner: Winner) -> Winner:
    """The model whose predictions for the validation rows measure a winner.

    That is the winner, or the median finalist of its configuration for a model that trained on these rows: a refit, an
    ensemble of refits, and with folds every ensemble.
    """
    if winner.role in ("refit", "refit-ensemble") or (winner.role == "ensemble" and folds_of(study.user_attrs) > 1):
        return _finals_winner(study, winner.candidate.trial, len(winner.seeds))
    return winner


def finals_runs(study: optuna.Study, number: int, n_seeds: int) -> list[Winner]:
    """The runs of a finalist that was trained with every seed, in the order of the seeds."""
    results = recorded_results(study)
    candidate = candidate_of(study.get_trials(deepcopy=False)[number])
    names = [finalist_run_name(number, seed_number) for seed_number in range(1, n_seeds + 1)]
    return [_winner(study, candidate, "finalist", name, results[name], [results[name]]) for name in names]


def ensemble_parts(study: optuna.Study) -> tuple[str, list[Winner]]:
    """The name of the ensemble that the finals of a study ask for, and its parts: finalists, or refits that trained."""
    verdict, results = study.user_attrs[VERDICT], recorded_results(study)
    number, n_seeds = verdict["winner"], verdict["seeds"]
    finalists = finals_runs(study, number, n_seeds)
    if verdict.get("model") != "refit-ensemble":
        return ensemble_run_name(number, n_seeds), finalists
    finalist = make_finalist(finalists[0].candidate, n_seeds, results, objective=objective_of(study.user_attrs))
    trained = [name for name in finalist.refit_runs if has_model(results.get(name, {}))]
    of_finalists = [results[run.run_name] for run in finalists]
    refits = [_winner(study, finalist.candidate, "refit", name, results[name], of_finalists) for name in trained]
    return finalist.refit_ensemble_run, refits


def _finals_winner(study: optuna.Study, number: int, n_seeds: int, roles: Sequence[str] = ()) -> Winner:
    """The first of some models of a configuration that is made, or its median finalist."""
    results, objective = recorded_results(study), objective_of(study.user_attrs)
    candidate = candidate_of(study.get_trials(deepcopy=False)[number])
    names = [finalist_run_name(number, seed_number) for seed_number in range(1, n_seeds + 1)]
    made = _model_runs(make_finalist(candidate, n_seeds, results, objective=objective))
    role = next((role for role in roles if has_model(results.get(made[role], {}))), "finalist")
    if role in made:
        chosen = made[role]
    else:
        # A mean belongs to no model: the run with the median value, the worse of two, stands for its configuration.
        ranked = sorted(names, key=lambda name: (objective.gain(best_value(results[name]) or 0.0), name))
        chosen = ranked[(len(ranked) - 1) // 2]
    return _winner(study, candidate, role, chosen, results[chosen], [results[name] for name in names])


def trial_model(study: optuna.Study, number: int) -> Winner:
    """A trial that ended and kept its model."""
    trial = study.get_trials(deepcopy=False)[number]
    candidate = candidate_of(trial)
    seed = trial_seed(study.user_attrs[SPEC]["study"]["seed"], trial.number)
    result = trial.user_attrs[RESULT] | {"seed": seed, "run_id": trial_row(trial, study.user_attrs).run_id}
    return _winner(study, candidate, "trial", trial_run_name(trial.number), result, [result])


def _winner(
    study: optuna.Study,
    candidate: Candidate,
    role: str,
    run_name: str,
    result: Mapping[str, Any],
    runs: Sequence[Mapping[str, Any]],
) -> Winner:
    """The winner from the record of its own run and the records of the runs that its configuration won with."""
    networks = result.get("networks") or (1 if role == "refit" else folds_of(study.user_attrs))
    return Winner(
        candidate=candidate,
        role=role,
        run_name=run_name,
        run_id=result["run_id"] or "",
        seed=result["seed"],
        seeds=tuple(run["seed"] for run in runs),
        model_sha256=result["model_sha256"],
        value=sum(best_value(run) or 0.0 for run in runs) / len(runs),
        objective=objective_of(study.user_attrs),
        networks=networks,
    )


def fetch_model(client: MlflowClient, spool: Path, study: str, winner: Winner) -> bytes:
    """The winner's ``.h5``: from the spool if it still waits there, else from MLflow.

    Raises:
        InputError: The file was changed since it was recorded.
        UnavailableError: MLflow does not have the file, or cannot be reached.
    """
    place = f"{MODEL_FILE} of run {winner.run_id}"
    waiting = [folder for folder in entries(spool, study) if read_entry(folder).start.run_name == winner.run_name]
    # A run that MLflow has may still lack its files: they are sent last.
    content = (waiting[0] / MODEL_FILE).read_bytes() if waiting else b""
    content = content or read_artifact(client, f"runs:/{winner.run_id}/{MODEL_FILE}", place)
    require_sha256(content, winner.model_sha256, place)
    return content
