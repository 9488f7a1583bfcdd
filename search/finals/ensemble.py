"""The winner's networks of several seeds as one model, which predicts the mean of their predictions.

The weights of the model files of finalists, or of refits, lie side by side in one Keras model. Its run ends in the
order of all runs, spool, study, MLflow, so a crash between two steps loses nothing and nothing is made twice.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import optuna

from pipelines.data.datasets import Dataset
from pipelines.errors import NotFoundError, SpecError, UnavailableError
from pipelines.evaluation.predictor import Predictor
from pipelines.training.history import sha256
from search.finals.opening import exclusive_study
from search.finals.readings import predict_rows, score_predictions
from search.finals.winner import Winner, ensemble_parts, fetch_model
from search.home.startup import prepare_inference
from search.optimization.leaderboard import best_value
from search.optimization.provenance import open_runs
from search.optimization.run_records import metrics_of, record_result, recorded_results, tags_of
from search.scheduling.context import StudyContext
from search.scheduling.progress import Observer
from search.scheduling.recovery import record_runs
from search.storage.attributes import VERDICT
from search.tracking import Entry, Tracker, now_ms
from search.tracking.connection import connect
from search.tracking.entries import MODEL_FILE
from search.tracking.spool import write_entry


@dataclass(frozen=True, slots=True)
class Ensemble:
    """The networks of a configuration with several seeds as one model.

    Attributes:
        run_name: Its run.
        run_id: That run in MLflow; None if it was not sent yet.
        networks: Number of networks whose mean it predicts: one for each seed, with folds for each seed and fold.
        mean: Mean value of the finalists that it is made of.
        value: Its own objective on the validation rows. None where each row trained some of its networks: with folds,
            and where they are refits.
    """

    run_name: str
    run_id: str | None
    networks: int
    mean: float
    value: float | None


def require_seeds(n_seeds: int) -> None:
    """Raises SpecError below two seeds: one has nothing to take a mean of."""
    if n_seeds < 2:
        remedy = "ask for more, or for --refit alone"
        raise SpecError(f"--seeds: must be at least 2 for an ensemble, got {n_seeds}: {remedy}")


def recorded_ensemble(study: optuna.Study) -> Ensemble | None:
    """The ensemble of a study's winner with all of its seeds; None if it is not made, or there were no finals."""
    verdict = study.user_attrs.get(VERDICT)
    if not verdict:
        return None
    name, _ = ensemble_parts(study)
    if not (result := recorded_results(study).get(name)):
        return None
    mean = next(value for key, value in result.items() if key.startswith("mean_val_"))
    return Ensemble(name, result["run_id"], result["networks"], mean, best_value(result))


def ask_for_ensemble(name: str, home: Path | None) -> None:
    """Lets the ensemble of its winner stand for a study, and makes it if it is missing.

    Raises:
        NotFoundError: There is no such study, or it has no finalists.
        SpecError: They were trained with one seed.
        InputError, UnavailableError: A model file, a database or the tracking server cannot be used.
    """
    with exclusive_study(name, home, Observer()) as (context, dataset):
        context.tracker.close()
        record_runs(context.study, context.tracker)
        verdict = context.study.user_attrs.get(VERDICT)
        if not verdict:
            raise NotFoundError(f"study {name!r}: must have finalists for an ensemble, got none: call finalists first")
        require_seeds(verdict["seeds"])
        make_ensemble(context, dataset)
        if not recorded_ensemble(context.study):
            refits = f"refit-{verdict['winner']:04d}-"
            runs = recorded_results(context.study).items()
            failed = [run for run, result in runs if run.startswith(refits) and result.get("message")]
            train = f"its refits are not all trained: train them with mlp-search finalists {name}"
            why = "one of its refits failed: promote it without --ensemble" if failed else train
            raise UnavailableError(f"study {name!r}: must have a model of every seed for an ensemble, but {why}")
        if verdict.get("model") != "refit-ensemble":  # a model that was not made would stand for the study
            context.study.set_user_attr(VERDICT, verdict | {"model": "ensemble"})


def make_ensemble(context: StudyContext, dataset: Dataset) -> int:
    """Makes the ensemble of a study's winner, unless it was made.

    Args:
        context: The study, with a verdict; its tracker is closed.
        dataset: Of the study.

    Returns:
        The number of runs that were not sent to MLflow: 0 or 1.
    """
    study, settings = context.study, context.settings
    name, parts = ensemble_parts(study)
    if recorded_ensemble(study) or len(parts) < study.user_attrs[VERDICT]["seeds"]:  # a refit failed
        return 0
    context.observer.waiting("making one model of the networks of all seeds")
    entry, content = _pack(context, dataset, name, parts)
    folder = write_entry(settings.spool, entry, {MODEL_FILE: content})
    record_result(study, entry)
    with Tracker(lambda: open_runs(settings, context.spec, dataset), context.observer.note) as tracker:
        tracker.deliver(folder)
    record_runs(study, tracker)
    return tracker.undelivered


def _pack(context: StudyContext, dataset: Dataset, name: str, parts: Sequence[Winner]) -> tuple[Entry, bytes]:
    """The finished run of an ensemble, and its model file."""
    prepare_inference()
    from pipelines.training.model import build_pack, load_h5, pack_models, to_h5

    began, client, spool = time.monotonic(), connect(context.settings), context.settings.spool
    files = [(fetch_model(client, spool, context.spec.name, run), run) for run in parts]
    models = [load_h5(content, run.model_sha256, f"{MODEL_FILE} of {run.run_name}") for content, run in files]
    first, hyperparameters = parts[0], parts[0].candidate.hyperparameters
    arrays = pack_models(hyperparameters, models)
    model = build_pack(hyperparameters, dataset.preprocessing, arrays)
    content, objective = to_h5(model), first.objective
    result: dict[str, object] = {
        "params": hyperparameters.to_json(),
        f"mean_{objective.name}": sum(run.value for run in parts) / len(parts),
        "networks": len(arrays[0]),
        "seed": first.seed,
        "seeds": [run.seed for run in parts],
        "epochs_trained": 0,
        "n_parameters": first.candidate.n_parameters,
        "precision": context.shape.precision(hyperparameters),
        "model_sha256": sha256(content),
        "stop_reason": "finished",
    }
    if dataset.fold_of is None and first.role == "finalist":
        result[objective.best_key] = _value(Predictor(model, dataset.preprocessing), dataset, first)
    result["duration_s"] = round(time.monotonic() - began, 3)
    return _entry(context, name, parts, result), content


def _value(model: Predictor, dataset: Dataset, finalist: Winner) -> float:
    """The objective on the validation rows, which no network of the model trained on."""
    found = predict_rows(model, dataset.validation, dataset)
    loss = finalist.candidate.hyperparameters.loss or "mse"
    return float(score_predictions(found, dataset, loss).metrics[finalist.objective.metric].value)


def _entry(context: StudyContext, name: str, parts: Sequence[Winner], result: dict[str, object]) -> Entry:
    first, mean = parts[0], result[f"mean_{parts[0].objective.name}"]
    trial, hyperparameters = first.candidate.trial, first.candidate.hyperparameters
    start = context.run_start(
        name,
        hyperparameters,
        first.seed,
        trial=str(trial),
        role="ensemble" if first.role == "finalist" else "refit-ensemble",
        seeds=", ".join(str(run.seed) for run in parts),
        networks=str(result["networks"]),
    )
    tags = tags_of("COMPLETE", result)
    return Entry(start, now_ms(), "COMPLETE", float(str(mean)), result, (), metrics_of(result), tags)
