"""Peer: an Optuna study whose objective calls ``model.fit`` and logs to MLflow, as both manuals show it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import keras
import mlflow
import optuna
from optuna_integration import KerasPruningCallback
from peers.network import build_model, callbacks_of
from peers.options import Options, journal_callback, parse_options
from peers.problem import CONFIGURATIONS, Arrays, Range, load_arrays, race_arrays, race_space


def suggest(trial: optuna.Trial, space: dict[str, Any]) -> dict[str, Any]:
    """One configuration out of the space."""
    values: dict[str, Any] = {}
    for name, dimension in space.items():
        if isinstance(dimension, list):
            values[name] = trial.suggest_categorical(name, dimension)
        elif isinstance(dimension.low, int):
            values[name] = trial.suggest_int(name, dimension.low, dimension.high, log=dimension.log)
        else:
            values[name] = trial.suggest_float(name, dimension.low, dimension.high, log=dimension.log)
    return values


def store(model: keras.Model, how: str) -> None:
    """Keeps the trained model with the active run."""
    if how == "log_model":
        mlflow.tensorflow.log_model(model, name="model")
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.h5"
        model.save(path)
        mlflow.log_artifact(path)


def train(configuration: dict[str, Any], arrays: Arrays, options: Options, callbacks: list[Any]) -> float:
    """Trains one configuration in a nested run; returns its best validation accuracy."""
    with mlflow.start_run(nested=True):
        mlflow.log_params(configuration)
        model = build_model(configuration, configuration["epochs"])
        history = model.fit(
            arrays.x_train,
            arrays.y_train,
            batch_size=configuration["batch_size"],
            epochs=configuration["epochs"],
            validation_data=(arrays.x_val, arrays.y_val),
            callbacks=[
                *callbacks_of(configuration),
                mlflow.tensorflow.MlflowCallback(),
                journal_callback(options.journal),
                *callbacks,
            ],
            verbose=0,
        )
        best = max(history.history["val_accuracy"])
        mlflow.log_metric("best_val_accuracy", best)
        store(model, options.model)
    return best


def panel(options: Options) -> None:
    """The eight configurations, queued in an Optuna study whose space contains them."""
    arrays = load_arrays(options.data)
    space = race_space() | {"epochs": Range(1, options.epochs)}
    study = optuna.create_study(direction="maximize")
    for configuration in CONFIGURATIONS[: options.limit]:
        study.enqueue_trial(configuration | {"epochs": options.epochs})
    study.optimize(lambda trial: train(suggest(trial, space), arrays, options, []), n_trials=options.limit)


def race(options: Options) -> None:
    """TPE and the median pruner until the time is over."""
    arrays = race_arrays(options.data, options.space)
    space = race_space(options.space, options.schedule)
    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=options.seed),
        pruner=optuna.pruners.MedianPruner(),
    )

    def objective(trial: optuna.Trial) -> float:
        pruning = KerasPruningCallback(trial, "val_accuracy")
        return train(suggest(trial, space), arrays, options, [pruning])

    study.optimize(objective, timeout=options.seconds)


def main() -> None:
    options = parse_options()
    keras.utils.set_random_seed(options.seed)
    mlflow.set_tracking_uri("sqlite:///mlflow.db")
    mlflow.set_experiment(options.mode)
    with mlflow.start_run(run_name="study"):
        (panel if options.mode == "panel" else race)(options)


if __name__ == "__main__":
    main()
