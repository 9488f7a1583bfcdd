"""Training results: from a worker's outcome to the record, the metrics, the tags and the files of a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from optuna.exceptions import UpdateFinishedTrialError

from pipelines.objectives import OBJECTIVES
from pipelines.training.history import EMPTY_SHA256
from search.optimization.leaderboard import trial_row
from search.storage.attributes import PRUNED_AT, RECORD, RUN_ID, run_id_key
from search.storage.stored_study import StoredStudy
from search.tracking.entries import CHECKPOINT_FILE, MODEL_FILE, Entry
from search.tracking.run_names import trial_number, trial_run_name
from search.workers.tasks import Outcome, Task


def run_ids_of_trials(study: StoredStudy) -> Iterator[str]:
    """The ids of the runs of a study's trials."""
    attributes = study.user_attrs
    rows = (trial_row(trial, attributes) for trial in study.get_trials(deepcopy=False))
    return (row.run_id for row in rows if row.run_id)


def known_run_ids(study: StoredStudy) -> set[str]:
    """The ids of all runs that the database knows of a study: of trials, finalists and refits."""
    recorded = {str(value) for key, value in study.user_attrs.items() if key.startswith(f"{RUN_ID}:")}
    return {*run_ids_of_trials(study), *recorded}


def result_of(task: Task, outcome: Outcome, device: str) -> dict[str, Any]:
    """The record of a training, in values that JSON has; with folds it has the spread over them."""
    objective = OBJECTIVES[task.objective]
    best = next((report.metrics for report in outcome.history if report.epoch == outcome.best_epoch), {})
    spread = {f"best_{key}": best[key] for key in (objective.spread_key,) if key in best}
    return {
        "params": task.hyperparameters.to_json(),
        objective.best_key: outcome.best_value if outcome.best_epoch else None,
        **spread,
        "best_epoch": outcome.best_epoch or None,
        "epochs_trained": len(outcome.history),
        "duration_s": round(outcome.duration_s, 3),
        "device": device,
        "precision": task.precision,
        "model_sha256": outcome.model_sha256,
        "n_parameters": outcome.n_parameters,
        "stop_reason": outcome.stop_reason,
        "usage": dict(outcome.device_metrics),
    }


def metrics_of(result: Mapping[str, Any]) -> dict[str, float]:
    """The metrics of a record that have one value for a run."""
    usage: Mapping[str, float] = result.get("usage", {})
    known = {key: value for key, value in result.items() if value is not None}
    return {**{key: known[key] for key in known if key.startswith(("best_", "mean_")) or key == "duration_s"}, **usage}


def files_of(outcome: Outcome) -> dict[str, bytes]:
    """The files of an outcome; empty ones are left out when they are written."""
    return {MODEL_FILE: outcome.model, CHECKPOINT_FILE: outcome.checkpoint}


def tags_of(state: str, result: Mapping[str, object]) -> dict[str, str]:
    """The tags of a run that are known at its end."""
    tags = {"trial.state": state, "stop_reason": str(result.get("stop_reason", ""))}
    noted = ("model_sha256", "copied_from", "message", PRUNED_AT)
    return tags | {key: str(result[key]) for key in noted if result.get(key) not in (None, "")}


def has_model(result: Mapping[str, Any]) -> bool:
    """Whether a training kept a model."""
    return result.get("model_sha256", "") not in ("", EMPTY_SHA256)


def record_result(study: StoredStudy, entry: Entry) -> None:
    """Records the result of a run that is no trial with its study, so that it is not trained again."""
    study.set_user_attr(RECORD + entry.start.run_name, dict(entry.result))


def recorded_results(study: StoredStudy) -> dict[str, dict[str, Any]]:
    """The results that ``record_result`` recorded, by run name; each with its ``run_id`` where MLflow has the run."""
    attributes = study.user_attrs
    # A version before this one emptied the record of a failure that was to be trained again.
    names = [key.removeprefix(RECORD) for key, result in attributes.items() if key.startswith(RECORD) and result]
    return {name: attributes[RECORD + name] | {"run_id": attributes.get(run_id_key(name))} for name in names}


def may_succeed(result: Mapping[str, Any]) -> bool:
    """Whether a run failed in a way that the next attempt may not: the same seed diverges again."""
    return bool(result.get("message")) and result.get("stop_reason") != "diverged"


def unknown_runs(study: StoredStudy) -> list[str]:
    """Names of ended runs whose ids are not recorded: a process died between the end in MLflow and the record."""
    attributes = study.user_attrs
    rows = [trial_row(t, attributes) for t in study.get_trials(deepcopy=False) if t.state.is_finished()]
    others = [name for name, result in recorded_results(study).items() if not result["run_id"]]
    return [trial_run_name(row.number) for row in rows if not row.run_id] + others


def record_run_id(study: StoredStudy, run_name: str, run_id: str) -> None:
    """Records the MLflow run of a trial, or of another run of the study.

    Args:
        study: The study.
        run_name: The run's name.
        run_id: Its id; "" for a run that is about to be replaced: after a crash the id of the new run is looked up.
    """
    number = trial_number(run_name)
    if number is None:
        study.set_user_attr(run_id_key(run_name), run_id)
        return
    try:
        study.set_trial_attr(number, RUN_ID, run_id)
    except UpdateFinishedTrialError:  # Optuna takes no attribute of a trial that has ended; the study keeps it
        study.set_user_attr(run_id_key(number), run_id)
